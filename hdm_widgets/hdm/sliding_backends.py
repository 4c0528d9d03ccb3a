"""Raw outputs of a scan's cells for a Segmenter with a window: only the windows that a disc touches are run again."""

from __future__ import annotations

import time
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hdm_widgets.hdm.backends import Backend, Backends, FoldedBackend, ModelBackend, Outputs, WindowedBackend, pasted
from hdm_widgets.hdm.occlusion import Changes, Occluder
from hdm_widgets.hdm.options import InferenceMode
from hdm_widgets.hdm.plan import Plan, Planned, is_finite, make_plan
from hdm_widgets.models.free_memory import free_memory
from hdm_widgets.models.image_windows import ImageWindows
from hdm_widgets.models.segmenter import Segmenter
from hdm_widgets.models.sliding import Box, WindowGrid
from hdm_widgets.windowed import Network, WindowedInference

__all__ = ["SlidingBackend", "SlidingBackends", "changes_in_window"]

# Bounds on the activations that are kept of windows, and on the outputs that wait to be blended.
_ACTIVATION_BYTES = 1 << 30
_MEMORY_FRACTION = 0.25
_PENDING_BYTES = 64 << 20
# Cells sampled to choose the window with which a scan is planned.
_SAMPLE = 256


class SlidingBackends(Backends):
    """Makes the backends of a scan whose Segmenter runs the model in windows.

    Parameters
    ----------
    segmenter : Segmenter
        With a window; while it is `evaluating`.
    occluder : Occluder
    raw : torch.Tensor (1, classes, H, W)
        The blended output for the image with an empty disc.
    cells : numpy.ndarray (n, 2)
        The cells to run.
    """

    def __init__(self, segmenter: Segmenter, occluder: Occluder, raw: Tensor, cells: NDArray[np.intp]) -> None:
        self._windows, self._occluder = ImageWindows(segmenter, occluder.unchanged), occluder
        boxes = occluder.boxes(cells[:: max(1, len(cells) // _SAMPLE)])
        touched = [index for box in boxes.tolist() for index in self._windows.grid.touching(tuple(box))]
        # The window that most discs touch.
        self._index = int(np.bincount(touched).argmax()) if touched else self._windows.grid.center
        self._runs_per_disc = len(touched) / max(1, len(boxes))
        super().__init__(self._windows.segmenter, self._windows.cut(self._index), raw)

    @property
    def unchanged(self) -> Tensor:
        """What the model gets of the image in the window that most discs touch."""
        return self.sample

    def boxes(self, cells: NDArray[np.intp]) -> NDArray[np.intp]:
        """Boxes (k, 4) in which the discs of cells (n, 2) may change a window, for every window that they touch."""
        grid = self._windows.grid
        found = [
            _in_window(grid, index, box)
            for box in self._occluder.boxes(cells).tolist()
            for index in grid.touching(tuple(box))
        ]
        return np.array(found, np.intp).reshape(-1, 4)

    @property
    def repeatable(self) -> bool:
        """Whether a disc can be made twice."""
        return self._occluder.repeatable

    def changes(self, cells: NDArray[np.intp]) -> Changes:
        """What the discs of cells (n, 2) change in the window that most discs touch, where they touch it."""
        grid = self._windows.grid
        touching = [self._index in grid.touching(tuple(box)) for box in self._occluder.boxes(cells).tolist()]
        return changes_in_window(self._occluder.changes(cells[touching]), grid, self._index)

    def plan(
        self,
        mode: InferenceMode,
        tolerance: float | None,
        cells: NDArray[np.intp],
        single: str,
        stopped: Callable[[], bool],
        *,
        first_map: bool,
        batch: int,
    ) -> Planned:
        """Choose how windows are computed; see `make_plan` for the parameters."""
        raw = self._windows.output(self._index)[None]
        seconds = self._windows.setup_seconds
        planned = make_plan(
            self.segmenter,
            self,
            mode,
            tolerance,
            cells,
            raw,
            seconds,
            single,
            stopped,
            first_map=first_map,
            batch=batch,
        )
        plan = replace(planned.plan, sliding=self._windows.grid.window.size)
        if planned.base is not None:
            network = planned.base.network
            plan = replace(plan, memory=network.bytes_of(_kept(network)))
        return replace(planned, plan=plan, image_seconds=planned.image_seconds * self._runs_per_disc)

    def model(self) -> Backend:
        """The model itself."""
        backend = ModelBackend(self.segmenter)
        return SlidingBackend(self._windows, self._raw, lambda _: backend)

    def folded(self, network: Network) -> Backend:
        """The traced network."""
        backend = FoldedBackend(self.segmenter, network)
        return SlidingBackend(self._windows, self._raw, lambda _: backend)

    def windowed(self, base: WindowedInference, plan: Plan) -> Backend:
        """What a disc changes in each window, completed from that window's activations."""
        bases, device = Activations(self._windows, self._index, base), self.segmenter.run_device
        return SlidingBackend(
            self._windows, self._raw, lambda index: WindowedBackend(device, bases.get(index)),
            largest=plan.window or self._windows.grid.window.size, bases=bases,
        )  # fmt: skip

    def estimating(self, base: WindowedInference, plan: Plan) -> Backend:
        """The same, for estimates; each window has statistics of its own, so nothing is learned."""
        return self.windowed(base, plan)

    def verified(
        self, backend: Backend, changes: Changes, outputs: Outputs, index: int, *, afresh: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One of the outputs in a window that its disc touches, the model's own there, and what the window shows."""
        assert isinstance(backend, SlidingBackend)  # made here  # noqa: S101
        item, grid = outputs.items[index : index + 1], self._windows.grid
        touched = grid.touching(tuple(changes.boxes[item[0]].tolist()))
        window = touched[len(touched) // 2]
        inside = changes_in_window(changes, grid, window)
        image = inside.images(item)[0].to(self.segmenter.run_device)
        (ours,) = backend.backend_for(window).outputs(inside, item)
        if afresh:
            unchanged = self.segmenter.raw(self._windows.cut(window)[None])
        else:
            unchanged = self._windows.output(window)[None]
        return pasted(unchanged, ours, 0), self.segmenter.raw(image[None].clone()), image


class SlidingBackend:
    """Blends what another backend computes in the windows that a disc touches.

    Parameters
    ----------
    windows : ImageWindows
        Of the image with an empty disc.
    raw : torch.Tensor (1, classes, H, W)
        Its blended output.
    backend_for : callable
        Takes the index of a window, returns the `Backend` for what it shows.
    largest : tuple of int or None
        Rows and columns of the largest part of a window that a disc can change, if only that is computed.
    bases : Activations, optional
        What the backends complete windows from.
    """

    def __init__(
        self,
        windows: ImageWindows,
        raw: Tensor,
        backend_for: Callable[[int], Backend],
        *,
        largest: tuple[int, int] | None = None,
        bases: Activations | None = None,
    ) -> None:
        self._windows, self._raw, self.backend_for = windows, raw, backend_for
        self.propagates, self._bases = largest is not None, bases
        height, width = largest or (0, 0)
        self._bytes = height * width * raw.shape[1] * raw.element_size()

    @property
    def setup_seconds(self) -> float:
        """See `Backend`."""
        activations = 0.0 if self._bases is None else self._bases.setup_seconds
        return activations + self._windows.setup_seconds

    def outputs(self, changes: Changes, items: NDArray[np.intp]) -> Iterator[Outputs]:
        """See `Backend`; discs that touch the same windows are computed together."""
        groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for item in items.tolist():
            groups[self._windows.grid.touching(tuple(changes.boxes[item].tolist()))].append(item)
        # In the order of the windows, so that the activations of few of them are needed at a time.
        for touched, members in sorted(groups.items()):
            count = len(members)
            if self._bytes:
                count = max(1, _PENDING_BYTES // (self._bytes * len(touched)))
            for start in range(0, len(members), count):
                yield self._blended(changes, touched, np.array(members[start : start + count], np.intp))

    def _blended(self, changes: Changes, touched: tuple[int, ...], items: NDArray[np.intp]) -> Outputs:
        """The outputs of cells whose discs touch the same windows."""
        grid = self._windows.grid
        parts: dict[int, dict[int, tuple[Tensor, int, int]]] = {item: {} for item in items.tolist()}
        for index in touched:
            # Where a window reaches beyond the image, its output is left out.
            top, left, bottom, right = _in_window(grid, index, [0, 0, grid.height, grid.width])
            for outputs in self.backend_for(index).outputs(changes_in_window(changes, grid, index), items):
                corners = zip(outputs.items.tolist(), outputs.rows.tolist(), outputs.cols.tolist(), strict=True)
                for (item, row, col), values in zip(corners, outputs.values, strict=True):
                    part = values[:, max(0, top - row) : bottom - row, max(0, left - col) : right - col]
                    if part.shape[-1] and part.shape[-2]:
                        parts[item][index] = part, max(top, row), max(left, col)
        boxes = np.array([_box_around(grid, parts[item]) for item in items.tolist()], np.intp)
        # Windows of one size, inside the image.
        height, width = (int((boxes[:, at + 2] - boxes[:, at]).max()) for at in (0, 1))
        rows, cols = np.minimum(boxes[:, 0], grid.height - height), np.minimum(boxes[:, 1], grid.width - width)
        values = torch.stack(
            [
                self._raw[0, :, row : row + height, col : col + width]
                for row, col in zip(rows.tolist(), cols.tolist(), strict=True)
            ]
        )
        for target, item, box, row, col in zip(
            values, items.tolist(), boxes.tolist(), rows.tolist(), cols.tolist(), strict=True
        ):
            if box[0] < box[2]:
                inside = target[:, box[0] - row : box[2] - row, box[1] - col : box[3] - col]
                inside.copy_(self._blend(tuple(box), parts[item]))
        return Outputs(items, rows, cols, values)

    def _blend(self, box: Box, parts: dict[int, tuple[Tensor, int, int]]) -> Tensor:
        """The blended output (classes, h, w) of a box, with other values in parts of some windows."""
        grid, blended = self._windows.grid, self._windows.blended_box(box)
        for index in grid.touching(box):
            if index not in parts:
                blended.add(index, self._windows.output(index), 0, 0)
                continue
            values, row, col = parts[index]
            if values.shape[-2:] != grid.window.size:
                # All of the window that is in the box: the part, and the unchanged values around it.
                top, left, bottom, right = _in_window(grid, index, list(box))
                around = self._windows.output(index)[:, top:bottom, left:right].clone()
                around[:, row - top : row - top + values.shape[-2], col - left : col - left + values.shape[-1]] = values
                values, row, col = around, top, left
            blended.add(index, values, row, col)
        return blended.result(self._windows.segmenter.no_segment(self._raw.shape[1]))


class Activations:
    """The activations of some windows of an unchanged image: those that were used last.

    Parameters
    ----------
    windows : ImageWindows
    index : int
        The window of `base`.
    base : WindowedInference

    Attributes
    ----------
    setup_seconds : float
        Time spent on windows that had none before.
    """

    def __init__(self, windows: ImageWindows, index: int, base: WindowedInference) -> None:
        self._windows, self._network, self._reach = windows, base.network, base.propagation.reach
        self._bases: OrderedDict[int, WindowedInference] = OrderedDict({index: base})
        self._seen = {index}
        self.setup_seconds = 0.0

    def get(self, index: int) -> WindowedInference:
        """Those of a window; computed if they are not kept."""
        base = self._bases.pop(index, None)
        if base is None:
            while len(self._bases) >= _kept(self._network):
                self._bases.popitem(last=False)
            before = time.perf_counter()
            shown = self._windows.cut(index).to(self._windows.segmenter.run_device)
            with torch.inference_mode():
                base = WindowedInference(self._network, shown).limited(self._reach)
            if index not in self._seen:
                is_finite(base.output)  # a GPU is done when its values can be read
                self.setup_seconds += time.perf_counter() - before
                self._seen.add(index)
        self._bases[index] = base
        return base


def _kept(network: Network) -> int:
    """Of how many windows activations are kept."""
    room = min(_ACTIVATION_BYTES, int(_MEMORY_FRACTION * free_memory(network.device)))
    return max(1, room // max(1, network.cached_bytes))


def changes_in_window(changes: Changes, grid: WindowGrid, index: int) -> Changes:
    """What the discs of some cells change in a window; `changes` is about the whole image."""
    corner = np.array(grid.boxes[index][:2] * 2)
    inside = np.array(grid.inside(index))
    reaches_beyond = grid.inside(index) != grid.boxes[index]

    def content(items: NDArray[np.intp], parts: NDArray[np.intp]) -> Tensor:
        if not reaches_beyond:
            return changes.content(items, parts + corner)
        shown = changes.content(items, np.broadcast_to(inside, (len(items), 4)))
        filled = grid.filled_up(shown, index)
        return torch.stack(
            [
                each[:, row0:row1, col0:col1]
                for each, (row0, col0, row1, col1) in zip(filled, parts.tolist(), strict=True)
            ]
        )

    boxes = np.array([_in_window(grid, index, box) for box in changes.boxes.tolist()], np.intp).reshape(-1, 4)
    return Changes(boxes, changes.keys, content, grid.window.size)


def _in_window(grid: WindowGrid, index: int, box: list[int]) -> Box:
    """The part of a box of the image that is in a window, as that counts rows and columns; zeros if there is none."""
    row, col = grid.boxes[index][:2]
    top, left, bottom, right = grid.inside(index)
    row0, col0, row1, col1 = max(top, box[0]), max(left, box[1]), min(bottom, box[2]), min(right, box[3])
    return (row0 - row, col0 - col, row1 - row, col1 - col) if row0 < row1 and col0 < col1 else (0, 0, 0, 0)


def _box_around(grid: WindowGrid, parts: dict[int, tuple[Tensor, int, int]]) -> Box:
    """The box of the image around parts of windows; empty if there is none."""
    boxes = []
    for index, (values, row, col) in parts.items():
        top, left = grid.boxes[index][0] + row, grid.boxes[index][1] + col
        boxes.append((top, left, top + values.shape[-2], left + values.shape[-1]))
    if not boxes:
        return 0, 0, 0, 0
    row0, col0, row1, col1 = zip(*boxes, strict=True)
    return min(row0), min(col0), max(row1), max(col1)
