"""A notebook's shell without a notebook."""

from types import SimpleNamespace

from IPython.core.events import EventManager, available_events


class Shell:
    """As much of a notebook's shell as tells which cell runs; its events are IPython's own."""

    def __init__(self):
        self.events = EventManager(self, available_events)
        self.cell = None

    def get_parent(self):
        return {"metadata": {"cellId": self.cell}}

    def run_cell(self, cell):
        self.cell = cell
        self.events.trigger("pre_run_cell", SimpleNamespace(cell_id=cell))

    @property
    def hooks(self):
        return [hook for hooks in self.events.callbacks.values() for hook in hooks]
