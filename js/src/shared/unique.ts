// Ids of elements and views. Preact's own start again in every view, and a page may show many.
import { useState } from "preact/hooks";

const page = Math.random().toString(36).slice(2, 10);
let given = 0;

/** An id that nothing else on this page or another one has. */
export const uniqueId = (): string => `hdm-${page}-${++given}`;

/** An id that no other element of the page has. */
export function useId(): string {
  return useState(uniqueId)[0];
}
