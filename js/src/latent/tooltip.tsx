// The thumbnail beside a point.
import { render } from "preact";
import { pngAddress } from "../shared/png";
import type { Python } from "../shared/traits";
import type { LegendTraits } from "./python_state";

interface Content {
  url: string;
  facts: [string, string][];
}

export interface Position {
  item: number;
  x: number;
  y: number;
}

const MOST_KEPT = 300;
const GAP = 14; // px, from the point
const MARGIN = 4; // px, from the explorer's edges

/** A tooltip on the explorer's frame; it asks for a thumbnail when that is first shown. */
export function tooltip(root: HTMLElement, python: Python<LegendTraits>) {
  const box = document.createElement("div");
  box.className = "hdm hdm-point-tip";
  box.hidden = true;
  root.append(box);
  const kept = new Map<number, Content>();
  let wanted = -1;
  let version = 0;

  // New items are numbered after those of the map.
  const total = () => python.traits.total.peek();
  const named = (item: number) => (item < total() ? `item ${item}` : `new item ${item - total()}`);

  const draw = ({ item, x, y }: Position, content: Content | undefined) => {
    render(
      <figure>
        {content ? <img src={content.url} alt="" /> : <span class="hdm-tip-wait" />}
        <figcaption>
          <b>{named(item)}</b>
          {content?.facts.map(([name, value]) => (
            <span class="hdm-fact" key={name}>
              <span class="hdm-ellipsis">{name}</span>
              {": "}
              <span class="hdm-ellipsis">{value}</span>
            </span>
          ))}
        </figcaption>
      </figure>,
      box,
    );
    // Beside the point, where there is room for what is in it now.
    const frame = root.getBoundingClientRect();
    const { width, height } = box.getBoundingClientRect();
    const left = x + GAP + width + MARGIN <= frame.width ? x + GAP : x - GAP - width;
    box.style.left = `${Math.max(MARGIN, left)}px`;
    box.style.top = `${Math.min(y + GAP, frame.height - height - MARGIN)}px`;
  };
  return {
    async show({ item, x, y }: Position) {
      if (wanted === item) return;
      wanted = item;
      const { left, top } = root.getBoundingClientRect();
      // The page may scroll until the thumbnail comes.
      const shown = { item, x: x - left, y: y - top };
      box.hidden = false;
      draw(shown, kept.get(item));
      if (kept.has(item)) return;
      const asked = version;
      const reply = await python.ask("thumbnail", { item });
      if (asked !== version || reply.error || !reply.buffers[0]) return;
      const url = pngAddress(reply.buffers[0]);
      kept.set(item, { url, facts: reply.facts as [string, string][] });
      const [oldest] = kept.keys();
      if (kept.size > MOST_KEPT) {
        URL.revokeObjectURL(kept.get(oldest)?.url ?? "");
        kept.delete(oldest);
      }
      if (wanted === item) draw(shown, kept.get(item));
    },
    /** The item whose thumbnail is shown; null where there is none. */
    get item() {
      return wanted < 0 ? null : wanted;
    },
    hide() {
      wanted = -1;
      box.hidden = true;
    },
    /** Ask anew: the columns have changed. */
    forget() {
      version++;
      for (const { url } of kept.values()) URL.revokeObjectURL(url);
      kept.clear();
    },
    dispose() {
      this.forget();
      render(null, box);
      box.remove();
    },
  };
}
