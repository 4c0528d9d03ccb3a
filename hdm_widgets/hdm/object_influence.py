"""Objects on objects: how much of the mask on one object changes when another one is covered."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import Colormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from hdm_widgets._picture import Display
from hdm_widgets.hdm.objects import label_objects

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["MOST_OBJECTS", "ObjectInfluence", "Objects"]

# A matrix of more of them is not readable.
MOST_OBJECTS = 24
# Numbers in the squares, where there are no more than these.
_MOST_NUMBERS = 12

_BY_COLOR, _ON_COLOR = "#b8860b", "#7048c6"
_LETTERS: dict[str, Any] = {"fontsize": 8, "fontweight": "bold", "ha": "center", "va": "center"}


@dataclass(frozen=True, eq=False)
class Objects:
    """The objects of a mask, or those of a label map.

    Attributes
    ----------
    labels : numpy.ndarray, int (H, W)
        Objects numbered from 1; 0 elsewhere.
    name : str
        What they are objects of: "truth", "prediction", or another name.
    found : int
        How many there are; only the largest ones have a number.
    """

    labels: NDArray[np.intp]
    name: str
    found: int = 0

    def __post_init__(self) -> None:
        if not self.found:
            object.__setattr__(self, "found", self.count)

    @classmethod
    def of_mask(cls, mask: NDArray[np.bool_], name: str, most: int = MOST_OBJECTS) -> Objects:
        """The connected components of a mask (H, W), over sides and corners; the largest of them.

        Raises
        ------
        ValueError
            If the mask is empty.
        """
        labels, found = label_objects(mask)
        if not found:
            raise ValueError(f"the {name} has no object: it is empty")
        sizes = np.bincount(labels.ravel(), minlength=found + 1)[1:]
        # Of equal ones the first.
        largest = np.sort(np.argsort(-sizes, kind="stable")[:most])
        numbers = np.zeros(found + 1, np.intp)
        numbers[largest + 1] = np.arange(1, len(largest) + 1)
        return cls(numbers[labels], name, found)

    @property
    def count(self) -> int:
        """How many have a number."""
        return int(self.labels.max())

    @property
    def pixels(self) -> NDArray[np.intp]:
        """(row, col) of the first pixel of each object, (count, 2)."""
        flat = self.labels.ravel()
        first = np.full(self.count + 1, flat.size)
        np.minimum.at(first, flat, np.arange(flat.size))
        return np.stack(np.unravel_index(first[1:], self.labels.shape), axis=1)


@dataclass(frozen=True, eq=False)
class ObjectInfluence:
    """How much covering one object changes the mask on another.

    Made by `HDMResult.object_influence`. In a notebook it shows itself as the image with both kinds of objects, and
    the matrix beside it.

    Attributes
    ----------
    values : numpy.ndarray, float64 (n_by, n_on)
        Fraction of the pixels of an object of `on` that flip when a disc covers a pixel of an object of `by`: the
        largest over all such discs; NaN where no disc that was measured covers the object.
    by, on : Objects
        What is covered, and where the mask changes: `labels` (H, W), numbered from 1.
    cells : numpy.ndarray, int (n_by, n_on, 2)
        (row, col) of the disc that has the largest fraction; -1 where there is none.
    image : numpy.ndarray, float32 (C, H, W)
    """

    values: NDArray[np.float64]
    by: Objects
    on: Objects
    cells: NDArray[np.intp]
    image: NDArray[np.float32] = field(repr=False)

    @property
    def text(self) -> str:
        """What the numbers say, in words."""
        if np.isnan(self.values).all():
            strongest = "No disc that was measured covers an object."
        else:
            by, on = np.unravel_index(np.nanargmax(self.values), self.values.shape)
            percent = f"{100 * self.values[by, on]:.0f} %"
            strongest = (
                f"The strongest: a disc on object {by + 1} of the {self.by.name} flips {percent} of object {on + 1} of "
                f"the {self.on.name}."
                if self.values[by, on] > 0
                else "No disc on an object flips a pixel of one."
            )
        kinds = [self.by] if self.by.name == self.on.name else [self.by, self.on]
        left = [
            f"Shown are the {one.count} largest of {one.found:,} objects of the {one.name}."
            for one in kinds
            if one.found > one.count
        ]
        return " ".join([strongest, *left])

    def plot(self, axes: Sequence[Axes] | None = None, *, color_map: str | Colormap = "Blues") -> Any:
        """Draw with matplotlib: the image with the outlines and numbers of all objects, and the matrix in percent.

        Parameters
        ----------
        axes : sequence of matplotlib.axes.Axes, optional
            Two: for the image, and for the matrix; without them a new figure is made.
        color_map : str or matplotlib.colors.Colormap
            Of the matrix.

        Returns
        -------
        numpy.ndarray of matplotlib.axes.Axes
        """
        if axes is None:
            from matplotlib import pyplot

            axes = self._two(pyplot.figure(figsize=(9.4, 4.2), layout="constrained"))
        given = np.asarray(axes, dtype=object).ravel()
        if len(given) != 2:
            raise ValueError("axes must be two: one for the image, and one for the matrix")
        self._draw_image(given[0])
        self._draw_matrix(given[1], color_map)
        return given

    @staticmethod
    def _two(figure: Figure) -> Any:
        return figure.subplots(1, 2)

    def _draw_image(self, ax: Axes) -> None:
        ax.imshow(Display().view(self.image).to_rgb(self.image), interpolation="nearest")
        for one, color, style in ((self.by, _BY_COLOR, "solid"), (self.on, _ON_COLOR, "dashed")):
            for number in range(1, one.count + 1):
                mask = one.labels == number
                if mask.shape[0] > 1 and mask.shape[1] > 1 and not mask.all():
                    ax.contour(mask, levels=[0.5], colors=color, linewidths=1.2, linestyles=style)
            if one is self.on and one.name == self.by.name:
                continue
            # The numbers of the two kinds stand beside each other where objects lie over each other.
            shift = (0, 0) if self.by.name == self.on.name else (-7, 0) if one is self.by else (7, 0)
            for number in range(1, one.count + 1):
                rows, cols = np.nonzero(one.labels == number)
                middle = np.argmin((rows - rows.mean()) ** 2 + (cols - cols.mean()) ** 2)
                box = {"boxstyle": "circle,pad=0.15", "facecolor": color, "edgecolor": "white", "linewidth": 0.6}
                ax.annotate(
                    str(number), (cols[middle], rows[middle]), shift, textcoords="offset points", color="white",
                    bbox=box, **_LETTERS,
                )  # fmt: skip
        same = self.by.name == self.on.name
        ax.set_title(
            f"objects of the {self.by.name}" + ("" if same else f" (solid) and the {self.on.name} (dashed)"),
            fontsize="medium",
        )
        ax.set(xlabel="column (px)", ylabel="row (px)")

    def _draw_matrix(self, ax: Axes, color_map: str | Colormap) -> None:
        percent = 100 * self.values
        largest = float(np.nanmax(percent, initial=0.0)) or 1.0
        shown = ax.imshow(percent, cmap=color_map, vmin=0, vmax=largest, aspect="auto", interpolation="nearest")
        ax.set_facecolor("#dedede")
        by, on = (range(1, one.count + 1) for one in (self.by, self.on))
        ax.set_xticks(np.arange(len(on)), list(map(str, on)))
        ax.set_yticks(np.arange(len(by)), list(map(str, by)))
        ax.set(xlabel=f"changed: object of the {self.on.name}", ylabel=f"covered: object of the {self.by.name}")
        if max(percent.shape) <= _MOST_NUMBERS:
            colors = colormaps[color_map] if isinstance(color_map, str) else color_map
            for (row, col), value in np.ndenumerate(percent):
                red, green, blue, _ = colors(value / largest)
                dark = 0.3 * red + 0.59 * green + 0.11 * blue < 0.5
                text = "-" if np.isnan(value) else f"{value:.0f}"
                ax.text(
                    col, row, text, ha="center", va="center", fontsize=8,
                    color="white" if dark and not np.isnan(value) else "black",
                )  # fmt: skip
        ax.set_title("how much of it flips, at most", fontsize="medium")
        ax.figure.colorbar(shown, ax=ax, label="pixels that flip (%)")

    def _repr_png_(self) -> bytes:
        # pyplot's state is left alone.
        figure = Figure(figsize=(9.4, 4.2), layout="constrained")
        self.plot(self._two(figure))
        figure.suptitle(self.text, fontsize="medium", wrap=True)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=90)
        return buffer.getvalue()

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        by, on = self.values.shape
        return f"ObjectInfluence({by} objects of the {self.by.name} on {on} of the {self.on.name}: {self.text})"
