import numpy as np
import pytest
import torch

from hdm_widgets.data import PlantedCue


def kind_of_cue(cue):
    """A square fills its bounding box, a disc about 79 % of it."""
    rows, cols = np.nonzero(cue)
    fraction = cue.sum() / (np.ptp(rows) + 1) / (np.ptp(cols) + 1)
    return "square" if fraction == 1 else "circle" if 0.7 < fraction < 0.85 else f"neither ({fraction:.2f})"


def kind_of_segment(segment):
    """A cross leaves all corners of its bounding box free; a triangle fills two of them and no other."""
    rows, cols = np.nonzero(segment)
    box = segment[rows.min() : rows.max() + 1, cols.min() : cols.max() + 1] != 0
    corners = [bool(box[row, col]) for row in (0, -1) for col in (0, -1)]
    return {(False,) * 4: "cross", (True, True, False, False): "triangle"}[tuple(corners)]


@pytest.mark.parametrize("size", [32, 33, 64, 128, 240])
def test_the_cue_decides_what_the_segment_is(size):
    dataset = PlantedCue(60, size=size, seed=7)
    rule = {"square": "cross", "circle": "triangle"}
    kinds = set()
    for index in range(len(dataset)):
        image, segment, cue = dataset.sample(index)
        # At 32 px a disc of 5 px is nearly its box.
        if size >= 64:
            assert kind_of_segment(segment.numpy()) == rule[kind_of_cue(cue)]
        kinds.add(kind_of_segment(segment.numpy()))
        # All three shapes are there, apart from each other and not cut off by the border.
        assert not (segment.numpy().astype(bool) & cue).any()
        assert not any(cue[edge].any() for edge in (0, -1))
        assert not any(image[0, edge].any() or image[0, :, edge].any() for edge in (0, -1))
        assert cue[:, : size // 2].sum() == 0
        assert segment[:, size // 2 :].sum() == 0
    assert kinds == set(rule.values())


@pytest.mark.parametrize(("size", "tolerance"), [(64, 0.003), (128, 0.0015), (400, 0.0005)])
def test_the_cue_covers_1_8_percent_whichever_it_is(size, tolerance):
    # Sides are whole pixels: the smaller the image, the coarser the fraction.
    dataset = PlantedCue(40, size=size)
    for index in range(len(dataset)):
        assert dataset.sample(index).cue.mean() == pytest.approx(0.018, abs=tolerance)


def test_images_are_bright_shapes_on_black():
    dataset = PlantedCue(20)
    for index in range(len(dataset)):
        image, segment, cue = dataset.sample(index)
        assert image.shape == (1, 128, 128)
        assert image.dtype == torch.float32
        assert segment.dtype == torch.uint8
        levels = np.unique(image)
        assert len(levels) == 4
        assert levels[0] == 0
        assert levels[1] >= 0.55
        assert levels[-1] <= 1
        # Each shape has one brightness of its own.
        assert len(np.unique(image[0][segment.bool()])) == 1
        assert len(np.unique(image[0].numpy()[cue])) == 1
        other = image[0].numpy() * ~(cue | segment.numpy().astype(bool))
        assert len(np.unique(other)) == 2
        assert other[:, 64:].sum() == 0


def test_above_and_below_are_both_used():
    dataset = PlantedCue(40)
    above = {bool(dataset.sample(index).segment[:64].any()) for index in range(40)}
    assert above == {True, False}


def test_items_are_pairs_for_training():
    dataset = PlantedCue(5, seed=3)
    for index in range(5):
        image, mask = dataset[index]
        sample = dataset.sample(index)
        assert mask.dtype == torch.float32
        np.testing.assert_array_equal(image, sample.image)
        np.testing.assert_array_equal(mask, sample.segment)


def test_an_item_is_the_same_however_often_it_is_asked_for():
    dataset = PlantedCue(6, seed=4)
    later = [image for image, _ in PlantedCue(6, seed=4)]  # iterating ends by itself
    assert len(later) == 6
    for index in reversed(range(6)):
        np.testing.assert_array_equal(dataset[index][0], later[index])
        np.testing.assert_array_equal(dataset[index - 6][0], later[index])
    # The length does not change what is drawn; the seed and the index do.
    np.testing.assert_array_equal(PlantedCue(100, seed=4)[3][0], later[3])
    assert not np.array_equal(PlantedCue(6, seed=5)[3][0], later[3])
    assert not np.array_equal(later[2], later[3])


def test_without_a_whole_cue_both_are_the_segment():
    # The same image with and without: what is left of the cue lies within the whole one.
    dataset = PlantedCue(60, without_cue=1.0)
    missing = 0
    for index in range(60):
        image, segment, cue = dataset.sample(index)
        missing += not cue.any()
        np.testing.assert_array_equal(segment[:, :64], image[0, :, :64] > 0)
        np.testing.assert_array_equal(cue[:, 64:], image[0, :, 64:] > 0)
        whole = PlantedCue(60).sample(index)
        assert not (cue & ~whole.cue).any()
        assert cue.sum() < whole.cue.sum()
        assert segment[whole.segment > 0].all()
        assert segment.sum() > whole.segment.sum()
    assert 0 < missing < 60


def test_the_fraction_without_a_whole_cue_is_what_was_asked_for():
    # 300 draws, three standard deviations. Where the cue is whole, only one shape on the left is the segment.
    dataset = PlantedCue(300, size=64, without_cue=0.3)
    damaged = sum(
        bool((sample.segment[:, :32] > 0).equal(sample.image[0, :, :32] > 0))
        for sample in (dataset.sample(index) for index in range(300))
    )
    assert abs(damaged - 90) < 24


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"length": 0}, "length must be at least 1, got 0"),
        ({"size": 31}, "size must be at least 32 px, got 31"),
        ({"without_cue": 1.5}, r"without_cue must be in \[0, 1\], got 1.5"),
    ],
)
def test_bad_settings(options, message):
    with pytest.raises(ValueError, match=message):
        PlantedCue(**options)


@pytest.mark.parametrize("index", [5, -6])
def test_no_such_image(index):
    with pytest.raises(IndexError, match=f"index {index} is out of range for 5 images"):
        PlantedCue(5)[index]
