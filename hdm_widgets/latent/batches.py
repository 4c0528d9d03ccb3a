"""Work in batches of a few megabytes, and bars that show how far it is."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

__all__ = ["Progress", "centered_gram", "progress_bar", "row_batches"]

# Whether a bar is shown; or a function (done, total) that is called in its place.
Progress: TypeAlias = bool | Callable[[int, int], None]

# float64 values of one batch take at most this many bytes, if one row does.
BATCH_BYTES = 1 << 26
_PROGRESS_DELAY = 1.0  # seconds before a bar is shown


def row_batches(count: int, width: int, *, most: int = 4096) -> list[slice]:
    """Batches of the rows of an array (count, width).

    Parameters
    ----------
    count, width : int
        Shape of the array.
    most : int
        Rows in a batch at most, for narrow arrays.

    Returns
    -------
    list of slice
        All rows once, in order; the values of a batch take at most 64 MB as float64, if those of one row do.
    """
    rows = max(1, min(most, BATCH_BYTES // (8 * max(width, 1))))
    return [slice(start, end) for start, end in itertools.pairwise([*range(0, count, rows), count])]


def centered_gram(features: NDArray[np.floating], rows: NDArray[np.int64] | slice = slice(None)) -> NDArray[np.float64]:
    """Inner products of rows of features (n, d) after the mean of these rows was subtracted.

    Parameters
    ----------
    features : numpy.ndarray (n, d)
    rows : numpy.ndarray of int or slice
        The rows that count; all by default.

    Returns
    -------
    numpy.ndarray, float64 (m, m) for m rows
        Columns are read batch by batch, each once.
    """
    width = features.shape[1]
    count = len(rows) if isinstance(rows, np.ndarray) else len(features)
    gram = np.zeros((count, count))
    # A batch of columns is a batch of rows of the transpose.
    for part in row_batches(width, count, most=width):
        columns = np.array(features[rows, part], dtype=np.float64)
        columns -= columns.mean(axis=0)
        gram += columns @ columns.T
    return gram


class _Told:
    """In place of a bar: calls a function (done, total)."""

    def __init__(self, tell: Callable[[int, int], None], total: int) -> None:
        self._tell, self._done, self._total = tell, 0, total

    def update(self, count: int = 1) -> None:
        self._done += count
        self._tell(self._done, self._total)


@contextmanager
def progress_bar(total: int, progress: Progress, desc: str, *, unit: str = "item", late: bool = False) -> Iterator[Any]:
    """What has an `update`: a bar of tqdm, `late` only if it lasts longer than a second; or what calls the function."""
    if callable(progress):
        yield _Told(progress, total)
        return
    delay = _PROGRESS_DELAY if late else 0
    with tqdm(total=total, disable=not progress, unit=unit, desc=desc, delay=delay) as bar:
        yield bar
