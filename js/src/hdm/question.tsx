// What the scan is asked: compared with what, in which measure. Python answers from the masks that it has.
import { useId } from "../shared/unique";
import type { ViewState } from "./view_state";

const EXPLAINED: Record<string, string> = { truth: "the truth", prediction: "the prediction" };

export function QuestionRow({ view }: { view: ViewState }) {
  const { gone, traits, set } = view.python;
  const id = useId();
  const measures = traits._measures.value;
  const explainedBy = traits._explained_by.value;
  const measure = traits.measure.value;
  const explained = traits.explain_by.value;
  const disabled = gone.value !== "";
  // Some measures are only as they were scanned.
  const asScanned = (name: string) => measures.some(([one, , only]) => one === name && only);
  const choice = explainedBy.length > 1;
  if (!choice && measures.length < 2 && explained === "truth") return null;
  return (
    <div class="hdm-question">
      {choice ? (
        <div>
          <label for={`${id}-explain`}>Explain</label>
          <select
            id={`${id}-explain`}
            value={explained}
            disabled={disabled}
            onChange={(event) => set("explain_by", event.currentTarget.value)}
          >
            {explainedBy.map((name) => (
              <option key={name} value={name} disabled={name !== explained && asScanned(measure)}>
                {EXPLAINED[name]}
              </option>
            ))}
          </select>
        </div>
      ) : (
        explained === "prediction" && (
          <p>
            <span>Explain</span> {EXPLAINED.prediction}
          </p>
        )
      )}
      {measures.length > 1 && (
        <div>
          <label for={`${id}-measure`}>Measure</label>
          <select
            id={`${id}-measure`}
            value={measure}
            disabled={disabled}
            onChange={(event) => set("measure", event.currentTarget.value)}
          >
            {measures.map(([name, label, only]) => (
              <option key={name} value={name} disabled={only && choice && explained !== "truth"}>
                {label}
              </option>
            ))}
          </select>
        </div>
      )}
    </div>
  );
}
