"""Train the reference U-Net on real road pictures and explain three it has not seen.

    python benchmarks/roads.py [--epochs 32] [--out benchmarks/out/roads]

Writes the weights (unless they are there already), and for each explained picture its three circle maps, the
authors' figure and a panel with picture, truth and prediction. Everything lands in --out, which git ignores.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
from _roads_data import Pictures, names, read
from matplotlib.figure import Figure

from hdm_widgets import Segmenter, UNet, hdm
from hdm_widgets.metrics import iou
from hdm_widgets.models.training import evaluate, train

CIRCLE, OFFSET = 40, 20


def trained(weights: Path, epochs: int) -> UNet:
    torch.manual_seed(0)
    model = UNet(in_channels=3, classes=1, width=16, depth=4)
    training, validation = names()
    held_out = Pictures(validation)
    if weights.exists():
        model.load_state_dict(torch.load(weights, weights_only=True))
    else:
        started = time.perf_counter()
        history = train(
            model,
            Pictures(training, patch=192, per_picture=4),
            validation=held_out,
            epochs=epochs,
            batch_size=8,
            learning_rate=2e-3,
        )
        torch.save(model.state_dict(), weights)
        print(
            f"trained {epochs} epochs in {(time.perf_counter() - started) / 60:.1f} min, "
            f"best epoch {history.best_epoch}"
        )
    print(f"IoU over {len(held_out)} validation pictures: {evaluate(model, held_out, batch_size=1):.3f}")
    return model.eval()


def panel(result: hdm.HDMResult, path: Path) -> None:
    figure = Figure(figsize=(16, 8.4), layout="constrained")
    axes = figure.subplots(2, 3)
    picture = result.image.transpose(1, 2, 0)
    for ax, values, title in (
        (axes[0, 0], picture, "picture"),
        (axes[0, 1], result.segment, "truth"),
        (axes[0, 2], result.baseline_mask, f"prediction, IoU {iou(result.baseline_mask, result.segment):.2f}"),
    ):
        ax.imshow(values, cmap="gray", interpolation="nearest")
        ax.set_title(title)
    for ax, kind in zip(axes[1], hdm.ResultType, strict=True):
        result.plot(ax, result_type=kind)
    figure.savefig(path, dpi=80)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=32)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "out" / "roads")
    options = parser.parse_args()
    mpl.use("agg")
    options.out.mkdir(parents=True, exist_ok=True)

    model = trained(options.out / "roads.pt", options.epochs)
    explainer = hdm.HausdorffDistanceMasks(400, 400)
    explainer.generate_masks(circle_size=CIRCLE, offset=OFFSET)
    for name in names()[1][:3]:
        image, segment = read(name)
        started = time.perf_counter()
        # The decoder fits any size; padding to whole strides keeps the grid of the network where it was in training.
        result = explainer.explain(Segmenter(model, pad_to=16), image, segment)
        seconds = time.perf_counter() - started
        stem = options.out / Path(name).stem
        result.save(stem.with_suffix(".npz"))
        for kind, colors in ((hdm.RAW, "Blues"), (hdm.BETTER_ONLY, "Greens"), (hdm.WORSE_ONLY, "Reds")):
            result.circle_map(kind, colors).save(f"{stem}_{kind.value}.png")
        result.overlay(hdm.RAW).save(f"{stem}_edges.png")
        panel(result, Path(f"{stem}_panel.png"))
        low, high = np.nanmin(result.values), np.nanmax(result.values)
        print(
            f"{name}: {result.values.size} discs in {seconds:.0f} s, IoU {iou(result.baseline_mask, segment):.3f}, "
            f"baseline {result.baseline:.1f} px, {low:.1f} to {high:.1f} px"
        )


if __name__ == "__main__":
    main()
