"""Principal components of the activations."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdm_widgets.latent.activations import ROUNDING
from hdm_widgets.latent.batches import progress_bar, row_batches
from hdm_widgets.latent.eigenvectors import leading_eigenvectors, leading_of_matrix

__all__ = ["Projection"]

Floats = NDArray[np.float64]

# Up to so many features their covariance matrix, 128 MB, is cheaper than many passes over the data.
_COVARIANCE_SIDE = 4096
_MOST_PASSES = 60  # over wider features
# So many components are computed in any case: then the first ones do not depend on how many are wanted.
_LEAST = 16
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
        False if the iteration had not converged when it was ended, as for wide features without a structure; also in
        spaces of earlier versions that were fitted by `IncrementalPCA`.
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
        progress: bool = False,
    ) -> Projection:
        """The leading components of features (n, d).

        Parameters
        ----------
        features : numpy.ndarray (n, d)
            Read in batches of rows, which are all that is held of them: they may be on disk, or in a store.
        n_components : int
            At most n and d.
        random_state : int
            Seed of the first vectors of the iteration.
        progress : bool
            Show a tqdm bar if it lasts longer than a second.

        Returns
        -------
        Projection

        Raises
        ------
        ValueError
            If there are fewer items or features than components, or all items have the same features.

        Notes
        -----
        Of at most 4096 features that do not outnumber the items, the covariance matrix is summed in one pass. For all
        others, block Lanczos iteration multiplies it with some vectors at a time, one pass each. Squares lose half of
        the digits; one step of subspace iteration, two passes more, restores them.
        """
        count, width = features.shape
        if n_components > min(count, width):
            raise ValueError(
                f"{n_components} component(s) need as many items and features at least, got {count} item(s) "
                f"with {width} feature(s)"
            )
        computed = min(max(n_components, _LEAST), count, width)
        with progress_bar(0, progress, _DESC, unit="batch", late=True) as bar:
            rows = _Rows(features, bar)
            narrow = width <= min(count, _COVARIANCE_SIDE)
            mean, squares, covariance = _moments(rows, with_covariance=narrow)
            if covariance is not None:
                leading = leading_of_matrix(covariance, computed, random_state)
            else:
                leading = leading_eigenvectors(
                    lambda block: _multiplied(rows, mean, block), width, computed, random_state, _MOST_PASSES
                )
            basis = np.linalg.qr(_multiplied(rows, mean, leading.vectors))[0]
            triangle = np.zeros((0, computed))
            for part in rows:
                triangle = np.asarray(np.linalg.qr(np.vstack([triangle, (part - mean) @ basis]), mode="r"))
        _, singular, rotation = np.linalg.svd(triangle)
        variance = singular[:n_components] ** 2
        return cls(
            mean=mean,
            components=_signed(rotation[:n_components] @ basis.T),
            explained_variance=variance / max(count - 1, 1),
            explained_variance_ratio=variance / squares,
            exact=leading.converged,
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
        coordinates = np.empty((len(features), len(self.components)))
        for rows in row_batches(*features.shape):
            coordinates[rows] = (features[rows] - self.mean) @ self.components.T
        return coordinates


class _Rows:
    """All rows of features (n, d) in float64, batch by batch: each iteration is one pass over them.

    Parameters
    ----------
    features : numpy.ndarray (n, d)
    bar : object
        Told of every batch.
    """

    def __init__(self, features: NDArray[np.floating], bar: Any) -> None:
        self._features, self._bar = features, bar
        self._batches = row_batches(*features.shape)
        self.shape = features.shape

    def __iter__(self) -> Iterator[Floats]:
        self._bar.total = (self._bar.total or 0) + len(self._batches)
        for batch in self._batches:
            yield np.array(self._features[batch], dtype=np.float64)
            self._bar.update()


def _moments(rows: _Rows, *, with_covariance: bool) -> tuple[Floats, float, Floats | None]:
    """Mean (d,) of all rows, sum of the squared deviations from it, and the same as a matrix (d, d).

    Raises
    ------
    ValueError
        If all rows are the same but for rounding, which depends on the size of the batch that they were in.
    """
    count, width = rows.shape
    first, near = np.empty(width), np.empty(width)
    sums, squares, constant = np.zeros(width), 0.0, True
    products = np.zeros((width, width)) if with_covariance else None
    for number, part in enumerate(rows):
        if number == 0:
            # Deviations from a vector near the mean keep more digits than the values themselves.
            first, near = part[0].copy(), part.mean(axis=0)
        constant = constant and bool((np.abs(part - first) <= ROUNDING * np.abs(first).max()).all())
        part -= near
        sums += part.sum(axis=0)
        squares += float(np.vdot(part, part))
        if products is not None:
            products += part.T @ part
    if constant:
        raise ValueError(f"the activations are the same for all {count} items: the layer does not look at the image")
    if products is not None:
        products -= np.outer(sums, sums / count)
    return near + sums / count, squares - float(sums @ sums) / count, products


def _multiplied(rows: _Rows, mean: Floats, vectors: Floats) -> Floats:
    """The matrix of squared deviations (d, d) times vectors (d, b)."""
    found = np.zeros_like(vectors)
    for part in rows:
        part -= mean
        found += part.T @ (part @ vectors)
    return found


def _signed(components: Floats) -> Floats:
    """The components with the entry of largest size positive in each, of several almost as large the first."""
    sizes = np.abs(components)
    largest = (sizes >= (1 - _TIE) * sizes.max(axis=1, keepdims=True)).argmax(axis=1)
    return components * np.where(components[np.arange(len(components)), largest] < 0, -1.0, 1.0)[:, None]
