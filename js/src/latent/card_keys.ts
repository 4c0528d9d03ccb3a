// Which card a key leads to.

interface Cards {
  /** The first card in view, where the keys begin. */
  first: number;
  perRow: number;
  /** Cards in as many rows as are in view. */
  page: number;
  count: number;
}

/** The rank that a key leads to, from the card with the focus; null for a key that leads nowhere. */
export function rankByKey(key: string, from: number | null, { first, perRow, page, count }: Cards) {
  const steps: Record<string, number> = {
    ArrowLeft: -1,
    ArrowRight: 1,
    ArrowUp: -perRow,
    ArrowDown: perRow,
    PageUp: -page,
    PageDown: page,
    Home: -count,
    End: count,
  };
  const step = steps[key];
  if (!step) return null;
  if (key === "Home") return 0;
  if (key === "End") return count - 1;
  if (from === null) return first;
  const next = from + step;
  // Up and down stay in the column; in a last row that is not full, they end at its last card.
  if (next < 0) return key === "ArrowLeft" ? 0 : from % perRow;
  const inLastRow = Math.floor(from / perRow) === Math.floor((count - 1) / perRow);
  return next >= count && inLastRow && step > 1 ? from : Math.min(next, count - 1);
}
