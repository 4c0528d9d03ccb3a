"""Data sets as people have them: where images and masks are, what they are, and the columns beside them."""

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pandas
import pytest
import torch
from layer_helpers import Reads
from PIL import Image
from torch.utils.data import ConcatDataset, Subset, TensorDataset, random_split

import hdm_widgets as hw
from hdm_widgets._datasets import Fields, as_dataset
from hdm_widgets.latent.data_columns import dataset_columns
from hdm_widgets.latent.items import read_item

HEIGHT, WIDTH, COUNT = 6, 8, 12
QUIET = {"progress": False}
RNG = np.random.default_rng(3)
PHOTOS = RNG.integers(0, 256, (COUNT, HEIGHT, WIDTH, 3), dtype=np.uint8)
IMAGES = PHOTOS.transpose(0, 3, 1, 2).astype(np.float32) / 255
MASKS = PHOTOS[..., 1] > 99
NAMES = [f"tile {number}" for number in range(COUNT)]
NORMALIZED = hw.Segmenter(Reads(), preprocess=lambda batch: batch / 255)


class Named(NamedTuple):
    name: str
    picture: Any
    label: Any


@dataclass
class Record:
    picture: Any
    label: Any


@dataclass(frozen=True, slots=True)
class Site:
    picture: Any
    label: Any
    name: str
    box: tuple = (0, 1)


class Slotted:
    __slots__ = ("label", "name", "picture", "unset")

    def __init__(self, picture, label, name):
        self.picture, self.label, self.name = picture, label, name


def plain(picture, label, name):
    return SimpleNamespace(picture=picture, label=label, name=name, box=(0, 1), _cache="hidden")


def rows(*fields):
    return list(zip(*fields, strict=True))


# Items, where image and mask are in them, and the columns beside them.
FIELDS = {
    "keys": ([{"img": i, "label": m, "name": n} for i, m, n in rows(IMAGES, MASKS, NAMES)],
             {"image": "img", "mask": "label"}, {"name": NAMES}),
    "one key": ([{"image": i, "label": m} for i, m in rows(IMAGES, MASKS)], {"mask": "label"}, {}),
    "positions": (rows(NAMES, IMAGES, MASKS), {"image": 1, "mask": 2}, {"entry 0": NAMES}),
    "positions from the end": (rows(NAMES, MASKS, IMAGES), {"image": -1, "mask": -2}, {"entry 0": NAMES}),
    "a pair the other way round": (rows(MASKS, IMAGES), {"image": 1, "mask": 0}, {}),
    "a tuple with a mapping": (rows(IMAGES, MASKS, [{"name": n, "box": (0, 1)} for n in NAMES]),
                               {"image": 0, "mask": 1}, {"name": NAMES}),
    "named tuples": ([Named(n, i, m) for i, m, n in rows(IMAGES, MASKS, NAMES)],
                     {"image": "picture", "mask": "label"}, {"name": NAMES}),
    "attributes": ([Record(i, m) for i, m in rows(IMAGES, MASKS)], {"image": "picture", "mask": "label"}, {}),
    "dataclasses": ([Site(*row) for row in rows(IMAGES, MASKS, NAMES)], {"image": "picture", "mask": "label"},
                    {"name": NAMES}),
    "objects with slots": ([Slotted(*row) for row in rows(IMAGES, MASKS, NAMES)],
                           {"image": "picture", "mask": "label"}, {"name": NAMES}),
    "plain objects": ([plain(*row) for row in rows(IMAGES, MASKS, NAMES)],
                      {"image": lambda item: item.picture, "mask": lambda item: item.label}, {"name": NAMES}),
    "rows of a frame by attribute": (pandas.DataFrame({"img": list(IMAGES), "label": list(MASKS), "name": NAMES}),
                                     {"image": lambda row: row.img, "mask": lambda row: row["label"]},
                                     {"name": NAMES}),
    "a frame": (pandas.DataFrame({"img": list(IMAGES), "label": list(MASKS), "name": NAMES}),
                {"image": "img", "mask": "label"}, {"name": NAMES}),
    "rows of a frame": (pandas.DataFrame({"img": list(IMAGES), "label": list(MASKS), "name": NAMES}).iloc,
                        {"image": "img", "mask": "label"}, {"name": NAMES}),
    "functions": ([{"scene": {"rgb": i}, "masks": [m, ~m], "name": n} for i, m, n in rows(IMAGES, MASKS, NAMES)],
                  {"image": lambda item: item["scene"]["rgb"], "mask": lambda item: item["masks"][0]},
                  {"name": NAMES}),
    "a function of a label map": (rows(IMAGES, np.where(MASKS, 2, 1)), {"mask": lambda item: item[1] == 2}, {}),
    "a function of an array": (list(np.concatenate([IMAGES, MASKS[:, None]], axis=1)),
                               {"image": lambda item: item[:3], "mask": lambda item: item[3]}, {}),
    "stacked tensors": ((torch.from_numpy(IMAGES), torch.from_numpy(MASKS)), {}, {}),
    "stacked arrays in a list": ([IMAGES, MASKS[:, None]], {}, {}),
    "stacked arrays in a mapping": ({"img": IMAGES, "mask": MASKS, "name": NAMES}, {"image": "img"}, {"name": NAMES}),
    "tensor data set": (TensorDataset(torch.from_numpy(IMAGES), torch.from_numpy(MASKS)), {}, {}),
    "three tensors": (TensorDataset(*map(torch.from_numpy, (IMAGES, MASKS, np.arange(COUNT)))),
                      {"image": 0, "mask": 1}, {"entry 2": list(range(COUNT))}),
}  # fmt: skip


