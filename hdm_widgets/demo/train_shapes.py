"""Train the planted-cue demo's U-Net and write its weights: `python -m hdm_widgets.demo.train_shapes`.

The weights are stored as float16, so that the file stays under 1 MB, and restored as float32. The validation IoU
printed at the end is that of the stored weights.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from hdm_widgets.data.shapes import PlantedCue
from hdm_widgets.demo import _shapes
from hdm_widgets.demo._weights import store
from hdm_widgets.models.training import evaluate, train


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, nargs=2, default=(10, 6), help="of the two rounds")
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--out", type=Path, default=_shapes.WEIGHTS)
    options = parser.parse_args()

    torch.manual_seed(0)
    model = _shapes.network()
    validation = PlantedCue(400, seed=_shapes.VALIDATION_SEED)
    # In the first round the network learns that the right side decides, but looks for a square only. In the second
    # round some cues are missing or damaged, so that it must look for the circle too. The second round alone does not
    # work: the network begins by predicting both shapes everywhere, and stays there.
    rounds = zip(options.epochs, (4e-3, 2e-3), (0.0, 0.3), strict=True)
    for seed, (epochs, learning_rate, without_cue) in enumerate(rounds):
        history = train(
            model,
            PlantedCue(options.images, seed=_shapes.TRAINING_SEED, without_cue=without_cue),
            validation=validation,
            epochs=epochs,
            learning_rate=learning_rate,
            augment=False,  # left and right, up and down mean different things here
            seed=seed,
        )
        print("validation IoU by epoch:", " ".join(f"{score:.3f}" for score in history.iou))
    store(model, options.out)
    stored = _shapes.load(options.out)
    print(f"validation IoU of the stored weights: {evaluate(stored, validation):.4f}")
    print(f"{options.out}: {options.out.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
