// Below the map: how much covering one object changes the mask on another, as a matrix.
import { useComputed } from "@preact/signals";
import { doubles, ints } from "../shared/codec";
import { percent } from "../shared/format";
import { fraction } from "../shared/paint";
import { usePng } from "../shared/png";
import { Below } from "./below";
import { Outline } from "./outline";
import type { ObjectPanel as Message } from "./python_state";
import { explainedText } from "./texts";
import type { ViewState } from "./view_state";

interface Props {
  view: ViewState;
}

type Pixel = [row: number, col: number];

export function ObjectPanel({ view }: Props) {
  const panel = view.python.traits._object_panel.value;
  return (
    <Below
      view={view}
      kind="objects"
      panel={panel}
      heading="Which object depends on which?"
      note="How much of an object flips when a disc covers another one, at most"
      working="Reading the masks"
    >
      {panel.status === "done" && <Matrix view={view} panel={panel as Message} />}
    </Below>
  );
}

function Matrix({ view, panel }: Props & { panel: Message }) {
  const { python, tools } = view;
  const values = doubles(panel.values);
  const cells = ints(panel.cells);
  const width = panel.changed.length;
  const largest = values.reduce((most, value) => (value > most ? value : most), 0);
  const table = view.table.value;
  const show = (covered: Pixel | null, changed: Pixel | null) => {
    tools.highlighted.value = [
      covered && { of: panel.by, pixel: covered, kind: "covered" as const },
      changed && { of: panel.on, pixel: changed, kind: "changed" as const },
    ].filter((one) => one !== null);
  };
  const hide = () => show(null, null);
  const chosen = (at: number) => {
    const [pinned, object] = [python.traits.cell.value, python.traits.object.value];
    const same = String(pinned) === String([cells[2 * at], cells[2 * at + 1]]);
    return same && (!tools.objects.value || String(object) === String(panel.changed[at % width]));
  };
  const choose = (at: number) => {
    const cell: Pixel = [cells[2 * at], cells[2 * at + 1]];
    if (!tools.objects.value) python.set("cell", cell);
    else if (chosen(at)) python.change({ object: null, cell: null });
    else python.change({ explain_by: panel.on, object: panel.changed[at % width], cell });
  };
  const color = (value: number) => {
    const entry = 3 * Math.round(255 * fraction(value, { low: 0, high: largest || 1 }));
    const [red, green, blue] = table.slice(entry, entry + 3);
    const dark = 0.3 * red + 0.59 * green + 0.11 * blue < 128;
    return { background: `rgb(${red} ${green} ${blue})`, color: dark ? "#fff" : "#000" };
  };
  return (
    <div class="hdm-on-objects">
      <Numbered view={view} panel={panel} />
      <div class="hdm-matrix" onPointerLeave={hide}>
        <table aria-label="Percent of an object that flips">
          <thead>
            <tr>
              <td />
              {panel.changed.map((pixel, on) => (
                <th key={pixel.join()} scope="col" onPointerEnter={() => show(null, pixel)}>
                  {on + 1}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {panel.covered.map((covered, by) => (
              <tr key={covered.join()}>
                <th scope="row" onPointerEnter={() => show(covered, null)}>
                  {by + 1}
                </th>
                {panel.changed.map((changed, on) => {
                  const at = by * width + on;
                  const value = values[at];
                  const text = `A disc on object ${by + 1} flips ${percent(value)} of object ${on + 1}`;
                  return (
                    <td key={changed.join()}>
                      {Number.isNaN(value) ? (
                        <span title={`No measured disc covers object ${by + 1}`}>–</span>
                      ) : (
                        <button
                          type="button"
                          style={color(value)}
                          aria-label={text}
                          title={`${text}. Click to explain that object`}
                          aria-pressed={chosen(at)}
                          disabled={python.gone.value !== ""}
                          onPointerEnter={() => show(covered, changed)}
                          onFocus={() => show(covered, changed)}
                          onBlur={hide}
                          onClick={() => choose(at)}
                        >
                          {Math.round(100 * value)}
                        </button>
                      )}
                    </td>
                  );
                })}
              </tr>
            ))}
          </tbody>
        </table>
        <p class="hdm-note">
          <i class="hdm-object-swatch hdm-covered" /> row: an object of {explainedText(panel.by)}, covered
          <br />
          <i class="hdm-object-swatch hdm-changed" /> column: one of {explainedText(panel.on)}, changed
        </p>
      </div>
      <div class="hdm-verdict">
        <p>{panel.text}</p>
        <p class="hdm-note">
          In percent. Click a number to explain the object that changes, with the disc that changes most of it
          pinned.
        </p>
      </div>
    </div>
  );
}

/** The image with the outlines and the numbers of all objects. */
function Numbered({ view, panel }: Props & { panel: Message }) {
  const { python, tools } = view;
  const { height, width } = python.traits._about.value;
  const url = usePng(python.traits._image.value);
  const { by, on, covered, changed } = panel;
  const kinds = useComputed(() => [
    { of: by, kind: "covered", objects: tools.objectsAt(by, covered) },
    { of: on, kind: "changed", objects: by === on ? [] : tools.objectsAt(on, changed) },
  ]).value;
  return (
    <div class="hdm-numbered hdm-thumb" aria-hidden style={{ aspectRatio: `${width} / ${height}` }}>
      {url && <img class="hdm-layer" src={url} alt="" />}
      <svg class="hdm-lines" viewBox={`0 0 ${width} ${height}`} preserveAspectRatio="none" aria-hidden>
        {kinds.flatMap(({ of, objects }) =>
          objects.map(({ path }) => (
            <Outline key={path} path={path} kind={of === "prediction" ? "prediction" : "truth"} />
          )),
        )}
        {tools.outlines.value.map(({ path, kind }) => (
          <Outline key={kind} path={path} kind={`object hdm-${kind}`} />
        ))}
      </svg>
      {kinds.flatMap(({ of, kind, objects }) =>
        objects.map(({ x, y }, index) => (
          <b
            key={`${kind} ${x} ${y}`}
            class={`hdm-object-number hdm-${kind} hdm-of-${of === "prediction" ? "prediction" : "truth"}`}
            style={{ left: `${(100 * x) / width}%`, top: `${(100 * y) / height}%` }}
          >
            {index + 1}
          </b>
        )),
      )}
    </div>
  );
}
