// What a sample of a selection has in common: the mean map of its scans, and its images ranked.
import { Button } from "../shared/button";
import { Choice } from "../shared/choice";
import { number } from "../shared/codec";
import { CountInput } from "../shared/count_input";
import { count, distance, duration, score } from "../shared/format";
import { usePng } from "../shared/png";
import type { Python } from "../shared/traits";
import { useRequestErrors } from "./request_errors";
import type { Failed, Frame, Kind, Order, ScannedImage, ScansAbout, ScansTraits } from "./scans_state";

const FRAMES: [Frame, string][] = [
  ["image", "Image"],
  ["segment", "Segment"],
  ["scaled", "Resized"],
];
const ORDERS: [Order, string][] = [
  ["fragility", "Most fragile"],
  ["improvability", "Most improvable"],
];
const KINDS: [Kind, string][] = [
  ["worse", "Worse"],
  ["better", "Better"],
  ["raw", "Raw"],
];

type Ask = (request: string, more?: Record<string, unknown>) => Promise<void>;

export function SelectionScans({ python }: { python: Python<ScansTraits> }) {
  const { traits } = python;
  const [failure, replied] = useRequestErrors();
  const gone = python.gone.value !== "";
  // Without its kernel, a run has ended, whatever Python said last.
  const state = gone && traits.state.value === "running" ? "cancelled" : traits.state.value;
  const about = traits.about.value as ScansAbout;
  const failed = about.failed ?? [];
  const ask: Ask = async (request, more = {}) => {
    const reply = await python.ask(request, more);
    replied(request, reply.error);
  };
  return (
    <section class="hdm hdm-scans" aria-label="Explain selection" aria-busy={state === "running"}>
      <Start python={python} disabled={gone || state === "running"} ask={ask} />
      {state === "running" && <Running python={python} onCancel={() => ask("cancel")} />}
      {state === "cancelled" && (
        <p class="hdm-scans-line" role="status">
          {about.images
            ? `Cancelled: ${count(about.images)} of ${count(traits.total.value)} images are finished.`
            : "Cancelled before the first image was finished."}
        </p>
      )}
      {state === "error" && (
        <div class="hdm-error" role="alert">
          <b>The selection could not be explained</b>
          <p>{traits.error.value}</p>
        </div>
      )}
      {failure && !gone && (
        <p class="hdm-notice" role="alert">
          {failure}
        </p>
      )}
      {about.images > 0 && (
        <div class="hdm-scans-found">
          <MeanMap python={python} about={about} disabled={gone} />
          <Ranked python={python} about={about} disabled={gone} ask={ask} />
        </div>
      )}
      {failed.length > 0 && state !== "error" && <Failures failed={failed} />}
    </section>
  );
}

function Start({ python, disabled, ask }: { python: Python<ScansTraits>; disabled: boolean; ask: Ask }) {
  const { selection, wanted } = python.traits;
  const { name, color, count: items } = selection.value;
  const known = items !== undefined;
  const sample = known ? Math.min(wanted.value, items) : wanted.value;
  return (
    <div class="hdm-scans-line">
      <h3>Explain selection</h3>
      {known ? (
        <>
          <CountInput
            label="Images"
            value={sample}
            most={items}
            disabled={disabled}
            onChange={(value) => python.set("wanted", value)}
          />
          <span class="hdm-scans-of">
            {sample < items ? "drawn at random from" : "all of"} <i style={{ background: color }} />
            <b>{name}</b> ({count(items)})
          </span>
          <Button
            title="Cover parts of these images, and find what their masks have in common"
            disabled={disabled}
            onClick={() => ask("start", { count: wanted.value })}
          >
            Explain
          </Button>
        </>
      ) : (
        <span class="hdm-note">
          What do its masks depend on? Select items on the map, or a cluster in the table.
        </span>
      )}
    </div>
  );
}

function Running({ python, onCancel }: { python: Python<ScansTraits>; onCancel(): void }) {
  const { done, total, seconds_left } = python.traits;
  const image = Math.min(Math.floor(done.value) + 1, total.value);
  const left = seconds_left.value;
  return (
    <div class="hdm-scans-line">
      <span role="status">
        Scanning image {count(image)} of {count(total.value)}
      </span>
      <progress
        class="hdm-scans-progress"
        aria-label="Images that are scanned"
        value={done.value}
        max={total.value || 1}
      />
      {left !== null && <span class="hdm-note">{duration(left)} left</span>}
      <Button onClick={onCancel}>Cancel</Button>
    </div>
  );
}

interface Props {
  python: Python<ScansTraits>;
  about: ScansAbout;
  disabled: boolean;
}

interface SettingProps<Name extends "kind" | "frame" | "order"> {
  python: Python<ScansTraits>;
  name: Name;
  label: string;
  options: [ScansTraits[Name], string][];
  disabled: boolean;
}

/** One of the panel's own traits as a choice. */
function Setting<Name extends "kind" | "frame" | "order">({ python, name, ...choice }: SettingProps<Name>) {
  return (
    <Choice {...choice} value={python.traits[name].value} onChange={(value) => python.set(name, value)} />
  );
}

