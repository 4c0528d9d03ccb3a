import gc
import io
import weakref

import ipywidgets
import numpy as np
import on_screen
import pytest
import traitlets
from on_screen import OnScreen
from PIL import Image

import hdm_widgets as hw
from hdm_widgets.widgets.latent.columns import Column, usable_columns
from hdm_widgets.widgets.latent.gallery import SORTS, Gallery

LOWEST, HIGHEST, NEAREST, GIVEN, SUSPICIOUS = SORTS


class Asked(Gallery):
    """A gallery with its replies."""

    def __init__(self, space):
        super().__init__(space)
        self.replies = []


@pytest.fixture
def hang():
    """Galleries that are closed after the test, each with the list of replies to what is asked."""
    made = []

    def hanger(space):
        made.append(Asked(space))
        return made[-1], made[-1].replies

    yield hanger
    for gallery in made:
        gallery.close()


def ask(gallery, **content):
    """What the browser does to ask for something."""
    gallery.replies += OnScreen(gallery).send({"id": 9, **content})


def shown(gallery):
    items = OnScreen(gallery)["_shown"]["first"]
    assert items.dtype == np.int32
    return items.tolist()


def unpacked(buffer, height=5, width=7):
    assert len(buffer) == -(-height * width // 8)
    return on_screen.unpacked(buffer, height, width)


def in_bytes(image):
    return np.round(image.transpose(1, 2, 0).astype(np.float64) * 255)


def decoded(buffer):
    return np.array(Image.open(io.BytesIO(buffer)))


# -- what is shown ------------------------------------------------------------------------------------


def test_it_begins_empty_and_says_what_it_is_of(hang, space):
    gallery, _ = hang(space)
    assert shown(gallery) == []
    assert OnScreen(gallery)["_about"] == {"height": 5, "width": 7, "total": 24, "full": True, "ignored": False}
    assert gallery.sorts == list(SORTS)
    assert (gallery.sort, gallery.layers, gallery.highlighted, gallery.caption_by) == (LOWEST, "three", None, "")


def test_a_space_with_model_and_images_can_explain(hang, space, space_on_disk, places, reads):
    can = [
        hang(one)[0].can_explain
        for one in (space, space_on_disk(), space_on_disk(reads()), space_on_disk(None, places))
    ]
    assert can == [True, False, False, False]
    assert hang(space_on_disk(reads(), places))[0].can_explain


def test_items_in_the_order_of_their_iou_those_without_one_last(hang, space, places):
    gallery, _ = hang(space)
    indices = np.array([0, 2, 3, 5, 7, 11, 14])  # 5 and 11 have nothing to find, and nothing drawn
    assert np.isnan(places.iou[[5, 11]]).all()
    known = [0, 2, 3, 7, 14]
    gallery.show(indices)
    assert shown(gallery) == [*sorted(known, key=lambda i: places.iou[i]), 5, 11]
    gallery.sort = HIGHEST
    gallery.show(indices)
    assert shown(gallery) == [*sorted(known, key=lambda i: -places.iou[i]), 5, 11]
    gallery.sort = GIVEN
    gallery.show(indices)
    assert shown(gallery) == indices.tolist()


def test_items_of_the_same_iou_stay_in_the_order_of_the_data(hang, space, places):
    gallery, _ = hang(space)
    perfect = np.flatnonzero(places.iou == 1)
    assert len(perfect) > 3
    for sort in (LOWEST, HIGHEST):
        gallery.sort = sort
        gallery.show(perfect)
        assert shown(gallery) == perfect.tolist()


def test_items_in_the_order_of_their_distance_to_the_center(hang, space):
    gallery, _ = hang(space)
    gallery.sort = NEAREST
    indices = np.array([0, 1, 2, 3, 9, 17, 23])
    gallery.show(indices)
    # All components count, not the two that are drawn.
    places = space.cluster_coordinates_
    assert places.shape[1] == 3
    center = places[indices].mean(0)
    assert shown(gallery) == sorted(indices, key=lambda i: ((places[i] - center) ** 2).sum())


# -- what is saved with a notebook --------------------------------------------------------------------


@pytest.mark.parametrize("sort", SORTS)
def test_the_first_twelve_items_are_saved_without_a_look_into_the_data_set(hang, space, places, sort):
    gallery, _ = hang(space)
    gallery.sort = sort
    places.broken.update(range(24))
    try:
        gallery.show(np.arange(1, 24))
    finally:
        places.broken.clear()
    saved = OnScreen(gallery)["_saved"]
    assert [one["index"] for one in saved] == shown(gallery)[:12]
    for one in saved:
        index = one["index"]
        assert one["iou"] == (places.iou[index] if np.isfinite(places.iou[index]) else "nan")
        assert (one["height"], one["width"], one["caption"]) == (5, 7, "")
        # These images are as small as their thumbnails.
        np.testing.assert_array_equal(decoded(one["image"]), in_bytes(places.images[index]))
        np.testing.assert_array_equal(unpacked(one["truth"]), places.masks[index])
        np.testing.assert_array_equal(unpacked(one["predicted"]), places.drawn[index])
        assert one["ignored"] == b""


def test_masks_of_large_images_are_saved_smaller(hang, space, monkeypatch):
    monkeypatch.setattr("hdm_widgets.widgets.latent.gallery._LONGEST_SAVED", 3)
    gallery, _ = hang(space)
    gallery.show(np.array([1, 2]))
    saved = {one["index"]: one for one in OnScreen(gallery)["_saved"]}
    # Of 5 x 7 pixels every third of every third row: rows 1 and 4, columns 1 and 4.
    assert {(one["height"], one["width"]) for one in saved.values()} == {(2, 2)}
    # Item 1 has two true rows and two that are drawn, item 2 has three each.
    for index in (1, 2):
        for kind in ("truth", "predicted"):
            assert unpacked(saved[index][kind], 2, 2).tolist() == [[True, True], [False, False]]


def test_captions_are_saved_and_an_empty_gallery_saves_nothing(hang, space):
    gallery, _ = hang(space)
    gallery.caption(Column("site", "Site", np.array([f"place {i}" for i in range(24)]), own=False))
    gallery.show(np.array([7]))
    assert [one["caption"] for one in OnScreen(gallery)["_saved"]] == ["place 7"]
    gallery.show(np.empty(0, np.int64))
    assert OnScreen(gallery)["_saved"] == []


@pytest.mark.parametrize("sort", SORTS)
def test_nothing_to_show(hang, space, sort):
    gallery, _ = hang(space)
    gallery.sort = sort
    gallery.show(np.array([1, 2]))
    gallery.show(np.empty(0, np.int64))
    assert shown(gallery) == []


def test_an_unknown_order_is_refused(hang, space):
    gallery, _ = hang(space)
    with pytest.raises(traitlets.TraitError, match=r"one of 'lowest IoU first', .*, got 'best first'"):
        gallery.sort = "best first"
    with pytest.raises(traitlets.TraitError, match="sort must be one of"):
        gallery.set_state({"sort": "best first"})
    assert gallery.sort == LOWEST


# -- images -----------------------------------------------------------------------------------------


def test_images_and_masks_of_the_items_asked_for(hang, space, places):
    gallery, replies = hang(space)
    ask(gallery, request="images", items=[14, 3])
    ((content, buffers),) = replies
    assert (content["id"], content["error"]) == (9, None)
    assert [entry["index"] for entry in content["images"]] == [14, 3]
    assert len(buffers) == 6
    for position, index in enumerate((14, 3)):
        entry = content["images"][position]
        assert entry == {"index": index, "iou": places.iou[index], "caption": "", "error": ""}
        image, truth, predicted = buffers[3 * position : 3 * position + 3]
        np.testing.assert_array_equal(decoded(image), in_bytes(places.images[index]))
        np.testing.assert_array_equal(unpacked(truth), places.masks[index])
        np.testing.assert_array_equal(unpacked(predicted), places.drawn[index])
    assert not np.array_equal(places.masks[3], places.drawn[3])


def test_an_iou_that_is_none_is_none(hang, space):
    gallery, replies = hang(space)
    ask(gallery, request="images", items=[5])
    assert replies[0][0]["images"][0]["iou"] == "nan"


def test_no_images_at_all(hang, space):
    gallery, replies = hang(space)
    ask(gallery, request="images", items=[])
    assert replies == [({"id": 9, "error": None, "images": []}, [])]


@pytest.mark.parametrize(
    ("column", "title", "expected"),
    [
        ("place", "place", "place 1"),
        ("number", "number", "3"),
        ("even", "even", "False"),
        ("truth_area", "Area of the truth (px)", "28"),
        ("recall", "Recall", "0.25"),
    ],
)
def test_captions_have_the_value_of_a_column(hang, space, column, title, expected):
    gallery, replies = hang(space)
    gallery.caption(usable_columns(space)[column])
    assert gallery.caption_by == title
    ask(gallery, request="images", items=[3])
    assert replies[0][0]["images"][0]["caption"] == expected
    gallery.caption(None)
    assert gallery.caption_by == ""
    ask(gallery, request="images", items=[3])
    assert replies[1][0]["images"][0]["caption"] == ""


@pytest.mark.parametrize(
    ("own", "value", "expected"),
    [
        (True, 1234.5678, "1.23e+03"),
        (True, np.nan, "not defined"),
        (False, np.nan, "missing"),
        (False, "", "missing"),
        (False, 12345, "12345"),
        (False, "2020-03-01", "2020-03-01"),
    ],
)
def test_captions_are_short_and_name_what_is_missing(hang, space, own, value, expected):
    gallery, replies = hang(space)
    gallery.caption(Column("it", "it", np.array([value] * 24), own))
    ask(gallery, request="images", items=[0])
    assert replies[0][0]["images"][0]["caption"] == expected


def test_large_images_are_made_smaller_and_masks_are_not(hang, map_of, make_places):
    places = make_places(6)
    places.images = places.images.repeat(80, 2).repeat(80, 3)  # 400 x 560
    places.masks, places.drawn = (masks.repeat(80, 1).repeat(80, 2) for masks in (places.masks, places.drawn))
    gallery, replies = hang(map_of(places))
    assert (OnScreen(gallery)["_about"]["height"], OnScreen(gallery)["_about"]["width"]) == (400, 560)
    ask(gallery, request="images", items=[1])
    image, truth, predicted = replies[0][1]
    small = decoded(image)
    assert small.shape == (229, 320, 3)
    np.testing.assert_allclose(small[200, 300], places.images[1, :, 350, 525] * 255, atol=1)
    np.testing.assert_array_equal(unpacked(truth, 400, 560), places.masks[1])
    np.testing.assert_array_equal(unpacked(predicted, 400, 560), places.drawn[1])


def test_without_the_data_set_there_are_thumbnails(hang, space_on_disk, grouped):
    gallery, replies = hang(space_on_disk())
    assert not OnScreen(gallery)["_about"]["full"]
    ask(gallery, request="images", items=[3])
    content, buffers = replies[0]
    assert content["images"][0]["error"] == ""
    np.testing.assert_array_equal(decoded(buffers[0]), grouped.collection_.thumbnails[3])


def test_items_that_were_skipped_do_not_shift_the_images(hang, make_places, reads):
    places = make_places(9)
    places.broken = {0, 4}
    with pytest.warns(UserWarning, match=r"2 of 9 items were skipped"):
        space = hw.LatentSpace(reads()).fit(places, on_error="skip", progress=False)
    gallery, replies = hang(space)
    ask(gallery, request="images", items=[0, 3])
    for position, index in enumerate((1, 5)):
        image, truth, _ = replies[0][1][3 * position : 3 * position + 3]
        np.testing.assert_array_equal(decoded(image), in_bytes(places.images[index]))
        np.testing.assert_array_equal(unpacked(truth), places.masks[index])


# -- what can go wrong --------------------------------------------------------------------------------


def test_a_image_that_cannot_be_read_is_its_thumbnail_with_the_error(hang, map_of, make_places):
    places = make_places(9)
    space = map_of(places)
    places.broken = {2}
    gallery, replies = hang(space)
    ask(gallery, request="images", items=[1, 2, 3])
    content, buffers = replies[0]
    assert content["error"] is None
    assert [entry["error"] for entry in content["images"]] == [
        "",
        "item 2 could not be read: OSError: disk 2 is gone",
        "",
    ]
    np.testing.assert_array_equal(decoded(buffers[3]), space.collection_.thumbnails[2])
    np.testing.assert_array_equal(unpacked(buffers[4]), places.masks[2])
    np.testing.assert_array_equal(unpacked(buffers[5]), places.drawn[2])


def test_a_image_that_has_another_size_now_is_its_thumbnail_with_the_error(hang, map_of, make_places):
    places = make_places(9)
    space = map_of(places)
    places.images = places.images[:, :, :4]
    gallery, replies = hang(space)
    ask(gallery, request="images", items=[1])
    content, buffers = replies[0]
    assert content["images"][0]["error"].startswith("item 1: ")
    np.testing.assert_array_equal(decoded(buffers[0]), space.collection_.thumbnails[1])


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"items": list(range(24)) * 3}, "at most 64 images at once, got 72"),
        ({"items": [24]}, "index 24 is out of bounds"),
        ({"items": [-1]}, "index must be 0 to 23, got -1"),
        ({"items": ["a"]}, "invalid literal"),
        ({"items": None}, "NoneType"),
        ({}, "items"),
    ],
)
def test_what_cannot_be_answered_is_an_error_reply(hang, space, asked, message):
    gallery, replies = hang(space)
    ask(gallery, request="images", **asked)
    ((content, buffers),) = replies
    assert message in content["error"]
    assert (set(content), buffers) == ({"id", "error"}, [])


