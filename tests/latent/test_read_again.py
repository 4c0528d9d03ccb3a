"""Images that are read again when they are shown: are they those that the map was made of?"""

import copy
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from layer_helpers import Reads

import hdm_widgets as hw
from hdm_widgets._picture import to_rgb

COUNT, SIDE = 24, 64
QUIET = {"progress": False}
RNG = np.random.default_rng(5)
# Smooth, so that thumbnails show what is in them.
IMAGES = np.repeat(np.repeat(RNG.random((COUNT, 3, 8, 8), dtype=np.float32), 8, 2), 8, 3)
MASKS = IMAGES[:, 1] > 0.6
ITEMS = list(zip(IMAGES, MASKS, strict=True))
UNLIKE = "item {} is not the one that the map was made of"


def flipped(image, mask):
    return image[..., ::-1].copy(), mask[..., ::-1].copy()


def darker(image, mask):
    return image * np.float32(0.8), mask


def other_mask(image, mask):
    return image, ~mask


def rounded(image, mask):
    return image + np.float32(1e-6), mask


class Augmented(list):
    """Items that are changed at some of their readings: `when` gets how often an item has been read before."""

    def __init__(self, change, when, items=ITEMS):
        super().__init__(items)
        self.change, self.when, self.reads = change, when, [0] * len(items)

    def __getitem__(self, index):
        self.reads[index] += 1
        item = super().__getitem__(index)
        return self.change(*item) if self.when(self.reads[index] - 1) else item


def fitted(dataset, **options):
    return hw.LatentSpace(Reads(), layer="values").fit(dataset, **options, **QUIET)


def later(reads):
    """Not while it is collected: the first item is read twice then."""
    return reads >= 2


@pytest.mark.parametrize("change", [flipped, darker, other_mask])
def test_the_stored_image_is_shown_where_another_one_is_read(change):
    space = fitted(Augmented(change, later))
    space.picture(3)  # its second reading, as it was
    with pytest.warns(UserWarning, match=UNLIKE.format(3)) as said:
        shown = [space.picture(index) for index in (3, 0, 3)]
    assert len(said) == 1  # once
    for index, picture in zip((3, 0, 3), shown, strict=True):
        np.testing.assert_array_equal(picture, space.collection_.thumbnails[index])
    assert space.is_changed(3)
    assert not space.is_changed(4)
    # What is read is one reading, of image and mask.
    image, mask = change(*ITEMS[3])
    np.testing.assert_array_equal(space.item(3).image, image)
    np.testing.assert_array_equal(space.item(3).mask, mask)


def test_an_image_that_fits_is_shown_in_full():
    space = fitted(Augmented(rounded, later))
    for _ in range(3):
        np.testing.assert_allclose(space.picture(3).astype(int), to_rgb(IMAGES[3]), atol=1)
    assert not space.is_changed(3)


def test_a_map_of_random_augmentation_is_said_when_it_is_made():
    dataset = Augmented(flipped, lambda reads: reads % 2 == 1)
    with pytest.warns(UserWarning, match="item 0 was another one when it was read a second time") as said:
        space = fitted(dataset)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        shown = [space.picture(index) for index in range(COUNT)]
    assert len(said) == 1
    # Item 0 was collected flipped, at its second reading, and is read as it is now. All others are flipped now.
    for index, picture in enumerate(shown):
        np.testing.assert_array_equal(picture, space.collection_.thumbnails[index])
        stored = flipped(*ITEMS[0])[1] if index == 0 else MASKS[index]
        np.testing.assert_array_equal(space.truth(index), stored)


def test_a_map_of_own_features_says_so_too():
    dataset = Augmented(flipped, lambda reads: reads % 2 == 1)
    with pytest.warns(UserWarning, match="item 0 was another one"):
        hw.LatentSpace.from_features(IMAGES.mean((2, 3)), dataset, MASKS, **QUIET)


def test_ignored_pixels_are_those_of_the_item_that_is_read():
    masks = np.where(MASKS, 1, 0).astype(np.uint8)
    masks[:, :8] = 255
    dataset = Augmented(
        lambda image, mask: (image[:, ::-1].copy(), mask[::-1].copy()), later,
        list(zip(IMAGES, masks, strict=True)),
    )  # fmt: skip
    space = fitted(dataset, ignore=255)
    np.testing.assert_array_equal(space.item(5).ignored, masks[5] == 255)
    assert not space.is_changed(5)
    with pytest.warns(UserWarning, match=UNLIKE.format(5)):
        item = space.item(5)
    np.testing.assert_array_equal(item.ignored, masks[5, ::-1] == 255)
    np.testing.assert_array_equal(item.mask, masks[5, ::-1] == 1)


