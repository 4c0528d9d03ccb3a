// A whole number from 1 to the most that there are, with its label.
import { useId } from "./unique";

interface Props {
  label: string;
  value: number;
  most: number;
  disabled: boolean;
  onChange(value: number): void;
}

export function CountInput({ label, value, most, disabled, onChange }: Props) {
  const id = useId();
  return (
    <>
      <label for={id}>{label}</label>
      <input
        id={id}
        class="hdm-count-input"
        type="number"
        min={1}
        max={most}
        value={value}
        disabled={disabled}
        onChange={({ currentTarget }) => {
          const asked = Math.round(currentTarget.valueAsNumber);
          if (asked >= 1) onChange(Math.min(asked, most));
          else currentTarget.value = String(value);
        }}
      />
    </>
  );
}
