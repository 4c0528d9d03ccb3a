"""Train the aerial demo's U-Net and write its weights: `python -m hdm_widgets.demo.train_aerial`.

The weights are stored as float16, so that the file stays under 1 MB, and restored as float32. The IoU printed at the
end is that of the stored weights, by land use, on images of another seed.
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
    parser.add_argument("--images", type=int, default=1500)
    parser.add_argument("--out", type=Path, default=_aerial.WEIGHTS)
    options = parser.parse_args()

    torch.manual_seed(0)
    model = _aerial.network()
    history = train(
        model,
        AerialScenes(options.images, seed=_aerial.TRAINING_SEED, weights=_aerial.TRAINING_WEIGHTS),
        validation=AerialScenes(300, seed=_aerial.VALIDATION_SEED, weights=_aerial.TRAINING_WEIGHTS),
        epochs=options.epochs,
        # With a rate three times as high, the bottleneck encodes little but the built-up area: nearly all variance lies
        # along one line, and a map of it shows nothing.
        learning_rate=1.4e-3,
    )
    print("validation IoU by epoch:", " ".join(f"{score:.3f}" for score in history.iou))
    store(model, options.out)
    stored = _aerial.load(options.out)
    for land_use in LAND_USES:
        scenes = AerialScenes(100, seed=_aerial.VALIDATION_SEED, weights={land_use: 1})
        print(f"{land_use:<18} pooled IoU {evaluate(stored, scenes):.3f}")
    print(f"{options.out}: {options.out.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
