"""TF32 on a machine without a GPU: factors of convolutions and products are rounded as an NVIDIA GPU rounds them."""

from contextlib import contextmanager
from unittest.mock import patch

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from hdm_widgets.hdm import agreement
from hdm_widgets.models import tf32

_aten = torch.ops.aten
_COMPOSED = (
    _aten.conv2d, _aten.conv_transpose2d, _aten._convolution_mode, _aten.linear, _aten.matmul, _aten.einsum,
)  # fmt: skip
_PRODUCTS = (_aten.mm, _aten.bmm, _aten.addmm, _aten.baddbmm)


def rounded(tensor):
    """Float32 with 10 bits of the fraction, to nearest."""
    bits = tensor.contiguous().view(torch.int32)
    return ((bits + 0x1000) & ~0x1FFF).view(torch.float32)


class _TF32(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        given, packet = list(args), func.overloadpacket
        if packet in _COMPOSED:
            with self:
                return func.decompose(*args, **(kwargs or {}))
        real = all(type(each) in (torch.Tensor, torch.nn.Parameter) for each in given[:2])
        if not real or given[0].dtype != torch.float32 or given[0].device.type == "meta":
            return func(*args, **(kwargs or {}))
        # The last argument allows TF32.
        if packet is _aten.convolution or (packet is _aten._convolution and given[-1]):
            given[:2] = map(rounded, given[:2])
        elif packet in _PRODUCTS and torch.backends.cuda.matmul.allow_tf32:
            first = 1 if packet in (_aten.addmm, _aten.baddbmm) else 0
            given[first : first + 2] = map(rounded, given[first : first + 2])
        return func(*given, **(kwargs or {}))


@contextmanager
def tf32_double():
    """Compute in TF32 in this thread, on the CPU."""
    uses = lambda _: True  # noqa: E731
    with patch.object(tf32, "uses_tf32", uses), patch.object(agreement, "uses_tf32", uses), _TF32():
        yield
