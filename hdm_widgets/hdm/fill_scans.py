"""How much of a map is the fill's own doing? Scans with several fills, and what of them could be chance."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, replace
from typing import Any, Unpack

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm.auto import tqdm

from hdm_widgets._validation import image_size, is_whole
from hdm_widgets.hdm.explainer import HausdorffDistanceMasks
from hdm_widgets.hdm.fill_comparison import FillComparison
from hdm_widgets.hdm.grid import Grid, ShiftedGrid
from hdm_widgets.hdm.occlusion import Fill, Occlusion, check_fill
from hdm_widgets.hdm.options import ScanKeywords, ScanOptions
from hdm_widgets.hdm.result import HDMResult
from hdm_widgets.hdm.scan import PreparedScan
from hdm_widgets.hdm.update import ScanUpdate
from hdm_widgets.models.segmenter import Model, Segmenter

__all__ = ["compare_fills"]

_FILLS: tuple[Fill, ...] = ("minimum", "mean", "blur", "noise", "inpainted")


def compare_fills(
    model: Model,
    image: Tensor | NDArray[Any],
    segment: Tensor | NDArray[Any] | None,
    circle_size: int,
    offset: int,
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
    segment : torch.Tensor or numpy.ndarray (H, W), or None
        The ground truth; None: the model's own mask for the image without a disc.
    circle_size, offset : int
        As for `HausdorffDistanceMasks.generate_masks`.
    device : torch.device or str, optional
        Where to run; the model's own device by default.
    fills : sequence
        What discs show, each as `fill` of `ScanOptions`; at least two.
    repeats : int
        Scans more, for the noise floor: each with noise of its own as fill, on a grid that is moved by up to half an
        offset. At least 2.
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

    **What counts as chance.** In the repeats nothing is the same but the discs' places, up to half an offset, and a
    model to which no place means anything changes its mask in each of them independently. The noise floor is the
    largest change to one side, common to all scans, that such a model would show; see `FillComparison.noise_floor`. A
    disc is significant if every repeat, and every fill but those whose discs are drawn as segment themselves, changes
    the distance to the same side by more. Of the significant discs, 5 % are expected to be chance; on a model that
    ignores its input, or whose answer has nothing to do with the place of a disc, there is mostly none at all.

    **Limits.** A change that most discs make equally is no evidence for any place, and counts as chance. So does an
    effect that a fill does not show: a network that sees only black, and not noise, has no significant disc; nor has a
    place where a fill shows what was there anyway, as inpainting does inside an even area. Choose `fills` accordingly.
    What is significant is that the place matters under all these fills: they may still have in common that each hides
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
    named = _named(fills)
    if not is_whole(repeats) or repeats < 2:
        raise ValueError(f"repeats must be a whole number of at least 2, got {repeats!r}")
    if "fill" in options:
        raise TypeError("compare_fills() has no keyword 'fill'; fills= has all of them")
    kept: dict[str, Any] = {**options}
    seed = ScanOptions(**kept).seed
    own = {name: kept.pop(name) for name in ("threshold", "batch_size", "target") if kept.get(name, "all") != "all"}
    segmenter = Segmenter.wrap(model, device=device, **own)
    height, width = image_size(image, preprocess=segmenter.preprocess is not None, mask=segment)
    explainer = HausdorffDistanceMasks(width, height)
    explainer.generate_masks(circle_size, offset, normalize)

    def prepare(fill: Fill, noise: int, **more: Any) -> PreparedScan:
        every = {**kept, "fill": fill, "seed": noise, **more}
        return explainer.prepare(segmenter, image, segment, None, channel, **every)

    scans = {name: prepare(fill, seed) for name, fill in named.items()}
    # No mask of a repeat is shown, but several classes are measured on masks.
    masks = {} if kept.get("target") == "all" else {"keep_outputs": False}
    repeated = [
        _shifted(prepare("noise", seed + 1 + at, **masks), shift)
        for at, shift in enumerate(_shifts(explainer.grid, repeats, seed))
    ]
    # Every scan would say the same, but for what black clips.
    scans.get("minimum", next(iter(scans.values()))).warn()
    found = _run([*scans.values(), *repeated], progress)
    return FillComparison.between(dict(zip(scans, found, strict=False)), found[len(scans) :], seed)


def _named(fills: Sequence[Fill]) -> dict[str, Fill]:
    """Fills by what they are called."""
    if isinstance(fills, str) or not isinstance(fills, Sequence):
        raise TypeError(f"fills must be a sequence of fills, got {fills!r}")
    checked = [check_fill(fill) for fill in fills]
    named = {_name(fill): fill for fill in checked}
    if len(named) < len(checked) or len(named) < 2:
        raise ValueError(f"fills must be at least two, and none twice, got {fills!r}")
    return named


def _name(fill: Fill) -> str:
    if isinstance(fill, str):
        return fill
    return f"{fill:g}" if isinstance(fill, float) else "(" + ", ".join(f"{value:g}" for value in fill) + ")"


def _shifts(grid: Grid, repeats: int, seed: int) -> list[tuple[int, int]]:
    """How far the grid of each repeat is moved."""
    most = min(grid.offset // 2, grid.circle_size)
    drawn = np.random.default_rng(seed).integers(-most, most + 1, (repeats, 2))
    return [(row, col) for row, col in drawn.tolist()]


def _shifted(scan: PreparedScan, shift: tuple[int, int]) -> PreparedScan:
    occlusion = scan.occluder
    assert isinstance(occlusion, Occlusion)  # noise is one  # noqa: S101
    return replace(scan, occluder=replace(occlusion, grid=ShiftedGrid(**asdict(occlusion.grid), shift=shift)))


def _run(scans: Sequence[PreparedScan], progress: bool | Callable[[ScanUpdate], object]) -> list[HDMResult]:
    """Run scans one after the other; their results."""
    each = scans[0]
    count = int(np.count_nonzero(each.settings.asked(each.occluder.grid)))
    started, results = time.perf_counter(), []
    with tqdm(
        disable=progress is not True, total=count * len(scans), unit="disc", desc="comparing fills", delay=0.5
    ) as bar:
        for at, scan in enumerate(scans):
            result = None
            with closing(scan.updates()) as updates:
                for update in updates:
                    result = update.result
                    bar.update(at * count + update.done - bar.n)
                    if callable(progress):
                        seconds = time.perf_counter() - started
                        progress(
                            replace(update, done=at * count + update.done, total=count * len(scans), seconds=seconds)
                        )
            assert result is not None  # the first update comes before any cell  # noqa: S101
            results.append(result)
    return results
