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
const ROOM = 310; // px

/** A tooltip on the explorer's frame, which asks for pictures when they are first shown. */
export function tooltip(root: HTMLElement, python: Python<LegendTraits>) {
  const place = document.createElement("div");
  place.className = "hdm hdm-point-tip";
  place.hidden = true;
  root.append(place);
  const known = new Map<number, Content>();
  let wanted = -1;
  let round = 0;

  const draw = (item: number, content: Content | undefined) =>
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
  return {
    async show({ item, x, y }: Place) {
      if (wanted === item) return;
      wanted = item;
      const frame = root.getBoundingClientRect();
      place.hidden = false;
      draw(item, known.get(item));
      // Beside the point, where there is room for it.
      const left = x - frame.left + 14;
      const top = y - frame.top + 14;
      const fits = left + ROOM < frame.width;
      place.style.left = `${fits ? left : Math.max(4, left - 28 - place.offsetWidth)}px`;
      place.style.top = `${Math.min(top, frame.height - place.offsetHeight - 4)}px`;
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
      if (wanted === item) draw(item, known.get(item));
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
