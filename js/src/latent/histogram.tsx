// The values of one column on the map and in new data, one over the other.
import { number } from "../shared/codec";
import type { ComparedColumn } from "./python_state";

const WIDTH = 160;
const HEIGHT = 44;

/** A short number for the end of a scale. */
const short = (value: number) => String(+value.toPrecision(2)).replace("-", "−");

/** Steps over bins of equal width, each as high as its fraction of `most`. */
export function steps(fractions: number[], most: number, width = WIDTH, height = HEIGHT): string {
  const bin = width / fractions.length;
  const parts = fractions.map((fraction, i) => {
    const y = (height * (1 - fraction / most)).toFixed(1);
    return `L${(i * bin).toFixed(1)} ${y}H${((i + 1) * bin).toFixed(1)}`;
  });
  return `M0 ${height}${parts.join("")}V${height}`;
}

export function Histogram({ column }: { column: ComparedColumn }) {
  const most = Math.max(...column.map, ...column.new, 1e-9);
  const [known, fresh] = [number(column.mapMedian), number(column.newMedian)];
  const medians = `median ${short(known)} on the map, ${short(fresh)} in the new data`;
  const label = `${column.title}${column.moved ? `, ${column.moved}` : ""}: ${medians}`;
  return (
    <figure class="hdm-histogram" title={label}>
      <figcaption>
        <b>{column.title}</b>
        {column.moved && <span class="hdm-note">{column.moved}</span>}
      </figcaption>
      <svg viewBox={`0 -1 ${WIDTH} ${HEIGHT + 2}`} preserveAspectRatio="none" role="img" aria-label={label}>
        <path class="hdm-of-map" d={`${steps(column.map, most)}Z`} />
        <path class="hdm-of-new" d={steps(column.new, most)} />
      </svg>
      <div class="hdm-histogram-ends" aria-hidden>
        <span>{short(number(column.low))}</span>
        <span>{short(number(column.high))}</span>
      </div>
    </figure>
  );
}
