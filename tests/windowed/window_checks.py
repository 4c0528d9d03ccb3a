"""Compares what the windowed engine computes with the model itself on whole images."""

from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.parametrize import is_parametrized

from hdm_widgets.windowed import TracedModel, WindowedInference

# Of the largest output: float32 sums of the same terms in another order.
TOLERANCE = 1e-5


class Compared(NamedTuple):
    """Outputs (n, ...) for the same images, and for the image that they differ from (1, ...)."""

    windowed: torch.Tensor
    whole: torch.Tensor
    unchanged: torch.Tensor


class Levelled(nn.Module):
    """A network less the median of each of its maps for one image: then every change of a map moves a mask's edge."""

    def __init__(self, network, image):
        super().__init__()
        self.network = network.eval()
        with torch.inference_mode():
            medians = network(image[None]).flatten(2).median(2).values
        self.register_buffer("medians", medians.clone()[..., None, None])

    def forward(self, images):
        return self.network(images) - self.medians


def randomized(model, seed=0):
    """A model in eval mode as if trained: no statistic, scale or shift is 0 or 1, and signals keep their size."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            terms = module.weight[0].numel()
            if isinstance(module, nn.ConvTranspose2d):
                terms = module.weight[:, 0].numel() / module.groups / (module.stride[0] * module.stride[1])
            deviation = (1.8 / max(terms, 1)) ** 0.5
            weight = deviation * torch.randn(module.weight.shape, generator=generator, dtype=module.weight.dtype)
            with torch.no_grad():
                if is_parametrized(module):
                    module.weight = weight
                else:
                    module.weight.copy_(weight)
                if module.bias is not None:
                    module.bias.normal_(generator=generator, std=0.2)
        elif isinstance(module, _BatchNorm):
            if module.running_mean is not None:
                module.running_mean.normal_(generator=generator, std=0.3)
                module.running_var.uniform_(0.4, 1.6, generator=generator)
            if module.affine:
                with torch.no_grad():
                    module.weight.uniform_(0.6, 1.6, generator=generator)
                    module.bias.normal_(generator=generator, std=0.3)
        elif isinstance(module, nn.PReLU):
            with torch.no_grad():
                module.weight.uniform_(0.05, 0.5, generator=generator)
    return model.eval()


def random_image(channels, height, width, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(channels, height, width, generator=generator, dtype=dtype)


def boxes_everywhere(height, width, side):
    """Boxes (n, 4) at the corners, the edges and inside, single pixels, a band, neighbors, and the whole image."""
    rows, cols = (0, (height - side) // 2 + 1, height - side), (0, (width - side) // 3 + 1, width - side)
    boxes = [(row, col, row + side, col + side) for row in rows for col in cols]
    pixels = [(0, 0), (height - 1, width - 1), (height // 2, width // 2)]
    boxes += [(row, col, row + 1, col + 1) for row, col in pixels]
    # One pixel on from each other: some are computed together, others lie otherwise on a coarser grid.
    starts = [(height // 3 + step, width // 3 + 2 * step) for step in range(5)]
    boxes += [(row, col, min(row + side, height), min(col + side, width)) for row, col in starts]
    boxes += [(height // 3, 0, height // 3 + 2, width), (0, 0, height, width)]
    return np.array(boxes)


def changed_images(image, boxes, seed=1):
    """The image (n, C, H, W) with other values in one box each."""
    generator = torch.Generator().manual_seed(seed)
    images = image.repeat(len(boxes), 1, 1, 1)
    for changed, (row0, col0, row1, col1) in zip(images, boxes.tolist(), strict=True):
        box = changed[:, row0:row1, col0:col1]
        # Far from what stood there, so that no pixel stays what it was.
        box.copy_(1.5 - box + torch.rand(box.shape, generator=generator, dtype=box.dtype))
    return images


def outputs_from_windows(base, boxes, images, tolerance=None):
    """The output (n, ...) for each image: the unchanged one with its window pasted in.

    With a tolerance, windows reach as far as any of the images changes a value by more.
    """
    height, width = images.shape[-2:]
    outputs = base.output.repeat(len(images), *(1,) * (base.output.ndim - 1))
    seen = []

    def content(items, grown):
        given = boxes[items]
        assert (grown[:, :2] <= given[:, :2]).all()
        assert (grown[:, 2:] >= given[:, 2:]).all()
        assert (grown[:, :2] >= 0).all()
        assert (grown[:, 2:] <= (height, width)).all()
        parts = [
            images[item, :, row0:row1, col0:col1]
            for item, (row0, col0, row1, col1) in zip(items, grown.tolist(), strict=True)
        ]
        return torch.stack(parts)

    if tolerance is not None:
        base = base.limited(base.reach(boxes, content, tolerance))
    for windows in base.run(boxes, content):
        rows, cols = windows.values.shape[-2:]
        for item, row, col, values in zip(windows.items, windows.rows, windows.cols, windows.values, strict=True):
            seen.append(int(item))
            target = outputs[item, ..., row : row + rows, col : col + cols]
            assert target.shape == values.shape
            target.copy_(values)
    assert sorted(seen) == list(range(len(boxes)))
    return outputs


def assert_close(actual, expected):
    assert actual.shape == expected.shape
    assert actual.dtype == expected.dtype
    scale = max(1.0, float(expected.abs().max()))
    difference = float((actual - expected).abs().max()) if expected.numel() else 0.0
    # Written so that what is not a number is no equality either.
    assert difference <= TOLERANCE * scale, f"differs by {difference} where the largest value is {scale}"


def compared(model, image, boxes, engine=None):
    """Windows, and the model itself one image at a time."""
    with torch.inference_mode():
        engine = engine or TracedModel(model, image)
        images = changed_images(image, boxes)
        base = WindowedInference(engine.network, image)
        before = base.output.clone()
        windowed = outputs_from_windows(base, boxes, images)
        # What is kept of the unchanged image stays as it was.
        assert torch.equal(base.output, before)
        assert_close(outputs_from_windows(base, boxes[:3], images[:3]), windowed[:3])
        # Copies: some networks write into what they are given.
        whole = torch.cat([model(changed[None].clone()) for changed in images])
        assert_close(base.output, model(image[None].clone()))
        for count in (1, 3):
            given = images[-count:].clone()
            assert_close(engine.network.full(given), whole[-count:])
            assert torch.equal(given, images[-count:])
    return Compared(windowed, whole, before)


def assert_windows_equal_the_model(model, image, boxes, engine=None):
    """With whole images and with windows; returns both for further questions."""
    result = compared(model, image, boxes, engine)
    assert_close(result.windowed, result.whole)
    return result


def assert_it_proves_something(result, boxes, least=1.0):
    """The outputs are no constants, and what was changed shows: in so many of the boxes larger than a pixel."""
    whole, unchanged = result.whole.double(), result.unchanged.double()
    scale = max(1.0, float(whole.abs().max()))
    assert whole.std() > 0.01 * scale
    areas = torch.from_numpy((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))
    shown = (whole - unchanged).abs().flatten(1).amax(1) > 100 * TOLERANCE * scale
    assert shown[areas > 1].double().mean() >= least


def assert_computed_together(base, boxes, images):
    """All changes in one batch, as if each were computed alone."""

    def content(items, grown):
        return torch.stack([images[i, :, a:c, b:d] for i, (a, b, c, d) in zip(items, grown.tolist(), strict=True)])

    with torch.inference_mode():
        (together,) = base.run(boxes, content)
        alone = [outputs_from_windows(base, boxes[[item]], images[[item]]) for item in range(len(boxes))]
        assert_close(outputs_from_windows(base, boxes, images), torch.cat(alone))
    assert sorted(together.items.tolist()) == list(range(len(boxes)))
