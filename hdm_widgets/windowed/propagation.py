"""How changes of an image propagate through a network."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hdm_widgets.windowed.axes import Interval, Span
from hdm_widgets.windowed.build import Program
from hdm_widgets.windowed.estimates import Summary
from hdm_widgets.windowed.steps import GlobalStep

__all__ = ["AxisPropagation", "ChangePropagation", "Reach"]

# How far beyond the changed box a value's change is followed, along rows and columns: (before, after) in its positions.
Reach = dict[str, tuple[tuple[int, int], tuple[int, int]]]
# As how many multiplications it counts to read a weight for a batch.
_WEIGHT_COST = 30.0


class AxisPropagation:
    """How one change of the image propagates along one axis, step by step.

    Attributes
    ----------
    changes : list of (Interval or None)
        Positions of every step's output that may change.
    spans : list of tuple of Span
        The receptive field of that in every input of every step.
    signature : tuple
        Equal for changes that are computed alike, at another position.
    kind : int
        A number for the signature, among the changes of a network along this axis.
    """

    kind: int

    def __init__(self, program: Program, dim: int, changed: Interval, reach: Reach | None = None) -> None:
        changes: dict[str, Interval | None] = {program.image: changed}
        signature: list[object] = [changed.size]
        self.changes: list[Interval | None] = []
        self.spans: list[tuple[Span, ...]] = []
        for step in program.steps:
            axis = (step.rows, step.cols)[dim]
            inputs = [changes[name] for name in step.inputs]
            out = limited(step.propagate(dim, inputs), program, step.name, dim, changed, reach or {})
            changes[step.name] = out
            self.changes.append(out)
            if out is None:
                self.spans.append(())
                signature.append(None)
                continue
            spans = axis.receptive_field(out)
            self.spans.append(spans)
            if isinstance(step, Summary):
                # It takes what a window adds, wherever that lies.
                continue
            read = []
            for index, (span, interval) in enumerate(zip(spans, inputs, strict=True)):
                begin = None if interval is None else interval.lo - span.lo
                if begin is not None and step.reads_whole(index):
                    # It is completed wherever it changed.
                    begin = 0
                read.append((span.hi - span.lo, span.before, span.after, begin))
            signature.append((out.size, axis.pattern(out), tuple(read)))
        self.signature = tuple(signature)

    @cached_property
    def positions(self) -> NDArray[np.int64]:
        """Where everything begins that changes or is read; for changes of one signature, in the same order."""
        changed = [change.lo for change in self.changes if change is not None]
        return np.array(changed + [span.lo for spans in self.spans for span in spans], np.int64)


def footprint(program: Program, name: str, dim: int, changed: Interval) -> Interval:
    """The positions of a value that lie over these positions of the image."""
    size, whole = program.sizes[name][dim], program.sizes[program.image][dim]
    return Interval(changed.lo * size // whole, -(-changed.hi * size // whole))


def limited(
    out: Interval | None, program: Program, name: str, dim: int, changed: Interval, reach: Reach
) -> Interval | None:
    """The positions of a value that may change, as far as its change is followed."""
    if out is None or name not in reach:
        return out
    (lo, hi), (before, after) = footprint(program, name, dim, changed), reach[name][dim]
    lo, hi = max(out.lo, lo - before), min(out.hi, hi + after)
    return Interval(lo, hi) if lo < hi else None


class ChangePropagation:
    """How changes of the image propagate; what was asked before is cached.

    Parameters
    ----------
    program : Program
    start : float
        As how many multiplications it counts to begin a step, whatever the size of its batch.
    reach : dict, optional
        How far changes are followed; without it, as far as they may go.
    """

    def __init__(self, program: Program, start: float, reach: Reach | None = None) -> None:
        self._program, self._start = program, start
        self.reach = reach or {}
        self._cache: tuple[dict[Interval, AxisPropagation], ...] = ({}, {})
        self._kinds: tuple[dict[tuple[object, ...], int], ...] = ({}, {})
        self._numbers = itertools.count()
        self._costs: dict[tuple[Interval, Interval], float] = {}
        self._sizes = program.sizes[program.image]
        self._full_cost = sum(step.cost(*program.sizes[step.name]) for step in program.steps)
        # All weights are read for every batch.
        self._batch_cost = sum(start + _WEIGHT_COST * step.cost(1, 1) for step in program.steps)
        # Pixels, along rows and columns, after which the grids of most values repeat.
        self._period = np.array([self._alignment(dim) for dim in (0, 1)])
        self._middle = np.array(self._sizes) // 2 // self._period * self._period

    def limited(self, reach: Reach) -> ChangePropagation:
        """The same, following changes so far only."""
        return ChangePropagation(self._program, self._start, reach)

    def of_box(self, box: Sequence[int]) -> tuple[AxisPropagation, AxisPropagation]:
        """Along rows and columns, for a change in the box (row0, col0, row1, col1)."""
        row0, col0, row1, col1 = box
        return self._along(0, Interval(row0, row1)), self._along(1, Interval(col0, col1))

    def aligned(self, boxes: NDArray[np.intp]) -> NDArray[np.intp]:
        """Boxes (n, 4) grown to multiples of some pixels, so that many of them are computed alike.

        The larger the multiple, the larger the batches, and the windows: whichever costs least. The same for boxes
        near a border of the image, which cuts off the windows of each in another way, or those of all alike.
        """
        best, least = boxes, math.inf
        for halvings in range(int(self._period.max()).bit_length()):
            grown = self._grown(boxes, np.maximum(self._period >> halvings, 1))
            cost = self._cost(grown, least)
            if cost < least:
                best, least = grown, cost
        return min(best, self._with_borders(best), key=self._cost_in_groups)

    def _with_borders(self, boxes: NDArray[np.intp]) -> NDArray[np.intp]:
        """The same boxes; along each axis, those whose windows a border cuts off grow to it, all of them alike."""
        grown = boxes.copy()
        for dim, size in enumerate(self._sizes):
            sides = grown[:, [dim, dim + 2]]
            different, which = np.unique(sides, axis=0, return_inverse=True)
            cut_off = np.array([self._is_cut_off(dim, Interval(*side)) for side in different.tolist()], bool)
            cut_off = cut_off[which.reshape(-1)]
            first = sides.sum(1) < size
            for chosen, to in ((cut_off & first, 0), (cut_off & ~first, size)):
                if chosen.any():
                    grown[chosen, dim] = min(to, int(sides[chosen, 0].min()))
                    grown[chosen, dim + 2] = max(to, int(sides[chosen, 1].max()))
        return grown

    def _is_cut_off(self, dim: int, changed: Interval) -> bool:
        """Whether a border of the image cuts off the windows of a change, seen along one axis."""
        period = int(self._period[dim])
        begin = int(self._middle[dim]) + changed.lo % period
        # Two that lie in the middle: where these are not computed alike, no change is far enough from both borders.
        kinds = {self._along(dim, changed).kind}
        for lo in (begin - period, begin):
            lo = max(0, min(lo, self._sizes[dim] - changed.size))
            kinds.add(self._along(dim, Interval(lo, lo + changed.size)).kind)
        return len(kinds) > 1

    def _cost_in_groups(self, boxes: NDArray[np.intp]) -> float:
        """As `_cost`, with windows cut off by the borders of the image, and the batches that these need."""
        kinds: dict[tuple[int, int], list[list[int]]] = {}
        for box in boxes.tolist():
            rows, cols = self.of_box(box)
            kinds.setdefault((rows.kind, cols.kind), []).append(box)
        return sum(self._batch_cost + len(alike) * self._box_cost(alike[0]) for alike in kinds.values())

    def _grown(self, boxes: NDArray[np.intp], step: NDArray[np.intp]) -> NDArray[np.intp]:
        steps = np.tile(step, 2)
        grown: NDArray[np.intp] = boxes // steps * steps
        grown[:, 2:] = np.minimum(-(-boxes[:, 2:] // steps[2:]) * steps[2:], self._sizes)
        return grown

    def _cost(self, boxes: NDArray[np.intp], most: float) -> float:
        """Approximate number of multiplications for windows around these boxes, and for the batches that they need.

        As if no window were cut off by the border of the image. No further than `most`.
        """
        phases = np.hstack([boxes[:, :2] % self._period, boxes[:, 2:] - boxes[:, :2]])
        kinds, counts = np.unique(phases, axis=0, return_counts=True)
        total = len(kinds) * self._batch_cost
        for kind, count in zip(kinds, counts.tolist(), strict=True):
            if total >= most:
                break
            begin = np.maximum(np.minimum(self._middle + kind[:2], np.array(self._sizes) - kind[2:]), 0)
            total += count * self._box_cost((*begin.tolist(), *(begin + kind[2:]).tolist()))
        return float(total)

    def _box_cost(self, box: Sequence[int]) -> float:
        """Cost of a change in a box."""
        row0, col0, row1, col1 = box
        key = Interval(row0, row1), Interval(col0, col1)
        if key not in self._costs:
            rows, cols = self.of_box(box)
            self._costs[key] = sum(
                step.cost(down.size, across.size)
                for step, down, across in zip(self._program.steps, rows.changes, cols.changes, strict=True)
                if down is not None and across is not None
            )
        return self._costs[key]

    def cost_fraction(self, boxes: NDArray[np.intp]) -> float:
        """Cost of a change in one of these boxes (n, 4), on average, as a fraction of the cost of a full image."""
        total = sum(self._box_cost(box) for box in self.aligned(boxes).tolist())
        return total / (len(boxes) * self._full_cost)

    def largest_window(self, boxes: NDArray[np.intp]) -> tuple[int, int]:
        """Size (rows, cols) of the largest window of the output that a change in one of these boxes (n, 4) needs."""
        last = [step.name for step in self._program.steps].index(self._program.output)
        largest = [0, 0]
        for box in self.aligned(boxes).tolist():
            for dim, along in enumerate(self.of_box(box)):
                change = along.changes[last]
                largest[dim] = max(largest[dim], change.size if change else 0)
        return largest[0], largest[1]

    def global_steps(self) -> list[str]:
        """Labels of the steps with a global receptive field, from the image on.

        A step after one of these is not among them: its input changes everywhere as it is.
        """
        middle = [size // 2 for size in self._sizes]
        along = self.of_box((*middle, *(position + 1 for position in middle)))
        changed: dict[str, tuple[int, ...]] = {self._program.image: (1, 1)}
        labels = []
        for step, *outs in zip(self._program.steps, *(each.changes for each in along), strict=True):
            size = self._program.sizes[step.name]
            changed[step.name] = tuple(out.size if out else 0 for out in outs)
            partly = [name for name in step.inputs if changed[name] != self._program.sizes[name]]
            if partly and changed[step.name] == size and (isinstance(step, GlobalStep) or size == (1, 1)):
                labels.append(step.label)
        return list(dict.fromkeys(labels))

    def _along(self, dim: int, changed: Interval) -> AxisPropagation:
        cache, kinds = self._cache[dim], self._kinds[dim]
        if changed not in cache:
            found = AxisPropagation(self._program, dim, changed, self.reach)
            found.kind = kinds.setdefault(found.signature, next(self._numbers))
            cache[changed] = found
        return cache[changed]

    def _alignment(self, dim: int) -> int:
        height = self._sizes[dim]
        steps = [1]
        for size in {sizes[dim] for sizes in self._program.sizes.values()}:
            ratio = height / size
            nearest = 2 ** round(math.log2(ratio)) if ratio > 1 else 1
            if 1 < nearest <= height // 4 and abs(ratio / nearest - 1) < 0.2:
                steps.append(nearest)
        return max(steps)
