// An expected IoU with its interval, on a scale from 0 to 1.

interface Props {
  value: number;
  low: number;
  high: number;
  /** What to compare with: a thin line. */
  mark?: number;
  /** The true one: a ring. */
  measured?: number | undefined;
}

const at = (value: number) => `${(100 * Math.min(1, Math.max(0, value))).toFixed(1)}%`;

export function RangeBar({ value, low, high, mark, measured }: Props) {
  return (
    <span class="hdm-range" aria-hidden>
      {high >= low && <span class="hdm-range-band" style={{ left: at(low), right: at(1 - high) }} />}
      {mark !== undefined && !Number.isNaN(mark) && (
        <span class="hdm-range-mark" style={{ left: at(mark) }} />
      )}
      {measured !== undefined && !Number.isNaN(measured) && (
        <span class="hdm-range-ring" style={{ left: at(measured) }} />
      )}
      {!Number.isNaN(value) && <span class="hdm-range-dot" style={{ left: at(value) }} />}
    </span>
  );
}
