"""Noise and surroundings as fills, and squares in place of discs, against what they are by definition."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from scipy import ndimage
from skimage.restoration import inpaint_biharmonic

import hdm_widgets as hw
from hdm_widgets import _storage, hdm
from hdm_widgets.hdm.fills import LazyOcclusion
from hdm_widgets.hdm.grid import Grid, ShiftedGrid
from hdm_widgets.hdm.inpainting import Inpainting
from hdm_widgets.hdm.messages import map_message
from hdm_widgets.metrics import hausdorff_distance

HEIGHT, WIDTH = 26, 34
RNG = np.random.default_rng(3)
IMAGE = RNG.uniform(-2, 5, (3, HEIGHT, WIDTH)).astype(np.float32)
IMAGE[:, :6] = 1.5
TRUTH = ndimage.gaussian_filter(IMAGE.mean(0), 2) > 1.5
NEW = ["noise", "inpainted"]


def explain(model=None, image=IMAGE, **options):
    explainer = hdm.HausdorffDistanceMasks(WIDTH, HEIGHT)
    explainer.generate_masks(7, 4)
    return explainer.explain(model or bright, image, TRUTH, progress=False, **options)


def bright(images):
    return images.mean(1) - 1.5


def drawn(grid, row, col, shape):
    """The pixels that PIL draws for a cell."""
    image = Image.new("1", (grid.width, grid.height))
    x, y = col * grid.offset, row * grid.offset
    box = x, y, x + grid.circle_size, y + grid.circle_size
    draw = ImageDraw.Draw(image)
    (draw.ellipse if shape == "disc" else draw.rectangle)(box, fill=1)
    return np.array(image)


def smoothest(plane, unknown):
    """The image with the least sum of squared Laplacians, of all pixels at once."""
    basis = np.eye(unknown.sum())
    images = np.zeros((len(basis), *plane.shape))
    images[:, unknown] = basis
    matrix = np.stack([ndimage.laplace(image, mode="reflect").ravel() for image in images], 1)
    right = -ndimage.laplace(np.where(unknown, 0, plane), mode="reflect").ravel()
    surroundings = plane[ndimage.binary_dilation(unknown, iterations=2) & ~unknown]
    result = plane.copy()
    solved = np.linalg.lstsq(matrix, right, rcond=None)[0]
    result[unknown] = np.clip(solved, surroundings.min(), surroundings.max())
    return result


GRID = Grid(HEIGHT, WIDTH, 7, 4)
SMALL = Grid(14, 18, 6, 4)
PATTERNS = {
    "inside": SMALL.mask(1, 1),
    "corner": SMALL.mask(0, 0),
    "far corner": SMALL.mask(2, 3),
    "square": Grid(14, 18, 5, 4, "square").mask(1, 1),
    "band": np.broadcast_to(np.arange(18) < 5, (14, 18)),
    "all but one pixel": np.arange(14 * 18).reshape(14, 18) != 77,
}


@pytest.mark.parametrize("pattern", PATTERNS)
def test_inpainting_is_the_smoothest_image(pattern):
    unknown = PATTERNS[pattern].copy()
    planes = ndimage.gaussian_filter(RNG.normal(size=(2, *unknown.shape)), (0, 3, 3))
    filled = Inpainting(unknown).filled(planes)
    for plane, result in zip(planes, filled, strict=True):
        np.testing.assert_allclose(result, smoothest(plane, unknown), atol=1e-6)
        np.testing.assert_array_equal(result[~unknown], plane[~unknown])


def test_inpainting_as_scikit_image_has_it():
    """A slope goes on straight: nothing is cut off."""
    unknown = GRID.mask(2, 3)
    rows, cols = np.indices(unknown.shape)
    plane = np.sin(rows / 9) + (cols / 20) ** 2
    expected = inpaint_biharmonic(plane, unknown, split_into_regions=True)
    np.testing.assert_allclose(Inpainting(unknown).filled(plane[None])[0], expected, atol=1e-9)


def test_what_has_no_surroundings_shows_its_mean():
    everything = np.ones((4, 5), bool)
    np.testing.assert_allclose(
        Inpainting(everything).filled(np.arange(40.0).reshape(2, 4, 5))[:, 1, 2], [9.5, 29.5], atol=0
    )


@pytest.mark.parametrize("seed", [0, 7])
def test_noise_has_the_mean_and_deviation_of_each_channel(seed):
    image = np.stack([RNG.normal(3, 0.2, (60, 80)), RNG.uniform(0, 255, (60, 80))]).astype(np.float32)
    explainer = hdm.HausdorffDistanceMasks(80, 60)
    explainer.generate_masks(59, 60)
    covered = explainer.explain(
        lambda images: images[:, 0] - 3, image, image[0] > 3, fill="noise", seed=seed, shape="square", progress=False
    )
    shown = covered.occluded(0, 0)[:, :60, :60]
    np.testing.assert_allclose(shown[0].mean(), 3, atol=0.02)
    np.testing.assert_allclose(shown[0].std(), 0.2, rtol=0.05)
    # Values beyond the image's own are cut off: a uniform channel has less deviation then.
    np.testing.assert_allclose(shown[1].mean(), 127.5, atol=4)
    assert 60 < shown[1].std() < 74
    assert image[1].min() <= shown[1].min() < shown[1].max() <= image[1].max()
    assert abs(np.corrcoef(shown.reshape(2, -1))[0, 1]) < 0.05


def test_noise_follows_from_its_seed():
    first, again, other = (explain(fill="noise", seed=seed).occluded(1, 1) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    disc = drawn(GRID, 1, 1, "disc")
    assert (first != other).any(0)[disc].mean() > 0.9
    np.testing.assert_array_equal(first[:, ~disc], IMAGE[:, ~disc])


# Cells that are inpainted by hand.
SOME = [(0, 0), (5, 7)]


@pytest.mark.parametrize("shape", ["disc", "square"])
@pytest.mark.parametrize("channel", [-1, 1, (0, 2)])
@pytest.mark.parametrize("fill", ["minimum", "mean", 0.25, *NEW])
def test_every_cell_against_a_model_that_is_given_the_occluded_images(fill, channel, shape, tmp_path):
    image = np.abs(IMAGE) / 5 if fill == "minimum" else IMAGE
    result = explain(image=image, fill=fill, channel=channel, shape=shape)
    covered = [0, 1, 2] if channel == -1 else np.atleast_1d(channel)
    noise = explain(image=image, fill="noise", shape="square", channel=-1)
    for row, col in np.ndindex(result.grid.shape):
        disc = drawn(result.grid, row, col, shape)
        expected = image.copy()
        for one in covered:
            inside = {
                "minimum": 0,
                "mean": image[one].mean(),
                "noise": noise.occluded(row, col)[one],
                "inpainted": smoothest(image[one], disc) if fill == "inpainted" and (row, col) in SOME else None,
            }.get(fill, fill)
            if inside is not None:
                expected[one] = np.where(disc, inside, image[one])
        shown = result.occluded(row, col)
        if fill != "inpainted" or (row, col) in SOME:
            np.testing.assert_allclose(shown, expected, atol=1e-4)
        np.testing.assert_array_equal(shown[:, ~disc], image[:, ~disc])
        mask = bright(shown[None])[0] > 0
        np.testing.assert_array_equal(result.output(row, col), mask)
        assert result.values[row, col] == hausdorff_distance(mask, TRUTH)
    result.save(tmp_path / "result.npz")
    loaded = hdm.HDMResult.load(tmp_path / "result.npz")
    assert loaded.settings == result.settings
    assert loaded.grid == result.grid
    np.testing.assert_array_equal(loaded.occluded(3, 4), result.occluded(3, 4))


@pytest.mark.parametrize(("fill", "shape"), [("noise", "disc"), ("inpainted", "disc"), ("inpainted", "square")])
def test_windows_give_the_same(fill, shape, windows):
    torch.manual_seed(0)
    network = hw.UNet(3, 1, width=4, depth=1).eval()
    with torch.no_grad():
        network.head.bias -= network(torch.from_numpy(IMAGE)[None]).median()
    quick = explain(network, fill=fill, shape=shape, inference="windowed")
    assert sum(windows) > 0
    assert quick.plan.backend == "windowed"
    full = explain(network, fill=fill, shape=shape, inference="full")
    np.testing.assert_allclose(quick.values, full.values)
    assert len(np.unique(full.values)) > 1


@pytest.mark.parametrize("fill", NEW)
def test_equal_images_are_run_once(fill):
    """A second scan finds every cell; discs that show what was there before change nothing."""
    explainer = hdm.HausdorffDistanceMasks(WIDTH, HEIGHT)
    explainer.generate_masks(7, 4)
    seen = []

    class Counting(torch.nn.Module):
        def forward(self, images):
            seen.append(len(images))
            return bright(images)

    model, image = Counting(), np.full_like(IMAGE, 2)
    image[:, :, :4] = 1
    first = explainer.explain(model, image, TRUTH, fill=fill, progress=False)
    before = sum(seen)
    assert before < first.grid.rows * first.grid.cols or fill == "noise"
    again = explainer.explain(model, image, TRUTH, fill=fill, progress=False)
    # The image itself alone and in a batch, and a check of what is cached.
    assert sum(seen) - before < 8 < before
    np.testing.assert_array_equal(first.values, again.values)


@pytest.mark.parametrize("fill", NEW)
def test_a_preprocess_comes_after_the_disc(fill):
    """The disc has values of the image as it was given, and the model sees them normalized."""
    image = np.clip(IMAGE * 40 + 60, 0, 255).astype(np.uint8)
    scaled = hw.Segmenter(lambda images: images.mean(1) - 0.4, preprocess=lambda images: images / 255)
    given = explain(scaled, image, fill=fill)
    own = explain(lambda images: images.mean(1) / 255 - 0.4, image.astype(np.float32), fill=fill)
    np.testing.assert_array_equal(given.values, own.values)
    np.testing.assert_array_equal(given.occluded(2, 2), own.occluded(2, 2))


def test_a_map_of_squares():
    result = explain(shape="square", fill=0)
    painted, topmost = np.full((HEIGHT, WIDTH), np.nan), result.painted_values()
    for row, col in sorted(np.ndindex(result.grid.shape), key=lambda cell: result.values[cell]):
        painted[drawn(result.grid, row, col, "square")] = result.values[row, col]
    np.testing.assert_array_equal(painted, topmost)
    pixels = np.asarray(result.circle_map(color_map="gray"))[..., 0].astype(int)
    finite = np.isfinite(painted)
    order = np.argsort(painted[finite], kind="stable")
    assert (np.diff(pixels[finite][order]) >= 0).all()
    assert len(np.unique(pixels[finite])) == len(np.unique(painted[finite]))
    assert (pixels[~finite] == 0).all()


def test_a_file_without_a_shape_has_discs(tmp_path):
    result = explain(fill=0)
    result.save(tmp_path / "new.npz")
    about, arrays = _storage.read(tmp_path / "new.npz", "hdm-widgets result 2")
    about["grid"] = about["grid"][:4]
    for name in ("seed", "shape"):
        del about["settings"][name]
    _storage.write(tmp_path / "old.npz", about, arrays)
    loaded = hdm.HDMResult.load(tmp_path / "old.npz")
    assert loaded.grid == result.grid
    assert loaded.settings == result.settings
    assert loaded.grid.disc_shape == loaded.settings.shape == "disc"


def test_an_explorer_draws_squares_and_keeps_them():
    explorer = hw.HDMExplorer(bright, IMAGE, TRUTH, circle_size=7, offset=4, shape="square", fill="inpainted")
    assert explorer.wait(60)
    update = hdm.ScanUpdate(np.empty((0, 2), np.intp), np.empty(0), 1, 1, 1, 0.0, explorer.result)
    np.testing.assert_array_equal(map_message(update)["disc"], [[0, 8]] * 8)
    explorer.circle_size = 5
    assert explorer.wait(60)
    assert explorer.result.grid == Grid(HEIGHT, WIDTH, 5, 4, "square")
    explorer.cell = (1, 1)
    assert explorer._inspector["pending"] is False
    explorer.close()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shape": "hexagon"}, "shape must be one of 'disc', 'square'"),
        ({"seed": -1}, "seed must be a whole number of at least 0"),
        ({"seed": 0.5}, "seed must be a whole number of at least 0"),
        ({"seed": True}, "seed must be a whole number of at least 0"),
        ({"fill": "inpaint"}, "fill must be 'minimum', 'mean', 'blur', 'noise', 'inpainted' or a finite number"),
    ],
    ids=str,
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        explain(**options)


@pytest.mark.parametrize("shift", [(-3, 2), (3, -3), (0, 0)])
@pytest.mark.parametrize("shape", ["disc", "square"])
def test_a_shifted_grid_has_the_same_discs_elsewhere(shape, shift):
    grid = ShiftedGrid(HEIGHT, WIDTH, 7, 4, shape, shift)
    covered = LazyOcclusion(grid, torch.from_numpy(IMAGE), 9.0, -1, normalize=False).made
    for row, col in np.ndindex(grid.shape):
        image = Image.new("1", (WIDTH, HEIGHT))
        x, y = col * 4 + shift[1], row * 4 + shift[0]
        draw = ImageDraw.Draw(image)
        (draw.ellipse if shape == "disc" else draw.rectangle)((x, y, x + 7, y + 7), fill=1)
        np.testing.assert_array_equal(grid.mask(row, col), np.array(image))
        np.testing.assert_array_equal(
            covered.occluded(row, col).numpy() == 9, np.array(image) & np.ones((3, 1, 1), bool)
        )
    changes = covered.changes(np.array([[0, 0], [5, 7]]))
    np.testing.assert_array_equal(changes.images(np.array([1]))[0], covered.occluded(5, 7))
