"""TF32: how NVIDIA GPUs multiply float32 unless told otherwise, with 10 bits of each factor's fraction in place of 23.

PyTorch has it on for convolutions and off for matrix products. Both settings belong to the whole process, and a scan
may run in the background: they are read, and never written.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from hdm_widgets.models.compiled import uncompiled

__all__ = ["uses_tf32", "without_tf32"]

_aten = torch.ops.aten
# These arrive whole in inference mode, and are made of convolutions and products.
_COMPOSED = {
    _aten.conv1d, _aten.conv2d, _aten.conv3d, _aten.conv_transpose1d, _aten.conv_transpose2d, _aten.conv_transpose3d,
    _aten._convolution_mode, _aten.linear, _aten.matmul, _aten.einsum,
}  # fmt: skip
_PRODUCTS = {_aten.mm, _aten.bmm, _aten.addmm, _aten.baddbmm, _aten.addbmm, _aten.mv, _aten.addmv}


def uses_tf32(device: torch.device) -> bool:
    """Whether convolutions or matrix products of float32 use TF32 on a device."""
    return device.type == "cuda" and (_is_on(torch.backends.cudnn) or _is_on(torch.backends.cuda.matmul))


def _is_on(setting: object) -> bool:
    try:
        return bool(getattr(setting, "allow_tf32", False))
    except RuntimeError:
        # PyTorch refuses to read this flag where its successors have been set, each to another value.
        return True


@contextmanager
def without_tf32(device: torch.device, model: nn.Module | None = None) -> Iterator[None]:
    """Compute float32 in full precision on a device, in this thread alone.

    Parameters
    ----------
    device : torch.device
    model : torch.nn.Module, optional
        What is run, if it may be compiled: it runs without the compiler meanwhile.

    Notes
    -----
    cuDNN is told call by call not to use TF32, by an argument that `torch.nn.functional.conv2d` does not have. Matrix
    products have no such argument: where TF32 is on for them, they are computed in float64. Fused attention, which adds
    three TF32 products to get float32, and recurrent layers are left as they are.
    """
    if not uses_tf32(device):
        yield
        return
    # Of torch, which has no types there.
    mode: Any = _FullPrecision
    with nullcontext() if model is None else uncompiled(model), mode():
        yield


class _FullPrecision(TorchDispatchMode):  # type: ignore[no-untyped-call]  # of torch, which has no types there
    """Tells every convolution not to use TF32."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        packet = func.overloadpacket
        if packet in _COMPOSED:
            with self:
                if (composed := func.decompose(*args, **given)) is not NotImplemented:
                    return composed
        if packet is _aten.convolution and args[0].dtype == torch.float32:
            cudnn = torch.backends.cudnn
            return _aten._convolution.default(*args, cudnn.benchmark, cudnn.deterministic, cudnn.enabled, False)
        if packet in _PRODUCTS and args[0].dtype == torch.float32 and _is_on(torch.backends.cuda.matmul):
            return func(*tree_map(_in_float64, args), **given).float()
        return func(*args, **given)


def _in_float64(value: Any) -> Any:
    return value.double() if isinstance(value, Tensor) and value.dtype == torch.float32 else value
