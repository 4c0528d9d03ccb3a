"""What estimates are compared with: single scores of an item, and label-free estimates of a set's mean IoU."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.covariance import LedoitWolf
from sklearn.isotonic import IsotonicRegression

Array = NDArray[Any]
Data = dict[str, Array]

# Higher is better; the sign of each single score.
_SIGNS = {
    "mean_entropy": -1,
    "foreground_entropy": -1,
    "boundary_entropy": -1,
    "soft_iou": 1,
    "largest_probability": 1,
    "area_at_50": 1,
    "area_at_90": 1,
}


def subset(data: Data, rows: Array) -> Data:
    return {name: values[rows] for name, values in data.items()}


def true_iou(data: Data) -> Array:
    union = data["tp"] + data["fn"] + data["fp"]
    return np.where(union > 0, data["tp"] / np.maximum(union, 1), 0.0)


def confidences(data: Data) -> Data:
    mark = "confidence_"
    return {name.removeprefix(mark): values for name, values in data.items() if name.startswith(mark)}


def drawn(data: Data) -> Array:
    """Items where something is predicted; the IoU of the others is 0 for certain."""
    return data["tp"] + data["fp"] > 0


def single_scores(new: Data) -> Data:
    """Scores of every item that one run of the model gives, by name; where nothing is predicted, the lowest."""
    scores = {name: sign * new[f"confidence_{name}"] for name, sign in _SIGNS.items()}
    return {name: np.where(drawn(new), values, np.nanmin(values, initial=0.0) - 1) for name, values in scores.items()}


def flips(new: Data) -> Array:
    """Agreement with the predictions for flipped images, which takes three runs; -1 where nothing is predicted."""
    return np.where(drawn(new), new["flips"], -1.0)


def mahalanobis(known: Data, new: Data) -> Array:
    """Minus the distance of activations to the mean of the known ones."""
    model = LedoitWolf().fit(known["features"].astype(np.float64))
    distance: Array = -np.sqrt(model.mahalanobis(new["features"].astype(np.float64)))
    return distance


def spearman(one: Array, other: Array) -> float:
    with np.errstate(invalid="ignore", divide="ignore"):
        return float(np.corrcoef(rankdata(one), rankdata(other))[0, 1])


def aurc(score: Array, iou: Array) -> float:
    """Area under the risk-coverage curve: the mean of 1 - IoU of the best n items, over all n."""
    risk = 1 - iou[np.argsort(-score, kind="stable")]
    return float(np.mean(np.cumsum(risk) / np.arange(1, len(risk) + 1)))


def mean_estimates(known: Data, new: Data) -> dict[str, float]:
    """A set's mean IoU by methods of the literature that need no labels of the new data."""
    found = {
        "soft IoU": float(np.where(drawn(new), new["confidence_soft_iou"], 0.0).mean()),
        "ATC": _expected(new, *_below(new, _threshold(known))),
        "ATC by class": _expected(new, *_below(new, _threshold(known, "foreground"), _threshold(known, "background"))),
        "DoC": _expected(new, *_less(new, _excess(known))),
        "DoC by class": _expected(new, *_less(new, _excess(known, "foreground"), _excess(known, "background"))),
    }
    for name, column in (("mean entropy", "confidence_mean_entropy"), ("flips", "flips")):
        found[name] = _calibrated(known, new, known[column], new[column])
    found["Mahalanobis"] = _calibrated(known, new, mahalanobis(known, known), mahalanobis(known, new))
    return found


def _calibrated(known: Data, new: Data, old_score: Array, new_score: Array) -> float:
    """The mean of an isotonic fit of the known IoU, 0 where nothing is predicted."""
    rows = drawn(known)
    score, iou = old_score[rows], true_iou(known)[rows]
    curve = IsotonicRegression(increasing=spearman(score, iou) >= 0, out_of_bounds="clip").fit(score, iou)
    return float(np.where(drawn(new), curve.predict(new_score), 0.0).mean())


def _wrong(data: Data, side: str | None) -> tuple[Array, float]:
    """Histogram of pixels' confidences on a side of the masks, or both, and how many of them are wrong."""
    histograms = {name: data[f"{name}_histogram"].sum(0) for name in ("foreground", "background")}
    wrong = {"foreground": float(data["fp"].sum()), "background": float(data["fn"].sum())}
    if side is None:
        return histograms["foreground"] + histograms["background"], sum(wrong.values())
    return histograms[side], wrong[side]


def _threshold(data: Data, side: str | None = None) -> int:
    """Average thresholded confidence (Garg et al. 2022): as many pixels are below this bin as are wrong."""
    histogram, wrong = _wrong(data, side)
    return int(np.searchsorted(np.cumsum(histogram), wrong))


def _below(data: Data, threshold: int, background: int | None = None) -> tuple[Array, Array]:
    """Wrong pixels of every item on both sides, as those below the threshold."""
    background = threshold if background is None else background
    return (
        data["foreground_histogram"][:, :threshold].sum(1).astype(float),
        data["background_histogram"][:, :background].sum(1).astype(float),
    )


def _excess(data: Data, side: str | None = None) -> float:
    """Difference of confidences (Guillory et al. 2021): how far the mean confidence is above the accuracy."""
    histogram, wrong = _wrong(data, side)
    names = ("foreground", "background") if side is None else (side,)
    confidence = sum(float(data[f"{name}_confidence"].sum()) for name in names)
    return (confidence + wrong) / max(float(histogram.sum()), 1.0) - 1


def _less(data: Data, excess: float, background: float | None = None) -> tuple[Array, Array]:
    """Wrong pixels of every item on both sides, by confidences that are lowered by the excess."""
    background = excess if background is None else background
    sides = []
    for name, part in (("foreground", excess), ("background", background)):
        count = data[f"{name}_histogram"].sum(1)
        sides.append(np.clip(count * (1 + part) - data[f"{name}_confidence"], 0, count))
    return sides[0], sides[1]


def _expected(data: Data, wrong_foreground: Array, wrong_background: Array) -> float:
    """Mean IoU with these numbers of wrong pixels."""
    area = (data["tp"] + data["fp"]).astype(float)
    union = area + wrong_background
    iou = np.where(union > 0, (area - wrong_foreground) / np.maximum(union, 1e-9), 0.0)
    return float(np.clip(iou, 0, 1).mean())
