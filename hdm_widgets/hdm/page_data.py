"""What a page without Python answers from: the values in every measure, the masks, and what the model saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hdm_widgets._bitmasks import MaskPatch, bounding_box, patch_of
from hdm_widgets._masks import GivenMask
from hdm_widgets._picture import Display, View
from hdm_widgets._wire import bits, to_wire
from hdm_widgets.hdm.answers import Answers, Question, outlined, told
from hdm_widgets.hdm.circle_map import ShownOrder, color_table
from hdm_widgets.hdm.fill_names import fill_choices, fill_text
from hdm_widgets.hdm.messages import (
    COLOR_MAPS,
    about_message,
    disc_drawn_message,
    drawn_message,
    map_message,
    proposal_message,
    shown_display,
    wire_channel,
)
from hdm_widgets.hdm.result import HDMResult
from hdm_widgets.hdm.update import ScanUpdate
from hdm_widgets.metrics.spacing import PixelSpacing

__all__ = ["PageView", "page_data"]

# What each answer has of its own; the rest of a map is the same in all.
_PER_ANSWER = ("values", "one_empty", "noise", "baseline")
# The longer side of what a page shows of the image.
_LONGEST_SIDE = 1600

Box = tuple[int, int, int, int]


@dataclass(frozen=True, eq=False)
class PageView:
    """How a page looks when it is opened; as the traits of `HDMExplorer`.

    Attributes
    ----------
    display : Display
    color_map : str
    color_maps : dict of str to bytes
        The colors of all that are on offer besides the usual ones.
    result_type : str
    order : {"mean", "change"}
    opacity : float
    layers : tuple of str, optional
        By default the image, the map, and the outline of what is explained.
    cell : tuple of int or None
    question : Question, optional
        What is asked at first; by default what the scan itself answers.
    brush : list of int
        Runs of the brushed region.
    against : int or None
        The class that the shown one turns into.
    classes : list
        Number and name of each class on offer.
    seconds : float
        Time of the scan; 0 where it is not known.
    annotator : str
        Whose truth has the one object that is explained; empty where there is one truth.
    """

    display: Display = field(default_factory=Display)
    color_map: str = "Blues"
    color_maps: dict[str, bytes] = field(default_factory=dict)
    result_type: str = "raw"
    order: ShownOrder = "mean"
    opacity: float = 0.7
    layers: tuple[str, ...] | None = None
    cell: tuple[int, int] | None = None
    question: Question | None = None
    brush: Sequence[int] = ()
    against: int | None = None
    classes: Sequence[Sequence[int | str]] = ()
    seconds: float = 0.0
    annotator: str = ""


def page_data(result: HDMResult, view: PageView, answers: Answers | None = None) -> dict[str, Any]:
    """Everything that the script of a page reads, in the form of `to_wire`.

    Parameters
    ----------
    result : HDMResult
        As it was scanned, complete.
    view : PageView
    answers : Answers, optional
        What the scan is asked; by default it has no other truth than its own.

    Returns
    -------
    dict
        "traits": the explorer's at the start, but for what follows from the question that is asked. "answers": one for
        each class, measure, and mask that is compared with. "compared": these masks. "classes": the masks of each
        class. "image": what the stage shows. "seen": what the model saw.
    """
    settings, spacing = result.settings, PixelSpacing.for_sides(result.settings.spacing)
    if answers is None:
        answers = _own_answers(result, view.annotator)
    asked = view.question or answers.own
    shown, fill = view.display.view(result.image), fill_text(settings.fill)
    layers = ["picture", "map", *outlined([], asked)] if view.layers is None else list(view.layers)
    tables = {name: color_table(name).tobytes() for name in COLOR_MAPS} | view.color_maps
    if view.color_map not in tables:
        tables[view.color_map] = color_table(view.color_map).tobytes()
    scan = {
        "circle_size": result.circle_size,
        "offset": result.offset,
        "channel": wire_channel(settings.channel),
        "fill": fill,
        "shape": result.grid.disc_shape,
    }
    traits = {
        **scan,
        "result_type": view.result_type,
        "order": view.order,
        "color_map": view.color_map,
        "opacity": view.opacity,
        "cell": view.cell,
        "layers": layers,
        "target": asked.target,
        "_classes": [list(each) for each in view.classes],
        "measure": asked.measure,
        "explain_by": asked.explain_by,
        # One object needs other numbers than those that are stored.
        "object": None,
        "_nearer_to_others": b"",
        "brush": list(view.brush),
        "against": view.against,
        "_measures": answers.measures,
        "_explained_by": answers.explained_by,
        "_fills": fill_choices(torch.from_numpy(result.image), settings, fill),
        "status": "done",
        "progress": 1.0,
        "error": "",
        # Other fills and other models need the model.
        "_fill_panel": {},
        "_fill_maps": {},
        "_model_panel": {},
        "_object_panel": {},
        "_other_models": [],
        "_several_objects": False,
        "_has_significance": False,
        "_about": about_message(result.image, result.segment, settings),
        **_drawn(result.image, shown),
        "_map": {name: value for name, value in _map(result, view.seconds).items() if name not in _PER_ANSWER},
        "_scanned": scan,
    }
    every = [result.for_class(number) for number in result.classes] or [result]
    targets = [one.settings.target for one in every]
    questions = [
        question
        for target in targets
        for by in answers.explained_by
        for measure, *_ in answers.measures
        if _has_answer(answers, question := Question(str(measure), by, target))
    ]
    stored = {
        "answers": [_answer(result, answers, question) for question in questions],
        "compared": [_compared(one, answers, by) for one in every for by in answers.explained_by],
        "classes": [_class_masks(one) for one in every],
        "image": _pixels(shown.to_rgb(result.image)),
        "seen": _seen(result, view.display),
        "sides": (spacing.row, spacing.col),
        "unit": spacing.unit,
    }
    return {
        # Names of traits and of color maps are no keys of a message.
        "traits": {name: to_wire(value) for name, value in traits.items()} | {"_color_tables": tables},
        **to_wire(stored),
    }


def _drawn(image: NDArray[np.float32], shown: View) -> dict[str, Any]:
    """`drawn_message`, of an image (C, H, W) in the size that a page shows; edges are placed in the whole."""
    step = _step(image.shape[1:])
    if step == 1:
        return drawn_message(shown.levels(image))
    small = np.ascontiguousarray(image[:, ::step, ::step])
    message = drawn_message(shown.levels(small))
    height, width = small.shape[1:]
    found = np.unpackbits(np.frombuffer(message["_edges"], np.uint8), count=height * width).reshape(height, width)
    edges = np.zeros(image.shape[1:], bool)
    edges[::step, ::step] = found
    return {**message, "_edges": bits(edges)}


def _map(result: HDMResult, seconds: float = 0.0) -> dict[str, Any]:
    """The map at the end of a scan."""
    count = int(np.count_nonzero(result.measured))
    return map_message(ScanUpdate(np.zeros((0, 2), np.intp), np.zeros(0), count, count, 1, seconds, result))


def _own_answers(result: HDMResult, annotator: str) -> Answers:
    """Answers to what a result is asked by itself; one object of the truth, or of an annotator's, is called so."""
    settings = result.settings
    named = settings.of_object and not settings.of_prediction
    name = f"one object of {annotator}" if annotator else "one object of the truth"
    truths = {name: GivenMask(result.segment, result.segment, result.ignored)} if named else {}
    return Answers(settings, keep_outputs=result._masks is not None, truths=truths)


