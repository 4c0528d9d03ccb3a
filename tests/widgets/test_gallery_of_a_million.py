"""Items of a gallery in order, sorted as far as somebody looks, at a million items: without images or other objects."""

import types

import numpy as np
import pytest
from on_screen import OnScreen

from hdm_widgets.widgets.latent import gallery as gallery_module
from hdm_widgets.widgets.latent.gallery import SORTS, Gallery
from hdm_widgets.widgets.latent.item_order import ItemOrder, distances_to_center

COUNT = 1_000_000
LOWEST, HIGHEST, NEAREST, GIVEN, SUSPICIOUS = SORTS


def keys_of(kind, count):
    rng = np.random.default_rng(3)
    keys = rng.random(count)
    return {
        "all different": keys,
        "few different": np.round(keys * 20) / 20,
        "all the same": np.zeros(count),
        "few with a value": np.where(keys < 0.001, keys, np.nan),
        "infinite": np.where(keys < 0.4, -np.inf, np.where(keys > 0.6, np.inf, np.nan)),
        "without a value": np.full(count, np.nan),
    }[kind]


@pytest.mark.parametrize(
    "kind",
    ["all different", "few different", "all the same", "few with a value", "infinite", "without a value"],
)
def test_items_are_in_the_order_of_a_stable_sort(kind):
    count = 20_000
    items = np.arange(0, 3 * count, 3)
    keys = keys_of(kind, count)
    expected = items[np.argsort(keys, kind="stable")]
    order = ItemOrder(items, keys)
    assert len(order) == count
    for start, stop in ((0, 0), (0, 512), (512, 1024), (4000, 4096), (4000, 4100), (19_990, 20_500), (0, 12)):
        found = order.items(start, stop)
        assert found.dtype == np.int32
        assert found.tolist() == expected[start:stop].tolist()


def test_items_without_keys_stay_as_they_are():
    order = ItemOrder(np.array([7, 3, 9]))
    assert order.items(1, 9).tolist() == [3, 9]
    assert order.items(5, 9).tolist() == []
    assert order.same_items(np.array([7, 3, 9]))
    assert not order.same_items(np.array([7, 3]))


@pytest.mark.parametrize(("start", "stop"), [(-1, 3), (3, 2)])
def test_what_is_no_range_of_ranks_is_refused(start, stop):
    with pytest.raises(ValueError, match="ranks must be 0 <= start <= stop"):
        ItemOrder(np.arange(5)).items(start, stop)


def test_distances_to_the_center_do_not_depend_on_the_parts(monkeypatch):
    monkeypatch.setattr("hdm_widgets.widgets.latent.item_order._ROWS_AT_ONCE", 4)
    coordinates = np.random.default_rng(0).normal(size=(30, 3))
    items = np.array([1, 2, 5, 8, 13, 21, 22, 23, 29])
    expected = np.linalg.norm(coordinates[items] - coordinates[items].mean(axis=0), axis=1)
    np.testing.assert_allclose(distances_to_center(coordinates, items), expected, rtol=1e-12)
    assert distances_to_center(coordinates, items[:0]).shape == (0,)


# -- the gallery --------------------------------------------------------------------------------------


@pytest.fixture
def gallery(space, monkeypatch):
    """A gallery of a map that stands for one of a million items."""
    monkeypatch.setattr(gallery_module, "_MOST_SAVED", 0)  # the items are no more than numbers here
    made = Gallery(space)
    iou = np.random.default_rng(1).random(COUNT)
    made._space = types.SimpleNamespace(iou_=iou, cluster_coordinates_=iou[:, None])
    yield made
    made.close()


def items_at(gallery, start, stop):
    reply, (numbers,) = OnScreen(gallery).ask("items", start=start, stop=stop)
    assert reply["error"] is None
    assert reply["version"] == OnScreen(gallery)["_shown"]["version"]
    return np.frombuffer(numbers, np.int32)


@pytest.mark.parametrize("sort", [LOWEST, HIGHEST, NEAREST, GIVEN, SUSPICIOUS])
def test_a_million_items_are_a_number_and_one_page(gallery, sort):
    gallery.sort = sort
    gallery.show(np.arange(COUNT))
    sent = gallery.get_state("_shown")["_shown"]
    assert (sent["count"], sent["first"]["shape"]) == (COUNT, [512])
    assert sent["first"]["view"].nbytes == 4 * 512
    iou = gallery._space.iou_
    keys = {LOWEST: iou, HIGHEST: -iou, NEAREST: np.abs(iou - iou.mean())}.get(sort, np.zeros(COUNT))
    expected = np.argsort(keys, kind="stable")
    np.testing.assert_array_equal(OnScreen(gallery)["_shown"]["first"], expected[:512])
    for start, stop in ((0, 512), (499_712, 500_224), (999_936, COUNT)):
        np.testing.assert_array_equal(items_at(gallery, start, stop), expected[start:stop])


def test_the_same_items_in_the_same_order_keep_their_place(gallery):
    shown = OnScreen(gallery)
    gallery.show(np.arange(COUNT))
    before = shown["_shown"]["version"]
    gallery.show(np.arange(COUNT))
    assert shown["_shown"]["version"] == before
    gallery.sort = HIGHEST
    gallery.show(np.arange(COUNT))
    assert shown["_shown"]["version"] == before + 1
    gallery.show(np.arange(COUNT - 1))
    assert shown["_shown"]["version"] == before + 2


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"start": 0, "stop": 513}, "at most 512 items at once, got 513"),
        ({"start": -1, "stop": 5}, "ranks must be 0 <= start <= stop, got -1 and 5"),
        ({"start": 0}, "stop"),
    ],
)
def test_pages_that_cannot_be_answered_are_an_error_reply(gallery, asked, message):
    reply, buffers = OnScreen(gallery).ask("items", **asked)
    assert message in reply["error"]
    assert buffers == []
