// The table of clusters: how many, how good, what they look like.
import type { ComponentChild, ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { number } from "../shared/codec";
import { count, score } from "../shared/format";
import { usePng } from "../shared/png";
import type { Python } from "../shared/traits";
import { Busy } from "./busy";
import { Pick } from "./pick";
import type { ClusterRow, ClusterTraits } from "./python_state";
import { useRequestErrors } from "./request_errors";

type Column = "label" | "size" | "mean" | "median" | "empty";

const HEADS: [Column, string, string][] = [
  ["label", "Cluster", "Its number, and what most of its items are"],
  ["size", "Items", "Number of items"],
  ["mean", "Mean IoU", "Over its items"],
  ["median", "Median IoU", "Over its items"],
  ["empty", "Empty truth", "Fraction of items whose true mask is empty"],
];

export function Clusters({ python, tabs }: { python: Python<ClusterTraits>; tabs: ComponentChild }) {
  const { traits } = python;
  const [failure, replied] = useRequestErrors();
  const [order, setOrder] = useState<{ column: Column; up: boolean }>({ column: "mean", up: true });
  const rows = traits.rows.value
    .map((row, position) => ({ row, thumbnails: traits._thumbnails.value[position] }))
    .sort((a, b) => {
      const [first, second] = [number(a.row[order.column]), number(b.row[order.column])];
      // What has no figure comes last, ascending and descending.
      const [none, neither] = [Number.isNaN(first), Number.isNaN(second)];
      return none || neither ? Number(none) - Number(neither) : (order.up ? 1 : -1) * (first - second);
    });
  const most = Math.max(traits.most.value, traits.n_clusters.value);
  const counts = Array.from({ length: Math.max(0, most - 1) }, (_, i) => i + 2);
  const disabled = python.gone.value !== "";
  // A search without its kernel has ended, whatever Python said last.
  const stopped = disabled && traits.busy.value !== "";
  const busy = disabled ? "" : traits.busy.value;
  const error = traits.error.value || (disabled ? "" : failure);
  const ask = async (request: string, more: Record<string, unknown>) =>
    replied(request, (await python.ask(request, more)).error);
  return (
    <section class="hdm hdm-clusters" aria-label="Clusters" aria-busy={busy !== ""}>
      <div class="hdm-clusters-head">
        {tabs}
        <span class="hdm-note" role="status">
          {stopped ? "The search for clusters was not finished." : busy || traits.about.value}
        </span>
        <span class="hdm-space" />
        <Pick
          label="Number"
          options={[["0", "best found"], ...counts.map((n): [string, string] => [String(n), String(n)])]}
          value={String(traits.n_clusters.value)}
          disabled={disabled}
          onChange={(value) => ask("cluster", { count: Number(value) })}
        />
      </div>
      {busy && <Busy />}
      {error && (
        <div class="hdm-error" role="alert">
          <b>Clustering failed</b>
          <p>{error}</p>
        </div>
      )}
      {rows.length > 0 && (
        <div class="hdm-scroll">
          <table class={busy ? "hdm-stale-table" : ""}>
            <thead>
              <tr>
                {HEADS.map(([column, text, hint]) => (
                  <th
                    key={column}
                    scope="col"
                    class={column === "label" ? "hdm-left-cell" : ""}
                    aria-sort={order.column === column ? (order.up ? "ascending" : "descending") : "none"}
                  >
                    <button
                      type="button"
                      title={hint}
                      onClick={() => setOrder({ column, up: order.column === column ? !order.up : true })}
                    >
                      {text}
                      {order.column === column && (order.up ? " ↑" : " ↓")}
                    </button>
                  </th>
                ))}
                <th scope="col">Representatives</th>
              </tr>
            </thead>
            <tbody>
              {rows.map(({ row, thumbnails }) => (
                <Row
                  key={row.label}
                  row={row}
                  thumbnails={thumbnails}
                  disabled={disabled}
                  chosen={traits.chosen.value === row.label}
                  onChoose={() => ask("choose", { label: row.label })}
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
  row: ClusterRow;
  thumbnails: DataView | undefined;
  disabled: boolean;
  chosen: boolean;
  onChoose(): void;
}

function Row({ row, thumbnails, disabled, chosen, onChoose }: RowProps) {
  const url = usePng(thumbnails);
  return (
    <tr class={chosen ? "hdm-chosen" : ""} onClick={disabled ? undefined : onChoose}>
      <td class="hdm-left-cell">
        <GroupButton chosen={chosen} disabled={disabled} onChoose={onChoose}>
          <i style={{ background: row.color }} />
          <b>{row.label}</b>
          {row.holds && (
            <span class="hdm-note hdm-ellipsis" title={row.holds}>
              {row.holds}
            </span>
          )}
        </GroupButton>
      </td>
      <td>{count(row.size)}</td>
      <td>
        {score(row.mean)}
        <span class="hdm-meter" aria-hidden>
          <i style={{ width: `${100 * (number(row.mean) || 0)}%` }} />
        </span>
      </td>
      <td>{score(row.median)}</td>
      <td>{Math.round(100 * number(row.empty))} %</td>
      <td>{url && <img src={url} alt={`${row.count} items of cluster ${row.label}`} />}</td>
    </tr>
  );
}

interface ButtonProps {
  chosen: boolean;
  disabled: boolean;
  look?: string;
  children: ComponentChildren;
  onChoose(): void;
}

/** What a row is about, as a button: the row itself reacts to clicks, but not to keys. */
export function GroupButton({ chosen, disabled, look = "", children, onChoose }: ButtonProps) {
  return (
    <button
      type="button"
      class={`hdm-cluster ${look}`}
      aria-pressed={chosen}
      title="Select its items"
      disabled={disabled}
      onClick={(event) => {
        event.stopPropagation();
        onChoose();
      }}
    >
      {children}
    </button>
  );
}
