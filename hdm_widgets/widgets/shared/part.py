"""Parts of the latent explorer that are drawn by the browser: what they have in common, toolbar, legend."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from hdm_widgets.widgets.latent.selection_history import MODES

__all__ = ["Legend", "Part", "Toolbar", "read_static"]

_STATIC = Path(__file__).parents[2] / "static"

Answer = Callable[[dict[str, Any]], None]


def read_static(name: str) -> str:
    """A built file as text. Of a path anywidget would keep every widget alive to tell it of changes."""
    return (_STATIC / name).read_text(encoding="utf-8")


class Part(anywidget.AnyWidget):
    """A widget of the browser that asks Python for things by message.

    A request is a message `{"request": name, "id": number, ...}`. Its handler gets the message and may return what is
    to be added to the reply, and buffers; an error becomes the reply's `error`.
    """

    def __init__(self, **traits: Any) -> None:
        self._handlers: dict[str, Callable[[dict[str, Any]], Any]] = {}
        super().__init__(**traits)
        self.on_msg(self._receive)

    def on_request(self, name: str, handler: Callable[[dict[str, Any]], Any]) -> None:
        """Answer the requests of this name."""
        self._handlers[name] = handler

    def _receive(self, _widget: Any, content: Any, _buffers: Any) -> None:
        if not isinstance(content, dict):
            return
        reply: dict[str, Any] = {"id": content.get("id"), "error": None}
        handler = self._handlers.get(str(content.get("request")))
        buffers: list[bytes] = []
        if handler is None:
            reply["error"] = f"unknown request {content.get('request')!r}"
        else:
            try:
                answer = handler(content)
            except Exception as error:  # noqa: BLE001 - told on the screen, which waits for a reply
                reply["error"] = str(error) or type(error).__name__
            else:
                if isinstance(answer, tuple):
                    answer, buffers = answer
                reply.update(answer or {})
        self.send(reply, buffers)

    def close(self) -> None:
        """Remove the widget and forget its handlers."""
        self._handlers.clear()
        self.layout.close()
        super().close()
        self.unobserve_all()


class Toolbar(Part):
    """Lasso mode, undo, what colours the points and what lies behind them."""

    _esm = read_static("toolbar.js")
    _css = read_static("latent_explorer.css")

    mode: Any = traitlets.Enum(MODES, "replace").tag(sync=True)
    color_by = traitlets.Unicode("iou").tag(sync=True)
    background = traitlets.Unicode("expected_iou").tag(sync=True)
    colors: Any = traitlets.List().tag(sync=True)
    backgrounds: Any = traitlets.List().tag(sync=True)
    can_undo = traitlets.Bool(False).tag(sync=True)
    count = traitlets.Int(0).tag(sync=True)


class Legend(Part):
    """What the colours mean; and what the pointer does on the figure: thumbnails, clicks, modifier keys."""

    _esm = read_static("legend.js")
    _css = read_static("latent_explorer.css")

    mode: Any = traitlets.Enum(MODES, "replace").tag(sync=True)
    background = traitlets.Unicode("expected_iou").tag(sync=True)
    legend = traitlets.Dict().tag(sync=True)
    surface = traitlets.Dict().tag(sync=True)
    sample = traitlets.Dict().tag(sync=True)
    notice = traitlets.Unicode("").tag(sync=True)
    names: Any = traitlets.List().tag(sync=True)
    _points = traitlets.Dict().tag(sync=True)
