"""Jupyter's front ends as the browser tests see them: a server process, and a notebook open in a page."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self
from urllib.error import URLError

from playwright.sync_api import ConsoleMessage, Error, Page

# Generous, because the machine may be busy; tests wait for conditions and go on as soon as they hold.
TIMEOUT = float(os.environ.get("HDM_BROWSER_TIMEOUT", "60"))  # seconds
TIMEOUT_MS = 1000 * TIMEOUT
# Between two looks at pixels: every frame would keep a core busy.
POLLING_MS = 50

# Wait until the notebook's panel and kernel are ready; a kernel is "idle" too early.
_OPEN = """async () => {
  const app = window.jupyterapp;
  await app.restored;
  const panel = app.shell.currentWidget;
  await panel.context.ready;
  await panel.context.sessionContext.ready;
  await panel.context.sessionContext.session.kernel.info;
  window.testedPanel = panel;
}"""
_RUN_ALL = "() => window.jupyterapp.commands.execute('notebook:run-all-cells')"
_RUN = """async (index) => {
  const { content } = window.testedPanel;
  content.deselectAll();
  content.activeCellIndex = index;
  await window.jupyterapp.commands.execute('notebook:run-cell');
}"""
_APPEND = """(source) => {
  const { model } = window.testedPanel.content;
  model.sharedModel.insertCell(model.cells.length, { cell_type: 'code', source, metadata: {} });
  return model.cells.length - 1;
}"""
_FILL = """(sources) => {
  const { content } = window.testedPanel;
  const { sharedModel } = content.model;
  sharedModel.transact(() => {
    const before = sharedModel.cells.length;
    sharedModel.insertCells(before, sources.map((source) => ({ cell_type: 'code', source, metadata: {} })));
    sharedModel.deleteCellRange(0, before);
  });
  content.deselectAll();
  content.activeCellIndex = 0;
  content.mode = 'command';
}"""
# Widgets end before their names do: a name that goes would leave the widget's view.
_FORGET = """
import ipywidgets
for _one in list(ipywidgets.widgets.widget._instances.values()):
    _one.close()
get_ipython().run_line_magic("reset", "-f")
"""
_OUTPUTS = "(index) => window.testedPanel.content.widgets[index].model.outputs.toJSON()"
_START = """(code) => {
  window.testedPanel.context.sessionContext.session.kernel.requestExecute({ code, store_history: false });
}"""
_EXECUTE = """async ([code, milliseconds]) => {
  const { kernel } = window.testedPanel.context.sessionContext.session;
  const request = kernel.requestExecute({ code, store_history: false });
  const outputs = [];
  request.onIOPub = ({ header, content }) => outputs.push({ output_type: header.msg_type, ...content });
  const late = new Promise((_, reject) => setTimeout(() => reject(new Error('the kernel is silent')), milliseconds));
  await Promise.race([request.done, late]);
  return outputs;
}"""
_SELECTION = """() => {
  const { content } = window.testedPanel;
  return [content.activeCellIndex, content.mode, content.model.cells.length, content.selectedCells.length];
}"""
_COLLAPSE = "() => { const { shell } = window.jupyterapp; if (!shell.leftCollapsed) shell.collapseLeft(); }"
_SAVE = "() => window.testedPanel.context.save()"
_RESTART = "() => window.testedPanel.context.sessionContext.session.kernel.restart()"
_HAVE_KERNEL = """async () => {
  const { sessionContext } = window.testedPanel.context;
  if (!sessionContext.session?.kernel) await sessionContext.changeKernel({ name: 'python3' });
  await sessionContext.session.kernel.info;
}"""
_SHUTDOWN = "() => window.testedPanel?.context.sessionContext.shutdown()"


def no_proxy(url: str) -> bytes:
    """The body at a loopback address; a proxy of the environment has no part in it."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=TIMEOUT) as reply:
        return reply.read()


