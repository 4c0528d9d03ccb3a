// Where the discs are. Images are (row, col) in arrays, (x, y) on the screen.

/** In pixels. */
export interface Size {
  height: number;
  width: number;
}

export interface Grid extends Size {
  circleSize: number;
  offset: number;
}

export type Cell = readonly [row: number, col: number];

export const rows = (grid: Grid): number => Math.floor(grid.height / grid.offset);
export const cols = (grid: Grid): number => Math.floor(grid.width / grid.offset);

/** A disc covers `circleSize + 1` pixels, both ends included. */
export const radius = (grid: Grid): number => (grid.circleSize + 1) / 2;

/** Center of a cell's disc in pixels of the image. */
export function center(grid: Grid, [row, col]: Cell): { x: number; y: number } {
  return { x: col * grid.offset + radius(grid), y: row * grid.offset + radius(grid) };
}

/** How many discs have boxes that touch a region (row0, col0, row1, col1), half open. */
export function touching(grid: Grid, [row0, col0, row1, col1]: readonly number[]): number {
  const along = (count: number, first: number, past: number) =>
    Math.min(count, Math.ceil(past / grid.offset)) -
    Math.max(0, Math.ceil((first - grid.circleSize) / grid.offset));
  return along(rows(grid), row0, row1) * along(cols(grid), col0, col1);
}

/** The cell whose disc's center is nearest to a point of the image. */
export function cellAt(grid: Grid, x: number, y: number): Cell {
  const nearest = (position: number, count: number) =>
    Math.min(count - 1, Math.max(0, Math.round((position - radius(grid)) / grid.offset)));
  return [nearest(y, rows(grid)), nearest(x, cols(grid))];
}

/**
 * The areas of the chosen cells (one byte per cell) as an SVG path in pixels of the image.
 *
 * A cell's area is where `cellAt` gives that cell, or its disc, where discs leave gaps.
 */
export function areas(cells: Uint8Array, grid: Grid): string {
  const across = cols(grid);
  const r = radius(grid);
  const path: string[] = [];
  if (grid.offset > 2 * r) return discs(cells, grid);
  const edge = (index: number, count: number, length: number) => {
    if (index === 0) return 0;
    return index === count ? length : Math.min(length, (index - 0.5) * grid.offset + r);
  };
  for (let row = 0; row < rows(grid); row++) {
    const [top, bottom] = [row, row + 1].map((index) => edge(index, rows(grid), grid.height));
    for (let col = 0, start = -1; col <= across; col++) {
      const chosen = col < across && cells[row * across + col] === 1;
      if (chosen && start < 0) start = col;
      if (chosen || start < 0) continue;
      const [left, right] = [start, col].map((index) => edge(index, across, grid.width));
      if (left < right && top < bottom) path.push(`M${left} ${top}H${right}V${bottom}H${left}Z`);
      start = -1;
    }
  }
  return path.join("");
}

/** The discs of the chosen cells (one byte per cell), or the squares around them, as an SVG path. */
export function discs(cells: Uint8Array, grid: Grid, squares = false): string {
  const across = cols(grid);
  const r = radius(grid);
  const path: string[] = [];
  cells.forEach((chosen, cell) => {
    if (!chosen) return;
    const { x, y } = center(grid, [Math.floor(cell / across), cell % across]);
    path.push(
      squares
        ? `M${x - r} ${y - r}h${2 * r}v${2 * r}h${-2 * r}Z`
        : `M${x - r} ${y}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0Z`,
    );
  });
  return path.join("");
}

/** The cell next to another one, or itself at the border. */
export function neighbor(grid: Grid, [row, col]: Cell, down: number, across: number): Cell {
  const clamp = (index: number, count: number) => Math.min(count - 1, Math.max(0, index));
  return [clamp(row + down, rows(grid)), clamp(col + across, cols(grid))];
}

export const sameGrid = (a: Grid, b: Grid): boolean =>
  a.height === b.height && a.width === b.width && a.circleSize === b.circleSize && a.offset === b.offset;

export const sameCell = (a: Cell | null, b: Cell | null): boolean =>
  a === b || (a !== null && b !== null && a[0] === b[0] && a[1] === b[1]);

/** The outline of a mask (one byte per pixel) along pixel borders, as an SVG path in pixels of the image. */
export function outline(mask: Uint8Array, height: number, width: number): string {
  const path: string[] = [];
  const at = (row: number, col: number) =>
    row >= 0 && row < height && col >= 0 && col < width ? mask[row * width + col] : 0;
  for (let row = 0; row <= height; row++) {
    for (let col = 0, start = -1; col <= width; col++) {
      const border = col < width && at(row - 1, col) !== at(row, col);
      if (border && start < 0) start = col;
      if (!border && start >= 0) {
        path.push(`M${start} ${row}H${col}`);
        start = -1;
      }
    }
  }
  for (let col = 0; col <= width; col++) {
    for (let row = 0, start = -1; row <= height; row++) {
      const border = row < height && at(row, col - 1) !== at(row, col);
      if (border && start < 0) start = row;
      if (!border && start >= 0) {
        path.push(`M${col} ${start}V${row}`);
        start = -1;
      }
    }
  }
  return path.join("");
}
