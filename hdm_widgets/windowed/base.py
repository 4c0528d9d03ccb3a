"""Windows of a network's values, over those of an unchanged picture."""

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

from hdm_widgets.windowed.axes import Interval, Span
from hdm_widgets.windowed.network import Network, frame_of, laid_out, outer_padding
from hdm_widgets.windowed.paths import Path
from hdm_widgets.windowed.steps import Cat, Frame, Step

__all__ = ["Base", "Windows"]

_MOST = 256
# Four strips around a piece are copied in place of the whole box if the piece is at least one part in so many of it.
_STRIPS = 2

Content = Callable[[NDArray[np.intp], NDArray[np.intp]], Tensor]


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


@dataclass(frozen=True)
class _Piece:
    """Changed values of some channels (of all: None), (n, ..., h, w), and where they lie for the first item."""

    values: Tensor
    rows: Interval
    cols: Interval
    channels: tuple[int, int] | None = None


@dataclass(frozen=True)
class _Changed:
    """A value of a batch: its pieces and the box around them, for the first item."""

    rows: Interval
    cols: Interval
    pieces: tuple[_Piece, ...]


class Base:
    """A network over the values of one unchanged picture.

    Parameters
    ----------
    network : Network
    picture : torch.Tensor (C, H, W)

    Attributes
    ----------
    output : torch.Tensor (1, ...)
        For the unchanged picture.
    """

    def __init__(self, network: Network, picture: Tensor) -> None:
        self.network = network
        values = network.values(picture)
        self.output = values[network.program.output]
        self.values = {name: laid_out(value) for name, value in values.items() if name in network.kept}
        self._spreads: dict[str, float] = {}

    def run(self, boxes: NDArray[np.intp], content: Content, tolerance: float | None = None) -> Iterator[Windows]:
        """The output where it may change, batch by batch; changes that spread alike are computed together.

        Parameters
        ----------
        boxes : numpy.ndarray (n, 4)
            (row0, col0, row1, col1), half open: outside of it a picture is the unchanged one.
        content : callable
            Of items (k,) and boxes (k, 4) of one size: what is in those boxes of those pictures, (k, C, h, w). The
            boxes hold those given, and may be larger.
        tolerance : float, optional
            Approximate: windows shrink to where a value changed by more than this share of its spread over the
            unchanged picture.
        """
        groups: dict[Any, list[int]] = defaultdict(list)
        paths = self.network.paths
        aligned = paths.aligned(boxes)
        for item, box in enumerate(aligned.tolist()):
            rows, cols = paths.of(box)
            groups[rows.signature, cols.signature].append(item)
        for members in groups.values():
            # Windows that shrink would do so together: the fewer, the smaller.
            alone = tolerance is not None or self.network.program.single
            count = 1 if alone else self._at_a_time(*paths.of(aligned[members[0]].tolist()))
            for start in range(0, len(members), count):
                items = np.array(members[start : start + count])
                yield _Batch(self, aligned[items], tolerance).run(items, content)

    def spread(self, name: str) -> float:
        """Largest less smallest number of a value of the unchanged picture."""
        if name not in self._spreads:
            low, high = self.values[name].aminmax()
            self._spreads[name] = float(high - low)
        return self._spreads[name]

    def _at_a_time(self, rows: Path, cols: Path) -> int:
        largest = 1
        for step, down, across in zip(self.network.program.steps, rows.changes, cols.changes, strict=True):
            value = self.values.get(step.name)
            if down is not None and across is not None and value is not None:
                share = down.size * across.size / math.prod(self.network.program.sizes[step.name])
                largest = max(largest, int(value.numel() * value.element_size() * share))
        return min(_MOST, max(1, self.network.budget // largest))


class _Batch:
    """Changes that spread alike, up to where they lie.

    Intervals are those of the first item; the others lie shifted against it.
    """

    def __init__(self, base: Base, boxes: NDArray[np.intp], tolerance: float | None) -> None:
        self._base, self._network, self._boxes, self._tolerance = base, base.network, boxes, tolerance
        along = [base.network.paths.of(box) for box in boxes.tolist()]
        self._paths = [rows for rows, _ in along], [cols for _, cols in along]
        self._values: dict[str, _Changed | None] = {}

    @torch.inference_mode()
    def run(self, items: NDArray[np.intp], content: Content) -> Windows:
        """Every step, on windows."""
        network, program = self._network, self._network.program
        row0, col0, row1, col1 = self._boxes[0].tolist()
        rows, cols = Interval(row0, row1), Interval(col0, col1)
        patch = laid_out(content(items, self._boxes).to(network.device))
        self._values[program.picture] = _Changed(rows, cols, (_Piece(patch, rows, cols),))
        scalars = program.scalars(len(items))
        for place, step in enumerate(program.steps):
            self._values[step.name] = self._step(place, step, scalars)
            for name in step.inputs:
                if network.last_reader(name) == place:
                    self._values.pop(name, None)
        out = self._values[program.output]
        if out is None:
            nowhere = np.zeros(len(items), np.intp)
            nothing = self._base.output[..., :0, :0].expand(len(items), *self._base.output.shape[1:-2], 0, 0)
            return Windows(items, nowhere, nowhere, nothing)
        starts = self._shifted(program.output, out)
        whole = self._assemble(program.output, out, Span(*out.rows), Span(*out.cols), *starts)
        return Windows(items, np.array(starts[0]), np.array(starts[1]), whole)

    def _step(self, place: int, step: Step, scalars: dict[str, Any]) -> _Changed | None:
        inputs = [self._values[name] for name in step.inputs]
        rows = step.rows.change([value.rows if value else None for value in inputs])
        cols = step.cols.change([value.cols if value else None for value in inputs])
        if rows is None or cols is None:
            return None
        if isinstance(step, Cat):
            return _Changed(rows, cols, tuple(self._joined(step, inputs)))
        frames = frame_of(step.rows, rows), frame_of(step.cols, cols)
        patches = [self._patch(place, step, index, value, *frames) for index, value in enumerate(inputs)]
        # What did not change comes from the unchanged values: nothing may be written there.
        in_place = self._network.in_place(step) if inputs and inputs[0] is not None else None
        result = step.compute(patches, *frames, scalars) if in_place is None else in_place(patches, scalars)
        changed = _Changed(rows, cols, (_Piece(result, rows, cols),))
        return changed if self._tolerance is None else self._shrunk(step.name, changed)

    def _joined(self, step: Cat, inputs: list[_Changed | None]) -> Iterator[_Piece]:
        first = 0
        for name, value in zip(step.inputs, inputs, strict=True):
            for piece in value.pieces if value else ():
                lo, hi = piece.channels or (0, self._network.program.channels[name])
                yield replace(piece, channels=(first + lo, first + hi))
            first += self._network.program.channels[name]

    def _shrunk(self, name: str, changed: _Changed) -> _Changed | None:
        """Without the margins that changed by no more than the tolerance; None if nothing changed more."""
        unchanged = self._base.values.get(name)
        (piece,) = changed.pieces
        # Only maps have margins: (n, C, h, w) of real numbers.
        if unchanged is None or name in self._network.program.shapeless or self._tolerance is None:
            return changed
        if unchanged.ndim != 4 or not unchanged.is_floating_point() or len(piece.values) != len(self._boxes):
            return changed
        rows, cols = self._shifted(name, changed)
        limit = self._tolerance * self._base.spread(name)
        large = torch.zeros(piece.values.shape[-2:], dtype=torch.bool, device=piece.values.device)
        for values, row, col in zip(piece.values, rows, cols, strict=True):
            before = unchanged[0, ..., row : row + values.shape[-2], col : col + values.shape[-1]]
            # What is not a number is a change.
            large |= ~((values - before).abs() <= limit).all(0)
        down, across = large.any(1).nonzero().flatten(), large.any(0).nonzero().flatten()
        if not len(down):
            return None
        top, bottom, left, right = int(down[0]), int(down[-1]) + 1, int(across[0]), int(across[-1]) + 1
        inner = Interval(changed.rows.lo + top, changed.rows.lo + bottom)
        outer = Interval(changed.cols.lo + left, changed.cols.lo + right)
        return _Changed(inner, outer, (_Piece(piece.values[..., top:bottom, left:right], inner, outer),))

    def _shifted(self, name: str, value: _Changed) -> tuple[list[int], list[int]]:
        """Where a value's box begins, for every item."""
        place = self._network.place(name)
        rows, cols = (
            [own.lo + path.changes[place].lo - paths[0].changes[place].lo for path in paths]  # type: ignore[union-attr]  # changed
            for own, paths in zip((value.rows, value.cols), self._paths, strict=True)
        )
        return rows, cols

    def _patch(self, place: int, step: Step, index: int, value: _Changed | None, rows: Frame, cols: Frame) -> Tensor:
        """What a step needs of an input, for every item."""
        name = step.inputs[index]
        if name in self._network.program.shapeless:
            if value is not None:
                return value.pieces[0].values
            unchanged = self._base.values[name]
            return unchanged if len(self._boxes) == 1 else unchanged.expand(len(self._boxes), *unchanged.shape[1:])
        row_starts, col_starts = (
            [frame.spans[index].lo + path.starts[place][index] - paths[0].starts[place][index] for path in paths]
            for frame, paths in zip((rows, cols), self._paths, strict=True)
        )
        padding = outer_padding(step, index, rows, cols)
        return self._assemble(
            name, value, rows.spans[index], cols.spans[index], row_starts, col_starts, padding, step.border
        )

    def _assemble(
        self, name: str, value: _Changed | None, rows: Span, cols: Span, row_starts: list[int], col_starts: list[int],
        padding: tuple[int, int, int, int] = (0, 0, 0, 0), border: float | None = None,
    ) -> Tensor:  # fmt: skip
        """A box of a value for every item: what changed in it, the unchanged value around, `border` beyond."""
        pieces = value.pieces if value else ()
        if not any(padding):
            if len(pieces) == 1 and pieces[0].channels is None:
                values, down, across = pieces[0].values, pieces[0].rows, pieces[0].cols
                if down.lo <= rows.lo and rows.hi <= down.hi and across.lo <= cols.lo and cols.hi <= across.hi:
                    return values[..., rows.lo - down.lo : rows.hi - down.lo, cols.lo - across.lo : cols.hi - across.lo]
            if not pieces and len(set(row_starts)) == len(set(col_starts)) == 1:
                unchanged = self._base.values[name][..., rows.lo : rows.hi, cols.lo : cols.hi]
                return unchanged.expand(len(row_starts), *unchanged.shape[1:])
        unchanged = self._base.values[name]
        left, right, above, below = padding
        height, width = rows.hi - rows.lo, cols.hi - cols.lo
        shape = (len(row_starts), *unchanged.shape[1:-2], above + height + below, left + width + right)
        whole = _empty(shape, unchanged)
        inside = whole[..., above : above + height, left : left + width]
        edges = (
            whole[..., :above, :], whole[..., above + height :, :], whole[..., :left], whole[..., left + width :]
        )  # fmt: skip
        for edge, wide in zip(edges, (above, below, left, right), strict=True):
            if wide:
                edge.fill_(border or 0.0)
        for piece, channels in _by_channels(pieces, unchanged.shape[1]):
            target, source = inside[:, channels], unchanged[0, channels]
            for top, bottom, start, end in _around(piece, rows, cols):
                for item, (row, col) in enumerate(zip(row_starts, col_starts, strict=True)):
                    target[item, ..., top:bottom, start:end] = source[
                        ..., row + top : row + bottom, col + start : col + end
                    ]
            if piece is not None:
                _paste(target, piece, rows, cols)
        return whole


def _by_channels(pieces: tuple[_Piece, ...], count: int) -> Iterator[tuple[_Piece | None, slice]]:
    """All channels in order, with the piece that they have, if any."""
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
    layout = torch.channels_last if len(shape) == 4 else torch.contiguous_format
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=layout)


def _paste(target: Tensor, piece: _Piece, rows: Span, cols: Span) -> None:
    """Put a piece where it belongs in a box, as far as it lies in it."""
    top, bottom = max(piece.rows.lo, rows.lo), min(piece.rows.hi, rows.hi)
    left, right = max(piece.cols.lo, cols.lo), min(piece.cols.hi, cols.hi)
    if top < bottom and left < right:
        target[..., top - rows.lo : bottom - rows.lo, left - cols.lo : right - cols.lo] = piece.values[
            ..., top - piece.rows.lo : bottom - piece.rows.lo, left - piece.cols.lo : right - piece.cols.lo
        ]


def _around(piece: _Piece | None, rows: Span, cols: Span) -> list[tuple[int, int, int, int]]:
    """Parts (row0, row1, col0, col1) of a box, from its corner, to be filled before a piece is put into it."""
    height, width = rows.hi - rows.lo, cols.hi - cols.lo
    if piece is None:
        return [(0, height, 0, width)]
    top, bottom = max(piece.rows.lo - rows.lo, 0), min(piece.rows.hi - rows.lo, height)
    left, right = max(piece.cols.lo - cols.lo, 0), min(piece.cols.hi - cols.lo, width)
    if max(bottom - top, 0) * max(right - left, 0) * _STRIPS < height * width:
        return [(0, height, 0, width)]
    parts = [(0, top, 0, width), (bottom, height, 0, width), (top, bottom, 0, left), (top, bottom, right, width)]
    return [(lo, hi, start, end) for lo, hi, start, end in parts if lo < hi and start < end]
