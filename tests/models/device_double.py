"""A second device on a machine that has the CPU alone.

Its tensors hold their values on the CPU and behave as those of a GPU do: NumPy refuses them, operations refuse to mix
them with tensors of the CPU, and what passes between the two is counted.
"""

import sys
from contextlib import contextmanager
from types import SimpleNamespace
from unittest.mock import patch

import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

# The type of device that PyTorch leaves to others.
DEVICE = torch.device("privateuseone", 0)
CPU = torch.device("cpu")
# Of these, the CPU waits for the result: a number, or a shape that depends on values.
_READS = ("_local_scalar_dense", "equal", "is_nonzero", "item", "masked_select", "nonzero")
_CONVERSIONS = ("_to_copy", "cpu", "to")
_INDEXING = ("_unsafe_index", "index", "index_put", "index_put_")


class _Guard(torch._C._acc.DeviceGuard):
    """There is one device of the type."""

    def type_(self):
        return torch._C._autograd.DeviceType.PrivateUse1


# What PyTorch asks a module of the device's name for.
_MODULE = SimpleNamespace(
    _lazy_init=lambda: None, is_initialized=lambda: True, _is_in_bad_fork=lambda: False, manual_seed_all=lambda _: None
)
# Once in a process; it does nothing as long as there is no tensor of the device.
torch._C._acc.register_python_privateuseone_device_guard(_Guard())


class OnDevice(torch.Tensor):
    """A tensor of the device."""

    @staticmethod
    def __new__(cls, values):
        made = torch.Tensor._make_wrapper_subclass(
            cls, values.size(), strides=values.stride(), storage_offset=values.storage_offset(), dtype=values.dtype,
            device=DEVICE,
        )  # fmt: skip
        made.values = values
        return made

    def tolist(self):
        # PyTorch has none for classes of one's own.
        return self.cpu().tolist()

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        # Where all modes are off, as while a network is traced.
        return _Device.current.run(func, args, kwargs or {})


class _Device(TorchDispatchMode):
    """The device, while this is entered.

    Attributes
    ----------
    to_device, to_cpu : int
        Copies of tensors so far.
    reads : int
        How often the CPU has waited for a number or a shape so far.
    convolutions : dict of torch.device to int
        How many have run on each device.
    """

    current = None

    def __init__(self):
        super().__init__()
        self.reset()

    def reset(self):
        """Count from 0."""
        self.to_device = self.to_cpu = self.reads = 0
        self.convolutions = {CPU: 0, DEVICE: 0}

    @property
    def waits(self):
        """How often the CPU has waited for the device."""
        return self.to_cpu + self.reads

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return self.run(func, args, kwargs or {})

    def run(self, func, args, kwargs):
        """Run an operation where its tensors are."""
        leaves = [*_leaves(args), *_leaves(kwargs.values())]
        tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
        name = func._schema.name.removeprefix("aten::")
        if any(isinstance(tensor, FakeTensor) or tensor.device.type == "meta" for tensor in tensors):
            return func(*args, **kwargs)
        asked = next((leaf for leaf in leaves if isinstance(leaf, torch.device)), None)
        ours = [isinstance(tensor, OnDevice) for tensor in tensors]
        there = any(ours) if asked is None else asked.type == DEVICE.type
        if "conv" in name:
            self.convolutions[DEVICE if there else CPU] += 1
        if not there and not any(ours):
            return func(*args, **kwargs)
        self._check(name, args, tensors, ours)
        if name == "cpu" or (name == "copy_" and not ours[0]):
            there = False
        self._count(name, args, ours, there=there)
        result = func(*map(_on_cpu, args), **{key: _on_cpu(value) for key, value in kwargs.items()})
        known = {id(tensor.values): tensor for tensor in tensors if isinstance(tensor, OnDevice)}

        def placed(value):
            if not isinstance(value, torch.Tensor):
                return value
            if id(value) in known and there:
                return known[id(value)]
            return OnDevice(value) if there else value.clone() if id(value) in known else value

        views = any(each.alias_info is not None for each in func._schema.returns)
        # A view of a tensor that was made outside of inference mode is no inference tensor.
        with torch.inference_mode(torch.is_inference_mode_enabled() and not (views and not tensors[0].is_inference())):
            return type(result)(map(placed, result)) if isinstance(result, (list, tuple)) else placed(result)

    def _check(self, name, args, tensors, ours):
        """Refuse what a GPU refuses."""
        if name in ("copy_", *_CONVERSIONS):
            return
        # A number of the CPU may take part, and indices, which PyTorch copies.
        allowed = {id(each) for each in args[1]} if name in _INDEXING else set()
        mixed = [
            tuple(tensor.shape)
            for tensor, is_ours in zip(tensors, ours, strict=True)
            if not is_ours and tensor.ndim and id(tensor) not in allowed
        ]
        if mixed and any(ours):
            raise RuntimeError(f"{name} got tensors on {DEVICE}, and on the CPU those of shape {mixed}")

    def _count(self, name, args, ours, *, there):
        if name in _CONVERSIONS:
            self.to_device += there and not ours[0]
            self.to_cpu += ours[0] and not there
        elif name == "copy_":
            self.to_device += ours[0] and not ours[1]
            self.to_cpu += ours[1] and not ours[0]
        elif name in _READS:
            self.reads += any(ours)
        elif name in _INDEXING:
            indices = [each for each in args[1] if isinstance(each, torch.Tensor)]
            self.reads += any(each.dtype == torch.bool for each in indices)
            self.to_device += sum(not isinstance(each, OnDevice) for each in indices)


def _leaves(values):
    for value in values:
        if isinstance(value, (list, tuple)):
            yield from value
        else:
            yield value


def _on_cpu(value):
    if isinstance(value, (list, tuple)):
        return type(value)(map(_on_cpu, value))
    if isinstance(value, OnDevice):
        return value.values
    return CPU if isinstance(value, torch.device) and value.type == DEVICE.type else value


@contextmanager
def second_device():
    """Enter the device in this thread."""
    from_tensor = FakeTensorMode.from_tensor

    def faked(mode, tensor, **options):
        if not isinstance(tensor, OnDevice):
            return from_tensor(mode, tensor, **options)
        fake = from_tensor(mode, tensor.values, **options)
        fake.fake_device = DEVICE
        return fake

    _Device.current = _Device()
    with (
        patch.object(FakeTensorMode, "from_tensor", faked),
        patch.object(torch, DEVICE.type, _MODULE, create=True),
        patch.dict(sys.modules, {f"torch.{DEVICE.type}": _MODULE}),
        _Device.current as device,
    ):
        yield device
    _Device.current = None
