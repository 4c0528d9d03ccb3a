"""How a scan is to be made, as its keywords say."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, TypedDict

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from hdm_widgets._masks import Ignore, check_ignore
from hdm_widgets._validation import brief, check_choice, check_whole
from hdm_widgets.hdm.fills import LazyOcclusion
from hdm_widgets.hdm.grid import DiscShape, Grid
from hdm_widgets.hdm.named_measures import MEASURES, MeasureInfo, MeasureName
from hdm_widgets.hdm.occlusion import Channel, Fill, check_fill
from hdm_widgets.metrics.distance import EmptyPolicy
from hdm_widgets.metrics.spacing import check_spacing

__all__ = ["ESTIMATE_TOLERANCE", "InferenceMode", "ScanKeywords", "ScanOptions", "ScanSettings"]

InferenceMode = Literal["auto", "windowed", "full", "estimate"]
# Of an estimate for which no tolerance was given.
ESTIMATE_TOLERANCE = 0.01


class ScanKeywords(TypedDict, total=False):
    """The keywords of a scan for type checkers; `ScanOptions` documents them."""

    batch_size: int | None
    target: int | Literal["all"] | None
    threshold: float | None
    distance: MeasureName
    empty: EmptyPolicy
    spacing: tuple[float, float]
    ignore: Ignore | None
    fill: Fill
    seed: int
    shape: DiscShape
    region: tuple[int, int, int, int] | None
    inference: InferenceMode
    tolerance: float | None
    keep_outputs: bool


@dataclass(frozen=True, eq=False)
class ScanOptions:
    """How to make a scan: the keywords of `HausdorffDistanceMasks.explain`, checked.

    Parameters
    ----------
    batch_size : int, optional
        Images in one run of the model. By default the largest batch that still lowers the time per image, bounded by
        free memory and 0.25 s.
    target : int or "all", optional
        The class that is the segment, for a model with several. `"all"`: keep the masks of all classes, so that
        `result.for_class` measures any of them without another run. The ground truth has class numbers then, and the
        scan itself measures its first class besides 0. For models with exclusive classes or class numbers.
    threshold : float, optional
        Probability above which a pixel belongs to the segment; 0.5 by default.
    distance : {"hausdorff", "hausdorff95", "mean_surface", "iou", "dice", "area", "flipped", "rows"}
        What is measured of every mask, against the ground truth: Hausdorff distance; its 95th percentile; mean surface
        distance; 1 - IoU; 1 - Dice; area of the mask less that of the truth; area that differs from the mask without a
        disc, whatever the truth; or the published code's formula on the raw output. `result.measure` gives any other
        from the masks that were kept.
    empty : {"diagonal", "inf", "nan", "raise"}
        The distance where one of the two masks, the model's or the ground truth, is empty.
    spacing : tuple of float
        (row, col), height and width of a pixel, in the unit that Hausdorff distances are to have, such as meters or
        millimeters; (1, 1) gives pixels.
    ignore : number or array of bool (H, W), optional
        Pixels that do not count in distances and overlaps: the value that marks them in the ground truth, such as 255,
        or a mask of them. Masked pixels of a numpy masked array are ignored without it.
    fill : {"minimum", "mean", "blur", "noise", "inpainted"}, float or sequence of float
        What the disc shows: the element-wise minimum with the mask, the channel's mean, the blurred image, Gaussian
        noise with the channel's mean and standard deviation (cut off at its least and largest value), its own
        surroundings continued into it (biharmonic inpainting), or a value: one for all channels, or one for each
        channel of the image. For a Segmenter with `preprocess`, "minimum" is the image's own black, and nothing outside
        of the disc is clipped: 0 for values in [0, 1] or 0 to 255, -1 for values in [-1, 1], else the minimum of each
        channel.
    seed : int
        Of `fill="noise"`: equal seeds give equal noise. And of the choice of certain estimates that are measured.
    shape : {"disc", "square"}
        What covers the image: the published disc, or the square around it, of `circle_size` + 1 pixels a side.
    region : tuple of int, optional
        (row0, col0, row1, col1), half open, in pixels: run only the discs that touch this box. The other cells
        take the baseline, and no map paints them.
    inference : {"auto", "windowed", "full", "estimate"}
        How to compute outputs. "full": run the model itself on whole images. "windowed": compute only what a disc
        changes, wherever the network can be traced. "auto": whichever is quicker; where both take long, a first map is
        estimated, and then every cell is measured, so that the finished map is exact. "estimate": stop after the
        estimates and a sample of cells that are measured: `result.approximation` has the error there,
        `result.estimated` says which cells are estimated, and `result.certain` which of these are surely right. But
        for "estimate", the masks are the same, up to pixels whose logit is within float rounding of the threshold;
        `plan` says what is chosen for a model, and why.
    tolerance : float, optional
        Of an estimate: with `inference="auto"` it means "estimate". What the disc changes is followed as far as the
        network's activations change by more than this fraction of their value range (maximum less minimum for the image
        without a disc), in (0, 1); 0.01 by default. What global operations, such as instance norm or
        squeeze-and-excitation, do to the rest of the image is taken from a few discs that are computed in full,
        whatever it is; it is left out in maps of few cells, with a Segmenter that runs in windows, and where there is
        no memory for it.
    keep_outputs : bool
        Keep every mask: the box in which it differs from the mask without a disc, one bit per pixel.
    """

    RETIRED: ClassVar = {"exact": "inference='estimate' estimates, and every other scan is exact"}

    batch_size: int | None = None
    target: int | Literal["all"] | None = None
    threshold: float | None = None
    distance: MeasureName = "hausdorff"
    empty: EmptyPolicy = "diagonal"
    spacing: tuple[float, float] = (1, 1)
    ignore: Ignore | None = None
    fill: Fill = "minimum"
    seed: int = 0
    shape: DiscShape = "disc"
    region: tuple[int, int, int, int] | None = None
    inference: InferenceMode = "auto"
    tolerance: float | None = None
    keep_outputs: bool = True

    def __post_init__(self) -> None:
        if self.batch_size is not None:
            check_whole("batch_size", self.batch_size, 1)
        check_choice("distance", self.distance, MeasureName, "; for your own, override calculate_distance")
        check_choice("empty", self.empty, EmptyPolicy)
        object.__setattr__(self, "spacing", check_spacing(self.spacing))
        if not MEASURES[self.distance].unit and self.spacing != (1, 1):
            raise ValueError(f"distance={self.distance!r} is no length: spacing means nothing for it; drop spacing")
        if self.ignore is not None:
            check_ignore(self.ignore)
        object.__setattr__(self, "fill", check_fill(self.fill))
        check_whole("seed", self.seed, 0)
        check_choice("shape", self.shape, DiscShape)
        check_choice("inference", self.inference, InferenceMode)
        if self.tolerance is not None:
            self._check_tolerance(self.tolerance)
            object.__setattr__(self, "tolerance", float(self.tolerance))
            object.__setattr__(self, "inference", "estimate")
        elif self.inference == "estimate":
            object.__setattr__(self, "tolerance", ESTIMATE_TOLERANCE)
        if isinstance(self.target, str):
            self._check_all_classes(self.target)

    def _check_all_classes(self, target: str) -> None:
        if target != "all":
            raise ValueError(f"target must be the index of a class, or 'all', got {brief(target)}")
        if not self.keep_outputs:
            raise ValueError(
                "target='all' measures the classes from the masks that a scan keeps; drop keep_outputs=False, or say "
                "which class: target=1"
            )
        if self.distance == "rows":
            raise ValueError(
                f"distance={self.distance!r} is measured on the raw output, and target='all' keeps masks; make one "
                "scan for each class"
            )
        if self.tolerance is not None:
            raise ValueError(
                "the error of an estimate is measured for one class only; drop inference='estimate' and tolerance, or "
                "say which class: target=1"
            )

    def _check_tolerance(self, tolerance: object) -> None:
        number = isinstance(tolerance, (int, float, np.number)) and not isinstance(tolerance, bool)
        if not number or not 0 < tolerance < 1:  # type: ignore[operator]  # a number, as just checked
            raise ValueError(
                "tolerance must be a number above 0 and below 1, a fraction of the activations' value range, got "
                f"{brief(tolerance)}"
            )
        if self.inference not in ("auto", "estimate"):
            raise ValueError(
                f"tolerance is of estimates (inference='estimate'), and inference={self.inference!r} is exact; drop one"
            )


@dataclass(frozen=True)
class ScanSettings:
    """How a scan was made; as the keywords of `HausdorffDistanceMasks.explain`.

    Attributes
    ----------
    channel : int or tuple of int
        Channels that the discs covered; -1 for all.
    normalize : bool
    fill : {"minimum", "mean", "blur", "noise", "inpainted"}, float or tuple of float
    seed : int
        Of the noise that `fill="noise"` shows.
    shape : {"disc", "square"}
    distance : str
        As the keyword; "custom": a subclass with its own `calculate_distance`.
    empty : {"diagonal", "inf", "nan", "raise"}
    spacing : tuple of float
        (row, col), height and width of a pixel in the unit of the distances; (1, 1) where they are in pixels.
    own_mask : bool
        A subclass with its own `apply_mask`.
    tolerance : float or None
        Of an estimate.
    region : tuple of int or None
        (row0, col0, row1, col1) of a scan of part of the image.
    own_range : bool
        The Segmenter had a `preprocess`: the image has values as they were given, and fill="minimum" is its own black.
    target : int or None
        The class that is measured; None for a model with one map, or where the Segmenter's default serves.
    of_prediction : bool
        The model's own mask for the image without a disc stood for the ground truth.
    of_object : bool
        One object of the mask that masks are compared with; see `HDMResult.for_object`.
    """

    channel: Channel = -1
    normalize: bool = False
    fill: Fill = "minimum"
    distance: str = "hausdorff"
    empty: EmptyPolicy = "diagonal"
    own_mask: bool = False
    tolerance: float | None = None
    region: tuple[int, int, int, int] | None = None
    spacing: tuple[float, float] = (1, 1)
    own_range: bool = False
    target: int | None = None
    of_prediction: bool = False
    seed: int = 0
    shape: DiscShape = "disc"
    of_object: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "spacing", check_spacing(self.spacing))
        # A file has tuples as lists.
        for name in ("region", "channel", "fill"):
            value = getattr(self, name)
            object.__setattr__(self, name, tuple(value) if isinstance(value, list) else value)

    def asked(self, grid: Grid) -> NDArray[np.bool_]:
        """Cells, bool (rows, cols), that the scan was asked to run."""
        return np.ones(grid.shape, dtype=bool) if self.region is None else grid.touching(self.region)

    def occlusion(self, grid: Grid, image: Tensor) -> LazyOcclusion:
        """The occlusion of `image` (C, H, W); not where a subclass has its own `apply_mask`."""
        return LazyOcclusion(grid, image, self.fill, self.channel, self.normalize, self.own_range, self.seed)

    @property
    def length_unit(self) -> str:
        """The unit of lengths in the image."""
        return "px" if self.spacing == (1, 1) else "units"

    @property
    def info(self) -> MeasureInfo:
        """How the measure is told."""
        return MEASURES.get(self.distance, MEASURES["custom"])

    @property
    def unit(self) -> str:
        """The unit of the distances; empty where they have none, or it is not known."""
        if self.info.unit == "area":
            return f"{self.length_unit}²"
        return self.length_unit if self.info.unit else ""

    @property
    def name(self) -> str:
        """What the distance is called, without its unit."""
        return self.info.label

    @property
    def compared_with(self) -> str:
        """What masks are compared with."""
        return "prediction" if self.of_prediction else "truth"

    @property
    def label(self) -> str:
        """The distance with its unit, for an axis."""
        return f"{self.name} ({self.unit})" if self.unit else self.name

    @property
    def decimals(self) -> int:
        """Digits after the point that show a distance of one pixel, and tell a tenth of it from none."""
        if not self.info.unit and self.distance != "custom":
            return 1 if self.distance == "rows" else 3
        if self.info.unit == "area":
            side = math.sqrt(math.prod(self.spacing))
            return 0 if side == 1 else max(0, 1 - math.floor(2 * math.log10(side)))
        if self.length_unit == "px":
            return 1
        return max(1, 1 - math.floor(math.log10(min(self.spacing))))
