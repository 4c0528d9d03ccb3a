"""A trace for any number of images, from the traces of two numbers of images.

Where sizes are numbers, a network is traced several times faster than where they are symbols.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from hdm_widgets.windowed.calls import Call, Number, Ref, Trace, TraceError
from hdm_widgets.windowed.recorder import WriteBack

__all__ = ["COUNTS", "of_any_batch"]

# What is true of two images is taken to be true of any number. Numbers that come out the same are taken to be the same
# for any number of images: remainders and quotients do not, since 1021 and 1021 - 2 are primes.
COUNTS = (2, 1021)
# What a line through both counts gives for no image is small; a square, number of pairs or the like gives more.
_MOST_FOR_NONE = 510


def of_any_batch(few: Trace, many: Trace) -> Trace:
    """What a network computes for any number of images.

    Parameters
    ----------
    few, many : Trace
        Of the same network, for the numbers of images in `COUNTS`.

    Raises
    ------
    TraceError
        Unless both do the same with numbers that are the same or linear in the number of images, and the values that
        are computed from the images, and no others, have such a size. The rest is for symbols to tell.
    """
    merger = _Merger(few.image)
    same = (
        len(few.calls) == len(many.calls)
        and (few.output, few.written) == (many.output, many.written)
        and few.constants.keys() == many.constants.keys()
        and all(_is_same(constant, many.constants[name]) for name, constant in few.constants.items())
    )
    if not same:
        raise TraceError("it depends on how many images there are")
    calls = tuple(map(merger.call, few.calls, many.calls))
    return replace(few, calls=calls, numbers=merger.numbers)


class _Merger:
    """Merges calls for two numbers of images.

    Attributes
    ----------
    numbers : dict of str to Number
        The numbers that depend on how many images there are.
    """

    def __init__(self, image: str) -> None:
        self.numbers: dict[str, Number] = {}
        self._batched = {image}

    def call(self, few: Call, many: Call) -> Call:
        """The call for any number of images."""
        known = (few.name, few.pick, few.module, len(few.shape)) == (many.name, many.pick, many.module, len(many.shape))
        if not known or few.arguments.keys() != many.arguments.keys() or not _is_same(few.target, many.target):
            raise TraceError(f"{few.label} depends on how many images there are")
        arguments = {name: self._argument(value, many.arguments[name]) for name, value in few.arguments.items()}
        merged = replace(few, arguments=arguments, shape=tuple(map(self._size, few.shape, many.shape)))
        depends = not {*self._batched, *self.numbers}.isdisjoint(merged.reads())
        if depends is not (None in merged.shape):
            raise TraceError(f"{few.label} depends on how many images there are in another way than what it reads")
        if depends:
            self._batched.add(few.name)
        return merged

    def _argument(self, few: Any, many: Any) -> Any:
        if type(few) is int and type(many) is int and few != many:
            each, rest = _line(few, many)
            name = f"({each}*n + {rest})"
            self.numbers[name] = Number(lambda count: each * count + rest)
            return Ref(name)
        if type(few) is list and type(many) is list and len(few) == len(many):
            return [*map(self._argument, few, many)]
        if not _is_same(few, many):
            raise TraceError("an argument depends on how many images there are")
        return few

    def _size(self, few: int | None, many: int | None) -> int | None:
        if few is None or many is None:
            return None
        if few == many:
            return few
        _line(few, many)
        return None


def _line(few: int, many: int) -> tuple[int, int]:
    """By how much a number grows with each image, and what it is for none."""
    each, rest = divmod(many - few, COUNTS[1] - COUNTS[0])
    for_none = few - each * COUNTS[0]
    # An integer polynomial has no remainder either; for no image, it differs from the line by a multiple of the product
    # of both counts, or of its half.
    if rest or abs(for_none) > _MOST_FOR_NONE:
        raise TraceError("a number is not linear in how many images there are")
    return each, for_none


def _is_same(value: Any, other: Any) -> bool:
    """Whether two arguments, targets or constants are the same; what is not a number is like no other."""
    if type(value) is not type(other):
        return False
    if isinstance(value, Tensor):
        return value is other or (
            (value.dtype, value.device, value.shape) == (other.dtype, other.device, other.shape)
            and value.stride() == other.stride()
            and torch.equal(value, other)
        )
    if isinstance(value, Call):
        # Of a view that is written through; its shape does not matter.
        return all(
            _is_same(getattr(value, name), getattr(other, name)) for name in ("name", "target", "pick", "arguments")
        )
    if isinstance(value, WriteBack):
        return _is_same((value.views, value.numbers, value.layout), (other.views, other.numbers, other.layout))
    if isinstance(value, dict):
        return value.keys() == other.keys() and all(_is_same(item, other[name]) for name, item in value.items())
    if isinstance(value, (list, tuple)):
        return len(value) == len(other) and all(map(_is_same, value, other))
    return bool(value == other)
