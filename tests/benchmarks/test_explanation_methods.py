import _explanation_methods as methods
import numpy as np
import pytest
import torch
from _explanation_networks import Case, Explained, ReceptiveField, predict
from scipy import ndimage
from torch import nn

from hdm_widgets import hdm

# Of MONAI's, how it indexes tensors.
pytestmark = pytest.mark.filterwarnings("ignore:Using a non-tuple sequence for multidimensional indexing")

CIRCLE, OFFSET = 6, 4


@pytest.fixture(scope="module")
def network():
    """A network of a known receptive field with one image of 32 px, half of whose window is bright."""
    model = ReceptiveField(32, 6).eval()
    image = torch.full((1, 32, 32), 0.2)
    image[:, :16] = 0.8
    case = Case(0, image, predict(model, image), None, model.may_matter())
    return Explained("receptive field", 0, model, model.layers[4], CIRCLE, OFFSET, [case])


@pytest.fixture(scope="module")
def far(network):
    """Pixels that no disc covers which touches what may matter."""
    side = 2 * CIRCLE + 1
    return ~ndimage.binary_dilation(network.cases[0].may_matter, np.ones((side, side)))


@pytest.mark.parametrize("method", methods.METHODS, ids=lambda method: method.name)
def test_every_method_gives_maps_of_the_image(network, method):
    maps = method.maps(network, network.cases[0], 0)
    assert maps
    for relevance in maps.values():
        assert relevance.shape == (32, 32)
        assert relevance.dtype == np.float64
        assert np.isfinite(relevance).all()
        assert relevance.min() >= 0
        assert relevance.max() > 0


@pytest.mark.parametrize("method", [one for one in methods.METHODS if one.ours], ids=lambda method: method.name)
def test_outside_of_the_receptive_field_a_scan_is_zero(network, far, method):
    for name, relevance in method.maps(network, network.cases[0], 0).items():
        # Raw rows compare every row with the truth's, at every disc.
        if "rows" not in name:
            assert relevance[far].max() == 0, name


def test_the_sum_of_a_mask_is_of_its_pixels_only():
    model = nn.Conv2d(1, 1, 1, bias=False)
    nn.init.constant_(model.weight, 2.0)
    image = torch.tensor([[[1.0, -1.0], [0.5, -3.0]]])
    score = methods.MaskSum.at(model, image)
    assert score(torch.stack([image, -image])).tolist() == pytest.approx(
        [1 / (1 + np.exp(-2)) + 1 / (1 + np.exp(-1)), 1 / (1 + np.exp(2)) + 1 / (1 + np.exp(1))]
    )


def test_painted_discs_show_the_largest_value_and_averaged_ones_the_mean(network):
    result = methods.scan(network, network.cases[0], "minimum")
    values = result.distances(hdm.WORSE_ONLY)
    discs = np.stack([result.grid.mask(row, col) for row, col in np.ndindex(values.shape)])
    of_discs = np.where(discs, values.reshape(-1, 1, 1), np.nan)
    covered = discs.any(0)
    assert len(np.unique(values)) > 3
    np.testing.assert_allclose(methods.painted(result)[covered], np.nanmax(of_discs[:, covered], 0))
    np.testing.assert_allclose(methods.averaged(result)[covered], np.nanmean(of_discs[:, covered], 0))
    assert not methods.averaged(result)[~covered].any()


@pytest.mark.parametrize("fill", methods.SQUARE_FILLS)
def test_squares_are_scanned_in_place_of_discs(network, fill):
    case, label = network.cases[0], methods.FILL_LABELS.get(fill, fill)
    found = methods.METHODS_BY_NAME[f"HDM, {label}, square"].maps(network, case, 0)
    result = methods.scan(network, case, fill, shape="square").measure("flipped")
    np.testing.assert_array_equal(found[f"HDM flipped area, {label}, square"], methods.painted(result))
    np.testing.assert_array_equal(found[f"HDM flipped area, {label}, square, averaged"], methods.averaged(result))
    of_discs = methods.METHODS_BY_NAME[f"HDM, {label}"].maps(network, case, 0)
    # The corners of the squares flip pixels, too.
    assert found[f"HDM flipped area, {label}, square"].sum() > of_discs[f"HDM flipped area, {label}"].sum()


