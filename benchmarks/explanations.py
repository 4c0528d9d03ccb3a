"""Are the maps true? `python benchmarks/explanations.py [--quick] [--only KIND ...] [--again]`.

Networks whose right answer is known, and trained ones, are explained by Hausdorff Distance Masks with each measure and
fill, and by RISE, Captum, MONAI and Seg-Grad-CAM. For every map:

- what it lies on: relevance mass and rank accuracy, the pointing game, the cue in the top 5 %, leakage;
- what the model does without it: deletion and insertion;
- how steady it is: with a little noise on the image, and between networks that were trained with other seeds;
- CPU seconds in one thread, all methods in turn, so that what else runs hardly counts.

Prints a table, and writes it with a plot into benchmarks/out/explanations. Networks and scores are kept there by kind,
so that a run may be made in parts: `--only` says which kinds, `--again` makes their scores anew.
"""

from __future__ import annotations

import argparse
import copy
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import _explanation_methods as methods
import _explanation_networks as networks
import _explanation_scores as scores
import numpy as np
import pandas as pd
import torch
from _explanation_tables import plot, tables
from _timing import medians
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

KINDS = (*networks.CUE_KINDS, "receptive field", "aerial", "roads", "timing")
# Standard deviation of the noise that a map should not care about.
NOISE = 0.02
# Images of each network that are explained with noise too, and whose pixels are deleted and inserted.
NOISY = 2
DELETED = 4
# The kind whose first network is timed.
TIMED = "stripes"
ROUNDS = 3

Row = tuple[str, int, int, str, str, float]
COLUMNS = ["kind", "seed", "image", "method", "score", "value"]


def explained(network: networks.Explained, case: networks.Case, seed: int) -> dict[str, scores.Map]:
    """The maps of all methods."""
    return {name: made for method in methods.METHODS for name, made in method.maps(network, case, seed).items()}


def localization(relevance: scores.Map, case: networks.Case, circle_size: int) -> Iterator[tuple[str, float]]:
    """Scores of a map whose right answer is known, by name."""
    if case.cue is not None:
        yield "mass", scores.mass(relevance, case.cue)
        yield "rank", scores.rank_accuracy(relevance, case.cue)
        yield "pointing", scores.pointing(relevance, case.cue)
        yield "top", scores.top_overlap(relevance, case.cue)
    if case.may_matter is not None:
        # A disc that touches such a pixel is as wide as it is: only beyond it nothing can be covered by such a disc.
        side = 1 if case.cue is not None else 2 * circle_size + 1
        yield "leakage", scores.leakage(relevance, ndimage.binary_dilation(case.may_matter, np.ones((side, side))))


def predicted(network: networks.Explained) -> Callable[[Tensor], NDArray[np.bool_]]:
    def masks(images: Tensor) -> NDArray[np.bool_]:
        with torch.no_grad():
            return np.asarray(network.model(images)[:, 0].numpy() > 0)

    return masks


def scored(network: networks.Explained) -> tuple[list[Row], dict[int, dict[str, scores.Map]]]:
    """Scores of a network, and its maps by image."""
    rows: list[Row] = []
    maps = {}
    for case in network.cases:
        maps[case.index] = made = explained(network, case, seed=1000 * network.seed + case.index)
        ground = scores.blurred(case.image)
        noisy = {}
        if len(maps) <= NOISY:
            noise = torch.randn(case.image.shape, generator=torch.Generator().manual_seed(case.index))
            with_noise = replace(case, image=(case.image + NOISE * noise).clamp(0, 1))
            # Random methods draw the same again: only the image differs.
            noisy = explained(network, with_noise, seed=1000 * network.seed + case.index)
        for name, relevance in made.items():
            found = dict(localization(relevance, case, network.circle_size))
            if len(maps) <= DELETED:
                found["deletion"], found["insertion"] = scores.deletion_and_insertion(
                    relevance, case.image, predicted(network), ground
                )
            if noisy:
                found["stability"] = scores.rank_correlation(relevance, noisy[name])
            rows += [(network.kind, network.seed, case.index, name, score, value) for score, value in found.items()]
    return rows, maps


