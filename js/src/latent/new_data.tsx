// To what extent the model can be trusted on new data: expected IoU, likeness to the map's data, what to label first.
import { Button } from "../shared/button";
import { number } from "../shared/codec";
import { CountInput } from "../shared/count_input";
import { count, score } from "../shared/format";
import type { Python } from "../shared/traits";
import { download, EXPORT_PATIENCE } from "./download";
import { Histogram } from "./histogram";
import type { Findings, Measured, NewDataTraits } from "./python_state";
import { RangeBar } from "./range_bar";
import { useRequestErrors } from "./request_errors";

export function NewData({ python }: { python: Python<NewDataTraits> }) {
  const { traits } = python;
  const [failure, replied] = useRequestErrors();
  const gone = python.gone.value !== "";
  // Without its kernel, a run has ended, whatever Python said last.
  const state = gone && traits.state.value === "running" ? "cancelled" : traits.state.value;
  const ask = async (request: string, more: Record<string, unknown> = {}) => {
    const reply = await python.ask(request, more, request === "export" ? EXPORT_PATIENCE : undefined);
    replied(request, reply.error);
    if (!reply.error && request === "export") download(String(reply.name), reply.buffers[0]);
  };
  return (
    <section class="hdm hdm-new-data" aria-label="New data" aria-busy={state === "running"}>
      {state === "running" && <Running python={python} onCancel={() => ask("cancel")} />}
      {state === "cancelled" && (
        <div class="hdm-new-line">
          <span role="status">
            {gone
              ? "The new data was not estimated to the end."
              : `Cancelled after ${count(traits.done.value)} of ${count(traits.total.value)} items.`}
          </span>
          <Button disabled={gone} onClick={() => ask("start")}>
            Start again
          </Button>
        </div>
      )}
      {state === "error" && (
        <div class="hdm-error" role="alert">
          <b>The new data could not be estimated</b>
          <p>{traits.error.value}</p>
          <Button disabled={gone} onClick={() => ask("start")}>
            Try again
          </Button>
        </div>
      )}
      {state === "done" && traits.findings.value.count !== undefined && (
        <>
          <Found findings={traits.findings.value as Findings} />
          <ToLabel
            most={(traits.findings.value as Findings).count}
            wanted={traits.to_label.value}
            disabled={gone}
            onWanted={(wanted) => python.set("to_label", wanted)}
            ask={ask}
          />
        </>
      )}
      {failure && !gone && (
        <p class="hdm-notice" role="alert">
          {failure}
        </p>
      )}
    </section>
  );
}

function Running({ python, onCancel }: { python: Python<NewDataTraits>; onCancel(): void }) {
  const [done, total] = [python.traits.done.value, python.traits.total.value];
  // After the last item the IoU is learned from the map, and the two sets are compared.
  const text =
    done < total
      ? `Running the model on new data: ${count(done)} of ${count(total)} items`
      : "Estimating the IoU of the new items";
  return (
    <div class="hdm-new-line">
      <span role="status">{text}</span>
      <progress
        class="hdm-new-progress"
        aria-label="Items that the model has seen"
        value={done}
        max={total || 1}
      />
      <Button onClick={onCancel}>Cancel</Button>
    </div>
  );
}

function Found({ findings }: { findings: Findings }) {
  const [mean, low, high] = [findings.mean, findings.low, findings.high].map(number);
  const percent = Math.round(100 * findings.coverage);
  const measured = findings.measured.count ? (findings.measured as Measured) : undefined;
  return (
    <div class="hdm-findings">
      <div class="hdm-findings-mean">
        <h3>
          {findings.count === 1
            ? "Expected IoU of 1 new item"
            : `Expected mean IoU of ${count(findings.count)} new items`}
        </h3>
        <p class="hdm-findings-figure">
          <b>{score(mean)}</b>
          <span>
            {score(low)} to {score(high)}
            <span class="hdm-note"> {percent} % interval</span>
          </span>
        </p>
        <RangeBar
          value={mean}
          low={low}
          high={high}
          mark={number(findings.mapMean)}
          measured={measured && number(measured.mean)}
        />
        <p class="hdm-note hdm-findings-key">
          <span>
            <span class="hdm-range-mark" aria-hidden /> mean of the map {score(findings.mapMean)}
          </span>
          {measured && (
            <span>
              <span class="hdm-range-ring" aria-hidden /> measured
            </span>
          )}
        </p>
        {measured && (
          <p class="hdm-findings-measured">
            <b>Measured {score(measured.mean)}</b>
            {measured.count < findings.count &&
              ` in ${count(measured.count)} items with a true mask (expected ${score(measured.expected)})`}
            . {count(measured.held)} of {count(measured.count)} intervals contain the measured IoU; {percent}
            {"\u00a0% should."}
          </p>
        )}
      </div>
      <div class="hdm-findings-like">
        <h3>Like the data of the map?</h3>
        <p class={`hdm-likeness ${findings.shifted ? "hdm-unlike" : ""}`}>{sentence(findings.shift)}</p>
        <p>{doubts(findings)}</p>
        <p class={findings.skilled ? "hdm-note" : "hdm-unskilled"}>{sentence(findings.skill)}</p>
      </div>
      {findings.columns.length > 0 && (
        <div class="hdm-findings-moved">
          <h3>
            {findings.columns.some((column) => column.moved)
              ? "What moved most"
              : "Activations and confidences"}
            <span class="hdm-note hdm-sets" aria-hidden>
              <i class="hdm-of-map" /> map <i class="hdm-of-new" /> new
            </span>
          </h3>
          <div class="hdm-histograms">
            {findings.columns.map((column) => (
              <Histogram key={column.title} column={column} />
            ))}
          </div>
        </div>
      )}
    </div>
  );
}

/** Which estimates can be relied on: of unlike data, those that are certain. */
function doubts({ count: total, reliable, shifted }: Findings): string {
  if (reliable === total) {
    const all = total === 1 ? "The estimate is reliable" : "All estimates are reliable";
    return shifted ? `${all}: ${CERTAIN}` : `${all}.`;
  }
  const single =
    reliable === 0
      ? `${total === 1 ? "The estimate is not" : "No estimate is"} reliable.`
      : `${count(total - reliable)} of ${count(total)} estimates are not reliable.`;
  if (!shifted) return single;
  const others = reliable === 0 ? "" : `Of the other ${count(reliable)}, ${CERTAIN} `;
  return `${single} ${others}The intervals promise less than they say: label some items.`;
}

const CERTAIN = "the IoU is 0 for certain, as nothing is predicted.";

interface ToLabelProps {
  most: number;
  wanted: number;
  disabled: boolean;
  onWanted(wanted: number): void;
  ask(request: string, more?: Record<string, unknown>): void;
}

function ToLabel({ most, wanted, disabled, onWanted, ask }: ToLabelProps) {
  const shown = Math.min(wanted, most);
  return (
    <div class="hdm-new-line hdm-to-label">
      <CountInput
        label="Items to be labeled first"
        value={shown}
        most={most}
        disabled={disabled}
        onChange={onWanted}
      />
      <Button
        title="The most doubtful items, spread over the map"
        disabled={disabled}
        onClick={() => ask("label", { count: shown })}
      >
        {shown === 1 ? "Show the most doubtful" : `Show the ${count(shown)} most doubtful`}
      </Button>
      <Button
        title="Save the new items that are selected, or all of them, as a table (CSV)"
        disabled={disabled}
        onClick={() => ask("export")}
      >
        Save as CSV
      </Button>
    </div>
  );
}

/** With a capital letter and a full stop. */
const sentence = (text: string) =>
  `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? "" : "."}`;