def test_sixty_four_images_come_at_once(hang, space):
    gallery, replies = hang(space)
    ask(gallery, request="images", items=(list(range(24)) * 3)[:64])
    assert len(replies[0][0]["images"]) == 64
    assert len(replies[0][1]) == 3 * 64


def test_requests_that_nobody_knows_get_an_error_reply(hang, space):
    gallery, replies = hang(space)
    ask(gallery, request="paint")
    ask(gallery)
    gallery.replies += OnScreen(gallery).send("nonsense")
    gallery.replies += OnScreen(gallery).send({"request": ["images"]})
    assert replies == [
        ({"id": 9, "error": "unknown request 'paint'"}, []),
        ({"id": 9, "error": "unknown request None"}, []),
        ({"id": None, "error": "unknown request ['images']"}, []),
    ]


@pytest.mark.parametrize("error", [ValueError, ZeroDivisionError, AttributeError, traitlets.TraitError])
def test_whatever_a_handler_raises_is_an_error_reply(hang, space, error):
    # The screen waits for a reply: without one its button would do nothing for ever.
    gallery, replies = hang(space)

    def handler(content):
        raise error(f"no {content['what']}")

    gallery.on_request("fail", handler)
    ask(gallery, request="fail", what="luck")
    assert replies == [({"id": 9, "error": "no luck"}, [])]


def test_an_error_without_words_has_its_name(hang, space):
    gallery, replies = hang(space)

    def handler(content):
        raise RuntimeError

    gallery.on_request("fail", handler)
    ask(gallery, request="fail")
    assert replies == [({"id": 9, "error": "RuntimeError"}, [])]


# -- the end ------------------------------------------------------------------------------------------


def test_a_closed_gallery_lets_go_of_its_space(map_of, make_places):
    before = set(ipywidgets.widgets.widget._instances)
    space = map_of(make_places(6))
    gallery = Gallery(space)
    gallery.caption(usable_columns(space)["number"])
    gallery.show(np.array([1, 2]))
    left = weakref.ref(space)
    gallery.close()
    assert set(ipywidgets.widgets.widget._instances) == before
    del space
    gc.collect()
    assert left() is None
    gallery.close()  # closing twice is no error
