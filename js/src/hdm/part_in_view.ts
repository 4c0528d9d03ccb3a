// The map of a large image, painted for the part of it that is in view.
import { cols, rows } from "../shared/geometry";
import { canvasSize, changes, fraction, type Painting, painting } from "../shared/paint";
import { stepOf } from "./large";
import { shownOrder, type ViewState } from "./view_state";
import { type Part, partInView, type Zoom } from "./zoom";

/** Longest side of the canvas; less while a scan runs, which paints often. */
const LONGEST = 1536;
const RUNNING = 768;

/** What a part of the stage shows, at the screen's resolution; null where the whole map is as fine. */
export function paintedInView(
  view: ViewState,
  zoom: Zoom,
  pixels: number,
): (Painting & { part: Part }) | null {
  const [map, values, whole] = [view.map.value, view.values.value, view.painted.value];
  const { traits } = view.python;
  if (!map || !values || !whole || stepOf(traits._about.value) === 1) return null;
  const { grid } = map;
  if (whole.size.width >= pixels * zoom.scale || zoom.scale === 1) return null;
  const seen = partInView(zoom, grid);
  // The cells whose discs reach into it; the part begins where the first of them does.
  const first = (edge: number) => Math.max(0, Math.floor((edge - grid.circleSize) / grid.offset));
  const past = (edge: number, count: number) => Math.min(count, Math.ceil(edge / grid.offset));
  const [top, left] = [first(seen.top), first(seen.left)];
  const bottom = past(seen.top + seen.height, rows(grid));
  const right = past(seen.left + seen.width, cols(grid));
  const end = (index: number, count: number, length: number) =>
    index === count ? length : index * grid.offset;
  const part = {
    top: top * grid.offset,
    left: left * grid.offset,
    height: end(bottom, rows(grid), grid.height) - top * grid.offset,
    width: end(right, cols(grid), grid.width) - left * grid.offset,
  };
  const cells = new Float64Array((bottom - top) * (right - left));
  for (let row = top; row < bottom; row++) {
    const line = row * cols(grid);
    cells.set(values.subarray(line + left, line + right), (row - top) * (right - left));
  }
  const type = view.resultType.value;
  const longest = traits.status.value === "running" ? RUNNING : LONGEST;
  const own = { ...grid, height: part.height, width: part.width };
  const shown = (pixels * zoom.scale * Math.max(part.height, part.width)) / grid.width;
  const size = canvasSize(own, Math.min(longest, shown));
  const painted = painting(
    shownOrder(traits.order.value, grid),
    cells,
    { grid: own, disc: map.disc, baseline: map.baseline },
    type,
    size,
  );
  // Changes count against the largest of the whole map.
  const span = { low: 0, high: whole.largest };
  const weights = changes(painted.values, map.baseline, type).map((change) => fraction(change, span));
  return { ...painted, weights, part };
}
