"""Principal components of the activations."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh
from scipy.sparse.linalg import eigsh
from sklearn.decomposition import PCA, IncrementalPCA

from hdm_widgets.latent.activations import ROUNDING
from hdm_widgets.latent.batches import centered_gram, row_batches, steps

__all__ = ["Projection"]

Floats = NDArray[np.float64]

# Bytes of float64 that the exact decomposition may hold: all features, or where they outnumber items the Gram matrix.
_EXACT_LIMIT = 1 << 29
# Above this side ARPACK finds the few leading components faster than LAPACK does, to the same precision.
_FULL_SIDE = 1000
_DESC = "principal components"
# Entries of a component that differ by at most this fraction may change their order by rounding.
_TIE = 1e-4


@dataclass(frozen=True, eq=False)
class Projection:
    """A linear map from activations to principal components.

    Attributes
    ----------
    mean : numpy.ndarray, float64 (d,)
    components : numpy.ndarray, float64 (k, d)
        Orthonormal rows, by falling variance; zeros after `without_rounding`. The entry of largest size is positive in
        each (of several within 0.01 % of it, the first), so that two fits of the same data agree.
    explained_variance : numpy.ndarray, float64 (k,)
        Variance of the data along each component (n - 1 in the denominator).
    explained_variance_ratio : numpy.ndarray, float64 (k,)
        Fraction of the total variance.
    exact : bool
        False if the components were fitted batch by batch (`IncrementalPCA`), which is an approximation.
    """

    mean: Floats
    components: Floats
    explained_variance: Floats
    explained_variance_ratio: Floats
    exact: bool = True

    @property
    def rounding(self) -> float:
        """Distance between two items of the same features that float32 arithmetic may put between them."""
        total = self.explained_variance[0] / self.explained_variance_ratio[0] if self.explained_variance[0] else 0.0
        return ROUNDING * math.sqrt(float(self.mean @ self.mean) + float(total))

    @classmethod
    def fit(
        cls,
        features: NDArray[np.floating],
        n_components: int,
        *,
        random_state: int = 0,
        exact_limit: int = _EXACT_LIMIT,
        progress: bool = False,
    ) -> Projection:
        """The leading components of features (n, d).

        Parameters
        ----------
        features : numpy.ndarray (n, d)
            May be on disk.
        n_components : int
            At most n and d.
        random_state : int
            Seed of ARPACK's first vector.
        exact_limit : int
            Bytes of float64 that an exact decomposition may hold. Where it would need more, the components are fitted
            batch by batch.
        progress : bool
            Show a tqdm bar if it lasts longer than a second.

        Returns
        -------
        Projection

        Raises
        ------
        ValueError
            If there are fewer items or features than components, or all items have the same features.
        """
        count, width = features.shape
        if n_components > min(count, width):
            raise ValueError(
                f"{n_components} component(s) need as many items and features at least, got {count} item(s) "
                f"with {width} feature(s)"
            )
        if _constant(features):
            raise ValueError(
                f"the activations are the same for all {count} items: the layer does not look at the image"
            )
        if width > count and len(row_batches(count, width)) > 1 and 8 * count**2 <= exact_limit:
            return cls._from_gram(features, n_components, random_state, progress)
        exact = 8 * count * width <= exact_limit
        model: PCA | IncrementalPCA
        if exact:
            side = min(count, width)
            solver = "arpack" if side > _FULL_SIDE and n_components < side else "full"
            model = PCA(n_components, svd_solver=solver, random_state=random_state)
            model.fit(np.asarray(features, dtype=np.float64))
        else:
            model = IncrementalPCA(n_components)
            # It asks for as many rows in a batch as components.
            for rows in steps(row_batches(count, width, least=n_components), progress=progress, desc=_DESC):
                model.partial_fit(np.asarray(features[rows], dtype=np.float64))
        return cls(
            mean=np.asarray(model.mean_, dtype=np.float64),
            components=_signed(np.asarray(model.components_, dtype=np.float64)),
            explained_variance=np.asarray(model.explained_variance_, dtype=np.float64),
            explained_variance_ratio=np.asarray(model.explained_variance_ratio_, dtype=np.float64),
            exact=exact,
        )

    @classmethod
    def _from_gram(
        cls, features: NDArray[np.floating], n_components: int, random_state: int, progress: bool
    ) -> Projection:
        """Components from the n x n matrix of inner products, where features outnumber items (Turk and Pentland 1991).

        Squares lose half of the digits. One step of subspace iteration restores them.
        """
        gram, mean = centered_gram(features, progress=progress, desc=_DESC)
        weights = _leading(gram, n_components, random_state)
        sums = np.zeros((features.shape[1], n_components))
        for rows in row_batches(*features.shape):
            sums += (features[rows] - mean).T @ weights[rows]
        basis = np.linalg.qr(sums)[0]
        _, singular, rotation = np.linalg.svd(_projected(features, mean, basis), full_matrices=False)
        variance = singular**2
        return cls(
            mean=mean,
            components=_signed(rotation @ basis.T),
            explained_variance=variance / (len(features) - 1),
            explained_variance_ratio=variance / np.trace(gram),
        )

    def without_rounding(self) -> Projection:
        """The same with zeros for the components along which the data differ by float32 rounding alone.

        Where they point is chance: it depends on the size of the batches that the features were computed in.
        """
        data = np.sqrt(self.explained_variance) > self.rounding
        return replace(
            self,
            components=self.components * data[:, None],
            explained_variance=self.explained_variance * data,
            explained_variance_ratio=self.explained_variance_ratio * data,
        )

    def transform(self, features: NDArray[np.floating]) -> Floats:
        """Coordinates (n, k) of features (n, d)."""
        return _projected(features, self.mean, self.components.T)


def _leading(symmetric: Floats, count: int, random_state: int) -> Floats:
    """The eigenvectors (m, count) of the largest eigenvalues of a matrix (m, m), the largest first."""
    side = len(symmetric)
    if side > _FULL_SIDE and count < side:
        start = np.random.default_rng(random_state).uniform(-1, 1, side)
        values, vectors = eigsh(symmetric, count, v0=start)
    else:
        values, vectors = eigh(symmetric, subset_by_index=(side - count, side - 1))
    return np.asarray(vectors[:, np.argsort(-values)], dtype=np.float64)


def _projected(features: NDArray[np.floating], mean: Floats, basis: Floats) -> Floats:
    """Centered features times a basis (d, k), batch by batch: (n, k)."""
    coordinates = np.empty((len(features), basis.shape[1]))
    for rows in row_batches(*features.shape):
        coordinates[rows] = (features[rows] - mean) @ basis
    return coordinates


def _signed(components: Floats) -> Floats:
    """The components with the entry of largest size positive in each, of several almost as large the first."""
    sizes = np.abs(components)
    largest = (sizes >= (1 - _TIE) * sizes.max(axis=1, keepdims=True)).argmax(axis=1)
    return components * np.where(components[np.arange(len(components)), largest] < 0, -1.0, 1.0)[:, None]


def _constant(features: NDArray[np.floating]) -> bool:
    """Whether all items are the same but for rounding, which depends on the size of the batch that they were in."""
    first = np.asarray(features[0], dtype=np.float64)
    tolerance = ROUNDING * float(np.abs(first).max())
    return all(bool((np.abs(features[rows] - first) <= tolerance).all()) for rows in row_batches(*features.shape))