class Rows:
    """Rows of a DataFrame as items."""

    def __init__(self, rows):
        self.rows = rows

    def __len__(self):
        return COUNT

    def __getitem__(self, index):
        return self.rows[index]


@pytest.fixture(scope="module")
def expected():
    return hw.LatentSpace(Reads(), layer="values").fit(rows(IMAGES, MASKS), **QUIET)


@pytest.mark.parametrize(("dataset", "fields", "columns"), FIELDS.values(), ids=FIELDS)
def test_images_and_masks_are_found_wherever_items_are_read(expected, tmp_path, dataset, fields, columns):
    dataset = Rows(dataset) if hasattr(dataset, "obj") else dataset
    spaces = [
        hw.LatentSpace(Reads(), layer="values").fit(dataset, **fields, **QUIET),
        hw.LatentSpace.from_features(IMAGES.mean((2, 3)), dataset, IMAGES[:, 0] > 0.5, **fields, **QUIET),
    ]
    spaces[0].save(tmp_path)
    functions = {name: field for name, field in fields.items() if callable(field)}
    spaces.append(hw.LatentSpace.load(tmp_path, dataset=dataset, **functions))
    for space in spaces:
        np.testing.assert_array_equal(space.iou_, expected.iou_)
        np.testing.assert_allclose(abs(space.embedding_), abs(expected.embedding_), atol=1e-5)
        assert {name: values.tolist() for name, values in space.columns_.items()} == columns
        # Read again when it is shown or explained.
        np.testing.assert_array_equal(space.item(3).image, IMAGES[3])
        np.testing.assert_array_equal(space.item(3).mask, MASKS[3])
        assert space.picture(3).shape == (HEIGHT, WIDTH, 3)


def test_a_map_of_what_was_collected_reads_items_in_the_same_way():
    dataset = [{"img": i, "label": m} for i, m in rows(IMAGES, MASKS)]
    dataset[7] = {"img": IMAGES[7]}
    space = hw.LatentSpace(Reads(), layer="values")
    with pytest.raises(hw.latent.CollectionError, match="item 7 has no 'label'") as stopped:
        space.fit(dataset, image="img", mask="label", **QUIET)
    space.fit_collected(stopped.value.collection, dataset)
    np.testing.assert_array_equal(space.item(6).image, IMAGES[6])


