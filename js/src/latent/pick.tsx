// A labelled drop-down list.
import { useId } from "../shared/unique";

interface Props {
  label: string;
  options: [string, string][];
  value: string;
  disabled?: boolean;
  onChange(value: string): void;
}

export function Pick({ label, options, value, disabled, onChange }: Props) {
  const id = useId();
  return (
    <span class="hdm-pick">
      <label for={id}>{label}</label>
      <select
        id={id}
        value={value}
        disabled={disabled}
        onChange={(event) => onChange(event.currentTarget.value)}
      >
        {options.map(([option, text]) => (
          <option key={option} value={option} selected={option === value}>
            {text}
          </option>
        ))}
      </select>
    </span>
  );
}
