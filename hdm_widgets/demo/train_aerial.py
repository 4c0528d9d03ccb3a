"""Train the aerial demo's U-Net and write its weights: `python -m hdm_widgets.demo.train_aerial`.

The weights are stored as float16 (the file stays under 1 MB) and read back as float32; the IoU printed at the end is
that of the weights as stored, by land use, on scenes of another seed where all land uses are alike in number.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from hdm_widgets.data.aerial import LAND_USES, AerialScenes
from hdm_widgets.demo import _aerial
from hdm_widgets.demo._weights import store
from hdm_widgets.models.training import evaluate, train


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=7)
    parser.add_argument("--patches", type=int, default=1500)
    parser.add_argument("--out", type=Path, default=_aerial.WEIGHTS)
    options = parser.parse_args()

    torch.manual_seed(0)
    model = _aerial.network()
    history = train(
        model,
        AerialScenes(options.patches, seed=_aerial.TRAINING_SEED, shares=_aerial.TRAINING_SHARES),
        validation=AerialScenes(300, seed=_aerial.VALIDATION_SEED, shares=_aerial.TRAINING_SHARES),
        epochs=options.epochs,
        # A rate three times as high ends with a bottleneck that knows one thing, how much is built: nearly all of the
        # variance along one line, and nothing to see on a map.
        learning_rate=1.4e-3,
    )
    print("validation IoU by epoch:", " ".join(f"{score:.3f}" for score in history.iou))
    store(model, options.out)
    stored = _aerial.load(options.out)
    for land_use in LAND_USES:
        scenes = AerialScenes(100, seed=_aerial.VALIDATION_SEED, shares={land_use: 1})
        print(f"{land_use:<18} pooled IoU {evaluate(stored, scenes):.3f}")
    print(f"{options.out}: {options.out.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
