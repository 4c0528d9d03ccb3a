"""Compute only what changes: windows of a network's values over those of the unchanged picture."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hdm_widgets.windowed.axes import Axis, Interval, Span
from hdm_widgets.windowed.build import Program
from hdm_widgets.windowed.paths import Path, Paths
from hdm_widgets.windowed.steps import (
    Cat,
    Constant,
    Convolution,
    Frame,
    Local,
    Opaque,
    Step,
    TransposedConvolution,
)

__all__ = ["Base", "Network", "Windows"]

# Windows of so many bytes are computed at a time: on a CPU what is larger leaves its caches and is slower for each.
_CPU_BYTES = 8 << 20
_GPU_BYTES = 512 << 20
_MOST = 256
# Four strips around a piece are copied instead of the whole box if the piece is at least this part of it, inverted.
_RING_COSTS = 2


@dataclass(frozen=True)
class Windows:
    """What one batch computed: the output in windows of one size; elsewhere it is as without the changes.

    Attributes
    ----------
    items : numpy.ndarray (n,)
        Which of the changes.
    rows, cols : numpy.ndarray (n,)
        Where each window begins.
    values : torch.Tensor (n, ..., h, w)
    """

    items: NDArray[np.intp]
    rows: NDArray[np.intp]
    cols: NDArray[np.intp]
    values: Tensor


class Network:
    """A traced network, for whole pictures and for windows.

    Parameters
    ----------
    program : Program
    device : torch.device
    """

    def __init__(self, program: Program, device: torch.device) -> None:
        self.program = program
        self.device = device
        self._makers = {step.name: step for step in program.steps}
        self._last_use: dict[str, int] = {}
        self._users: dict[str, int] = defaultdict(int)
        for place, step in enumerate(program.steps):
            for name in step.inputs:
                self._last_use[name] = place
                self._users[name] += 1
        self._last_use[program.output] = len(program.steps)
        self._users[program.output] += 1
        self.kept = self._values_to_keep()
        self.paths = Paths(program)

    def full(self, pictures: Tensor) -> Tensor:
        """The output (N, ...) for whole pictures (N, C, H, W)."""
        return self._forward(pictures, frozenset())[self.program.output]

    def base(self, picture: Tensor) -> Base:
        """Everything that windows over this picture (C, H, W) need."""
        return Base(self, self._forward(picture[None], self.kept))

    @property
    def kept_bytes(self) -> int:
        """Memory that the values of an unchanged picture take; float32, as nearly all networks are."""
        program = self.program
        return sum(4 * program.channels.get(name, 1) * math.prod(program.sizes[name]) for name in self.kept)

    @property
    def budget(self) -> int:
        """Bytes that the largest value of a batch of windows takes at most, unless one window is larger."""
        return _CPU_BYTES if self.device.type == "cpu" else _GPU_BYTES

    def writes(self, step: Step) -> bool:
        """Whether a step may write into its input: fresh from a convolution, and nobody else reads it."""
        return (
            isinstance(step, Local)
            and step.in_place is not None
            and self._users[step.inputs[0]] == 1
            and isinstance(self._makers.get(step.inputs[0]), (Convolution, TransposedConvolution))
        )

    def _forward(self, pictures: Tensor, keep: frozenset[str]) -> dict[str, Tensor]:
        program = self.program
        values = {program.picture: laid_out(pictures.to(self.device))}
        scalars = program.scalars(len(pictures))
        for place, step in enumerate(program.steps):
            rows, cols = (
                _frame(axis, Interval(0, size))
                for axis, size in zip((step.rows, step.cols), program.sizes[step.name], strict=True)
            )
            patches = [_padded_patch(step, values[name], rows, cols, index) for index, name in enumerate(step.inputs)]
            if self.writes(step) and step.inputs[0] not in keep:
                assert isinstance(step, Local) and step.in_place is not None  # as `writes` says  # noqa: S101, PT018
                values[step.name] = step.in_place(patches, scalars)
            else:
                values[step.name] = step.compute(patches, rows, cols, scalars)
            del patches
            for name in step.inputs:
                if self._last_use[name] == place and name not in keep:
                    values.pop(name, None)
        return values

    def _values_to_keep(self) -> frozenset[str]:
        """Values that windows are completed from."""
        kept = {self.program.output}
        for step in self.program.steps:
            if isinstance(step, Constant):
                kept.add(step.name)
            # What is joined is completed from the joined value.
            if isinstance(step, Cat):
                continue
            # A local step with one input needs what changed and no more, if that is in one piece.
            if isinstance(step, Local) and not isinstance(step, Opaque) and len(step.inputs) == 1:
                kept.update(name for name in step.inputs if isinstance(self._makers.get(name), Cat))
            else:
                kept.update(step.inputs)
        return frozenset(kept)


def laid_out(values: Tensor) -> Tensor:
    """In the layout that convolutions are quickest with."""
    return values.contiguous(memory_format=torch.channels_last) if values.ndim == 4 else values


def _frame(axis: Axis, out: Interval) -> Frame:
    return Frame(out, axis.need(out))


def _outer_padding(step: Step, index: int, rows: Frame, cols: Frame) -> tuple[int, int, int, int]:
    """What a patch must be padded with (left, right, above, below) beside what the step adds itself."""
    amounts = []
    for dim, frame in ((1, cols), (0, rows)):
        span = frame.spans[index]
        inner = step.inner_padding(dim, span, frame.out.size)
        amounts += [span.before, span.after] if inner is None else [0, 0]
    left, right, above, below = amounts
    return left, right, above, below


def _padded_patch(step: Step, value: Tensor, rows: Frame, cols: Frame, index: int) -> Tensor:
    if value.ndim < 3 or isinstance(step, Opaque):
        return value
    (row, last_row, *_), (col, last_col, *_) = rows.spans[index], cols.spans[index]
    patch = value
    if (row, last_row, col, last_col) != (0, value.shape[-2], 0, value.shape[-1]):
        patch = value[..., row:last_row, col:last_col]
    padding = _outer_padding(step, index, rows, cols)
    return torch.nn.functional.pad(patch, padding, value=step.border or 0.0) if any(padding) else patch


@dataclass(frozen=True)
class _Piece:
    """Changed values of some channels."""

    values: Tensor
    rows: Interval
    cols: Interval
    channels: tuple[int, int] | None = None


@dataclass(frozen=True)
class _Changed:
    """A value of a batch: its pieces, and the box around them for the first item."""

    rows: Interval
    cols: Interval
    pieces: tuple[_Piece, ...]


class Base:
    """A network over the values of one unchanged picture.

    Attributes
    ----------
    output : torch.Tensor (1, ...)
        For the unchanged picture.
    """

    def __init__(self, network: Network, values: dict[str, Tensor]) -> None:
        self.network = network
        self._values = {name: laid_out(value) for name, value in values.items()}
        program = network.program
        self.output = values[program.output]

    def run(
        self, boxes: NDArray[np.intp], content: Callable[[NDArray[np.intp], NDArray[np.intp]], Tensor]
    ) -> Iterator[Windows]:
        """The output where it may change.

        Parameters
        ----------
        boxes : numpy.ndarray (n, 4)
            (row0, col0, row1, col1), half open: outside of it a picture is the unchanged one.
        content : callable
            Of items (k,) and boxes (k, 4) of one size: what is in those boxes of those pictures, (k, C, h, w).
        """
        groups: dict[Any, list[int]] = defaultdict(list)
        paths = self.network.paths
        aligned = paths.aligned(boxes)
        for item, (row0, col0, row1, col1) in enumerate(aligned.tolist()):
            rows, cols = paths.of((row0, col0, row1, col1))
            groups[rows.signature, cols.signature].append(item)
        for members in groups.values():
            count = self._at_a_time(*paths.of(aligned[members[0]].tolist()))
            for start in range(0, len(members), count):
                items = np.array(members[start : start + count])
                yield self._compute(items, aligned[items], content)

    def _at_a_time(self, rows: Path, cols: Path) -> int:
        largest = 1
        for step, down, across in zip(self.network.program.steps, rows.changes, cols.changes, strict=True):
            if down is not None and across is not None and step.name in self._values:
                value = self._values[step.name]
                places = down.size * across.size if value.ndim >= 3 else 1
                largest = max(largest, value[..., :1, :1].numel() * value.element_size() * places)
        return min(_MOST, max(1, self.network.budget // largest))

    def _compute(
        self, items: NDArray[np.intp], boxes: NDArray[np.intp],
        content: Callable[[NDArray[np.intp], NDArray[np.intp]], Tensor],
    ) -> Windows:  # fmt: skip
        network, program = self.network, self.network.program
        along = [network.paths.of(box) for box in boxes.tolist()]
        down, across = [rows for rows, _ in along], [cols for _, cols in along]
        row0, col0, row1, col1 = boxes[0].tolist()
        first = Interval(row0, row1), Interval(col0, col1)
        patch = laid_out(content(items, boxes).to(network.device))
        values: dict[str, _Changed | None] = {program.picture: _Changed(*first, (_Piece(patch, *first),))}
        scalars = program.scalars(len(items))
        for place, step in enumerate(program.steps):
            inputs = [values[name] for name in step.inputs]
            rows = step.rows.change([value and value.rows for value in inputs])
            cols = step.cols.change([value and value.cols for value in inputs])
            if rows is None or cols is None:
                values[step.name] = None
            elif isinstance(step, Cat):
                values[step.name] = _Changed(rows, cols, tuple(self._joined(step, inputs)))
            else:
                frames = _frame(step.rows, rows), _frame(step.cols, cols)
                patches = [
                    self._patch(
                        step, index, value, *frames,
                        [trace.starts[place][index] for trace in down], [trace.starts[place][index] for trace in across],
                    )
                    for index, value in enumerate(inputs)
                ]  # fmt: skip
                if network.writes(step):
                    assert isinstance(step, Local) and step.in_place is not None  # as `writes` says  # noqa: S101, PT018
                    result = step.in_place(patches, scalars)
                else:
                    result = step.compute(patches, *frames, scalars)
                values[step.name] = _Changed(rows, cols, (_Piece(result, rows, cols),))
            for name in step.inputs:
                if network._last_use[name] == place:
                    values.pop(name, None)
        out = values[program.output]
        last = [step.name for step in program.steps].index(program.output)
        if out is None:
            empty = np.zeros(len(items), np.intp)
            return Windows(items, empty, empty, self.output.expand(len(items), *self.output.shape[1:])[..., :0, :0])
        starts = [[trace.changes[last].lo for trace in traces] for traces in (down, across)]  # type: ignore[union-attr]  # as `out`
        whole = self._assemble(program.output, out, Span(*out.rows), Span(*out.cols), *starts, (0, 0, 0, 0), 0.0)
        return Windows(items, np.array(starts[0]), np.array(starts[1]), whole)

    def _joined(self, step: Cat, inputs: list[_Changed | None]) -> Iterator[_Piece]:
        first = 0
        for name, value in zip(step.inputs, inputs, strict=True):
            count = self.network.program.channels[name]
            for piece in value.pieces if value else ():
                lo, hi = piece.channels or (0, count)
                yield replace(piece, channels=(first + lo, first + hi))
            first += count

    def _patch(
        self, step: Step, index: int, value: _Changed | None, rows: Frame, cols: Frame,
        row_starts: list[int], col_starts: list[int],
    ) -> Tensor:  # fmt: skip
        """What a step needs of an input, for every item."""
        name = step.inputs[index]
        if self._values.get(name, _NOTHING).ndim < 3 and name in self._values:
            return value.pieces[0].values if value else self._values[name].expand(len(row_starts), -1)
        padding = _outer_padding(step, index, rows, cols)
        return self._assemble(
            name, value, rows.spans[index], cols.spans[index], row_starts, col_starts, padding, step.border
        )

    def _assemble(
        self, name: str, value: _Changed | None, rows: Span, cols: Span,
        row_starts: list[int], col_starts: list[int], padding: tuple[int, int, int, int], border: float | None,
    ) -> Tensor:  # fmt: skip
        """A box of a value for every item: what changed in it, the unchanged value around, `border` beyond."""
        pieces = value.pieces if value else ()
        if not any(padding):
            if len(pieces) == 1 and pieces[0].channels is None:
                values, down, across = pieces[0].values, pieces[0].rows, pieces[0].cols
                if (down.lo, down.hi, across.lo, across.hi) == (rows.lo, rows.hi, cols.lo, cols.hi):
                    return values
                if down.lo <= rows.lo and rows.hi <= down.hi and across.lo <= cols.lo and cols.hi <= across.hi:
                    return values[..., rows.lo - down.lo : rows.hi - down.lo, cols.lo - across.lo : cols.hi - across.lo]
            if not pieces and len(set(row_starts)) == len(set(col_starts)) == 1:
                unchanged = self._values[name][..., rows.lo : rows.hi, cols.lo : cols.hi]
                return unchanged.expand(len(row_starts), *unchanged.shape[1:])
        unchanged = self._values[name]
        left, right, above, below = padding
        height, width = rows.hi - rows.lo, cols.hi - cols.lo
        shape = (len(row_starts), *unchanged.shape[1:-2], above + height + below, left + width + right)
        whole = _empty(shape, unchanged)
        if any(padding):
            for edge in (
                whole[..., :above, :], whole[..., above + height :, :], whole[..., :left], whole[..., left + width :]
            ):  # fmt: skip
                edge.fill_(border or 0.0)
        inside = whole[..., above : above + height, left : left + width]
        for part in pieces or (None,):
            for lo, hi, wide, end in _around(part, rows, cols):
                channels = part.channels if part else None
                target = (
                    inside[..., lo:hi, wide:end] if channels is None else inside[:, slice(*channels), lo:hi, wide:end]
                )
                source = unchanged[0] if channels is None else unchanged[0, slice(*channels)]
                for item, (row, col) in enumerate(zip(row_starts, col_starts, strict=True)):
                    target[item].copy_(source[..., row + lo : row + hi, col + wide : col + end])
            if part is not None:
                _paste(inside, part, rows, cols)
        return whole


_NOTHING = torch.empty(0)


def _empty(shape: tuple[int, ...], like: Tensor) -> Tensor:
    layout = torch.channels_last if len(shape) == 4 else torch.contiguous_format
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=layout)


def _paste(inside: Tensor, piece: _Piece, rows: Span, cols: Span) -> None:
    """Put a piece where it belongs in a box, as far as it lies in it."""
    top, bottom = max(piece.rows.lo, rows.lo), min(piece.rows.hi, rows.hi)
    left, right = max(piece.cols.lo, cols.lo), min(piece.cols.hi, cols.hi)
    if top >= bottom or left >= right:
        return
    target = inside if piece.channels is None else inside[:, slice(*piece.channels)]
    target[..., top - rows.lo : bottom - rows.lo, left - cols.lo : right - cols.lo].copy_(
        piece.values[..., top - piece.rows.lo : bottom - piece.rows.lo, left - piece.cols.lo : right - piece.cols.lo]
    )


def _around(piece: _Piece | None, rows: Span, cols: Span) -> list[tuple[int, int, int, int]]:
    """Parts (row0, row1, col0, col1) of a box, from its corner, to be filled before a piece is put into it."""
    height, width = rows.hi - rows.lo, cols.hi - cols.lo
    if piece is None:
        return [(0, height, 0, width)]
    top, bottom = max(piece.rows.lo - rows.lo, 0), min(piece.rows.hi - rows.lo, height)
    left, right = max(piece.cols.lo - cols.lo, 0), min(piece.cols.hi - cols.lo, width)
    if (bottom - top) * (right - left) * _RING_COSTS < height * width:
        return [(0, height, 0, width)]
    parts = [(0, top, 0, width), (bottom, height, 0, width), (top, bottom, 0, left), (top, bottom, right, width)]
    return [(lo, hi, wide, end) for lo, hi, wide, end in parts if lo < hi and wide < end]
