// A mask against the truth: hit, missed and added pixels, in the same three colors everywhere.

export type Palette = Record<"hit" | "missed" | "added" | "mask" | "nothing", number>;

/** "#rrggbb" as a pixel of an ImageData. */
export function rgba(text: string, alpha = 255): number {
  const value = Number.parseInt(text.trim().slice(1), 16);
  const [red, green, blue] = [value >> 16, (value >> 8) & 255, value & 255];
  return ((alpha << 24) | (blue << 16) | (green << 8) | red) >>> 0;
}

/** The theme's colors as an element has them. */
export function palette(element: Element, alpha = 255): Palette {
  const style = getComputedStyle(element);
  const color = (name: string) => rgba(style.getPropertyValue(name), alpha);
  return {
    hit: color("--hit"),
    missed: color("--missed"),
    added: color("--added"),
    mask: color("--mask"),
    nothing: 0,
  };
}

/** One pixel for each of the masks'. */
export function compared(truth: Uint8Array, drawn: Uint8Array, colors: Palette): Uint32Array<ArrayBuffer> {
  const pixels = new Uint32Array(truth.length).fill(colors.nothing);
  for (let i = 0; i < pixels.length; i++) {
    if (drawn[i] && truth[i]) pixels[i] = colors.hit;
    else if (truth[i]) pixels[i] = colors.missed;
    else if (drawn[i]) pixels[i] = colors.added;
  }
  return pixels;
}
