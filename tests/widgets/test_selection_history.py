import itertools

import numpy as np
import pytest

from hdm_widgets.latent.selection import COLORS
from hdm_widgets.widgets.latent.selection_history import SelectionHistory


@pytest.fixture
def book(space):
    return SelectionHistory(space)


def told(book):
    """Names and items of all selections, and which one is active."""
    return {one.name: one.indices.tolist() for one in book.selections}, book.active


# -- gestures -----------------------------------------------------------------------------------------


def test_it_begins_with_nothing(book):
    assert told(book) == ({}, None)
    assert book.current is None
    assert not book.can_undo


@pytest.mark.parametrize("mode", ["replace", "add"])
def test_the_first_gesture_begins_a_selection(book, mode):
    book.gesture([5, 2], mode)
    assert told(book) == ({"a": [2, 5]}, 0)
    assert book.current.color == COLORS[0]


def test_nothing_can_be_taken_from_no_selection(book):
    with pytest.raises(ValueError, match="there is no active selection to subtract from"):
        book.gesture([5, 2], "subtract")
    assert told(book) == ({}, None)
    assert not book.can_undo


@pytest.mark.parametrize(
    ("mode", "expected"),
    [("replace", [3, 4]), ("add", [1, 2, 3, 4]), ("subtract", [1, 2])],
)
def test_a_gesture_changes_the_active_selection(book, mode, expected):
    book.put([0, 23], "other")
    book.put([1, 2, 3], "mine", "#123456")
    book.gesture([4, 3], mode)
    assert told(book) == ({"other": [0, 23], "mine": expected}, 1)
    assert book.current.color == "#123456"


def test_a_gesture_may_leave_nothing(book):
    book.gesture([1, 2], "replace")
    book.gesture([2, 1, 0], "subtract")
    assert told(book) == ({"a": []}, 0)
    book.gesture([], "add")
    assert told(book) == ({"a": []}, 0)


def test_a_name_renames_what_is_replaced_and_nothing_else(book):
    book.gesture([1], "replace", "one")
    book.gesture([2], "add", "two")
    assert told(book) == ({"one": [1, 2]}, 0)
    book.gesture([2], "replace", "two")
    assert told(book) == ({"two": [2]}, 0)


def test_names_stay_different_when_a_gesture_renames(book):
    book.put([1], "one")
    book.put([2], "two")
    book.gesture([1, 3], "replace", "one")
    names = [one.name for one in book.selections]
    assert len(set(names)) == len(names)
    assert book.current.indices.tolist() == [1, 3]
    assert book.current.name == "one"


@pytest.mark.parametrize("indices", [[24], [-1], [0.5], "a"])
def test_a_gesture_with_no_such_items_changes_nothing(book, indices):
    book.put([1])
    with pytest.raises((ValueError, TypeError), match="indices must be"):
        book.gesture(indices, "add")
    assert told(book) == ({"a": [1]}, 0)


# -- names and colors --------------------------------------------------------------------------------


def test_names_are_the_next_free_letters_then_numbers(book):
    for _ in range(28):
        book.put([0])
    names = [one.name for one in book.selections]
    assert names[:3] == ["a", "b", "c"]
    assert names[25:] == ["z", "selection 27", "selection 28"]
    book.remove(1)
    book.put([0])
    assert book.current.name == "b"


def test_a_letter_that_is_taken_is_left_out(book):
    book.put([1], "a")
    book.put([2])
    assert told(book)[0] == {"a": [1], "b": [2]}


def test_colors_differ_as_long_as_there_are_some(book):
    for _ in range(len(COLORS) + 2):
        book.put([0])
    assert [one.color for one in book.selections] == [*COLORS, *COLORS[:2]]
    book.remove(2)
    book.put([0])
    assert book.current.color == COLORS[2]  # that of the one that went: the least used


def test_a_selection_of_the_same_name_gives_way(book):
    book.put([1], "one", "#111111")
    book.put([2], "two")
    made = book.put([3, 4], "one")
    assert told(book) == ({"one": [3, 4], "two": [2]}, 0)
    assert made is book.current
    assert made.color == "#111111"
    book.put([5], "one", "#222222")
    assert book.current.color == "#222222"


def test_beginning_leaves_the_others_and_activates_none(book):
    book.put([1])
    book.begin()
    assert told(book) == ({"a": [1]}, None)
    assert book.current is None
    book.gesture([2], "add")
    assert told(book) == ({"a": [1], "b": [2]}, 1)


def test_activating(book):
    book.put([1])
    book.put([2])
    book.activate(0)
    assert book.current.indices.tolist() == [1]
    book.activate(None)
    assert book.current is None
    for position in (2, -1):
        with pytest.raises(IndexError, match=f"there are 2 selections, no position {position}"):
            book.activate(position)
    assert book.active is None


