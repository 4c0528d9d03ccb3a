"""Memory that a network's run frees stays with the process for the next run."""

from __future__ import annotations

from functools import cache

import torch

__all__ = ["keep_freed_memory"]

# Just below 32 MiB: glibc learns from freed blocks of at most that size.
_BYTES = (32 << 20) - (8 << 10)


@cache
def keep_freed_memory() -> None:
    """Let the C library keep up to 64 MiB that were freed, in place of giving them back to the system at once.

    The intermediate arrays of a network on a CPU are freed and taken again by every layer. Whether glibc keeps their
    memory meanwhile depends on the largest block that the process freed before. If it does not, the system hands out
    the same pages again and again, each filled with zeros: up to half of the time of a small network. One large block,
    taken and freed without a write to it, sets the bound as high as freed blocks can. Other C libraries, and bounds
    that the user's environment sets (``MALLOC_TRIM_THRESHOLD_`` and its like), are not affected.
    """
    torch.empty(_BYTES, dtype=torch.uint8)
