"""Windowed inference: the output for changed images, computed only where it may change."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hdm_widgets.models.errors import is_out_of_memory
from hdm_widgets.models.tf32 import without_tf32
from hdm_widgets.windowed.axes import Interval, Span
from hdm_widgets.windowed.estimates import Summary
from hdm_widgets.windowed.gather import Positions, gathered
from hdm_widgets.windowed.network import Network, axis_window, channels_last, padding_of_patch
from hdm_widgets.windowed.propagation import AxisPropagation, Reach, footprint, limited
from hdm_widgets.windowed.steps import AxisWindow, Concatenation, GlobalStep, Step

__all__ = ["WindowedInference", "Windows"]

_MAX_BATCH = 256
# If the changed piece covers at least 1/_STRIPS of the box, copy only the border around it.
_STRIPS = 2

Content = Callable[[NDArray[np.intp], NDArray[np.intp]], Tensor]
# (row0, row1, col0, col1), from the corner of a box.
_Part = tuple[int, int, int, int]


@dataclass(frozen=True, eq=False)
class Windows:
    """What one batch computed: windows of the output, all of one size; elsewhere the output is the unchanged one.

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


@dataclass(frozen=True, eq=False)
class _Piece:
    """Changed values of some channels (None: of all), (n, ..., h, w), and where they are for the first item."""

    values: Tensor
    rows: Interval
    cols: Interval
    channels: tuple[int, int] | None = None


@dataclass(frozen=True, eq=False)
class _ChangedValue:
    """A value of a batch: its changed pieces and the box around them, for the first item."""

    rows: Interval
    cols: Interval
    pieces: tuple[_Piece, ...]