def test_renaming(book):
    book.put([1])
    book.put([2])
    book.rename(0, "  houses ")
    assert told(book) == ({"houses": [1], "b": [2]}, 1)
    for name in ("", "   "):
        with pytest.raises(ValueError, match="a selection needs a name"):
            book.rename(0, name)
    with pytest.raises(ValueError, match="there is a selection named 'b' already"):
        book.rename(0, "b ")
    with pytest.raises(IndexError, match="no position 2"):
        book.rename(2, "c")
    assert told(book) == ({"houses": [1], "b": [2]}, 1)


def test_a_selection_may_keep_its_own_name(book):
    book.put([1])
    book.rename(0, "a")
    assert told(book) == ({"a": [1]}, 0)
    # That was no change: undo removes the selection.
    assert book.undo()
    assert told(book) == ({}, None)
    assert not book.can_undo


# -- several ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("active", "removed", "expected"),
    [
        (2, 0, ("bcd", 1)),  # the active one moves up
        (2, 3, ("abc", 2)),
        (2, 2, ("abd", 2)),  # the next one is active
        (3, 3, ("abc", 2)),  # there is no next one
        (0, 0, ("bcd", 0)),
        (None, 1, ("acd", None)),
    ],
)
def test_removing_one_of_four(book, active, removed, expected):
    for position in range(4):
        book.put([position])
    book.activate(active)
    book.remove(removed)
    assert ("".join(one.name for one in book.selections), book.active) == expected


def test_removing_the_last_one(book):
    book.put([1])
    book.remove(0)
    assert told(book) == ({}, None)
    with pytest.raises(IndexError, match="there are 0 selections, no position 0"):
        book.remove(0)


@pytest.mark.parametrize(
    ("how", "expected"),
    [("union", [1, 2, 3, 4, 5]), ("intersection", [3]), ("difference", [1, 2])],
)
def test_combining_changes_the_active_one_by_another(book, how, expected):
    book.put([3, 4, 5], "other")
    book.put([1, 2, 3], "mine")
    book.combine(0, how)
    assert told(book) == ({"other": [3, 4, 5], "mine": expected}, 1)


def test_combining_what_cannot_be(book):
    book.put([1])
    with pytest.raises(ValueError, match="how must be one of 'union', 'intersection', 'difference', got 'renamed'"):
        book.combine(0, "renamed")
    with pytest.raises(IndexError, match="no position 1"):
        book.combine(1, "union")
    book.begin()
    with pytest.raises(ValueError, match="there is no active selection to combine with"):
        book.combine(0, "union")


# -- undo ---------------------------------------------------------------------------------------------


def test_every_step_can_be_taken_back(book):
    steps = [
        lambda: book.gesture([1, 2], "replace"),
        lambda: book.gesture([3], "add"),
        lambda: book.gesture([1], "subtract"),
        book.begin,
        lambda: book.put([7], "seven"),
        lambda: book.rename(0, "old"),
        lambda: book.combine(0, "union"),
        lambda: book.activate(0),
        lambda: book.remove(1),
        book.clear,
    ]
    seen = [told(book)]
    for step in steps:
        step()
        seen.append(told(book))
    assert all(before != after for before, after in itertools.pairwise(seen))
    assert seen[-1] == ({}, None)
    for before in reversed(seen[:-1]):
        assert book.can_undo
        assert book.undo() is True
        assert told(book) == before
    assert not book.can_undo
    assert book.undo() is False
    assert told(book) == ({}, None)


def test_what_changes_nothing_is_no_step(book):
    book.clear()
    book.begin()
    assert not book.can_undo
    book.put([1])
    book.gesture([1], "add")
    book.gesture([2], "subtract")
    book.activate(0)
    book.put([1], "a")
    assert book.undo()
    assert told(book) == ({}, None)
    assert not book.can_undo


def test_undo_goes_back_a_hundred_steps(book):
    for number in range(250):
        book.gesture([number % 24], "replace")
    count = 0
    while book.undo():
        count += 1
    assert count == 100
    assert told(book) == ({"a": [(250 - 1 - 100) % 24]}, 0)


def test_undo_keeps_as_many_steps_as_fit_into_its_memory(book, monkeypatch):
    # 24 items are three bytes; what is on screen is not counted.
    monkeypatch.setattr("hdm_widgets.widgets.latent.selection_history._MOST_BYTES", 3 * 3)
    book.put([23], "other")
    for number in range(6):
        book.gesture([number], "replace", "mine") if number else book.put([number], "mine")
    seen = []
    while book.undo():
        seen.append(told(book)[0]["mine"])
    assert seen == [[4], [3], [2]]


def test_the_color_of_a_selection_stays_through_undo(book):
    book.put([1], color="#0a0b0c")
    book.gesture([2], "replace")
    book.undo()
    assert book.current.color == "#0a0b0c"
    np.testing.assert_array_equal(book.current.indices, [1])
