"""Notice that the notebook cell which made a widget is run again."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

__all__ = ["on_rerun"]


def on_rerun(callback: Callable[[], None]) -> Callable[[], None]:
    """Call a bound method when the cell now running is run once more.

    Parameters
    ----------
    callback : bound method
        Held weakly.

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
    parent: dict[str, Any] = getattr(shell, "get_parent", dict)() or {}
    cell = parent.get("metadata", {}).get("cellId")
    if cell is None:
        return _nothing
    method = weakref.WeakMethod(callback)

    def before_cell(info: Any) -> None:
        bound = method()
        if bound is not None and getattr(info, "cell_id", None) == cell:
            bound()

    def stop() -> None:
        if before_cell in shell.events.callbacks["pre_run_cell"]:
            shell.events.unregister("pre_run_cell", before_cell)

    shell.events.register("pre_run_cell", before_cell)
    return stop


def _nothing() -> None:
    """Nothing was watched."""
