"""A table of the layers of a model that can be named, with what they put out."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, overload

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hdm_widgets._validation import advise_on_keywords, check_choice, check_image
from hdm_widgets.latent.activations import Layer, LayerError, network_of, unwrapped_segmenter
from hdm_widgets.latent.bottleneck import find_bottleneck
from hdm_widgets.latent.calls import Call, Output, Run
from hdm_widgets.latent.layers import layer_of, read_run
from hdm_widgets.latent.layouts import Layout
from hdm_widgets.latent.map_sizes import MapSizes
from hdm_widgets.models.compiled import uncompiled
from hdm_widgets.models.errors import ModelError, is_out_of_memory
from hdm_widgets.models.modules import named_modules, unwrapped
from hdm_widgets.models.segmenter import Model, Segmenter

__all__ = ["LayerTable", "layers"]


@dataclass(frozen=True, eq=False)
class LayerTable(Sequence[Layer]):
    """The layers of a model that can be named, in the order of its modules.

    It is a sequence of `Layer`, and is shown as a table at the end of a cell and by `print`.

    Attributes
    ----------
    rows : tuple of Layer
    types : tuple of str
        The type of each layer's module.
    auto : str or None
        The name that `layer="auto"` takes; None if it finds no bottleneck.
    refused : mapping of str to str
        Layers that cannot be named, and why.
    """

    rows: tuple[Layer, ...]
    types: tuple[str, ...]
    auto: str | None
    refused: Mapping[str, str]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all layers."""
        return tuple(layer.name for layer in self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> Layer: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Layer, ...]: ...
    def __getitem__(self, index: int | slice) -> Layer | tuple[Layer, ...]:
        return self.rows[index]

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        cells = [("layer", "module", "output"), *self._cells()]
        first, second = (max(len(cell[column]) for cell in cells) for column in (0, 1))
        lines = [f"{name:<{first}}  {kind:<{second}}  {output}".rstrip() for name, kind, output in cells]
        return "\n".join([*lines, *self._notes()])

    def _repr_html_(self) -> str:
        head = "".join(f"<th style='text-align: left'>{cell}</th>" for cell in ("layer", "module", "output"))
        rows = "".join(
            "<tr>" + "".join(f"<td style='text-align: left'>{html.escape(cell)}</td>" for cell in cells) + "</tr>"
            for cells in self._cells()
        )
        notes = "".join(f"<p>{html.escape(note)}</p>" for note in self._notes())
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
        return f"<div style='max-height: 30em; overflow: auto'>{table}</div>{notes}"

    def _cells(self) -> Iterator[tuple[str, str, str]]:
        for layer, kind in zip(self.rows, self.types, strict=True):
            mark = '  <- layer="auto"' if layer.name == self.auto else ""
            yield layer.name, kind, layer.size_text + mark

    def _notes(self) -> list[str]:
        auto = "finds no bottleneck that runs once" if self.auto is None else f"takes {self.auto}"
        notes = [f'layer="auto" {auto}.']
        if self.refused:
            reasons = [f"{name} {reason}" for name, reason in self.refused.items()]
            more = f", and {len(reasons) - 3} more in refused" if len(reasons) > 3 else ""
            notes.append(f"Cannot be named: {', '.join(reasons[:3])}{more}.")
        return notes


@advise_on_keywords
def layers(
    model: Model,
    image: Tensor | NDArray[Any],
    *,
    layout: Layout = "auto",
    device: torch.device | str | None = None,
) -> LayerTable:
    """List the layers of a model that `LatentSpace` can take, with what they put out for an image.

    Parameters
    ----------
    model : torch.nn.Module or Segmenter
        A Segmenter must wrap a Module.
    image : torch.Tensor or numpy.ndarray, (C, H, W) or (H, W)
        The model is run on it a few times.
    layout : {"auto", "channels_first", "channels_last"}
        As for `LatentSpace`.
    device : torch.device or str, optional
        As for `Segmenter`.

    Returns
    -------
    LayerTable

    Raises
    ------
    TypeError
        If the model shows no layers: another function, TorchScript, an exported program.
    ValueError
        For a Segmenter with a window, whose layers run several times for an image.
    ModelError
        If the model raises.

    Examples
    --------
    >>> import torch
    >>> import hdm_widgets as hw
    >>> table = hw.layers(hw.UNet(1, 1, width=4, depth=1), torch.rand(1, 16, 16))
    >>> table.auto
    'bottleneck'
    >>> print(table[table.names.index("bottleneck")])
    bottleneck: 8 channels of 8 x 8
    """
    check_choice("layout", layout, Layout)
    segmenter = Segmenter.wrap(model, device=device)
    network = network_of(segmenter)
    given = check_image(image, *_size(image, segmenter), preprocess=segmenter.preprocess is not None)[None]
    inner, segmenter = unwrapped(network), unwrapped_segmenter(segmenter)
    with uncompiled(inner):
        try:
            # Two images tell an axis for images from any other.
            run, sizes = _read_first_run(segmenter, inner, given.repeat(2, 1, 1, 1))
        except Exception as error:
            if not isinstance(error, ModelError) and not is_out_of_memory(error):
                raise
            run, sizes = _read_first_run(segmenter, inner, given)
    return _table(network, inner, run, sizes, layout)


def _read_first_run(segmenter: Segmenter, network: nn.Module, images: Tensor) -> tuple[Run, MapSizes]:
    """See `read_run`; what a model keeps from its first run must not be part of a graph."""
    with torch.no_grad(), segmenter.evaluating():
        segmenter.maps(images.clone())
    return read_run(segmenter, network, images)


def _size(image: object, segmenter: Segmenter) -> tuple[int, int]:
    """Rows and columns of an image, as far as it has any."""
    shape = tuple(getattr(image, "shape", ()))
    if segmenter.preprocess is not None and len(shape) == 3 and shape[2] in (1, 3, 4) and shape[0] not in (1, 3, 4):
        shape = shape[:2]
    return (shape[-2], shape[-1]) if len(shape) > 1 else (0, 0)


def _table(network: nn.Module, inner: nn.Module, run: Run, sizes: MapSizes, layout: Layout) -> LayerTable:
    try:
        auto = layer_of(network, find_bottleneck(run, sizes)).name
    except LayerError:
        auto = None
    calls: dict[nn.Module, list[Call]] = {}
    for call in run.calls:
        calls.setdefault(call.module, []).append(call)
    rows: list[tuple[Layer, str]] = []
    refused: dict[str, str] = {}
    for name, module in named_modules(inner):
        times = len(calls.get(module, ()))
        if times > 1:
            refused[name] = f"ran {times} times"
        elif times == 1 and not (outputs := list(_nameable(calls[module][0]))):
            refused[name] = "puts out no maps, tokens or vectors"
        elif times == 1:
            for output in outputs:
                try:
                    output.layout = sizes.layout(output, layout)
                except LayerError:
                    refused[name] = "needs layout="
                else:
                    rows.append((layer_of(network, output, chosen=False), type(module).__name__))
        elif name and not module._modules:
            refused[name] = "did not run"
    return LayerTable(tuple(layer for layer, _ in rows), tuple(kind for _, kind in rows), auto, refused)


def _nameable(call: Call) -> Iterator[Output]:
    """The output that the module's name means, and others that differ from it."""
    if call.main is not None:
        yield call.main
    seen = {call.main.edge} if call.main is not None else set()
    for output in call.outputs:
        if output is not call.main and (output.edge is None or output.edge not in seen):
            seen.add(output.edge)
            yield output
