"""What is left of a latent explorer when it goes."""

import gc
import threading
import weakref

import ipywidgets
import pytest
from on_screen import LatentScreen

import hdm_widgets as hw

SECONDS = 60


def instances():
    return set(ipywidgets.widgets.widget._instances)


def left_since(before):
    """Names of the classes of widgets that are still open."""
    return sorted(type(ipywidgets.widgets.widget._instances[key]).__name__ for key in instances() - before)


def work(explorer):
    """Do something with every part."""
    explorer.select([1, 2], name="some")
    LatentScreen(explorer).lasso(3, 4)
    explorer.color_by, explorer.background, explorer.highlighted = "cluster", "none", 3
    explorer.undo()


# -- widgets ------------------------------------------------------------------------------------------


def test_explorers_leave_no_widget_open(explore, space):
    before = instances()
    for _ in range(3):
        explorer = explore(space)
        work(explorer)
        explorer.close()
    assert left_since(before) == []


def test_an_explanation_leaves_no_widget_open(explore, space):
    explorer = explore(space)
    before = instances()
    explorer.explain(1)
    explorer.explain(2)
    explorer.children[-1].children[0].children[1].click()
    assert left_since(before) == []
    explorer.explain(3)
    explorer.close()
    assert left_since(before) == []


def test_an_explanation_that_its_user_closed_does_not_matter(explore, space):
    explorer = explore(space)
    explorer.explain(1).close()
    explorer.explain(2).close()
    explorer.close()


# -- after the end ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "use",
    [
        lambda e: e.select([1]),
        lambda e: e.undo(),
        lambda e: e.clear(),
        lambda e: e.cluster(2),
        lambda e: e.explain(1),
        lambda e: e.wait(),
    ],
    ids=["select", "undo", "clear", "cluster", "explain", "wait"],
)
def test_a_closed_explorer_says_so(explore, space, use):
    explorer = explore(space)
    explorer.select([3])
    explorer.close()
    explorer.close()  # closing twice is no error
    with pytest.raises(RuntimeError, match="this explorer is closed; make a new LatentExplorer to go on"):
        use(explorer)
    assert [one.name for one in explorer.selections] == ["a"]


def test_what_was_selected_can_still_be_read(explore, space):
    explorer = explore(space)
    explorer.select([3, 1])
    explorer.close()
    assert explorer.selected == (1, 3)
    assert explorer.selection["item"].tolist() == [1, 3]


def test_what_the_browser_still_sends_does_nothing(explore, space):
    explorer = explore(space)
    shown = LatentScreen(explorer)
    explorer.select([3])
    explorer.close()
    shown.lasso(1)
    assert shown.toolbar.send({"request": "undo", "id": 7}) == []
    assert explorer.selected == (3,)


def test_it_says_what_it_is(explore, space):
    explorer = explore(space)
    assert repr(explorer) == f"LatentExplorer({space!r})"
    explorer.close()
    assert repr(explorer) == "LatentExplorer(closed)"


def test_closing_stops_the_search_for_clusters(explore, bare_space):
    arrived, free = threading.Event(), threading.Event()
    seen = []

    def comparison():
        for number in range(100):
            seen.append(number)
            arrived.set()
            assert free.wait(SECONDS)
            yield None

    bare_space.comparison = comparison
    explorer = explore(bare_space)
    assert arrived.wait(SECONDS)
    explorer.close()
    free.set()
    for thread in threading.enumerate():
        if thread.name == "clusters":
            thread.join(SECONDS)
    assert seen == [0]
    assert explorer.error == ""
    assert not hasattr(bare_space, "clusters_")


# -- memory -------------------------------------------------------------------------------------------


def test_a_closed_explorer_and_its_space_can_be_collected(map_of, make_places):
    space = map_of(make_places(8))
    explorer = hw.LatentExplorer(space)
    assert explorer.wait(SECONDS)
    assert explorer.error == ""
    work(explorer)
    explained = explorer.explain(1)
    assert explained.wait(SECONDS)
    references = [
        weakref.ref(one)
        for one in (explorer, space, space.collection_, explained, LatentScreen(explorer).gallery.widget)
    ]
    explorer.close()
    del explorer, space, explained
    gc.collect()
    assert [reference() for reference in references if reference() is not None] == []


def test_a_space_outlives_its_explorer(explore, space):
    explorer = explore(space)
    work(explorer)
    explorer.close()
    assert space.clusters_[0].size > 0
    assert LatentScreen(explore(space)).table["busy"] == ""
