"""Notice that weights were written to."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

__all__ = ["fingerprint"]


def fingerprint(tensors: Iterable[Tensor]) -> bytes:
    """Changes when a tensor is written to or takes another one's place.

    PyTorch counts writes, but not those through `.data`, and not to tensors of inference mode: so every tensor's sum
    counts too.
    """
    given = list(tensors)
    with torch.inference_mode():
        sums = [tensor.sum(dtype=None if tensor.is_floating_point() else torch.int64).double() for tensor in given]
        total = torch.stack([part.cpu() for part in sums]).tolist() if given else []
    versions = [(tensor.data_ptr(), None if tensor.is_inference() else tensor._version) for tensor in given]
    return repr((versions, total)).encode()
