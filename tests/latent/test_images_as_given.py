"""Data sets of images as people have them, for a Segmenter that prepares images itself, and how they are shown."""

import numpy as np
import pytest
import torch
from layer_helpers import Reads

import hdm_widgets as hw
from hdm_widgets._picture import to_rgb
from hdm_widgets.latent.items import check_images

HEIGHT, WIDTH, COUNT = 6, 8, 12
QUIET = {"progress": False}
RNG = np.random.default_rng(2)
PHOTOS = RNG.integers(0, 256, (COUNT, HEIGHT, WIDTH, 3), dtype=np.uint8)
MASKS = PHOTOS[..., 1] > 99
SCENES = RNG.integers(200, 9000, (COUNT, 6, HEIGHT, WIDTH), dtype=np.uint16)

FORMS = {
    "uint8 (H, W, 3)": (list(PHOTOS), PHOTOS.transpose(0, 3, 1, 2), 255),
    "uint8 (3, H, W)": (list(PHOTOS.transpose(0, 3, 1, 2)), PHOTOS.transpose(0, 3, 1, 2), 255),
    "torch uint8 (H, W, 3)": (list(torch.from_numpy(PHOTOS)), PHOTOS.transpose(0, 3, 1, 2), 255),
    "uint16 (6, H, W)": (list(SCENES), SCENES, 10_000),
    "int16 (H, W, 6)": (list(SCENES.astype(np.int16).transpose(0, 2, 3, 1)), SCENES, 10_000),
}


def fitted(images, scale, **options):
    model = Reads()
    segmenter = hw.Segmenter(model, preprocess=lambda batch: batch / scale)
    return hw.LatentSpace(segmenter, layer=model.values, **options).fit(list(zip(images, MASKS, strict=True)), **QUIET)


@pytest.mark.parametrize(("images", "channels_first", "scale"), FORMS.values(), ids=FORMS)
def test_a_map_of_images_as_given_is_that_of_normalized_ones(images, channels_first, scale):
    space = fitted(images, scale)
    normalized = list(zip(channels_first.astype(np.float32) / scale, MASKS, strict=True))
    expected = hw.LatentSpace(Reads(), layer="values").fit(normalized, **QUIET)
    np.testing.assert_allclose(space.embedding_, expected.embedding_, atol=1e-5)
    np.testing.assert_array_equal(space.iou_, expected.iou_)
    # What is kept and shown has the values that were given.
    np.testing.assert_array_equal(space.item(3).image, channels_first[3].astype(np.float32))
    np.testing.assert_array_equal(space.picture(3), to_rgb(channels_first[3]))
    # New images may have any of the forms too.
    new = torch.stack(images) if isinstance(images[0], torch.Tensor) else np.stack(images)
    np.testing.assert_allclose(space.transform(new), expected.embedding_, atol=1e-4)


def test_a_space_without_its_model_shows_them_all_the_same(tmp_path):
    space = fitted(list(PHOTOS), 255)
    space.save(tmp_path)
    loaded = hw.LatentSpace.load(tmp_path, dataset=list(zip(PHOTOS, MASKS, strict=True)))
    np.testing.assert_array_equal(loaded.picture(5), PHOTOS[5])


def test_an_item_is_explained_as_it_was_given():
    space = fitted(list(PHOTOS), 255, display=(2, 1, 0))
    explorer = hw.LatentExplorer(space)
    below = explorer.explain(4)
    assert below.wait(60)
    np.testing.assert_array_equal(below.result.image, PHOTOS[4].transpose(2, 0, 1))
    assert below._display == space.display
    explorer.close()


@pytest.mark.parametrize("num_workers", [0, 2])
def test_processes_that_read_the_data_set_take_them_too(num_workers):
    model = Reads()
    space = hw.LatentSpace(hw.Segmenter(model, preprocess=lambda batch: batch / 255), layer=model.values)
    space.fit(list(zip(PHOTOS, MASKS, strict=True)), num_workers=num_workers, **QUIET)
    np.testing.assert_array_equal(space.picture(7), PHOTOS[7])


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (list(PHOTOS.transpose(0, 3, 1, 2)), r"item 0: the image must be of a floating.* hw.Segmenter\(model, preproc"),
        (list(PHOTOS / 255), r"item 0: .*channels come first.* preprocess= takes \(H, W, C\)"),
        ([np.full((3, HEIGHT, WIDTH), np.nan, np.float32)] * COUNT, r"item 0: .*NaN.*np.nan_to_num\(image.*ignore="),
    ],
    ids=["uint8", "channels last", "NaN"],
)
def test_without_preprocess_the_message_names_it(images, message):
    with pytest.raises(ValueError, match=message):
        hw.LatentSpace(Reads(), layer="values").fit(list(zip(images, MASKS, strict=True)), **QUIET)


SHAPES = [
    # shape of new images, (C, H, W) of the data set, whether their channels come last
    ((2, 3, 6, 8), (3, 6, 8), False),
    ((2, 6, 8, 3), (3, 6, 8), True),
    ((2, 60, 80, 3), (3, 6, 8), True),
    ((2, 3, 6, 3), (3, 6, 3), False),
    ((2, 3, 6, 3), (3, 3, 6), True),
    ((2, 3, 3, 3), (3, 3, 3), False),
]


@pytest.mark.parametrize(("shape", "image_shape", "last"), SHAPES)
def test_the_layout_of_new_images_is_that_which_fits(shape, image_shape, last):
    images = np.arange(np.prod(shape), dtype=np.uint16).reshape(shape)
    got = check_images(images, image_shape, same_size=False, preprocess=True)
    np.testing.assert_array_equal(got, (images.transpose(0, 3, 1, 2) if last else images).astype(np.float32))


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (
            PHOTOS.transpose(0, 3, 1, 2),
            r"images must be of a floating type.*images.astype\('float32'\) / 255, or leave",
        ),
        (torch.from_numpy(PHOTOS), r"images\.float\(\) / 255, or leave them .*preprocess="),
        (np.full((2, 3, 4, 4), np.nan, np.float32), "images have NaN or infinity; where a pixel has no data, fill it"),
    ],
)
def test_new_images_that_are_refused(images, message):
    with pytest.raises((ValueError, TypeError), match=message):
        check_images(images, (3, HEIGHT, WIDTH), same_size=False)


# -- what is shown of them ----------------------------------------------------------------------------


@pytest.mark.parametrize("display", [(3, 2, 1), 5, hw.Display((0, 1, 2), stretch=(0, 100), nodata=200)], ids=str)
def test_pictures_thumbnails_and_files_show_the_bands(tmp_path, display):
    space = fitted(list(SCENES), 10_000, display=display)
    for index in (0, 7):
        expected = to_rgb(SCENES[index], display)
        np.testing.assert_array_equal(space.picture(index), expected)
        # Of images this small, a thumbnail is the image.
        np.testing.assert_array_equal(space.collection_.thumbnails[index], expected)
    space.save(tmp_path)
    loaded = hw.LatentSpace.load(tmp_path, dataset=list(zip(SCENES, MASKS, strict=True)))
    assert loaded.display == hw.Display.wrap(display)
    np.testing.assert_array_equal(loaded.picture(2), to_rgb(SCENES[2], display))


def test_bands_that_the_data_set_does_not_have_are_said_before_it_is_read():
    with pytest.raises(ValueError, match="display must have channels 0 to 5 for this image, got 6"):
        fitted(list(SCENES), 10_000, display=6)


def test_a_display_that_is_none():
    with pytest.raises(ValueError, match="display must be a channel, or three of them for RGB, got 'rgb'"):
        hw.LatentSpace(Reads(), display="rgb")
