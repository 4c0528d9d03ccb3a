// What two models make of the same items, in figures, in words and as lists of items.
import { useState } from "preact/hooks";
import { number, type WireNumber } from "../shared/codec";
import { changeClass, count, score, signed } from "../shared/format";
import type { Python } from "../shared/traits";
import type { ComparisonTraits, List } from "./comparison_state";
import { RangeBar } from "./range_bar";

const TITLES: [List, string][] = [
  ["better", "Got better"],
  ["worse", "Got worse"],
  ["moved", "Moved"],
];

export function Verdict({ python }: { python: Python<ComparisonTraits> }) {
  const findings = python.traits.findings.value;
  const chosen = python.traits.chosen.value;
  const [failure, setFailure] = useState("");
  const disabled = python.gone.value !== "";
  const [before, after] = [findings.before, findings.after].map(number);
  const meaning: Record<List, string> = {
    better: `IoU up > ${findings.changedAbove}`,
    worse: `IoU down > ${findings.changedAbove}`,
    moved: `neighbors overlap < ${score(findings.movedBelow)}`,
  };
  const choose = async (list: List) => {
    const reply = await python.ask("choose", { list });
    setFailure(reply.error ?? "");
  };
  return (
    <section class="hdm hdm-changes" aria-label={`From ${findings.names[0]} to ${findings.names[1]}`}>
      <div class="hdm-two-found">
        <div>
          <h3>
            <span class="hdm-ellipsis" title={findings.names[0]}>
              {findings.names[0]}
            </span>
            <span> → </span>
            <span class="hdm-ellipsis" title={findings.names[1]}>
              {findings.names[1]}
            </span>
          </h3>
          <p class="hdm-changes-figure">
            <b>{score(before)}</b> → <b>{score(after)}</b>
            <span class={changeClass(after - before)}>{signed(after - before)}</span>
          </p>
          <p class="hdm-note">
            {findings.scored === python.traits.count.value
              ? `mean IoU of all ${count(findings.scored)} items`
              : `mean IoU of ${count(findings.scored)} items that have one with both models`}
          </p>
        </div>
        <div>
          <h3>Items to look at</h3>
          <ul class="hdm-lists" aria-label="Lists of items">
            {TITLES.map(([list, title]) => (
              <li key={list}>
                <button
                  type="button"
                  class="hdm-list"
                  aria-pressed={chosen === list}
                  title="Select these items"
                  disabled={disabled || findings.lists[list] === 0}
                  onClick={() => choose(list)}
                >
                  <b class={`hdm-${list}`}>{count(findings.lists[list])}</b>
                  <span>
                    {title}
                    <span class="hdm-note"> {meaning[list]}</span>
                  </span>
                </button>
              </li>
            ))}
          </ul>
          {failure && !disabled && (
            <p class="hdm-notice" role="alert">
              {failure}
            </p>
          )}
        </div>
        <div class="hdm-alike">
          <h3>Is it the same space?</h3>
          <Measure title="CKA of the activations" value={findings.cka} chance={findings.ckaNull} />
          <Measure
            title={`Overlap of ${findings.k} nearest`}
            value={findings.overlap}
            chance={findings.overlapNull}
          />
          <p class="hdm-note">{findings.likeness}</p>
        </div>
      </div>
    </section>
  );
}

interface MeasureProps {
  title: string;
  value: WireNumber;
  /** What items in random order have. */
  chance: WireNumber;
}

/** A value from 0 to 1, beside what chance gives. */
function Measure({ title, value, chance }: MeasureProps) {
  const shown = number(value);
  return (
    <div class="hdm-measure">
      <span>{title}</span>
      <RangeBar value={shown} low={0} high={shown} mark={number(chance)} />
      <b>{score(shown)}</b>
      <span class="hdm-note">by chance {score(chance)}</span>
    </div>
  );
}
