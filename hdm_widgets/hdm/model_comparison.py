"""Scans of one image with several models, side by side."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Unpack

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.colors import Colormap, ListedColormap
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from tqdm.auto import tqdm

from hdm_widgets._validation import brief, image_size, takes_options
from hdm_widgets.hdm.circle_map import RAW, ResultType, change_from_baseline, finite_limits
from hdm_widgets.hdm.explainer import HausdorffDistanceMasks
from hdm_widgets.hdm.fill_names import fill_text
from hdm_widgets.hdm.grid import usual_discs
from hdm_widgets.hdm.named_measures import MeasureName
from hdm_widgets.hdm.options import ScanKeywords, ScanOptions
from hdm_widgets.hdm.plotting import Panel, draw, draw_all, panel_of, png
from hdm_widgets.hdm.result import HDMResult
from hdm_widgets.hdm.result_file import read_results, write_results
from hdm_widgets.hdm.scan import PreparedScan
from hdm_widgets.hdm.update import ScanUpdate
from hdm_widgets.models.errors import ModelError
from hdm_widgets.models.segmenter import Model, Segmenter

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "DIVERGING",
    "ModelComparison",
    "check_each_model",
    "check_models",
    "check_names",
    "compare_models",
    "error_of_model",
    "naming_model",
]

_FORMAT = "hdm-widgets comparison of models 1"
# Blue where the second model has the smaller value, red where it has the larger one.
DIVERGING = "RdBu_r"


@dataclass(frozen=True, eq=False)
class ModelComparison:
    """Scans of one image with several models.

    Made by `compare_models`, or of results that you have. In a notebook it shows itself as the circle maps of all
    models and the difference of the first two.

    Parameters
    ----------
    results : dict of str to HDMResult
        At least two, by the names of their models: of the same image and truth, on the same grid, in the same measure.

    Raises
    ------
    TypeError, ValueError
        If results are missing, or do not have the same image, ground truth, grid, measure and spacing. Scans that
        differ in another setting, such as the fill, are compared; `text` says so.
    """

    results: dict[str, HDMResult]

    def __post_init__(self) -> None:
        check_names(self.results, "results", "hdm.ModelComparison({'before': result_a, 'after': result_b})")
        for name, result in self.results.items():
            if not isinstance(result, HDMResult):
                raise TypeError(f"results[{name!r}] must be an HDMResult, got {type(result).__name__}")
        (first, one), *others = self.results.items()
        for name, other in others:
            for what, here, there in (
                ("grid", one.grid, other.grid),
                ("measure", one.settings.distance, other.settings.distance),
                ("spacing", one.settings.spacing, other.settings.spacing),
                ("class", one.settings.target, other.settings.target) if one.classes or other.classes else ("", 0, 0),
                ("mask to compare with", one.settings.compared_with, other.settings.compared_with),
            ):
                if here != there:
                    raise ValueError(
                        f"the results must have the same {what}, got {here} for {first!r} and {there} for {name!r}"
                    )
            if not np.array_equal(one.image, other.image):
                raise ValueError(
                    f"the results must be of the same image; those of {first!r} and {name!r} are of different images"
                )
            # Of predictions, every model has its own.
            if not one.settings.of_prediction and not _same_truth(one, other):
                raise ValueError(
                    f"the results must have the same ground truth; those of {first!r} and {name!r} differ: "
                    "result.measure(name, segment) compares masks with another one"
                )
        object.__setattr__(self, "results", dict(self.results))

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the models, in their order."""
        return tuple(self.results)

    @property
    def difference(self) -> NDArray[np.float64]:
        """Second model less the first, float64 (rows, cols), in the unit of the measure; NaN where not measured."""
        return self.between(*self.names[:2])

    def between(self, first: str, second: str, result_type: ResultType | str = RAW) -> NDArray[np.float64]:
        """Difference of two of the models.

        Parameters
        ----------
        first, second : str
            Names of models.
        result_type : {hdm.RAW, hdm.BETTER_ONLY, hdm.WORSE_ONLY}
            As for `HDMResult.distances`.

        Returns
        -------
        numpy.ndarray, float64 (rows, cols)
            `second` less `first`, in the unit of the measure; NaN where one of the two was not measured.

        Raises
        ------
        ValueError
            If there is no such model.
        """
        for name in (first, second):
            if name not in self.results:
                raise ValueError(f"there is no model {name!r}; the models are {', '.join(map(repr, self.names))}")
        one, other = self.results[first], self.results[second]
        before, after = one.distances(result_type), other.distances(result_type)
        # Two masks that are empty for the same disc do not differ, although their distance may be infinite.
        same = before == after
        difference = np.zeros_like(after)
        np.subtract(after, before, out=difference, where=~same)
        difference[~(one.measured & other.measured)] = np.nan
        return difference

    def measure(
        self,
        name: MeasureName,
        segment: ArrayLike | Tensor | Literal["prediction"] | None = None,
        spacing: Sequence[float] | None = None,
    ) -> ModelComparison:
        """All models in another measure, from the masks that were kept; no model is run.

        Parameters
        ----------
        name, segment, spacing
            As for `HDMResult.measure`.

        Returns
        -------
        ModelComparison
        """
        return ModelComparison({key: one.measure(name, segment, spacing) for key, one in self.results.items()})

    def for_class(self, number: int) -> ModelComparison:
        """All models for another class, where the scans had `target="all"`; no model is run.

        Parameters
        ----------
        number : int
            One of the classes of every result.

        Returns
        -------
        ModelComparison
        """
        return ModelComparison({key: one.for_class(number) for key, one in self.results.items()})

    @property
    def text(self) -> str:
        """What the numbers say, in words."""
        first, second = self.names[:2]
        settings = self.results[first].settings
        digits, unit = settings.decimals, f" {settings.unit}" if settings.unit else ""
        without = ", ".join(f"{name} {one.baseline:.{digits}f}{unit}" for name, one in self.results.items())
        difference = self.difference
        shown = np.where(np.abs(difference) < 0.5 * 10**-digits, 0, difference)
        total = int(np.count_nonzero(~np.isnan(shown)))

        def farthest(sign: int) -> str:
            count = int(np.count_nonzero(sign * shown > 0))
            if not count:
                return "in none"
            row, col = np.unravel_index(np.nanargmax(sign * shown), shown.shape)
            most = f"{abs(shown[row, col]):.{digits}f}{unit}"
            return f"in {count:,} (by up to {most}, in the cell at row {row}, column {col})"

        name = settings.name[0].upper() + settings.name[1:]
        other = f"{'one object of ' if settings.of_object else ''}the {settings.compared_with}"
        said = (
            f"of {total:,} discs, {second} has a larger value than {first} {farthest(1)} and a smaller one "
            f"{farthest(-1)}.{self._other_settings()}"
        )
        if settings.distance == "flipped":
            # Without a disc nothing flips.
            return f"{name}{f' near {other}' if settings.of_object else ''}: {said}"
        return f"{name} against {other} without a disc: {without}. {said[0].upper()}{said[1:]}"

    def _other_settings(self) -> str:
        """What the scans differ in besides the model, as a sentence after the others; empty for none."""
        each = {name: _told_settings(one) for name, one in self.results.items()}
        # What a loaded result does not know is no difference.
        known = {key: [said[key] for said in each.values() if said[key]] for key in next(iter(each.values()))}
        differ = [
            f"{key} ({', '.join(f'{name} {said[key]}' for name, said in each.items() if said[key])})"
            for key, values in known.items()
            if len(set(values)) > 1
        ]
        return f" The scans differ in more than the model: {', '.join(differ)}." if differ else ""

    def plot(
        self,
        axes: Sequence[Axes] | None = None,
        *,
        result_type: ResultType | str = RAW,
        color_map: str | Colormap | None = None,
    ) -> Any:
        """Draw with matplotlib: all maps in one range of colors, and the difference of the first two around 0.

        Parameters
        ----------
        axes : sequence of matplotlib.axes.Axes, optional
            One for each model and one for the difference; without them a new figure is made.
        result_type : {hdm.RAW, hdm.BETTER_ONLY, hdm.WORSE_ONLY}
        color_map : str or matplotlib.colors.Colormap, optional
            Of the models' maps.

        Returns
        -------
        numpy.ndarray of matplotlib.axes.Axes
        """
        panels = self._panels(ResultType(result_type), color_map)
        if axes is None:
            return draw_all(panels, heading=self.text)
        given = np.asarray(axes, dtype=object).ravel()
        if len(given) != len(panels):
            raise ValueError(f"axes must be {len(panels)}: one for each model, and one for the difference")
        for ax, panel in zip(given, panels, strict=True):
            draw(ax, panel)
        return given

    def _panels(self, kind: ResultType, color_map: str | Colormap | None = None) -> list[Panel]:
        values = np.concatenate([one.distances(kind)[one.measured] for one in self.results.values()])
        signed = kind is RAW and next(iter(self.results.values())).settings.info.signed
        low, high = finite_limits(values, around_zero=signed)
        panels = []
        for name, one in self.results.items():
            panel = panel_of(one, kind, color_map)
            title = f"{name}: {panel.title[0].lower()}{panel.title[1:]}"
            change = change_from_baseline(panel.values, one.baseline, kind)
            panels.append(replace(panel, title=title, limits=(low, high), change=change))
        first, second = self.names[:2]
        difference = self.between(first, second, kind)
        largest = float(np.abs(difference[np.isfinite(difference)]).max(initial=0.0))
        unit = f" ({panels[1].settings.unit})" if panels[1].settings.unit else ""
        panels.append(
            replace(
                panels[1],
                title=f"{second} less {first}",
                values=difference,
                shown=~np.isnan(difference),
                # Where nothing differs, everything has the color of the middle.
                color_map=DIVERGING if largest else ListedColormap([colormaps[DIVERGING](0.5)]),
                limits=(-largest, largest),
                change=np.abs(difference),
                label=f"difference{unit}",
            )
        )
        return panels

    def _repr_png_(self) -> bytes:
        return png(self._panels(RAW), self.text)

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"ModelComparison({', '.join(map(repr, self.names))}: {self.text})"

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write all results to one npz file; nothing in it is pickled.

        Parameters
        ----------
        path : path-like
            Written as given; `.npz` is the usual ending.
        """
        write_results(path, _FORMAT, {name: vars(one) for name, one in self.results.items()})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> ModelComparison:
        """Read a comparison that `save` wrote.

        Parameters
        ----------
        path : path-like

        Returns
        -------
        ModelComparison

        Raises
        ------
        ValueError
            If the file is no such comparison.
        """
        return cls({name: HDMResult(**fields) for name, fields in read_results(path, _FORMAT).results.items()})


def _same_truth(one: HDMResult, other: HDMResult) -> bool:
    """Whether two results are compared with the same ground truth, and the same pixels count."""

    def ignored(result: HDMResult) -> NDArray[np.bool_]:
        return np.zeros(result.segment.shape, bool) if result.ignored is None else result.ignored

    return np.array_equal(one.segment, other.segment) and np.array_equal(ignored(one), ignored(other))


def _told_settings(result: HDMResult) -> dict[str, str]:
    """Settings that may differ between scans that are compared; empty where one is not known, or has no effect."""
    settings, reading = result.settings, result.reading
    thresholded = reading is not None and reading.form == "maps" and reading.classes != "exclusive"
    return {
        "fill": "an apply_mask of its own" if settings.own_mask else fill_text(settings.fill),
        "seed": str(settings.seed) if settings.fill == "noise" else "",
        "channel": "all" if settings.channel == -1 else str(settings.channel),
        "normalize": str(settings.normalize),
        "region": str(settings.region or "all"),
        "tolerance": str(settings.tolerance or 0),
        "empty": settings.empty,
        "threshold": f"{reading.threshold:g}" if reading is not None and thresholded else "",
    }


def check_names(named: object, what: str, example: str, least: int = 2) -> None:
    """Refuse what is no dict of so many names.

    Raises
    ------
    TypeError, ValueError
    """
    if not isinstance(named, Mapping):
        raise TypeError(f"{what} must be a dict with a name for each, such as {example}; got {type(named).__name__}")
    if len(named) < least:
        raise ValueError(f"{what} must be at least {'two' if least == 2 else 'one'}, got {len(named)}; write {example}")
    for name in named:
        if not isinstance(name, str):
            raise TypeError(f"the names of {what} must be texts, got {brief(name)}")
        if not name.strip():
            raise ValueError(f"the names of {what} must not be empty")


def check_models(models: object) -> None:
    """Refuse what is no dict of at least two models with names."""
    check_names(models, "models", "hdm.compare_models({'before': model_a, 'after': model_b}, image, segment, ...)")
    for name, model in models.items():  # type: ignore[attr-defined]  # a mapping, as just checked
        if isinstance(model, HDMResult):
            raise TypeError(
                f"models[{name!r}] is an HDMResult; hdm.ModelComparison({{'before': result_a, 'after': result_b}}) "
                "compares results, and HDMComparison(comparison) shows them"
            )


def error_of_model(name: str, error: BaseException) -> str:
    """What an error says, with the name of its model."""
    said = str(error) or type(error).__name__
    if said.endswith("with target="):
        said += " for all models, or for this one alone: hw.Segmenter(model, target=...)"
    return f"{name}: {said}"


@contextmanager
def naming_model(name: str) -> Iterator[None]:
    """Errors about a model begin with its name."""
    try:
        yield
    except (TypeError, ValueError, ModelError) as error:
        error.args = (error_of_model(name, error), *error.args[1:])
        raise


def check_each_model(models: Mapping[str, Model], device: torch.device | str | None, options: ScanKeywords) -> None:
    """Refuse what is no model, or has settings of its own beside those in the options; the error names it."""
    own = {name: options.get(name) for name in ("target", "threshold", "batch_size")}
    if own["target"] == "all":
        own["target"] = None
    for name, model in models.items():
        with naming_model(name):
            Segmenter.wrap(model, device=device, **own)


@takes_options(ScanOptions)
def compare_models(
    models: Mapping[str, Model],
    image: Tensor | NDArray[Any],
    segment: Tensor | NDArray[Any] | None = None,
    circle_size: int | None = None,
    offset: int | None = None,
    device: torch.device | str | None = None,
    channel: int | Sequence[int] = -1,
    *,
    normalize: bool = False,
    progress: bool | Callable[[str, ScanUpdate], object] = True,
    **options: Unpack[ScanKeywords],
) -> ModelComparison:
    """Scan one image with several models, such as two checkpoints.

    Parameters
    ----------
    models : dict of str to torch.nn.Module, callable or Segmenter
        At least two, by their names. See `Segmenter` for what a model may take and return.
    image : torch.Tensor or numpy.ndarray, (C, H, W) or (H, W)
        As for `HausdorffDistanceMasks.explain`.
    segment : torch.Tensor or numpy.ndarray (H, W), optional
        The ground truth, nonzero = segment. Without it, each model is compared with its own mask for the image
        without a disc.
    circle_size, offset : int, optional
        As for `HausdorffDistanceMasks.generate_masks`; by default about a tenth and a thirtieth of the shorter side.
    device : torch.device or str, optional
        Where to run; each model's own device by default.
    channel : int or sequence of int
        Occlude this channel only, or these; -1 for all.
    normalize : bool
        As for `HausdorffDistanceMasks.generate_masks`.
    progress : bool or callable
        Show a tqdm bar for each model, or call this with the model's name and every `ScanUpdate`.
    **options
        See `ScanOptions`.

    Returns
    -------
    ModelComparison
        `results` are what two scans give, one after the other.

    Raises
    ------
    TypeError, ValueError
        For bad input, before any model is run.
    ModelError
        If a model fails; the message names the model and the cell.

    Examples
    --------
    >>> import torch
    >>> from hdm_widgets import hdm
    >>> image = torch.zeros(1, 8, 8)
    >>> image[:, 2:6, 2:6] = 1
    >>> models = {"before": lambda images: images[:, 0], "after": lambda images: 0 * images[:, 0] + image[0]}
    >>> comparison = hdm.compare_models(models, image, image[0], circle_size=2, offset=4, progress=False)
    >>> comparison.difference.round(2)
    array([[ 0.  , -1.  ],
           [-1.  , -1.41]])
    """
    check_models(models)
    check_each_model(models, device, options)
    scans: dict[str, PreparedScan] = {}
    for name, model in models.items():
        height, width = image_size(image, preprocess=isinstance(model, Segmenter) and model.preprocess is not None)
        explainer = HausdorffDistanceMasks(width, height)
        usual = usual_discs(height, width)
        explainer.generate_masks(
            usual[0] if circle_size is None else circle_size, usual[1] if offset is None else offset, normalize
        )
        scans[name] = explainer.prepare(model, image, segment, device, channel, **options)
    results = {}
    for name, scan in scans.items():
        scan.warn()
        with (
            naming_model(name),
            closing(scan.updates()) as updates,
            tqdm(disable=progress is not True, unit="disc", desc=name, delay=0.5) as bar,
        ):
            for update in updates:
                if not update.done:
                    bar.reset(update.total)
                bar.update(len(update.cells))
                if callable(progress):
                    progress(name, update)
                results[name] = update.result
    return ModelComparison(results)
