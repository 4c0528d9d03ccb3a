"""How changes of an image propagate through a network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hdm_widgets.windowed.axes import Interval
from hdm_widgets.windowed.build import Program
from hdm_widgets.windowed.steps import GlobalStep

__all__ = ["AxisPropagation", "ChangePropagation", "Reach"]

# How far beyond the changed box a value's change is followed, along rows and columns: (before, after) in its positions.
Reach = dict[str, tuple[tuple[int, int], tuple[int, int]]]


class AxisPropagation:
    """How one change of the image propagates along one axis, step by step.

    Attributes
    ----------
    changes : list of (Interval or None)
        Positions of every step's output that may change.
    starts : list of tuple of int
        Where the receptive field of that begins, in every input of every step.
    signature : tuple
        Equal for changes that are computed alike, at another position.
    """

    def __init__(self, program: Program, dim: int, changed: Interval, reach: Reach | None = None) -> None:
        changes: dict[str, Interval | None] = {program.image: changed}
        signature: list[object] = [changed.size]
        self.changes: list[Interval | None] = []
        self.starts: list[tuple[int, ...]] = []
        for step in program.steps:
            axis = (step.rows, step.cols)[dim]
            inputs = [changes[name] for name in step.inputs]
            out = limited(step.propagate(dim, inputs), program, step.name, dim, changed, reach or {})
            changes[step.name] = out
            self.changes.append(out)
            if out is None:
                self.starts.append(())
                signature.append(None)
                continue
            spans = axis.receptive_field(out)
            self.starts.append(tuple(span.lo for span in spans))
            signature.append((out.size, axis.pattern(out), tuple(
                (span.hi - span.lo, span.before, span.after, None if interval is None else interval.lo - span.lo)
                for span, interval in zip(spans, inputs, strict=True)
            )))  # fmt: skip
        self.signature = tuple(signature)

    @cached_property
    def positions(self) -> NDArray[np.int64]:
        """Where everything begins that changes or is read; for changes of one signature, in the same order."""
        changed = [change.lo for change in self.changes if change is not None]
        return np.array(changed + [start for starts in self.starts for start in starts], np.int64)


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
    reach : dict, optional
        How far changes are followed; without it, as far as they may go.

    Attributes
    ----------
    alignment : tuple of int
        Pixels, along rows and columns, after which the grids of most values repeat.
    """

    def __init__(self, program: Program, reach: Reach | None = None) -> None:
        self._program = program
        self.reach = reach or {}
        self._cache: tuple[dict[Interval, AxisPropagation], ...] = ({}, {})
        self._sizes = program.sizes[program.image]
        self._full_cost = sum(step.cost(*program.sizes[step.name]) for step in program.steps)
        self.alignment = tuple(self._alignment(dim) for dim in (0, 1))

    def of_box(self, box: Sequence[int]) -> tuple[AxisPropagation, AxisPropagation]:
        """Along rows and columns, for a change in the box (row0, col0, row1, col1)."""
        row0, col0, row1, col1 = box
        return self._along(0, Interval(row0, row1)), self._along(1, Interval(col0, col1))

    def aligned(self, boxes: NDArray[np.intp]) -> NDArray[np.intp]:
        """Boxes (n, 4) grown to multiples of the alignment, so that many of them are computed alike."""
        steps = np.array(self.alignment * 2)
        grown: NDArray[np.intp] = boxes // steps * steps
        grown[:, 2:] = np.minimum(-(-boxes[:, 2:] // steps[2:]) * steps[2:], self._sizes)
        return grown

    def cost_fraction(self, boxes: NDArray[np.intp]) -> float:
        """Cost of a change in one of these boxes (n, 4), on average, as a fraction of the cost of a full image."""
        total = 0.0
        for box in self.aligned(boxes).tolist():
            rows, cols = self.of_box(box)
            for step, down, across in zip(self._program.steps, rows.changes, cols.changes, strict=True):
                if down is not None and across is not None:
                    total += step.cost(down.size, across.size)
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
        cache = self._cache[dim]
        if changed not in cache:
            cache[changed] = AxisPropagation(self._program, dim, changed, self.reach)
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
