// What the bundle for large images does besides: masks are sent at a halved size, and the stage is zoomed.
import type { Size } from "../shared/geometry";
import type { Point } from "./region";

/** Set by the bundler, which leaves out of the other bundles what only large images need. */
declare global {
  const LARGE: boolean;
  /** Not set for the bundle that large images alone have. */
  const SMALL: boolean;
}

export interface Shown extends Size {
  /** A pixel of the masks, and of the first image, is so many pixels of the image wide; 1 for most images. */
  step?: number;
  /** Another number: other masks. */
  masks?: number;
}

export const stepOf = ({ step = 1 }: Shown): number => step;

export const isLarge = (about: Shown): boolean => stepOf(about) > 1;

/** The size of the masks that Python sends. */
export function maskGrid(about: Shown): Size {
  // Without it no more than its argument, and left out by the bundler.
  return LARGE
    ? { height: Math.ceil(about.height / stepOf(about)), width: Math.ceil(about.width / stepOf(about)) }
    : about;
}

/** A path in pixels of a mask, each of which stands for `step` of the image, as one in pixels of the image. */
export const placed = (path: string, step: number, top = 0, left = 0): string =>
  path.replace(
    /([MHV ])(\d+)/g,
    (_, before, number) => before + (step * number + (before === "V" || before === " " ? top : left)),
  );

export const scaledPoint = ({ x, y }: Point, factor: number): Point => ({ x: x * factor, y: y * factor });

/** Runs of a mask (row, first and past-the-last pixel of each) as those of the image. */
export function fineRuns(runs: number[], about: Shown): number[] {
  const step = stepOf(about);
  if (step === 1) return runs;
  const fine: number[] = [];
  for (let i = 0; i < runs.length; i += 3) {
    const last = Math.min(about.height, (runs[i] + 1) * step);
    for (let row = runs[i] * step; row < last; row++)
      fine.push(row, runs[i + 1] * step, Math.min(about.width, runs[i + 2] * step));
  }
  return fine;
}

/** Runs of the image as those of the mask that is set where any of its pixels is. */
export function coarseRuns(runs: readonly number[], about: Shown): readonly number[] {
  const step = stepOf(about);
  if (step === 1) return runs;
  return runs.map((value, i) => (i % 3 === 2 ? Math.ceil(value / step) : Math.floor(value / step)));
}

/** A shape with its path and pixels in those of the image. */
export const enlargedShape = <T extends { path: string; pixels: number }>(shape: T, about: Shown): T => ({
  ...shape,
  path: placed(shape.path, stepOf(about)),
  pixels: shape.pixels * stepOf(about) ** 2,
});

/** The pixel of a mask that stands for one of the image. */
export const coarsePixel = (row: number, col: number, about: Shown): [row: number, col: number] => [
  Math.floor(row / stepOf(about)),
  Math.floor(col / stepOf(about)),
];
