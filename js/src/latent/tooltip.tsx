// The thumbnail beside a point.
import { render } from "preact";
import { bytes } from "../shared/codec";
import type { Python } from "../shared/traits";
import type { LegendTraits } from "./legend";

interface Content {
  url: string;
  facts: [string, string][];
}

export interface Place {
  item: number;
  x: number;
  y: number;
}

const MOST_KEPT = 300;
const GAP = 14; // px, from the point
const MARGIN = 4; // px, from the explorer's edges

/** A tooltip on the explorer's frame, which asks for pictures when they are first shown. */
export function tooltip(root: HTMLElement, python: Python<LegendTraits>) {
  const place = document.createElement("div");
  place.className = "hdm hdm-point-tip";
  place.hidden = true;
  root.append(place);
  const known = new Map<number, Content>();
  let wanted = -1;
  let round = 0;

  const draw = ({ item, x, y }: Place, content: Content | undefined) => {
    render(
      <figure>
        {content ? <img src={content.url} alt="" /> : <span class="hdm-tip-wait" />}
        <figcaption>
          <b>item {item}</b>
          {content?.facts.map(([name, value]) => (
            <span key={name}>
              {name}: {value}
            </span>
          ))}
        </figcaption>
      </figure>,
      place,
    );
    // Beside the point, where there is room for what is in it now.
    const frame = root.getBoundingClientRect();
    const { width, height } = place.getBoundingClientRect();
    const left = x + GAP + width + MARGIN <= frame.width ? x + GAP : x - GAP - width;
    place.style.left = `${Math.max(MARGIN, left)}px`;
    place.style.top = `${Math.min(y + GAP, frame.height - height - MARGIN)}px`;
  };
  return {
    async show({ item, x, y }: Place) {
      if (wanted === item) return;
      wanted = item;
      const { left, top } = root.getBoundingClientRect();
      // The page may scroll until the thumbnail comes.
      const shown = { item, x: x - left, y: y - top };
      place.hidden = false;
      draw(shown, known.get(item));
      if (known.has(item)) return;
      const asked = round;
      const reply = await python.ask("thumbnail", { item });
      if (asked !== round || reply.error || !reply.buffers[0]) return;
      const url = URL.createObjectURL(new Blob([bytes(reply.buffers[0])], { type: "image/png" }));
      known.set(item, { url, facts: reply.facts as [string, string][] });
      const [oldest] = known.keys();
      if (known.size > MOST_KEPT) {
        URL.revokeObjectURL(known.get(oldest)?.url ?? "");
        known.delete(oldest);
      }
      if (wanted === item) draw(shown, known.get(item));
    },
    hide() {
      wanted = -1;
      place.hidden = true;
    },
    /** What was shown is out of date: the columns have changed. */
    forget() {
      round++;
      for (const { url } of known.values()) URL.revokeObjectURL(url);
      known.clear();
    },
    dispose() {
      this.forget();
      render(null, place);
      place.remove();
    },
  };
}
