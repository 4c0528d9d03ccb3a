"""What is wrong with a truth, where, and how to say it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from hdm_widgets._bitmasks import bounding_box
from hdm_widgets.latent.label_quality import block_size, pooled_masks
from hdm_widgets.latent.simulated_errors import KINDS, objects, shifted

__all__ = ["BOUNDARY", "NOTHING", "Reason", "find_reason"]

_MISSING, _EXTRA, _SHIFTED, _ANOTHER = KINDS
# Where there is no error of any of these kinds.
BOUNDARY, NOTHING = "boundary", "none"
# Differences thinner than this are boundaries that are drawn a little differently.
_THICKNESS = np.ones((3, 3), bool)
# Masks are moved by at most this fraction of their longest side.
_FARTHEST = 0.125
# An error of the likeliest kind is reported if it explains at least this part of what the best explanation does: of all
# pixels that differ. Another image's mask explains anything, and counts as this fraction.
_ENOUGH, _BY_ANOTHER = 2 / 3, 0.5
# Masks with this IoU or more that differ along boundaries alone, and fit no other prediction better, are their own.
_ALIKE = 0.5

Mask = NDArray[np.bool_]
Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Reason:
    """Why a truth may be wrong.

    Attributes
    ----------
    kind : str
        One of `KINDS`, `BOUNDARY`, or `NOTHING` where the truth is as predicted.
    text : str
        In words.
    row, col : float
        Center of where it is wrong, in pixels; NaN if that is nowhere in particular.
    box : tuple of int, or None
        (row0, col0, row1, col1), half open, around it.
    size : int
        Pixels of the object that is missing or should not be there; of other errors, pixels that truth and prediction
        do not share.
    """

    kind: str
    text: str
    row: float
    col: float
    box: Box | None
    size: int


def find_reason(
    kind: str,
    truth: Mask,
    predicted: Mask,
    probabilities: NDArray[np.floating],
    better: tuple[int, float] | None = None,
) -> Reason:
    """Why a truth may be wrong, and where.

    Parameters
    ----------
    kind : str
        The likeliest of `KINDS`.
    truth, predicted : numpy.ndarray, bool (H, W)
        Without ignored pixels.
    probabilities : numpy.ndarray, float (h, w)
        The model's, averaged over blocks of pixels.
    better : tuple of int and float, optional
        Another item whose prediction the truth fits better, as its index in the data set, and the IoU of the two. Where
        the truth hardly fits its own prediction, it is taken to be the other's, whatever is the likeliest kind.

    Returns
    -------
    Reason
        Of another kind than was asked for where that explains much more of the pixels that differ.
    """
    differs = truth != predicted
    if not differs.any():
        return Reason(NOTHING, "truth and prediction are the same", np.nan, np.nan, None, 0)
    p = _enlarged(probabilities, truth.shape)
    sides = {_MISSING: (predicted & ~truth, p), _EXTRA: (truth & ~predicted, 1 - p)}
    objects_of = {name: found for name, side in sides.items() if (found := _object(*side)) is not None}
    explained = {name: float(found.sum() / differs.sum()) for name, found in objects_of.items()}
    moved, alike = None, _iou(truth, predicted)
    if better is not None and alike < _ALIKE * better[1]:
        kind = _ANOTHER
    if kind in (_SHIFTED, _ANOTHER):
        if kind == _ANOTHER and (objects_of or better is not None or alike < _ALIKE):
            explained[_ANOTHER] = _BY_ANOTHER
        moved = _best_shift(truth, predicted)
        gain = 1 - (shifted(truth, -moved[0], -moved[1]) != predicted).sum() / differs.sum()
        if gain > 0:
            explained[_SHIFTED] = float(gain)
    if not explained:
        return Reason(
            BOUNDARY, f"truth and prediction differ in {int(differs.sum()):,} px along boundaries",
            *_center(differs), bounding_box(differs), int(differs.sum()),
        )  # fmt: skip
    best = max(explained, key=lambda name: explained[name])
    if explained.get(kind, 0) < _ENOUGH * explained[best]:
        kind = best
    if kind == _ANOTHER:
        return _another(truth, predicted, better)
    if kind == _SHIFTED and moved is not None:
        return _shift(truth, predicted, *moved)
    found = objects_of[kind]
    size, told = int(found.sum()), _mean_inside(probabilities, found)
    text = (
        f"the model draws an object of {size:,} px that the truth lacks{told and f', with confidence {told}'}"
        if kind == _MISSING
        else f"the truth has an object of {size:,} px where the model sees none{told and f', with probability {told}'}"
    )
    return Reason(kind, text, *_center(found), bounding_box(found), size)


def _object(differs: Mask, confidence: NDArray[np.floating]) -> Mask | None:
    """The object of pixels that differ, thicker than a boundary, of which the model is surest in all."""
    labels, count = objects(ndimage.binary_opening(differs, _THICKNESS))
    if not count:
        return None
    # Of an object, everything that hangs together with its thick part; boundaries that touch it too.
    whole = ndimage.grey_dilation(labels, footprint=_THICKNESS) * differs
    whole[labels > 0] = labels[labels > 0]
    sure = np.clip(confidence, 0.5, 1) - 0.5 + 1e-6
    return np.asarray(whole == 1 + int(np.argmax(np.bincount(whole.ravel(), sure.ravel(), count + 1)[1:])))


def _another(truth: Mask, predicted: Mask, better: tuple[int, float] | None) -> Reason:
    text = f"the truth looks like another image's: its IoU with the prediction is {_decimal(_iou(truth, predicted))}"
    if better is not None:
        text += f", with that of item {better[0]} about {_decimal(better[1])}"
    where = truth if truth.any() else predicted
    return Reason(_ANOTHER, text, *_center(where), bounding_box(where), int((truth != predicted).sum()))


def _best_shift(truth: Mask, predicted: Mask) -> tuple[int, int]:
    """By how many rows and columns the truth is moved away from where it fits the prediction best."""
    far = max(1, round(_FARTHEST * max(truth.shape)))
    limits = [min(far, side - 1) for side in truth.shape]
    size = [2 * side for side in truth.shape]
    spectrum = np.fft.rfft2(truth.astype(np.float32), size) * np.fft.rfft2(predicted.astype(np.float32), size).conj()
    rolled = np.roll(np.fft.irfft2(spectrum, size), limits, (0, 1))
    # Overlaps are whole numbers of pixels.
    near = rolled[: 2 * limits[0] + 1, : 2 * limits[1] + 1].round()
    rows, cols = np.ogrid[-limits[0] : limits[0] + 1, -limits[1] : limits[1] + 1]
    # Of equal overlaps the smallest shift.
    at = np.argmax(near - 1e-3 * np.hypot(rows, cols))
    return int(at // near.shape[1]) - limits[0], int(at % near.shape[1]) - limits[1]


def _shift(truth: Mask, predicted: Mask, row: int, col: int) -> Reason:
    before, after = (_iou(mask, predicted) for mask in (truth, shifted(truth, -row, -col)))
    text = (
        f"shifted by about ({row}, {col}) px: moved back, its IoU with the prediction is {_decimal(after)} in place of "
        f"{_decimal(before)}"
    )
    return Reason(_SHIFTED, text, *_center(truth), bounding_box(truth), int((truth != predicted).sum()))


def _iou(one: Mask, other: Mask) -> float:
    return float((one & other).sum() / max(1, (one | other).sum()))


def _center(mask: Mask) -> tuple[float, float]:
    rows, cols = np.nonzero(mask)
    return float(rows.mean()), float(cols.mean())


def _enlarged(small: NDArray[np.floating], shape: tuple[int, ...]) -> NDArray[np.floating]:
    """A small map with every value repeated over its block of pixels."""
    block = block_size(shape)
    large: NDArray[np.floating] = np.repeat(np.repeat(small, block, 0), block, 1)[: shape[0], : shape[1]]
    return large


def _mean_inside(probabilities: NDArray[np.floating], found: Mask) -> str:
    """Mean probability of the blocks that lie wholly in an object; empty if none does."""
    inside = pooled_masks(found[None], block_size(found.shape))[0] >= 1
    return _decimal(float(probabilities[inside].mean())) if inside.any() else ""


def _decimal(value: float) -> str:
    """Two decimals, and more where that would read as 0 or 1."""
    return f"{value:.2f}" if 0.005 <= value < 0.995 else f"{value:.3g}" if value < 0.005 else f"{min(value, 0.999):.3f}"
