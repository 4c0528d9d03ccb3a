"""Talking to the caller: advice for keywords that nobody knows, warnings that name the caller's line."""

from __future__ import annotations

import difflib
import functools
import inspect
import sys
import warnings
from collections.abc import Callable
from typing import ParamSpec, TypeGuard, TypeVar

import numpy as np

P = ParamSpec("P")
T = TypeVar("T")


def is_whole(value: object) -> TypeGuard[int]:
    """Whether a value is a whole number, of Python's or NumPy's; True and False are none."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def warn_user(message: str) -> None:
    """Warn at the line outside this package that the call came from."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("hdm_widgets."):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, stacklevel=level)


def advise_on_keywords(function: Callable[P, T]) -> Callable[P, T]:
    """Name the nearest known keyword, or all of them, when a call has an unknown one."""
    known = [
        name
        for name, parameter in inspect.signature(function).parameters.items()
        if name != "self" and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    ]

    @functools.wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> T:
        for name in kwargs:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                advice = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
                raise TypeError(f"{function.__qualname__}() has no keyword {name!r}; {advice}")
        return function(*args, **kwargs)

    return checked
