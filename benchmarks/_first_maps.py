"""How early and how close first maps are: scans of networks whose exact windows are the whole image, or nearly."""

from __future__ import annotations

import time
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from _first_map_networks import scene, trained
from numpy.typing import NDArray
from torch import Tensor, nn

from hdm_widgets import hdm
from hdm_widgets.hdm import backends
from hdm_widgets.hdm import plan as planning
from hdm_widgets.hdm.approximation import Approximation
from hdm_widgets.hdm.circle_map import filled
from hdm_widgets.hdm.scan import PreparedScan
from hdm_widgets.windowed import TracedModel

HEADER = (
    f"{'':<18} {'IoU':>4} {'whole':>7} {'exact':>7} {'first':>7} {'factor':>6} {'exact/':>6} {'rank':>6} {'mean':>6} "
    f"{'equal':>5} {'until':>6} {'finished':>8}\n"
    f"{'':<18} {'':>4} {'image':>7} {'disc':>7} {'map':>7} {'':>6} {'first':>6} {'corr.':>6} {'px':>6} "
    f"{'':>5} {'> .95':>6} {'exactly':>8}"
)
# How many discs a scan has whose times are told beside those that were measured: 512 px, offset 8.
_MANY = 4096


@dataclass(frozen=True, eq=False)
class Seen:
    """What an update of a scan shows, and when: CPU seconds since the scan began."""

    seconds: float
    values: NDArray[np.float64]
    estimated: int
    exact: int


def updates(scan: PreparedScan) -> Iterator[Seen]:
    started = time.process_time()
    for update in scan.updates():
        result = update.result
        shown = filled(result.values, result.measured)
        exact = int((result.measured & ~result.estimated).sum())
        yield Seen(time.process_time() - started, shown, int(result.estimated.sum()), exact)


def first_map(name: str, size: int, offset: int, circle: int, folder: Path, *, quick: bool) -> None:
    """A row of the table."""
    torch.set_num_threads(1)
    model = trained(name, folder, *(1, 16) if quick else ())
    image, quality = scene(model, size)

    def prepared(**changes: bool) -> PreparedScan:
        explainer = hdm.HausdorffDistanceMasks(size, size)
        explainer.generate_masks(circle, offset)
        # Another model: nothing is known from the scan before.
        return replace(explainer.prepare(deepcopy(model), image), **changes)

    if quick:
        planning._WORTH_ESTIMATING_SECONDS = planning._WORTH_TRACING_SECONDS = 0.0
        planning.WORTH_ESTIMATING_FACTOR = backends.WORTH_ESTIMATING_FACTOR = 0.0
    # As a scan is prepared that nobody looks at: without a first map.
    without = next(updates(prepared(quiet=True)))
    with_map = list(updates(prepared()))
    whole = whole_image(model, image)
    begun = next((seen for seen in with_map if seen.estimated), None)
    if begun is None:
        print(f"{name:<18} no first map: {prepared().plan()}")
        return
    first = max(with_map, key=lambda seen: seen.estimated)
    final = with_map[-1]
    # Before the other cells are estimated, some of the coarse grid are computed in full.
    coarse = len(prepared().occluder.grid.stages()[0][1])
    begun = [seen for seen in with_map[: with_map.index(first)] if 0 < seen.estimated <= coarse][-1]
    estimate = (first.seconds - begun.seconds) / max(1, first.estimated - begun.estimated)
    exact = (final.seconds - first.seconds) / (final.exact - first.exact)
    error = compared(first, final)
    close = ranked(with_map, final)
    # All its discs would take as long as they do here.
    total = without.seconds + final.exact * exact
    many = without.seconds + _MANY * exact
    first_of_many = begun.seconds + _MANY * estimate
    print(
        f"{name:<18} {quality:4.2f} {1e3 * whole:7.1f} {1e3 * exact:7.1f} {1e3 * estimate:7.1f} "
        f"{whole / estimate:6.1f} {exact / estimate:6.1f} {error.rank_correlation:6.4f} "
        f"{error.mean_difference:6.3f} {error.equal:5.2f} {100 * close / total:5.1f}% "
        f"{final.seconds / total:8.3f}   first map whole after {100 * first.seconds / total:.1f} % of {total:.0f} s; "
        f"{final.exact} discs; with {_MANY} whole after {100 * first_of_many / many:.1f} %, finished after "
        f"{(first_of_many + _MANY * exact) / many:.3f}; distances vary by {final.values.std():.1f} px",
        flush=True,
    )


def certain_estimates(name: str, size: int, offset: int, circle: int, folder: Path, *, quick: bool) -> None:
    """How many estimates are certain, of those that are not measured whatever they are; audits count among them."""
    torch.set_num_threads(1)
    model = trained(name, folder, *(1, 16) if quick else ())
    image, _ = scene(model, size)
    for tolerance in (0.01, 0.001):
        explainer = hdm.HausdorffDistanceMasks(size, size)
        explainer.generate_masks(circle, offset)
        started = time.process_time()
        result = explainer.explain(
            deepcopy(model), image, inference="estimate", tolerance=tolerance, keep_outputs=False, progress=False
        )
        seconds, said = time.process_time() - started, result.approximation
        if said is None or result.estimated is None:
            print(f"{name:<18} {tolerance:<6} no estimates: {result.plan}", flush=True)
            continue
        # Where too many audits differ, none is.
        certain = said.certain + said.audits if said.certain else 0
        print(
            f"{name:<18} {tolerance:<6} {certain:>4} of {int(result.estimated.sum()) + said.audits} certain; "
            f"{said.audits_failed} of {said.audits} audits differed; of all that were compared {said.equal:.0%} equal; "
            f"{seconds:.0f} s",
            flush=True,
        )


def ranked(shown: list[Seen], final: Seen) -> float:
    """Seconds after which the map's rank correlation with the finished one stays above 0.95."""
    since = final.seconds
    for seen in reversed(shown[1:]):
        if compared(seen, final).rank_correlation <= 0.95:
            break
        since = seen.seconds
    return since


def compared(seen: Seen, final: Seen) -> Approximation:
    """How far a map is from the finished one."""
    return Approximation.between(0.0, seen.values, final.values, np.ones(final.values.shape, bool))


def whole_image(model: nn.Module, image: Tensor) -> float:
    """CPU seconds of a whole image in the folded network."""
    network = TracedModel(model, image).network
    times = []
    for _ in range(3):
        started = time.process_time()
        network.full(image[None])
        times.append(time.process_time() - started)
    return float(np.median(times))
