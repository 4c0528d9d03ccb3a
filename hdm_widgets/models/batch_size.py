"""How many pictures to hand to a model at a time."""

from __future__ import annotations

import os

import torch
from torch import Tensor

__all__ = ["BatchSize", "free_memory"]

# A batch the caller did not size takes about this long, so that a scan can be cancelled promptly.
_BATCH_SECONDS = 0.25
# A larger batch must take at most this share of the time that a picture took before.
_WORTHWHILE = 0.95
# Memory per picture is not known before it is used: this many float32 maps of the picture's size are assumed,
# on at most this share of what is free. Where that was too much, batches are halved.
_ASSUMED_MAPS = 256
_MEMORY_SHARE = 0.25
_LARGEST_BATCH = 256


class BatchSize:
    """How many pictures go into the next batch: as given, or as many as pay, within what memory and patience allow.

    On a GPU large batches are far quicker; on a CPU a batch that leaves its caches can take twice as long for a picture
    as one picture alone. So the size is doubled as long as that makes a picture quicker.
    """

    def __init__(self, given: int | None, picture: Tensor, device: torch.device) -> None:
        self._limit = given or _memory_limit(picture, device)
        self._growing = given is None
        self._quickest = float("inf")
        self._warm = 0
        self.size = given or 1

    def took(self, pictures: int, seconds: float) -> None:
        """Learn from a batch that went well."""
        if not self._growing or pictures < self.size:
            return
        if self.size != self._warm:
            # The first batch of a size also pays for what the model prepares for its shape.
            self._warm = self.size
            return
        each = seconds / pictures
        if each > _WORTHWHILE * self._quickest:
            self.size, self._growing = max(1, self.size // 2), False
            return
        self._quickest = each
        patience = int(_BATCH_SECONDS / max(each, 1e-9))
        larger = min(2 * self.size, self._limit, patience)
        self._growing = larger > self.size
        self.size = max(larger, self.size)

    def halve(self) -> None:
        """Memory ran out: never try this many again."""
        self.size = self._limit = max(1, self.size // 2)
        self._growing = False

    def one_at_a_time(self) -> None:
        """The model takes single pictures only."""
        self.size = self._limit = 1
        self._growing = False


def free_memory(device: torch.device) -> int:
    """Bytes that can be had on a device now."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, AttributeError, OSError):  # no such figure on this system
        return 2 << 30


def _memory_limit(picture: Tensor, device: torch.device) -> int:
    each = 4 * _ASSUMED_MAPS * picture.shape[-2] * picture.shape[-1]
    return int(min(_LARGEST_BATCH, max(1, _MEMORY_SHARE * free_memory(device) // each)))
