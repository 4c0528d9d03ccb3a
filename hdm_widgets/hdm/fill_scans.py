"""How much of a map is the fill's own doing? Scans with several fills, and what of them could be chance."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from typing import Any, Unpack

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm.auto import tqdm

from hdm_widgets._validation import brief, check_whole, image_size
from hdm_widgets.hdm.cache import ScanCache
from hdm_widgets.hdm.explainer import HausdorffDistanceMasks
from hdm_widgets.hdm.fill_comparison import FillComparison, choose_repeated_fill
from hdm_widgets.hdm.grid import Grid, ShiftedGrid, usual_discs
from hdm_widgets.hdm.inpainting import InpaintedOcclusion
from hdm_widgets.hdm.occlusion import Fill, Occlusion, check_fill
from hdm_widgets.hdm.options import ScanKeywords, ScanOptions
from hdm_widgets.hdm.result import HDMResult
from hdm_widgets.hdm.scan import PreparedScan
from hdm_widgets.hdm.update import ScanUpdate
from hdm_widgets.models.segmenter import Model, Segmenter

__all__ = ["PreparedFills", "compare_fills", "prepare_fills"]

_FILLS: tuple[Fill, ...] = ("minimum", "mean", "blur", "noise", "inpainted")


def compare_fills(
    model: Model,
    image: Tensor | NDArray[Any],
    segment: Tensor | NDArray[Any] | None = None,
    circle_size: int | None = None,
    offset: int | None = None,
    device: torch.device | str | None = None,
    *,
    fills: Sequence[Fill] = _FILLS,
    repeats: int = 4,
    channel: int | Sequence[int] = -1,
    normalize: bool = False,
    progress: bool | Callable[[ScanUpdate], object] = True,
    **options: Unpack[ScanKeywords],
) -> FillComparison:
    """Explain an image with several fills, and say which discs matter beyond chance.

    A map shows what covering a place does, and what the cover itself does: a black disc may look like an object. What
    depends on the place alone comes out the same with every fill.

    Parameters
    ----------
    model : torch.nn.Module, callable or Segmenter
        See `Segmenter` for what a model may take and return.
    image : torch.Tensor or numpy.ndarray, (C, H, W) or (H, W)
        As for `HausdorffDistanceMasks.explain`.
    segment : torch.Tensor or numpy.ndarray (H, W), optional
        The ground truth; without it, the model's own mask for the image without a disc.
    circle_size, offset : int, optional
        As for `HausdorffDistanceMasks.generate_masks`; by default, as in `HDMExplorer`, about a tenth and a thirtieth
        of the shorter side.
    device : torch.device or str, optional
        Where to run; the model's own device by default.
    fills : sequence
        What discs show, each as `fill` of `ScanOptions`; at least two.
    repeats : int
        Scans more, for the noise floor: all with one of the fills, each on a grid that is moved to another place, by up
        to half an offset. At least 2.
    channel : int or sequence of int
        Occlude this channel only, or these; -1 for all.
    normalize : bool
        As for `HausdorffDistanceMasks.generate_masks`.
    progress : bool or callable
        Show a tqdm bar, or call this with every `ScanUpdate`; its counts are of all scans together, and its result's
        `settings.fill` says which scan is running. An exception that it raises ends the comparison.
    **options
        See `ScanOptions`, but for `fill`. Of `seed` follow all noise, the grids' positions and the intervals: equal
        seeds give equal comparisons.

    Returns
    -------
    FillComparison

    Raises
    ------
    TypeError, ValueError
        For bad input, before the model is run.
    ModelError
        As for `HausdorffDistanceMasks.explain`.

    Notes
    -----
    The cost is that of `len(fills) + repeats` scans, nine by default.

    **What is repeated.** A fill may act like an object wherever it is, without being drawn itself. So the repeats have
    the fill that changes least by itself: of those whose discs are not mostly drawn as segment, the one whose own map
    would have the lowest noise floor if it were all chance; of equals, noise, new for each repeat.

    **What counts as chance.** In the repeats nothing is the same but the discs' places, up to half an offset, and a
    model to which no place means anything changes its mask in each of them independently. The noise floor is the
    largest change to one side, common to all scans, that such a model would show; see `FillComparison.noise_floor`. A
    disc is significant if every repeat, and every fill whose disc is not drawn as segment itself there, changes the
    distance to the same side by more. At least two fills have to; one whose discs are drawn in more than half of the
    cells is left out of all. Of the significant discs, 5 % are expected to be chance; on a model that ignores its
    input, or whose answer has nothing to do with the place of a disc, there is mostly none at all.

    **Limits.** Discs of a moved grid cover mostly the same pixels, and with a fill other than noise they show mostly
    the same there: such a repeat says that a change does not hang on a few pixels, and no more.

    A change that most discs make equally is no evidence for any place, and counts as chance. So does an effect that a
    fill does not show: a network that sees only black, and not noise, has no significant disc; nor has a place where a
    fill shows what was there anyway, as inpainting does inside an even area. Choose `fills` accordingly. What is
    significant is that the place matters under all these fills: they may still have in common that each hides
    something and puts something unusual in its place.

    Examples
    --------
    >>> import torch
    >>> from hdm_widgets import hdm
    >>> image = 0.2 * torch.rand(1, 24, 24, generator=torch.Generator().manual_seed(0))
    >>> image[:, 10:12, 10:12] = 1
    >>> def sees_a_cue(images):
    ...     return images[:, 0, 10:12, 10:12].mean((1, 2), keepdim=True).expand(-1, 24, 24)
    >>> comparison = hdm.compare_fills(sees_a_cue, image, torch.ones(24, 24), 8, 3, progress=False)
    >>> int(comparison.significant.sum()), comparison.noise_floor
    (3, 0.0)
    """
    kept: dict[str, Any] = {**options}
    own = {name: kept.pop(name) for name in ("threshold", "batch_size", "target") if kept.get(name, "all") != "all"}
    segmenter = Segmenter.wrap(model, device=device, **own)
    height, width = image_size(image, preprocess=segmenter.preprocess is not None, mask=segment)
    explainer = HausdorffDistanceMasks(width, height)
    size, step = usual_discs(height, width)
    explainer.generate_masks(
        size if circle_size is None else circle_size, step if offset is None else offset, normalize
    )
    prepared = prepare_fills(explainer, segmenter, image, segment, channel, fills=fills, repeats=repeats, **kept)
    prepared.warn()
    return prepared.run(progress)


def prepare_fills(
    explainer: HausdorffDistanceMasks,
    segmenter: Segmenter,
    image: Tensor | NDArray[Any],
    segment: Tensor | NDArray[Any] | None,
    channel: int | Sequence[int] = -1,
    *,
    fills: Sequence[Fill] = _FILLS,
    repeats: int = 4,
    cache: ScanCache | None = None,
    **options: Unpack[ScanKeywords],
) -> PreparedFills:
    """Check a comparison on the discs of an explainer, otherwise as `compare_fills`; nothing is run.

    Scans with the same model and image share what they measure by a common `cache`.
    """
    named = _named(fills)
    check_whole("repeats", repeats, 2)
    if "fill" in options:
        raise TypeError("compare_fills() has no keyword 'fill'; fills= has all of them")
    seed = ScanOptions(**options).seed

    def prepare(fill: Fill, seed: int) -> PreparedScan:
        every: dict[str, Any] = {**options, "fill": fill, "seed": seed}
        scan = explainer.prepare(segmenter, image, segment, None, channel, **every)
        return scan if cache is None else replace(scan, cache=cache)

    scans = {name: prepare(fill, seed) for name, fill in named.items()}
    return PreparedFills(named, scans, _shifts(explainer.grid, repeats, seed), prepare, seed)


@dataclass(frozen=True, eq=False)
class PreparedFills:
    """Everything that a comparison of fills needs, checked; nothing has been run.

    Attributes
    ----------
    fills : dict of str to Fill
        By what they are called.
    scans : dict of str to PreparedScan
        One for each fill.
    shifts : list of tuple of int
        How far the grid of each repeat is moved: rows, columns.
    prepare : callable
        Takes a fill and a seed, returns a scan.
    seed : int
    """

    fills: dict[str, Fill]
    scans: dict[str, PreparedScan]
    shifts: list[tuple[int, int]]
    prepare: Callable[[Fill, int], PreparedScan]
    seed: int

    def warn(self) -> None:
        """Warn about inputs that are valid but probably unintended."""
        # Every scan would say the same, but for what black clips.
        self.scans.get("minimum", next(iter(self.scans.values()))).warn()

    def run(
        self,
        progress: bool | Callable[[ScanUpdate], object],
        ask: Callable[[HDMResult], HDMResult] | None = None,
        *,
        quiet: bool = False,
        measured: Callable[[HDMResult], object] | None = None,
    ) -> FillComparison:
        """Run all scans, and compare them.

        Parameters
        ----------
        progress : bool or callable
            As for `compare_fills`.
        ask : callable, optional
            Takes the result of a scan, returns what is compared, such as its masks in another measure.
        quiet : bool
            Warn of nothing.
        measured : callable, optional
            Called with what is compared of each fill, as soon as its scan has ended.
        """
        count = len(self.scans) + len(self.shifts)
        with _Progress(next(iter(self.scans.values())), count, progress) as shown:

            def run(scan: PreparedScan) -> HDMResult:
                # What the first scan warns of is true of all.
                result = shown.run(replace(scan, quiet=quiet or shown.scans > 0))
                return result if ask is None else ask(result)

            results = {}
            for fill, scan in self.scans.items():
                results[fill] = run(scan)
                if measured is not None:
                    measured(results[fill])
            fill = choose_repeated_fill(results, len(self.shifts))
            repeated = []
            for at, shift in enumerate(self.shifts):
                scan = _shifted(self.prepare(self.fills[fill], self.seed + 1 + at), shift)
                # No mask of a repeat is shown.
                repeated.append(run(scan if ask is not None or scan.all_classes else replace(scan, keep_outputs=False)))
        return FillComparison.between(results, fill, repeated, self.seed)


def _named(fills: Sequence[Fill]) -> dict[str, Fill]:
    """Fills by what they are called."""
    if isinstance(fills, str) or not isinstance(fills, Sequence):
        raise TypeError(f"fills must be a sequence of fills, got {brief(fills)}")
    checked = [check_fill(fill) for fill in fills]
    named = {_name(fill): fill for fill in checked}
    if len(named) < len(checked) or len(named) < 2:
        raise ValueError(f"fills must be at least two, and none twice, got {brief(fills)}")
    return named


def _name(fill: Fill) -> str:
    if isinstance(fill, str):
        return fill
    return f"{fill:g}" if isinstance(fill, float) else "(" + ", ".join(f"{value:g}" for value in fill) + ")"


def _shifts(grid: Grid, repeats: int, seed: int) -> list[tuple[int, int]]:
    """How far the grid of each repeat is moved: to different places, within half an offset if that has enough."""
    # Farther up and left, no pixel of the first disc is left in the image; farther down and right, none of the last.
    farthest = grid.circle_size, grid.offset - 1
    most = max(1, grid.offset // 2)
    while True:
        low, high = -min(most, farthest[0]), min(most, farthest[1])
        places = [(row, col) for row in range(low, high + 1) for col in range(low, high + 1) if (row, col) != (0, 0)]
        if len(places) >= repeats:
            return [places[at] for at in np.random.default_rng(seed).permutation(len(places))[:repeats]]
        if most > max(farthest):
            raise ValueError(
                f"repeats must be at most {len(places)} with circle_size={grid.circle_size} and offset={grid.offset}, "
                f"each on a grid that is moved to another place, got {repeats}"
            )
        most += 1


def _shifted(scan: PreparedScan, shift: tuple[int, int]) -> PreparedScan:
    occlusion = scan.occluder
    assert isinstance(occlusion, Occlusion | InpaintedOcclusion)  # every fill is one  # noqa: S101
    return replace(scan, occluder=replace(occlusion, grid=ShiftedGrid(**asdict(occlusion.grid), shift=shift)))


class _Progress:
    """Runs scans one after the other, and tells how far all of them are.

    Parameters
    ----------
    scan : PreparedScan
        Any of them: all have as many cells.
    scans : int
        How many there are.
    progress : bool or callable
        As for `compare_fills`.

    Attributes
    ----------
    scans : int
        How many have ended.
    """

    def __init__(self, scan: PreparedScan, scans: int, progress: bool | Callable[[ScanUpdate], object]) -> None:
        self._count = int(np.count_nonzero(scan.settings.asked(scan.occluder.grid)))
        self._total = self._count * scans
        self._progress = progress
        self._started = time.perf_counter()
        self._bar = tqdm(
            disable=progress is not True, total=self._total, unit="disc", desc="comparing fills", delay=0.5
        )
        self.scans = 0

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()

    def run(self, scan: PreparedScan) -> HDMResult:
        """Run a scan; its result."""
        result = None
        with closing(scan.updates()) as updates:
            for update in updates:
                result = update.result
                done = self.scans * self._count + update.done
                self._bar.update(done - self._bar.n)
                if callable(self._progress):
                    seconds = time.perf_counter() - self._started
                    self._progress(replace(update, done=done, total=self._total, seconds=seconds))
        assert result is not None  # the first update comes before any cell  # noqa: S101
        self.scans += 1
        return result
