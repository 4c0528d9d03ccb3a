// What the lasso does, what colors the points, what lies behind them.
import { useState } from "preact/hooks";
import { Button } from "../shared/button";
import { Choice } from "../shared/choice";
import { count } from "../shared/format";
import type { Python } from "../shared/traits";
import { useId } from "../shared/unique";
import { download, EXPORT_PATIENCE } from "./download";
import { Pick } from "./pick";
import type { Mode, Source, ToolbarTraits } from "./python_state";

export function Toolbar({ python }: { python: Python<ToolbarTraits> }) {
  const { traits } = python;
  const [failure, setFailure] = useState("");
  const id = useId();
  const gone = python.gone.value;
  const disabled = gone !== "";
  const ask = async (request: string) => {
    const reply = await python.ask(request, {}, request === "export" ? EXPORT_PATIENCE : undefined);
    setFailure(reply.error ?? "");
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
        disabled={disabled}
        onChange={(mode) => python.set("mode", mode)}
      />
      <Button
        title="Undo the last change of the selections (Ctrl Z)"
        disabled={disabled || !traits.can_undo.value}
        onClick={() => ask("undo")}
      >
        Undo
      </Button>
      <Button
        title="Clear all selections; Undo brings them back"
        disabled={disabled}
        onClick={() => ask("clear")}
      >
        Clear
      </Button>
      {gone ? (
        <span class="hdm-gone hdm-space" role="alert">
          {gone}
        </span>
      ) : (
        <span class="hdm-space" />
      )}
      {failure && !gone && (
        <span class="hdm-toolbar-error" role="alert">
          {failure}
        </span>
      )}
      {traits.has_new.value && (
        <span class="hdm-pick">
          <span id={id} class="hdm-pick-label">
            Points
          </span>
          <Choice<Source | "both">
            labelledBy={id}
            options={[
              ["both", "Both"],
              ["map", "Map"],
              ["new", "New"],
            ]}
            value={traits.points.value}
            disabled={disabled}
            onChange={(points) => python.set("points", points)}
          />
        </span>
      )}
      <Pick
        label="Color"
        options={traits.colors.value}
        value={traits.color_by.value}
        disabled={disabled}
        onChange={(name) => python.set("color_by", name)}
      />
      {traits.color_modes.value.length > 1 && (
        <Pick
          label="as"
          options={traits.color_modes.value}
          value={shownAs(traits.color_modes.value, traits.color_as.value)}
          disabled={disabled}
          onChange={(mode) => python.set("color_as", mode)}
        />
      )}
      {traits.backgrounds.value.length > 1 && (
        <Pick
          label="Background"
          options={traits.backgrounds.value}
          value={traits.background.value}
          disabled={disabled}
          onChange={(name) => python.set("background", name)}
        />
      )}
      <Button
        title="Save the selected items as a table (CSV)"
        disabled={disabled}
        onClick={() => ask("export")}
      >
        Export
      </Button>
    </section>
  );
}

/** The mode that is wished for, or the default where that is none of them. */
const shownAs = (modes: [string, string][], wished: string) =>
  (modes.find(([mode]) => mode === wished) ?? modes[0])[0];
