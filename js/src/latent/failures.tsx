// Groups of items where the model fails, which are looked for when this is first opened.
import type { ComponentChild } from "preact";
import { useEffect, useState } from "preact/hooks";
import { Button } from "../shared/button";
import { number } from "../shared/codec";
import { count, score } from "../shared/format";
import type { Python } from "../shared/traits";
import { Busy } from "./busy";
import { GroupButton } from "./clusters";
import type { ClusterTraits, FailureRow } from "./python_state";

const HEADS: [string, string][] = [
  ["Group", "What its items have in common"],
  ["Items", "Number of items"],
  ["Mean IoU", "Over its items, with an interval"],
  ["Others", "Mean IoU of all other items"],
  ["Harm", "Items times how far their mean IoU is below that of all others: the IoU that is lost there"],
];

export function Failures({ python, tabs }: { python: Python<ClusterTraits>; tabs: ComponentChild }) {
  const { failures, failure } = python.traits;
  const [refused, setRefused] = useState("");
  const gone = python.gone.value !== "";
  const { state, error, about, rows } = failures.value;
  const busy = state === "running" && !gone;
  const ask = async (request: string, more: Record<string, unknown> = {}) =>
    setRefused((await python.ask(request, more)).error ?? "");
  useEffect(() => {
    if (state === "idle" && !gone) void ask("failures");
  }, [state, gone]);
  const most = Math.max(...rows.map((row) => number(row.harm)), 0);
  const status = busy ? "Looking for groups where the model fails …" : about;
  return (
    <section class="hdm hdm-clusters" aria-label="Where it fails" aria-busy={busy}>
      <div class="hdm-clusters-head">
        {tabs}
        <span class="hdm-note" role="status">
          {gone && state !== "done" ? "The search for failures was not finished." : status}
        </span>
      </div>
      {busy && <Busy />}
      {(state === "error" || (refused && !gone)) && (
        <div class="hdm-error" role="alert">
          <b>{state === "done" ? "The group was not selected" : "Failures could not be looked for"}</b>
          <p>{error || refused}</p>
          {state !== "done" && (
            <Button disabled={gone} onClick={() => ask("failures")}>
              Try again
            </Button>
          )}
        </div>
      )}
      {rows.length > 0 && (
        <div class="hdm-scroll">
          <table>
            <thead>
              <tr>
                {HEADS.map(([text, hint], position) => (
                  <th
                    key={text}
                    scope="col"
                    title={hint}
                    class={position ? "" : "hdm-left-cell hdm-failure-head"}
                  >
                    {text}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {rows.map((row, position) => (
                <Row
                  key={row.text}
                  row={row}
                  most={most}
                  disabled={gone}
                  chosen={failure.value === position}
                  onChoose={() => ask("choose_failure", { position })}
                />
              ))}
            </tbody>
          </table>
        </div>
      )}
    </section>
  );
}

interface RowProps {
  row: FailureRow;
  /** The largest harm of all groups. */
  most: number;
  disabled: boolean;
  chosen: boolean;
  onChoose(): void;
}

function Row({ row, most, disabled, chosen, onChoose }: RowProps) {
  return (
    <tr class={chosen ? "hdm-chosen" : ""} onClick={disabled ? undefined : onChoose}>
      <td class="hdm-left-cell">
        <GroupButton chosen={chosen} disabled={disabled} onChoose={onChoose} look="hdm-failure">
          <b>{row.text}</b>
          {row.mostly && <span class="hdm-note">mostly {row.mostly}</span>}
        </GroupButton>
      </td>
      <td>{count(row.size)}</td>
      <td>
        {score(row.mean)}
        <Interval low={score(row.low)} high={score(row.high)} />
      </td>
      <td>{score(row.rest)}</td>
      <td>
        {number(row.harm).toFixed(1)}
        <Interval low={number(row.harmLow).toFixed(1)} high={number(row.harmHigh).toFixed(1)} />
        <span class="hdm-meter hdm-harm" aria-hidden>
          <i style={{ width: `${(100 * number(row.harm)) / (most || 1)}%` }} />
        </span>
      </td>
    </tr>
  );
}

const Interval = ({ low, high }: { low: string; high: string }) => (
  <span class="hdm-note hdm-interval">
    {low} to {high}
  </span>
);
