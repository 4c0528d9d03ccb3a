// The selections, and the images of the active one.
import { useComputed } from "@preact/signals";
import { Button } from "../shared/button";
import { Choice } from "../shared/choice";
import { count } from "../shared/format";
import type { Python } from "../shared/traits";
import { useId } from "../shared/unique";
import { type CardOfTwo, ImageGrid } from "./image_grid";
import type { ImageStore } from "./image_store";
import { Marks, SuspectsNotice } from "./marks";
import { Pick } from "./pick";
import type { GalleryTraits, Layers, Source } from "./python_state";
import { useRequestErrors } from "./request_errors";
import { Selections } from "./selections";

interface Props {
  python: Python<GalleryTraits>;
  store: ImageStore;
  compared?: CardOfTwo | undefined;
}

export function Gallery({ python, store, compared }: Props) {
  const { traits } = python;
  const current = useComputed(() => {
    const position = traits.active.value;
    return position === null ? undefined : traits.selections.value[position];
  });
  const fresh = traits.source.value === "new";
  const shown = traits._shown.value.count;
  return (
    <section class="hdm hdm-gallery" aria-label="Selections and their images">
      {traits.new_count.value > 0 && <Sources python={python} />}
      {!fresh && <Selections python={python} />}
      {!fresh && !compared && <Marks python={python} />}
      {shown > 0 && (fresh || current.value) ? (
        <>
          <Head python={python} name={current.value?.name ?? ""} shown={shown} />
          {!fresh && !compared && <SuspectsNotice python={python} />}
          <ImageGrid python={python} store={store} compared={compared} />
        </>
      ) : (
        <Nothing
          python={python}
          empty={current.value?.name}
          gone={python.gone.value !== ""}
          compared={compared !== undefined}
        />
      )}
    </section>
  );
}

/** Items of the map, or new ones. */
function Sources({ python }: { python: Python<GalleryTraits> }) {
  return (
    <div class="hdm-sources">
      <Choice<Source>
        label="Images"
        options={[
          ["new", "New items"],
          ["map", "Items of the map"],
        ]}
        value={python.traits.source.value}
        disabled={python.gone.value !== ""}
        onChange={(source) => void python.ask("turn", { source })}
      />
    </div>
  );
}

function Counted({ python, name, shown }: HeadProps) {
  const { traits } = python;
  const fresh = traits.source.value === "new";
  const total = fresh ? traits.new_count.value : traits._about.value.total;
  return (
    <p class="hdm-note" role="status">
      <span class="hdm-counted">
        <span class="hdm-ellipsis" title={name}>
          {fresh ? "new items" : name}
        </span>
        <span>
          {fresh && shown === total ? `: all ${count(total)}` : `: ${count(shown)} of ${count(total)}`}
        </span>
      </span>
      {!traits._about.value.full &&
        (fresh ? ", thumbnails only" : ", thumbnails only: the space has no data set")}
      {fresh && shown < total && (
        <>
          {" "}
          <button
            type="button"
            class="hdm-link"
            disabled={python.gone.value !== ""}
            onClick={() => void python.ask("all")}
          >
            Show all
          </button>
        </>
      )}
    </p>
  );
}

interface HeadProps {
  python: Python<GalleryTraits>;
  /** Of the selection. */
  name: string;
  shown: number;
}

function Head({ python, name, shown }: HeadProps) {
  const { traits } = python;
  const id = useId();
  const { compared, truths } = traits._about.value;
  const two = traits.source.value === "new" && !truths;
  const layers = compared ? "Four layers" : two ? "Two layers" : "Three layers";
  return (
    <div class="hdm-gallery-head">
      <div>
        <Counted python={python} name={name} shown={shown} />
        <Choice<Layers>
          label="Layers"
          options={[
            ["three", layers],
            ["overlay", "Overlay"],
          ]}
          value={traits.layers.value}
          onChange={(layers) => python.set("layers", layers)}
        />
      </div>
      <div>
        <Pick
          label="Sort"
          options={traits.sorts.value.map((sort) => [sort, sort])}
          value={traits.sort.value}
          disabled={python.gone.value !== ""}
          onChange={(sort) => python.set("sort", sort)}
        />
        <span class="hdm-pick">
          <label for={id}>Size</label>
          <input
            id={id}
            type="range"
            min={48}
            max={224}
            step={8}
            value={traits.size.value}
            style={{ "--filled": `${(100 * (traits.size.value - 48)) / 176}%` }}
            aria-valuetext={`${traits.size.value} px`}
            onInput={(event) => python.set("size", event.currentTarget.valueAsNumber)}
          />
        </span>
      </div>
      {compared && (
        <p class="hdm-note">
          {traits.layers.value === "three" ? "Image, truth, prediction of " : "Hit, missed and added by "}
          <b>{compared[0]}</b> and {traits.layers.value === "three" ? "of" : "by"} <b>{compared[1]}</b>
        </p>
      )}
    </div>
  );
}

