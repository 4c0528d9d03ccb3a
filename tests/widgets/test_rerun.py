"""What becomes of an explorer when its cell runs again, in IPython's own shell."""

import threading

import ipywidgets
import pytest

from hdm_widgets.widgets.shared import rerun

PREPARE = """
import types
import ipywidgets
import numpy as np
import hdm_widgets as hw

image = np.zeros((8, 8), np.float32)
image[2:5, 2:5] = 1
made, named, free, table = [], {}, types.SimpleNamespace(), np.empty(2, object)

def make():
    return hw.HDMExplorer(lambda images: images[:, 0], image, image, 2, 4)
"""
CLOSED = "HDMExplorer(closed)"


def explorers():
    return [one for one in ipywidgets.widgets.widget._instances.values() if type(one).__name__ == "HDMExplorer"]


def close_all():
    for explorer in explorers():
        explorer.close()


@pytest.fixture
def notebook(shell):
    """A notebook in which `make()` makes an explorer; those that other tests left are closed, and so are its own."""
    close_all()
    shell.run("first", PREPARE)
    yield shell
    close_all()
    for thread in threading.enumerate():
        if thread.name == "hdm-explorer":
            thread.join(60)
            assert not thread.is_alive()


@pytest.mark.parametrize(
    "source",
    [
        "make()",
        "make();",
        "x = make()\nx",
        "x = make()\ndel x",
        "def show():\n    x = make()\n    return x\nshow()",
        "x = [make()]\nx[0]",
    ],
    ids=["last line", "not shown", "a variable", "deleted", "made by a function", "a new list"],
)
def test_an_explorer_that_its_cell_replaces_is_closed(notebook, source):
    notebook.run("a", source)
    (before,) = explorers()
    notebook.run("b", "1")
    assert repr(before) != CLOSED
    notebook.run("a", source)
    assert repr(before) == CLOSED
    (after,) = explorers()
    assert repr(after) != CLOSED
    notebook.run("a", "1")
    assert explorers() == ([] if "x =" not in source or "del x" in source or "def" in source else [after])


@pytest.mark.parametrize(
    "source",
    [
        "x = globals().get('x')\nif x is None:\n    x = make()\nx",
        "made.append(make())",
        "named['a', len(named)] = (make(),)",
        "free.explorer = getattr(free, 'explorer', None) or make()",
        "table[0] = table[0] or make()",
        "def once(x=[]):\n    return x or x.append(make())\nkeep = globals().get('keep', once)\nkeep()",
        "box = globals().get('box') or ipywidgets.HBox([make()])\nbox",
        "def later(x):\n    return lambda: x\nkeep = globals().get('keep') or later(make())",
        "if 'hear' not in globals():\n    hear = make().run",
    ],
    ids=["if None", "list", "dict", "attribute", "array", "default", "widget", "closure", "method"],
)
def test_an_explorer_that_is_held_stays_open(notebook, source):
    notebook.run("a", source)
    (kept,) = explorers()
    assert kept.wait(60)
    for _ in range(2):
        notebook.run("a", source)
    assert kept in explorers()
    kept.run()
    assert kept.wait(60)
    assert kept.status == "done"


def test_an_explorer_that_another_cell_holds_stays_open(notebook):
    notebook.run("a", "x = make()\nx")
    (kept,) = explorers()
    notebook.run("b", "y = x")
    notebook.run("a", "x = make()\nx")
    assert kept in explorers()
    # Until it does not: then the next run of its cell closes it.
    notebook.run("b", "del y")
    notebook.run("a", "x = make()\nx")
    assert repr(kept) == CLOSED
    assert len(explorers()) == 1


def test_variables_that_lead_everywhere_hold_nothing(notebook):
    # Shell, modules, widgets and errors know the history of outputs, or the widgets' registry.
    notebook.run(
        "everywhere",
        """
import gc, sys, threading
import IPython
ip, outputs, events = get_ipython(), Out, get_ipython().events
modules, main = [sys, IPython, ipywidgets, hw], make.__globals__
slider = ipywidgets.IntSlider()
slider.observe(lambda change: make(), names=["value"])
manager = ipywidgets.widgets.widget.comm.get_comm_manager()
thread = threading.main_thread()
try:
    1 / 0
except ZeroDivisionError as raised:
    error = raised
""",
    )
    notebook.run("a", "make()")
    (before,) = explorers()
    notebook.run("a", "make()")
    assert repr(before) == CLOSED


