// The outlines of a large image's masks, at the screen's resolution and of no more than is in view.
import type { Signal } from "@preact/signals";
import { useEffect, useState } from "preact/hooks";
import { unpackBits } from "../shared/codec";
import { outline } from "../shared/geometry";
import { placed, stepOf } from "./large";
import type { ViewState } from "./view_state";
import { covers, masksOf, type Part, type Zoom } from "./zoom";

interface Found {
  part: Part;
  masks: number | undefined;
  paths: Record<string, string>;
}

/** Paths by the names of masks; what has none yet is drawn of the first masks. `stage` is what is zoomed. */
export function useMasksInView(
  { python }: ViewState,
  zoom: Signal<Zoom>,
  stage: Element | null,
): Record<string, string> {
  const [found, keep] = useState<Found | null>(null);
  const { traits } = python;
  const names: string[] = traits.layers.value.filter((one) => one === "truth" || one === "prediction");
  if (traits.object.value) names.push("object");
  const pixels = (stage?.parentElement?.clientWidth || 600) * (globalThis.devicePixelRatio || 1);
  const about = traits._about.value;
  const wanted = masksOf(zoom.value, about, stepOf(about), pixels);
  const { masks } = about;
  useEffect(() => {
    let left = false;
    if (wanted && names.length && !python.gone.value) {
      python.ask("masks", { ...wanted, names }).then((reply) => {
        if (left || reply.error) return;
        const size = 2 ** wanted.level;
        const [height, width] = [Math.ceil(wanted.height / size), Math.ceil(wanted.width / size)];
        const paths = (reply.names as string[]).map((name, index) => {
          const path = outline(unpackBits(reply.buffers[index], height * width), height, width);
          return [name, placed(path, size, wanted.top, wanted.left)];
        });
        keep({ part: wanted, masks, paths: Object.fromEntries(paths) });
      });
    }
    return () => {
      left = true;
    };
  }, [`${wanted && Object.values(wanted)} ${names} ${masks}`]);
  // An object has its outline as it is chosen; that of another one is not drawn in its place.
  const fits = wanted && found && found.masks === masks && covers(found.part, zoom.value, about);
  return fits ? found.paths : {};
}
