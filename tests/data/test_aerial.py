import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hdm_widgets.data import LAND_USES, AerialSample, AerialScenes

WITHOUT_BUILDINGS = ("forest", "water", "field")
LOOKALIKES = ("car park", "cemetery")
BUILT_UP = ("scattered houses", "dense blocks")


def only(land_use, length, **options):
    return AerialScenes(length, weights={land_use: 1}, **options)


def covered(dataset):
    """Fraction of each image that is buildings."""
    return np.array([float(mask.mean()) for _, mask in dataset])


def steps(image):
    """How much each pixel of (3, H, W) differs from its neighbors below and to the right."""
    grey = image.mean(0)
    change = torch.zeros_like(grey)
    change[:-1] += (grey[1:] - grey[:-1]).abs()
    change[:, :-1] += (grey[:, 1:] - grey[:, :-1]).abs()
    return change


def test_the_land_uses_are_known():
    assert (*WITHOUT_BUILDINGS, *BUILT_UP, *LOOKALIKES) == LAND_USES


@given(
    length=st.integers(1, 20),
    size=st.sampled_from([32, 33, 96, 128]),
    seed=st.integers(0, 2**63),
    position=st.integers(0, 2**63),
)
def test_what_every_item_is(length, size, seed, position):
    dataset = AerialScenes(length, size=size, seed=seed)
    index = position % length
    sample = dataset.sample(index)
    assert isinstance(sample, AerialSample)
    assert sample.image.dtype == torch.float32
    assert sample.image.shape == (3, size, size)
    assert sample.image.is_contiguous()
    assert 0 <= float(sample.image.min()) < float(sample.image.max()) <= 1
    assert sample.segment.dtype == torch.uint8
    assert sample.segment.shape == (size, size)
    assert set(sample.segment.unique().tolist()) <= {0, 1}
    assert sample.land_use == dataset.columns["land_use"][index]
    if sample.land_use in WITHOUT_BUILDINGS:
        assert not sample.segment.any()

    image, mask = dataset[index]
    assert mask.dtype == torch.float32
    np.testing.assert_array_equal(image, sample.image)
    np.testing.assert_array_equal(mask, sample.segment)


def test_an_item_is_the_same_however_often_it_is_asked_for():
    dataset = AerialScenes(20, size=32, seed=4)
    later = list(AerialScenes(20, size=32, seed=4))  # iterating ends by itself
    assert len(later) == len(dataset) == 20
    for index in reversed(range(20)):
        for same in (index, index - 20):
            for got, expected in zip(dataset[same], later[index], strict=True):
                np.testing.assert_array_equal(got, expected)
        assert dataset.sample(index - 20).land_use == dataset.columns["land_use"][index]
    # The length does not change what is drawn; the seed and the index do.
    longer, other = AerialScenes(100, size=32, seed=4), AerialScenes(20, size=32, seed=5)
    assert longer.columns["land_use"][:20] == dataset.columns["land_use"]
    np.testing.assert_array_equal(longer[3][0], later[3][0])
    assert not np.array_equal(other[3][0], later[3][0])
    assert not np.array_equal(later[2][0], later[3][0])
    assert other.columns != dataset.columns


def test_nobody_elses_dice_are_touched():
    np.random.seed(3)  # noqa: NPY002  # this old generator is what others may use
    torch.manual_seed(3)
    expected = np.random.rand(), float(torch.rand(()))  # noqa: NPY002
    np.random.seed(3)  # noqa: NPY002
    torch.manual_seed(3)
    AerialScenes(7, size=32)[0]
    assert (np.random.rand(), float(torch.rand(()))) == expected  # noqa: NPY002


def test_land_uses_come_alike_unless_told_otherwise():
    names = AerialScenes(2100).columns["land_use"]
    # 300 of each are expected; four standard deviations are 4 * sqrt(2100 * 1/7 * 6/7) = 64.
    assert {name: abs(names.count(name) - 300) < 64 for name in names} == dict.fromkeys(LAND_USES, True)


