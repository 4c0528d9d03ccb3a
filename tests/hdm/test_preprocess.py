"""Images as people have them: shown and occluded as they are, normalized for the model after the disc."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

import hdm_widgets as hw
from hdm_widgets import hdm
from hdm_widgets.metrics import hausdorff_distance

HEIGHT, WIDTH = 24, 32
RNG = np.random.default_rng(3)
TRUTH = np.zeros((HEIGHT, WIDTH), bool)
TRUTH[6:16, 8:20] = True
PHOTO = RNG.integers(3, 90, (HEIGHT, WIDTH, 3), dtype=np.uint8)
PHOTO[TRUTH] = RNG.integers(150, 256, (TRUTH.sum(), 3), dtype=np.uint8)
SIX_BANDS = RNG.integers(300, 900, (6, HEIGHT, WIDTH), dtype=np.uint16)
SIX_BANDS[:, TRUTH] += 3000
HOUNSFIELD = RNG.integers(-1024, -200, (HEIGHT, WIDTH), dtype=np.int16)
HOUNSFIELD[TRUTH] += 1500
SIGNED = PHOTO / np.float32(127.5) - 1
# Such that no value comes to lie on the threshold.
LIGHTER = 0.1003

# image, the same (C, H, W), scale, and what is black in each of its channels
IMAGES = {
    "uint8 (H, W, 3)": (PHOTO, PHOTO.transpose(2, 0, 1), 255, [0, 0, 0]),
    "uint8 (3, H, W)": (PHOTO.transpose(2, 0, 1), PHOTO.transpose(2, 0, 1), 255, [0, 0, 0]),
    "torch uint8 (H, W, 3)": (torch.from_numpy(PHOTO), PHOTO.transpose(2, 0, 1), 255, [0, 0, 0]),
    "uint8 (H, W, 1)": (PHOTO[..., :1], PHOTO[None, ..., 0], 255, [0]),
    "uint16 (6, H, W)": (SIX_BANDS, SIX_BANDS, 4000, SIX_BANDS.min((1, 2))),
    "uint16 (H, W, 6)": (SIX_BANDS.transpose(1, 2, 0), SIX_BANDS, 4000, SIX_BANDS.min((1, 2))),
    "big-endian uint16": (SIX_BANDS.astype(">u2"), SIX_BANDS, 4000, SIX_BANDS.min((1, 2))),
    "int16 (H, W)": (HOUNSFIELD, HOUNSFIELD[None], 1500, [HOUNSFIELD.min()]),
    "float64 (H, W, 3)": (PHOTO / 255, PHOTO.transpose(2, 0, 1) / 255, 1, [0, 0, 0]),
    "float32 in [-1, 1]": (SIGNED, SIGNED.transpose(2, 0, 1), 2, [-1, -1, -1]),
}


def mean_of_channels(images):
    """Probabilities: what is bright. The values are those of the normalized image."""
    return images.mean(1)


def segmenter_for(scale):
    return hw.Segmenter(mean_of_channels, preprocess=lambda images: (images / scale + LIGHTER).clamp(0, 1))


def explained(segmenter, image, **options):
    explainer = hdm.HausdorffDistanceMasks(WIDTH, HEIGHT)
    explainer.generate_masks(6, 6)
    return explainer.explain(segmenter, image, TRUTH, progress=False, **options)


def expected_images(channels_first, black, grid):
    """Every occluded image by plain NumPy, (rows, cols, C, H, W)."""
    covered = np.array(np.broadcast_to(channels_first, (*grid.shape, *channels_first.shape)), np.float32)
    for row in range(grid.rows):
        for col in range(grid.cols):
            covered[row, col][:, grid.mask(row, col)] = np.asarray(black, np.float32)[:, None]
    return covered


@pytest.mark.parametrize(("image", "channels_first", "scale", "black"), IMAGES.values(), ids=IMAGES)
def test_covered_as_given_and_normalized_after(image, channels_first, scale, black):
    result = explained(segmenter_for(scale), image)
    assert result.image.dtype == np.float32
    np.testing.assert_array_equal(result.image, channels_first.astype(np.float32))
    covered = expected_images(channels_first, black, result.grid)
    for row in range(result.grid.rows):
        for col in range(result.grid.cols):
            np.testing.assert_array_equal(result.occluded(row, col), covered[row, col])
            mask = np.clip(covered[row, col] / scale + LIGHTER, 0, 1).mean(0) > 0.5
            assert result.values[row, col] == hausdorff_distance(mask, TRUTH)
    assert len(np.unique(result.values)) > 1


@pytest.mark.parametrize(("image", "channels_first", "scale", "black"), IMAGES.values(), ids=IMAGES)
def test_the_explorer_a_stream_and_a_plan_take_the_same(image, channels_first, scale, black):
    segmenter = segmenter_for(scale)
    expected = explained(segmenter, image)
    explorer = hw.HDMExplorer(segmenter, image, TRUTH, circle_size=6, offset=6, fill="minimum")
    assert explorer.wait(60)
    np.testing.assert_array_equal(explorer.result.values, expected.values)
    np.testing.assert_array_equal(explorer.result.image, expected.image)
    explorer.close()
    explainer = hdm.HausdorffDistanceMasks(WIDTH, HEIGHT)
    explainer.generate_masks(6, 6)
    *_, last = explainer.stream(segmenter, image, TRUTH)
    np.testing.assert_array_equal(last.result.values, expected.values)
    assert isinstance(explainer.plan(segmenter, image, TRUTH), hdm.Plan)


def test_the_stage_shows_the_photograph_itself():
    explorer = hw.HDMExplorer(segmenter_for(255), PHOTO, TRUTH, circle_size=6, offset=6)
    shown = np.asarray(Image.open(io.BytesIO(explorer._image)))
    np.testing.assert_array_equal(shown, PHOTO)
    explorer.close()


def test_nothing_is_said_of_clipping_because_nothing_is_clipped(recwarn):
    explained(segmenter_for(1500), HOUNSFIELD)
    assert not [warning for warning in recwarn if "minimum" in str(warning.message)]


def test_values_in_minus_one_to_one_by_request():
    """An image that happens to have no negative value is in [-1, 1] all the same, if its user says so."""
    explainer = hdm.HausdorffDistanceMasks(WIDTH, HEIGHT)
    explainer.generate_masks(6, 6, normalize=True)
    image = PHOTO.transpose(2, 0, 1).astype(np.float32) / 255
    result = explainer.explain(segmenter_for(1), image, TRUTH, progress=False)
    assert result.occluded(1, 1).min() == -1


def test_a_saved_result_has_the_same_black(tmp_path):
    result = explained(segmenter_for(1500), HOUNSFIELD)
    result.save(tmp_path / "result.npz")
    loaded = hdm.HDMResult.load(tmp_path / "result.npz")
    assert loaded.settings == result.settings
    np.testing.assert_array_equal(loaded.occluded(2, 2), result.occluded(2, 2))
    assert loaded.occluded(2, 2)[0, 15, 15] == HOUNSFIELD.min()


class Gray(hdm.HausdorffDistanceMasks):
    """An own occlusion gets the image as it was given, and the published mask."""

    def apply_mask(self, image, mask):
        assert image.max() > 1
        assert set(mask.unique().tolist()) == {0.0, 1.0}
        return torch.where(mask > 0, image, torch.full_like(image, 99))


def test_an_own_occlusion_gets_the_image_as_given():
    explainer = Gray(WIDTH, HEIGHT)
    explainer.generate_masks(6, 6)
    result = explainer.explain(segmenter_for(255), PHOTO, TRUTH, progress=False)
    disc = result.grid.mask(1, 1)
    expected = np.where(disc, 99, PHOTO.transpose(2, 0, 1))
    np.testing.assert_array_equal(result.occluded(1, 1), expected)


@pytest.mark.parametrize(
    ("image", "error", "message"),
    [
        (np.zeros((4, 4, 4), np.uint8), ValueError, r"shape \(4, 4, 4\) may be \(C, H, W\) or \(H, W, C\); normalize"),
        (np.zeros((4, 4), bool), TypeError, r"of real numbers, got bool; image.astype\('float32'\)"),
        (np.zeros((3, 4, 4), complex), TypeError, "of real numbers, got complex128"),
        (np.zeros((5, 4, 3), np.uint8), ValueError, r"4 px wide and 4 px high, .*got shape \(5, 4, 3\)"),
    ],
    ids=["cube", "bool", "complex", "size"],
)
def test_what_cannot_be_read_is_said(image, error, message):
    explainer = hdm.HausdorffDistanceMasks(4, 4)
    explainer.generate_masks(2, 2)
    with pytest.raises(error, match=message):
        explainer.explain(hw.Segmenter(mean_of_channels, preprocess=lambda images: images), image, np.eye(4))


def test_without_a_truth_of_its_size_an_explorer_asks_for_one():
    segmenter = hw.Segmenter(mean_of_channels, preprocess=lambda images: images)
    with pytest.raises(ValueError, match=r"\(3, 20, 4\) may be \(C, H, W\) or \(H, W, C\); give a segment"):
        hw.HDMExplorer(segmenter, np.zeros((3, 20, 4), np.uint8), np.eye(7))


class ByTheBase(hdm.HausdorffDistanceMasks):
    def apply_mask(self, image, mask):
        return super().apply_mask(image, mask)


def test_the_published_minimum_is_not_applied_to_any_values_without_a_word():
    explainer = ByTheBase(WIDTH, HEIGHT)
    explainer.generate_masks(6, 6)
    with pytest.warns(
        UserWarning, match=r"values up to 255; .*down to 1, outside the disc too.*torch.where\(mask =="
    ) as caught:
        explainer.explain(segmenter_for(255), PHOTO, TRUTH, progress=False)
    assert caught[0].filename == __file__
