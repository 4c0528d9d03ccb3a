// Images as PNG files, made of what a page has stored: views show nothing else.
import { bytes, ints } from "../shared/codec";
import type { Grid, Size } from "../shared/geometry";
import type { Seen, StoredPixels } from "./data";

export interface Pixels extends Size {
  /** Three bytes per pixel. */
  rgb: Uint8Array;
}

export function unpacked({ height, width, planes, differences }: StoredPixels): Pixels {
  const stored = bytes(differences);
  const rgb = new Uint8Array(3 * height * width);
  for (let pixel = 0; pixel < height * width; pixel++) {
    for (let plane = 0; plane < 3; plane++) {
      const before = pixel % width ? rgb[3 * (pixel - 1) + plane] : 0;
      rgb[3 * pixel + plane] = before + stored[planes * pixel + (planes === 3 ? plane : 0)];
    }
  }
  return { height, width, rgb };
}

/** What the model saw of each cell. */
export class SeenImages {
  private plain: Pixels;
  private filled: Pixels | null;
  /** Where each cell's patch begins. */
  private starts: number[] = [];

  constructor(
    private seen: Seen,
    stage: Pixels,
  ) {
    this.plain = seen.plain ? unpacked(seen.plain) : stage;
    this.filled = seen.filled && unpacked(seen.filled);
    if (!seen.boxes) return;
    const boxes = ints(seen.boxes);
    for (let at = 0, i = 0; i < boxes.length; i += 4) {
      this.starts.push(at);
      at += 3 * (boxes[i + 2] - boxes[i]) * (boxes[i + 3] - boxes[i + 1]);
    }
  }

  /** The image with the disc of a cell; `disc` has the first and past-the-last pixel of each of its rows, in pairs. */
  of(row: number, col: number, grid: Grid, disc: Int32Array): Pixels {
    const { height, width } = this.plain;
    const rgb = this.plain.rgb.slice();
    if (this.filled) {
      const { step } = this.seen;
      const [top, left] = [row * grid.offset, col * grid.offset];
      for (let y = Math.ceil(top / step); y < height && y * step - top < disc.length / 2; y++) {
        const [first, past] = disc.subarray(2 * (y * step - top), 2 * (y * step - top) + 2);
        const from = Math.ceil((left + first) / step);
        const to = Math.min(width, Math.ceil((left + past) / step));
        if (from < to) {
          rgb.set(
            this.filled.rgb.subarray(3 * (y * width + from), 3 * (y * width + to)),
            3 * (y * width + from),
          );
        }
      }
    } else if (this.seen.boxes && this.seen.patches) {
      const cell = row * Math.floor(grid.width / grid.offset) + col;
      const [row0, col0, row1, col1] = ints(this.seen.boxes).subarray(4 * cell, 4 * cell + 4);
      const patch = bytes(this.seen.patches).subarray(this.starts[cell]);
      const across = 3 * (col1 - col0);
      for (let y = row0; y < row1; y++) {
        rgb.set(patch.subarray((y - row0) * across, (y - row0 + 1) * across), 3 * (y * width + col0));
      }
    }
    return { height, width, rgb };
  }
}

const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];
/** Largest block of a zlib stream that is not compressed. */
const BLOCK = 65535;

/** A PNG file, not compressed. */
export function pngFile({ height, width, rgb }: Pixels): DataView {
  const line = 1 + 3 * width;
  const lines = new Uint8Array(height * line);
  // The first byte of each line names its filter: none.
  for (let y = 0; y < height; y++) lines.set(rgb.subarray(3 * y * width, 3 * (y + 1) * width), y * line + 1);
  const header = new Uint8Array(13);
  const fields = new DataView(header.buffer);
  fields.setUint32(0, width);
  fields.setUint32(4, height);
  header.set([8, 2], 8); // eight bits, RGB
  const parts = [
    Uint8Array.from(SIGNATURE),
    chunk("IHDR", header),
    chunk("IDAT", stored(lines)),
    chunk("IEND", new Uint8Array(0)),
  ];
  return new DataView(joined(parts).buffer);
}

function joined(parts: Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

const bigEndian = (value: number) => {
  const four = new Uint8Array(4);
  new DataView(four.buffer).setUint32(0, value);
  return four;
};

function chunk(kind: string, content: Uint8Array): Uint8Array<ArrayBuffer> {
  const body = joined([Uint8Array.from(kind, (letter) => letter.charCodeAt(0)), content]);
  return joined([bigEndian(content.length), body, bigEndian(crc32(body))]);
}

/** A zlib stream of blocks as they are. */
function stored(content: Uint8Array): Uint8Array {
  const parts: Uint8Array[] = [Uint8Array.of(0x78, 0x01)];
  for (let at = 0; at < content.length; at += BLOCK) {
    const block = content.subarray(at, at + BLOCK);
    const last = at + BLOCK >= content.length ? 1 : 0;
    const { length } = block;
    parts.push(Uint8Array.of(last, length & 255, length >> 8, ~length & 255, (~length >> 8) & 255), block);
  }
  let [a, b] = [1, 0];
  for (const byte of content) {
    a = (a + byte) % 65521;
    b = (b + a) % 65521;
  }
  return joined([...parts, bigEndian(b * 65536 + a)]);
}

const TABLE = Int32Array.from({ length: 256 }, (_, byte) => {
  let rest = byte;
  for (let bit = 0; bit < 8; bit++) rest = rest & 1 ? (rest >>> 1) ^ 0xedb88320 : rest >>> 1;
  return rest;
});

function crc32(content: Uint8Array): number {
  let rest = -1;
  for (const byte of content) rest = (rest >>> 8) ^ TABLE[(rest ^ byte) & 255];
  return ~rest >>> 0;
}
