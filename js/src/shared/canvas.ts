// Pixels on a canvas, and masks that are larger than a canvas need be.
import type { Size } from "./geometry";

/** Longest side of a canvas that shows masks: more pixels are not seen, and cost memory. */
export const LONGEST = 1024;

/** Put pixels on a canvas, which takes their size. */
export function putPixels(
  canvas: HTMLCanvasElement,
  pixels: Uint32Array<ArrayBuffer>,
  { height, width }: Size,
) {
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
  if (!pixels.length) return;
  const image = new ImageData(new Uint8ClampedArray(pixels.buffer), width, height);
  canvas.getContext("2d")?.putImageData(image, 0, 0);
}

/** The size of a canvas for a mask: the mask's own, or one in proportion with `LONGEST` px as its longer side. */
export function maskSize({ height, width }: Size): Size {
  const scale = Math.min(1, LONGEST / Math.max(height, width));
  return { height: Math.max(1, Math.round(height * scale)), width: Math.max(1, Math.round(width * scale)) };
}

/** A mask in another size: each pixel is that at its center or, with `lines`, set where any is, to keep thin lines. */
export function resized(mask: Uint8Array, from: Size, to: Size, lines = false): Uint8Array {
  if (from.height === to.height && from.width === to.width) return mask;
  const result = new Uint8Array(to.height * to.width);
  if (lines) {
    for (let i = 0; i < mask.length; i++) {
      if (!mask[i]) continue;
      const y = Math.floor((Math.floor(i / from.width) * to.height) / from.height);
      const x = Math.floor(((i % from.width) * to.width) / from.width);
      result[y * to.width + x] = 1;
    }
    return result;
  }
  for (let i = 0; i < result.length; i++) {
    const y = Math.floor(((Math.floor(i / to.width) + 0.5) * from.height) / to.height);
    const x = Math.floor((((i % to.width) + 0.5) * from.width) / to.width);
    result[i] = mask[y * from.width + x];
  }
  return result;
}

// A light and a dark line side by side show on any colors.
const LIGHT = 0xb0ffffff;
const DARK = 0xb0000000;

/** The size of a canvas for stripes over a mask: large enough for thin ones. */
export function stripedSize(size: Size): Size {
  const least = Math.ceil(LONGEST / 2 / Math.max(size.height, size.width));
  return maskSize({ height: size.height * least, width: size.width * least });
}

/** Stripes over the pixels of a mask, so many along the longer side; they fall, where those of the hatching rise. */
export function striped(
  pixels: Uint32Array<ArrayBuffer>,
  mask: Uint8Array,
  { height, width }: Size,
  stripes: number,
): Uint32Array<ArrayBuffer> {
  const period = Math.max(4, Math.round(Math.max(height, width) / stripes));
  for (let i = 0; i < pixels.length; i++) {
    if (!mask[i]) continue;
    const along = ((i % width) + (period - 1) * Math.floor(i / width)) % period;
    if (along < period / 4) pixels[i] = LIGHT;
    else if (along < period / 2) pixels[i] = DARK;
  }
  return pixels;
}
