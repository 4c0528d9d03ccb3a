"""Record the operations of a network that runs on fake tensors, as calls without side effects."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple, NoReturn

import torch
from torch import Tensor
from torch._dispatch.python import enable_python_dispatcher
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves, tree_map

from hdm_widgets.windowed.calls import Call, Number, Ref, TraceError, replaced
from hdm_widgets.windowed.einsum import as_product

__all__ = ["Recorder", "WriteBack"]

_FRESH = (torch.ops.aten.lift_fresh.default, torch.ops.aten.lift_fresh_copy.default)
_DROPOUT = re.compile(r"(feature_)?(alpha_)?dropout_?")
# These make a tensor like another one; what is empty may hold anything.
_NEW = ("new_empty", "new_full", "new_ones", "new_zeros")
# These give a number.
_READS = ("_local_scalar_dense", "equal", "is_nonzero", "item")
# Larger constants are not read.
_MOST_READ = 1 << 16
# These change what a tensor is, not only its values.
_REDEFINES = ("resize_", "resize_as_", "set_")


@dataclass(eq=False)
class _Storage:
    """Memory that several tensors may share.

    Attributes
    ----------
    root : _Value
        The tensor that the others are views of.
    version : int
        How often it was written to.
    written : _Value or None
        The tensor through which the latest writes went.
    """

    root: _Value
    version: int = 0
    written: _Value | None = None


class _View(NamedTuple):
    """How a tensor is made from the one that it is a view of, and by which name the call refers to that one."""

    call: Call
    source: str


@dataclass(eq=False)
class _Value:
    """A tensor of the run.

    Attributes
    ----------
    tensor : torch.Tensor
        The fake tensor. It is kept alive, so that its id stays its own.
    name : str
        Name of the value that it holds as of `version` of its storage.
    source : _Value or None
        The tensor of which it is a view.
    view : _View or None
        How it is made from `source`; None if it has the same elements.
    """

    tensor: Tensor
    name: str
    source: _Value | None = None
    view: _View | None = None
    version: int = 0
    storage: _Storage = field(init=False)
    memory: object = field(init=False)

    def __post_init__(self) -> None:
        self.memory = _memory(self.tensor)
        if self.source is None:
            self.storage = _Storage(self)
        else:
            self.storage, self.version = self.source.storage, self.source.storage.version


class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records every operation; the mode of the fake tensors must be active below it.

    A write into a tensor becomes a new value. Whatever shares its memory is computed again when it is read next.

    Parameters
    ----------
    fakes : FakeTensorMode
    images : torch.Tensor (N, C, H, W)
        Fake; N is a number or symbolic.

    Attributes
    ----------
    image : str
        Name of the image as it is given.
    images : torch.Tensor
    calls : list of Call
    constants : dict of str to torch.Tensor
    numbers : dict of str to Number
    baked : dict of str to torch.Tensor
        Copies of the constants that the network took numbers from.
    running : str
        Label of the operation that is running or has failed, or empty.
    error : TraceError or None
        The first one raised, in case the network catches it.
    modules : list of str
        Paths of the modules that are running, the innermost last; the network itself has the empty one.
    failed : str or None
        Path of the module that raised an error.
    most : int or None
        More calls are refused.
    """

    image = "image"

    def __init__(self, fakes: FakeTensorMode, images: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._fakes, self.images = fakes, images
        self._batch = _expression(images.shape[0])
        self._values: dict[int, _Value] = {id(images): _Value(images, self.image)}
        # Real tensors and their fakes, by the ids of the real ones, which this keeps alive.
        self._fakes_of: dict[int, tuple[Tensor, Tensor]] = {}
        self.calls: list[Call] = []
        self.constants: dict[str, Tensor] = {}
        self.numbers: dict[str, Number] = {}
        self.baked: dict[str, Tensor] = {}
        self.running = ""
        self.error: TraceError | None = None
        self.modules = [""]
        self.failed: str | None = None
        self.most: int | None = None

    @classmethod
    def is_infra_mode(cls) -> bool:
        """As part of a tracer, it does not disturb torch.compile in other threads."""
        return True

    @property
    def symbolic(self) -> bool:
        """Whether the number of images is symbolic."""
        return not isinstance(self._batch, int)

    @property
    def place(self) -> str:
        """Where it is, or has failed: " in " and the module, or nothing for the network itself."""
        module = self.modules[-1] if self.failed is None else self.failed
        return f" in {module}" if module else ""

    def refuse(self, reason: str) -> NoReturn:
        """Give up; `error` keeps the reason in case the network catches it.

        Raises
        ------
        TraceError
        """
        error = TraceError(reason)
        self.error = self.error or error
        raise error

    def constant(self, tensor: Tensor) -> Tensor:
        """The fake tensor that stands for a real one."""
        if id(tensor) not in self._fakes_of:
            # Of what autograd computed, PyTorch warns that it has no gradient.
            fake = self._fakes.from_tensor(tensor if tensor.is_leaf else tensor.detach(), static_shapes=True)
            self._fakes_of[id(tensor)] = tensor, fake
            name = f"constant_{len(self.constants)}"
            self.constants[name] = tensor
            self._values[id(fake)] = _Value(fake, name)
        return self._fakes_of[id(tensor)][1]

    def real(self, tensor: Any) -> Tensor | None:
        """What a fake tensor stands for; None if that depends on the image, or is large."""
        if not isinstance(tensor, Tensor) or not self._fakes.is_our_fake(tensor):
            return None
        name = self.name_of(tensor)
        needed, calls = {name}, []
        for call in reversed(self.calls):
            if call.name in needed:
                needed.update(call.reads())
                calls.append(call)
        read = needed - {call.name for call in calls}
        if not read <= self.constants.keys() or any(self.constants[each].numel() > _MOST_READ for each in read):
            return None
        with _disable_current_modes(), torch.no_grad():
            values: dict[str, Any] = {each: self.constants[each] for each in read}
            for call in reversed(calls):
                values[call.name] = call.run(values)
            result: Tensor = values[name].detach().clone()
            # A network that writes to it changes a copy.
            self.baked.update({each: self.constants[each].detach().clone() for each in read - self.baked.keys()})
        return result

    @property
    def fixed_batch(self) -> bool:
        """Whether the network works for the number of images that it was given only."""
        return bool(_expression(self.images.shape[0]) != self._batch)

    def name_of(self, tensor: Tensor) -> str:
        """Name of the value that a tensor holds now."""
        return self._name(self._value(tensor))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and record it."""
        try:
            # PyTorch's kernels in Python know the size of a result for any number of images; they are slow.
            with enable_python_dispatcher() if self.symbolic else nullcontext():
                if func in _FRESH and not self._fakes.is_our_fake(args[0]):
                    return self._fresh(func, args, kwargs or {})
                args, kwargs = tree_map(self._faked, (args, kwargs or {}))
                if func._schema.name.removeprefix("aten::") in _READS:
                    real = [self.real(each) for each in args]
                    if all(each is not None for each in real):
                        with _disable_current_modes():
                            return func(*real, **kwargs)
                result = self._product(*args) if func is torch.ops.aten.einsum.default else None
                if result is None:
                    result = self._record(func, args, kwargs)
                self.running = ""
                return result
        except TraceError as error:
            self.error = self.error or error
            raise

    def _fresh(self, target: torch._ops.OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A tensor that `torch.tensor` made of numbers."""
        tensor = target(*args, **kwargs)
        self._values[id(tensor)] = _Value(tensor, self.name_of(self.constant(args[0])))
        return tensor

    def _record(self, target: torch._ops.OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        given = dict(_by_name(target, args, kwargs))
        arguments = {name: self._reference(value) for name, value in given.items()}
        call = Call("", target, arguments, None, self.modules[-1], ())
        self.running = call.label
        if torch.Tag.nondeterministic_seeded in target.tags and not _draws_nothing(arguments):
            raise TraceError(f"it draws random numbers in {call.label.replace(' in ', ' of ')}")
        if _DROPOUT.fullmatch(call.operation) and arguments["train"] is False:
            # In eval mode it gives the very tensor that it is given, though its schema does not say so.
            return args[0]
        written = [given[name] for name in _written(target) if given[name] is not None]
        if written:
            if len(written) > 1 or written[0] is not args[0] or not isinstance(args[0], Tensor):
                raise TraceError(f"it cannot be traced: it lets {call.label} write into a tensor")
            return self._record_write(call, args, kwargs)
        result = target(*args, **kwargs)
        several = isinstance(result, (list, tuple))
        for pick, tensor in enumerate(result if several else [result]):
            if isinstance(tensor, Tensor) and id(tensor) not in self._values:
                made = replace(call, pick=pick if several else None)
                if call.operation in _NEW and all(isinstance(size, int) for size in tensor.shape):
                    # It does not depend on the tensor that it is made like.
                    made = _filled(call, tensor)
                self._values[id(tensor)] = self._made(made, tensor, tree_leaves((args, kwargs)))
        return result

    def _product(self, equation: str, given: list[Tensor], *_: Any) -> Any:
        """A sum of products as the matrix product that it is; None if it is none."""
        product = as_product(equation, *(tensor.shape for tensor in given))
        if product is None:
            return None
        aten = torch.ops.aten
        orders = (product.left, product.right)
        pair = [self._record(aten.permute.default, each, {}) for each in zip(given, orders, strict=True)]
        result = self._record(aten.linear.default if product.linear else aten.matmul.default, (*pair,), {})
        return self._record(aten.permute.default, (result, product.result), {})

    def _record_write(self, call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """An operation in place, as the one that computes what it writes."""
        plain = replace(call, target=_without_writing(call))
        tensor = args[0]
        value = self._value(tensor)
        if torch.Tag.inplace_view not in call.target.tags:
            result = call.target(*args, **kwargs)
            self._write(value, plain)
            return result
        # The tensor becomes a view of what it was, as with `squeeze_`.
        value.tensor = torch.ops.aten.alias.default(tensor)
        result = call.target(*args, **kwargs)
        name = self._emit(plain, tensor)
        self._values[id(tensor)] = _Value(tensor, name, value, _View(self.calls[-1], self._name(value)))
        return result

    def _emit(self, call: Call, result: Tensor) -> str:
        """Record a call, and name the value that it computes."""
        if len(self.calls) == self.most:
            self.refuse("it does more for more images")
        name = f"{call.operation}_{len(self.calls)}"
        shape = tuple(size if isinstance(size, int) else size.node.maybe_as_int() for size in result.shape)
        self.calls.append(replace(call, name=name, shape=shape))
        return name

    def _made(self, call: Call, tensor: Tensor, given: list[Any]) -> _Value:
        """The value of a new tensor; the call is recorded unless the tensor has the same elements as an argument."""
        for other in given:
            if isinstance(other, Tensor) and _memory(other) == _memory(tensor):
                source = self._value(other)
                # A squeeze that does nothing to several images does something to one.
                if _same_elements(tensor, other) and call.operation != "squeeze":
                    return _Value(tensor, source.name, source)
                name = self._emit(call, tensor)
                return _Value(tensor, name, source, _View(self.calls[-1], self._name(source)))
        return _Value(tensor, self._emit(call, tensor))

    def _write(self, value: _Value, call: Call) -> None:
        """Record a write into a tensor; whatever shares its memory holds something else from now on."""
        while value.source is not None and value.view is None:
            value = value.source
        storage = value.storage
        if storage.written is not value:
            self._name(storage.root)
        value.name = self._emit(call, value.tensor)
        storage.version += 1
        storage.written, value.version = value, storage.version

    def _name(self, value: _Value) -> str:
        """Name of what a tensor holds now; computed again if its memory was written to through another one."""
        if value.source is not None and value.view is None:
            return self._name(value.source)
        if value.version != value.storage.version:
            if value.source is None or value.view is None:
                call = self._written_back(value)
            else:
                call, old = value.view
                new = self._name(value.source)
                arguments = {name: replaced(argument, old, new) for name, argument in call.arguments.items()}
                call = replace(call, arguments=arguments)
            value.name = self._emit(call, value.tensor)
            value.version = value.storage.version
        return value.name

    def _written_back(self, root: _Value) -> Call:
        """The call that computes what a tensor holds after a write into a view of it."""
        value = root.storage.written
        assert value is not None  # it was written to  # noqa: S101
        read = [root.name, value.name]
        views: list[_View] = []
        while value.source is not None:
            if value.view is not None:
                views.insert(0, value.view)
            value = value.source
        numbers = sorted({name for view in views for name in view.call.reads()} & self.numbers.keys())
        last = root.tensor.ndim == 4 and root.tensor.is_contiguous(memory_format=torch.channels_last)
        target = WriteBack(tuple(views), tuple(numbers), torch.channels_last if last else torch.contiguous_format)
        arguments = {str(place): Ref(name) for place, name in enumerate(read + numbers)}
        return Call("", target, arguments, None, self.modules[-1], ())

    def _faked(self, value: Any) -> Any:
        return self.constant(value) if isinstance(value, Tensor) and not self._fakes.is_our_fake(value) else value

    def _value(self, tensor: Tensor) -> _Value:
        if id(tensor) in self._values:
            value = self._values[id(tensor)]
        else:
            # `tensor.data` makes a new tensor without an operation.
            alike = (other for other in self._values.values() if _same_elements(other.tensor, tensor))
            source = next((other for other in alike if other.memory == _memory(tensor)), None)
            if source is None:
                raise TraceError(f"it cannot be traced: it computes with a tensor that no operation made{self.place}")
            value = self._values[id(tensor)] = _Value(tensor, source.name, source)
        if value.memory != _memory(tensor):
            raise TraceError(f"it cannot be traced: it sets the data of a tensor{self.place}")
        return value

    def _reference(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return Ref(self.name_of(value))
        if isinstance(value, (torch.SymInt, torch.SymFloat)):
            return self._number(value)
        if isinstance(value, (list, tuple)):
            return [self._reference(item) for item in value]
        return value

    def _number(self, value: torch.SymInt | torch.SymFloat) -> Any:
        expression = value.node.expr
        if expression.is_number:
            return int(expression) if isinstance(value, torch.SymInt) else float(expression)
        if expression.free_symbols != {self._batch}:
            raise TraceError(f"it takes a number from the values that it computes{self.place}")
        name = f"({expression})"
        self.numbers[name] = Number(partial(_substituted, expression, self._batch))
        return Ref(name)


@dataclass(frozen=True, eq=False)
class WriteBack:
    """Replaces the part of a tensor that a chain of views leads to.

    Attributes
    ----------
    views : tuple of _View
    numbers : tuple of str
        Names of the numbers that the views read.
    layout : torch.memory_format
        Layout of the tensor, on which the views rely.
    """

    views: tuple[_View, ...]
    numbers: tuple[str, ...]
    layout: torch.memory_format

    __name__ = "write_to_view"

    def __call__(self, tensor: Tensor, part: Tensor, *numbers: Any) -> Tensor:
        """A copy of the tensor with `part` in that place."""
        values = dict(zip(self.numbers, numbers, strict=True))
        whole = tensor.clone(memory_format=self.layout)
        place = whole
        for call, source in self.views:
            place = call.run({**values, source: place})
        place.copy_(part)
        return whole


def _filled(call: Call, tensor: Tensor) -> Call:
    """The call that makes a tensor of one number."""
    value = call.arguments.get("fill_value", int(call.operation == "new_ones"))
    arguments = {
        "size": list(tensor.shape), "fill_value": value, "dtype": tensor.dtype, "layout": None,
        "device": tensor.device, "pin_memory": None,
    }  # fmt: skip
    return replace(call, target=torch.ops.aten.full.default, arguments=arguments)


def _by_name(target: torch._ops.OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for place, argument in enumerate(target._schema.arguments):
        if place < len(args):
            yield argument.name, args[place]
        else:
            yield argument.name, kwargs.get(argument.name, argument.default_value)


def _written(target: torch._ops.OpOverload) -> list[str]:
    """Arguments that an operation writes to."""
    return [each.name for each in target._schema.arguments if each.alias_info and each.alias_info.is_write]


def _without_writing(call: Call) -> torch._ops.OpOverload:
    """The operation that computes what a call in place writes."""
    name = call.target._schema.name.removeprefix("aten::")
    packet = getattr(torch.ops.aten, name.removesuffix("_"), None)
    plain: torch._ops.OpOverload | None = getattr(packet, call.target._overloadname, None)
    if not name.endswith("_") or name in _REDEFINES or plain is None or _written(plain):
        raise TraceError(f"it cannot be traced: it writes in place with {call.label}")
    return plain


def _draws_nothing(arguments: dict[str, Any]) -> bool:
    """Whether an operation that may drop values is told not to."""
    off = (arguments.get("training"), arguments.get("train"))
    return False in off or arguments.get("dropout_p") == 0 or arguments.get("p") == 0


def _memory(tensor: Tensor) -> object:
    return tensor.untyped_storage()._cdata


def _same_elements(tensor: Tensor, other: Tensor) -> bool:
    """Whether two tensors of the same memory have the same elements in the same order."""
    return _geometry(tensor) == _geometry(other)


def _geometry(tensor: Tensor) -> tuple[object, ...]:
    # Symbolic sizes are compared as expressions: comparing their values would fix them.
    sizes = (*tensor.shape, *tensor.stride(), tensor.storage_offset())
    expressions = tuple(map(_expression, sizes))
    return tensor.ndim, expressions, tensor.dtype, tensor.is_conj(), tensor.is_neg()


def _substituted(expression: Any, batch: Any, count: int) -> int | float:
    """The number that an expression gives for so many images."""
    value = expression.subs(batch, count)
    return int(value) if value.is_integer else float(value)


def _expression(number: Any) -> Any:
    """A symbolic number as an expression."""
    return number if isinstance(number, (int, float)) else number.node.expr
