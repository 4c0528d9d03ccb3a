// The tools of the stage, and the keys that do the same.
import { Choice } from "../shared/choice";
import { isLarge } from "./large";
import { nextMeasure } from "./question";
import type { Tool } from "./stage_tools";
import type { ViewState } from "./view_state";

const NAMES: [Tool, string][] = [
  ["pin", "Pin"],
  ["brush", "Brush"],
  ["object", "Object"],
];
export const TOOL_KEYS: Record<string, Tool> = { p: "pin", b: "brush", o: "object" };

export function Tools({ view }: { view: ViewState }) {
  const { tool, kept, available, objects, brushSize, object, notice } = view.tools;
  if (!kept.value) return null;
  const { height, width } = view.grid.value;
  const largest = Math.max(2, Math.round(Math.min(height, width) / 3));
  const filled = (100 * (Math.min(brushSize.value, largest) - 1)) / (largest - 1);
  return (
    <div class="hdm-tools">
      <Choice
        label="What a click does"
        options={objects.value ? NAMES : NAMES.slice(0, 2)}
        value={tool.value}
        disabled={!available.value}
        onChange={(chosen) => {
          tool.value = chosen;
        }}
      />
      {tool.value === "brush" && (
        <label class="hdm-brush-size">
          <span class="hdm-note">Size</span>
          <input
            type="range"
            min={1}
            max={largest}
            value={brushSize.value}
            aria-label="Brush size"
            aria-valuetext={`${brushSize.value} px`}
            style={{ "--filled": `${filled}%` }}
            onInput={(event) => {
              brushSize.value = Number(event.currentTarget.value);
            }}
          />
          <span class="hdm-note">{brushSize.value} px</span>
        </label>
      )}
      {tool.value === "object" && (
        <span class="hdm-note" role="status">
          {notice.value || (object.value ? "" : "Click an object's outline or inside")}
        </span>
      )}
    </div>
  );
}

const ENTER: Record<Tool, string> = { pin: "pin", brush: "brush the disc", object: "choose the object" };

/** What the keys do on the stage. */
export function Keys({ view, id }: { view: ViewState; id: string }) {
  const { available, objects, region, object, tool } = view.tools;
  const [here, brushing] = [!view.python.gone.value, tool.value === "brush"];
  const undone = region.value ? "clear" : object.value ? "all objects" : "release";
  const keys: [on: unknown, keys: string, text: string][] = [
    [1, "← → ↑ ↓", "move"],
    [here, "Enter", ENTER[tool.value]],
    [here, "Esc", undone],
    [available.value, "P", "pin"],
    [available.value, "B", "brush"],
    [available.value && objects.value, "O", "object"],
    [here && nextMeasure(view), "M", "next measure"],
    [brushing, "Shift", "+ arrows brush"],
    [brushing, "[ ]", "size"],
  ];
  if (LARGE && isLarge(view.python.traits._about.value))
    keys.push([1, "+ −", "zoom"], [1, "0", "whole image"]);
  return (
    <p class="hdm-note hdm-keys" id={id}>
      {keys
        .filter(([on]) => on)
        .map(([, keys, text], index) => [
          index ? " · " : "",
          ...keys.split(" ").flatMap((key) => [<kbd key={key}>{key}</kbd>, " "]),
          text,
        ])}
    </p>
  );
}
