"""What a scan measured."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.colors import Colormap
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from torch import Tensor

from hdm_widgets._bitmasks import MaskStore
from hdm_widgets._picture import Bands, Display
from hdm_widgets._validation import check_choice
from hdm_widgets._wording import quantity
from hdm_widgets.hdm.approximation import Approximation
from hdm_widgets.hdm.circle_map import (
    RAW,
    PaintingOrder,
    ResultType,
    change_from_baseline,
    mean_values,
    paint,
    paint_mean,
    painted_values,
    relative,
)
from hdm_widgets.hdm.classes import ClassMasks, MasksOfClass
from hdm_widgets.hdm.disc_drawn import DiscDrawn, disc_as_segment, find_drawn_discs
from hdm_widgets.hdm.grid import Grid
from hdm_widgets.hdm.noise import Noise
from hdm_widgets.hdm.options import ScanSettings
from hdm_widgets.hdm.plan import Plan
from hdm_widgets.hdm.plotting import overlay, panel_of, plot, png
from hdm_widgets.hdm.questions import AskedMasks, described, of_class
from hdm_widgets.hdm.regions import relevance_mass_accuracy
from hdm_widgets.hdm.result_file import ResultFiles
from hdm_widgets.metrics.distance import HausdorffPair, hausdorff_pair
from hdm_widgets.metrics.overlap import iou
from hdm_widgets.models.reading import Reading

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["HDMResult"]


@dataclass(frozen=True, eq=False)
class HDMResult(ResultFiles, AskedMasks):
    """Distances of a scan, with the masks they were measured on.

    Made by `HausdorffDistanceMasks.explain`. In a notebook it shows itself as its three circle maps.

    Attributes
    ----------
    values : numpy.ndarray, float64 (rows, cols)
        Distance of every cell; NaN where a cell was not reached.
    baseline : float
        Distance of the model's mask for the image without a disc.
    measured : numpy.ndarray, bool (rows, cols)
        Cells that the model was run for. Cells outside a scan's region have the baseline's value
        and False here; no map paints them.
    grid : Grid
        Picture size, circle size, offset.
    image : numpy.ndarray, float32 (C, H, W)
    segment : numpy.ndarray, bool (H, W)
        The ground truth, without ignored pixels.
    baseline_mask : numpy.ndarray, bool (H, W)
        The model's mask for the image without a disc, in ignored pixels too.
    settings : ScanSettings
    plan : Plan or None
        Which backend computed the outputs, and why; None in a loaded result.
    approximation : Approximation or None
        The error of the estimates, not known after `measure`; None where nothing is estimated.
    noise : Noise or None
        How far masks of the image without a disc are apart, for a model whose runs differ; None for any other.
    reading : Reading or None
        What was understood of the model's output; None in a loaded result.
    ignored : numpy.ndarray, bool (H, W), or None
        Pixels that count neither in distances nor in overlaps; None if all do.
    estimated : numpy.ndarray, bool (rows, cols), or None
        Cells whose value and mask are estimates: the model has not been run for them yet, or will not be with
        `inference="estimate"`. They count as measured otherwise. None in a loaded result where none is.
    certain : numpy.ndarray, bool (rows, cols), or None
        Estimated cells whose distance is the one that the model gives, with a confidence of 0.999 and as far as audits
        tell: with `inference="estimate"`, those in which no pixel that may flip changes the distance; their masks may
        differ. None of them is where that cannot be told: with a measure of your own, with `empty="raise"`, and on
        images of more than six million pixels. None in exact scans, in another measure (`measure`), and in a loaded
        result without any.

    Notes
    -----
    A scan with `target="all"` keeps all classes: see `classes` and `for_class`. The result itself is of the class
    `settings.target`.
    """

    values: NDArray[np.float64]
    baseline: float
    measured: NDArray[np.bool_]
    grid: Grid
    image: NDArray[np.float32]
    segment: NDArray[np.bool_]
    baseline_mask: NDArray[np.bool_]
    settings: ScanSettings
    plan: Plan | None = None
    approximation: Approximation | None = None
    _masks: MaskStore | MasksOfClass | None = field(repr=False, default=None)
    _show: Callable[[int, int], Tensor] | None = field(repr=False, default=None)
    noise: Noise | None = None
    reading: Reading | None = field(repr=False, default=None)
    ignored: NDArray[np.bool_] | None = None
    _classes: ClassMasks | None = field(repr=False, default=None)
    _runs: tuple[NDArray[np.bool_], ...] = field(repr=False, default=())
    estimated: NDArray[np.bool_] | None = None
    certain: NDArray[np.bool_] | None = None

    @property
    def width(self) -> int:
        """The image's width in pixels."""
        return self.grid.width

    @property
    def height(self) -> int:
        """The image's height in pixels."""
        return self.grid.height

    @property
    def circle_size(self) -> int:
        """Size of the disc in pixels, as PIL counts it."""
        return self.grid.circle_size

    @property
    def offset(self) -> int:
        """Pixels from one disc to the next."""
        return self.grid.offset

    @property
    def complete(self) -> bool:
        """Whether every cell has a value; one that is estimated counts if estimates were asked for."""
        return not self._missing.any()

    @property
    def _missing(self) -> NDArray[np.bool_]:
        """Cells, bool (rows, cols), that the scan was asked to run and has not run yet."""
        if self.estimated is None or self.settings.tolerance is not None:
            return ~self._reached
        return ~self._reached | self.estimated  # but a first map

    @property
    def estimates(self) -> str:
        """How many cells are estimated, and with what error; empty where none is."""
        count = 0 if self.estimated is None else int(np.count_nonzero(self.estimated))
        if not count:
            return ""
        error = "" if self.approximation is None else f"; {self.approximation}"
        are = "is" if count == 1 else "are"
        return f"{count:,} of {quantity(int(np.count_nonzero(self.measured)), 'cell')} {are} estimated{error}"

    @property
    def _reached(self) -> NDArray[np.bool_]:
        # A measured distance may itself be NaN, under empty="nan", and so may the baseline outside a region.
        return self.measured | ~np.isnan(self.values) | ~self.settings.asked(self.grid)

    def distances(self, result_type: ResultType | str = RAW) -> NDArray[np.float64]:
        """The grid of distances.

        Parameters
        ----------
        result_type : {hdm.RAW, hdm.BETTER_ONLY, hdm.WORSE_ONLY}
            RAW: as measured. BETTER_ONLY: how much nearer to the truth than without a disc, else 0.
            WORSE_ONLY: how much farther, else 0.

        Returns
        -------
        numpy.ndarray, float64 (rows, cols)
            In pixels for the Hausdorff distance, or in the unit of `settings.spacing`; NaN for cells that were not
            reached.
        """
        if self.settings.info.signed and ResultType(result_type) is not RAW:
            # Less area is as far from the truth's as more.
            return relative(np.abs(self.values), abs(self.baseline), result_type)
        return relative(self.values, self.baseline, result_type)

    @cached_property
    def disc_as_segment(self) -> NDArray[np.float64]:
        """Fraction of the disc that the model draws as segment, beyond the segment without a disc, (rows, cols).

        In [0, 1], NaN for cells that were not measured; of the disc's pixels that are in the image and not ignored.
        ValueError if masks were not kept.
        """
        return disc_as_segment(self)

    @cached_property
    def disc_drawn(self) -> DiscDrawn:
        """Cells in which the disc itself is drawn as segment; false where that is not worth a notice, or not known.

        Where it is true, the map shows the fill rather than what the disc covers; `str()` of it says so, and what to
        try.
        """
        return find_drawn_discs(self)

    @property
    def classes(self) -> tuple[int, ...]:
        """The classes that `for_class` takes; empty unless the scan had `target="all"`.

        All classes of the model; of a model that returns class numbers those in its outputs and in the ground truth.
        """
        return () if self._classes is None else self._classes.numbers(self.measured)

    def for_class(self, number: int) -> HDMResult:
        """The result of another class, from the masks that were kept; the model is not run.

        Parameters
        ----------
        number : int
            One of `classes`.

        Returns
        -------
        HDMResult
            As a scan with `target=number` would have it.

        Raises
        ------
        ValueError
            If there is no such class; if the scan did not have `target="all"`; if a mask is empty under
            `empty="raise"`.
        """
        return of_class(self, number)

    def circle_map(
        self,
        result_type: ResultType | str = RAW,
        color_map: str | Colormap = "Reds",
        *,
        order: PaintingOrder = "value",
    ) -> Image.Image:
        """The distances painted as discs on black.

        Parameters
        ----------
        result_type : {hdm.RAW, hdm.BETTER_ONLY, hdm.WORSE_ONLY}
        color_map : str or matplotlib.colors.Colormap
            Scaled to the minimum and maximum over all cells.
        order : {"value", "change", "mean"}
            Which disc covers another. "value": the larger distance, as published. "change": the distance that differs
            more from the baseline, as `HDMExplorer` paints; of equal ones the larger distance. The two differ for raw
            distances only. "mean": none; every pixel shows the mean of all discs that cover it, which finds what the
            model looks at better (see "Are the maps true?" in the documentation).

        Returns
        -------
        PIL.Image.Image
            RGB, of the image's size.
        """
        values, change = self.distances(result_type), self._change(result_type, order)
        if order == "mean":
            return paint_mean(values, self.measured, self.grid, color_map)
        return paint(values, self.measured, self.grid, color_map, change)

    def painted_values(
        self, result_type: ResultType | str = RAW, *, order: PaintingOrder = "value"
    ) -> NDArray[np.float64]:
        """The circle map as numbers: the value of the topmost disc at each pixel, or the mean of all discs there.

        Parameters
        ----------
        result_type : {hdm.RAW, hdm.BETTER_ONLY, hdm.WORSE_ONLY}
        order : {"value", "change", "mean"}
            As for `circle_map`.

        Returns
        -------
        numpy.ndarray, float64 (H, W)
            NaN where no disc is.
        """
        values, change = self.distances(result_type), self._change(result_type, order)
        if order == "mean":
            return mean_values(values, self.measured, self.grid)
        return painted_values(values, self.measured, self.grid, change)

    def _change(self, result_type: ResultType | str, order: PaintingOrder) -> NDArray[np.float64] | None:
        check_choice("order", order, PaintingOrder)
        values = self.distances(result_type)
        return change_from_baseline(values, self.baseline, result_type) if order == "change" else None

    def relevance_mass_accuracy(
        self, region: ArrayLike, result_type: ResultType | str = RAW, *, order: PaintingOrder = "value"
    ) -> float:
        """Fraction of the circle map's sum that lies on a region.

        Parameters
        ----------
        region : array_like (H, W)
            Nonzero = in the region: bool, whole numbers, or floats that are 0 and 1. Masked pixels of a numpy masked
            array do not count.
        result_type : {hdm.RAW, hdm.BETTER_ONLY, hdm.WORSE_ONLY}
        order : {"value", "change", "mean"}
            As for `circle_map`.

        Returns
        -------
        float
            Sum of the painted values on the region over their sum on the image, in [0, 1]; 0 for a map of zeros. Values
            below 0, as a signed measure has them, count as much as those above. Where some are infinite, the others
            count as 0.

        References
        ----------
        L. Arras, A. Osman, W. Samek: CLEVR-XAI: A benchmark dataset for the ground truth evaluation of neural network
        explanations. Information Fusion 81, 2022.
        """
        return relevance_mass_accuracy(self, region, result_type, order)

    def mass(self, region: ArrayLike, result_type: ResultType | str = RAW) -> float:
        """Deprecated: use `relevance_mass_accuracy`."""
        warnings.warn("HDMResult.mass is HDMResult.relevance_mass_accuracy now", DeprecationWarning, stacklevel=2)
        return self.relevance_mass_accuracy(region, result_type)

    def overlay(
        self,
        result_type: ResultType | str = RAW,
        image: Tensor | NDArray[Any] | None = None,
        *,
        color_map: str | Colormap = "Blues",
        edges: bool = True,
        display: Display | Bands | None = None,
    ) -> Image.Image:
        """The authors' figure: the circle map with the image's Canny edges drawn over it.

        Parameters
        ----------
        result_type : {hdm.RAW, hdm.BETTER_ONLY, hdm.WORSE_ONLY}
        image : torch.Tensor or numpy.ndarray, (C, H, W) or (H, W), optional
            The image; the explained one by default.
        color_map : str or matplotlib.colors.Colormap
        edges : bool
            False: the image itself, half transparent, in place of its edges.
        display : Display, int or sequence of int, optional
            How to show the image: a channel in gray, three as red, green and blue, or a `Display`.

        Returns
        -------
        PIL.Image.Image
            RGB, of the image's size.
        """
        return overlay(self, result_type, image, color_map, edges=edges, display=display)

    def output(self, row: int, col: int) -> NDArray[np.bool_]:
        """The model's mask (H, W) for the image with the disc of cell (`row`, `col`).

        Raises
        ------
        IndexError
            If there is no such cell.
        ValueError
            If masks were not kept, or the cell was not measured.
        """
        self.grid.check_cell(row, col)
        if self._masks is None:
            raise ValueError("the masks were not kept; explain(..., keep_outputs=True) keeps them")
        if not self.measured[row, col]:
            raise ValueError(f"cell ({row}, {col}) was not measured")
        return self._masks.mask(row, col)

    def occluded(self, row: int, col: int) -> NDArray[np.float32]:
        """The image (C, H, W) as the model saw it with the disc of cell (`row`, `col`); before any `preprocess`."""
        self.grid.check_cell(row, col)
        if self._show is None:
            raise ValueError("the scan used an apply_mask of its own, which a stored result does not have")
        image: NDArray[np.float32] = self._show(row, col).cpu().numpy()
        return image

    def pair(self, row: int, col: int) -> HausdorffPair:
        """The two pixels that make the Hausdorff distance at a cell; "a" is the model's mask, "b" the truth.

        The distance has the unit of `settings.spacing`; ignored pixels belong to neither mask.
        """
        settings = self.settings
        return hausdorff_pair(
            self.output(row, col), self.segment, empty=settings.empty, spacing=settings.spacing, ignore=self.ignored
        )

    def iou(self, row: int, col: int) -> float:
        """IoU of the model's mask at a cell with the truth, without ignored pixels; 0 if both are empty."""
        return iou(self.output(row, col), self.segment, ignore=self.ignored)

    def plot(
        self,
        ax: Axes | None = None,
        *,
        result_type: ResultType | str | None = None,
        color_map: str | Colormap | None = None,
        significant: ArrayLike | None = None,
        order: PaintingOrder = "value",
    ) -> Any:
        """Draw with matplotlib, with color bars and the outline of the truth.

        Discs are vectors, so that SVG and PDF files are sharp at any size; of more than 5,000, or of means, an image is
        drawn.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Draw one map here; without it a new figure is made.
        result_type : {hdm.RAW, hdm.BETTER_ONLY, hdm.WORSE_ONLY}, optional
            The map to draw; by default raw distances on a given `ax`, all three in a figure of their own.
        color_map : str or matplotlib.colors.Colormap, optional
            Blues, Greens and Reds for the three by default.
        significant : array_like, bool (rows, cols), optional
            Cells that matter beyond chance, such as `FillComparison.significant`; all others are hatched.
        order : {"value", "change", "mean"}
            As for `circle_map`; the means are an image.

        Returns
        -------
        matplotlib.axes.Axes or numpy.ndarray of them
        """
        return plot(self, ax, result_type, color_map, significant, order)

    def _repr_png_(self) -> bytes:
        return png([panel_of(self, kind) for kind in ResultType])

    def __repr__(self) -> str:
        return described(self)
