// A labelled slider. While it is dragged its value is a draft; Python gets it after a short rest or on release.
import { useEffect, useRef, useState } from "preact/hooks";
import { count } from "./format";
import { useId } from "./unique";

const REST = 180; // ms

interface Props {
  label: string;
  unit: string;
  min: number;
  max: number;
  value: number;
  /** Commit every movement at once: for what costs nothing. */
  live?: boolean;
  disabled?: boolean;
  onDraft?(value: number | null): void;
  onCommit(value: number): void;
}

export function Slider({ label, unit, min, max, value, live = false, disabled, onDraft, onCommit }: Props) {
  const id = useId();
  const [draft, setDraft] = useState<number | null>(null);
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  useEffect(() => () => clearTimeout(timer.current), []);

  const commit = (next: number) => {
    clearTimeout(timer.current);
    if (next !== value) onCommit(next);
  };
  const moved = (next: number) => {
    if (live) {
      onCommit(next);
      return;
    }
    setDraft(next);
    onDraft?.(next);
    clearTimeout(timer.current);
    timer.current = setTimeout(() => commit(next), REST);
  };
  const released = (next: number) => {
    commit(next);
    setDraft(null);
    onDraft?.(null);
  };
  const shown = draft ?? value;
  return (
    <div class="hdm-row">
      <label for={id}>{label}</label>
      <input
        id={id}
        type="range"
        min={min}
        max={max}
        value={shown}
        disabled={disabled}
        style={{ "--filled": `${(100 * (shown - min)) / Math.max(1, max - min)}%` }}
        aria-valuetext={`${shown} ${unit}`}
        onInput={(event) => moved(event.currentTarget.valueAsNumber)}
        onChange={(event) => released(event.currentTarget.valueAsNumber)}
      />
      {/* Screen readers have it from the slider itself. */}
      <span class="hdm-value" aria-hidden>
        {count(shown)} {unit}
      </span>
    </div>
  );
}