def test_a_function_that_no_file_holds_is_asked_for(tmp_path):
    dataset = rows(IMAGES, np.where(MASKS, 2, 1))
    space = hw.LatentSpace(Reads(), layer="values").fit(dataset, mask=lambda item: item[1] == 2, **QUIET)
    space.save(tmp_path)
    assert hw.LatentSpace.load(tmp_path).dataset_ is None
    with pytest.raises(ValueError, match=r"found by a function, <lambda>, .*load\(path, dataset=..., mask=...\)"):
        hw.LatentSpace.load(tmp_path, dataset=dataset)


@pytest.mark.parametrize(
    ("item", "fields", "error", "message"),
    [
        ((IMAGES[0], MASKS[0], "a"), {}, TypeError, "item 0 must be .*got 3 entries; .*such as image=0, mask=1"),
        ((IMAGES[0], MASKS[0], "a"), {"image": 0}, TypeError, "got 3 entries; say which they are"),
        ({"image": IMAGES[0], "label": MASKS[0]}, {}, ValueError,
         "item 0 has no 'mask'; it has 'image', 'label'; say which entry is the mask, such as mask='label'"),
        ({"image": IMAGES[0]}, {"mask": "label"}, ValueError, "item 0 has no 'label'; it has 'image'$"),
        ({"img": IMAGES[0], "id": 3, "label": MASKS[0]}, {"image": "img"}, ValueError,
         "item 0 has no 'mask'; it has 'img', 'id', 'label'; say which entry is the mask, such as mask='label'$"),
        ({"img": IMAGES[0], "label": MASKS[0]}, {"mask": "label"}, ValueError, "the image, such as image='img'$"),
        ({"img": IMAGES[0]}, {"image": "img"}, ValueError, "item 0 has no 'mask'; it has 'img'$"),
        ((IMAGES[0], MASKS[0]), {"image": 0, "mask": 2}, ValueError, "it has 0, 1; .*, such as mask=1$"),
        ((IMAGES[0], MASKS[0]), {"image": -2, "mask": 2}, ValueError, "it has 0, 1; .*, such as mask=1$"),
        (pandas.DataFrame({"img": [1], "label": [2]}), {"image": lambda row: row.imgs}, ValueError,
         "function image= failed: AttributeError: the row has no column 'imgs'; it has 'img', 'label'$"),
        ((IMAGES[0], MASKS[0]), {"mask": 2}, ValueError, "item 0 has no 2; it has 0, 1"),
        ((IMAGES[0], MASKS[0]), {"image": "img"}, ValueError, "item 0 has no 'img'; it has 0, 1"),
        ((IMAGES[0], MASKS[0]), {"image": 1}, ValueError, "item 0: image and mask are the same entry"),
        (IMAGES[0], {}, TypeError, "got ndarray; true masks are needed here, and an image alone has none"),
        (SimpleNamespace(img=IMAGES[0]), {"image": "img"}, TypeError,
         "got SimpleNamespace; .*by functions of the item"),
        (SimpleNamespace(img=IMAGES[0]), {"image": "img", "mask": "m"}, TypeError,
         "item 0 has no 'm': it is of type SimpleNamespace; give a function of the item, mask=lambda item"),
        ((IMAGES[0], {"masks": MASKS[0]}), {"mask": lambda item: item[1]["mask"]}, ValueError,
         "item 0: the function mask= failed: KeyError: 'mask'"),
    ],
)  # fmt: skip
def test_what_is_not_found_is_refused_with_the_remedy(item, fields, error, message):
    dataset = pandas.concat([item] * 3) if isinstance(item, pandas.DataFrame) else [item] * 3
    with pytest.raises(error, match=message):
        read_item(as_dataset(dataset), 0, fields=Fields(**fields))
    with pytest.raises(hw.latent.CollectionError, match=message):
        hw.LatentSpace(Reads(), layer="values").fit(dataset, **fields, **QUIET)


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"image": 1.5}, TypeError, r"image must be a key, a position or a function of the item, got 1\.5"),
        ({"mask": True}, TypeError, "mask must be a key, a position or a function of the item, got True"),
        ({"image": "a", "mask": "a"}, ValueError, "image and mask must be two entries of the item, got 'a' for both"),
    ],
)
def test_fields_that_are_none(fields, error, message):
    with pytest.raises(error, match=message):
        hw.LatentSpace(Reads(), layer="values").fit(rows(IMAGES, MASKS), **fields, **QUIET)


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        ((IMAGES, MASKS[:5]), r"as many of each, got shapes \(12, 3, 6, 8\) and \(5, 6, 8\)"),
        ((IMAGES[:, :, 0, 0], MASKS), r"stacked images must be \(N, C, H, W\) or \(N, H, W\)"),
        ((IMAGES[0], np.stack([MASKS[0]] * 3)), r"may be 3 gray images .*one image with 3 channels; .*\[:, None\]"),
    ],
)
def test_stacked_arrays_that_cannot_be_told_are_refused(pair, message):
    with pytest.raises(ValueError, match=message):
        hw.LatentSpace(Reads(), layer="values").fit(pair, **QUIET)


