"""Items to be labeled again, in files for people and for annotation tools."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hdm_widgets._bitmasks import bounding_box
from hdm_widgets._validation import brief, check_choice, checks_simple_arguments
from hdm_widgets.latent.selection import Selection, checked_file
from hdm_widgets.latent.space_items import SpaceWithItems

__all__ = ["Format", "export_marked"]

Format = Literal["csv", "coco", "voc"]

# Columns that a data set may have its files' names in, the first that is there.
_NAMES = ("path", "file_name", "filename", "file", "name")
_CATEGORIES = ({"id": 1, "name": "ground truth"}, {"id": 2, "name": "prediction"})
# As VOC: 0 is ground, 1 the object, 255 what does not count.
_OBJECT, _IGNORED = 1, 255
_SUFFIXES: dict[str, Format] = {".csv": "csv", ".json": "coco"}


@checks_simple_arguments
def export_marked(
    space: SpaceWithItems,
    items: Any,
    path: str | os.PathLike[str],
    format: Format = "csv",  # noqa: A002  # the word that everybody expects
    *,
    reasons: Mapping[int, str] | None = None,
) -> None:
    """Write items that were marked, for instance because their truth is wrong, to be labeled again.

    Parameters
    ----------
    space : LatentSpace
        A fitted space.
    items : array_like, Selection or pandas.DataFrame
        Positions in the space; or what `LatentSpace.suspects` returned, or rows of it, whose reasons are written too.
    path : str or os.PathLike
        The file; for ``"voc"`` a folder, which is made if it is not there.
    format : {"csv", "coco", "voc"}
        - ``"csv"``: a table with the columns of the space, and `reason`;
        - ``"coco"``: JSON with true and predicted masks as two categories, in uncompressed run lengths;
        - ``"voc"``: PNG files in the folders `SegmentationClass` (truths) and `Predictions`, 1 on the segment and 255
          where pixels do not count, and their names in `ImageSets/Segmentation/marked.txt`.
    reasons : mapping of int to str, optional
        Why each was marked, by position; those in `items` by default.

    Raises
    ------
    ValueError, TypeError
        If the items are no positions, there are none, the index of a table is not that of its items, there is no such
        format, or the file's suffix is that of another.
    FileExistsError
        If the folder for ``"voc"`` has masks of other items: nothing is written.

    Notes
    -----
    An image is named by the data set's column `path`, `file_name`, `filename`, `file` or `name` where there is one, and
    by its index in the data set else; so are images without an entry there.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import hdm_widgets as hw
    >>> model, scenes = hw.demo.aerial(64)
    >>> space = hw.LatentSpace(model).fit(scenes, progress=False)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     hw.export_marked(space, space.suspects(5), Path(folder) / "marked.json", "coco")
    ...     len(Path(folder, "marked.json").read_text()) > 1000
    True
    """
    if not isinstance(space, SpaceWithItems):
        raise TypeError(f"space must be a LatentSpace, got {brief(space)}")
    check_choice("format", format, Format)
    if hasattr(items, "index") and hasattr(items, "columns"):
        _check_rows(space, items)
        if reasons is None and "reason" in items.columns:
            reasons = dict(zip(items.index.tolist(), items["reason"].tolist(), strict=True))
        items = items.index.to_numpy()
    marked = space.select(items, "marked")
    if not len(marked):
        raise ValueError("there are no items to export")
    suffix = Path(path).suffix.lower()
    if format != "voc" and _SUFFIXES.get(suffix, format) != format:
        raise ValueError(f"the suffix {suffix!r} is that of format={_SUFFIXES[suffix]!r}, got format={format!r}")
    reasons = dict(reasons or {})
    if unknown := [index for index in reasons if index not in marked]:
        raise ValueError(f"reasons has position {unknown[0]}, which is not among the items")
    if format == "csv":
        _with_reasons(marked, reasons).to_csv(path)
    elif format == "coco":
        checked_file(path).write_text(json.dumps(_coco(space, marked, reasons)), encoding="utf-8")
    else:
        _write_voc(space, marked, Path(path))


def _check_rows(space: SpaceWithItems, frame: Any) -> None:
    """Refuse a table whose index is no longer the positions of its items."""
    positions = frame.index.to_numpy()
    if "item" not in frame.columns or positions.dtype.kind not in "iu":
        return
    inside = (positions >= 0) & (positions < len(space))
    given = frame["item"].to_numpy()
    wrong = np.flatnonzero(space.items_[np.where(inside, positions, 0)] != given)
    wrong = wrong[inside[wrong]]
    if len(wrong):
        row = int(wrong[0])
        raise ValueError(
            f"the table's index must be positions in the space, as `suspects` gives it: at {positions[row]} the space "
            f"has item {space.items_[positions[row]]}, and the table item {given[row]}; was its index reset?"
        )


def _with_reasons(marked: Selection, reasons: Mapping[int, str]) -> Selection:
    """The selection of a table with a column of reasons."""
    column = np.array([reasons.get(index, "") for index in range(len(marked.table["item"]))], dtype=np.str_)
    # As in the table of a space, a column of the data set with this name is told apart.
    free = "data_reason"
    while free in marked.table:
        free = f"data_{free}"
    table = {free if name == "reason" else name: values for name, values in marked.table.items()}
    return Selection(marked.items, marked.name, marked.color, {**table, "reason": column})


def _coco(space: SpaceWithItems, marked: Selection, reasons: Mapping[int, str]) -> dict[str, Any]:
    """As COCO's format for instances: one annotation for each mask that is not empty."""
    _, height, width = space.collection_.image_shape
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for index, name in zip(marked.indices.tolist(), _names(space, marked), strict=True):
        image = {"id": index, "file_name": name, "height": height, "width": width, "reason": reasons.get(index, "")}
        images.append(image)
        for category, mask in zip(_CATEGORIES, (space.truth(index), space.prediction(index)), strict=True):
            box = bounding_box(mask)
            if box is not None:
                row0, col0, row1, col1 = box
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": index,
                        "category_id": category["id"],
                        "segmentation": {"size": [height, width], "counts": run_lengths(mask)},
                        "area": int(mask.sum()),
                        "bbox": [col0, row0, col1 - col0, row1 - row0],
                        "iscrowd": 1,
                    }
                )
    return {"images": images, "annotations": annotations, "categories": list(_CATEGORIES)}


