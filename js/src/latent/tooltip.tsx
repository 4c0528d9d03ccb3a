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
const ROOM = 310; // px

/** A tooltip on the explorer's frame; it asks for a thumbnail when that is first shown. */
export function tooltip(root: HTMLElement, python: Python<LegendTraits>) {
  const box = document.createElement("div");
  box.className = "hdm hdm-point-tip";
  box.hidden = true;
  root.append(box);
  const kept = new Map<number, Content>();
  let wanted = -1;
  let version = 0;

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
      box,
    );
  return {
    async show({ item, x, y }: Position) {
      if (wanted === item) return;
      wanted = item;
      const frame = root.getBoundingClientRect();
      box.hidden = false;
      draw(item, kept.get(item));
      // Beside the point, where there is room for it.
      const left = x - frame.left + 14;
      const top = y - frame.top + 14;
      const fits = left + ROOM < frame.width;
      box.style.left = `${fits ? left : Math.max(4, left - 28 - box.offsetWidth)}px`;
      box.style.top = `${Math.min(top, frame.height - box.offsetHeight - 4)}px`;
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
      if (wanted === item) draw(item, kept.get(item));
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