class WindowedInference:
    """A network with the activations of one unchanged image, from which windows are completed.

    Parameters
    ----------
    network : Network
    image : torch.Tensor (C, H, W)

    Attributes
    ----------
    network : Network
    output : torch.Tensor (1, ...)
        For the unchanged image.
    activations : dict of str to torch.Tensor
        Cached activations of the unchanged image.
    positions : Positions
        On the network's device.
    """

    def __init__(self, network: Network, image: Tensor) -> None:
        self.network = network
        # Exact, so that what is computed from them in TF32 and without differs by the windows' own rounding alone.
        with without_tf32(network.device):
            activations = network.activations(image)
        self.output = activations[network.program.output]
        self.activations = {name: channels_last(value) for name, value in activations.items() if name in network.cached}
        self._ranges: dict[str, float] = {}
        self.positions = Positions(network.device)
        self.propagation = network.propagation

    @property
    def has_summaries(self) -> bool:
        """Whether statistics of whole maps change with what is in a window."""
        return any(isinstance(step, Summary) for step in self.network.program.steps)

    def reach(self, boxes: NDArray[np.intp], content: Content, tolerance: float) -> Reach:
        """How far changes go by more than this fraction of a value's range, at most, in these boxes (n, 4)."""
        reach: Reach = {}
        for item, box in enumerate(boxes):
            batch = _Batch(self, box[None], tolerance)
            batch.run(np.array([item]), content)
            changed = [Interval(*map(int, box[[dim, dim + 2]])) for dim in (0, 1)]
            for name, found in batch.extents.items():
                known = reach.get(name, ((0, 0), (0, 0)))
                over = [footprint(self.network.program, name, dim, changed[dim]) for dim in (0, 1)]
                rows, cols = (
                    (max(before, own.lo - each.lo), max(after, each.hi - own.hi))
                    for (before, after), own, each in zip(known, over, found or over, strict=True)
                )
                reach[name] = rows, cols
        return reach

    def limited(self, reach: Reach) -> WindowedInference:
        """The same, following changes so far only."""
        other = copy(self)
        other.propagation = self.propagation.limited(reach)
        return other

    def run(self, boxes: NDArray[np.intp], content: Content) -> Iterator[Windows]:
        """Compute the output where it may change, batch by batch; changes that propagate alike are computed together.

        Parameters
        ----------
        boxes : numpy.ndarray (n, 4)
            (row0, col0, row1, col1), half open: outside of its box, a changed image equals the unchanged one.
        content : callable
            Called with items (k,) and boxes (k, 4) of one size; gives what is in those boxes of the changed images,
            (k, C, h, w). These boxes contain the given ones and may be larger.

        Yields
        ------
        Windows
        """
        groups: dict[Any, list[int]] = defaultdict(list)
        propagation = self.propagation
        aligned = propagation.aligned(boxes)
        for item, box in enumerate(aligned.tolist()):
            rows, cols = propagation.of_box(box)
            groups[rows.kind, cols.kind].append(item)
        for members in groups.values():
            one = self.network.program.one_by_one
            count = 1 if one else self._batch_size(*propagation.of_box(aligned[members[0]].tolist()))
            done = 0
            while done < len(members):
                items = np.array(members[done : done + count])
                try:
                    windows = _Batch(self, aligned[items]).run(items, content)
                except Exception as error:
                    if len(items) == 1 or not is_out_of_memory(error):
                        raise
                    count = len(items) // 2
                    continue
                done += len(items)
                yield windows

    def value_range(self, name: str) -> float:
        """Maximum less minimum of a value of the unchanged image."""
        if name not in self._ranges:
            low, high = self.activations[name].aminmax()
            self._ranges[name] = float(high - low)
        return self._ranges[name]

    def _batch_size(self, rows: AxisPropagation, cols: AxisPropagation) -> int:
        largest = 1
        for step, down, across in zip(self.network.program.steps, rows.changes, cols.changes, strict=True):
            value = self.activations.get(step.name)
            whole = [self.activations[name] for index, name in enumerate(step.inputs) if step.reads_whole(index)]
            if down is not None and across is not None and whole:
                largest = max(largest, *(each.numel() * each.element_size() for each in whole))
            if down is not None and across is not None and value is not None:
                fraction = down.size * across.size / math.prod(self.network.program.sizes[step.name])
                largest = max(largest, int(value.numel() * value.element_size() * fraction))
        return min(_MAX_BATCH, max(1, self.network.batch_bytes // largest))


class _Batch:
    """Changes that propagate alike, at different positions.

    Intervals are those of the first item; the others are shifted against it.
    """

    def __init__(self, inference: WindowedInference, boxes: NDArray[np.intp], tolerance: float | None = None) -> None:
        self._inference, self._network = inference, inference.network
        self._boxes, self._tolerance = boxes, tolerance
        along = [inference.propagation.of_box(box) for box in boxes.tolist()]
        row0, col0, row1, col1 = boxes[0].tolist()
        self._changed_box = Interval(row0, row1), Interval(col0, col1)
        # Where values changed by more than the tolerance, if there is one.
        self.extents: dict[str, tuple[Interval, Interval] | None] = {}
        self._along = [rows for rows, _ in along], [cols for _, cols in along]
        self._values: dict[str, _ChangedValue | None] = {}

    @torch.inference_mode()
    def run(self, items: NDArray[np.intp], content: Content) -> Windows:
        """Compute every step on windows."""
        network, program = self._network, self._network.program
        row0, col0, row1, col1 = self._boxes[0].tolist()
        rows, cols = Interval(row0, row1), Interval(col0, col1)
        patch = channels_last(content(items, self._boxes).to(network.device))
        self._values[program.image] = _ChangedValue(rows, cols, (_Piece(patch, rows, cols),))
        numbers = program.numbers_at(len(items))
        if network.device.type != "cpu" and len(items) > 1:
            along = [[each.positions for each in changes] for changes in self._along]
            self._inference.positions.send(np.hstack([np.array(each) for each in along]))
        for index, step in enumerate(program.steps):
            self._values[step.name] = self._changed(index, step, numbers)
            for name in step.inputs:
                if network.last_use(name) == index:
                    self._values.pop(name, None)
        out = self._values[program.output]
        if out is None:
            nowhere = np.zeros(len(items), np.intp)
            nothing = self._inference.output[..., :0, :0].expand(len(items), *self._inference.output.shape[1:-2], 0, 0)
            return Windows(items, nowhere, nowhere, nothing)
        starts = self._starts(program.output, out)
        values = self._completed(program.output, out, Span(*out.rows), Span(*out.cols), *starts)
        return Windows(items, np.array(starts[0]), np.array(starts[1]), values)

    def _changed(self, index: int, step: Step, numbers: dict[str, Any]) -> _ChangedValue | None:
        """What a step computes from changed inputs."""
        inputs = [self._values[name] for name in step.inputs]
        rows, cols = (self._change(index, step, dim, inputs) for dim in (0, 1))
        if rows is None or cols is None:
            whole = (
                isinstance(step, (Concatenation, GlobalStep, Summary)) or step.name in self._network.program.not_spatial
            )
            if self._tolerance is not None and not whole:
                self.extents[step.name] = None
            return None
        if isinstance(step, Concatenation):
            return _ChangedValue(rows, cols, tuple(self._joined(step, inputs)))
        if isinstance(step, Summary):
            return _ChangedValue(rows, cols, (_Piece(self._updated(step, inputs[0]), rows, cols),))
        windows = self._window(index, step, 0, rows), self._window(index, step, 1, cols)
        patches = [self._patch(index, step, each, value, *windows) for each, value in enumerate(inputs)]
        # An unchanged input is a part of the cached values: nothing may be written there.
        in_place = self._network.in_place(step) if inputs and inputs[0] is not None else None
        result = step.compute(patches, *windows, numbers) if in_place is None else in_place(patches, numbers)
        changed = _ChangedValue(rows, cols, (_Piece(result, rows, cols),))
        # What is computed from whole values is whole.
        whole = self._tolerance is None or isinstance(step, GlobalStep)
        return changed if whole else self._shrunk(step.name, changed)

    def _change(self, index: int, step: Step, dim: int, inputs: list[_ChangedValue | None]) -> Interval | None:
        """Positions along an axis that a step changes."""
        if self._tolerance is None:
            return self._along[dim][0].changes[index]
        changed = step.propagate(dim, [(value.rows, value.cols)[dim] if value else None for value in inputs])
        reach = self._inference.propagation.reach
        return limited(changed, self._network.program, step.name, dim, self._changed_box[dim], reach)

    def _window(self, index: int, step: Step, dim: int, out: Interval) -> AxisWindow:
        """Positions along an axis that a step changes, with its receptive field."""
        if self._tolerance is None:
            return AxisWindow(out, self._along[dim][0].spans[index])
        return axis_window((step.rows, step.cols)[dim], out)

    def _updated(self, step: Summary, value: _ChangedValue | None) -> Tensor:
        """A summary of a changed map."""
        assert value is not None  # else the summary would be unchanged  # noqa: S101
        (name,) = step.inputs
        where = Span(*value.rows), Span(*value.cols), *self._starts(name, value)
        before, after = self._completed(name, None, *where), self._completed(name, value, *where)
        positions = math.prod(self._network.program.sizes[name])
        return step.updated(self._inference.activations[step.name], before, after, positions)

    def _joined(self, step: Concatenation, inputs: list[_ChangedValue | None]) -> Iterator[_Piece]:
        """The pieces of the parts of a concatenation, with their channels in the whole."""
        first = 0
        for name, value in zip(step.inputs, inputs, strict=True):
            for piece in value.pieces if value else ():
                lo, hi = piece.channels or (0, self._network.program.channels[name])
                yield replace(piece, channels=(first + lo, first + hi))
            first += self._network.program.channels[name]

    def _shrunk(self, name: str, changed: _ChangedValue) -> _ChangedValue | None:
        """Cut the margins that changed by no more than the tolerance; None if nothing changed by more."""
        unchanged = self._inference.activations.get(name)
        (piece,) = changed.pieces
        if name in self._network.program.not_spatial:
            return changed
        self.extents[name] = changed.rows, changed.cols
        # Only (n, C, h, w) of real numbers has margins.
        if unchanged is None or self._tolerance is None:
            return changed
        if unchanged.ndim != 4 or not unchanged.is_floating_point() or len(piece.values) != len(self._boxes):
            return changed
        rows, cols = self._starts(name, changed)
        limit = self._tolerance * self._inference.value_range(name)
        large = torch.zeros(piece.values.shape[-2:], dtype=torch.bool, device=piece.values.device)
        for values, row, col in zip(piece.values, rows, cols, strict=True):
            before = unchanged[0, ..., row : row + values.shape[-2], col : col + values.shape[-1]]
            # NaN is a change.
            large |= ~((values - before).abs() <= limit).all(0)
        # One copy to the CPU for both axes.
        touched = torch.cat([large.any(1), large.any(0)]).cpu().numpy()
        down, across = (np.flatnonzero(each) for each in np.split(touched, [len(large)]))
        if not len(down):
            self.extents[name] = None
            return None
        top, bottom, left, right = int(down[0]), int(down[-1]) + 1, int(across[0]), int(across[-1]) + 1
        inner_rows = Interval(changed.rows.lo + top, changed.rows.lo + bottom)
        inner_cols = Interval(changed.cols.lo + left, changed.cols.lo + right)
        self.extents[name] = inner_rows, inner_cols
        inner = _Piece(piece.values[..., top:bottom, left:right], inner_rows, inner_cols)
        return _ChangedValue(inner_rows, inner_cols, (inner,))

    def _starts(self, name: str, value: _ChangedValue) -> tuple[list[int], list[int]]:
        """Row and column where a value's box begins, for every item."""
        if name == self._network.program.image:
            row_starts, col_starts = (
                self._boxes[:, :2] - self._boxes[0, :2] + (value.rows.lo, value.cols.lo)
            ).T.tolist()
            return row_starts, col_starts
        index = self._network.index(name)
        rows, cols = (
            [own.lo + each.changes[index].lo - along[0].changes[index].lo for each in along]  # type: ignore[union-attr]  # changed
            for own, along in zip((value.rows, value.cols), self._along, strict=True)
        )
        return rows, cols

    def _patch(
        self, index: int, step: Step, each: int, value: _ChangedValue | None, rows: AxisWindow, cols: AxisWindow
    ) -> Tensor:
        """The patch that a step needs of one of its inputs, for every item."""
        name = step.inputs[each]
        if name in self._network.program.not_spatial:
            if value is not None:
                return value.pieces[0].values
            unchanged = self._inference.activations[name]
            return unchanged if len(self._boxes) == 1 else unchanged.expand(len(self._boxes), *unchanged.shape[1:])
        if step.reads_whole(each) and value is not None:
            return self._whole(name, value)
        row_starts, col_starts = (
            [window.spans[each].lo + item.spans[index][each].lo - along[0].spans[index][each].lo for item in along]
            for window, along in zip((rows, cols), self._along, strict=True)
        )
        padding = padding_of_patch(step, each, rows, cols)
        return self._completed(
            name, value, rows.spans[each], cols.spans[each], row_starts, col_starts, padding, step.padding_value
        )

    def _whole(self, name: str, value: _ChangedValue) -> Tensor:
        """A whole value for every item, each with its change at a place of its own."""
        unchanged, count = self._inference.activations[name], len(self._boxes)
        box = unchanged.expand(count, *unchanged.shape[1:]).clone(memory_format=torch.contiguous_format)
        rows, cols = self._starts(name, value)
        for piece, channels in _by_channels(value.pieces, unchanged.shape[1]):
            if piece is None:
                continue
            starts = (
                (piece.rows.lo - value.rows.lo, piece.rows.size, rows),
                (piece.cols.lo - value.cols.lo, piece.cols.size, cols),
            )
            down, across = (
                self._inference.positions(lists)[:, None] + torch.arange(first, first + size, device=box.device)
                for first, size, lists in starts
            )
            items = torch.arange(count, device=box.device)[:, None, None]
            target = box[:, channels].movedim((-2, -1), (1, 2))
            target[items, down[:, :, None], across[:, None, :]] = piece.values.movedim((-2, -1), (1, 2))
        return box

    def _completed(
        self, name: str, value: _ChangedValue | None, rows: Span, cols: Span,
        row_starts: list[int], col_starts: list[int],
        padding: tuple[int, int, int, int] = (0, 0, 0, 0), padding_value: float | None = None,
    ) -> Tensor:  # fmt: skip
        """A box of a value for every item: its changed pieces, the unchanged values around them, and padding."""
        pieces = value.pieces if value else ()
        if not any(padding):
            if len(pieces) == 1 and pieces[0].channels is None:
                values, down, across = pieces[0].values, pieces[0].rows, pieces[0].cols
                if down.lo <= rows.lo and rows.hi <= down.hi and across.lo <= cols.lo and cols.hi <= across.hi:
                    return values[..., rows.lo - down.lo : rows.hi - down.lo, cols.lo - across.lo : cols.hi - across.lo]
            if not pieces and len(set(row_starts)) == len(set(col_starts)) == 1:
                unchanged = self._inference.activations[name][..., rows.lo : rows.hi, cols.lo : cols.hi]
                return unchanged.expand(len(row_starts), *unchanged.shape[1:])
        unchanged = self._inference.activations[name]
        left, right, above, below = padding
        height, width = rows.hi - rows.lo, cols.hi - cols.lo
        shape = (len(row_starts), *unchanged.shape[1:-2], above + height + below, left + width + right)
        box = _empty(shape, unchanged)
        inside = box[..., above : above + height, left : left + width]
        edges = box[..., :above, :], box[..., above + height :, :], box[..., :left], box[..., left + width :]
        for edge, size in zip(edges, (above, below, left, right), strict=True):
            if size:
                edge.fill_(padding_value or 0.0)
        for piece, channels in _by_channels(pieces, unchanged.shape[1]):
            target, source = inside[:, channels], unchanged[0, channels]
            parts = _around(piece, rows, cols)
            if parts and box.device.type != "cpu":
                # On a GPU, starting many small copies takes longer than one of everything.
                positions = self._inference.positions
                target.copy_(gathered(source, positions(row_starts), positions(col_starts), height, width))
            elif parts:
                _fill(target, source, parts, row_starts, col_starts)
            if piece is not None:
                _paste(target, piece, rows, cols)
        return box


def _by_channels(pieces: tuple[_Piece, ...], count: int) -> Iterator[tuple[_Piece | None, slice]]:
    """All channels in order, each with the piece that has it, if any."""
    done = 0
    for piece in pieces:
        first, last = piece.channels or (0, count)
        if done < first:
            yield None, slice(done, first)
        yield piece, slice(first, last)
        done = last
    if done < count:
        yield None, slice(done, count)


def _empty(shape: tuple[int, ...], like: Tensor) -> Tensor:
    memory_format = torch.channels_last if len(shape) == 4 else torch.contiguous_format
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=memory_format)


def _fill(target: Tensor, source: Tensor, parts: list[_Part], row_starts: list[int], col_starts: list[int]) -> None:
    """Copy parts (row0, row1, col0, col1) of boxes, which begin at these positions of a source, for every item.

    On a CPU; as arrays, since a copy of few values takes PyTorch five times as long.
    """
    boxes = _as_array(target.movedim((-2, -1), (1, 2)))
    unchanged = _as_array(source.movedim((-2, -1), (0, 1)))
    for top, bottom, left, right in parts:
        for box, row, col in zip(boxes, row_starts, col_starts, strict=True):
            box[top:bottom, left:right] = unchanged[row + top : row + bottom, col + left : col + right]


def _as_array(values: Tensor) -> NDArray[Any]:
    """The memory of a tensor, to copy it."""
    return (values.view(torch.int16) if values.dtype == torch.bfloat16 else values).numpy()


def _paste(target: Tensor, piece: _Piece, rows: Span, cols: Span) -> None:
    """Copy the part of a piece that is in a box to its position there."""
    top, bottom = max(piece.rows.lo, rows.lo), min(piece.rows.hi, rows.hi)
    left, right = max(piece.cols.lo, cols.lo), min(piece.cols.hi, cols.hi)
    if top < bottom and left < right:
        target[..., top - rows.lo : bottom - rows.lo, left - cols.lo : right - cols.lo] = piece.values[
            ..., top - piece.rows.lo : bottom - piece.rows.lo, left - piece.cols.lo : right - piece.cols.lo
        ]


def _around(piece: _Piece | None, rows: Span, cols: Span) -> list[_Part]:
    """Parts of a box to fill before a piece is pasted into it."""
    height, width = rows.hi - rows.lo, cols.hi - cols.lo
    if piece is None:
        return [(0, height, 0, width)]
    top, bottom = max(piece.rows.lo - rows.lo, 0), min(piece.rows.hi - rows.lo, height)
    left, right = max(piece.cols.lo - cols.lo, 0), min(piece.cols.hi - cols.lo, width)
    if max(bottom - top, 0) * max(right - left, 0) * _STRIPS < height * width:
        return [(0, height, 0, width)]
    parts = [(0, top, 0, width), (bottom, height, 0, width), (top, bottom, 0, left), (top, bottom, right, width)]
    return [(lo, hi, start, end) for lo, hi, start, end in parts if lo < hi and start < end]
