"""Whether a model's output for an image depends on the other images of its batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from hdm_widgets._validation import warn_user
from hdm_widgets.models.batch_size import BatchSize
from hdm_widgets.models.errors import ModelError, is_out_of_memory
from hdm_widgets.models.modules import model_dtype

if TYPE_CHECKING:
    from hdm_widgets.models.segmenter import Segmenter

__all__ = ["mixes_batches", "run_singly_if_mixing"]

# Differences below this fraction of the largest output are rounding; so are those below _STEPS steps of the model's
# floating type.
_ROUNDING = 1e-5
_STEPS = 4
# Two draws of a random model may differ by this many times what two others differ by.
_NOISE = 4


def mixes_batches(segmenter: Segmenter, images: Tensor) -> float:
    """How much an image's output changes with the rest of its batch, as a multiple of rounding.

    The image compared is the first one with less contrast. Its smallest and largest value, mean and variance differ
    from those of the batch, so that a model that scales by any of them over the batch is found. All its values lie
    between the smallest and the largest of the first image.

    Parameters
    ----------
    segmenter : Segmenter
        Its activation is left undecided.
    images : torch.Tensor (n, C, H, W)
        One or more images; one is enough.

    Returns
    -------
    float
        Largest difference of the model's output between two batches of one size: the image beside `images`, and the
        image beside copies of itself. In multiples of rounding and of the noise of a model that draws random numbers:
        above 1, the model mixes the images of a batch. 0 for a model that fails on batches.
    """
    compared = _compare(segmenter, images)
    return 0.0 if compared is None else compared[0]


def run_singly_if_mixing(segmenter: Segmenter, image: Tensor, sizes: BatchSize, *, remind: bool) -> None:
    """Check once whether a model mixes the images of a batch; if so, warn, and run its images one at a time.

    Parameters
    ----------
    segmenter : Segmenter
        What is found is noted in its `reading`.
    image : torch.Tensor (C, H, W)
        One of the images.
    sizes : BatchSize
        Of the batches that follow. Where these are single images anyway, nothing is checked.
    remind : bool
        Warn also if it is known from an earlier check, and of a model whose runs differ by themselves.
    """
    known = segmenter.runs_are_checked(image)
    if not known and sizes.limit > 1 and (compared := _compare(segmenter, image[None])) is not None:
        segmenter.note_runs(image, batch_dependent=compared[0] > 1, random=compared[1])
    if remind and segmenter.reading.random:
        warn_user(
            "two runs of the model on one image differ (is dropout on, or does the model sample?): what is measured is "
            "one draw of it, and differs from run to run"
        )
    if segmenter.reading.batch_dependent and segmenter.batch_size != 1:
        if remind or not known:
            warn_user(
                "the model's output for an image depends on the other images of its batch; going on one image at a "
                "time (batch_size=1 avoids this warning)"
            )
        sizes.run_singly()


def _compare(segmenter: Segmenter, images: Tensor) -> tuple[float, bool] | None:
    """What `mixes_batches` returns, and whether two runs differ; None for a model that fails on batches."""
    image = _less_contrast(images[:1])
    batch = torch.cat([image, images])
    with torch.no_grad(), segmenter.evaluating():
        try:
            alone, beside = _run(segmenter, image), _run(segmenter, batch)[:1]
            rounding = _rounding(segmenter, alone)
            if (difference := _largest_difference(alone, beside)) <= rounding:
                return difference / rounding, False
            # Other kernels run for another size of batch, and rounding may grow from layer to layer: compare batches
            # of one size. Two runs of the same input tell the noise of a random model.
            copies = _run(segmenter, image.repeat(len(batch), 1, 1, 1))
            noise = max(_largest_difference(copies, copies[:1]), _largest_difference(alone, _run(segmenter, image)))
            return _largest_difference(copies[:1], beside) / max(rounding, _NOISE * noise), noise > rounding
        except Exception as error:
            if isinstance(error, ModelError) or is_out_of_memory(error):
                return None
            raise


def _less_contrast(image: Tensor) -> Tensor:
    """Halve the image's distance to a value in its range that is far from its mean."""
    low, high = image.aminmax()
    if low == high:
        return image / 2 if low else image + 1
    quarter = (high - low) / 4
    center = low + quarter if image.mean() > low + 2 * quarter else high - quarter
    return center + (image - center) / 2


def _run(segmenter: Segmenter, images: Tensor) -> Tensor:
    """Output (n, classes, h, w) of one call of the model."""
    # A copy: a model may write into its input, or keep its output to write the next into.
    return segmenter.maps(images.clone()).clone()


def _rounding(segmenter: Segmenter, output: Tensor) -> float:
    dtype = model_dtype(segmenter.model) if isinstance(segmenter.model, nn.Module) else torch.float32
    largest = float(output.nan_to_num(0, 0, 0).abs().max())
    return max(_ROUNDING, _STEPS * torch.finfo(dtype).eps) * largest or torch.finfo(torch.float32).tiny


def _largest_difference(one: Tensor, other: Tensor) -> float:
    """Infinite for outputs of two sizes, or where only one has a value that is not finite."""
    if one.shape[1:] != other.shape[1:]:
        return float("inf")
    same = (one == other) | (one.isnan() & other.isnan())
    return float((one - other).abs().nan_to_num(float("inf")).masked_fill(same, 0).max())
