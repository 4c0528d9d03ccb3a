"""What a store is of: the model, the layer, the data set, and every setting that its arrays depend on."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import platform
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hdm_widgets import __version__
from hdm_widgets._masks import Ignore, read_mask
from hdm_widgets.latent.activations import Layer, Pool, network_of
from hdm_widgets.latent.datasets import Fields
from hdm_widgets.latent.thumbnails import ThumbnailMaker
from hdm_widgets.models.fingerprint import content_fingerprint
from hdm_widgets.models.modules import unwrapped
from hdm_widgets.models.segmenter import Segmenter

__all__ = ["KIND", "describe", "differences", "model_of", "versions"]

KIND = "hdm-widgets store 1"
_MODEL = "model's "
_RELEASES = ("torch", "numpy", "zarr")


def describe(
    segmenter: Segmenter,
    layer: Layer,
    pool: Pool,
    grid: int,
    image_shape: tuple[int, ...],
    thumbnails: ThumbnailMaker,
    fields: Fields,
    ignore: Ignore | None,
) -> dict[str, Any]:
    """Everything that the arrays of a store depend on but for the items themselves, as JSON can hold it.

    Parameters
    ----------
    segmenter : Segmenter
    layer : Layer
    pool : str
    grid : int
    image_shape : tuple of int
        (C, H, W).
    thumbnails : ThumbnailMaker
    fields : Fields
    ignore : number or array of bool, optional

    Returns
    -------
    dict of str to object
        By a name that a message can give.
    """
    model = content_fingerprint(unwrapped(network_of(segmenter)))
    where = fields.described()
    return {
        **{f"{_MODEL}{name}": value for name, value in model.items()},
        "layer": layer.name,
        "shape of the layer's output": list(layer.shape),
        "layout of the layer's output": layer.layout,
        "pool": pool,
        "grid": grid if pool == "grid" else None,
        **{name: getattr(segmenter, name) for name in ("target", "threshold", "activation", "classes", "align")},
        **{name: getattr(segmenter, name, None) for name in ("window", "overlap")},
        "layout of the model's output": segmenter.layout,
        "pad_to": segmenter.pad_to,
        "output": _named(segmenter.output),
        "preprocess": _named(segmenter.preprocess),
        "size of the images": list(image_shape),
        "image": where["image"],
        "mask": where["mask"],
        "ignore": _ignored(ignore),
        "thumbnail's block of pixels": thumbnails.block,
        "display": _plain(dataclasses.asdict(thumbnails.display)),
    }


def model_of(described: dict[str, Any]) -> dict[str, str]:
    """The fingerprint of the model in what `describe` gave."""
    return {name.removeprefix(_MODEL): value for name, value in described.items() if name.startswith(_MODEL)}


def differences(stored: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """What two descriptions differ in, in words."""
    found = []
    for name in dict.fromkeys([*wanted, *stored]):
        one, other = stored.get(name), wanted.get(name)
        if one == other:
            continue
        if name in ("model's weights", "model's structure"):
            found.append(f"the {name} {'are' if name.endswith('s') else 'is'} another")
        else:
            found.append(f"{name} is {one!r} in the store and {other!r} now")
    return found


def versions() -> dict[str, str]:
    """Releases that a store is written with."""
    return {"hdm-widgets": __version__, "python": platform.python_version()} | {
        name: importlib.metadata.version(name) for name in _RELEASES
    }


def _named(value: Any) -> Any:
    """A setting as JSON can hold it; a function by its name."""
    if isinstance(value, torch.nn.Module):
        return content_fingerprint(value)
    return [getattr(value, "__qualname__", type(value).__qualname__)] if callable(value) else value


def _ignored(ignore: Ignore | None) -> Any:
    if isinstance(ignore, (Tensor, np.ndarray)):
        return hashlib.sha256(np.packbits(read_mask(ignore).mask).tobytes()).hexdigest()
    return None if ignore is None else _plain(float(ignore))


def _plain(value: Any) -> Any:
    """The same as it comes back from JSON and can be compared: lists in place of tuples, a text in place of NaN."""
    if isinstance(value, float) and value != value:
        return "NaN"
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, (list, tuple)) else value