def test_thumbnails_of_one_display_are_compared_under_another():
    space = copy.copy(fitted(ITEMS))
    space.display = hw.Display(1)
    np.testing.assert_array_equal(space.picture(3), to_rgb(IMAGES[3], 1))


# -- a data set that a space is loaded with -----------------------------------------------------------


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    path = tmp_path_factory.mktemp("space")
    fitted(ITEMS).save(path)
    return path


def swapped(items):
    # The first and the last item, and every third, are where they were.
    order = list(range(COUNT))
    for index in range(1, COUNT - 2, 3):
        order[index], order[index + 1] = order[index + 1], order[index]
    return [items[index] for index in order]


@pytest.mark.parametrize("model", [None, Reads()], ids=["without a model", "with its model"])
@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (ITEMS[::-1], "item 0 of the data set is not the one that the space was made with"),
        (ITEMS[1:] + ITEMS[:1], "item 0 of the data set .*in another order"),
        (swapped(ITEMS), r"item \d+ of the data set .*in another order"),
        ([flipped(*item) for item in ITEMS], "item 0 of the data set .*random augmentation"),
        ([(image, ~mask) for image, mask in ITEMS], "item 0 of the data set is not the one"),
        ([(image[:, :32], mask[:32]) for image, mask in ITEMS],
         "the data set is not the one .*item 0: expected an image"),
    ],
    ids=["backwards", "shifted", "swapped", "flipped", "other masks", "other sizes"],
)  # fmt: skip
def test_another_data_set_is_noticed(stored, model, dataset, message):
    with pytest.warns(UserWarning, match=message) as said:
        hw.LatentSpace.load(stored, model, dataset)
    assert len(said) == 1


@pytest.mark.parametrize("model", [None, Reads()])
def test_the_same_data_set_is_not_warned_of(stored, model):
    space = hw.LatentSpace.load(stored, model, dataset=[(torch.from_numpy(i), torch.from_numpy(m)) for i, m in ITEMS])
    np.testing.assert_array_equal(space.picture(7), to_rgb(IMAGES[7]))


def test_after_another_order_fitting_images_are_shown_and_others_are_not(stored):
    with pytest.warns(UserWarning, match="in another order"):
        space = hw.LatentSpace.load(stored, dataset=swapped(ITEMS))
    np.testing.assert_array_equal(space.picture(0), to_rgb(IMAGES[0]))
    np.testing.assert_array_equal(space.picture(1), space.collection_.thumbnails[1])


def test_a_space_of_an_older_version_compares_masks(stored, tmp_path):
    # Its folder does not say how the thumbnails were made.
    collection = replace(hw.LatentSpace.load(stored).collection_, thumbnail_maker=None)
    hw.LatentSpace(Reads(), layer="values").fit_collected(collection).save(tmp_path)
    hw.LatentSpace.load(tmp_path, dataset=[darker(*item) for item in ITEMS])
    with pytest.warns(UserWarning, match="is not the one that the space was made with"):
        hw.LatentSpace.load(tmp_path, dataset=ITEMS[::-1])


# -- on screen ----------------------------------------------------------------------------------------


def ask(part, request, **content):
    """The reply to a request of the browser."""
    replies = []
    part.send = lambda content, buffers=None: replies.append(content)
    part._handle_custom_msg({"request": request, "id": 1, **content}, [])
    return replies[0]


@pytest.mark.filterwarnings("ignore:item 3 is not the one:UserWarning")
def test_the_explorer_says_it_once():
    space = fitted(Augmented(flipped, later))
    explorer = hw.LatentExplorer(space)
    try:
        gallery, legend = explorer._gallery, explorer._legend
        assert ask(gallery, "images", items=[3])["error"] is None
        assert legend.notice == ""
        assert ask(gallery, "images", items=[3])["images"][0]["error"] == ""
        assert "another image or mask for item 3 than for the map" in legend.notice
        legend.notice = ""
        ask(gallery, "images", items=[3, 4])
        assert legend.notice == ""
        assert explorer.explain(3).wait(60)
        heading = explorer.children[-1].children[0].children[0]
        assert "not the image and mask of the map" in heading.value
    finally:
        explorer.close()
