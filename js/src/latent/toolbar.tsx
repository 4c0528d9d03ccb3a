// What the lasso does, what colours the points, what lies behind them.
import { useState } from "preact/hooks";
import { Choice } from "../shared/choice";
import { count } from "../shared/format";
import type { Python } from "../shared/traits";
import { Pick } from "./pick";

export type Mode = "replace" | "add" | "subtract";

export interface ToolbarTraits {
  mode: Mode;
  color_by: string;
  background: string;
  colors: [string, string][];
  backgrounds: [string, string][];
  can_undo: boolean;
  count: number;
}

export const TOOLBAR = [
  "mode",
  "color_by",
  "background",
  "colors",
  "backgrounds",
  "can_undo",
  "count",
] as const;

export function Toolbar({ python }: { python: Python<ToolbarTraits> }) {
  const { traits } = python;
  const [error, setError] = useState("");
  const ask = async (request: string) => {
    const reply = await python.ask(request);
    setError(reply.error ?? "");
    if (!reply.error && request === "export") download(String(reply.name), reply.buffers[0]);
  };
  return (
    <section class="hdm hdm-toolbar" aria-label={`Map of ${count(traits.count.value)} items`}>
      <Choice<Mode>
        label="What the next lasso does"
        options={[
          ["replace", "Replace"],
          ["add", "Add"],
          ["subtract", "Subtract"],
        ]}
        value={traits.mode.value}
        onChange={(mode) => python.set("mode", mode)}
      />
      <button
        type="button"
        class="hdm-button"
        title="Take back the last selection (Ctrl Z)"
        disabled={!traits.can_undo.value}
        onClick={() => ask("undo")}
      >
        Undo
      </button>
      <button
        type="button"
        class="hdm-button"
        title="Let all selections go; Undo brings them back"
        onClick={() => ask("clear")}
      >
        Clear
      </button>
      <span class="hdm-space" />
      {error && (
        <span class="hdm-toolbar-error" role="alert">
          {error}
        </span>
      )}
      <Pick
        label="Colour"
        options={traits.colors.value}
        value={traits.color_by.value}
        onChange={(name) => python.set("color_by", name)}
      />
      <Pick
        label="Background"
        options={traits.backgrounds.value}
        value={traits.background.value}
        onChange={(name) => python.set("background", name)}
      />
      <button
        type="button"
        class="hdm-button"
        title="Save the active selection as a table (CSV)"
        onClick={() => ask("export")}
      >
        Export
      </button>
    </section>
  );
}

function download(name: string, file: DataView | undefined) {
  if (!file) return;
  const content = new Uint8Array(file.buffer as ArrayBuffer, file.byteOffset, file.byteLength);
  const address = URL.createObjectURL(new Blob([content], { type: "text/csv" }));
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
  URL.revokeObjectURL(address);
}
