"""How many images to hand to a model at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import torch
from torch import Tensor

from hdm_widgets._validation import warn_user
from hdm_widgets.models.errors import ModelError, describe_error, is_out_of_memory
from hdm_widgets.models.free_memory import free_memory

__all__ = ["BatchSize", "free_memory", "run_in_batches"]

T = TypeVar("T")

# A batch whose size is not given takes about this long, so that a scan can be cancelled promptly.
_BATCH_SECONDS = 0.25
# The size keeps growing while the time per image falls at least to this fraction of what it was.
_WORTHWHILE = 0.95
# The memory that an image needs is unknown until it has run. Assume this many float32 maps of the image's size,
# in at most this fraction of the free memory. If that was too much, batches are halved.
_ASSUMED_MAPS = 256
_MEMORY_FRACTION = 0.25
_LARGEST_BATCH = 256


class BatchSize:
    """The size of the next batch: as given, or the largest that still lowers the time per image.

    A size that is not given starts at 1 and doubles while that lowers the time per image, bounded by free memory
    and 0.25 s per batch. On a GPU large batches are far quicker; on a CPU a batch that leaves the caches can take
    twice as long per image as a single image.

    Parameters
    ----------
    given : int or None
        The size that the user asked for.
    image : torch.Tensor (C, H, W)
        One of the images.
    device : torch.device
        Where the model runs.

    Attributes
    ----------
    size : int
        Images in the next batch.
    limit : int
        The largest that it may become.
    """

    def __init__(self, given: int | None, image: Tensor, device: torch.device) -> None:
        self.limit = given or _memory_limit(image, device)
        self._growing = given is None
        self._fastest = float("inf")
        self._warmed_up = 0
        self.size = given or 1

    def record(self, images: int, seconds: float) -> None:
        """Learn from a batch of `images` that ran without an error."""
        if not self._growing or images < self.size:
            return
        if self.size != self._warmed_up:
            # The first batch of a size also pays for what the model prepares for its shape.
            self._warmed_up = self.size
            return
        each = seconds / images
        if each > _WORTHWHILE * self._fastest:
            self.size, self._growing = max(1, self.size // 2), False
            return
        self._fastest = each
        longest = int(_BATCH_SECONDS / max(each, 1e-9))
        larger = min(2 * self.size, self.limit, longest)
        self._growing = larger > self.size
        self.size = max(larger, self.size)

    def halve(self, images: int | None = None) -> None:
        """Memory ran out for a batch of `images`, by default one of `size`: never try as many again."""
        self.size = self.limit = max(1, (images or self.size) // 2)
        self._growing = False

    def run_singly(self) -> None:
        """The model takes single images only."""
        self.size = self.limit = 1
        self._growing = False


def run_in_batches(
    count: int,
    run: Callable[[slice], T],
    sizes: BatchSize,
    *,
    on_error: Callable[[int, Exception], object] | None = None,
    fatal: tuple[type[Exception], ...] = (),
) -> Iterator[tuple[slice, T]]:
    """Run a model on `count` items in batches, in order.

    A batch that runs out of memory is halved and run again. The items of a batch that fails otherwise are run one by
    one: those that succeed are yielded, the others are reported. If all succeed, the model takes single images only,
    and the rest is run so, with a warning.

    Parameters
    ----------
    count : int
    run : callable
        Takes the slice of the items that are to run, returns what was made of them. It may be called again for the
        same items, so a model that writes into its input must be given copies.
    sizes : BatchSize
        Learns from every batch; use it again for more items of the same kind.
    on_error : callable, optional
        Called with the index of an item that fails on its own and its error. The item is skipped if this returns.
        By default the error is raised.
    fatal : tuple of exception types
        Errors that are raised at once, whatever the size of the batch.

    Yields
    ------
    part : slice
        The items that ran.
    output : object
        What `run` returned for them.

    Raises
    ------
    ModelError
        If memory runs out for a single item. Its `image_index` is the item's, as in every `ModelError` raised here.
    """

    def fail(index: int, error: Exception) -> None:
        if is_out_of_memory(error) and not isinstance(error, ModelError):
            cause, error = error, ModelError(f"out of memory even for a single image: {describe_error(error)}")
            error.__cause__ = cause
        if isinstance(error, ModelError):
            error.image_index = index
        if on_error is None:
            raise error
        on_error(index, error)

    start = 0
    while start < count:
        part = slice(start, min(start + sizes.size, count))
        images = part.stop - part.start
        began = time.perf_counter()
        try:
            output = run(part)
        except fatal:
            raise
        except Exception as error:  # noqa: BLE001 - reported with its item
            if images == 1:
                fail(start, error)
                start = part.stop
                continue
            if is_out_of_memory(error):
                sizes.halve(images)
                continue
            # The error itself would keep the tensors of the batch alive.
            reason = describe_error(error)
        else:
            sizes.record(images, time.perf_counter() - began)
            yield part, output
            start = part.stop
            continue
        succeeded = 0
        for index in range(part.start, part.stop):
            single = slice(index, index + 1)
            try:
                output = run(single)
            except fatal:
                raise
            except Exception as error:  # noqa: BLE001 - as above
                fail(index, error)
            else:
                succeeded += 1
                yield single, output
        if succeeded == images:
            warn_user(
                f"the model failed on a batch of {images} images ({reason}) but not on each of them alone; "
                "going on one at a time (batch_size=1 avoids this warning)"
            )
            sizes.run_singly()
        start = part.stop


def _memory_limit(image: Tensor, device: torch.device) -> int:
    each = 4 * _ASSUMED_MAPS * image.shape[-2] * image.shape[-1]
    return int(min(_LARGEST_BATCH, max(1, _MEMORY_FRACTION * free_memory(device) // each)))
