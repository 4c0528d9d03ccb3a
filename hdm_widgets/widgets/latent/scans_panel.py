"""The panel that explains a selection: how far the scans are, what the images have in common, and each image."""

from __future__ import annotations

from typing import Any

import numpy as np
import traitlets
from numpy.typing import NDArray

from hdm_widgets._validation import check_choice
from hdm_widgets._wire import MESSAGE, png
from hdm_widgets.hdm.aligned_map import AlignedMap
from hdm_widgets.hdm.circle_map import ResultType, color_table, finite_limits, mean_values, scaled
from hdm_widgets.hdm.collection import HDMCollection
from hdm_widgets.latent.space import LatentSpace
from hdm_widgets.widgets.shared.part import Part, read_static

__all__ = ["ScansPanel"]

_SAMPLE = 12
_COLORS = {ResultType.RAW: "Blues", ResultType.BETTER_ONLY: "Greens", ResultType.WORSE_ONLY: "Reds"}
_FRAMES = ("image", "segment", "scaled")
_ORDERS = ("fragility", "improvability")
_LONGEST = 480  # px


class ScansPanel(Part):
    """What a sample of a selection has in common under Hausdorff Distance Masks.

    Parameters
    ----------
    space : LatentSpace

    Attributes
    ----------
    state : {"idle", "running", "done", "cancelled", "error"}
    done, total : float
        Images that are finished, with the fraction of the one that is being scanned, and all.
    seconds_left : float or None
    error : str
        Why there is no result.
    selection : dict
        Name, color and number of items of the active selection; empty without one.
    wanted : int
        How many images to scan.
    kind : {"worse", "better", "raw"}
        What the map shows.
    frame : {"image", "segment", "scaled"}
        Where its pixels are: see `HDMCollection.mean` and `HDMCollection.aligned`.
    order : {"fragility", "improvability"}
        What ranks the images.
    about : dict
        What was scanned, and what the map shows.
    rows : list of dict
        One for each image, in order.
    """

    _changing = ("state", "done", "total", "seconds_left", "error", "_map", "_counts", "_thumbnails")
    _esm = read_static("selection_scans.js")
    _css = read_static("latent_explorer.css")

    state = traitlets.Unicode("idle").tag(sync=True)
    done = traitlets.Float(0.0).tag(sync=True)
    total = traitlets.Int(0).tag(sync=True)
    seconds_left: Any = traitlets.Float(None, allow_none=True).tag(sync=True)
    error = traitlets.Unicode("").tag(sync=True)
    selection = traitlets.Dict().tag(**MESSAGE)
    wanted = traitlets.Int(_SAMPLE).tag(sync=True)
    kind = traitlets.Unicode(ResultType.WORSE_ONLY.value).tag(sync=True)
    frame = traitlets.Unicode("image").tag(sync=True)
    order = traitlets.Unicode("fragility").tag(sync=True)
    about = traitlets.Dict().tag(**MESSAGE)
    rows: Any = traitlets.List().tag(**MESSAGE)
    _map = traitlets.Bytes().tag(sync=True)
    _counts = traitlets.Bytes().tag(sync=True)
    _thumbnails: Any = traitlets.List(traitlets.Bytes()).tag(sync=True)

    def __init__(self, space: LatentSpace) -> None:
        self._space = space
        super().__init__()

    def show(self, collection: HDMCollection | None, name: str, count: int) -> None:
        """Show what was found, of a sample of `count` items of the selection of this name."""
        with self.hold_sync():
            if collection is None or not len(collection):
                failed = {} if collection is None else collection.errors
                self.about, self.rows, self._thumbnails = _failures(failed), [], []
                self._map = self._counts = b""
                return
            self._show_map(collection, name, count)
            self._show_rows(collection)

    def _show_map(self, collection: HDMCollection, name: str, count: int) -> None:
        kind, first = ResultType(self.kind), collection[0]
        about: dict[str, Any] = {
            "name": name,
            "of": count,
            "images": len(collection),
            "circle_size": first.circle_size,
            "offset": first.offset,
            "label": first.settings.label,
            "unit": first.settings.unit,
            "decimals": first.settings.decimals,
            "truth": first.settings.compared_with,
            **_failures(collection.errors),
        }
        try:
            aligned = None if self.frame == "image" else collection.aligned(kind, scaled=self.frame == "scaled")
            values = _in_image(collection, kind) if aligned is None else aligned.mean
        except ValueError as error:
            self.about, self._map, self._counts = about | {"problem": str(error)}, b"", b""
            return
        limits = finite_limits(values)
        height, width = values.shape
        about |= {
            "low": limits[0],
            "high": limits[1],
            "colors": ["#{:02x}{:02x}{:02x}".format(*color) for color in color_table(_COLORS[kind])[::17].tolist()],
            "width": width,
            "height": height,
        }
        if aligned is not None:
            about |= _frame_of(aligned)
        self.about = about
        self._map = _painted(values, limits, _COLORS[kind])
        counts = None if aligned is None else np.where(aligned.count > 0, aligned.count, np.nan)
        self._counts = b"" if counts is None else _painted(counts, (0, about.get("aligned", 0)), "Greys")

    def _show_rows(self, collection: HDMCollection) -> None:
        ranking = collection.ranking(self.order)
        self.rows = [{"item": int(item), **row} for item, row in zip(ranking.index, _records(ranking), strict=True)]
        thumbnails = self._space.collection_.thumbnails
        self._thumbnails = [png(np.array(thumbnails[item])) for item in ranking.index]

    @traitlets.validate("kind", "frame", "order")
    def _check(self, proposal: Any) -> str:
        choices = {"kind": tuple(kind.value for kind in ResultType), "frame": _FRAMES, "order": _ORDERS}
        name = proposal["trait"].name
        return str(check_choice(name, proposal["value"], choices[name]))


def _records(ranking: Any) -> list[dict[str, float]]:
    found: list[dict[str, float]] = ranking.to_dict("records")
    return found


def _failures(errors: dict[int, str]) -> dict[str, Any]:
    return {"failed": [{"item": index, "error": error} for index, error in errors.items()]}


def _in_image(collection: HDMCollection, kind: ResultType) -> NDArray[np.float64]:
    """The mean in the image's frame, (H, W)."""
    mean = collection.mean(kind)
    return mean_values(mean, ~np.isnan(mean), collection[0].grid)


def _frame_of(aligned: AlignedMap) -> dict[str, Any]:
    row, col = aligned.origin
    height, width = aligned.mean.shape
    return {
        "aligned": len(aligned.indices),
        "left_out": len(aligned.left_out),
        "center": [(col + 0.5) / width, (row + 0.5) / height],
        "size": [aligned.size / width, aligned.size / height],
    }


def _painted(values: NDArray[np.float64], limits: tuple[float, float], color_map: str) -> bytes:
    """Values as colors, transparent where there are none."""
    fractions = np.nan_to_num(scaled(values, limits))
    colors = color_table(color_map)[np.minimum(fractions * 256, 255).astype(np.intp)]
    opaque = np.where(np.isnan(values), 0, 255).astype(np.uint8)
    return png(np.dstack([colors, opaque]), longest=_LONGEST)
