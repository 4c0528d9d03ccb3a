"""A latent space on a device that is not the CPU: the same space, and no transfer for a single item."""

import numpy as np
import pytest
import torch
from device_double import CPU, DEVICE, second_device
from window_checks import randomized

import hdm_widgets as hw
from hdm_widgets.models.fingerprint import fingerprint

IMAGES = torch.rand(48, 1, 32, 32, generator=torch.Generator().manual_seed(0))
MASKS = (IMAGES[:, 0] > 0.5).float()


@pytest.fixture(scope="module")
def model():
    return randomized(hw.UNet(1, 1, 4, 2))


def fitted(model, count, device=None, images=IMAGES, masks=MASKS):
    return hw.LatentSpace(hw.Segmenter(model, device=device)).fit(
        list(zip(images[:count], masks[:count], strict=True)), progress=False
    )


def test_a_space_of_another_device(model):
    expected = fitted(model, 24)
    with second_device() as device:
        space = fitted(model, 24, DEVICE)
        assert device.convolutions[CPU] == 0
        assert device.convolutions[DEVICE] > 0
        moved, estimated = space.transform(IMAGES[24:30]), space.estimate(IMAGES[24:30], progress=False)
        on_device = fitted(model, 24, DEVICE, IMAGES.to(DEVICE), MASKS.to(DEVICE))
        np.testing.assert_allclose(space.transform(IMAGES[24:30].to(DEVICE)), moved)
    for found in (space, on_device):
        np.testing.assert_allclose(found.collection_.features, expected.collection_.features, rtol=1e-6)
        np.testing.assert_array_equal(found.iou_, expected.iou_)
        for name, values in expected.collection_.confidences.items():
            np.testing.assert_allclose(found.collection_.confidences[name], values, rtol=1e-5)
    np.testing.assert_allclose(moved, expected.transform(IMAGES[24:30]), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(estimated.iou, expected.estimate(IMAGES[24:30], progress=False).iou, rtol=1e-4)


def test_transfers_are_for_batches(model):
    counts = []
    for items in (24, 48):
        with second_device() as device:
            fitted(model, items, DEVICE)
            counts.append((device.to_device, device.to_cpu, device.reads))
    assert counts[0] == counts[1]


def test_a_fingerprint_is_one_transfer(model):
    expected = fingerprint(model.parameters())
    with second_device() as device:
        on_device = [parameter.detach().to(DEVICE) for parameter in model.parameters()]
        device.reset()
        found = fingerprint(on_device)
        assert device.waits == 1
    # Of other tensors with the same values.
    assert found.partition(b"], ")[2] == expected.partition(b"], ")[2]
