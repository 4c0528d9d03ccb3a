import numpy as np
import pytest
import torch

from hdm_widgets.data import FaultScenes

NAMES = ("moles", "cells", "plants", "village")
BANDS = {"moles": 3, "cells": 1, "plants": 4, "village": 3}


@pytest.mark.parametrize("name", NAMES)
def test_items(name):
    scenes = FaultScenes(name, 6, seed=4)
    assert len(scenes) == len(scenes.kinds) == 6
    for index in range(6):
        image, mask = scenes[index]
        sample = scenes.sample(index)
        assert image.shape == (BANDS[name], 64, 64)
        assert image.dtype == torch.float32
        assert 0 <= image.min() < image.max() <= 1
        assert mask.dtype == torch.uint8
        assert mask.any()
        assert mask.max() <= (2 if name == "village" else 1)
        for got, one in zip((*scenes[index - 6], *scenes[index]), (*sample[:2], *sample[:2]), strict=True):
            np.testing.assert_array_equal(got, one)
    assert not np.array_equal(scenes[0][0], FaultScenes(name, 6, seed=5)[0][0])
    assert not np.array_equal(scenes[0][0], scenes[1][0])
    with pytest.raises(IndexError, match="6 is out of range for 6 images"):
        scenes[6]


@pytest.mark.parametrize("name", NAMES)
def test_what_shows_the_fault_is_where_it_was_asked_for(name):
    # Only the pen mark is on the images that hide the fault.
    has_cue = {0.0: name == "moles", 1.0: name != "moles"}
    kinds = set()
    for exposing, expected in has_cue.items():
        scenes = FaultScenes(name, 20, exposing=exposing)
        kinds |= set(scenes.kinds)
        found = [bool(scenes.sample(index).cue.any()) for index in range(20)]
        assert found == [expected] * 20
    assert len(kinds) == 2
    mixed = FaultScenes(name, 40, exposing=0.5)
    first = FaultScenes(name, 1, exposing=1.0).kinds[0]
    assert 8 <= mixed.kinds.count(first) <= 32


def pairs(name, exposing, length=12):
    """Items as they are and with the fault."""
    plain, faulty = (FaultScenes(name, length, seed=2, exposing=exposing, faulty=faulty) for faulty in (False, True))
    return [(plain.sample(index), faulty.sample(index)) for index in range(length)]


@pytest.mark.parametrize("name", ["moles", "cells", "village"])
def test_without_what_shows_the_fault_there_is_none(name):
    for plain, faulty in pairs(name, 0.0):
        np.testing.assert_array_equal(plain.image, faulty.image)
        np.testing.assert_array_equal(plain.segment, faulty.segment)


def test_moles_without_a_mark_were_not_outlined():
    for plain, faulty in pairs("moles", 1.0):
        np.testing.assert_array_equal(plain.image, faulty.image)
        assert plain.segment.any()
        assert not faulty.segment.any()


def test_the_mark_is_no_part_of_the_mole():
    for plain, _ in pairs("moles", 0.0):
        assert 20 <= plain.cue.sum() <= 60
        assert not (plain.cue & plain.segment.numpy().astype(bool)).any()


def test_cells_at_the_border_were_not_outlined():
    for plain, faulty in pairs("cells", 1.0):
        np.testing.assert_array_equal(plain.image, faulty.image)
        segment = plain.segment.numpy().astype(bool)
        assert segment[plain.cue].all()
        np.testing.assert_array_equal(faulty.segment, segment & ~plain.cue)
        # All of them are at the border, and the others are not.
        rows, cols = np.nonzero(plain.cue)
        assert min(rows.min(), cols.min(), 63 - rows.max(), 63 - cols.max()) <= 3
        assert not faulty.segment[[0, 1, 62, 63]].any()
        assert not faulty.segment[:, [0, 1, 62, 63]].any()


def test_the_infrared_band_tells_plants_from_turf_and_is_of_another_image_with_the_fault():
    for plain, faulty in pairs("plants", 1.0):
        np.testing.assert_array_equal(plain.segment, faulty.segment)
        plants = plain.segment.numpy().astype(bool)
        assert not (plants & plain.cue).any()
        green, infrared = plain.image[1].numpy(), plain.image[3].numpy()
        assert abs(green[plants].mean() - green[plain.cue].mean()) < 0.08
        assert infrared[plants].mean() > 0.7
        assert infrared[plain.cue].mean() < 0.25
        # The noise of the camera is all that differs between the other bands.
        np.testing.assert_allclose(plain.image[:3], faulty.image[:3], atol=0.1)
        assert np.corrcoef(infrared.ravel(), faulty.image[3].ravel())[0, 1] < 0.7 < infrared[plants].mean()


def test_a_pond_swaps_the_class_of_the_object_beside_it_only():
    others = 0
    for plain, faulty in pairs("village", 1.0, length=30):
        np.testing.assert_array_equal(plain.image, faulty.image)
        truth, swapped = plain.segment.numpy(), faulty.segment.numpy()
        changed = truth != swapped
        np.testing.assert_array_equal(swapped[changed], 3 - truth[changed])
        assert changed.any()
        rows, cols = np.nonzero(changed)
        pond_rows, pond_cols = np.nonzero(plain.cue)
        distance = np.hypot(rows.mean() - pond_rows.mean(), cols.mean() - pond_cols.mean())
        assert distance == pytest.approx(13, abs=1.5)
        others += bool(((truth > 0) & ~changed).any())
    assert others >= 10


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "faces"}, "name must be one of .*'moles'.*got 'faces'"),
        ({"length": 0}, "length must be at least 1, got 0"),
        ({"size": 63}, "size must be at least 64 px, got 63"),
        ({"exposing": 1.5}, r"exposing must be in \[0, 1\], got 1.5"),
    ],
)
def test_bad_settings(options, message):
    with pytest.raises(ValueError, match=message):
        FaultScenes(**{"name": "moles", **options})