def run_lengths(mask: NDArray[np.bool_]) -> list[int]:
    """COCO's uncompressed run lengths of a mask: column by column, pixels outside first."""
    pixels = mask.ravel(order="F")
    edges = np.flatnonzero(np.diff(pixels, prepend=False)).tolist()
    starts = [0, *edges, pixels.size]
    return [end - start for start, end in itertools.pairwise(starts)]


def _write_voc(space: SpaceWithItems, marked: Selection, folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"{os.fspath(folder)!r} is a file; VOC masks are written to a folder")
    names = _stems(_names(space, marked))
    kinds = (("SegmentationClass", space.truth), ("Predictions", space.prediction))
    for kind, _ in kinds:
        others = sorted({path.stem for path in (folder / kind).glob("*.png")} - set(names))
        if others:
            raise FileExistsError(
                f"{os.fspath(folder / kind)!r} has masks of other items, such as {others[0]}.png: give another folder, "
                "or delete them"
            )
    for kind, mask_of in kinds:
        (folder / kind).mkdir(parents=True, exist_ok=True)
        for index, name in zip(marked.indices.tolist(), names, strict=True):
            values = np.where(mask_of(index), _OBJECT, 0).astype(np.uint8)
            values[space.ignored(index)] = _IGNORED
            Image.fromarray(values).save(folder / kind / f"{name}.png")
    listed = folder / "ImageSets" / "Segmentation"
    listed.mkdir(parents=True, exist_ok=True)
    (listed / "marked.txt").write_text("".join(f"{name}\n" for name in names), encoding="utf-8")


def _names(space: SpaceWithItems, marked: Selection) -> list[str]:
    """Names of the images' files, or their indices in the data set."""
    columns = space.columns_
    items = [str(item) for item in space.items_[marked.indices].tolist()]
    for name in _NAMES:
        if name in columns and columns[name].dtype.kind == "U":
            named = columns[name][marked.indices].tolist()
            return [value or item for value, item in zip(named, items, strict=True)]
    return items


def _stems(names: list[str]) -> list[str]:
    """Names for files, without folders and endings; with numbers before them where two would be the same."""
    stems = [Path(name.replace("\\", "/")).stem or "image" for name in names]
    if len(set(stems)) == len(stems):
        return stems
    return [f"{position:05}_{stem}" for position, stem in enumerate(stems)]