def test_stacked_gray_images():
    dataset = as_dataset((IMAGES[:, 0], MASKS))
    assert len(dataset) == COUNT
    np.testing.assert_array_equal(read_item(dataset, 5).image, IMAGES[5, :1])


# -- Pillow images, and arrays as files have them -----------------------------------------------------

PALETTE = Image.fromarray(PHOTOS[0]).quantize(8, dither=Image.Dither.NONE)
GRAY = PHOTOS[0, ..., 0]


@pytest.mark.parametrize(
    ("image", "values"),
    [
        (Image.fromarray(PHOTOS[0]), PHOTOS[0].transpose(2, 0, 1)),
        (PHOTOS[0], PHOTOS[0].transpose(2, 0, 1)),
        (Image.fromarray(GRAY), GRAY[None]),
        (Image.fromarray(GRAY.astype(np.uint16) * 257), GRAY[None].astype(np.uint16) * 257),
        (PALETTE, np.asarray(PALETTE.convert("RGB")).transpose(2, 0, 1)),
        (Image.fromarray(PHOTOS[0]).convert("CMYK"),
         np.asarray(Image.fromarray(PHOTOS[0]).convert("CMYK").convert("RGB")).transpose(2, 0, 1)),
        (Image.fromarray(GRAY > 99), (GRAY > 99)[None] * 255),
    ],
    ids=["RGB", "array", "gray", "16 bit", "palette", "CMYK", "1 bit"],
)  # fmt: skip
def test_an_image_as_files_have_it_is_read_for_a_segmenter_that_prepares_it(image, values):
    got = read_item([(image, MASKS[0])], 0, preprocess=True)
    np.testing.assert_array_equal(got.image, values)
    np.testing.assert_array_equal(got.mask, MASKS[0])


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (Image.fromarray(PHOTOS[0]),
         r"a Pillow image \(H, W, C\) of uint8; .*preprocess=.* / 255\), or return .*transpose"),
        (PALETTE, r"a Pillow image \(H, W, C\) of uint8; let the Segmenter normalize such images"),
        (Image.fromarray(GRAY),
         r"a Pillow image \(H, W\) of uint8; .*or return np.asarray\(image, dtype='float32'\) / 255"),
        (PHOTOS[0], r"an array \(H, W, C\) of uint8; let the Segmenter normalize such images"),
        (torch.from_numpy(PHOTOS[0]), r"an array \(H, W, C\) of uint8; let the Segmenter normalize such images"),
    ],
)  # fmt: skip
def test_for_any_other_segmenter_it_is_refused_with_the_remedy(image, message):
    with pytest.raises(TypeError, match="item 0: the image is " + message):
        read_item([(image, MASKS[0])], 0)


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        (Image.fromarray(MASKS[0].astype(np.uint8) * 255), MASKS[0]),
        (Image.fromarray(MASKS[0]), MASKS[0]),
        # The number in the palette is the class, as in Pascal VOC; as colors, class 0 might not be black.
        (PALETTE, np.asarray(PALETTE) != 0),
    ],
    ids=["gray", "1 bit", "palette"],
)
def test_pillow_masks(mask, expected):
    np.testing.assert_array_equal(read_item([(IMAGES[0], mask)], 0).mask, expected)


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ((Path("a/1.png"), MASKS[0]), r"the image must be .*got PosixPath; .*image=lambda item: Image.open"),
        (("1.jpg", MASKS[0]), r"got str; if it is the name of a file, .*image=lambda item: Image.open"),
        ((IMAGES[0], Path("a/1.png")), r"the segment must be .*got PosixPath; .*mask=lambda item: Image.open"),
    ],
)  # fmt: skip
def test_names_of_files_are_refused_with_the_remedy(item, message):
    with pytest.raises(TypeError, match=message):
        read_item([item], 0)


