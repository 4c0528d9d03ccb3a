"""A scan's result in files: one to load again, and one to look at."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray

from hdm_widgets import _storage
from hdm_widgets._bitmasks import MaskStore
from hdm_widgets._picture import Bands, Display
from hdm_widgets.hdm.approximation import Approximation
from hdm_widgets.hdm.circle_map import RAW, ResultType, color_table
from hdm_widgets.hdm.class_names import ClassNames, check_class_names, check_name_count, named_classes
from hdm_widgets.hdm.classes import ClassMasks
from hdm_widgets.hdm.grid import Grid
from hdm_widgets.hdm.noise import Noise
from hdm_widgets.hdm.options import ScanSettings

if TYPE_CHECKING:
    from matplotlib.colors import Colormap

    from hdm_widgets.hdm.result import HDMResult

__all__ = [
    "ResultFiles",
    "StoredResults",
    "fields_of",
    "pack_result",
    "read_result",
    "read_results",
    "stored",
    "unpack_result",
    "write_result",
    "write_results",
]

_FORMAT = "hdm-widgets result 2"
_ARRAYS = ("values", "measured", "image", "segment", "baseline_mask")
# What the arrays of a file are called that belong to none of its results.
_MORE = "more"


@dataclass(frozen=True, eq=False)
class StoredResults:
    """What a file of several results has.

    Attributes
    ----------
    results : dict of str to dict
        The fields of each result, by its name.
    about : dict
        What describes them together.
    arrays : dict of str to numpy.ndarray
        What belongs to all of them.
    """

    results: dict[str, dict[str, Any]]
    about: dict[str, Any]
    arrays: dict[str, NDArray[Any]]


class ResultFiles:
    """Base of `HDMResult`: what it writes to files, and reads from them."""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything to an npz file; nothing in it is pickled.

        Parameters
        ----------
        path : path-like
            Written as given; `.npz` is the usual ending.
        """
        write_result(path, vars(self))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a result that `save` wrote.

        Raises
        ------
        ValueError
            If the file is no such result.
        """
        return cls(**read_result(path))

    def to_html(
        self,
        path: str | os.PathLike[str],
        *,
        title: str | None = None,
        model_name: str = "",
        result_type: ResultType | str = RAW,
        color_map: str | Colormap = "Blues",
        display: Display | Bands | None = None,
        class_names: ClassNames | None = None,
    ) -> None:
        """Write a page that shows the scan as `HDMExplorer` does, without Python and without a network.

        Everything is inside the file: the map, the values in every measure, the masks, and what the model saw. A
        browser opens it from a disk, offline.

        Parameters
        ----------
        path : path-like
            Written as given; `.html` is the usual ending.
        title : str, optional
            What stands over the page.
        model_name : str
            What the model is called.
        result_type : {hdm.RAW, hdm.BETTER_ONLY, hdm.WORSE_ONLY}
            What the map shows at first.
        color_map : str or matplotlib.colors.Colormap
            The map's colors at first.
        display : Display, int or sequence of int, optional
            How to show the image: a channel in gray, three as red, green and blue, or a `Display`.
        class_names : sequence of str or dict of int to str, optional
            What the classes are called, of a scan with `target="all"`: in the order of their numbers, or by number.

        Raises
        ------
        FileNotFoundError
            If the folder does not exist.
        ValueError
            If cells are not measured yet.

        Notes
        -----
        Of a scan with `target="all"` the page has all classes. Of one that kept no masks (`keep_outputs=False`) it has
        the measure of the scan alone, and says that there are no masks to look at. The page shows one scan: other
        circle sizes, offsets, channels and fills need the model.
        """
        # The page is made of this class.
        from hdm_widgets.hdm.page import write_page
        from hdm_widgets.hdm.page_data import PageView

        result = cast("HDMResult", self)
        names = check_class_names(class_names, all_classes=bool(result.classes))
        check_name_count(result, names)
        name = color_map if isinstance(color_map, str) else color_map.name
        view = PageView(
            display=Display.wrap(display),
            color_map=name,
            color_maps={name: color_table(color_map).tobytes()},
            result_type=ResultType(result_type).value,
            classes=named_classes(result.classes, names),
        )
        write_page(path, result, view, title=title, model_name=model_name)


def write_result(path: str | os.PathLike[str], fields: Mapping[str, Any]) -> None:
    """Write the fields of an `HDMResult` to an npz file; nothing in it is pickled."""
    _storage.write(path, *stored(fields))


def write_results(
    path: str | os.PathLike[str],
    kind: str,
    several: Mapping[str, Mapping[str, Any]],
    about: Mapping[str, Any] | None = None,
    arrays: Mapping[str, NDArray[Any]] | None = None,
) -> None:
    """Write the fields of several results, by their names, to one npz file of this kind.

    `about`, for JSON, and `arrays` are what belongs to all of them.
    """
    packed = {name: stored(fields) for name, fields in several.items()}
    described = {
        "format": kind,
        "names": list(packed),
        "results": [one for one, _ in packed.values()],
        _MORE: dict(about or {}),
    }
    parts = {str(index): own for index, (_, own) in enumerate(packed.values())} | {_MORE: dict(arrays or {})}
    written = {f"{part}/{name}": array for part, own in parts.items() for name, array in own.items()}
    _storage.write(path, described, written)


def read_results(path: str | os.PathLike[str], kind: str) -> StoredResults:
    """Read what `write_results` wrote.

    Raises
    ------
    ValueError
        If the file is of another kind, or damaged.
    """
    about, arrays = _storage.read(path, kind)
    parts: dict[str, dict[str, NDArray[Any]]] = {}
    for key, array in arrays.items():
        part, _, name = key.partition("/")
        parts.setdefault(part, {})[name] = array
    try:
        named = zip(about["names"], about["results"], strict=True)
        results = {name: fields_of(one, parts[str(index)]) for index, (name, one) in enumerate(named)}
        # Files of earlier versions have nothing more.
        return StoredResults(results, dict(about.get(_MORE, {})), parts.get(_MORE, {}))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{os.fspath(path)!r} does not have all of its results: {error}") from error


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
    for name in ("estimated", "certain"):
        if fields[name] is not None and fields[name].any():
            arrays[name] = fields[name]
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
    return _whole(*_storage.read(path, _FORMAT), os.fspath(path))


def pack_result(fields: Mapping[str, Any]) -> memoryview:
    """The content of a file as `write_result` writes it."""
    return _storage.pack(*stored(fields))


def unpack_result(content: bytes, name: str) -> dict[str, Any]:
    """Read the fields of an `HDMResult` from the content of a file; `name` is the file's, for messages.

    Raises
    ------
    ValueError
        If the file is no such result.
    """
    return _whole(*_storage.unpack(io.BytesIO(content), _FORMAT, name), name)


def _whole(about: Mapping[str, Any], arrays: dict[str, NDArray[Any]], name: str) -> dict[str, Any]:
    try:
        return fields_of(about, arrays)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{name!r} is not a whole HDMResult: {error}") from error


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
        "estimated": arrays.get("estimated"),
        "certain": arrays.get("certain"),
        "_masks": masks if classes is None else classes.masks(int(settings.target or 0)),
        "_classes": classes,
        "_runs": tuple(arrays.get("runs", ())),
        "_show": (None if settings.own_mask else settings.occlusion(grid, torch.from_numpy(arrays["image"])).occluded),
    }