class JupyterServer:
    """One of Jupyter's servers in a process of its own, with nothing of the user's configuration.

    Parameters
    ----------
    module : str
        What `python -m` runs.
    arguments : list of str
        Beside the port; `{root}` stands for the folder of the notebooks.
    address : str
        Where a notebook is shown, below the server's root; `{name}` stands for its file.
    home : Path
        An empty folder for notebooks, settings and logs.
    files : dict of str to str, optional
        What lies in the folder of the notebooks when the server starts, by name.
    """

    def __init__(
        self, module: str, arguments: list[str], address: str, home: Path, files: dict[str, str] | None = None
    ) -> None:
        self._address = address
        self._root = home / "root"
        self._log_path = home / "server.log"
        self._root.mkdir(parents=True)
        for name, text in (files or {}).items():
            (self._root / name).write_text(text)
        _write_settings(home / "settings")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        command = [sys.executable, "-m", module, *arguments, f"--port={self._port}"]
        command = [part.replace("{root}", str(self._root)) for part in command]
        with self._log_path.open("wb") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=_environment(home), cwd=self._root
            )

    def __enter__(self) -> Self:
        try:
            self._await_reply()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def _await_reply(self) -> None:
        deadline = time.monotonic() + 2 * TIMEOUT
        while True:
            try:
                no_proxy(f"http://127.0.0.1:{self._port}/static/favicons/favicon.ico")
            except URLError as error:
                if getattr(error, "code", None) is not None:
                    return  # it answers, if only that it has no such page
            except OSError:
                pass
            else:
                return
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the server does not answer; its log:\n{self.log()}")
            # Returns early if the process ends, which the next round reports.
            try:
                self._process.wait(0.1)
            except subprocess.TimeoutExpired:
                continue

    @property
    def address(self) -> str:
        """Of the server's own page."""
        return f"http://127.0.0.1:{self._port}/"

    def file(self, address: str) -> Path:
        """Where the notebook at this address is stored."""
        return self._root / re.sub(r"\?.*", "", address).rsplit("/", 1)[1]

    def log(self) -> str:
        """What the server has written so far."""
        return self._log_path.read_text(errors="replace")

    def notebook(self, cells: list[str], address: str | None = None) -> str:
        """Store code cells as a new notebook; its address, below another one than the server's own if that is given."""
        name = f"{uuid.uuid4().hex}.ipynb"
        notebook = {
            "nbformat": 4,
            "nbformat_minor": 5,
            "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
            "cells": [
                {
                    "cell_type": "code",
                    "id": f"cell-{index}",
                    "metadata": {},
                    "outputs": [],
                    "execution_count": None,
                    "source": source.strip(),
                }
                for index, source in enumerate(cells)
            ],
        }
        (self._root / name).write_text(json.dumps(notebook))
        return f"http://127.0.0.1:{self._port}/{(address or self._address).replace('{name}', name)}"

    def close(self) -> None:
        """End the process; its kernels end with it."""
        self._process.terminate()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def jupyterlab(home: Path) -> JupyterServer:
    """JupyterLab 4, and Notebook 7 beside it."""
    quiet = ["--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate", "--LabApp.extension_manager=readonly"]
    beside = "--JupyterNotebookApp.expose_app_in_browser=True"
    return JupyterServer("jupyterlab", [*_server_arguments(), *quiet, beside], "lab/tree/{name}?reset", home)


# Where that server shows a notebook in Notebook 7.
NOTEBOOK_7 = "notebooks/{name}"


def voila(home: Path) -> JupyterServer:
    """Voila: the notebook is run and shown without its code."""
    arguments = ["--no-browser", "--Voila.ip=127.0.0.1", "{root}"]
    return JupyterServer("voila", arguments, "voila/render/{name}", home)


def marimo(home: Path, source: str) -> JupyterServer:
    """marimo: this notebook of it, a Python file, run as an app."""
    arguments = ["run", "{root}/notebook.py", "--headless", "--no-token", "--host=127.0.0.1"]
    return JupyterServer("marimo", arguments, "", home, {"notebook.py": source})


def _server_arguments() -> list[str]:
    return [
        "--no-browser",
        "--ip=127.0.0.1",
        "--allow-root",
        "--expose-app-in-browser",
        "--IdentityProvider.token=",
        "--ServerApp.password=",
        "--ServerApp.root_dir={root}",
        "--ServerApp.terminals_enabled=False",
    ]


def _environment(home: Path) -> dict[str, str]:
    own = {
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_DATA_DIR": "data",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
        "IPYTHONDIR": "ipython",
        "XDG_CONFIG_HOME": "config",
        "XDG_STATE_HOME": "state",
    }
    users = {name: value for name, value in os.environ.items() if not name.startswith(("JUPYTER", "IPYTHON"))}
    # The models of these tests are tiny: threads would wait for each other.
    set_ = {"JUPYTER_PLATFORM_DIRS": "1", "OMP_NUM_THREADS": "1"}
    return {**users, **{name: str(home / folder) for name, folder in own.items()}, **set_}


