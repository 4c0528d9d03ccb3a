"""Close a widget when what made it has run again, a cell or the function of an `interact`, unless it is still held."""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Callable, Iterable
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any

import ipywidgets
import numpy as np
from comm.base_comm import BaseComm

__all__ = ["close_on_rerun", "is_held"]

# Beyond so many objects the search ends, and the widget counts as held.
_MOST_OBJECTS = 1_000_000


def close_on_rerun(widget: Any) -> Callable[[], None]:
    """Close a widget when the cell now running has run once more and no variable of the notebook holds the widget.

    The same if the function of an `ipywidgets.interact` is running: it runs again with every move of a slider, and what
    it made before is taken off the page.

    Parameters
    ----------
    widget : ipywidgets.Widget
        Referenced weakly.

    Returns
    -------
    callable
        Stops the watching. Outside a notebook there is nothing to watch, and it does nothing.
    """
    try:
        from IPython import get_ipython
    except ImportError:
        return _nothing
    shell: Any = get_ipython()
    if shell is None:
        return _nothing
    reference = weakref.ref(widget)
    stops = [_watch_cell(reference, shell), _watch_interact(reference, shell)]

    def stop() -> None:
        for one in stops:
            one()

    return stop


def _watch_cell(reference: weakref.ref[Any], shell: Any) -> Callable[[], None]:
    parent: dict[str, Any] = getattr(shell, "get_parent", dict)() or {}
    cell = parent.get("metadata", {}).get("cellId")
    if cell is None:
        return _nothing
    runs_again = False

    def before_cell(info: Any) -> None:
        nonlocal runs_again
        runs_again = getattr(info, "cell_id", None) == cell

    def after_cell(_result: Any = None) -> None:
        # Not before the cell has run: only then is it known whether it made a new widget or kept this one.
        made = reference()
        if runs_again and made is not None and not is_held(made, shell):
            made.close()

    hooks = {"pre_run_cell": before_cell, "post_run_cell": after_cell}

    def stop() -> None:
        for event, hook in hooks.items():
            if hook in shell.events.callbacks[event]:
                shell.events.unregister(event, hook)

    for event, hook in hooks.items():
        shell.events.register(event, hook)
    return stop


def _watch_interact(reference: weakref.ref[Any], shell: Any) -> Callable[[], None]:
    host = _running_interact()
    if host is None or not host.clear_output:
        return _nothing
    output, runs_again = host.out, False

    def captured(change: Any) -> None:
        # The output has an id as long as the function runs.
        nonlocal runs_again
        made = reference()
        if change["new"]:
            runs_again = True
        elif runs_again and made is not None and not is_held(made, shell, host):
            made.close()

    output.observe(captured, names=["msg_id"])
    return lambda: output.unobserve(captured, names=["msg_id"])


def _running_interact() -> Any:
    """The `interactive` whose function is running, the innermost one; None if there is none."""
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if frame.f_code is ipywidgets.interactive.update.__code__:
            return frame.f_locals["self"]
        frame = frame.f_back
    return None


def is_held(wanted: object, shell: Any, *more: object) -> bool:
    """Whether a variable of the notebook, or one of `more`, leads to an object.

    Followed are containers, attributes, closures and other widgets' children. What IPython keeps by itself (`Out`, `_`)
    and modules, classes and the widgets' own registry do not count.
    """
    shell_names: dict[str, Any] = shell.user_ns_hidden
    missing = object()
    variables = list(shell.user_ns.items())
    found: list[Any] = [*more, *(value for name, value in variables if shell_names.get(name, missing) is not value)]
    never = (ModuleType, type, CodeType, FrameType, BaseComm, type(shell))
    seen = {id(shell.user_ns), id(shell_names), id(shell.user_ns.get("Out"))}
    while found:
        one = found.pop()
        if one is wanted:
            return True
        if id(one) in seen or isinstance(one, never):
            continue
        seen.add(id(one))
        if len(seen) > _MOST_OBJECTS:
            return True
        found += _parts(one)
    return False


def _parts(one: Any) -> Iterable[Any]:
    if isinstance(one, FunctionType):
        # Not the variables of its module, which are those of the notebook or a library's.
        return [one.__closure__, one.__defaults__, one.__kwdefaults__, one.__dict__]
    if isinstance(one, np.ndarray):
        # The garbage collector does not look into arrays.
        return one.ravel().tolist() if one.dtype == object else ()
    return gc.get_referents(one) if gc.is_tracked(one) else ()


def _nothing() -> None:
    """Nothing was watched."""
