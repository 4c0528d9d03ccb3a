// The truths that were marked as wrong: a button on every card, and what can be done with all of them.
import { Button } from "../shared/button";
import { ints } from "../shared/codec";
import { count } from "../shared/format";
import type { Python } from "../shared/traits";
import { Busy } from "./busy";
import { download } from "./download";
import type { ImageStore } from "./image_store";
import { Menu } from "./menu";
import type { GalleryTraits } from "./python_state";
import { useRequestErrors } from "./request_errors";

const FORMATS: [string, string][] = [
  ["csv", "Table (CSV)"],
  ["coco", "COCO masks (JSON)"],
  ["voc", "VOC masks (ZIP)"],
];

export function Marks({ python }: { python: Python<GalleryTraits> }) {
  const [error, replied] = useRequestErrors();
  const marked = ints(python.traits._marked.value).length;
  const disabled = python.gone.value !== "";
  const ask = async (request: string, more: Record<string, unknown> = {}) => {
    const reply = await python.ask(request, more);
    replied(request, reply.error);
    if (!reply.error && reply.name) download(String(reply.name), reply.buffers[0]);
  };
  if (!marked) return null;
  return (
    <section class="hdm-marks" aria-label="Marked truths">
      <span class="hdm-marks-count" role="status">
        <i aria-hidden>✕</i> {count(marked)} {marked === 1 ? "truth" : "truths"} marked as wrong
      </span>
      <Button
        title="Make the marked items a selection"
        disabled={disabled}
        onClick={() => ask("select_marked")}
      >
        Select marked
      </Button>
      <Menu
        text="Export marked"
        title="Save the marked items for an annotation tool"
        look="hdm-button"
        disabled={disabled}
        entries={FORMATS.map(([format, text]) => [text, () => void ask("export_marked", { format })])}
      />
      {error && !disabled && (
        <p class="hdm-notice" role="alert">
          {error}
        </p>
      )}
    </section>
  );
}

interface MarkProps {
  item: number;
  /** Distance from the card's right edge, in px. */
  right: number;
  python: Python<GalleryTraits>;
  report: ImageStore["report"];
}

/** Marks the truth of a card's item as wrong, or takes the mark away. */
export function Mark({ item, right, python, report }: MarkProps) {
  const marked = isMarked(python, item);
  return (
    <button
      type="button"
      class="hdm-mark"
      style={{ right: `${right}px` }}
      aria-pressed={marked}
      aria-label={`Truth of item ${item} is wrong`}
      title={
        marked ? "Marked: the truth is wrong. Take the mark away (W)" : "Is the truth wrong? Mark it (W)"
      }
      disabled={python.gone.value !== ""}
      onClick={async () => report("mark", (await python.ask("mark", { item })).error)}
    >
      {marked ? "✕ wrong" : "wrong?"}
    </button>
  );
}

export const isMarked = ({ traits }: Python<GalleryTraits>, item: number) =>
  ints(traits._marked.value).includes(item);

export const UNFINISHED = "The search for truths that may be wrong was not finished.";
export const SEARCHING = "Looking for truths that may be wrong …";

/** How far the search for suspicious truths is, where the gallery waits for it. */
export function SuspectsNotice({ python }: { python: Python<GalleryTraits> }) {
  const { state, error } = python.traits.suspects.value;
  if (state === "error") {
    return (
      <p class="hdm-notice" role="alert">
        <b>Suspicion is not available</b>, and the order is that of the data set: {error}
      </p>
    );
  }
  if (state !== "running") return null;
  const gone = python.gone.value !== "";
  return (
    <div class="hdm-suspects-note" role="status" aria-busy={!gone}>
      <p class="hdm-note">{gone ? UNFINISHED : SEARCHING}</p>
      {!gone && <Busy />}
    </div>
  );
}
