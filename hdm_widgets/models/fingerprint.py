"""Detect that weights were written to."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

__all__ = ["fingerprint"]


def fingerprint(tensors: Iterable[Tensor]) -> bytes:
    """A value that changes when a tensor is written to or replaced by another.

    PyTorch counts writes to a tensor, but not those through `.data`, and none to tensors made in inference mode: so the
    value includes every tensor's sum.
    """
    given = list(tensors)
    with torch.inference_mode():
        sums = [tensor.sum(dtype=None if tensor.is_floating_point() else torch.int64).double() for tensor in given]
        total = torch.stack([part.cpu() for part in sums]).tolist() if given else []
    versions = [(tensor.data_ptr(), None if tensor.is_inference() else tensor._version) for tensor in given]
    return repr((versions, total)).encode()
