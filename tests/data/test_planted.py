import numpy as np
import pytest
import torch

from hdm_widgets.data import AerialScenes, PlantedFailures

KINDS = ("new object", "shadow", "resolution", "noise")


def only(kind, length=3, **options):
    return PlantedFailures(length, size=48, fractions={kind: 1}, **options)


@pytest.mark.parametrize("kind", KINDS)
def test_items(kind):
    scenes = only(kind)
    assert scenes.planted == [kind] * 3
    assert set(scenes.columns) == {"land_use"}
    for index in range(3):
        image, mask = scenes[index]
        assert (image.shape, image.dtype) == ((3, 48, 48), torch.float32)
        assert (mask.shape, mask.dtype) == ((48, 48), torch.float32)
        assert 0 <= image.min() < image.max() <= 1
        assert set(mask.unique().tolist()) == {0.0, 1.0}
        again = only(kind).sample(index - 3)
        assert again.land_use == scenes.columns["land_use"][index]
        np.testing.assert_array_equal(again.image, image)
        np.testing.assert_array_equal(again.segment, mask)


def test_fractions_are_as_stated_and_all_other_images_are_those_of_aerial_scenes():
    fractions = {"shadow": 0.2, "noise": 0.1}
    weights = {"field": 1.0, "forest": 1.0}
    scenes = PlantedFailures(2000, size=32, seed=3, weights=weights, fractions=fractions)
    planted = np.array(scenes.planted)
    for kind, fraction in (*fractions.items(), ("none", 0.7), ("resolution", 0)):
        # Four standard deviations of a binomial.
        assert (planted == kind).mean() == pytest.approx(fraction, abs=4 * np.sqrt(fraction * (1 - fraction) / 2000))
    plain = AerialScenes(2000, size=32, seed=3, weights=weights)
    land_uses = np.array(scenes.columns["land_use"])
    others = planted == "none"
    np.testing.assert_array_equal(land_uses[others], np.array(plain.columns["land_use"])[others])
    assert set(land_uses[planted == "shadow"]) == {"dense blocks"}
    assert set(land_uses[planted == "noise"]) == {"scattered houses"}
    for index in np.flatnonzero(others)[:3].tolist():
        np.testing.assert_array_equal(scenes[index][0], plain[index][0])


def test_damage():
    plain = AerialScenes(3, size=48, weights={"dense blocks": 1})
    light = np.mean([plain[index][0].mean() for index in range(3)])
    assert np.mean([only("shadow")[index][0].mean() for index in range(3)]) < 0.7 * light

    def roughness(scenes):
        return np.mean([np.diff(scenes[index][0].numpy(), axis=2).std() for index in range(3)])

    assert roughness(only("noise")) > 2 * roughness(AerialScenes(3, size=48, weights={"scattered houses": 1}))

    def objects_edge(scenes):
        masks = [scenes[index][1].numpy() for index in range(3)]
        return sum(np.abs(np.diff(mask)).sum() for mask in masks) / sum(mask.sum() for mask in masks)

    # Houses are smaller: they have more border for their area.
    assert objects_edge(only("resolution")) > 2 * objects_edge(plain)
    roofs = [only("new object")[index] for index in range(3)]
    red, green = (np.mean([image[band][mask > 0].mean() for image, mask in roofs]) for band in (0, 1))
    assert green > red


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fractions": {"snow": 0.1}}, "unknown kind 'snow'; known are new object, shadow, resolution, noise"),
        ({"fractions": {"shadow": 0.6, "noise": 0.6}}, "fractions must be in .0, 1. and sum to at most 1"),
        ({"fractions": {"shadow": -0.1}}, "fractions must be in .0, 1."),
        ({"fractions": {"shadow": float("nan")}}, "fractions must be in .0, 1."),
        ({"length": 0}, "length must be at least 1"),
        ({"weights": {"moon": 1}}, "unknown land use 'moon'"),
    ],
)
def test_bad_input(options, message):
    with pytest.raises(ValueError, match=message):
        PlantedFailures(**{"length": 3, **options})


def test_an_index_out_of_range():
    with pytest.raises(IndexError, match="3 is out of range for 3 images"):
        only("shadow")[3]
