"""Which true masks may be wrong: they look more like masks that were made wrong on purpose than like the others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold
from sklearn.preprocessing import QuantileTransformer

from hdm_widgets._bitmasks import PackedMasks
from hdm_widgets._identity import compared_by_identity
from hdm_widgets.latent.collection import Collection
from hdm_widgets.latent.disagreements import compared_with_neighbors, disagreements, neighbors_on_map
from hdm_widgets.latent.label_quality import block_size, log_odds, pooled_masks
from hdm_widgets.latent.simulated_errors import FEWEST_BLOCKS, KINDS, simulate

__all__ = ["SmallMaps", "SuspectScores", "fraction_of_kind", "suspect_scores"]

_FEWEST = 30  # items
_LARGEST = 2000  # items that are learned from; of more, a random choice
_FOLDS = 4
_REGULARIZATION = 0.02  # C of the logistic regressions
_QUANTILES = 100
_COORDINATES = 6
_BRIGHTEST = 10  # pixels of a map
_BATCH = 256
# Thresholds for the fraction of each kind: below the highest 30 % of the simulated copies, of which few are real.
_THRESHOLDS = np.linspace(0, 0.7, 36)
# Fraction of each kind that is always taken to be possible, so that items stay in order where no kind is found.
_LEAST_FRACTION = 1e-4
_TINY = 1e-9

Floats = NDArray[np.float64]


@compared_by_identity
class SuspectScores(NamedTuple):
    """How likely the truth of every item is wrong.

    Attributes
    ----------
    scores : numpy.ndarray, float64 (n,)
        In [0, 1].
    kinds : numpy.ndarray, int64 (n,)
        What is most likely wrong, as a position in `KINDS`.
    fractions : dict of str to float
        Estimated fraction of the items with each kind of error.
    """

    scores: Floats
    kinds: NDArray[np.int64]
    fractions: dict[str, float]


@compared_by_identity
class SmallMaps(NamedTuple):
    """Log odds, predictions and truths of all items at the size of the probability maps.

    Attributes
    ----------
    odds : numpy.ndarray, float32 (n, h, w)
    predicted, truths : numpy.ndarray, bool (n, h, w)
    """

    odds: NDArray[np.float32]
    predicted: NDArray[np.bool_]
    truths: NDArray[np.bool_]

    @classmethod
    def from_collection(cls, collection: Collection) -> SmallMaps:
        """Of all items; in blocks of pixels most of which are ignored, truth and model agree on none."""
        if collection.probability_maps is None:
            raise ValueError(f"suspects need the model's probabilities: {collection.no_confidences}")
        odds = log_odds(collection.probability_maps)
        predicted = _pooled(collection.predictions, collection.image_shape)
        truths = _pooled(collection.truths, collection.image_shape)
        if collection.ignored is not None:
            ignored = _pooled(collection.ignored, collection.image_shape)
            odds[ignored] = odds.min(initial=0)
            predicted &= ~ignored
        return cls(odds, predicted, truths)


def _pooled(masks: PackedMasks, shape: tuple[int, int, int]) -> NDArray[np.bool_]:
    """Blocks that are in the masks with half of their pixels or more."""
    block = block_size(shape[1:])
    batches = (range(start, min(start + _BATCH, len(masks))) for start in range(0, len(masks), _BATCH))
    return np.concatenate([pooled_masks(np.stack([masks[i] for i in rows]), block) >= 0.5 for rows in batches])


def suspect_scores(collection: Collection, coordinates: Floats, random_state: int) -> SuspectScores:
    """How likely the truth of every item is wrong, and in what respect.

    Parameters
    ----------
    collection : Collection
    coordinates : numpy.ndarray, float64 (n, k)
        Principal components of the activations.
    random_state : int

    Raises
    ------
    ValueError
        If the probabilities are not known, there are too few items, or no truth has an object that is large enough.

    Notes
    -----
    Copies of the truths are made wrong: an object is left out or added, the mask is moved, or it is another item's. A
    logistic regression for each kind tells the copies from the truths as they are given, by how they differ from the
    model's probabilities and how that compares with the neighbors on the map; every item is judged by regressions
    that were fitted to others. Their odds are ratios of densities, so that the probability of an error follows from
    the fraction of items that have it. That is estimated too: a kind is at most as frequent among the truths as
    the ratio of truths to copies beyond any threshold of its odds says (Blanchard, Lee and Scott, "Semi-supervised
    novelty detection", 2010, JMLR 11).
    """
    small = SmallMaps.from_collection(collection)
    if len(collection) < _FEWEST:
        raise ValueError(
            f"suspects compares every truth with those of other items: it takes at least {_FEWEST} items, got "
            f"{len(collection)}"
        )
    rng = np.random.default_rng(random_state)
    count = len(collection)
    learned = np.sort(rng.permutation(count)[:_LARGEST])
    copies = simulate(small.truths[learned], random_state)
    if not len(copies.kinds):
        raise ValueError(_nothing_to_compare(collection))
    origin = learned[copies.items]

    everything = np.arange(count)
    neighbors = neighbors_on_map(coordinates)
    given = disagreements(small.odds, small.predicted, small.truths, everything)
    context = _context(small.odds, coordinates)
    of_given = np.hstack([compared_with_neighbors(given, given, neighbors), context])
    of_copies = disagreements(small.odds, small.predicted, copies.masks, origin)
    of_copies = np.hstack([compared_with_neighbors(of_copies, given, neighbors[origin]), context[origin]])

    ratios, ratios_of_copies = _density_ratios(of_given, of_copies, learned, origin, copies.kinds)
    weighted = np.zeros_like(ratios)
    fractions = dict.fromkeys(KINDS, 0.0)
    for kind in np.unique(copies.kinds).tolist():
        fraction = fraction_of_kind(ratios[:, kind], ratios_of_copies[copies.kinds == kind, kind])
        fractions[KINDS[kind]] = fraction
        weighted[:, kind] = max(fraction, _LEAST_FRACTION) * ratios[:, kind]
    total = weighted.sum(1)
    return SuspectScores(total / (1 + total), weighted.argmax(1), fractions)


def _nothing_to_compare(collection: Collection) -> str:
    """Why no wrong copies of the truths could be made."""
    block = block_size(collection.image_shape[1:])
    if block > 1 and any(collection.truths[index].any() for index in range(len(collection))):
        return (
            f"suspects compares masks in blocks of {block} x {block} px, and no true object fills {FEWEST_BLOCKS} of "
            "them by half: cut the images into smaller tiles"
        )
    return "no truth has an object that could be compared with the predictions: are these the masks?"


def fraction_of_kind(given: Floats, copies: Floats) -> float:
    """Upper bound for the fraction of items with an error, from the density ratios of items and of wrong copies."""
    thresholds = np.quantile(copies, _THRESHOLDS)
    beyond = [float((given >= threshold).mean() / (copies >= threshold).mean()) for threshold in thresholds]
    return min(1.0, *beyond)


def _context(odds: NDArray[np.float32], coordinates: Floats) -> NDArray[np.float32]:
    """What does not depend on the truth: the model's confidence, and the place on the map."""
    pixels = odds.reshape(len(odds), -1)
    p = 1 / (1 + np.exp(-pixels))
    brightest = np.sort(pixels, axis=1)[:, -_BRIGHTEST:].mean(1)
    confidence = np.stack([(p * (1 - p)).mean(1), p.mean(1), brightest], axis=1)
    return np.hstack([confidence, coordinates[:, :_COORDINATES]]).astype(np.float32)


def _density_ratios(
    given: NDArray[np.float32],
    copies: NDArray[np.float32],
    learned: NDArray[np.int64],
    origin: NDArray[np.int64],
    kinds: NDArray[np.int64],
) -> tuple[Floats, Floats]:
    """Density of wrong copies of each kind over that of truths, at every truth (n, 4) and every copy (m, 4).

    Parameters
    ----------
    given : numpy.ndarray (n, k)
        Features of all truths.
    copies : numpy.ndarray (m, k)
        Features of the copies.
    learned : numpy.ndarray, int64
        Items that are learned from.
    origin, kinds : numpy.ndarray, int64 (m,)
        The item that each copy was made of, and what is wrong with it.
    """
    ratios, ratios_of_copies = np.zeros((len(given), len(KINDS))), np.zeros((len(copies), len(KINDS)))
    others = np.setdiff1d(np.arange(len(given)), learned)
    for fitted, held_out in _folds(learned):
        used = np.isin(origin, fitted)
        quantiles = min(_QUANTILES, len(fitted))
        scale = QuantileTransformer(n_quantiles=quantiles, output_distribution="normal", subsample=None)
        scale.fit(np.vstack([given[fitted], copies[used]]))
        truths, wrong = scale.transform(given), scale.transform(copies)
        for kind in np.unique(kinds[used]).tolist():
            rows = used & (kinds == kind)
            labels = np.repeat([0, 1], [len(fitted), int(rows.sum())])
            model = LogisticRegression(C=_REGULARIZATION, solver="newton-cholesky")
            model.fit(np.vstack([truths[fitted], wrong[rows]]), labels)
            balance = len(fitted) / int(rows.sum())
            ratios[held_out, kind] = _odds(model, truths[held_out]) * balance
            tested = ~used & (kinds == kind)
            if tested.any():
                ratios_of_copies[tested, kind] = _odds(model, wrong[tested]) * balance
            if len(others):
                ratios[others, kind] += _odds(model, truths[others]) * balance / _FOLDS
    return ratios, ratios_of_copies


def _folds(items: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    for fitted, held_out in KFold(_FOLDS, shuffle=True, random_state=0).split(items):
        yield items[fitted], items[held_out]


def _odds(model: LogisticRegression, features: Floats) -> Floats:
    p: Floats = model.predict_proba(features)[:, 1]
    return p / np.maximum(1 - p, _TINY)
