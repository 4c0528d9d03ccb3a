// What the scan is asked: compared with what, in which measure. Python answers from the masks that it has.
import { Button } from "../shared/button";
import { count } from "../shared/format";
import { useId } from "../shared/unique";
import { className } from "./python_state";
import { explainedText } from "./texts";
import type { ViewState } from "./view_state";

export function QuestionRow({ view }: { view: ViewState }) {
  const { gone, traits, set } = view.python;
  const measures = traits._measures.value;
  const explainedBy = traits._explained_by.value;
  const measure = traits.measure.value;
  const explained = traits.explain_by.value;
  const disabled = gone.value !== "";
  // Some measures are only as they were scanned.
  const asScanned = (name: string) => measures.some(([one, , only]) => one === name && only);
  // What flips is told against the prediction, whatever is explained; of the masks only objects are chosen then.
  const flipped = measure === "flipped";
  const several = explainedBy.length > 1;
  const choice = several && !flipped;
  const ofPrediction = flipped || explained === "prediction";
  const choosing = view.tools.tool.value === "object" || traits.object.value !== null;
  if (!choice && measures.length < 2 && !ofPrediction) return null;
  return (
    <div class="hdm-question">
      {choice ? (
        <List
          label="Explain"
          options={explainedBy.map((name) => [
            name,
            explainedText(name),
            name !== explained && asScanned(measure),
          ])}
          value={explained}
          disabled={disabled}
          onChange={(value) => set("explain_by", value)}
        />
      ) : (
        ofPrediction && (
          <p title={several ? "What flips is told against the mask without a disc" : undefined}>
            <span>Explain</span> {view.asked.value.ofObject && !several ? "one object of " : ""}
            {explainedText("prediction")}
          </p>
        )
      )}
      {flipped && several && choosing && (
        <List
          label="Near objects of"
          options={explainedBy.map((name) => [name, explainedText(name), false])}
          value={explained}
          disabled={disabled}
          onChange={(value) => set("explain_by", value)}
        />
      )}
      <ChosenObject view={view} />
      <OtherClass view={view} />
      {measures.length > 1 && (
        <List
          label="Measure"
          options={measures.map(([name, label, only]) => [
            name,
            label,
            only && ((several && explained !== explainedBy[0]) || traits.object.value !== null),
          ])}
          value={measure}
          disabled={disabled}
          onChange={(value) => set("measure", value)}
        />
      )}
    </div>
  );
}

/** Class against class: which discs turn the class that is shown into another one. */
function OtherClass({ view }: { view: ViewState }) {
  const { gone, traits, set } = view.python;
  const { target, against, _classes } = traits;
  const shown = target.value;
  if (_classes.value.length < 2 || shown === null || !view.tools.kept.value) return null;
  const others = _classes.value.filter(([number]) => number !== shown);
  return (
    <List
      label={`Where ${className(_classes.value, shown)} becomes`}
      options={[["", "any class", false], ...others.map(([n, name]): Option => [String(n), name, false])]}
      value={String(against.value ?? "")}
      disabled={gone.value !== ""}
      onChange={(value) => set("against", value ? Number(value) : null)}
    />
  );
}

/** The next measure on offer, after the last the first; null where there is no other. */
export function nextMeasure({ python: { traits } }: ViewState): string | null {
  const explained = traits.explain_by.value;
  const asScanned = explained === traits._explained_by.value[0] && traits.object.value === null;
  const names = traits._measures.value.filter(([, , only]) => !only || asScanned).map(([name]) => name);
  const next = names[(names.indexOf(traits.measure.value) + 1) % names.length];
  return next === undefined || next === traits.measure.value ? null : next;
}

/** The one object that is explained, and the way back to all. */
function ChosenObject({ view }: { view: ViewState }) {
  const { object, chooseAll } = view.tools;
  const chosen = object.value;
  return (
    <div class="hdm-chosen">
      {chosen && (
        <>
          <span>
            object of <b>{count(chosen.pixels)} px</b>
          </span>
          <Button disabled={view.python.gone.value !== ""} onClick={chooseAll}>
            All objects
          </Button>
        </>
      )}
    </div>
  );
}

/** Another measure, where the present one shows little. */
export function ProposedMeasure({ view }: { view: ViewState }) {
  const { gone, traits, set } = view.python;
  // A page without Python makes none.
  const { measure, reason, of = "", pixel = null } = traits._proposal.value ?? {};
  const label = traits._measures.value.find(([name]) => name === measure)?.[1];
  if (!measure || !label) return null;
  const { highlighted } = view.tools;
  const mark = () => {
    highlighted.value = pixel ? [{ of, pixel, kind: "changed" }] : [];
  };
  const hide = () => {
    highlighted.value = [];
  };
  return (
    <p class="hdm-proposal" role="note" onPointerEnter={mark} onPointerLeave={hide}>
      <span>{reason}.</span>
      <Button
        disabled={gone.value !== ""}
        onFocus={mark}
        onBlur={hide}
        onClick={() => {
          hide();
          set("measure", measure);
        }}
      >
        Try {label}
      </Button>
    </p>
  );
}

type Option = [value: string, text: string, unavailable: boolean];

interface ListProps {
  label: string;
  options: Option[];
  value: string;
  disabled: boolean;
  onChange(value: string): void;
}

function List({ label, options, value, disabled, onChange }: ListProps) {
  const id = useId();
  return (
    <div>
      <label for={id}>{label}</label>
      <select
        id={id}
        value={value}
        disabled={disabled}
        onChange={(event) => onChange(event.currentTarget.value)}
      >
        {options.map(([option, text, unavailable]) => (
          <option key={option} value={option} disabled={unavailable}>
            {text}
          </option>
        ))}
      </select>
    </div>
  );
}
