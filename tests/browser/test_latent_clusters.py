"""The latent explorer's clusters in a real JupyterLab 4: their table, and what Python knows of them."""

from __future__ import annotations

import re

from jupyter_hosts import NotebookPage
from known_space import ALL, FEW, HALVES, NAMES, NOTEBOOK, SELECTED, around, block, iou, show
from latent_page import LatentPage
from playwright.sync_api import expect

# Waits for the test before it groups.
GATED = """
gate = threading.Event()

class Slow(hw.LatentSpace):
    def cluster(self, *arguments, **options):
        if threading.current_thread() is not threading.main_thread():
            assert gate.wait(60)
        return super().cluster(*arguments, **options)

shown = Slow(Places(), layer="places").fit_collected(space.collection_, scenes)
shown.cluster(2)
"""


def test_a_click_on_a_clusters_row_selects_its_members(notebook: NotebookPage, explorer: LatentPage) -> None:
    for position, name in enumerate(("west", "east")):
        members = HALVES[name]
        row = explorer.cluster(position)
        expect(row).to_contain_text(name)
        mean = sum(map(iou, members)) / len(members)
        middle = sorted(map(iou, members))[len(members) // 2 - 1 : len(members) // 2 + 1]
        assert [text.strip() for text in row.get_by_role("cell").all_inner_texts()[1:5]] == [
            str(len(members)),
            f"{mean:.2f}",
            f"{sum(middle) / 2:.2f}",
            "0 %",
        ]
        row.get_by_role("cell").nth(1).click()
        notebook.await_value(SELECTED, members)
        expect(row.get_by_role("button", pressed=True)).to_have_count(1)
        expect(explorer.rows.get_by_role("button", pressed=True)).to_have_count(1)
        assert notebook.value(NAMES) == [f"cluster {position}"]
        assert {*explorer.card_items()} < {*members}
    # A lasso that changes it is no cluster any more.
    explorer.lasso(around((0, 0), (1, 1)), "Shift")
    notebook.await_value(SELECTED, tuple(sorted({*HALVES["east"], *block((0, 0), (1, 1))})))
    expect(explorer.rows.get_by_role("button", pressed=True)).to_have_count(0)


def test_clusters_are_chosen_by_keyboard_and_joined(notebook: NotebookPage, explorer: LatentPage) -> None:
    explorer.cluster(1).get_by_role("button").press("Enter")
    notebook.await_value(SELECTED, HALVES["east"])
    expect(explorer.cluster(1).get_by_role("button")).to_have_attribute("aria-pressed", "true")
    explorer.cluster(0).get_by_role("button").press("Space")
    notebook.await_value(SELECTED, HALVES["west"])
    explorer.choose("Add")
    explorer.cluster(1).get_by_role("button").press("Enter")
    notebook.await_value(SELECTED, ALL)
    assert notebook.selection() == NOTEBOOK


def test_a_cluster_does_not_take_the_place_of_a_drawn_selection(notebook: NotebookPage, explorer: LatentPage) -> None:
    explorer.lasso(around((0, 0), (1, 1)))
    notebook.await_value(NAMES, ["a"])
    explorer.cluster(0).click()
    notebook.await_value(NAMES, ["a", "cluster 0"])
    explorer.button("+ New selection").click()
    notebook.await_value("explorer.active", None)
    explorer.cluster(1).click()
    notebook.await_value(NAMES, ["a", "cluster 0", "cluster 1"])
    # Another row: no two selections get one name.
    explorer.selection("cluster 0").click()
    notebook.await_value("explorer.active", 1)
    explorer.cluster(1).click()
    notebook.await_value(SELECTED, HALVES["east"])
    names = notebook.value(NAMES)
    assert len(names) == len(set(names))


def test_the_table_is_sorted_by_its_heads(explorer: LatentPage) -> None:
    sizes = explorer.clusters.get_by_role("columnheader", name="Items")
    sizes.get_by_role("button").click()
    expect(sizes).to_have_attribute("aria-sort", "ascending")
    assert explorer.column(2) == ["40", "56"]
    sizes.get_by_role("button").click()
    expect(sizes).to_have_attribute("aria-sort", "descending")
    assert explorer.column(2) == ["56", "40"]


def test_another_number_of_clusters_is_found_in_the_background(notebook: NotebookPage, explorer: LatentPage) -> None:
    notebook.execute(GATED)
    notebook.run(1)
    explorer.await_points(len(ALL))
    number = explorer.drop_down("Number")
    expect(number).to_have_value("2")
    explorer.drop_down("Color").select_option("Cluster")
    expect(explorer.legend).to_contain_text(re.compile(r"cluster 0\s*56\s*cluster 1\s*40"))
    show(notebook, explorer, FEW)
    number.select_option("5")

    about = explorer.clusters.get_by_role("status")
    expect(about).to_have_text("Looking for 5 clusters …")
    expect(explorer.clusters).to_have_attribute("aria-busy", "true")
    # Python and the map are free meanwhile.
    assert notebook.value("6 * 7") == 42
    explorer.lasso(around((8, 1), (9, 2)))
    notebook.await_value(SELECTED, block((8, 1), (9, 2)))
    expect(explorer.rows).to_have_count(2)

    notebook.execute("gate.set()")
    expect(explorer.rows).to_have_count(5)
    expect(about).to_contain_text("5 clusters (KMeans)")
    expect(explorer.clusters).to_have_attribute("aria-busy", "false")
    expect(number).to_have_value("5")
    notebook.await_value("len(explorer.space.clusters_)", 5)
    assert sum(map(int, explorer.column(2))) == len(ALL)
    # The points, the legend and the captions are of the new clusters.
    expect(explorer.legend).to_contain_text("cluster 4")
    assert len({tuple(fill) for fill in explorer.fills()}) == 5
    for item in block((8, 1), (9, 2)):
        label = notebook.value(f"int(explorer.space.labels_[{item}])")
        expect(explorer.card(item)).to_contain_text(re.compile(rf"IoU {iou(item):.2f}\s*cluster {label}\s*Explain"))
    third = notebook.value("tuple(explorer.space.clusters_[2].indices.tolist())")
    explorer.cluster(2).click()
    notebook.await_value(SELECTED, third)


def test_what_python_groups_is_shown(notebook: NotebookPage, explorer: LatentPage) -> None:
    notebook.execute("explorer.cluster(3)")
    expect(explorer.rows).to_have_count(3)
    expect(explorer.drop_down("Number")).to_have_value("3")
    notebook.execute("explorer.cluster(1000)")
    expect(explorer.clusters.get_by_role("alert")).to_contain_text("n_clusters must be 1 to 96")
    notebook.await_value("'must be 1 to 96' in explorer.error", True)
    explorer.drop_down("Number").select_option("2")
    expect(explorer.rows).to_have_count(2)
    expect(explorer.clusters.get_by_role("alert")).to_have_count(0)
    notebook.await_value("explorer.error", "")
