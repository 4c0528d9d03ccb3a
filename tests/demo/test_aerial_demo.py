import sys

import numpy as np
import pytest
import torch
from sklearn.metrics import silhouette_score

import hdm_widgets as hw
from hdm_widgets.data import LAND_USES, AerialScenes
from hdm_widgets.demo import _aerial, train_aerial
from hdm_widgets.models.training import evaluate

BUILT_UP, EMPTY = ("scattered houses", "dense blocks"), ("forest", "water", "field")
LOOKALIKES = ("car park", "cemetery")


@pytest.fixture(scope="module")
def space():
    """A map of 350 patches, about 50 of each land use."""
    model, scenes = hw.demo.aerial(350)
    return hw.LatentSpace(model).fit(scenes, progress=False)


def test_the_demo_shows_scenes_that_were_not_trained_on():
    assert len({_aerial.TRAINING_SEED, _aerial.VALIDATION_SEED, _aerial.DEMO_SEED}) == 3
    model, scenes = hw.demo.aerial(40)
    expected = AerialScenes(40, seed=_aerial.DEMO_SEED)
    assert len(scenes) == 40
    assert scenes.columns == expected.columns
    for index in (0, 39):
        for got, one in zip(scenes[index], expected[index], strict=True):
            np.testing.assert_array_equal(got, one)
    assert isinstance(model, hw.UNet)
    assert not model.training
    assert hw.demo.aerial(3).model is model
    assert len(hw.demo.aerial().dataset) == 1200


def test_the_weights_are_small_and_need_no_pickle():
    assert _aerial.WEIGHTS.stat().st_size < 1_000_000
    with np.load(_aerial.WEIGHTS, allow_pickle=False) as stored:
        assert set(stored) == set(_aerial.network().state_dict())
        assert all(value.dtype != object for value in stored.values())


def test_what_the_model_knows_and_what_it_confuses():
    pooled = {
        land_use: evaluate(hw.demo.aerial(1).model, AerialScenes(24, seed=_aerial.DEMO_SEED, weights={land_use: 1}))
        for land_use in BUILT_UP + LOOKALIKES
    }
    assert min(pooled[land_use] for land_use in BUILT_UP) > 0.65, pooled
    assert max(pooled[land_use] for land_use in LOOKALIKES) < 0.2, pooled


def test_the_map_is_made_at_the_bottleneck(space):
    assert space.layer_name_ == "bottleneck"
    assert space.layer_.chosen
    assert space.layer_.shape == (128, 6, 6)
    assert space.collection_.features.shape == (350, 128)
    assert set(space.columns_) == {"land_use"}
    assert set(space.columns_["land_use"]) == set(LAND_USES)
    # Scenes without any building have the IoU of an empty truth: nothing can be hit there.
    empty = np.isin(space.columns_["land_use"], EMPTY)
    assert (space.overlaps_.truth_area[empty] == 0).all()
    np.testing.assert_array_equal(space.iou_[empty], 0)
    assert space.iou_[np.isin(space.columns_["land_use"], BUILT_UP)].mean() > 0.5


def test_built_up_land_is_apart_from_empty_land(space):
    land_use = space.columns_["land_use"]
    chosen = np.isin(land_use, BUILT_UP + EMPTY)
    built_up = np.isin(land_use[chosen], BUILT_UP)
    # 0 is what chance gives. The weights in the package give 0.54 in the full space and on the map.
    assert silhouette_score(space.collection_.features[chosen], built_up) > 0.35
    assert silhouette_score(space.embedding_[chosen], built_up) > 0.35


@pytest.mark.parametrize(("land_use", "other"), [LOOKALIKES, LOOKALIKES[::-1]])
def test_what_the_model_takes_for_alike_are_neighbors(space, land_use, other):
    named = space.columns_["land_use"]
    near = np.array([named[space.neighbors(index).indices] for index in np.flatnonzero(named == land_use)])
    assert near.shape == (np.sum(named == land_use), 12)
    fractions = {name: float(np.mean(near == name)) for name in LAND_USES if name != land_use}
    # One in seven is what chance gives. The weights in the package give 0.3 for either.
    assert fractions[other] > 0.2, fractions
    assert other == max(fractions, key=fractions.get), fractions


def test_the_place_on_the_map_tells_what_to_expect(space):
    # The weights in the package give 0.97.
    assert space.cv_score_ > 0.7
    other = AerialScenes(30, seed=_aerial.VALIDATION_SEED)
    found = space.locate(torch.stack([image for image, _ in other]))
    assert np.median(found.distance) < 1
    # An image of noise is none of these.
    noise = torch.rand(4, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    assert (space.locate(noise).distance > 2).all()


def test_the_script_that_trains_it(monkeypatch, tmp_path, capsys):
    # The same script on a few small images: what it writes can be loaded.
    monkeypatch.setattr(
        train_aerial, "AerialScenes", lambda length, **options: AerialScenes(min(length, 6), size=32, **options)
    )
    out = tmp_path / "weights.npz"
    monkeypatch.setattr(sys, "argv", ["train_aerial", "--epochs", "1", "--images", "6", "--out", str(out)])
    train_aerial.main()
    model = _aerial.load(out)
    assert not model.training
    assert model(torch.zeros(1, 3, 32, 32)).shape == (1, 1, 32, 32)
    score = evaluate(model, AerialScenes(6, size=32, seed=_aerial.VALIDATION_SEED, weights={"dense blocks": 1}))
    assert f"{'dense blocks':<18} pooled IoU {score:.3f}" in capsys.readouterr().out
