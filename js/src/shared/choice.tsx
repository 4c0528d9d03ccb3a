// One of a few: radio buttons that look like a segmented control.
import { useId } from "./unique";

interface Props<T extends string> {
  label?: string;
  labelledBy?: string;
  options: [T, string][];
  value: T;
  disabled?: boolean;
  onChange(value: T): void;
}

export function Choice<T extends string>({
  label,
  labelledBy,
  options,
  value,
  disabled,
  onChange,
}: Props<T>) {
  const name = useId();
  return (
    <div class="hdm-choice" role="radiogroup" aria-label={label} aria-labelledby={labelledBy}>
      {options.map(([option, text]) => (
        <label key={option} class={option === value ? "hdm-on" : ""}>
          <input
            type="radio"
            name={name}
            value={option}
            checked={option === value}
            disabled={disabled}
            onChange={() => onChange(option)}
          />
          <span>{text}</span>
        </label>
      ))}
    </div>
  );
}