# -- Answers ---------------------------------------------------------------------------------------------


def _has_answer(answers: Answers, question: Question) -> bool:
    try:
        answers.check(question)
    except ValueError:
        # A measure of the raw output, of something that was not scanned.
        return False
    return True


def _answer(result: HDMResult, answers: Answers, question: Question) -> dict[str, Any]:
    asked = {"target": question.target, "measure": question.measure, "explain_by": question.explain_by}
    try:
        answer = answers.of(result, question)
    except ValueError as error:
        # A mask is empty under empty="raise".
        return asked | {"error": str(error)}
    message = _map(answer)
    return asked | {
        "error": None,
        "about": told(answer.settings, question) | {"truth_empty": not answer.segment.any()},
        "map": {name: message[name] for name in _PER_ANSWER},
        "proposal": proposal_message(answer),
    }


def _compared(result: HDMResult, answers: Answers, explain_by: str) -> dict[str, Any]:
    """The truth and the ignored pixels that the stage shows, of the scan's result for one class."""
    explained = answers.truth(result, answers.own._replace(target=result.settings.target, explain_by=explain_by))
    truth = result.segment if explained.of_prediction else explained.mask
    return {
        "target": result.settings.target,
        "explain_by": explain_by,
        "truth": b"" if result.settings.of_prediction else bits(truth),
        "ignored": b"" if explained.ignored is None else bits(explained.ignored),
    }


# -- Masks -----------------------------------------------------------------------------------------------


def _class_masks(result: HDMResult) -> dict[str, Any]:
    """The masks of one class, as the pixels that each disc flips."""
    drawn = disc_drawn_message(result)
    found: dict[str, Any] = {
        "target": result.settings.target,
        "prediction": bits(result.baseline_mask),
        # Without another fill to try, which needs the model.
        "disc_drawn": drawn | {"fill": None} if drawn else {},
        "masks": None,
    }
    if result._masks is not None:
        numbers, patches = _flips(result)
        found["masks"] = {
            "numbers": numbers,
            "boxes": np.array([patch.box for patch in patches], np.int32).reshape(-1, 4),
            # Each begins with a byte of its own.
            "flips": b"".join(patch.bits for patch in patches),
        }
    return found


