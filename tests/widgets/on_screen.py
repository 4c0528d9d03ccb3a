"""Widgets as the browser sees them: the state that is synced, and the messages of their comms."""

from contextlib import ExitStack, contextmanager

import bqplot
import numpy as np

from hdm_widgets.widgets.latent.scans_panel import ScansPanel


def decoded(value):
    """A message with its arrays as arrays, as the browser decodes it."""
    if isinstance(value, dict):
        if value.keys() == {"view", "dtype", "shape"}:
            return np.frombuffer(value["view"], value["dtype"]).reshape(value["shape"])
        return {name: decoded(entry) for name, entry in value.items()}
    return [decoded(entry) for entry in value] if isinstance(value, (list, tuple)) else value


def unpacked(bits, *shape):
    """A mask that was sent at one bit per pixel."""
    return np.unpackbits(np.frombuffer(bits, np.uint8), count=int(np.prod(shape))).reshape(shape).astype(bool)


class OnScreen:
    """One widget.

    `shown[trait]` is what the browser has of a trait.
    """

    def __init__(self, widget):
        self.widget = widget
        self._comm = widget.comm

    def __getitem__(self, trait):
        return decoded(self.widget.get_state(trait)[trait])

    def set(self, **state):
        """Change traits, as a control does."""
        self._receive({"method": "update", "state": state, "buffer_paths": []})

    def send(self, content):
        """Send a message; the replies and their buffers."""
        return self.sent_while(lambda: self._receive({"method": "custom", "content": content}))

    def sent_while(self, work):
        """The messages and their buffers that are sent while some work runs."""
        with _sent(self._comm) as sent:
            work()
        return [(data["content"], buffers) for data, buffers in sent if data["method"] == "custom"]

    def ask(self, request, **content):
        """Ask for something: the reply and its buffers."""
        ((reply, buffers),) = self.send({"request": request, "id": 7, **content})
        assert reply.pop("id") == 7
        return reply, buffers

    def _receive(self, data):
        self._comm.handle_msg({"content": {"data": data}, "buffers": []})


def missed(widgets, work, show):
    """What a page lacks that read these widgets' states, heard nothing while some work ran, and then showed them.

    For each widget: the traits that the work has changed, and those of them that `show` does not send again.
    """
    before = [dict(widget.get_state()) for widget in widgets]
    work()
    with ExitStack() as stack:
        sent = [stack.enter_context(_sent(widget.comm)) for widget in widgets]
        show()
    again = [{name for data, _ in messages if data["method"] == "update" for name in _names(data)} for messages in sent]
    changed = [
        {name for name, value in widget.get_state().items() if repr(decoded(value)) != repr(decoded(state[name]))}
        for widget, state in zip(widgets, before, strict=True)
    ]
    return [(names, names - those) for names, those in zip(changed, again, strict=True)]


def _names(data):
    """The traits of an update; values that are sent as buffers are not in its state."""
    return {*data["state"], *(path[0] for path in data["buffer_paths"])}


@contextmanager
def _sent(comm):
    """The data of the messages that are sent meanwhile, and their buffers."""
    sent, publish = [], comm.publish_msg

    def record(msg_type, data=None, metadata=None, buffers=None, **keys):
        if data:
            sent.append((data, buffers))
        publish(msg_type, data, metadata, buffers, **keys)

    comm.publish_msg = record
    try:
        yield sent
    finally:
        comm.publish_msg = publish


class Map:
    """The marks of a latent explorer's figure."""

    def __init__(self, figure):
        self.figure = figure

    def _marks(self, kind):
        return [mark for mark in self.figure.marks if isinstance(mark, kind)]

    @property
    def surface(self):
        return self._marks(bqplot.Image)[0]

    @property
    def outlines(self):
        return self._marks(bqplot.Lines)[0]

    @property
    def points(self):
        return self._marks(bqplot.Scatter)[0]

    @property
    def ring(self):
        """Around the highlighted point."""
        return self._marks(bqplot.Scatter)[-1]

    @property
    def crosses(self):
        """Over items whose truth was marked as wrong."""
        return self._marks(bqplot.Scatter)[-2]

    @property
    def new_points(self):
        return self._marks(bqplot.Scatter)[1]

    def lasso(self, *points):
        """What bqplot does at the end of a lasso around drawn points."""
        self.points.selected = np.array(points, np.uint32)


class LatentScreen(Map):
    """A latent explorer: its map and its other parts."""

    def __init__(self, explorer):
        toolbar, *panels, main, table, self.below = (
            part for part in explorer.children if not isinstance(part, ScansPanel)
        )
        left, right = main.children
        figure, legend = left.children
        (gallery,) = right.children
        super().__init__(figure)
        self.toolbar, self.legend = OnScreen(toolbar), OnScreen(legend)
        self.gallery, self.table = OnScreen(gallery), OnScreen(table)
        # With new data only.
        (self.panel,) = map(OnScreen, panels) if panels else (None,)

    @property
    def items(self):
        """What is in the gallery, in order."""
        return self.gallery["_shown"]["first"].tolist()


class ComparisonScreen:
    """A comparison as the browser has it."""

    def __init__(self, explorer):
        head, plot, below = explorer.children
        maps, legend = plot.children
        self.head, self.legend, self.gallery = map(OnScreen, (head, legend, below.children[0]))
        self.headings = [box.children[0].value for box in maps.children]
        self.maps = [Map(box.children[1]) for box in maps.children]

    @property
    def items(self):
        return self.gallery["_shown"]["first"].tolist()