def _write_settings(folder: Path) -> None:
    settings = folder / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    news = {"fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True}
    (settings / "notification.jupyterlab-settings").write_text(json.dumps(news))
    (settings / "themes.jupyterlab-settings").write_text(json.dumps({"theme": "JupyterLab Light"}))
    # They are saved when a test says so, not also after two minutes of a slow one, when a widget may have gone.
    documents = folder / "@jupyterlab" / "docmanager-extension"
    documents.mkdir(parents=True)
    (documents / "plugin.jupyterlab-settings").write_text(json.dumps({"autosave": False}))
    # Notebooks are saved with their widgets, as a user may choose.
    manager = folder / "@jupyter-widgets" / "jupyterlab-manager"
    manager.mkdir(parents=True)
    (manager / "plugin.jupyterlab-settings").write_text(json.dumps({"saveState": True}))


def find_chromium() -> str | None:
    """A Chromium or Chrome of the system."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((path for path in map(shutil.which, names) if path), None)


class Complaints:
    """Errors in a page's console that come from the widget, or from running it."""

    # A widget's script is loaded from a blob; the other words name what carries its messages.
    _OURS = re.compile(r"blob:|hdm|anywidget|widget|comm[ _]|preact|signal", re.IGNORECASE)

    def __init__(self, page: Page) -> None:
        self._found: list[str] = []
        page.on("console", self._logged)
        page.on("pageerror", self._raised)

    def _logged(self, message: ConsoleMessage) -> None:
        text = f"{message.text} ({message.location.get('url', '')})"
        # An exported page looks for the packages of its widgets beside itself first.
        beside = "ERR_FILE_NOT_FOUND" in message.text
        if message.type == "error" and not beside and self._OURS.search(text):
            self._found.append(f"console error: {text}")

    def _raised(self, error: Error) -> None:
        text = f"{error}\n{error.stack or ''}"
        if self._OURS.search(text):
            self._found.append(f"uncaught error: {text}")

    def check(self) -> None:
        """Fail if there was any since the last time."""
        found, self._found = self._found, []
        assert found == [], "\n".join(found)

    def forget(self, text: str) -> None:
        """Leave out those with this text, of the last time."""
        self._found = [found for found in self._found if text not in found]


class NotebookPage:
    """A notebook open in JupyterLab or Notebook 7.

    Parameters
    ----------
    page : Page
    address : str
        From `JupyterServer.notebook`.
    """

    def __init__(self, page: Page, address: str) -> None:
        self.page = page
        self.address = address
        self.reload()

    def reload(self) -> None:
        """Load the page again; the kernel is the same."""
        page = self.page
        page.goto(self.address)
        page.wait_for_function(
            "() => window.jupyterapp && document.querySelector('.jp-CodeCell')", timeout=2 * TIMEOUT_MS
        )
        page.evaluate(_OPEN)

    def run_all(self) -> None:
        """Start all cells; returns when they have been handed to the kernel."""
        self.page.evaluate(f"() => {{ ({_RUN_ALL})(); }}")

    def run(self, index: int) -> str:
        """Run one cell to its end; its output as text."""
        self.page.evaluate(_RUN, index)
        return _text(self.page.evaluate(_OUTPUTS, index))

    def run_new(self, source: str) -> str:
        """Add a cell at the end of the notebook and run it to its end; its output as text."""
        return self.run(self.page.evaluate(_APPEND, source))

    def fill(self, cells: list[str]) -> None:
        """Replace all cells by these; none is run."""
        self.page.evaluate(_FILL, [source.strip() for source in cells])

    def forget(self) -> None:
        """Close all widgets in the kernel and delete all names."""
        self.execute(_FORGET)

    def execute(self, code: str) -> str:
        """Run code in the kernel without a cell, so that the notebook stays as it is; its output as text."""
        return _text(self.page.evaluate(_EXECUTE, [code, TIMEOUT_MS]))

    def start(self, code: str) -> None:
        """Start code in the kernel, which may be its last."""
        self.page.evaluate(_START, code)

    def value(self, expression: str) -> Any:
        """The value of a Python expression, which must be a literal when written with `repr`."""
        return ast.literal_eval(self.execute(f"print(repr(({expression})))"))

    def await_value(self, expression: str, expected: Any) -> None:
        """Ask Python until the expression has this value."""
        self.await_that(expression, lambda value: value == expected, f"== {expected!r}")

    def await_that(self, expression: str, holds: Callable[[Any], bool], wanted: str) -> Any:
        """Ask Python until a condition on the expression's value holds; that value."""
        deadline = time.monotonic() + TIMEOUT
        while not holds(value := self.value(expression)):
            assert time.monotonic() < deadline, f"{expression} is {value!r}, expected {wanted}"
        return value

    def selection(self) -> list[Any]:
        """Of the notebook: active cell, mode, number of cells, number of selected cells."""
        return self.page.evaluate(_SELECTION)

    def hide_file_browser(self) -> None:
        """Give its room to the notebook; it would take most of a narrow window."""
        self.page.evaluate(_COLLAPSE)

    def save(self) -> None:
        """Save the notebook, with the state of its widgets."""
        self.page.evaluate(_SAVE)

    def restart_kernel(self) -> None:
        """Restart the kernel; no cell is run."""
        self.page.evaluate(_RESTART)

    def have_kernel(self) -> None:
        """Start a kernel where there is none."""
        self.page.evaluate(_HAVE_KERNEL)

    def close(self) -> None:
        """End the kernel."""
        self.page.evaluate(_SHUTDOWN)


def _text(outputs: list[dict[str, Any]]) -> str:
    """Printed text and results of a cell's outputs; an error in the cell is an error of the test."""
    parts = []
    for output in outputs:
        kind = output["output_type"]
        if kind == "error":
            raise AssertionError("\n".join(output["traceback"]))
        if kind == "stream" and output["name"] == "stdout":
            parts.append(output["text"])
        elif kind == "execute_result":
            parts.append(output["data"].get("text/plain", ""))
    return "".join(part if isinstance(part, str) else "".join(part) for part in parts).strip()
