// The list of selections: what each holds, which one is active, what can be done with it.
import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { count, score } from "../shared/format";
import type { Python } from "../shared/traits";
import type { GalleryTraits } from "./python_state";

export function Selections({ python }: { python: Python<GalleryTraits> }) {
  const { traits } = python;
  const [renaming, setRenaming] = useState<number | null>(null);
  const [error, setError] = useState("");
  const disabled = python.gone.value !== "";
  const list = traits.selections.value;
  const active = traits.active.value;
  const ask = async (request: string, more: Record<string, unknown> = {}) => {
    const reply = await python.ask(request, more);
    setError(reply.error ?? "");
  };
  if (!list.length) return null;
  return (
    <div class="hdm-selections">
      <ul aria-label="Selections">
        {list.map((selection, position) => (
          <li key={selection.name} class={position === active ? "hdm-active" : ""}>
            {renaming === position ? (
              <NameField
                name={selection.name}
                onDone={(name) => {
                  setRenaming(null);
                  if (name !== null && name !== selection.name) void ask("rename", { position, name });
                }}
              />
            ) : (
              <button
                type="button"
                class="hdm-selection"
                aria-pressed={position === active}
                disabled={disabled}
                onClick={() => ask("activate", { position })}
                onDblClick={() => setRenaming(position)}
              >
                <i style={{ background: selection.color }} />
                <b>{selection.name}</b>
                <span class="hdm-note">{count(selection.count)} items</span>
                <span class="hdm-note">
                  mean IoU {score(selection.mean)}
                  {selection.after !== undefined && ` → ${score(selection.after)}`}
                </span>
                {selection.after === undefined && (
                  <span class="hdm-note">median {score(selection.median)}</span>
                )}
              </button>
            )}
            <Menu
              disabled={disabled}
              name={selection.name}
              other={active !== null && active !== position ? list[active].name : null}
              onRename={() => setRenaming(position)}
              onCombine={(how) => ask("combine", { position, how })}
              onRemove={() => ask("remove", { position })}
            />
          </li>
        ))}
      </ul>
      <button
        type="button"
        class="hdm-new"
        disabled={disabled || active === null}
        title="The next lasso starts a new selection (N)"
        onClick={() => ask("begin")}
      >
        {active === null ? "The next lasso starts a new selection" : "+ New selection"}
      </button>
      {error && (
        <p class="hdm-notice" role="alert">
          {error}
        </p>
      )}
    </div>
  );
}

function NameField({ name, onDone }: { name: string; onDone(name: string | null): void }) {
  const field = useRef<HTMLInputElement>(null);
  const ended = useRef(false);
  useLayoutEffect(() => {
    field.current?.focus();
    field.current?.select();
  }, []);
  // Enter and Escape remove the field, which loses its focus by that: no second answer.
  const end = (answer: string | null) => {
    if (ended.current) return;
    ended.current = true;
    onDone(answer);
  };
  return (
    <input
      class="hdm-name"
      type="text"
      aria-label={`New name for ${name}`}
      defaultValue={name}
      ref={field}
      onKeyDown={(event) => {
        if (event.key === "Enter") end(event.currentTarget.value);
        if (event.key === "Escape") end(null);
      }}
      onBlur={(event) => end(event.currentTarget.value)}
    />
  );
}

interface MenuProps {
  disabled: boolean;
  name: string;
  /** The active selection, if it is another one. */
  other: string | null;
  onRename(): void;
  onCombine(how: "union" | "difference" | "intersection"): void;
  onRemove(): void;
}

function Menu({ disabled, name, other, onRename, onCombine, onRemove }: MenuProps) {
  const close = (target: EventTarget | null) =>
    (target as Element).closest("details")?.removeAttribute("open");
  const entry = (text: string, act: () => void) => (
    <button
      type="button"
      onClick={(event) => {
        close(event.currentTarget);
        act();
      }}
    >
      {text}
    </button>
  );
  // A summary cannot be disabled as a button can.
  if (disabled) {
    return (
      <button type="button" class="hdm-menu-off" aria-label={`More for ${name}`} disabled>
        ⋯
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
      <summary aria-label={`More for ${name}`}>⋯</summary>
      <div class="hdm-menu-list">
        {entry("Rename", onRename)}
        {other !== null && entry(`Add to ${other}`, () => onCombine("union"))}
        {other !== null && entry(`Subtract from ${other}`, () => onCombine("difference"))}
        {other !== null && entry(`Keep in ${other} only what both have`, () => onCombine("intersection"))}
        {entry("Remove", onRemove)}
      </div>
    </details>
  );
}