interface NothingProps {
  python: Python<GalleryTraits>;
  /** The name of a selection that is empty; without it, nothing is selected. */
  empty: string | undefined;
  gone: boolean;
  /** There are two maps. */
  compared: boolean;
}

function Nothing({ python, empty, gone, compared }: NothingProps) {
  if (gone) {
    return (
      <div class="hdm-nothing">
        <p>{empty === undefined ? "Nothing is selected." : `Nothing is left in ${empty}.`}</p>
      </div>
    );
  }
  const awaited = empty === undefined ? AWAITED[python.traits.new_status.value] : undefined;
  return (
    <div class="hdm-nothing">
      {awaited && <NewAwaited python={python} awaited={awaited} />}
      <svg viewBox="0 0 64 48" width="64" height="48" aria-hidden>
        <path d="M12 30C4 14 24 4 38 8s22 18 12 27-30 9-38-5Z" fill="none" stroke-dasharray="4 4" />
        <circle cx="24" cy="22" r="2.5" />
        <circle cx="34" cy="28" r="2.5" />
        <circle cx="38" cy="18" r="2.5" />
      </svg>
      {empty === undefined ? (
        <p>
          <b>
            {compared
              ? "Draw a lasso on either map, or choose a list above"
              : awaited && !awaited.again
                ? "Meanwhile, draw a lasso around points of the map"
                : "Draw a lasso around points"}
          </b>
          <br />
          {compared
            ? "Images, true masks and both predictions appear here."
            : "Their images, true masks and predictions appear here."}
        </p>
      ) : (
        <p>
          <b>Nothing is left in {empty}</b>
          <br />
          Draw a lasso to fill it, or Undo.
        </p>
      )}
      <p class="hdm-note">
        <kbd>Shift</kbd> adds, <kbd>Alt</kbd> subtracts. <kbd>N</kbd> starts a new selection. A click on a
        point highlights it
        {compared ? (
          "."
        ) : (
          <>
            ; <kbd>W</kbd> marks its truth as wrong.
          </>
        )}
      </p>
    </div>
  );
}

interface Awaited {
  title: string;
  text: string;
  /** What begins the estimates anew. */
  again?: string;
}

/** New items that are not there: why, and what to do. */
const AWAITED: Partial<Record<GalleryTraits["new_status"], Awaited>> = {
  running: {
    title: "The new items will appear here",
    text: "The model is running on them: progress is above the map.",
  },
  cancelled: {
    title: "The new items are not here",
    text: "They were cancelled before all had been estimated.",
    again: "Start again",
  },
  error: {
    title: "The new items are not here",
    text: "They could not be estimated: why is above the map.",
    again: "Try again",
  },
};

function NewAwaited({ python, awaited }: { python: Python<GalleryTraits>; awaited: Awaited }) {
  const [error, replied] = useRequestErrors();
  return (
    <div class="hdm-awaited" role="status">
      <svg viewBox="0 0 64 36" width="64" height="36" aria-hidden>
        {["M11 10l8 8-8 8-8-8Z", "M32 7l11 11-11 11-11-11Z", "M53 10l8 8-8 8-8-8Z"].map((diamond) => (
          <path key={diamond} d={diamond} fill="none" stroke-dasharray="3 3" />
        ))}
      </svg>
      <p>
        <b>{awaited.title}</b>
        <br />
        {awaited.text}
      </p>
      {awaited.again && (
        <Button onClick={async () => replied("start", (await python.ask("start")).error)}>
          {awaited.again}
        </Button>
      )}
      {error && (
        <p class="hdm-notice" role="alert">
          {error}
        </p>
      )}
    </div>
  );
}
