"""Toolbar and legend of the latent explorer."""

from __future__ import annotations

from typing import Any

import traitlets

from hdm_widgets._wire import MESSAGE
from hdm_widgets.widgets.latent.selection_history import MODES
from hdm_widgets.widgets.shared.part import Part, read_static

__all__ = ["Legend", "Toolbar"]


class Toolbar(Part):
    """Lasso mode, undo, what colors the points and what lies behind them."""

    _changing = ("colors", "backgrounds", "has_new", "count")
    _esm = read_static("toolbar.js")
    _css = read_static("latent_explorer.css")

    mode: Any = traitlets.Enum(MODES, "replace").tag(sync=True)
    color_by = traitlets.Unicode("iou").tag(sync=True)
    background = traitlets.Unicode("expected_iou").tag(sync=True)
    colors: Any = traitlets.List().tag(sync=True)
    color_as = traitlets.Unicode("auto").tag(sync=True)
    color_modes: Any = traitlets.List().tag(sync=True)
    backgrounds: Any = traitlets.List().tag(sync=True)
    points = traitlets.Unicode("both").tag(sync=True)
    has_new = traitlets.Bool(False).tag(sync=True)
    can_undo = traitlets.Bool(False).tag(sync=True)
    count = traitlets.Int(0).tag(sync=True)


class Legend(Part):
    """What the colors mean.

    It also handles the pointer on the figure (thumbnails, clicks, modifier keys) and writes the names of the selections
    there.
    """

    _esm = read_static("legend.js")
    _css = read_static("latent_explorer.css")

    mode: Any = traitlets.Enum(MODES, "replace").tag(sync=True)
    background = traitlets.Unicode("expected_iou").tag(sync=True)
    legend = traitlets.Dict().tag(**MESSAGE)
    search = traitlets.Unicode("").tag(sync=True)
    surface = traitlets.Dict().tag(**MESSAGE)
    total = traitlets.Int(0).tag(sync=True)
    # Of a map of very many items: how many are in view, and how many in the fullest pixel; of a second map in `others`,
    # of new items in `new`.
    density = traitlets.Dict().tag(**MESSAGE)
    notice = traitlets.Unicode("").tag(sync=True)
    names: Any = traitlets.List().tag(**MESSAGE)
    new = traitlets.Dict().tag(**MESSAGE)
    _points = traitlets.Dict().tag(**MESSAGE)