def test_a_running_scan_ends_with_the_explorer_that_is_replaced(notebook):
    notebook.run(
        "model",
        """
import threading
gate = threading.Semaphore(0)
calls = 0

def slow(images):
    global calls
    calls += 1
    assert gate.acquire(timeout=60)
    return images[:, 0]
""",
    )
    source = "hw.HDMExplorer(slow, image, image, 2, 4, batch_size=1)"
    notebook.run("a", source)
    (before,) = explorers()
    notebook.run("a", "1")
    assert repr(before) == CLOSED
    notebook.user_ns["gate"].release(100)
    for thread in threading.enumerate():
        if thread.name == "hdm-explorer":
            thread.join(60)
    assert notebook.user_ns["calls"] <= 1


def test_a_cell_that_fails_closes_what_it_made_before(notebook):
    notebook.run("a", "make()")
    (before,) = explorers()
    with pytest.raises(ZeroDivisionError):
        notebook.run("a", "1 / 0")
    assert repr(before) == CLOSED


def test_what_is_closed_is_watched_no_more(notebook):
    hooks = len(notebook.watching)
    notebook.run("a", "x = make()")
    assert len(notebook.watching) == hooks + 2
    notebook.run("a", "x.close()")
    assert len(notebook.watching) == hooks


def test_a_search_that_takes_too_long_closes_nothing(notebook, monkeypatch):
    notebook.run("b", "many = [[i] for i in range(100)]")
    monkeypatch.setattr(rerun, "_MOST_OBJECTS", 90)
    notebook.run("a", "make()")
    (before,) = explorers()
    notebook.run("a", "make()")
    assert before in explorers()


def test_a_latent_explorer_and_what_it_explains_stay_and_go_together(notebook, space, monkeypatch):
    monkeypatch.setattr("hdm_widgets.widgets.latent.scatter._SURFACE_SHAPE", (18, 24))
    notebook.user_ns["space"] = space
    notebook.run("a", "latent = globals().get('latent') or hw.LatentExplorer(space)\nlatent")
    latent = notebook.user_ns["latent"]
    notebook.run("b", "latent.explain(1);")
    (explained,) = explorers()
    notebook.run("a", "latent = globals().get('latent') or hw.LatentExplorer(space)\nlatent")
    notebook.run("b", "1")
    assert latent.space
    assert explorers() == [explained]
    notebook.run("c", "del latent")
    notebook.run("a", "1")
    assert repr(latent) == "LatentExplorer(closed)"
    assert explorers() == []


# -- interact -----------------------------------------------------------------------------------------


@pytest.fixture
def interact(notebook, monkeypatch):
    """A function that makes an `interactive` of a function of x in a cell, and gives what moves its slider."""
    notebook.kernel = object()
    monkeypatch.setattr("ipywidgets.widgets.widget_output.get_ipython", lambda: notebook)
    monkeypatch.setattr("ipywidgets.widgets.interaction.clear_output", lambda wait: None)
    monkeypatch.setattr("ipywidgets.widgets.interaction.display", lambda shown: None)

    def begin(function):
        notebook.run("interact", f"w = ipywidgets.interactive({function}, x=(0, 9))\nw.update()")
        slider = notebook.user_ns["w"].children[0]

        def move(x):
            # A message of the browser is no cell.
            notebook.cell, notebook.message = None, f"move to {x}"
            slider.value = x

        return move

    return begin


@pytest.mark.parametrize(
    "function",
    ["lambda x: make()", "lambda x: ipywidgets.VBox([make()])", "lambda x: [make(), make()][x % 2]"],
    ids=["explorer", "in a box", "one of two"],
)
def test_what_an_interact_replaces_is_closed(interact, function):
    move = interact(function)
    count = len(explorers())
    assert count in (1, 2)
    for x in (1, 2, 3):
        before = explorers()
        assert CLOSED not in map(repr, before)
        move(x)
        assert {*map(repr, before)} == {CLOSED}
        assert len(explorers()) == count


@pytest.mark.parametrize(
    "function",
    [
        "lambda x: named.get(x) or named.setdefault(x, make())",
        "(lambda kept: lambda x: kept.get(x) or kept.setdefault(x, make()))({})",
        "lambda x, kept={}: kept.get(x) or kept.setdefault(x, make())",
    ],
    ids=["a variable", "closure", "default"],
)
def test_what_an_interact_keeps_stays_open(interact, function):
    move = interact(f"(lambda of: lambda x: of(x))({function})")
    for x in (1, 2, 3):
        move(x)
    assert len(explorers()) == 4
    assert CLOSED not in map(repr, explorers())


def test_what_an_interact_fails_to_replace_is_closed(interact, notebook, monkeypatch):
    monkeypatch.setattr("ipywidgets.widgets.interaction.get_ipython", lambda: notebook)
    monkeypatch.setattr(notebook, "showtraceback", lambda *_, **__: None)
    move = interact("lambda x: make() if x != 7 else 1 / 0")
    (before,) = explorers()
    move(7)
    # The function failed, and what it gave last is still its result.
    assert explorers() == [before]
    move(8)
    assert repr(before) == CLOSED
    assert len(explorers()) == 1
