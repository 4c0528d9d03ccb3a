"""The table of items whose true mask may be wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hdm_widgets._validation import brief, is_whole
from hdm_widgets.latent.collection import Collection
from hdm_widgets.latent.simulated_errors import KINDS
from hdm_widgets.latent.suspect_reasons import Reason, find_reason
from hdm_widgets.latent.suspects import SmallMapReader, SuspectScores

if TYPE_CHECKING:
    import pandas

__all__ = ["check_count", "suspect_table"]

# The item whose prediction a truth fits is sought for the first rows alone, and named if the two have this IoU.
_SOUGHT, _FITS = 200, 0.5


def check_count(k: object, count: int) -> int:
    """How many rows are wanted: all of `count` for None."""
    if k is None:
        return count
    if not is_whole(k):
        raise TypeError(f"k must be a whole number, got {brief(k)}")
    if not 1 <= k <= count:
        raise ValueError(f"k must be 1 to {count}, got {k}")
    return int(k)


def suspect_table(collection: Collection, scores: SuspectScores, iou: NDArray[np.float64], k: int) -> pandas.DataFrame:
    """See `LatentSpace.suspects`."""
    import pandas

    quality = np.full(len(collection), np.nan) if collection.label_quality is None else collection.label_quality
    # Of equal scores, the truth that fits the probabilities least comes first.
    order = np.lexsort((quality, -scores.scores))[:k]
    read = SmallMapReader(collection)
    better = _better_fits(read, collection.items, order[:_SOUGHT])
    found: dict[int, Reason] = {}
    # In the order of the items: of a store, every part is read once.
    for index in np.sort(order).tolist():
        predicted = collection.predictions[index]
        if collection.ignored is not None:
            predicted &= ~collection.ignored[index]
        odds = read.odds(np.array([index]))[0]
        found[index] = find_reason(
            KINDS[scores.kinds[index]],
            collection.truths[index],
            predicted,
            1 / (1 + np.exp(-odds.astype(np.float64))),
            better.get(index),
        )
    reasons = [found[index] for index in order.tolist()]
    return pandas.DataFrame(
        {
            "item": collection.items[order],
            "score": scores.scores[order],
            "kind": [reason.kind for reason in reasons],
            "reason": [reason.text for reason in reasons],
            "row": [reason.row for reason in reasons],
            "col": [reason.col for reason in reasons],
            "box": [reason.box for reason in reasons],
            "size": [reason.size for reason in reasons],
            "label_quality": quality[order],
            "iou": iou[order],
        },
        index=pandas.Index(order, name="index"),
    )


def _better_fits(
    read: SmallMapReader, items: NDArray[np.int64], rows: NDArray[np.int64]
) -> dict[int, tuple[int, float]]:
    """For some items, that whose prediction their truth fits best, as its index in the data set, and their IoU.

    Those whose truth fits none, or its own, are left out.
    """
    truths = read(rows).truths.reshape(len(rows), -1).astype(np.float32)
    best, at = np.full(len(rows), -1.0), np.zeros(len(rows), np.int64)
    for positions, small in read.batches():
        predicted = small.predicted.reshape(len(positions), -1).astype(np.float32)
        # Whole numbers of pixels, which float32 holds.
        common = (truths @ predicted.T).astype(np.float64)
        iou = common / np.maximum(1, truths.sum(1)[:, None] + predicted.sum(1) - common)
        near = iou.argmax(1)
        highest = iou[np.arange(len(rows)), near]
        at = np.where(highest > best, positions[near], at)
        best = np.maximum(best, highest)
    return {
        row: (int(items[other]), float(value))
        for row, other, value in zip(rows.tolist(), at.tolist(), best.tolist(), strict=True)
        if other != row and value >= _FITS
    }
