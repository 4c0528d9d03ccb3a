"""True masks that are made wrong on purpose, to learn what wrong ones look like."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from hdm_widgets._identity import compared_by_identity

__all__ = ["FEWEST_BLOCKS", "KINDS", "SimulatedErrors", "objects", "shifted", "simulate"]

# What may be wrong with a truth: it lacks an object, has one too many, is moved, or belongs to another image.
KINDS = ("missing object", "extra object", "shifted", "another mask")

# Of objects that are left out or added. Smaller ones are not told from how blocks are rounded.
FEWEST_BLOCKS = 3
# An object that is added covers at most this fraction of the mask.
_LARGEST_FRACTION = 0.25
_LEAST_SHIFT, _LARGEST_SHIFT = 2.0, 6.0
_TRIES = 30
_EIGHT_NEIGHBORS = np.ones((3, 3), bool)

Mask = NDArray[np.bool_]


@compared_by_identity
class SimulatedErrors(NamedTuple):
    """Wrong copies of true masks.

    Attributes
    ----------
    masks : numpy.ndarray, bool (m, h, w)
    kinds : numpy.ndarray, int64 (m,)
        Positions in `KINDS`.
    items : numpy.ndarray, int64 (m,)
        Which mask each is a copy of.
    """

    masks: Mask
    kinds: NDArray[np.int64]
    items: NDArray[np.int64]


def simulate(masks: Mask, random_state: int) -> SimulatedErrors:
    """One wrong copy of each kind of every mask (n, h, w), where that is possible."""
    rng = np.random.default_rng(random_state)
    wrong: tuple[Callable[[int], Mask | None], ...] = (
        lambda item: _without_object(masks[item], rng),
        lambda item: _with_object(masks[item], masks, rng),
        lambda item: _moved(masks[item], rng),
        lambda item: _another(masks[item], masks, rng),
    )
    copies, kinds, items = [], [], []
    for item in range(len(masks)):
        for kind, make in enumerate(wrong):
            copy = make(item)
            if copy is not None and (copy != masks[item]).any():
                copies.append(copy)
                kinds.append(kind)
                items.append(item)
    return SimulatedErrors(
        np.array(copies, bool).reshape(-1, *masks.shape[1:]), np.array(kinds, np.int64), np.array(items, np.int64)
    )


def objects(mask: Mask) -> tuple[NDArray[np.int32], int]:
    """Connected objects of a mask, numbered from 1, and how many there are; corners connect."""
    labels, count = ndimage.label(mask, _EIGHT_NEIGHBORS)
    return labels, int(count)


def shifted(mask: Mask, rows: int, cols: int) -> Mask:
    """A mask moved down and to the right; what leaves it is lost."""
    moved = np.zeros_like(mask)
    height, width = mask.shape
    to = slice(max(rows, 0), height + min(rows, 0)), slice(max(cols, 0), width + min(cols, 0))
    moved[to] = mask[max(-rows, 0) : height + min(-rows, 0), max(-cols, 0) : width + min(-cols, 0)]
    return moved


def _one_object(mask: Mask, rng: np.random.Generator, largest: float = np.inf) -> Mask | None:
    """A random object of a mask; None if it has none of a suitable size."""
    labels, _ = objects(mask)
    sizes = np.bincount(labels.ravel())[1:]
    suitable = np.flatnonzero((sizes >= FEWEST_BLOCKS) & (sizes <= largest)) + 1
    return labels == rng.choice(suitable) if len(suitable) else None


def _without_object(mask: Mask, rng: np.random.Generator) -> Mask | None:
    one = _one_object(mask, rng)
    return None if one is None else mask & ~one


def _with_object(mask: Mask, others: Mask, rng: np.random.Generator) -> Mask | None:
    """The mask with an object of another one at a place where it has none."""
    for _ in range(_TRIES):
        one = _one_object(others[rng.integers(len(others))], rng, _LARGEST_FRACTION * mask.size)
        if one is None:
            continue
        one = one[np.ix_(one.any(1), one.any(0))]
        row, col = (int(rng.integers(0, side - own + 1)) for side, own in zip(mask.shape, one.shape, strict=True))
        place = slice(row, row + one.shape[0]), slice(col, col + one.shape[1])
        if not (mask[place] & one).any():
            copy = mask.copy()
            copy[place] |= one
            return copy
    return None


def _moved(mask: Mask, rng: np.random.Generator) -> Mask | None:
    angle, length = rng.uniform(0, 2 * np.pi), rng.uniform(_LEAST_SHIFT, _LARGEST_SHIFT)
    if mask.sum() < FEWEST_BLOCKS:
        return None
    return shifted(mask, round(length * np.sin(angle)), round(length * np.cos(angle)))


def _another(mask: Mask, others: Mask, rng: np.random.Generator) -> Mask | None:
    """The mask of another item, which differs from this one."""
    for _ in range(_TRIES):
        other: Mask = others[rng.integers(len(others))]
        if (other != mask).sum() >= FEWEST_BLOCKS:
            return other
    return None
