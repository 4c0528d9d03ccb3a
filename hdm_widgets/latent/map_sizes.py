"""How many positions the outputs of a run have: layouts of maps, grids of tokens, and what has one size always."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from torch import Tensor, nn

from hdm_widgets.latent.calls import Call, Edge, Output, Run, record_run
from hdm_widgets.latent.layouts import FIRST, Layout, MapLayout, layout_of_maps, turned
from hdm_widgets.latent.outputs import LayerError, Path, joined_name
from hdm_widgets.models.segmenter import Segmenter

__all__ = ["MapSizes"]

# Tokens of no patch, before the others: for the class, for distillation, registers.
_CLASS_TOKENS = 8
# Images are given at least so many rows to see which maps grow: a coarse map of a small image may not.
_ROWS = 128
# Networks that halve the sides up to five times take half of the rows if these are divisible by this.
_DIVISIBLE = 64
_POOLS_TO_SIZE = (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)
Shape = tuple[int, ...]
Key = tuple[str, int, Path]
Grid = tuple[int, int]


class MapSizes:
    """Reads the layout, the grid and the positions of the outputs of a run.

    Parameters
    ----------
    segmenter : Segmenter
        Around `network`.
    network : torch.nn.Module
    images : torch.Tensor (N, C, H, W)
        What the network was run on.
    run : Run
    """

    def __init__(self, segmenter: Segmenter, network: nn.Module, images: Tensor, run: Run) -> None:
        self._segmenter = segmenter
        self._network = network
        self._images = images
        self._run = run
        # Grids of maps and tokens so far, with the positions that they have for an image of another size.
        self._grids: dict[Grid, int | None] = {}
        # The positions of outputs so far, by shape, with the shape for an image of another size.
        self._positions: dict[Shape, tuple[int, Shape | None]] = {}
        self._other_shapes: dict[Key, Shape] = {}

    def read(self) -> None:
        """Fill in `layout`, `grid`, `positions`, `is_fixed` and `coarsest_before` of all outputs."""
        outputs = self._run.outputs
        self._read_all({})
        if len({output.positions for output in outputs}) > 1:
            self._read_all(self._other_size)
        if not self.grows:
            _mark_pooled(outputs)
        if all(output.is_fixed for output in outputs):
            # The network resizes its input: nothing tells summaries from maps.
            for output in outputs:
                output.is_fixed = False
        _mark_coarsest_before(outputs)

    def taken_positions(self, call: Call) -> list[int]:
        """Positions of the maps and tokens that a call took, as far as they can be told."""
        found = []
        for shape in call.taken:
            if shape == tuple(self._images.shape[1:]):
                found.append(self.image_positions)
            elif len(shape) > 1 and shape in self._positions:
                found.append(self._positions[shape][0])
            elif len(shape) == 3:
                found.append(shape[1] * shape[2])
        return found

    def layout(self, output: Output, layout: Layout) -> MapLayout:
        """The layout of an output, which was given or is found.

        Raises
        ------
        LayerError
            If nothing tells it.
        """
        if layout != "auto":
            return layout
        found = self._found_layout(output)
        if found is None:
            name, size = joined_name(output.call.name, output.path), self._images.shape[2:]
            raise LayerError(
                f"layer {name!r} puts out maps of {' x '.join(map(str, output.shape))} for images of "
                f"{size[0]} x {size[1]} px, and nothing tells which axis has the channels; say "
                "layout='channels_first' or layout='channels_last'"
            )
        return found

    def _read_all(self, others: dict[Key, Shape]) -> None:
        """Read every output, with the shapes for an image of another size."""
        self._grids.clear()
        self._positions.clear()
        self._other_shapes = others
        for output in self._run.outputs:
            self._read(output)
            self._positions.setdefault(output.shape, (output.positions, others.get(_key(output))))

    def _read(self, output: Output) -> None:
        other = self._other_shapes.get(_key(output))
        output.is_fixed = other == output.shape
        if len(output.shape) == 3:
            output.layout = self._found_layout(output) or FIRST
            _, rows, cols = output.channels_first_shape
            output.grid, output.positions = (rows, cols), rows * cols
            grown = turned(other, output.layout) if other is not None and len(other) == 3 else None
            if output.contributes and not output.is_fixed:
                self._grids[output.grid] = grown[1] * grown[2] if grown else None
            return
        if len(output.shape) == 1:
            output.positions = 1
            return
        count, channels = output.shape
        output.grid = self._grid_of_tokens(count, other)
        if output.grid is None and output.shape == tuple(self._images.shape[2:]):
            # A map of the image's size without an axis for channels.
            output.grid = output.shape[0], output.shape[1]
        output.positions = output.grid[0] * output.grid[1] if output.grid else self._patches(count, channels, other)

    def _grid_of_tokens(self, count: int, other: Shape | None) -> Grid | None:
        """The grid of maps before that so many tokens are, but for class tokens, for this and for the other image."""
        for extra in range(_CLASS_TOKENS + 1):
            for grid, grown in reversed(self._grids.items()):
                fits = grid[0] * grid[1] == count - extra
                if fits and (grown is None or other is None or grown == other[0] - extra):
                    return grid
        return None

    def _patches(self, count: int, channels: int, other: Shape | None) -> int:
        """Tokens without class tokens, where no maps tell the grid: those of earlier tokens with as many channels."""
        for shape, (positions, grown) in self._positions.items():
            extra = count - shape[0]
            alike = len(shape) == 2 and shape[1] == channels and 0 < extra <= _CLASS_TOKENS
            if alike and (grown is None or other is None or other[0] - grown[0] == extra):
                return positions
        return count

    def _found_layout(self, output: Output) -> MapLayout | None:
        if len(output.shape) != 3:
            return FIRST
        size = self._images.shape[2], self._images.shape[3]
        return layout_of_maps(output.call.module, output.shape, size, lambda: self._other_height.get(_key(output)))

    @cached_property
    def _other_height(self) -> dict[Key, Shape]:
        """Shapes of all outputs for an image of another height; none if the network does not take it."""
        rows = self._images.shape[2]
        if rows >= 2 * _ROWS and rows % _DIVISIBLE == 0:
            # Where all maps change with half of a large image, that takes a quarter of the time of two of it.
            shapes = self._shapes_for(self._images[:, :, : rows // 2])
            if self._all_differ(shapes):
                return shapes
        return self._shapes_for(self._images.repeat(1, 1, self._times, 1))

    def _all_differ(self, shapes: dict[Key, Shape]) -> bool:
        """Whether all maps and tokens have another shape: of a map of one row, half may be one row too."""
        outputs = [output for output in self._run.outputs if len(output.shape) > 1]
        return bool(outputs) and all(shapes.get(_key(output), output.shape) != output.shape for output in outputs)

    @cached_property
    def _other_size(self) -> dict[Key, Shape]:
        """Shapes of all outputs for an image of another size; none if the network does not take it."""
        return self._other_height or self._shapes_for(self._images.repeat(1, 1, self._times, self._times))

    @property
    def _times(self) -> int:
        return max(2, -(-_ROWS // self._images.shape[2]))

    def _shapes_for(self, images: Tensor) -> dict[Key, Shape]:
        try:
            run = record_run(self._segmenter, self._network, images, gradients=False)
        except Exception:  # noqa: BLE001 - a network of one size of image
            return {}
        shapes: dict[Key, Shape] = {}
        for call in (*run.calls, run.root):
            shapes |= {_key(output): output.shape for output in call.outputs}
            if call.main is not None:
                shapes[call.name, call.number, ()] = call.main.shape
        return shapes

    @property
    def image_positions(self) -> int:
        """Pixels of an image."""
        return self._images.shape[2] * self._images.shape[3]

    @property
    def grows(self) -> bool:
        """Whether the network was run on an image of another size."""
        return bool(self._other_shapes)


def _key(output: Output) -> Key:
    return output.call.name, output.call.number, output.path


def _mark_pooled(outputs: list[Output]) -> None:
    """Note what has as many positions as a pooling layer was told to make, where images of one size tell nothing."""
    first: dict[int, Output] = {}
    for output in outputs:
        first.setdefault(output.positions, output)
    for output in outputs:
        output.is_fixed = isinstance(first[output.positions].call.module, _POOLS_TO_SIZE)


def _mark_coarsest_before(outputs: list[Output]) -> None:
    """Note the fewest positions of what each output was computed from, along the graph of the run."""
    own: dict[Any, int] = {}
    for output in outputs:
        if output.edge is not None and output.contributes and not output.is_fixed:
            node = output.edge[0]
            own[node] = min(own.get(node, output.positions), output.positions)
    before: dict[Any, int | None] = {}
    for output in outputs:
        if output.edge is not None:
            output.coarsest_before = _fewest(output.edge, own, before)


def _fewest(edge: Edge, own: dict[Any, int], before: dict[Any, int | None]) -> int | None:
    """Fewest positions at the nodes that an edge's node was computed from, depth first without recursion."""
    pending = [edge[0]]
    while pending:
        node = pending[-1]
        earlier = [following for following, _ in node.next_functions if following is not None]
        missing = [one for one in earlier if one not in before]
        if node in before:
            pending.pop()
        elif missing:
            pending += missing
        else:
            found = [before[one] for one in earlier] + [own.get(one) for one in earlier]
            before[node] = min((count for count in found if count is not None), default=None)
            pending.pop()
    return before[edge[0]]