function MeanMap({ python, about, disabled }: Props) {
  const { traits } = python;
  const kind = traits.kind.value;
  const map = usePng(traits._map.value);
  const counts = usePng(traits._counts.value);
  const means = {
    worse: `How much farther from the ${about.truth} a disc takes the mask`,
    better: `How much nearer to the ${about.truth} a disc brings the mask`,
    raw: about.label,
  }[kind];
  return (
    <div>
      <div class="hdm-scans-choices">
        <Setting python={python} name="kind" label="Map" options={KINDS} disabled={disabled} />
        <Setting python={python} name="frame" label="Frame" options={FRAMES} disabled={disabled} />
      </div>
      {about.problem ? (
        <p class="hdm-notice" role="status">
          {about.problem.charAt(0).toUpperCase() + about.problem.slice(1)}.
        </p>
      ) : (
        <>
          <div class="hdm-scans-pictures">
            <Picture
              url={map}
              about={about}
              alt={`${means}, mean of ${about.aligned ?? about.images} images`}
              low={distance(number(about.low), about)}
              high={distance(number(about.high), about)}
              colors={about.colors}
            />
            {counts && (
              <Picture
                url={counts}
                about={about}
                alt="How many images count at each pixel"
                low="0"
                high={`${about.aligned} images`}
                colors={["#ffffff", "#000000"]}
              />
            )}
          </div>
          <p class="hdm-note">
            {means}: mean of {count(about.aligned ?? about.images)} of {count(about.of)} images in{" "}
            {about.name}; circle {about.circleSize}, offset {about.offset} px.
            {about.aligned !== undefined &&
              ` The cross is the centroid of the ${about.truth}'s segment, the square has its ${
                traits.frame.value === "scaled" ? "area" : "median area"
              }; the second picture says how many images count.`}
            {!!about.leftOut && ` ${count(about.leftOut)} with an empty segment left out.`}
          </p>
        </>
      )}
    </div>
  );
}

interface PictureProps {
  url: string | null;
  about: ScansAbout;
  alt: string;
  low: string;
  high: string;
  colors: string[];
}

function Picture({ url, about, alt, low, high, colors }: PictureProps) {
  const { center, size } = about;
  return (
    <figure>
      <span class="hdm-scans-frame" style={{ aspectRatio: `${about.width} / ${about.height}` }}>
        {url && <img src={url} alt={alt} title={alt} />}
        {center && size && (
          <svg viewBox={`0 0 ${about.width} ${about.height}`} aria-hidden>
            <rect
              x={(center[0] - size[0] / 2) * about.width}
              y={(center[1] - size[1] / 2) * about.height}
              width={size[0] * about.width}
              height={size[1] * about.height}
            />
            <path
              d={`M${center[0] * about.width} ${center[1] * about.height}m-3 0h6m-3 -3v6`}
              vector-effect="non-scaling-stroke"
            />
          </svg>
        )}
      </span>
      <figcaption>
        <i class="hdm-scans-scale" style={{ background: `linear-gradient(to right, ${colors.join(",")})` }} />
        <span>{low}</span>
        <span>{high}</span>
      </figcaption>
    </figure>
  );
}

function Ranked({ python, about, disabled, ask }: Props & { ask: Ask }) {
  const { traits } = python;
  const order = traits.order.value;
  const most = Math.max(0, ...traits.rows.value.map((row) => finite(row[order])));
  return (
    <div class="hdm-scans-ranked">
      <div class="hdm-scans-choices">
        <Setting python={python} name="order" label="Order" options={ORDERS} disabled={disabled} />
      </div>
      <ol aria-label="Images, ranked">
        {traits.rows.value.map((row, at) => (
          <Ranking
            key={row.item}
            row={row}
            order={order}
            most={most}
            about={about}
            thumbnail={traits._thumbnails.value[at]}
            disabled={disabled}
            onOpen={() => ask("open", { item: row.item })}
          />
        ))}
      </ol>
    </div>
  );
}

interface RankingProps {
  row: ScannedImage;
  order: Order;
  most: number;
  about: ScansAbout;
  thumbnail: DataView | undefined;
  disabled: boolean;
  onOpen(): void;
}

function Ranking({ row, order, most, about, thumbnail, disabled, onOpen }: RankingProps) {
  const url = usePng(thumbnail);
  const value = number(row[order]);
  const text = `${distance(value, about)} ${order === "fragility" ? "worse" : "better"}`;
  return (
    <li>
      <button
        type="button"
        title={`Item ${row.item}: a disc makes it up to ${text}. Open it below`}
        disabled={disabled}
        onClick={onOpen}
      >
        {url ? <img src={url} alt="" /> : <span class="hdm-wait" />}
        <span>
          <b>Item {row.item}</b> <span class="hdm-note">IoU {score(row.iou)}</span>
          <br />
          <span class="hdm-scans-value">
            {value > 0 ? `up to ${text}` : `no disc makes it ${order === "fragility" ? "worse" : "better"}`}
          </span>
          <span class={`hdm-scans-bar hdm-scans-${order}`} aria-hidden>
            <i style={{ width: `${most ? (100 * finite(row[order])) / most : 0}%` }} />
          </span>
        </span>
      </button>
    </li>
  );
}

function Failures({ failed }: { failed: Failed[] }) {
  return (
    <div class="hdm-notice" role="alert">
      <b>{failed.length === 1 ? "One image failed" : `${count(failed.length)} images failed`}</b>, the others
      are kept:
      <ul>
        {failed.map(({ item, error }) => (
          <li key={item}>
            Item {item}: {error}
          </li>
        ))}
      </ul>
    </div>
  );
}

/** A value as far as a bar can show it. */
const finite = (value: ScannedImage["fragility"]) => {
  const given = number(value);
  return Number.isFinite(given) ? given : 0;
};
