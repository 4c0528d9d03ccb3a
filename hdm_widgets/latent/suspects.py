"""Which true masks may be wrong: they look more like masks that were made wrong on purpose than like the others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold
from sklearn.preprocessing import QuantileTransformer

from hdm_widgets._bitmasks import PackedMasks
from hdm_widgets._identity import compared_by_identity
from hdm_widgets.latent.collection import BEFORE_CONFIDENCES, Collection
from hdm_widgets.latent.disagreements import FEATURES, NeighborsOnMap, compared_with_neighbors, disagreements
from hdm_widgets.latent.label_quality import block_size, log_odds, pooled_masks
from hdm_widgets.latent.simulated_errors import FEWEST_BLOCKS, KINDS, SimulatedErrors, simulate

__all__ = ["SmallMapReader", "SmallMaps", "SuspectScores", "fraction_of_kind", "suspect_scores"]

_FEWEST = 30  # items
_LARGEST = 2000  # items that are learned from; of more, a random choice
_FOLDS = 4
_REGULARIZATION = 0.02  # C of the logistic regressions
_QUANTILES = 100
_COORDINATES = 6
_BRIGHTEST = 10  # pixels of a map
_BATCH = 256  # items whose maps are read at once
_ROWS = 8192  # items that are judged at once
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
    """Log odds, predictions and truths of some items at the size of the probability maps.

    Attributes
    ----------
    odds : numpy.ndarray, float32 (n, h, w)
    predicted, truths : numpy.ndarray, bool (n, h, w)
    """

    odds: NDArray[np.float32]
    predicted: NDArray[np.bool_]
    truths: NDArray[np.bool_]


class SmallMapReader:
    """Reads the small maps of some items of a collection at a time.

    In blocks of pixels most of which are ignored, truth and model agree on none.

    Raises
    ------
    ValueError
        If the probabilities are not known.
    """

    def __init__(self, collection: Collection) -> None:
        if collection.probability_maps is None:
            raise ValueError(
                f"suspects need the model's probabilities: {collection.no_confidences or BEFORE_CONFIDENCES}"
            )
        self._collection, self._codes = collection, collection.probability_maps
        self._lowest = np.float32(0)
        if collection.ignored is not None:
            lowest = min(int(self._codes[rows].min()) for rows in _parts(len(collection), _BATCH))
            self._lowest = min(self._lowest, log_odds(np.array([lowest], np.uint8))[0])

    def __call__(self, rows: NDArray[np.int64]) -> SmallMaps:
        """The maps of the items at these positions."""
        odds, ignored = self._odds(rows)
        predicted = self._pooled(self._collection.predictions, rows)
        if ignored is not None:
            predicted &= ~ignored
        return SmallMaps(odds, predicted, self._pooled(self._collection.truths, rows))

    def odds(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """The log odds alone (m, h, w)."""
        return self._odds(rows)[0]

    def batches(self) -> Iterator[tuple[NDArray[np.int64], SmallMaps]]:
        """All items, a few at a time: their positions and their maps."""
        for part in _parts(len(self._collection), _BATCH):
            rows = np.arange(part.start, part.stop)
            yield rows, self(rows)

    def _odds(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.bool_] | None]:
        """Log odds, and the blocks that do not count."""
        odds = log_odds(np.asarray(self._codes[rows]))
        if self._collection.ignored is None:
            return odds, None
        ignored = self._pooled(self._collection.ignored, rows)
        odds[ignored] = self._lowest
        return odds, ignored

    def _pooled(self, masks: PackedMasks, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Blocks that are in some masks with half of their pixels or more."""
        block = block_size(self._collection.image_shape[1:])
        parts = [rows[part] for part in _parts(len(rows), _BATCH)]
        return np.concatenate([pooled_masks(np.stack([masks[i] for i in part]), block) >= 0.5 for part in parts])


