"""A notebook's shell without a notebook."""

from types import ModuleType

from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config


class Shell(InteractiveShell):
    """IPython's own shell, which knows the id of the cell it runs, as in a notebook."""

    def __init__(self, folder):
        config = Config()
        config.HistoryManager.enabled = False
        # Not `__main__`, which is pytest.
        super().__init__(config=config, ipython_dir=str(folder), user_module=ModuleType("notebook"))
        self.cell = None
        self.message = "cell"

    def get_parent(self):
        return {"header": {"msg_id": self.message}, "metadata": {"cellId": self.cell}}

    def set_parent(self, parent):
        """The parent of what is displayed, which is the same here."""

    def run(self, cell, source=""):
        """Run a cell; what its last line gives."""
        self.cell = cell
        done = self.run_cell(source, store_history=True, cell_id=cell)
        done.raise_error()
        return done.result

    @property
    def watching(self):
        return [hook for hooks in self.events.callbacks.values() for hook in hooks]
