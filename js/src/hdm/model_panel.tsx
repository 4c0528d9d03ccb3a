// Below the map: the same scan with other models, and what differs.
import { useEffect, useMemo } from "preact/hooks";
import { useId } from "../shared/unique";
import { Below } from "./below";
import { ColorBar } from "./color_bar";
import { differenceView, joinedSpan, modelView, NOTHING, withoutTools } from "./model_views";
import { OneMap, withoutDisc } from "./one_map";
import type { ModelPanel as Message } from "./python_state";
import type { ViewState } from "./view_state";

interface Props {
  view: ViewState;
}

export function ModelPanel({ view }: Props) {
  const panel = view.python.traits._model_panel.value;
  return (
    <Below
      view={view}
      kind="models"
      panel={panel}
      heading="What do other models look at?"
      note="Hovering a disc shows it in all maps; a click pins it"
      working="Scanning with the other models"
    >
      <Found view={view} />
    </Below>
  );
}

/** A view of each model, and of the difference of each other one from the first. */
function panelViews(view: ViewState) {
  const { python, cursor, draft } = view;
  const panel = python.traits._model_panel;
  const message = () => panel.value as Partial<Message>;
  const shared = { cursor, draft };
  const names = (message().models ?? []).map(({ name }) => name);
  const plain = names.map((_, index) =>
    modelView(python, () => message().models?.[index] ?? { map: {}, prediction: NOTHING }),
  );
  const span = joinedSpan(plain);
  const models = plain.map((one, index) => ({
    name: names[index],
    view: { ...withoutTools(one), ...shared, span },
  }));
  const differences = plain.slice(1).map((other, index) => ({
    name: `${names[index + 1]} − ${names[0]}`,
    view: differenceView(
      python,
      [plain[0], other],
      () => [names[0], names[index + 1]],
      () => message().colors ?? NOTHING,
      shared,
    ),
  }));
  const dispose = () => {
    for (const one of [...plain, ...differences.map(({ view }) => view)]) one.dispose();
  };
  return { models, differences, dispose };
}

function Found({ view }: Props) {
  const help = useId();
  const views = useMemo(() => panelViews(view), [view]);
  useEffect(() => views.dispose, [views]);
  const [first, ...others] = views.models;
  const { text } = view.python.traits._model_panel.value as Message;
  const stale = first.view.map.value?.stale;
  return (
    <>
      <div class="hdm-maps">
        <OneMap name={first.name} note={withoutDisc(first.view)} view={first.view} helpId={help} />
        {others.flatMap(({ name, view: other }, index) => [
          <OneMap key={name} name={name} note={withoutDisc(other)} view={other} helpId={help} />,
          <OneMap
            key={`difference of ${name}`}
            name={views.differences[index].name}
            note="difference"
            view={views.differences[index].view}
            helpId={help}
          />,
        ])}
      </div>
      <div class="hdm-of-models">
        <ColorBar view={first.view} />
        <ColorBar view={views.differences[0].view} />
        <p id={help} class="hdm-verdict">
          {stale ? "The scan has other settings now. Compare again to see what differs there." : text}
        </p>
      </div>
    </>
  );
}
