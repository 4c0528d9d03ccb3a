"""Where changes of a picture lead in a network."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hdm_widgets.windowed.axes import Interval
from hdm_widgets.windowed.build import Program
from hdm_widgets.windowed.steps import Opaque

__all__ = ["Path", "Paths"]


class Path:
    """Where a change of the picture leads along one axis, step by step.

    Attributes
    ----------
    changes : list of (Interval or None)
        Of every step's output.
    starts : list of tuple of int
        Of every step, where what it needs of each input begins.
    signature : tuple
        Equal for changes that are computed alike, at another place.
    """

    def __init__(self, program: Program, dim: int, changed: Interval) -> None:
        known: dict[str, Interval | None] = {program.picture: changed}
        signature: list[object] = [changed.size]
        self.changes: list[Interval | None] = []
        self.starts: list[tuple[int, ...]] = []
        for step in program.steps:
            axis = (step.rows, step.cols)[dim]
            inputs = [known[name] for name in step.inputs]
            out = axis.change(inputs)
            known[step.name] = out
            self.changes.append(out)
            if out is None:
                self.starts.append(())
                signature.append(None)
                continue
            spans = axis.need(out)
            self.starts.append(tuple(span.lo for span in spans))
            signature.append((out.size, axis.pattern(out), tuple(
                (span.hi - span.lo, span.before, span.after, None if interval is None else interval.lo - span.lo)
                for span, interval in zip(spans, inputs, strict=True)
            )))  # fmt: skip
        self.signature = tuple(signature)


class Paths:
    """The paths of all changes asked for so far."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._known: tuple[dict[Interval, Path], ...] = ({}, {})
        self._sizes = program.sizes[program.picture]
        self._whole_cost = sum(step.cost(*program.sizes[step.name]) for step in program.steps)
        self.alignment = tuple(self._alignment(dim) for dim in (0, 1))

    def of(self, box: Sequence[int]) -> tuple[Path, Path]:
        """Along rows and columns, for a change in (row0, col0, row1, col1)."""
        row0, col0, row1, col1 = box
        return self._along(0, Interval(row0, row1)), self._along(1, Interval(col0, col1))

    def aligned(self, boxes: NDArray[np.intp]) -> NDArray[np.intp]:
        """The boxes (n, 4) grown to a grid that most values of the network share, so that many are alike."""
        steps = np.array(self.alignment * 2)
        grown: NDArray[np.intp] = boxes // steps * steps
        grown[:, 2:] = np.minimum(-(-boxes[:, 2:] // steps[2:]) * steps[2:], self._sizes)
        return grown

    def share(self, boxes: NDArray[np.intp]) -> float:
        """Part of the whole network's multiplications that changes in these boxes cost, on average."""
        total = 0.0
        for box in self.aligned(boxes).tolist():
            rows, cols = self.of(box)
            for step, down, across in zip(self._program.steps, rows.changes, cols.changes, strict=True):
                if down is not None and across is not None:
                    total += step.cost(down.size, across.size)
        return total / (len(boxes) * self._whole_cost)

    def window(self, boxes: NDArray[np.intp]) -> tuple[int, int]:
        """Size of the largest window of the output that a change in one of these boxes can reach."""
        last = [step.name for step in self._program.steps].index(self._program.output)
        largest = [0, 0]
        for box in self.aligned(boxes).tolist():
            for dim, path in enumerate(self.of(box)):
                change = path.changes[last]
                largest[dim] = max(largest[dim], change.size if change else 0)
        return largest[0], largest[1]

    def wide_steps(self) -> list[str]:
        """Labels of the steps that look at the whole picture, first those nearest to it."""
        middle = [size // 2 for size in self._sizes]
        paths = self.of((*middle, *(place + 1 for place in middle)))
        changed: dict[str, tuple[int, ...]] = {self._program.picture: (1, 1)}
        labels = []
        for step, *outs in zip(self._program.steps, *(path.changes for path in paths), strict=True):
            size = self._program.sizes[step.name]
            changed[step.name] = tuple(out.size if out else 0 for out in outs)
            # What comes after such a step is whole anyway.
            narrow = [name for name in step.inputs if changed[name] != self._program.sizes[name]]
            if narrow and changed[step.name] == size and (isinstance(step, Opaque) or size == (1, 1)):
                labels.append(step.label)
        return list(dict.fromkeys(labels))

    def _along(self, dim: int, changed: Interval) -> Path:
        known = self._known[dim]
        if changed not in known:
            known[changed] = Path(self._program, dim, changed)
        return known[changed]

    def _alignment(self, dim: int) -> int:
        """Picture pixels after which the values of the network repeat their grids, as far as they have one."""
        height = self._sizes[dim]
        steps = [1]
        for size in {sizes[dim] for sizes in self._program.sizes.values()}:
            ratio = height / size
            nearest = 2 ** round(math.log2(ratio)) if ratio > 1 else 1
            if 1 < nearest <= height // 4 and abs(ratio / nearest - 1) < 0.2:
                steps.append(nearest)
        return max(steps)