def test_new_images_are_read_in_the_same_way(expected):
    space = hw.LatentSpace(NORMALIZED, layer="values").fit(rows(PHOTOS, MASKS), **QUIET)
    for new in ([Image.fromarray(photo) for photo in PHOTOS], list(PHOTOS), tuple(map(torch.from_numpy, PHOTOS))):
        np.testing.assert_allclose(abs(space.transform(new)), abs(expected.embedding_), atol=1e-4)
    with pytest.raises(ValueError, match=r"images must have one size, image 0 has shape .*image 1 \(6, 7, 3\)"):
        space.transform([PHOTOS[0], PHOTOS[0, :, 1:]])
    with pytest.raises(TypeError, match="image 1 must be an array or a Pillow image, got str"):
        space.transform([PHOTOS[0], "photo"])


def test_a_mask_in_colors_is_refused():
    with pytest.raises(ValueError, match=r"item 0: expected a segment .*RGB colors"):
        read_item([(IMAGES[0], Image.fromarray(PHOTOS[0]))], 0)


def test_a_folder_of_pictures_in_a_few_lines(expected, tmp_path):
    for name, photo, mask in zip(NAMES, PHOTOS, MASKS, strict=True):
        Image.fromarray(photo).save(tmp_path / f"{name}.png")
        Image.fromarray(mask).save(tmp_path / f"{name} mask.png")
    files = [{"image": tmp_path / f"{name}.png", "mask": tmp_path / f"{name} mask.png"} for name in NAMES]
    space = hw.LatentSpace(NORMALIZED, layer="values").fit(
        files, image=lambda item: Image.open(item["image"]), mask=lambda item: Image.open(item["mask"]), **QUIET
    )
    np.testing.assert_array_equal(space.iou_, expected.iou_)
    np.testing.assert_array_equal(space.item(2).image, PHOTOS[2].transpose(2, 0, 1))
    np.testing.assert_array_equal(space.picture(2), PHOTOS[2])
    assert space.columns_["image"].tolist() == [str(file["image"]) for file in files]


def test_damaged_files_are_items_that_cannot_be_used(tmp_path):
    files = [tmp_path / f"{number}.png" for number in range(COUNT)]
    for file, photo in zip(files, PHOTOS, strict=True):
        Image.fromarray(np.tile(photo, (20, 20, 1))).save(file)
    files[4].write_bytes(files[4].read_bytes()[:200])
    files[5].write_bytes(b"")
    masks = dict(zip(files, np.tile(MASKS, (1, 20, 20)), strict=True))
    space = hw.LatentSpace(NORMALIZED, layer="values")
    with pytest.warns(UserWarning, match=r"2 of 12 items were skipped, the first because: item 4: the image could"):
        space.fit(files, image=Image.open, mask=masks.__getitem__, on_error="skip", **QUIET)
    assert list(space.skipped_) == [4, 5]
    assert "item 4: the image could not be read: " in space.skipped_[4]
    assert "item 5: the function image= failed: UnidentifiedImageError" in space.skipped_[5]


