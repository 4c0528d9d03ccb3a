import { useId } from "../shared/unique";
import { Controls } from "./controls";
import { DiscDrawnNotice, FillPanel } from "./fill_panel";
import { Inspector } from "./inspector";
import { ModelPanel } from "./model_panel";
import { ObjectPanel } from "./object_panel";
import { Progress } from "./progress";
import { ProposedMeasure, QuestionRow } from "./question";
import { Stage } from "./stage";
import { Summary } from "./summary";
import type { ViewState } from "./view_state";

export function Explorer({ view }: { view: ViewState }) {
  const help = useId();
  return (
    <section class="hdm hdm-explorer" aria-label="Hausdorff distance explorer">
      <QuestionRow view={view} />
      <ProposedMeasure view={view} />
      <DiscDrawnNotice view={view} />
      <div class="hdm-main">
        <Stage view={view} helpId={help} />
        <Controls view={view} helpId={help} />
      </div>
      <Progress view={view} fixed={view.python.oneScan} />
      <FillPanel view={view} />
      <ModelPanel view={view} />
      <ObjectPanel view={view} />
      <Summary view={view} />
      <Inspector view={view} />
    </section>
  );
}
