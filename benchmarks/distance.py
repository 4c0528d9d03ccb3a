"""One Hausdorff distance per mask, side by side with other libraries: `python benchmarks/distance.py`.

Masks are what a scan of a planted-cue picture meets: the truth is a cross; the model draws it with an arm cut off, with
the triangle beside it, a little displaced, or draws the triangle alone. On these all definitions agree (MONAI
measures between outlines), and the script stops if they don't. The truth's transform is computed once,
as in a scan; the others have no such call.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from _timing import medians
from monai.metrics import compute_hausdorff_distance
from numpy.typing import NDArray
from scipy.spatial.distance import directed_hausdorff
from skimage.metrics import hausdorff_distance as skimage_hausdorff

from hdm_widgets.data import PlantedCue
from hdm_widgets.metrics import ReferenceMask

Mask = NDArray[np.bool_]
REPEATS = 7


def cases(size: int) -> tuple[Mask, list[Mask]]:
    pictures = PlantedCue(50, size=size, seed=3)
    sample = next(item for item in map(pictures.sample, range(50)) if is_square(item.cue))
    truth = sample.segment.numpy() != 0
    left = (sample.image[0].numpy() > 0) & ~sample.cue
    other = left & ~truth
    rows = truth.nonzero()[0]
    cut = truth.copy()
    cut[: int(np.quantile(rows, 0.2))] = False
    return truth, [cut, left, np.roll(truth, size // 40, axis=1), other]


def is_square(cue: Mask) -> bool:
    rows, cols = cue.nonzero()
    return bool(cue[rows.min() : rows.max() + 1, cols.min() : cols.max() + 1].all())


def ours(truth: Mask) -> Callable[[Mask], float]:
    return ReferenceMask(truth).distance


def scipy_sets(truth: Mask) -> Callable[[Mask], float]:
    points = np.argwhere(truth)

    def distance(mask: Mask) -> float:
        other = np.argwhere(mask)
        return max(directed_hausdorff(other, points)[0], directed_hausdorff(points, other)[0])

    return distance


def skimage(truth: Mask) -> Callable[[Mask], float]:
    return lambda mask: skimage_hausdorff(mask, truth)


def monai(truth: Mask) -> Callable[[Mask], float]:
    reference = torch.from_numpy(truth)[None, None]
    return lambda mask: float(
        compute_hausdorff_distance(torch.from_numpy(mask)[None, None], reference, include_background=True)
    )


def over(masks: list[Mask], function: Callable[[Mask], float]) -> None:
    for mask in masks:
        function(mask)


def main() -> None:
    names = ("hdm_widgets", "SciPy", "scikit-image", "MONAI")
    print(f"{'':>8}" + "".join(f"{name:>16}" for name in names) + f"{'fastest other / ours':>24}")
    for size in (240, 512, 1024):
        truth, masks = cases(size)
        functions = [make(truth) for make in (ours, scipy_sets, skimage, monai)]
        values = np.array([[function(mask) for mask in masks] for function in functions])
        if not np.allclose(values, values[0], rtol=0, atol=1e-4):
            raise SystemExit(f"the libraries differ at {size} px:\n{values}")
        seconds = medians(REPEATS, *(partial(over, masks, function) for function in functions))
        ms = [1e3 * each / len(masks) for each in seconds]
        print(f"{size:>5} px" + "".join(f"{value:>13.2f} ms" for value in ms) + f"{min(ms[1:]) / ms[0]:>22.1f} x")
    print(f"equal values; medians of {REPEATS} rounds over {len(masks)} masks each")


if __name__ == "__main__":
    main()