# -- columns of data sets within data sets ------------------------------------------------------------


class Tiles:
    """A data set with columns, of items that are their numbers."""

    def __init__(self, first, length, **columns):
        self.first, self.length = first, length
        self.columns = {"n": list(range(first, first + length)), **columns}

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        return IMAGES[self.first + index], MASKS[self.first + index]


ONE, OTHER = Tiles(0, 7, town=list("abcdefg")), Tiles(7, 5, height=[0.5] * 5)
BOTH = ConcatDataset([ONE, OTHER])
SHUFFLED = [8, 0, 11, 3]


@pytest.mark.parametrize(
    ("dataset", "columns"),
    [
        (Subset(ONE, [6, 0, 3]), {"n": [6, 0, 3], "town": ["g", "a", "d"]}),
        (Subset(Subset(ONE, [6, 0, 3]), np.array([2, 1])), {"n": [3, 0], "town": ["d", "a"]}),
        (BOTH, {"n": list(range(12)), "town": [*"abcdefg", *[""] * 5], "height": [np.nan] * 7 + [0.5] * 5}),
        (Subset(BOTH, SHUFFLED), {"n": SHUFFLED, "town": ["", "a", "", "d"], "height": [0.5, np.nan, 0.5, np.nan]}),
        (ConcatDataset([Subset(ONE, [5, 1]), Subset(OTHER, [4])]),
         {"n": [5, 1, 11], "town": ["f", "b", ""], "height": [np.nan, np.nan, 0.5]}),
        (ConcatDataset([rows(IMAGES[:2], MASKS[:2]), Subset(OTHER, [4])]),
         {"n": [np.nan, np.nan, 11], "height": [np.nan, np.nan, 0.5]}),
        (Subset(rows(IMAGES, MASKS), [1, 2]), {}),
    ],
    ids=["subset", "nested", "concatenated", "subset of both", "both of subsets", "one without", "none"],
)  # fmt: skip
def test_columns_of_data_sets_within_data_sets(dataset, columns):
    got = dataset_columns(dataset)
    assert list(got) == list(columns)
    for name, values in columns.items():
        np.testing.assert_array_equal(got[name], values)


def test_columns_of_a_split_follow_its_items():
    train, _ = random_split(BOTH, [8, 4], generator=torch.Generator().manual_seed(0))
    space = hw.LatentSpace(Reads(), layer="values").fit(train, **QUIET)
    assert space.columns_["n"].tolist() == list(train.indices) != sorted(train.indices)
    np.testing.assert_array_equal(space.item(2).image, IMAGES[space.columns_["n"][2]])


class Attribute(list):
    """A data set with an attribute `columns` of any kind."""

    def __init__(self, columns):
        super().__init__(rows(IMAGES, MASKS))
        self.columns = columns


class Refuses(list):
    @property
    def columns(self):
        raise RuntimeError("no table here")


@pytest.mark.parametrize(
    "dataset",
    [
        Attribute(["file", "town"]),
        Attribute(pandas.Index(["file", "town"])),
        Attribute(lambda: ["file"]),
        Attribute({"image": "file_name", "mask": "mask_name"}),
        Attribute({"sizes": {"a": 1}, "count": 3}),
        Attribute({"bands": ["red", "green", "blue"]}),
        Attribute(pandas.DataFrame({"wavelength": [0.6, 0.5]})),
        Attribute(3),
        Refuses(rows(IMAGES, MASKS)),
    ],
    ids=["list", "index", "method", "names", "numbers", "bands", "frame", "number", "property"],
)
def test_columns_that_are_something_else_are_no_error(dataset):
    assert hw.LatentSpace(Reads(), layer="values").fit(dataset, **QUIET).columns_ == {}


