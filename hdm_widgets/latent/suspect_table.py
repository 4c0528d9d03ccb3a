"""The table of items whose true mask may be wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hdm_widgets._validation import is_whole
from hdm_widgets.latent.collection import Collection
from hdm_widgets.latent.simulated_errors import KINDS
from hdm_widgets.latent.suspect_reasons import find_reason
from hdm_widgets.latent.suspects import SmallMaps, SuspectScores

if TYPE_CHECKING:
    import pandas

__all__ = ["check_count", "suspect_table"]

_ANOTHER = KINDS.index("another mask")
# The item whose prediction a truth fits is sought for the first rows alone, and named if the two have this IoU.
_SOUGHT, _FITS = 200, 0.5


def check_count(k: object, count: int) -> int:
    """How many rows are wanted: all of `count` for None."""
    if k is None:
        return count
    if not is_whole(k):
        raise TypeError(f"k must be a whole number, got {k!r}")
    if not 1 <= k <= count:
        raise ValueError(f"k must be 1 to {count}, got {k}")
    return int(k)


def suspect_table(collection: Collection, scores: SuspectScores, iou: NDArray[np.float64], k: int) -> pandas.DataFrame:
    """See `LatentSpace.suspects`."""
    import pandas

    quality = np.full(len(collection), np.nan) if collection.label_quality is None else collection.label_quality
    # Of equal scores, the truth that fits the probabilities least comes first.
    order = np.lexsort((quality, -scores.scores))[:k]
    small = SmallMaps.from_collection(collection)
    reasons = []
    for rank, index in enumerate(order.tolist()):
        predicted = collection.predictions[index]
        if collection.ignored is not None:
            predicted &= ~collection.ignored[index]
        kind = scores.kinds[index]
        reasons.append(
            find_reason(
                KINDS[kind],
                collection.truths[index],
                predicted,
                1 / (1 + np.exp(-small.odds[index].astype(np.float64))),
                _better_fit(small, collection.items, index) if kind == _ANOTHER and rank < _SOUGHT else None,
            )
        )
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


def _better_fit(small: SmallMaps, items: NDArray[np.int64], index: int) -> tuple[int, float] | None:
    """The item whose prediction a truth fits best, as its index in the data set, and their IoU.

    None if it fits none, or its own.
    """
    truth = small.truths[index].ravel()
    predicted = small.predicted.reshape(len(small.predicted), -1)
    common = predicted[:, truth].sum(1)
    iou = common / np.maximum(1, truth.sum() + predicted.sum(1) - common)
    best = int(iou.argmax())
    return (int(items[best]), float(iou[best])) if best != index and iou[best] >= _FITS else None
