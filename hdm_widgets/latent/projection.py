"""Principal components of the activations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA, IncrementalPCA

from hdm_widgets.latent.activations import ROUNDING

__all__ = ["Projection"]

# Up to this many bytes of float64 the decomposition is exact; above, components are fitted batch by batch.
_EXACT_LIMIT = 1 << 29
_BATCH_ROWS = 4096
# The full decomposition takes seconds beyond this side; ARPACK finds the few leading components to the same precision.
_FULL_SIDE = 1000


@dataclass(frozen=True)
class Projection:
    """A linear map from activations to principal components.

    Attributes
    ----------
    mean : numpy.ndarray, float64 (d,)
    components : numpy.ndarray, float64 (k, d)
        Orthonormal rows, by falling variance. The entry of largest size is positive in each, so that two fits of the
        same data agree.
    explained_variance : numpy.ndarray, float64 (k,)
        Variance of the data along each component (n - 1 in the denominator).
    explained_variance_ratio : numpy.ndarray, float64 (k,)
        Share of the whole variance.
    exact : bool
        False if the components were fitted batch by batch (`IncrementalPCA`), which is an approximation.
    """

    mean: NDArray[np.float64]
    components: NDArray[np.float64]
    explained_variance: NDArray[np.float64]
    explained_variance_ratio: NDArray[np.float64]
    exact: bool = True

    @classmethod
    def fit(
        cls,
        features: NDArray[np.floating],
        n_components: int,
        *,
        random_state: int = 0,
        exact_limit: int = _EXACT_LIMIT,
    ) -> Projection:
        """The leading components of features (n, d).

        Parameters
        ----------
        features : numpy.ndarray (n, d)
        n_components : int
            At most n and d.
        random_state : int
            Where ARPACK starts.
        exact_limit : int
            Bytes of float64 features up to which the decomposition is exact.

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
                f"the activations are the same for all {count} items: the layer does not look at the picture"
            )
        exact = 8 * count * width <= exact_limit
        model: PCA | IncrementalPCA
        if exact:
            side = min(count, width)
            solver = "arpack" if side > _FULL_SIDE and n_components < side else "full"
            model = PCA(n_components, svd_solver=solver, random_state=random_state)
            model.fit(np.asarray(features, dtype=np.float64))
        else:
            model = IncrementalPCA(n_components)
            for rows in _batches(count, n_components):
                model.partial_fit(np.asarray(features[rows], dtype=np.float64))
        components = np.asarray(model.components_, dtype=np.float64)
        largest = np.abs(components).argmax(axis=1)
        signs = np.where(components[np.arange(len(components)), largest] < 0, -1.0, 1.0)
        return cls(
            mean=np.asarray(model.mean_, dtype=np.float64),
            components=components * signs[:, None],
            explained_variance=np.asarray(model.explained_variance_, dtype=np.float64),
            explained_variance_ratio=np.asarray(model.explained_variance_ratio_, dtype=np.float64),
            exact=exact,
        )

    def transform(self, features: NDArray[np.floating]) -> NDArray[np.float64]:
        """Coordinates (n, k) of features (n, d)."""
        coordinates = np.empty((len(features), len(self.components)))
        for start in range(0, len(features), _BATCH_ROWS):
            rows = slice(start, start + _BATCH_ROWS)
            coordinates[rows] = (features[rows] - self.mean) @ self.components.T
        return coordinates


def _batches(count: int, n_components: int) -> list[slice]:
    """Rows of each batch; none is smaller than the number of components, as `IncrementalPCA` asks."""
    starts = list(range(0, count, _BATCH_ROWS))
    if len(starts) > 1 and count - starts[-1] < n_components:
        starts.pop()
    return [slice(start, end) for start, end in zip(starts, [*starts[1:], count], strict=True)]


def _constant(features: NDArray[np.floating]) -> bool:
    """Whether all items are the same but for rounding, which depends on the size of the batch that they were in."""
    first = np.asarray(features[0], dtype=np.float64)
    tolerance = ROUNDING * float(np.abs(first).max())
    starts = range(0, len(features), _BATCH_ROWS)
    return all(bool((np.abs(features[start : start + _BATCH_ROWS] - first) <= tolerance).all()) for start in starts)