SERIES = pandas.Series(NAMES, index=range(7, 7 + COUNT))


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (SERIES.rename("name"), {"name": NAMES}),
        (SERIES.rename(3), {"3": NAMES}),
        (SERIES, {"column": NAMES}),
        (SERIES.rename("name").to_frame(), {"name": NAMES}),
        (pandas.Index(NAMES, name="name"), {"name": NAMES}),
        # A Series of columns.
        (pandas.Series({"name": NAMES, "n": list(range(COUNT))}), {"name": NAMES, "n": list(range(COUNT))}),
    ],
)
def test_columns_of_a_series(columns, expected):
    space = hw.LatentSpace(Reads(), layer="values").fit(rows(IMAGES, MASKS), columns=columns, **QUIET)
    assert {name: values.tolist() for name, values in space.columns_.items()} == expected


COLORS = np.stack([MASKS * 255, MASKS * 0, MASKS * 9], axis=-1).astype(np.uint8)
TALL = PHOTOS.transpose(0, 2, 1, 3).copy()


@pytest.mark.parametrize("preprocess", [True, False])
@pytest.mark.parametrize("kind", ["array", "pillow", "tensor"])
@pytest.mark.parametrize("photos", [PHOTOS, TALL])
def test_a_mask_of_colors_is_refused_with_the_size_of_its_image(photos, kind, preprocess):
    colors = COLORS if photos is PHOTOS else COLORS.transpose(0, 2, 1, 3)
    image = {"array": photos[0], "pillow": Image.fromarray(photos[0]), "tensor": torch.from_numpy(photos[0])}[kind]
    mask = Image.fromarray(colors[0]) if kind == "pillow" else colors[0]
    height, width = photos.shape[1:3]
    message = (
        rf"expected a segment of the image's size \({height}, {width}\), got shape \({height}, {width}, 3\); if these "
        "are RGB colors"
        if preprocess
        else r"the image is .*\(H, W, C\) of uint8; let the Segmenter normalize such images"
    )
    with pytest.raises((TypeError, ValueError), match=message):
        read_item([(image, mask)], 0, preprocess=preprocess)


@pytest.mark.parametrize("missing", [False, True])
def test_the_order_of_categories_of_a_frame_is_kept(missing):
    levels = ["low", "high", None if missing else "mid"] * (COUNT // 3)
    category = pandas.Categorical(levels, categories=["low", "mid", "high"], ordered=True)
    frame = pandas.DataFrame({"img": list(IMAGES), "label": list(MASKS), "level": category, "shape": [(1, 2, 3)] * 12})
    frame["free"] = pandas.Categorical(levels)
    for given in (frame, frame.iloc[:2]):
        items = as_dataset(as_dataset(given))
        assert items[1]["level"] == items[1].level == "high"
        level = dataset_columns(items)["level"]
        assert level.categories == ("low", "mid", "high")
    space = hw.LatentSpace(Reads(), layer="values").fit(frame, image="img", mask="label", **QUIET)
    assert space.columns_["level"].tolist() == [one or "" for one in levels]
    assert space.columns_["level"].categories == ("low", "mid", "high")
    assert not hasattr(space.columns_["free"], "categories")
    np.testing.assert_array_equal(space.item(3).image, IMAGES[3])


def test_columns_that_do_not_fit_are_left_out_with_a_word():
    dataset = Attribute({"name": NAMES, "bands": ["red", "green", "blue"]})
    with pytest.warns(UserWarning, match="columns, 1 cannot be used: column 'bands' has 3 entries for 12 items"):
        space = hw.LatentSpace(Reads(), layer="values").fit(dataset, **QUIET)
    assert space.columns_["name"].tolist() == NAMES
    assert list(space.columns_) == ["name"]
