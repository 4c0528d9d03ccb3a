// What Python sees too: the traits of toolbar and verdict of a comparison of two latent spaces.
import type { WireNumber } from "../shared/codec";
import { TOOLBAR, type ToolbarTraits } from "./python_state";

/** What two models make of the same items. */
export interface ComparisonFindings {
  names: [string, string];
  /** Mean IoU with either, of the items that have one with both, and how many these are. */
  before: WireNumber;
  after: WireNumber;
  scored: number;
  /** Items in each list. */
  lists: Record<List, number>;
  changedAbove: number;
  movedBelow: number;
  k: number;
  cka: WireNumber;
  ckaNull: WireNumber;
  overlap: WireNumber;
  overlapNull: WireNumber;
  likeness: string;
}

export type List = "better" | "worse" | "moved";

export interface ComparisonTraits extends ToolbarTraits {
  findings: ComparisonFindings;
  /** The list whose items are selected. */
  chosen: List | "";
}

export const COMPARISON = [...TOOLBAR, "findings", "chosen"] as const;
