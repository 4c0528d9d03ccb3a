"""A scan's result in a file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hdm_widgets import _storage
from hdm_widgets._bitmasks import MaskStore
from hdm_widgets.hdm.approximation import Approximation
from hdm_widgets.hdm.classes import ClassMasks
from hdm_widgets.hdm.grid import Grid
from hdm_widgets.hdm.noise import Noise
from hdm_widgets.hdm.options import ScanSettings

__all__ = ["fields_of", "read_result", "stored", "write_result"]

_FORMAT = "hdm-widgets result 2"
_ARRAYS = ("values", "measured", "image", "segment", "baseline_mask")


def write_result(path: str | os.PathLike[str], fields: Mapping[str, Any]) -> None:
    """Write the fields of an `HDMResult` to an npz file; nothing in it is pickled."""
    _storage.write(path, *stored(fields))


def stored(fields: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """What is written of the fields of an `HDMResult`: a description for JSON, and arrays."""
    grid, masks, classes = fields["grid"], fields["_masks"], fields["_classes"]
    about = {
        "format": _FORMAT,
        "grid": [grid.height, grid.width, grid.circle_size, grid.offset, grid.disc_shape],
        "baseline": fields["baseline"],
        "settings": asdict(fields["settings"]),
        "approximation": asdict(fields["approximation"]) if fields["approximation"] else None,
        "noise": asdict(fields["noise"]) if fields["noise"] else None,
        "classes": None if classes is None else classes.count,
    }
    arrays: dict[str, Any] = {name: fields[name] for name in _ARRAYS}
    if fields["ignored"] is not None:
        arrays["ignored"] = fields["ignored"]
    if fields["_runs"]:
        arrays["runs"] = np.stack(fields["_runs"])
    # The masks of all classes include those of the one.
    kept = masks if classes is None else classes
    if kept is not None:
        arrays |= kept.arrays(fields["measured"])
    return about, arrays


def read_result(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read the fields of an `HDMResult` that `write_result` wrote.

    Raises
    ------
    ValueError
        If the file is no such result.
    """
    about, arrays = _storage.read(path, _FORMAT)
    try:
        return fields_of(about, arrays)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{os.fspath(path)!r} is not a whole HDMResult: {error}") from error


def fields_of(about: Mapping[str, Any], arrays: dict[str, NDArray[Any]]) -> dict[str, Any]:
    """The fields of an `HDMResult` from what `stored` made of them.

    Raises
    ------
    KeyError, TypeError, ValueError
        If something is missing, or of another kind.
    """
    grid, settings = Grid(*about["grid"]), ScanSettings(**about["settings"])
    approximation, noise = about["approximation"], about.get("noise")
    # Files of earlier versions have no noise, and none of what is read with get.
    classes = ClassMasks.from_arrays(arrays, settings, about.get("classes"))
    masks = MaskStore.from_arrays(arrays) if "mask_base" in arrays else None
    return {
        **{name: arrays[name] for name in _ARRAYS},
        "baseline": float(about["baseline"]),
        "grid": grid,
        "settings": settings,
        "approximation": Approximation(**approximation) if approximation else None,
        "noise": Noise(**noise) if noise else None,
        "ignored": arrays.get("ignored"),
        "_masks": masks if classes is None else classes.masks(int(settings.target or 0)),
        "_classes": classes,
        "_runs": tuple(arrays.get("runs", ())),
        "_show": (None if settings.own_mask else settings.occlusion(grid, torch.from_numpy(arrays["image"])).occluded),
    }
