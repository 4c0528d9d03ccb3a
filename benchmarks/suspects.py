"""How early wrong truths come in `space.suspects()`, against cleanlab's score and the IoU.

    python benchmarks/suspects.py [--items 700] [--seeds 3] [--out benchmarks/out/roads]

A tenth of the truths is damaged: an object dropped, one added, the mask shifted by 8 px, another item's mask in its
place; each kind alone, and all four mixed. Sets: the aerial demo, and patches of 128 px of real road images that the
network was not trained on, if they lie beside the project (the network is that of benchmarks/roads.py, which is
trained first if it is not there). Prints the area under the precision-recall curve, with 95 % intervals by bootstrap
over the seeds of the damage.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from _roads_data import ROADS, VALIDATION, names, read
from cleanlab.segmentation.rank import get_label_quality_scores
from numpy.typing import NDArray
from scipy import ndimage
from sklearn.metrics import average_precision_score

import hdm_widgets as hw
from hdm_widgets._bitmasks import PackedMasks

KINDS = ("dropped", "added", "shifted by 8 px", "another's mask", "mixed")
SHIFT, FEWEST_PIXELS = 8, 12
METHODS = ("suspects", "cleanlab's softmin", "1 - IoU")

Masks = NDArray[np.bool_]


def one_object(mask: Masks, rng: np.random.Generator) -> Masks | None:
    labels, _ = ndimage.label(mask, np.ones((3, 3)))
    large = np.flatnonzero(np.bincount(labels.ravel())[1:] >= FEWEST_PIXELS) + 1
    return labels == rng.choice(large) if len(large) else None


def dropped(mask: Masks, _: Masks, rng: np.random.Generator) -> Masks | None:
    one = one_object(mask, rng)
    return None if one is None else mask & ~one


def added(mask: Masks, others: Masks, rng: np.random.Generator) -> Masks | None:
    for _ in range(50):
        one = one_object(others[rng.integers(len(others))], rng)
        if one is None or one.sum() > mask.size / 4:
            continue
        rows, cols = (
            place - place.min() + rng.integers(0, side - np.ptp(place))
            for place, side in zip(np.nonzero(one), mask.shape, strict=True)
        )
        if not mask[rows, cols].any():
            copy = mask.copy()
            copy[rows, cols] = True
            return copy
    return None


def moved(mask: Masks, _: Masks, rng: np.random.Generator) -> Masks | None:
    if mask.sum() < FEWEST_PIXELS:
        return None
    angle = rng.uniform(0, 2 * np.pi)
    return ndimage.shift(mask.astype(np.uint8), np.round(SHIFT * np.array([np.sin(angle), np.cos(angle)])), order=0) > 0


def anothers(mask: Masks, others: Masks, rng: np.random.Generator) -> Masks | None:
    for _ in range(50):
        other = others[rng.integers(len(others))]
        if (other != mask).sum() >= FEWEST_PIXELS:
            return other
    return None


DAMAGE = dict(zip(KINDS, (dropped, added, moved, anothers), strict=False))


def damaged(truths: Masks, kind: str, seed: int) -> tuple[Masks, Masks]:
    """The truths with a tenth of them damaged, and which."""
    rng = np.random.default_rng(seed)
    copies, wrong = truths.copy(), np.zeros(len(truths), bool)
    wanted = round(len(truths) / 10)
    for index in rng.permutation(len(truths)):
        if wrong.sum() == wanted:
            break
        damage = DAMAGE[kind] if kind in DAMAGE else list(DAMAGE.values())[wrong.sum() % len(DAMAGE)]
        copy = damage(truths[index], truths, rng)
        if copy is not None and (copy != truths[index]).any():
            copies[index], wrong[index] = copy, True
    return copies, wrong


def scores(space: hw.LatentSpace, probabilities: NDArray[np.float32], truths: Masks) -> dict[str, NDArray[np.float64]]:
    """Higher is more suspect, for the same items and model with other truths."""
    collection, drawn = space.collection_, np.stack([space.prediction(index) for index in range(len(space))])
    counts = [(drawn & truths).sum((1, 2)), (truths & ~drawn).sum((1, 2)), (drawn & ~truths).sum((1, 2))]
    packed = PackedMasks(PackedMasks.pack(truths), *truths.shape[1:])
    other = hw.LatentSpace(None, iou_empty=1.0).fit_collected(
        replace(collection, truths=packed, **dict(zip(("tp", "fn", "fp"), counts, strict=True)))
    )
    quality, _ = get_label_quality_scores(
        truths.astype(int), np.stack([1 - probabilities, probabilities], axis=1), verbose=False
    )
    own = other.suspects()["score"].sort_index().to_numpy()
    return dict(zip(METHODS, (own, -quality, 1 - other.iou_), strict=True))


def interval(values: list[float]) -> str:
    means = np.random.default_rng(0).choice(values, (2000, len(values))).mean(1)
    low, high = np.quantile(means, [0.025, 0.975])
    return f"{np.mean(values):.2f} ({low:.2f} to {high:.2f})"


def table(name: str, space: hw.LatentSpace, probabilities: NDArray[np.float32], seeds: int) -> None:
    truths = np.stack([space.truth(index) for index in range(len(space))])
    print(f"\n{name}: {len(space)} items, mean IoU {space.iou_.mean():.2f}\n")
    print(f"| damaged | {' | '.join(METHODS)} |\n|---|{'---|' * len(METHODS)}", flush=True)
    for kind in KINDS:
        found: dict[str, list[float]] = {method: [] for method in METHODS}
        for seed in range(seeds):
            copies, wrong = damaged(truths, kind, seed)
            for method, values in scores(space, probabilities, copies).items():
                found[method].append(float(average_precision_score(wrong, values)))
        print(f"| {kind} | {' | '.join(interval(values) for values in found.values())} |", flush=True)


def mapped(model: torch.nn.Module, items: list[tuple[torch.Tensor, torch.Tensor]]) -> tuple[hw.LatentSpace, object]:
    space = hw.LatentSpace(model, iou_empty=1.0).fit(items, progress=False)
    segmenter = hw.Segmenter(model)
    images = [image for image, _ in items]
    batches = [torch.stack(images[start : start + 32]) for start in range(0, len(images), 32)]
    return space, np.concatenate([segmenter.probabilities(batch) for batch in batches])


def road_patches(files: list[str], size: int = 128, stride: int = 68) -> list[tuple[torch.Tensor, torch.Tensor]]:
    corners = range(0, 400 - size + 1, stride)
    places = [(slice(row, row + size), slice(col, col + size)) for row in corners for col in corners]
    return [(image[:, *place], mask[place]) for image, mask in map(read, files) for place in places]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=700)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--weights", type=Path, help="of the roads network, if they are elsewhere")
    parser.add_argument("--held-out", type=int, default=VALIDATION, help="road images that it was not trained on")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "out" / "roads")
    options = parser.parse_args()
    torch.set_num_threads(1)
    model, scenes = hw.demo.aerial(options.items)
    table("aerial demo", *mapped(model, [scenes[index] for index in range(len(scenes))]), options.seeds)
    if not ROADS.exists():
        print("\nroads: the images are not there")
        return
    if options.weights is None:
        from roads import trained

        options.out.mkdir(parents=True, exist_ok=True)
        model, held_out = trained(options.out / "roads.pt", epochs=32), names()[1]
    else:
        model = hw.UNet(in_channels=3, classes=1, width=16, depth=4)
        model.load_state_dict(torch.load(options.weights, weights_only=True))
        found = sorted(path.name for path in (ROADS / "images").glob("*.png"))
        order = np.random.default_rng(0).permutation(len(found))
        held_out = sorted(found[index] for index in order[: options.held_out])
    table("roads", *mapped(model.eval(), road_patches(held_out)), options.seeds)


if __name__ == "__main__":
    main()
