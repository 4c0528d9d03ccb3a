// The masks of a scan, from the pixels that each disc flips.
import { bytes, ints } from "../shared/codec";
import type { StoredMasks } from "./data";

export class FlippedMasks {
  private numbers: Int32Array;
  private boxes: Int32Array;
  private flips: Uint8Array;
  /** Where the bits of each patch begin. */
  private starts: Int32Array;

  /** `plain` is the mask without a disc, one byte per pixel. */
  constructor(
    stored: StoredMasks,
    private plain: Uint8Array,
    private width: number,
  ) {
    this.numbers = ints(stored.numbers);
    this.boxes = ints(stored.boxes);
    this.flips = bytes(stored.flips);
    this.starts = new Int32Array(this.boxes.length / 4);
    for (let patch = 0, at = 0; patch < this.starts.length; patch++) {
      this.starts[patch] = at;
      const [row0, col0, row1, col1] = this.box(patch);
      at += Math.ceil(((row1 - row0) * (col1 - col0)) / 8);
    }
  }

  private box(patch: number) {
    return this.boxes.subarray(4 * patch, 4 * patch + 4);
  }

  /** Call `flip` with each pixel that a patch flips. */
  private each(patch: number, flip: (pixel: number) => void) {
    const [row0, col0, row1, col1] = this.box(patch);
    const start = this.starts[patch];
    for (let row = row0, bit = 0; row < row1; row++) {
      for (let col = col0; col < col1; col++, bit++) {
        if ((this.flips[start + (bit >> 3)] >> (7 - (bit & 7))) & 1) flip(row * this.width + col);
      }
    }
  }

  /** The mask of a cell, one byte per pixel; null where there is none. */
  mask(cell: number): Uint8Array | null {
    const patch = this.numbers[cell];
    if (patch < 0) return null;
    const mask = this.plain.slice();
    this.each(patch, (pixel) => {
      mask[pixel] ^= 1;
    });
    return mask;
  }

  /** The fraction of a region's pixels (one byte each) that the disc of each cell flips; NaN where there is no mask. */
  influence(region: Uint8Array): Float64Array {
    const size = region.reduce((sum, one) => sum + one, 0);
    const fractions = Float64Array.from(this.starts, (_, patch) => {
      let flipped = 0;
      this.each(patch, (pixel) => {
        flipped += region[pixel];
      });
      return flipped / size;
    });
    return Float64Array.from(this.numbers, (patch) => (patch < 0 ? Number.NaN : fractions[patch]));
  }
}
