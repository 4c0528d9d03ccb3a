// A button with a list of things to do.

interface Props {
  /** For a screen reader, where the text of the button is none. */
  label?: string;
  text: string;
  title?: string;
  disabled: boolean;
  /** Of the closed menu. */
  look?: string;
  entries: [string, () => void][];
}

/** Close the menu that holds this; its button gets the focus, so that keys still reach the explorer. */
function close(target: Element) {
  const menu = target.closest("details");
  menu?.removeAttribute("open");
  menu?.querySelector("summary")?.focus();
}

export function Menu({ label, text, title, disabled, look = "", entries }: Props) {
  // A summary cannot be disabled as a button can.
  if (disabled) {
    return (
      <button type="button" class={look || "hdm-menu-off"} aria-label={label} disabled>
        {text}
      </button>
    );
  }
  return (
    <details
      class="hdm-menu"
      onFocusOut={(event) => {
        if (!event.currentTarget.contains(event.relatedTarget as Node)) event.currentTarget.open = false;
      }}
      onKeyDown={(event) => event.key === "Escape" && close(event.currentTarget)}
    >
      <summary class={look} aria-label={label} title={title}>
        {text}
      </summary>
      <div class="hdm-menu-list">
        {entries.map(([entry, act]) => (
          <button
            type="button"
            key={entry}
            onClick={(event) => {
              close(event.currentTarget);
              act();
            }}
          >
            {entry}
          </button>
        ))}
      </div>
    </details>
  );
}