def agreement(kind: str, maps: dict[int, dict[int, dict[str, scores.Map]]]) -> list[Row]:
    """Rank correlation of the maps of one image for networks of two seeds."""
    rows: list[Row] = []
    seeds = sorted(maps)
    for position, first in enumerate(seeds):
        for second in seeds[position + 1 :]:
            for image in sorted(maps[first].keys() & maps[second].keys()):
                for name, relevance in maps[first][image].items():
                    value = scores.rank_correlation(relevance, maps[second][image][name])
                    rows.append((kind, first, image, name, "agreement", value))
    return rows


def seconds(network: networks.Explained) -> list[Row]:
    """CPU seconds of each method for an image, in turn and in one thread; a scan with all of its measures.

    "first" is of a network that was never scanned, which is traced then; "seconds" of any other image.
    """

    def one(method: methods.Method, *, first: bool) -> Callable[[], object]:
        def run() -> object:
            # Another explainer keeps nothing of earlier scans, and another network no trace of it.
            model = copy.deepcopy(network.model) if first else network.model
            other = replace(network, model=model, layer=dict(model.named_modules())[layer], scan_options={})
            return method.maps(other, network.cases[0], 0)

        return run

    (layer,) = (name for name, module in network.model.named_modules() if module is network.layer)
    rows: list[Row] = []
    for score, first in (("first", True), ("seconds", False)):
        chosen = [method for method in methods.METHODS if method.ours or not first]
        taken = medians(ROUNDS, *(one(method, first=first) for method in chosen), clock=time.process_time)
        for method, value in zip(chosen, taken, strict=True):
            names = method.maps(network, network.cases[0], 0)
            rows += [(network.kind, network.seed, 0, name, score, value) for name in names]
    return rows


def of_kind(kind: str, choice: networks.Choice) -> tuple[pd.DataFrame, list[str]]:
    """Scores of the networks of a kind, and what is to be said of them."""
    if kind == "timing":
        timed = networks.planted(TIMED, choice.seeds[0], 1)
        # As users have it.
        timed.model.to(memory_format=torch.contiguous_format)
        return pd.DataFrame(seconds(timed), columns=COLUMNS), []
    rows: list[Row] = []
    maps = {}
    chosen = networks.Choice((kind,), choice.seeds, choice.images)
    for network in networks.networks(chosen):
        print(f"{network.name}: {network.note}", flush=True)
        made, maps[network.seed] = scored(network)
        rows += made
    return pd.DataFrame(rows + agreement(kind, maps), columns=COLUMNS), chosen.notes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one network of each kind, on 10 images")
    parser.add_argument("--only", nargs="+", choices=KINDS, default=KINDS, metavar="KIND", help=", ".join(KINDS))
    parser.add_argument("--again", action="store_true", help="score again what was scored")
    options = parser.parse_args()
    torch.set_num_threads(1)
    # MONAI's own, of how it indexes tensors.
    warnings.filterwarnings("ignore", "Using a non-tuple sequence for multidimensional indexing")
    choice = networks.Choice(KINDS, (0,), 10) if options.quick else networks.Choice(KINDS)
    out = networks.OUT / "quick" if options.quick else networks.OUT
    out.mkdir(parents=True, exist_ok=True)
    for kind in options.only:
        path = out / f"{kind.replace(' ', '_')}.csv"
        if options.again or not path.exists():
            frame, notes = of_kind(kind, choice)
            frame.to_csv(path, index=False)
            path.with_suffix(".txt").write_text("\n".join(notes) + "\n", encoding="utf-8")
    report(out)


def report(out: Path) -> None:
    """Print and write what was scored of all kinds so far."""
    files = [path for kind in KINDS if (path := out / f"{kind.replace(' ', '_')}.csv").exists()]
    frame = pd.concat([pd.read_csv(path) for path in files])
    said = (path.with_suffix(".txt").read_text(encoding="utf-8") for path in files)
    notes = [line for text in said for line in text.splitlines() if line]
    text = tables(frame, notes)
    print(text)
    (out / "table.md").write_text(text, encoding="utf-8")
    plot(frame, out / "explanations.svg")


if __name__ == "__main__":
    main()
