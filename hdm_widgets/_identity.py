"""Equality of tuples that hold arrays."""

from __future__ import annotations

from typing import TypeVar

T = TypeVar("T", bound=type)


def compared_by_identity(cls: T) -> T:
    """Make a NamedTuple that holds arrays equal to itself alone, as dataclasses with `eq=False` are.

    Comparing the arrays, as a tuple does, has no truth value and raises an error.
    """
    for name in ("__eq__", "__ne__", "__hash__"):
        setattr(cls, name, getattr(object, name))
    return cls
