"""Columns of a data set in the latent explorer in a real JupyterLab 4: search, dates, and names of any length."""

from __future__ import annotations

import re
from pathlib import Path

from appearance import Letters, await_width, misplaced, unnamed
from at_rest import box_of
from jupyter_hosts import NotebookPage
from known_space import ALL, spot_of
from latent_page import LatentPage
from playwright.sync_api import Locator, expect

OUT = Path(__file__).parents[1] / "out"
LONG = "deciduous broadleaf forest with a canopy closed above two thirds"
TITLE = "land cover according to the national survey of the year twenty twenty one"
COLUMNS = f"""
named = Grid()
named.columns |= {{
    {TITLE!r}: ["water" if item % 3 else f"{LONG}, kind {{item % 4}}" for item in range(len(named))],
    "file": [f"survey/2021/summer/{LONG.replace(" ", "_")}/tile_{{item:03}}.tif" for item in range(len(named))],
    "taken": [f"20{{10 + item // 12}}-{{1 + item % 12:02}}-15" for item in range(len(named))],
    "label": [item % 4 for item in range(len(named))],
}}
shown = known(named)
"""
# In the window, not in the explorer, which is 116 px narrower: 320, 480 and 1164 px.
WIDTHS = (436, 596, 1280)


def open_named(notebook: NotebookPage, explorer: LatentPage) -> None:
    notebook.execute(COLUMNS)
    notebook.run(1)
    explorer.await_points(len(ALL))


def test_long_names_are_shortened_and_their_numbers_are_not(
    notebook: NotebookPage, explorer: LatentPage, letters: Letters
) -> None:
    open_named(notebook, explorer)
    notebook.execute(f"explorer.select(range(40), name={LONG!r}); explorer.color_by = {TITLE!r}")
    expect(explorer.legend).to_contain_text(TITLE)
    explorer.drop_down("Sort").select_option("in data set order")
    for kind, width in letters(notebook.page, WIDTHS):
        await_width(explorer.root, width)
        explorer.await_room()
        assert misplaced(explorer.root) == [], (kind, width)
        legend = box_of(explorer.legend)
        entries = explorer.legend.locator(".hdm-chip-entry")
        expect(entries).to_have_count(5)
        for position in range(5):
            number = entries.nth(position).locator(".hdm-note")
            expect(number).to_have_text("64" if position == 0 else "8")
            assert is_within(number, legend), (kind, width, position)
            assert is_shortened(entries.nth(position).locator(".hdm-ellipsis")) == (position > 0)
        count = explorer.gallery.locator(".hdm-counted > :last-child")
        expect(count).to_have_text(": 40 of 96")
        assert is_within(count, box_of(explorer.gallery)), (kind, width)
        # A card is as wide as its images, and its value is beside the IoU, not below the button.
        for item in (0, 1):
            card = explorer.grid.locator(".hdm-card", has=notebook.page.get_by_role("button", name=f"Item {item},"))
            frames = card.locator(".hdm-layers")
            assert box_of(card)["width"] - box_of(frames)["width"] < 3, (kind, width, item)
            value, button = box_of(card.locator(".hdm-caption .hdm-note")), box_of(card.locator(".hdm-explain"))
            assert value["x"] + value["width"] <= button["x"], (kind, width, item)
        explorer.hover(spot_of(0))
        fact = explorer.tooltip.locator(".hdm-fact").nth(1)
        expect(fact).to_have_text(f"{TITLE}: {LONG}, kind 0")
        assert is_shortened(fact.locator(".hdm-ellipsis").first)
        assert is_within(fact.locator(".hdm-ellipsis").last, box_of(explorer.tooltip))
        assert is_within(explorer.tooltip, box_of(explorer.root))
        assert misplaced(explorer.root) == [], (kind, width)
        if kind == "own letters":
            explorer.root.screenshot(path=OUT / f"latent-long-names-{width}.png")


def test_dates_numbers_and_searches_have_room_at_any_width(notebook: NotebookPage, explorer: LatentPage) -> None:
    open_named(notebook, explorer)
    for width in WIDTHS:
        await_width(explorer.root, width)
        explorer.await_room()
        for column in ("taken", "label", "file"):
            explorer.drop_down("Color").select_option(column)
            notebook.await_value("explorer.color_by", column)
            expect(explorer.legend).to_contain_text(column)
            assert misplaced(explorer.root) == [], (width, column)
    assert unnamed(explorer.root, {"combobox"}) == []


def test_a_text_is_searched_as_it_is_typed(notebook: NotebookPage, explorer: LatentPage) -> None:
    open_named(notebook, explorer)
    explorer.drop_down("Color").select_option("file")
    field = explorer.legend.get_by_role("searchbox", name="Search file")
    expect(explorer.legend).to_contain_text(re.compile(r"file\s*other \(96\)\s*96"))
    before = explorer.fills()
    assert len({tuple(fill) for fill in before}) == 1
    # The keys of the map are letters in a text.
    field.press_sequentially("TILE_00", delay=20)
    notebook.await_value("explorer.search, explorer.mode", ("TILE_00", "replace"))
    expect(explorer.legend).to_contain_text(re.compile(r"holds “TILE_00”\s*10\s*other \(86\)\s*86"))
    fills = explorer.fills()
    assert [item for item in ALL if fills[item] != before[item]] == list(range(10))
    explorer.drop_down("Color").select_option("label")
    explorer.drop_down("as").select_option("Categories")
    notebook.await_value("explorer.search, explorer.color_as", ("", "categories"))
    expect(explorer.legend).to_contain_text(re.compile(r"label\s*0\s*24\s*1\s*24\s*2\s*24\s*3\s*24"))
    explorer.drop_down("Color").select_option("file")
    expect(field).to_have_value("")
    assert explorer.fills() == before


def is_shortened(node: Locator) -> bool:
    return bool(node.evaluate("node => node.scrollWidth > node.clientWidth"))


def is_within(node: Locator, frame: dict[str, float]) -> bool:
    box = box_of(node)
    return box["x"] >= frame["x"] - 1 and box["x"] + box["width"] <= frame["x"] + frame["width"] + 1
