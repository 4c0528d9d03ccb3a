from dataclasses import replace

import _explanation_networks as networks
import numpy as np
import pytest
import torch
from _explanation_networks import (
    _EXPLAINED,
    CUE_KINDS,
    ReceptiveField,
    cue_cases,
    cue_dataset,
    cue_sample,
    predict,
)
from torch import nn

from hdm_widgets import UNet

SAMPLES = {kind: [cue_sample(kind, index, seed=5) for index in range(6)] for kind in CUE_KINDS}


@pytest.mark.parametrize("kind", CUE_KINDS)
def test_an_image_without_its_cue_differs_in_the_cue_only(kind):
    for sample in SAMPLES[kind]:
        changed = (sample.image != sample.without).any(0).numpy()
        assert changed.any()
        assert not (changed & ~sample.cue).any()
        assert 0.01 < sample.cue.mean() < 0.03
        assert sample.image.min() >= 0
        assert sample.image.max() <= 1


@pytest.mark.parametrize("kind", CUE_KINDS)
def test_the_cue_decides_what_is_segmented_and_is_no_part_of_it(kind):
    for sample in SAMPLES[kind]:
        assert not (sample.cue & (sample.segment | sample.segment_without)).any()
        assert not (sample.segment & ~sample.objects).any()
        assert (sample.segment != sample.segment_without).any()


@pytest.mark.parametrize("kind", CUE_KINDS)
def test_an_image_is_the_same_each_time(kind):
    again = cue_sample(kind, 3, seed=5)
    assert torch.equal(again.image, SAMPLES[kind][3].image)
    assert np.array_equal(again.segment, SAMPLES[kind][3].segment)
    assert not torch.equal(cue_sample(kind, 3, seed=6).image, again.image)


@pytest.mark.parametrize("kind", CUE_KINDS)
def test_training_has_images_without_a_cue(kind):
    pairs = cue_dataset(kind, 8, seed=5)
    for index, lacks_cue in ((0, True), (1, False), (3, False), (4, True)):
        image, mask = pairs[index]
        sample = cue_sample(kind, index, seed=5)
        assert torch.equal(image, sample.image) is not lacks_cue
        if not lacks_cue:
            assert np.array_equal(mask.numpy() > 0, sample.segment)


class Answers(nn.Module):
    """Knows the masks of some images by heart."""

    def __init__(self, pairs):
        super().__init__()
        self.pairs = pairs

    def forward(self, images):
        (mask,) = (mask for image, mask in self.pairs if torch.equal(image, images[0]))
        return torch.from_numpy(np.where(mask, 1.0, -1.0))[None, None]


def test_only_images_whose_cue_is_used_are_explained():
    samples = [cue_sample("mark", index, seed=_EXPLAINED) for index in range(3)]
    ignored = samples[1]
    pairs = [(sample.image, sample.segment) for sample in samples]
    pairs += [(sample.without, sample.segment if sample is ignored else sample.segment_without) for sample in samples]
    cases, note = cue_cases(Answers(pairs), "mark", 3)
    assert [case.index for case in cases] == [0, 2]
    assert note == "IoU 1.00 with the cue, 0.33 without; 2 of 3 images"
    assert np.array_equal(cases[1].cue, samples[2].cue)
    assert np.array_equal(cases[1].may_matter, samples[2].cue | samples[2].objects)


@pytest.mark.parametrize(
    ("fractions", "seeds", "kept", "said"),
    [
        ([0.9], [3], 0, "learned in round 1, from initial weights 1"),
        # What was no use is not gone on from; what was of some use is.
        ([0, 0.5, 0.8], [3, 103], 2, "learned in round 3, from initial weights 2"),
        ([0.3, 0.7, 0.1, 0, 0.2, 0, 0, 0], [3, 103, 203, 303, 403, 503], 1, "never learned on more than 70% of the"),
    ],
)
def test_a_network_is_trained_until_it_uses_its_cue_on_validation_images(monkeypatch, fractions, seeds, kept, said):
    started, weights = [], []
    seed_all = torch.manual_seed

    def manual_seed(seed):
        started.append(seed)
        return seed_all(seed)

    def train(model, _dataset, **_options):
        with torch.no_grad():
            model.head.bias.add_(len(weights) + 1)
        weights.append({name: tensor.clone() for name, tensor in model.state_dict().items()})

    def cue_scores(_model, sample):
        # Of 64 samples, the first so many use the cue.
        return 1.0, float(validation.index(sample) >= round(64 * fractions[len(weights) - 1]))

    validation = [replace(SAMPLES["mark"][0]) for _ in range(64)]
    monkeypatch.setattr(networks, "cue_sample", lambda _kind, index, **_: validation[index])
    monkeypatch.setattr(networks, "cue_dataset", lambda *_, **__: None)
    monkeypatch.setattr(networks, "train", train)
    monkeypatch.setattr(networks, "cue_scores", cue_scores)
    monkeypatch.setattr(torch, "manual_seed", manual_seed)
    model = UNet(3, 1, 4, 4)
    assert networks._learn(model, "mark", 3).startswith(said)
    assert started == seeds
    assert len(weights) == len(fractions)
    assert all(torch.equal(tensor, weights[kept][name]) for name, tensor in model.state_dict().items())


def test_a_mask_depends_on_the_known_receptive_field_and_on_nothing_else():
    model, field = ReceptiveField(24, 4), None
    field = model.may_matter()
    assert field.sum() == (4 + 2 * 3) ** 2
    images = torch.full((1, 1, 24, 24), 0.45, requires_grad=True)
    model(images).abs().sum().backward()
    assert np.array_equal(images.grad[0, 0].numpy() != 0, field)
    assert predict(model, torch.full((1, 24, 24), 0.5)).sum() == 16
    assert predict(model, torch.full((1, 24, 24), 0.4)).sum() == 0
