// A mask against the truth: hit, missed and added pixels, in the same three colours everywhere.

export type Palette = Record<"hit" | "missed" | "added" | "mask" | "nothing", number>;

/** "#rrggbb" as a pixel of an ImageData. */
export function rgba(text: string, alpha = 255): number {
  const value = Number.parseInt(text.trim().slice(1), 16);
  const [red, green, blue] = [value >> 16, (value >> 8) & 255, value & 255];
  return ((alpha << 24) | (blue << 16) | (green << 8) | red) >>> 0;
}

/** The theme's colours as an element has them. */
export function palette(element: Element, alpha = 255): Palette {
  const style = getComputedStyle(element);
  const colour = (name: string) => rgba(style.getPropertyValue(name), alpha);
  return {
    hit: colour("--hit"),
    missed: colour("--missed"),
    added: colour("--added"),
    mask: colour("--mask"),
    nothing: 0,
  };
}

/** One pixel for each of the masks'. */
export function compared(truth: Uint8Array, drawn: Uint8Array, colours: Palette): Uint32Array<ArrayBuffer> {
  const pixels = new Uint32Array(truth.length).fill(colours.nothing);
  for (let i = 0; i < pixels.length; i++) {
    if (drawn[i] && truth[i]) pixels[i] = colours.hit;
    else if (truth[i]) pixels[i] = colours.missed;
    else if (drawn[i]) pixels[i] = colours.added;
  }
  return pixels;
}

/** Put pixels on a canvas, which takes their size. */
export function paint(
  canvas: HTMLCanvasElement,
  pixels: Uint32Array<ArrayBuffer>,
  height: number,
  width: number,
) {
  canvas.width = width;
  canvas.height = height;
  const image = new ImageData(new Uint8ClampedArray(pixels.buffer), width, height);
  canvas.getContext("2d")?.putImageData(image, 0, 0);
}