def test_seg_grad_cam_weighs_channels_by_their_mean_gradient():
    # Channels x and -x, halved in resolution; the logit is 3 x - 2 (-x) upsampled without blending.
    layer = nn.Conv2d(1, 2, 1, bias=False)
    layer.weight.data[:] = torch.tensor([1.0, -1.0]).reshape(2, 1, 1, 1)
    head = nn.Conv2d(2, 1, 1, bias=False)
    head.weight.data[:] = torch.tensor([3.0, 2.0]).reshape(1, 2, 1, 1)
    model = nn.Sequential(nn.AvgPool2d(2), layer, nn.Upsample(scale_factor=2), head)
    image = torch.zeros(1, 4, 4)
    image[0, :2, :2], image[0, 2:, 2:] = 1.0, -1.0
    mask = torch.zeros(4, 4, dtype=torch.bool)
    mask[0, :3] = True
    # Three pixels of the mask lie on two of the four coarse ones: mean gradients 3 * 3 / 4 and 2 * 3 / 4.
    coarse = np.array([[3 * 0.75 - 2 * 0.75, 0], [0, 0]])
    found = methods.seg_grad_cam(model, layer, image, mask)
    assert found[0, 0] == pytest.approx(coarse[0, 0])
    assert found[3, 3] == 0
    # Bilinear, as the centers of the coarse pixels lie between those of the fine ones.
    np.testing.assert_allclose(found[0], coarse[0, 0] * np.array([1, 0.75, 0.25, 0]), atol=1e-7)


@pytest.mark.parametrize("kept", [0.0, 1.0])
def test_masks_of_rise_show_nothing_or_everything(kept):
    masks = methods.random_masks(5, (30, 21), np.random.default_rng(0), cells=4, kept=kept)
    torch.testing.assert_close(masks, torch.full((5, 1, 30, 21), kept))


def test_masks_of_rise_show_each_pixel_as_often_as_they_should():
    masks = methods.random_masks(2000, (24, 24), np.random.default_rng(0), cells=4, kept=0.3)
    assert 0 <= masks.min() < 0.01
    assert 0.99 < masks.max() < 1 + 1e-6
    np.testing.assert_allclose(masks.mean((0, 1)), 0.3, atol=0.04)


def test_rise_finds_the_pixels_that_a_score_depends_on():
    image = torch.ones(1, 32, 32)

    def score(images):
        return images[:, 0, 20:24, 4:8].mean((1, 2))

    relevance = methods.rise(score, image, 2000, np.random.default_rng(0))
    row, col = np.unravel_index(relevance.argmax(), relevance.shape)
    assert 18 <= row <= 25
    assert 2 <= col <= 9
    # The weights of a score that is the mask itself are its covariance with it; far away there is none.
    assert relevance[:8, 20:].max() < 0.15 * relevance.max()


def test_occlusions_of_one_color_are_the_same_by_captum_and_by_monai(network):
    case = network.cases[0]
    by_captum = methods.METHODS_BY_NAME["Captum Occlusion"].maps(network, case, 0)["Captum Occlusion, black"]
    by_monai = methods.monai(network, case, 0.0)
    assert by_captum.max() > 1
    # Where the last square is cut off at the border, MONAI moves it back.
    np.testing.assert_allclose(by_monai[:26, :26], by_captum[:26, :26], rtol=1e-3, atol=1e-4)


def test_ablation_is_the_loss_of_the_sum_without_each_square(network):
    case = network.cases[0]
    score = methods.MaskSum.at(network.model, case.image)
    expected = np.zeros((32, 32))
    with torch.no_grad():
        for row in range(0, 32, OFFSET):
            for col in range(0, 32, OFFSET):
                image = case.image.clone()
                image[:, row : row + OFFSET, col : col + OFFSET] = 0
                loss = (score(case.image[None]) - score(image[None])).item()
                expected[row : row + OFFSET, col : col + OFFSET] = max(loss, 0)
    found = methods.METHODS_BY_NAME["Captum FeatureAblation"].maps(network, case, 0)["Captum FeatureAblation, black"]
    assert expected.max() > 1
    np.testing.assert_allclose(found, expected, atol=1e-4)