def _parts(count: int, size: int) -> list[slice]:
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]


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
    read = SmallMapReader(collection)
    if len(collection) < _FEWEST:
        raise ValueError(
            f"suspects compares every truth with those of other items: it takes at least {_FEWEST} items, got "
            f"{len(collection)}"
        )
    rng = np.random.default_rng(random_state)
    count = len(collection)
    learned = np.sort(rng.permutation(count)[:_LARGEST])
    maps = read(learned)
    copies = simulate(maps.truths, random_state)
    if not len(copies.kinds):
        raise ValueError(_nothing_to_compare(collection))

    given = np.empty((count, len(FEATURES)), np.float32)
    context = np.empty((count, 3 + min(_COORDINATES, coordinates.shape[1])), np.float32)
    for rows, small in read.batches():
        given[rows] = disagreements(*small, np.arange(len(rows)))
        context[rows] = _context(small.odds, coordinates[rows])
    search = NeighborsOnMap(coordinates, random_state)

    def compared(rows: NDArray[np.int64], near: NDArray[np.int64]) -> NDArray[np.float32]:
        return np.hstack([compared_with_neighbors(given[rows], given, near), context[rows]])

    near = search(learned)
    of_copies = disagreements(maps.odds, maps.predicted, copies.masks, copies.items)
    of_copies = np.hstack(
        [compared_with_neighbors(of_copies, given, near[copies.items]), context[learned[copies.items]]]
    )
    of_learned = compared(learned, near)
    models = [
        _Fold.fit(fitted, of_learned, of_copies, copies)
        for fitted, _ in KFold(_FOLDS, shuffle=True, random_state=0).split(learned)
    ]
    # Every item is judged by the models that were not learned from it.
    ratios = np.zeros((count, len(KINDS)))
    held_out = np.ones((count, _FOLDS), bool)
    for place, model in enumerate(models):
        held_out[learned[model.fitted], place] = False
    for part in _parts(count, _ROWS):
        rows = np.arange(part.start, part.stop)
        features = compared(rows, search(rows))
        for judge, model in zip(held_out[part].T, models, strict=True):
            ratios[rows[judge]] += model.odds(features[judge])
    ratios /= held_out.sum(1, keepdims=True)
    ratios_of_copies = np.zeros((len(copies.kinds), len(KINDS)))
    for model in models:
        tested = ~np.isin(copies.items, model.fitted)
        ratios_of_copies[tested] = model.odds(of_copies[tested])

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


@dataclass(frozen=True, eq=False)
class _Fold:
    """What tells wrong copies of each kind from truths, learned from some of the items that are learned from.

    Attributes
    ----------
    fitted : numpy.ndarray, int64
        Which of them.
    scale : QuantileTransformer
    models : dict of int to (LogisticRegression, float)
        For each kind, and how many truths there were for a copy.
    """

    fitted: NDArray[np.int64]
    scale: QuantileTransformer
    models: dict[int, tuple[LogisticRegression, float]]

    @classmethod
    def fit(
        cls, fitted: NDArray[np.int64], truths: NDArray[np.float32], wrong: NDArray[np.float32], copies: SimulatedErrors
    ) -> _Fold:
        """Learn from some items, with the features of all truths (n, k) and of all copies (m, k)."""
        used, right = np.isin(copies.items, fitted), truths[fitted]
        quantiles = min(_QUANTILES, len(fitted))
        scale = QuantileTransformer(n_quantiles=quantiles, output_distribution="normal", subsample=None)
        scale.fit(np.vstack([right, wrong[used]]))
        right, wrong = scale.transform(right), scale.transform(wrong)
        models = {}
        for kind in np.unique(copies.kinds[used]).tolist():
            rows = used & (copies.kinds == kind)
            labels = np.repeat([0, 1], [len(right), int(rows.sum())])
            model = LogisticRegression(C=_REGULARIZATION, solver="newton-cholesky")
            model.fit(np.vstack([right, wrong[rows]]), labels)
            models[kind] = model, len(right) / int(rows.sum())
        return cls(fitted, scale, models)

    def odds(self, features: NDArray[np.float32]) -> Floats:
        """Density of wrong copies of each kind over that of truths (n, 4) where features are these (n, k)."""
        found = np.zeros((len(features), len(KINDS)))
        if len(features):
            scaled = self.scale.transform(features)
            for kind, (model, balance) in self.models.items():
                p = model.predict_proba(scaled)[:, 1]
                found[:, kind] = p / np.maximum(1 - p, _TINY) * balance
        return found
