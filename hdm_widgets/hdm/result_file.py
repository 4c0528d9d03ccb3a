"""A scan's result in a file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from hdm_widgets import _storage
from hdm_widgets._bitmasks import MaskStore
from hdm_widgets.hdm.approximation import Approximation
from hdm_widgets.hdm.classes import ClassMasks
from hdm_widgets.hdm.grid import Grid
from hdm_widgets.hdm.noise import Noise
from hdm_widgets.hdm.options import ScanSettings

__all__ = ["read_result", "read_results", "write_result", "write_results"]

_FORMAT = "hdm-widgets result 2"
_ARRAYS = ("values", "measured", "image", "segment", "baseline_mask")


def write_result(path: str | os.PathLike[str], fields: Mapping[str, Any]) -> None:
    """Write the fields of an `HDMResult` to an npz file; nothing in it is pickled."""
    _storage.write(path, *_packed(fields))


def write_results(path: str | os.PathLike[str], kind: str, several: Mapping[str, Mapping[str, Any]]) -> None:
    """Write the fields of several results, by their names, to one npz file of this kind."""
    packed = [_packed(fields) for fields in several.values()]
    about = {"format": kind, "names": list(several), "results": [one for one, _ in packed]}
    arrays = {f"{i}/{name}": array for i, (_, one) in enumerate(packed) for name, array in one.items()}
    _storage.write(path, about, arrays)


def read_results(path: str | os.PathLike[str], kind: str) -> dict[str, dict[str, Any]]:
    """Read the fields of results that `write_results` wrote, by their names.

    Raises
    ------
    ValueError
        If the file is of another kind, or damaged.
    """
    about, arrays = _storage.read(path, kind)
    parts: dict[str, dict[str, Any]] = {}
    for key, array in arrays.items():
        number, _, name = key.partition("/")
        parts.setdefault(number, {})[name] = array
    names, abouts = about.get("names", []), about.get("results", [])
    if len(names) != len(abouts) or len(parts) != len(names):
        raise ValueError(f"{os.fspath(path)!r} does not have all of its results")
    return {name: _unpacked(path, one, parts[str(i)]) for i, (name, one) in enumerate(zip(names, abouts, strict=True))}


def _packed(fields: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Description and arrays of a result."""
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
    return _unpacked(path, *_storage.read(path, _FORMAT))


def _unpacked(path: str | os.PathLike[str], about: dict[str, Any], arrays: dict[str, Any]) -> dict[str, Any]:
    """The fields of a result."""
    try:
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
            "_show": (
                None if settings.own_mask else settings.occlusion(grid, torch.from_numpy(arrays["image"])).occluded
            ),
        }
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{os.fspath(path)!r} is not a whole HDMResult: {error}") from error
