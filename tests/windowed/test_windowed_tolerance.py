"""Windows that reach as far as a value changed by more than is tolerated."""

import numpy as np
import pytest
import torch
from architectures import LOCAL, DilatedFCN, ResNetUNet, made
from global_networks import GLOBAL, Around
from single_operations import OPERATIONS, PERHAPS_WHOLE
from torch import nn
from window_checks import (
    assert_close,
    boxes_everywhere,
    changed_images,
    outputs_from_windows,
    random_image,
    randomized,
)

from hdm_widgets.windowed import TracedModel, WindowedInference

# With values that are no numbers, have no channels, or are not one to a image.
PECULIAR = {
    name: {**OPERATIONS, **PERHAPS_WHOLE}[name]
    for name in [
        "where",
        "joined images",
        "one hot",
        "one row for all",
        "in place: rows set",
        "joined",
        "largest of channels",
    ]
} | {
    name: lambda part=GLOBAL[name][0]: Around(part())
    for name in ["squeeze and excite, linear", "token attention", "blur", "spectrum", "group norm"]
}
NETWORKS = {**{name: lambda factory=factory: factory(2) for name, factory in LOCAL.items()}, **PECULIAR}


@pytest.mark.parametrize("name", NETWORKS)
def test_nothing_is_lost_without_tolerance(name):
    shape = (2, 33, 40) if name in GLOBAL else (2, 29, 38) if name in PECULIAR else (2, 48, 64)
    model, image = made(NETWORKS[name]).eval(), random_image(*shape)
    with torch.no_grad():
        model(image[None].clone())  # lazy layers learn how many channels they get
    model = randomized(model)
    boxes = boxes_everywhere(*shape[1:], 7)
    # All of a box is another, or one pixel in it: then there is much to shrink.
    pixels = image.repeat(len(boxes), 1, 1, 1)
    for changed, (row0, col0, row1, col1) in zip(pixels, boxes.tolist(), strict=True):
        changed[:, (row0 + row1) // 2, (col0 + col1) // 2] += 1
    base = WindowedInference(TracedModel(model, image).network, image)
    for images in (changed_images(image, boxes), pixels):
        with torch.inference_mode():
            whole = torch.cat([model(changed[None].clone()) for changed in images])
        assert_close(outputs_from_windows(base, boxes, images, tolerance=0.0), whole)


def _sizes(base, boxes, images, tolerance):
    def content(items, grown):
        return torch.stack([images[i, :, a:c, b:d] for i, (a, b, c, d) in zip(items, grown.tolist(), strict=True)])

    sizes = np.zeros((len(boxes), 2), int)
    if tolerance is not None:
        base = base.limited(base.reach(boxes, content, tolerance))
    for windows in base.run(boxes, content):
        sizes[windows.items] = windows.values.shape[-2:]
    return sizes


def test_windows_shrink_around_the_pixel_that_changed():
    model, image = randomized(made(DilatedFCN, 1)), random_image(1, 48, 64)
    images = image.repeat(1, 1, 1, 1)
    images[0, 0, 24, 30] += 3
    base, boxes = WindowedInference(TracedModel(model, image).network, image), np.array([[20, 20, 30, 40]])
    side = 2 * DilatedFCN.radius
    assert _sizes(base, boxes, images, None).tolist() == [[10 + side, 20 + side]]
    # More than float32 rounds, less than what the pixel changes.
    # A window has the box at least, and what goes beyond it on the sides to which the pixel is nearest.
    (shrunk,) = _sizes(base, boxes, images, 1e-5)
    radius = DilatedFCN.radius
    assert (shrunk <= [max(30, 25 + radius) - min(20, 24 - radius), max(40, 31 + radius) - min(20, 30 - radius)]).all()
    assert (shrunk >= [10, 20]).all()


def test_the_more_is_tolerated_the_smaller_the_windows():
    model, image = randomized(made(ResNetUNet, 1)), random_image(1, 64, 64)
    boxes = boxes_everywhere(64, 64, 9)
    images = changed_images(image, boxes)
    base = WindowedInference(TracedModel(model, image).network, image)
    areas = [_sizes(base, boxes, images, tolerance).prod(1).sum() for tolerance in (None, 0.0, 0.01, 0.1, 10)]
    assert areas == sorted(areas, reverse=True)
    assert areas[0] > areas[3] >= areas[4]


def test_what_does_not_change_is_looked_at_where_the_box_is():
    model, image = randomized(made(DilatedFCN, 1)), random_image(1, 30, 30)
    boxes = boxes_everywhere(30, 30, 8)
    base = WindowedInference(TracedModel(model, image).network, image)
    same = image.repeat(len(boxes), 1, 1, 1)
    # Boxes are grown to multiples of 2, and the last layers follow what may change in them.
    assert (_sizes(base, boxes, same, 1e-5) <= _sizes(base, boxes, same, None)).all()
    assert_close(outputs_from_windows(base, boxes, same, 1e-5), base.output.repeat(len(boxes), 1, 1, 1))


def test_what_is_not_a_number_is_a_change():
    model = nn.Conv2d(1, 1, 3, padding=1).eval()
    image = random_image(1, 20, 20)
    images = image.repeat(1, 1, 1, 1)
    images[0, 0, 10, 10] = torch.nan
    base, boxes = WindowedInference(TracedModel(model, image).network, image), np.array([[8, 8, 14, 14]])
    outputs = outputs_from_windows(base, boxes, images, 1000.0)
    assert outputs[0, 0].isnan().nonzero().tolist() == [[row, col] for row in (9, 10, 11) for col in (9, 10, 11)]
