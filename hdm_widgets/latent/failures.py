"""Groups of items whose IoU is far below that of all others, as values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, overload

import numpy as np
from numpy.typing import NDArray

from hdm_widgets._wording import quantity
from hdm_widgets.latent.conditions import Rule

if TYPE_CHECKING:
    import pandas

__all__ = ["SEARCHED_FROM", "Failure", "Failures"]

# Items are searched if they are at least this many times as many as the smallest group that is listed.
SEARCHED_FROM = 4


@dataclass(frozen=True, eq=False)
class Failure:
    """A group of items whose IoU is below that of all others.

    Attributes
    ----------
    text : str
        What its items have in common, such as "land use = car park; sun 3 to 12".
    indices : numpy.ndarray, int64
        Positions of its items in the space, ascending, read-only: `space.select` takes them.
    conditions : tuple of Condition
        What its items have in common, as columns with a value or a range.
    mostly : str
        What most of its items have and few others do, such as "land use = dense blocks, 83%", or up to three values,
        "land use = car park or cemetery, 97%"; empty if there is nothing.
    mean_iou, low, high : float
        Mean IoU of its items, with the interval.
    rest_iou : float
        Mean IoU of all others.
    harm, harm_low, harm_high : float
        Size times (`rest_iou` - `mean_iou`), with the interval: the IoU that the data set loses there.
    p_value : float
        Of the test on held-out items, adjusted for the number of groups that were tested.
    """

    text: str
    indices: NDArray[np.int64]
    conditions: Rule
    mostly: str
    mean_iou: float
    low: float
    high: float
    rest_iou: float
    harm: float
    harm_low: float
    harm_high: float
    p_value: float

    @property
    def size(self) -> int:
        """Number of items."""
        return len(self.indices)

    def __len__(self) -> int:
        return len(self.indices)

    def __str__(self) -> str:
        mostly = f" (mostly {self.mostly})" if self.mostly else ""
        return (
            f"{self.text}{mostly}: {quantity(self.size, 'item')}, mean IoU {self.mean_iou:.2f} ({self.low:.2f} to "
            f"{self.high:.2f}), others {self.rest_iou:.2f}"
        )

    def __repr__(self) -> str:
        return f"Failure({self})"


class Failures(Sequence[Failure]):
    """Groups of items whose IoU is far below that of all others, made by `LatentSpace.failures`.

    A sequence of Failure, the largest harm first.

    Attributes
    ----------
    n_items : int
        Items among which groups were sought.
    left_out : int
        Items without an IoU, or with nothing to find where nothing was drawn.
    mean_iou : float
        Of the items that counted; NaN of none.
    tested : int
        Groups that were tested.
    least : int
        Items in a group at least.
    coverage : float
        Of the intervals.
    """

    def __init__(
        self,
        groups: Sequence[Failure],
        *,
        n_items: int,
        left_out: int,
        mean_iou: float,
        tested: int,
        least: int,
        coverage: float,
    ) -> None:
        self._groups = tuple(groups)
        self.n_items = n_items
        self.left_out = left_out
        self.mean_iou = mean_iou
        self.tested = tested
        self.least = least
        self.coverage = coverage

    def __len__(self) -> int:
        return len(self._groups)

    @overload
    def __getitem__(self, index: int) -> Failure: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Failure, ...]: ...
    def __getitem__(self, index: int | slice) -> Failure | tuple[Failure, ...]:
        return self._groups[index]

    def __iter__(self) -> Iterator[Failure]:
        return iter(self._groups)

    @property
    def text(self) -> str:
        """What was found, in words."""
        if not self.n_items:
            return "No item has an IoU and a true or predicted mask that is not empty: there are no failures to seek."
        left_out = (
            f" {self.left_out:,} more have no IoU, or nothing to find and nothing drawn." if self.left_out else ""
        )
        if self.n_items < SEARCHED_FROM * self.least:
            return (
                f"{self.n_items:,} items are too few to search for groups of {self.least:,} or more: it takes at least "
                f"{SEARCHED_FROM * self.least:,}. Their mean IoU is {self.mean_iou:.2f}.{left_out}"
            )
        sought = f"{self.n_items:,} items with a mean IoU of {self.mean_iou:.2f} were searched.{left_out}"
        if not self:
            return f"No group of items is distinguishable from the others ({self.tested} tested). {sought}"
        lines = [f"{place}. {one}" for place, one in enumerate(self, 1)]
        return "\n".join([f"{sought} Intervals at {100 * self.coverage:g}%; {self.tested} groups tested:", *lines])

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"Failures({len(self)} groups)\n{self.text}"

    def frame(self) -> pandas.DataFrame:
        """One row per group.

        Returns
        -------
        pandas.DataFrame
            The columns are those of `Failure`, with `size` in place of the indices and without the conditions.
        """
        import pandas

        names = ("text", "mostly", "size", *_NUMBERS)
        return pandas.DataFrame([{name: getattr(one, name) for name in names} for one in self], columns=list(names))


_NUMBERS = ("mean_iou", "low", "high", "rest_iou", "harm", "harm_low", "harm_high", "p_value")
