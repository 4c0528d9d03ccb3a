// The list of selections: what each holds, which one is active, what can be done with it.
import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { count, score } from "../shared/format";
import type { Python } from "../shared/traits";
import { Menu } from "./menu";
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
  /** With the active selection, if it is another one. */
  const combinations = (position: number): [string, () => void][] => {
    if (active === null || active === position) return [];
    const { name } = list[active];
    const combine = (how: string) => () => void ask("combine", { position, how });
    return [
      [`Add to ${name}`, combine("union")],
      [`Subtract from ${name}`, combine("difference")],
      [`Keep in ${name} only what both have`, combine("intersection")],
    ];
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
              label={`More for ${selection.name}`}
              text="⋯"
              disabled={disabled}
              entries={[
                ["Rename", () => setRenaming(position)],
                ...combinations(position),
                ["Remove", () => void ask("remove", { position })],
              ]}
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