@pytest.mark.parametrize("weights", [{"forest": 3, "car park": 1}, {"car park": 0.25, "forest": 0.75, "water": 0}])
def test_weights(weights):
    names = AerialScenes(800, weights=weights).columns["land_use"]
    assert set(names) == {"forest", "car park"}
    # 200 car parks are expected; four standard deviations are 4 * sqrt(800 * 1/4 * 3/4) = 49.
    assert abs(names.count("car park") - 200) < 49


def test_the_former_name_of_the_weights():
    with pytest.warns(DeprecationWarning, match="called weights now") as caught:
        dataset = AerialScenes(20, shares={"forest": 1})
    assert caught[0].filename == __file__
    assert set(dataset.columns["land_use"]) == {"forest"}


@pytest.mark.parametrize("land_use", LAND_USES)
@pytest.mark.parametrize("size", [32, 48, 128])
def test_one_land_use_alone(land_use, size):
    # Many, as there is least room for what is drawn in the smallest images.
    dataset = only(land_use, 60, size=size)
    assert dataset.columns == {"land_use": [land_use] * 60}
    assert {dataset.sample(index).land_use for index in range(60)} == {land_use}


@pytest.mark.parametrize("land_use", WITHOUT_BUILDINGS)
def test_no_buildings(land_use):
    assert covered(only(land_use, 40)).max() == 0


@pytest.mark.parametrize("land_use", LOOKALIKES)
def test_what_looks_like_buildings_is_none(land_use):
    covers = covered(only(land_use, 120))
    # At most every fifth has one building, of at most 26 x 18 px in 96 x 96.
    assert np.mean(covers == 0) > 0.7
    assert covers.mean() < 0.01
    assert covers.max() < 0.06
    assert covers.max() > 0
    # Rows of rectangles are much busier than the fields that they lie on.
    busy = np.mean([float(steps(image).mean()) for image, _ in only(land_use, 20)])
    calm = np.mean([float(steps(image).mean()) for image, _ in only("field", 20)])
    assert busy > 1.5 * calm


@pytest.mark.parametrize(("land_use", "low", "high"), [("scattered houses", 0.01, 0.15), ("dense blocks", 0.25, 0.6)])
@pytest.mark.parametrize("size", [96, 128])
def test_how_much_is_built_up(land_use, low, high, size):
    covers = covered(only(land_use, 60, size=size))
    assert covers.min() > 0
    assert low < covers.mean() < high


@pytest.mark.parametrize("land_use", BUILT_UP)
def test_masks_lie_on_the_buildings(land_use):
    # Where a mask begins, the image changes: more so than where the mask of the next image begins.
    right = wrong = 0.0
    pairs = list(only(land_use, 40))
    for (image, mask), (_, other) in zip(pairs, pairs[1:] + pairs[:1], strict=True):
        change = steps(image)
        right += float(change[steps(mask[None]) > 0].mean())
        wrong += float(change[steps(other[None]) > 0].mean())
    assert right > 1.4 * wrong


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"length": 0}, "length must be at least 1, got 0"),
        ({"size": 31}, "size must be at least 32 px, got 31"),
        ({"weights": {"forest": 1, "harbour": 1}}, "unknown land use 'harbour'; known are forest, water, field, "),
        ({"weights": {}}, r"weights must be finite and 0 or more, at least one of them above 0, got \{\}"),
        (
            {"weights": {"forest": 0}},
            "weights must be finite and 0 or more, at least one of them above 0, got {'forest': 0}",
        ),
        ({"weights": {"forest": 2, "water": -1}}, "weights must be finite and 0 or more, at least one of them above 0"),
        ({"weights": {"forest": float("nan")}}, "weights must be finite and 0 or more, at least one of them above 0"),
        ({"weights": {"forest": float("inf")}}, "weights must be finite and 0 or more, at least one of them above 0"),
    ],
)
def test_bad_settings(options, message):
    with pytest.raises(ValueError, match=message):
        AerialScenes(**options)


@pytest.mark.parametrize("index", [5, -6])
def test_no_such_image(index):
    with pytest.raises(IndexError, match=f"index {index} is out of range for 5 images"):
        AerialScenes(5)[index]
