// What a page has inside, in the form in which `hdm_widgets/hdm/page_data.py` stores it.

import type { About, MapMessage, Traits } from "../hdm/python_state";
import type { ArrayMessage } from "../shared/codec";

/** An image: differences of neighbors along each row, one or three planes. */
export interface StoredPixels {
  height: number;
  width: number;
  planes: 1 | 3;
  differences: DataView;
}

/** What the model saw; where all discs show parts of one image, that is `filled`, else each cell has a patch. */
export interface Seen {
  /** Every how many rows and columns of the image are stored. */
  step: number;
  /** Outside the discs; null if the stage shows the same. */
  plain: StoredPixels | null;
  filled: StoredPixels | null;
  boxes: ArrayMessage | null;
  patches: DataView | null;
}

export interface StoredMasks {
  /** Of each cell's patch; -1 where there is none. */
  numbers: ArrayMessage;
  /** (row0, col0, row1, col1) of each patch, half open. */
  boxes: ArrayMessage;
  /** One bit for each pixel of a patch: those that the disc flips. Each patch begins with a byte of its own. */
  flips: DataView;
}

/** What the masks of a class are compared with, as the stage shows it. */
export interface Compared {
  target: number | null;
  explainBy: string;
  truth: DataView;
  ignored: DataView;
}

export interface ClassMasks {
  target: number | null;
  prediction: DataView;
  discDrawn: Traits["_disc_drawn"];
  /** Null if the scan kept none. */
  masks: StoredMasks | null;
}

export interface Answer {
  target: number | null;
  measure: string;
  explainBy: string;
  /** Why there is no answer; null where there is one. */
  error: string | null;
  about?: Partial<About>;
  proposal?: Traits["_proposal"];
  map?: Pick<MapMessage, "values" | "oneEmpty" | "noise" | "baseline">;
}

/** Traits that follow from the question that is asked, and from the data. */
type Derived =
  | "_image"
  | "_truth"
  | "_prediction"
  | "_ignored"
  | "_inspector"
  | "_influence"
  | "_class_change"
  | "_proposal"
  | "_disc_drawn";

export interface PageData {
  traits: Omit<Traits, Derived>;
  answers: Answer[];
  compared: Compared[];
  classes: ClassMasks[];
  image: StoredPixels;
  seen: Seen | null;
  /** Height and width of a pixel in units, and the unit in that of distances. */
  sides: [number, number];
  unit: number;
}

/** Read what the page has in its two elements: JSON, and a block of bytes that it refers to. */
export async function readPage(page: ParentNode): Promise<PageData> {
  const text = (id: string) => page.querySelector(`#${id}`)?.textContent ?? "";
  const packed = Uint8Array.from(atob(text("bytes")), (letter) => letter.charCodeAt(0));
  const unpacked = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  return revived(text("data"), await new Response(unpacked).arrayBuffer());
}

/** JSON in which `{"bytes": [first, length]}` stands for a part of a block. */
export function revived(json: string, block: ArrayBuffer): PageData {
  return JSON.parse(json, (_, value) =>
    Array.isArray(value?.bytes) ? new DataView(block, value.bytes[0], value.bytes[1]) : value,
  ) as PageData;
}
