"""A widget that the browser draws and that answers the browser's requests."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeAlias

import anywidget

from hdm_widgets._validation import check_choice
from hdm_widgets._wire import MESSAGE, to_wire

__all__ = ["Answer", "Found", "Part", "read_static"]

_STATIC = Path(__file__).parents[2] / "static"

# What is added to a reply, and its buffers; or a promise of both.
Found: TypeAlias = tuple[dict[str, Any], list[bytes | bytearray]]
Answer: TypeAlias = "Found | Future[Found]"
Handler = Callable[[dict[str, Any]], Any]
# What a view tells of itself: it is seen, it was taken off its page, its page was closed or is loaded again.
_EVENTS = ("shown", "removed", "closed")


def read_static(name: str) -> str:
    """A built file as text: anywidget watches files given as paths, and would keep every widget alive for that."""
    return (_STATIC / name).read_text(encoding="utf-8")


class Part(anywidget.AnyWidget):
    """A widget of the browser that asks Python for things by message.

    A request is a message `{"request": name, "id": number, ...}`. Its handler gets the message, and may return what is
    to be added to the reply, or that and buffers; or a Future of these, if they are found in another thread. An error
    becomes the reply's `error`.
    """

    # Traits beside messages that change while work in the background goes on, and when it ends.
    _changing: tuple[str, ...] = ()

    def __init__(self, **traits: Any) -> None:
        self._handlers: dict[str, Handler] = {}
        self._views: set[str] = set()
        super().__init__(**traits)
        self.on_msg(self._receive)

    def on_request(self, name: str, handler: Handler) -> None:
        """Answer the requests of this name."""
        self._handlers[name] = handler

    def on_views(self, callback: Callable[[bool], Any]) -> None:
        """Call this with True when a view is seen, and with False when the last one was taken off its page.

        A page that is closed takes nothing off: who opens it again finds what has been done meanwhile.
        """

        def told(asked: dict[str, Any]) -> None:
            view, event = str(asked["view"]), check_choice("event", asked["event"], _EVENTS)
            was_seen = view in self._views
            if event == "shown":
                self._views.add(view)
                callback(True)
                return
            self._views.discard(view)
            if event == "removed" and was_seen and not self._views:
                callback(False)

        self.on_request("view", told)

    def repeat(self) -> None:
        """Send again what the work in the background has changed.

        What is sent while a page makes its widgets is lost, as a page that is loaded reads their state first and
        listens later: without this it might say for ever that something runs.
        """
        messages = self.trait_names(to_json=lambda way: way is MESSAGE["to_json"])
        self.send_state([*messages, *self._changing])

    def _receive(self, _widget: Any, content: Any, _buffers: Any) -> None:
        if not isinstance(content, dict):
            return
        handler = self._handlers.get(str(content.get("request")))

        def answer() -> Any:
            if handler is None:
                raise ValueError(f"unknown request {content.get('request')!r}")
            found = handler(content)
            if isinstance(found, Future):
                found.add_done_callback(lambda done: self._reply(content.get("id"), done.result))
            return found

        self._reply(content.get("id"), answer)

    def _reply(self, number: Any, answer: Callable[[], Any]) -> None:
        """Reply to a request, if the answer is not still to come."""
        reply: dict[str, Any] = {"id": number, "error": None}
        buffers: list[bytes | bytearray] = []
        try:
            found = answer()
            if isinstance(found, Future):
                return
            if isinstance(found, tuple):
                found, buffers = found
            reply.update(to_wire(found or {}))
        except Exception as error:  # noqa: BLE001 - shown on the screen, which waits for a reply
            reply["error"] = str(error) or type(error).__name__
        self.send(reply, buffers)

    def close(self) -> None:
        """Remove the widget and forget its handlers."""
        self._handlers.clear()
        self.unobserve_all()
        self.layout.close()
        super().close()
