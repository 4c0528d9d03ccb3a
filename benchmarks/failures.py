"""Whether planted failures are found: `python benchmarks/failures.py`.

The aerial demo's network on images of which four kinds are planted: buildings that it was never trained on, shadow,
another resolution, noise. `space.failures()` is not told which. A kind is found if most items of a group in the top
five are of it. One row for each data set and kind: the purest of the five groups, its rank, which fraction of it is of
the kind, and which fraction of the kind it holds.
"""

from __future__ import annotations

import argparse
from typing import get_args

import numpy as np

import hdm_widgets as hw
from hdm_widgets.data import PlantedFailures, PlantedName

TOP = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=1200)
    parser.add_argument("--seeds", type=int, nargs="+", default=[5, 6, 7])
    options = parser.parse_args()
    model = hw.demo.aerial(1).model
    found = 0
    for seed in options.seeds:
        scenes = PlantedFailures(options.images, seed=seed)
        space = hw.LatentSpace(model).fit(scenes, progress=False)
        failures = space.failures()
        print(f"\nseed {seed}\n{failures.text}")
        planted = np.array(scenes.planted)[space.items_]
        for kind in get_args(PlantedName):
            of_kind = planted == kind
            groups = [(float(of_kind[one.indices].mean()), place) for place, one in enumerate(failures[:TOP])]
            purity, place = max(groups, default=(0.0, 0))
            held = of_kind[failures[place].indices].sum() / of_kind.sum() if groups else 0.0
            found += purity > 0.5
            print(
                f"{kind:<12} {of_kind.sum():>4} items, IoU {space.iou_[of_kind].mean():.2f}: group {place + 1}, "
                f"{purity:.0%} of this kind, {held:.0%} of the kind"
            )
    print(f"\n{found} of {len(get_args(PlantedName)) * len(options.seeds)} kinds found in the top {TOP}")


if __name__ == "__main__":
    main()
