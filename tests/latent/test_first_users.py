"""What people do who have not read the documentation to its end."""

import threading

import numpy as np
import pytest
import torch
from torch import nn

import hdm_widgets as hw
from hdm_widgets.latent import CollectionError

QUIET = {"progress": False}


class Waits(nn.Module):
    """A small encoder-decoder that waits in its forward pass where it is told to."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.down = nn.Conv2d(3, 4, 4, stride=4)
        self.up = nn.ConvTranspose2d(4, 1, 4, stride=4)
        self.gates = {}

    def forward(self, images):
        gate = self.gates.get(threading.get_ident())
        if gate is not None:
            gate()
        return self.up(self.down(images))


def items(count=6, shape=(3, 16, 16)):
    rng = np.random.default_rng(0)
    images = rng.random((count, *shape)).astype(np.float32)
    return [(image, image[0] > 0.5) for image in images]


def test_a_run_of_the_model_in_another_thread_does_not_disturb():
    model, data = Waits().eval(), items()
    alone = hw.LatentSpace(model, batch_size=1).fit(data, **QUIET)
    other = torch.rand(1, 3, 16, 16)
    runs = []

    def run_beside():
        thread = threading.Thread(target=lambda: runs.append(model(other)))
        thread.start()
        thread.join()

    # Within each run of ours there is one of someone else's.
    model.gates[threading.get_ident()] = run_beside
    beside = hw.LatentSpace(model, batch_size=1).fit(data, **QUIET)
    np.testing.assert_array_equal(beside.collection_.features, alone.collection_.features)
    assert beside.layer_ == alone.layer_
    np.testing.assert_array_equal(beside.locate(other).embedding, alone.locate(other).embedding)
    assert len(runs) > len(data)


def test_channels_last_are_told_apart_from_a_wrong_mask():
    rng = np.random.default_rng(0)
    data = [(rng.random((32, 40, 3)).astype(np.float32), rng.random((32, 40)) > 0.5) for _ in range(4)]
    with pytest.raises(CollectionError, match=r"item 0: the image must be \(C, H, W\), got shape \(32, 40, 3\); chan"):
        hw.LatentSpace(Waits()).fit(data, **QUIET)


def test_masks_of_several_classes_are_noticed():
    data = [(image, (image[0] * 3).astype(int)) for image, _ in items()]
    with pytest.warns(UserWarning, match=r"the mask of item 0 has 2 different values besides 0 and all of") as said:
        space = hw.LatentSpace(Waits()).fit(data, **QUIET)
    assert len(said) == 1
    assert said[0].filename == __file__
    assert space.overlaps_.truth_area[2] == np.count_nonzero(data[2][1])


@pytest.fixture(scope="module")
def space():
    return hw.LatentSpace(Waits()).fit(items(12), **QUIET)


def test_selections_and_sets_are_indices_too(space):
    some, more = space.select([3, 1]), space.select([5])
    assert space.select(some | more).indices.tolist() == [1, 3, 5]
    assert space.select({7, 2}).indices.tolist() == [2, 7]
    assert space.select(frozenset()).indices.tolist() == []


def test_another_model_is_noticed_when_a_space_is_opened_with_it(space, tmp_path):
    space.save(tmp_path)
    hw.LatentSpace.load(tmp_path, Waits(), items(12))  # the same weights: not a word
    with pytest.raises(ValueError, match=r"the model has no layer 'down'; the model has no layer with a name"):
        hw.LatentSpace.load(tmp_path, nn.Conv2d(3, 1, 1))
    other = Waits()
    nn.init.normal_(other.down.weight)
    with pytest.warns(UserWarning, match="the model gives other activations for item 0 than the space holds"):
        hw.LatentSpace.load(tmp_path, other, items(12))
    with pytest.warns(UserWarning, match="item 0 of the data set is not the one that the space was made with"):
        hw.LatentSpace.load(tmp_path, Waits(), items(13)[1:])


def test_threshold_and_target_are_kept_for_a_bare_model(tmp_path):
    model = Waits()
    space = hw.LatentSpace(model, threshold=0.9).fit(items(), **QUIET)
    space.save(tmp_path)
    assert hw.LatentSpace.load(tmp_path, model).segmenter.threshold == 0.9
    assert hw.LatentSpace.load(tmp_path, hw.Segmenter(model, threshold=0.2)).segmenter.threshold == 0.2