def _flips(result: HDMResult) -> tuple[NDArray[np.int32], list[MaskPatch]]:
    """The number of each cell's patch, int32 (rows, cols), -1 where there is none, and all different patches."""
    masks, plain = result._masks, result.baseline_mask
    assert masks is not None  # asked for those of a scan that kept some  # noqa: S101
    same, nothing = np.array_equal(masks.predicted, plain), np.zeros_like(plain)
    numbers = np.full(result.measured.shape, -1, np.int32)
    # Many discs change the mask in the same way.
    by_kept: dict[MaskPatch, int] = {}
    by_flips: dict[MaskPatch, int] = {}
    for row, col in np.argwhere(result.measured).tolist():
        kept = masks.patches[row, col]
        if kept not in by_kept:
            at_row, at_col, window = masks.window(row, col) if same else (0, 0, masks.mask(row, col))
            height, width = window.shape
            flipped = window != plain[at_row : at_row + height, at_col : at_col + width]
            by_kept[kept] = by_flips.setdefault(patch_of(nothing, at_row, at_col, flipped), len(by_flips))
        numbers[row, col] = by_kept[kept]
    return numbers, list(by_flips)


# -- Images ----------------------------------------------------------------------------------------------


def _step(shape: Sequence[int]) -> int:
    """Every how many rows and columns of an image (H, W, ...) are shown."""
    return -(-max(shape[:2]) // _LONGEST_SIDE)


def _pixels(image: NDArray[np.uint8]) -> dict[str, Any]:
    """An image (H, W, 3) as the page reads it: differences along each row, of one plane where all three are equal."""
    step = _step(image.shape)
    shown = image[::step, ::step]
    gray = bool((shown[..., :1] == shown).all())
    planes = shown[..., :1] if gray else shown
    along = np.diff(planes, axis=1, prepend=np.zeros_like(planes[:, :1]))
    return {
        "height": shown.shape[0],
        "width": shown.shape[1],
        "planes": planes.shape[2],
        "differences": along.tobytes(),
    }


def _seen(result: HDMResult, display: Display) -> dict[str, Any] | None:
    """What the model saw of every cell; None where that cannot be made.

    Where all discs show parts of one image, as with a fill that does not depend on the disc, that image is stored;
    else a patch for each cell.
    """
    if result._show is None:
        return None
    view = shown_display(display, result.settings.channel, len(result.image)).view(result.image)
    plain = result.image
    if not result.settings.own_mask:
        # Outside the disc an image may be clipped.
        plain = result.settings.occlusion(result.grid, torch.from_numpy(result.image)).made.unchanged.cpu().numpy()
    base = view.to_rgb(plain)
    step = _step(base.shape)
    # Mostly that is what the stage shows.
    same = np.array_equal(base, display.view(result.image).to_rgb(result.image))
    found = {"step": step, "plain": None if same else _pixels(base), "filled": None, "boxes": None, "patches": None}
    filled = None if result.settings.own_mask else _filled(result, view, base)
    if filled is not None:
        return found | {"filled": _pixels(filled)}
    boxes = np.zeros((*result.measured.shape, 4), np.int32)
    patches = []
    for row, col in np.argwhere(result.measured).tolist():
        image = view.to_rgb(result.occluded(row, col))[::step, ::step]
        box = bounding_box((image != base[::step, ::step]).any(axis=2))
        if box is not None:
            boxes[row, col] = box
            patches.append(image[box[0] : box[2], box[1] : box[3]].tobytes())
    return found | {"boxes": boxes, "patches": b"".join(patches)}


def _filled(result: HDMResult, view: View, base: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """The image that all discs show parts of; None if two discs show the same pixel in different ways."""
    filled, covered = base.copy(), np.zeros(base.shape[:2], bool)
    cells = np.argwhere(result.measured)
    # Windows of the occluded images: whole ones would be made for each cell.
    content = result.settings.occlusion(result.grid, torch.from_numpy(result.image)).made.changes(cells).content
    for item, (row, col) in enumerate(cells.tolist()):
        rows, cols, disc = result.grid.window(row, col)
        if (rows.start, cols.start) != (row * result.offset, col * result.offset):
            # The script knows discs that lie on the grid.
            return None
        part = np.array([[rows.start, cols.start, rows.stop, cols.stop]])
        shown = view.to_rgb(content(np.array([item]), part)[0].cpu().numpy())
        again = disc & covered[rows, cols]
        if (filled[rows, cols][again] != shown[again]).any():
            return None
        filled[rows, cols][disc] = shown[disc]
        covered[rows, cols] |= disc
    # Elsewhere nobody looks at it: one value takes no room.
    filled[~covered] = 0
    return filled
