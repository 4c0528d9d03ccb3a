"""One Hausdorff distance per mask, side by side with other libraries: `python benchmarks/distance.py`.

Masks are what a scan of a planted-cue picture meets: the truth is a cross; the model draws it with an arm cut off, with
the triangle beside it, a little displaced, or draws the triangle alone. On these all definitions agree (MONAI
measures between outlines), and the script stops if they don't. The truth's transform is computed once,
as in a scan; the others have no such call.

Then the distances of masks that differ from one mask in a window only, side by side with those of the whole masks. The
masks are smooth blobs; a window lies on an outline, and the field that was cut at a level there is bent until as many
pixels change as the table says. The script stops if a single value differs.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from _timing import medians
from monai.metrics import compute_hausdorff_distance
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.distance import directed_hausdorff
from skimage.metrics import hausdorff_distance as skimage_hausdorff

from hdm_widgets.data import PlantedCue
from hdm_widgets.metrics import ReferenceMask
from hdm_widgets.metrics.windowed_distance import WindowedDistance

Mask = NDArray[np.bool_]
REPEATS = 7
SIZES = (240, 512, 1024)
WINDOWS = 40
LEVEL = 0.8


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


def smooth(rng: np.random.Generator, shape: tuple[int, int], sigma: float) -> NDArray[np.float64]:
    noise = ndimage.gaussian_filter(rng.normal(size=shape), sigma)
    return noise / noise.std()


def windows(field: NDArray[np.float64], side: int, flips: int, rng: np.random.Generator) -> list[tuple[int, int, Mask]]:
    """Windows (row, col, content) of a mask, the field above its level, in each of which so many pixels differ."""
    mask = field > LEVEL
    outline = np.argwhere(mask & ~ndimage.binary_erosion(mask, border_value=1))
    found = []
    for middle in rng.choice(outline, WINDOWS):
        row, col = (int(each) for each in np.clip(middle - side // 2, 0, len(field) - side))
        before = field[row : row + side, col : col + side]
        bend = smooth(rng, (side, side), 8)
        # A pixel flips once the bend, this many times, takes it over the level.
        times = (LEVEL - before) / bend
        times[times <= 0] = np.inf
        enough = np.partition(times, flips, axis=None)[flips]
        found.append((row, col, before + enough * bend > LEVEL))
    return found


def windowed(size: int) -> None:
    rng = np.random.default_rng(size)
    field = smooth(rng, (size, size), size / 14)
    reference = ReferenceMask(field > LEVEL)
    drawn = field + 0.25 * smooth(rng, (size, size), size / 40)
    base = drawn > LEVEL
    once = medians(REPEATS, partial(WindowedDistance, reference, base))[0]
    print(f"{size:>5} px, once {1e3 * once:.0f} ms")
    distances = WindowedDistance(reference, base)
    for side in (70, min(290, size)):
        for flips in (30, 500):
            cases = windows(drawn, side, flips, rng)
            masks = []
            for row, col, window in cases:
                masks.append(base.copy())
                masks[-1][row : row + side, col : col + side] = window
            places = [np.array(each) for each in zip(*cases, strict=True)]
            whole, local = reference.distances(np.array(masks)), distances.distances(*places)
            if not np.array_equal(whole, local):
                raise SystemExit(f"the distances differ at {size} px, window {side} px, {flips} pixels")
            seconds = medians(REPEATS, partial(over, masks, reference.distance), partial(distances.distances, *places))
            ms = [1e3 * each / WINDOWS for each in seconds]
            changed = np.mean(whole != distances.base_distance)
            print(
                f"{side:>12} px{np.mean([(mask != base).sum() for mask in masks]):>10.0f}{changed:>12.0%}"
                f"{ms[0]:>13.3f} ms{ms[1]:>13.3f} ms{ms[0] / ms[1]:>10.0f} x"
            )


def main() -> None:
    names = ("hdm_widgets", "SciPy", "scikit-image", "MONAI")
    print(f"{'':>8}" + "".join(f"{name:>16}" for name in names) + f"{'fastest other / ours':>24}")
    for size in SIZES:
        truth, masks = cases(size)
        functions = [make(truth) for make in (ours, scipy_sets, skimage, monai)]
        values = np.array([[function(mask) for mask in masks] for function in functions])
        if not np.allclose(values, values[0], rtol=0, atol=1e-4):
            raise SystemExit(f"the libraries differ at {size} px:\n{values}")
        seconds = medians(REPEATS, *(partial(over, masks, function) for function in functions))
        ms = [1e3 * each / len(masks) for each in seconds]
        print(f"{size:>5} px" + "".join(f"{value:>13.2f} ms" for value in ms) + f"{min(ms[1:]) / ms[0]:>22.1f} x")
    print(f"equal values; medians of {REPEATS} rounds over {len(masks)} masks each\n")
    print(f"{'window':>15}{'pixels':>10}{'other dist.':>12}{'whole mask':>16}{'window only':>16}{'factor':>12}")
    for size in SIZES:
        windowed(size)
    print(f"equal values; medians of {REPEATS} rounds over {WINDOWS} windows each")


if __name__ == "__main__":
    main()
