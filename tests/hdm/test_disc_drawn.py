"""Is the disc itself drawn as segment? Counted, and told from what a mask does otherwise."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from hdm_widgets import hdm

HEIGHT, WIDTH = 48, 60
ROWS, COLS = np.indices((HEIGHT, WIDTH))
PUPIL = (ROWS - 22) ** 2 + (COLS - 34) ** 2 < 60
IMAGE = 0.2 * np.random.default_rng(0).random((1, HEIGHT, WIDTH)).astype(np.float32) + 0.5
IMAGE[0, PUPIL] = 0.05


def explain(model, image=IMAGE, segment=PUPIL, circle_size=9, offset=6, **options):
    explainer = hdm.HausdorffDistanceMasks(image.shape[-1], image.shape[-2])
    explainer.generate_masks(circle_size, offset)
    return explainer.explain(model, image, segment, progress=False, **options)


def dark(images):
    """Takes whatever is dark for the pupil, as a real network did."""
    return 0.3 - images[:, 0]


def by_hand(result):
    fractions = np.empty(result.grid.shape)
    for row, col in np.ndindex(result.grid.shape):
        disc = result.grid.mask(row, col)
        counts = np.ones_like(disc) if result.ignored is None else ~result.ignored
        added = result.output(row, col) & ~result.baseline_mask
        fractions[row, col] = (added & disc & counts).sum() / (disc & counts).sum()
    return fractions


@pytest.mark.parametrize("shape", ["disc", "square"])
@pytest.mark.parametrize("options", [{}, {"ignore": COLS < 4}, {"fill": 0.25, "channel": 0}], ids=str)
def test_the_fraction_against_whole_masks(options, shape):
    result = explain(dark, shape=shape, **options)
    np.testing.assert_allclose(result.disc_as_segment, by_hand(result))
    assert result.disc_as_segment.max() == 1


def test_where_an_empty_disc_changes_the_mask_too():
    """The minimum with the mask cuts values above 1 outside the disc."""
    image = IMAGE.copy()
    image[0, :10] = 1.4

    def light_or_dark(images):
        return torch.maximum(0.3 - images[:, 0], 0.05 - (images[:, 0] - 1).abs())

    with pytest.warns(UserWarning, match="the element-wise minimum"):
        result = explain(light_or_dark, image)
    np.testing.assert_allclose(result.disc_as_segment, by_hand(result))
    assert len(np.unique(result.disc_as_segment)) > 2


def test_a_black_disc_that_looks_like_the_pupil_is_said_with_a_remedy():
    result = explain(dark)
    away = np.array([[not (result.grid.mask(r, c) & PUPIL).any() for c in range(10)] for r in range(8)])
    assert result.disc_drawn.cells[away].all()
    assert result.disc_drawn.of == 80
    assert result.disc_drawn
    said = f"the disc itself is drawn as segment in {result.disc_drawn.count} of 80 cells"
    assert said in str(result.disc_drawn)
    assert 'try another fill, such as fill="mean"' in str(result.disc_drawn)
    assert said in repr(result)
    # The map is the distance to the pupil then.
    assert result.values[away].min() > 0


@pytest.mark.parametrize("fill", ["mean", "blur", "inpainted", "noise"])
def test_the_same_network_with_fills_that_are_not_dark(fill):
    result = explain(dark, fill=fill)
    assert not result.disc_drawn
    assert str(result.disc_drawn) == ""
    assert "drawn as segment" not in repr(result)


def test_the_remedy_is_another_fill_than_the_one_of_the_scan():
    light = explain(lambda images: 0.02 - (images[:, 0] - float(IMAGE.mean())).abs(), fill="mean")
    assert 'fill="inpainted"' in str(light.disc_drawn)


@pytest.mark.parametrize("fill", ["blur", "inpainted"])
def test_the_blurred_edge_of_the_segment_is_no_notice(fill):
    """Blurred or inpainted from around them, discs in a notch of the segment have its color."""
    cross = (abs(ROWS - 24) < 6) | (abs(COLS - 30) < 6)
    image = cross[None].astype(np.float32)
    result = explain(lambda images: images[:, 0] - 0.2, image, cross, circle_size=10, offset=2, fill=fill)
    drawn = result.disc_drawn
    assert drawn.count > 0.01 * drawn.of
    assert drawn.beside == drawn.count
    assert not drawn
    assert "drawn as segment" not in repr(result)


@pytest.mark.parametrize("fill", ["blur", "inpainted"])
def test_a_blurred_disc_far_from_the_segment_is_a_notice(fill):
    """What is no segment as it is looks like one when it is blurred: a bright ring fills with gray."""
    distance = np.hypot(ROWS - 24, COLS - 14)
    image = np.where((distance < 11) & (distance > 3), 1.0, 0.0).astype(np.float32)[None]
    image[0, :, 50:] = 0.5
    segment = COLS >= 50
    result = explain(
        lambda images: 0.3 - (images[:, 0] - 0.6).abs(), image, segment, circle_size=10, offset=2, fill=fill
    )
    np.testing.assert_array_equal(result.baseline_mask, segment)
    assert result.disc_drawn.cells[:, :8].sum() > 0.01 * result.disc_drawn.of
    assert result.disc_drawn


class Own(hdm.HausdorffDistanceMasks):
    def apply_mask(self, image, mask):
        return image * mask


def test_the_remedy_of_an_own_occlusion():
    explainer = Own(WIDTH, HEIGHT)
    explainer.generate_masks(9, 6)
    result = explainer.explain(dark, IMAGE, PUPIL, progress=False)
    assert "try an apply_mask that covers the image in another way" in str(result.disc_drawn)


def grown(images, by):
    """Draws the pupil, and grows it by some pixels where any disc touches it."""
    masks = []
    for image in images:
        touched = ((image[0] == 0).numpy() & PUPIL).any()
        masks.append(torch.as_tensor(ndimage.binary_dilation(PUPIL, iterations=by) if touched else PUPIL))
    return torch.stack(masks).float() - 0.5


def everywhere(images):
    """Draws everything as soon as there is a disc."""
    covered = (images[:, 0] == 0).any(-1).any(-1)[:, None, None]
    return torch.where(covered, torch.ones(1), torch.as_tensor(PUPIL, dtype=torch.float32)) - 0.5


def far_away(images):
    """Draws an object where no disc is."""
    covered = (images[:, 0] == 0).any(-1).any(-1)[:, None, None]
    other = torch.as_tensor(PUPIL | (ROWS > 44), dtype=torch.float32)
    return torch.where(covered, other, torch.as_tensor(PUPIL, dtype=torch.float32)) - 0.5


def keeps(images):
    """Draws the pupil also under the disc."""
    return torch.as_tensor(PUPIL, dtype=torch.float32).expand(len(images), -1, -1) - 0.5


def loses(images):
    """Loses what the disc covers."""
    return torch.where(images[:, 0] == 0, -1.0, torch.as_tensor(PUPIL, dtype=torch.float32) - 0.5)


@pytest.mark.parametrize(
    ("model", "options"),
    [
        (lambda images: grown(images, 1), {"circle_size": 4, "offset": 4}),
        (lambda images: grown(images, 1), {}),
        (lambda images: grown(images, 2), {"circle_size": 12}),
        (everywhere, {}),
        (far_away, {}),
        (keeps, {}),
        (loses, {}),
    ],
    ids=["an edge of 1 px, small disc", "1 px", "2 px", "everywhere", "far away", "keeps", "loses"],
)
def test_no_false_alarms(model, options):
    assert not explain(model, fill=0, **options).disc_drawn


def test_single_cells_are_counted_but_no_notice():
    def one_place(images):
        there = (images[:, 0, 2:4, 2:4] == 0).all(-1).all(-1)[:, None, None]
        return torch.where(there & (images[:, 0] == 0), 0.5, torch.as_tensor(PUPIL, dtype=torch.float32) - 0.5)

    result = explain(one_place, fill=0, circle_size=6, offset=3)
    assert result.disc_drawn.count == 1
    assert result.disc_drawn.of == 320
    assert not result.disc_drawn


def test_without_masks_nothing_is_known():
    result = explain(dark, keep_outputs=False)
    assert not result.disc_drawn
    assert result.disc_drawn.of == 0
    with pytest.raises(ValueError, match="masks were not kept"):
        _ = result.disc_as_segment


def test_only_measured_cells_count():
    result = explain(dark, region=(0, 0, 12, 20))
    assert np.isnan(result.disc_as_segment[~result.measured]).all()
    assert result.disc_drawn.of == result.measured.sum() < 80
    assert result.disc_drawn


def test_a_loaded_result_and_another_measure_say_the_same(tmp_path):
    result = explain(dark)
    result.save(tmp_path / "result.npz")
    for other in (hdm.HDMResult.load(tmp_path / "result.npz"), result.measure("iou")):
        np.testing.assert_array_equal(other.disc_as_segment, result.disc_as_segment)
        assert str(other.disc_drawn) == str(result.disc_drawn)


def test_a_class_has_discs_of_its_own():
    result = explain(
        lambda images: torch.stack([images[:, 0] - 0.3, 0.3 - images[:, 0]], 1), segment=PUPIL.astype(int), target="all"
    )
    assert result.for_class(1).disc_drawn
    assert not result.for_class(0).disc_drawn
