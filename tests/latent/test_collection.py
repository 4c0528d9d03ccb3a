import gc
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import hdm_widgets as hw
from hdm_widgets.latent import CollectionError, Layer, LayerError
from hdm_widgets.latent.collector import Collector

# Two channels of 5 x 7 px: no multiple of 8, so masks end within a byte. The first pixel tells the item.
CHANNELS, HEIGHT, WIDTH = SHAPE = (2, 5, 7)

# Runs before those of the items: two for the layer and the layout of its maps, two to see whether batches matter.
PREPARATION = 4


class Reads(nn.Module):
    """Draws where the first channel is above one half; its layer `values` puts the image out as it is."""

    def __init__(self):
        super().__init__()
        self.values = nn.Identity()
        self.seen = []

    def forward(self, images):
        self.seen.append([number_of(image) for image in images])
        return self.values(images)[:, 0]


class Fails(Reads):
    """Raises an error as soon as one of some items is among the images, or too many images come."""

    def __init__(self, *bad, error=None, most=100):
        super().__init__()
        self.bad, self.error, self.most = bad, error or ValueError("cannot do this"), most

    def forward(self, images):
        out = super().forward(images)
        if len(images) > self.most or set(self.bad) & set(self.seen[-1]):
            raise self.error
        return out


class Spoils(Reads):
    """Puts NaN in the activations or in the output of some items."""

    def __init__(self, *bad, where):
        super().__init__()
        self.bad, self.where = bad, where

    def forward(self, images):
        bad = torch.tensor([number_of(image) in self.bad for image in images])
        spoilt = torch.where(bad[:, None, None, None], torch.nan, images)
        out = super().forward(spoilt if self.where == "activations" else images)
        return torch.nan_to_num(out) if self.where == "activations" else spoilt[:, 0]


def number_of(image):
    return round(float(image[1, 0, 0]) * 1000) if torch.isfinite(image[1, 0, 0]) else None


def scenes(length=12, seed=0):
    """Images and masks by chance; the second channel's first pixel is the item's number in thousandths."""
    rng = np.random.default_rng(seed)
    images = rng.random((length, *SHAPE)).astype(np.float32)
    images[:, 1, 0, 0] = np.arange(length) / 1000
    masks = rng.random((length, HEIGHT, WIDTH)) > 0.6
    return list(zip(images, masks, strict=True))


class WithColumns(list):
    """A data set that says more of its items."""

    def __init__(self, items, columns):
        super().__init__(items)
        self.columns = columns


class Unreadable(list):
    """A data set with items that cannot be read."""

    def __init__(self, items, *bad):
        super().__init__(items)
        self.bad = bad

    def __getitem__(self, index):
        if index in self.bad:
            raise OSError("disk")
        return super().__getitem__(index)


def collect(model, dataset, *, segmenter=None, layer="values", pool="mean", collector=None, **options):
    segmenter = hw.Segmenter(model, **(segmenter or {}))
    return Collector(segmenter, layer, pool, **(collector or {})).collect(dataset, progress=False, **options)


def check(collection, dataset, items):
    """What was collected of these items is right, by plain NumPy."""
    images = np.stack([dataset[index][0] for index in items])
    truths = np.stack([dataset[index][1] for index in items])
    predictions = images[:, 0] > 0.5
    assert collection.items.tolist() == list(items)
    assert len(collection) == len(items)
    np.testing.assert_allclose(collection.features, images.mean((2, 3)), atol=1e-6)
    for position in range(len(items)):
        np.testing.assert_array_equal(collection.truths[position], truths[position])
        np.testing.assert_array_equal(collection.predictions[position], predictions[position])
    np.testing.assert_array_equal(collection.tp, (truths & predictions).sum((1, 2)))
    np.testing.assert_array_equal(collection.fn, (truths & ~predictions).sum((1, 2)))
    np.testing.assert_array_equal(collection.fp, (~truths & predictions).sum((1, 2)))


def number_of_hooks(model):
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())


# -- what is collected --------------------------------------------------------------------------------


def test_everything_of_every_item():
    dataset = scenes(30)
    got = collect(Reads(), dataset)
    check(got, dataset, range(30))
    assert got.layer == Layer("values", SHAPE)
    assert got.features.dtype == np.float32
    assert got.image_shape == SHAPE
    assert got.skipped == {}
    assert got.columns == {}
    assert len(got.truths) == len(got.predictions) == 30


def test_counts_by_hand():
    truth = np.array([[1, 1, 0], [0, 1, 0]])
    predicted = np.array([[1, 0, 1], [1, 0, 1]])
    dataset = [(np.stack([image, image]).astype(np.float32), mask) for image, mask in [
        (predicted, truth), (truth, truth), (0 * truth, truth), (predicted, 0 * truth), (0 * truth, 0 * truth),
    ]]  # fmt: skip
    got = collect(Reads(), dataset)
    assert got.tp.tolist() == [1, 3, 0, 0, 0]
    assert got.fn.tolist() == [2, 0, 3, 0, 0]
    assert got.fp.tolist() == [3, 0, 0, 4, 0]


@pytest.mark.parametrize("batch_size", [None, 1, 5])
def test_the_model_runs_once_on_every_item(batch_size):
    model = Reads()
    collect(model, scenes(23), segmenter={"batch_size": batch_size})
    search, batches = model.seen[:2], model.seen[2:]
    assert search == [[0, 0]] * 2  # the layer is looked up on the first image
    if batch_size != 1:
        # The first image with less contrast, alone and beside itself: do batches matter?
        check, batches = batches[:2], batches[2:]
        assert [len(batch) for batch in check] == [1, 2]
        assert check[1][0] == check[0][0] != check[1][1] == 0
    assert [number for batch in batches for number in batch] == list(range(23))
    if batch_size:
        assert [len(batch) for batch in batches] == [batch_size] * (23 // batch_size) + [23 % batch_size] * (
            23 % batch_size > 0
        )


def test_the_model_is_put_back():
    model = Reads().train()
    model.values.eval()
    collect(model, scenes())
    assert [module.training for module in model.modules()] == [True, False]
    assert number_of_hooks(model) == 0
    for dataset in (scenes(), Unreadable(scenes(), 5)):
        failing = Fails(7).train()
        failing.values.eval()
        with pytest.raises(CollectionError):
            collect(failing, dataset)
        assert [module.training for module in failing.modules()] == [True, False]
        assert number_of_hooks(failing) == 0


def test_an_interrupt_leaves_no_hook():
    model = Fails(7, error=KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        collect(model, scenes())
    assert number_of_hooks(model) == 0


@pytest.mark.parametrize("pool", ["mean", "max", "flatten", "grid"])
def test_every_pooling(pool):
    dataset = scenes(6)
    images = np.stack([image for image, _ in dataset])
    expected = {
        "mean": images.mean((2, 3)),
        "max": images.max((2, 3)),
        "flatten": images.reshape(6, -1),
        # 5 rows in cells of 3 that share the middle one; 7 columns in cells of 4 that share one too.
        "grid": np.stack(
            [images[:, :, r : r + 3, c : c + 4].mean((2, 3)) for r in (0, 2) for c in (0, 3)], axis=2
        ).reshape(6, -1),
    }[pool]
    np.testing.assert_allclose(collect(Reads(), dataset, pool=pool).features, expected, atol=1e-6)


def test_two_classes_and_target_and_threshold():
    class TwoClasses(Reads):
        def forward(self, images):
            first = super().forward(images)
            return torch.stack([first, 1 - first], dim=1)

    dataset = scenes(4)
    masks = np.stack([image[0] > 0.5 for image, _ in dataset])
    got = collect(TwoClasses(), dataset, segmenter={"target": 0})
    np.testing.assert_array_equal([got.predictions[i] for i in range(4)], masks)
    got = collect(TwoClasses(), dataset, segmenter={"target": 1})
    np.testing.assert_array_equal([got.predictions[i] for i in range(4)], ~masks)
    got = collect(Reads(), dataset, segmenter={"threshold": 0.8})
    np.testing.assert_array_equal([got.predictions[i] for i in range(4)], [p[0] > np.float32(0.8) for p, _ in dataset])


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # on a machine with a single core
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")  # Python 3.12 and 3.13
def test_processes_that_read_give_the_same():
    dataset = WithColumns(scenes(), {"n": range(12)})
    here, there = collect(Reads(), dataset), collect(Reads(), dataset, num_workers=2)
    check(there, dataset, range(12))
    np.testing.assert_allclose(there.features, here.features, atol=1e-6)
    np.testing.assert_array_equal(there.thumbnails, here.thumbnails)
    assert there.columns["n"].tolist() == list(range(12))
    with pytest.raises(CollectionError, match="item 4 could not be read: OSError: disk") as caught:
        collect(Reads(), Unreadable(scenes(), 4), num_workers=2)
    assert caught.value.index == 4
    check(caught.value.collection, scenes(), range(4))


def test_progress_is_shown_or_not(capfd):
    collector = Collector(hw.Segmenter(Reads()), "values")
    collector.collect(scenes(), progress=False)
    assert capfd.readouterr() == ("", "")
    collector.collect(scenes(), progress=True)
    shown = capfd.readouterr().err
    assert "collecting activations" in shown
    assert "12/12" in shown


# -- thumbnails ---------------------------------------------------------------------------------------


def thumbnails(images, thumbnail):
    dataset = [(image, np.zeros(image.shape[-2:])) for image in images]
    collector = Collector(
        hw.Segmenter(nn.Sequential(nn.Identity()), target=0, classes="independent"), "0", thumbnail=thumbnail
    )
    return collector.collect(dataset, progress=False).thumbnails


def test_thumbnails_are_means_over_blocks():
    # 4 x 8 px to 2 x 4: blocks of 2 x 2.
    image = np.zeros((3, 4, 8), np.float32)
    image[0, :2, :2] = 1  # a red block
    image[1, 2:, 6:] = 0.5  # a dark green block
    image[2, 0, 4] = 0.4  # a blue pixel: a tenth over its block
    expected = np.zeros((2, 4, 3))
    expected[0, 0, 0], expected[1, 3, 1], expected[0, 2, 2] = 255, round(127.5), round(25.5)
    got = thumbnails([image, 1 - image], 4)
    assert got.shape == (2, 2, 4, 3)
    assert got.dtype == np.uint8
    np.testing.assert_allclose(got[0], expected, atol=1)
    np.testing.assert_allclose(got[1], 255 - expected, atol=1)


def test_thumbnails_of_sides_that_do_not_divide():
    # 3 x 5 px of one channel, blocks of 2 x 2: what is left over at the end is a block of its own.
    image = np.zeros((1, 3, 5), np.float32)
    image[0, :2, :2] = [[1, 0], [0.5, 0.5]]
    image[0, 0, 4], image[0, 2, 4] = 1, 0.8
    got = thumbnails([image], 3)
    assert got.shape == (1, 2, 3, 3)
    np.testing.assert_allclose(got[0, ..., 0], [[127.5, 0, 127.5], [0, 0, 204]], atol=0.51)


@pytest.mark.parametrize(
    ("size", "thumbnail", "expected"), [((10, 20), 48, (10, 20)), ((96, 64), 48, (48, 32)), ((1, 90), 30, (1, 30))]
)
def test_thumbnails_keep_their_sides_and_are_never_enlarged(size, thumbnail, expected):
    assert thumbnails(np.zeros((2, 1, *size), np.float32), thumbnail).shape == (2, *expected, 3)


def test_thumbnails_of_one_channel_are_gray():
    ramp = np.linspace(0, 1, 4, dtype=np.float32).reshape(1, 2, 2)
    expected = np.repeat(np.array([[0, 85], [170, 255]])[..., None], 3, axis=2)
    np.testing.assert_array_equal(thumbnails([ramp], 48)[0], expected)


# -- columns ------------------------------------------------------------------------------------------


def test_columns_of_the_data_set_its_items_and_the_caller():
    pairs = scenes(4)
    dataset = WithColumns(
        [
            {"image": image, "mask": mask, "town": f"town {i}", "n": 10 * i, "year": 2000 + i, "array": np.ones(2)}
            for i, (image, mask) in enumerate(pairs)
        ],
        {"land_use": ["a", "b", "a", "c"], "n": [5, 6, 7, 8]},
    )
    got = collect(Reads(), dataset, columns={"year": [1, 2, 3, 4], "share": np.array([0.5, 0.25, 0, 1])})
    assert {name: values.tolist() for name, values in got.columns.items()} == {
        "town": ["town 0", "town 1", "town 2", "town 3"],
        "n": [5, 6, 7, 8],  # the data set's own column before its items'
        "year": [1, 2, 3, 4],  # the caller's before both
        "land_use": ["a", "b", "a", "c"],
        "share": [0.5, 0.25, 0, 1],
    }
    assert got.columns["n"].dtype.kind == "i"


def test_what_some_items_do_not_carry_is_missing_in_its_column():
    dataset = [{"image": image, "mask": mask, "n": i} for i, (image, mask) in enumerate(scenes(3))]
    dataset[1].pop("n")
    dataset[2]["name"] = "last"
    columns = collect(Reads(), dataset).columns
    np.testing.assert_array_equal(columns["n"], [0, np.nan, 2])
    assert columns["name"].tolist() == ["", "", "last"]


def test_columns_follow_the_items_that_are_left():
    dataset = Unreadable([{"image": p, "mask": m, "name": f"tile {i}"} for i, (p, m) in enumerate(scenes())], 3, 8)
    dataset.columns = {"n": list(range(12))}
    got = collect(Fails(5), dataset, on_error="skip", columns={"square": [i * i for i in range(12)]})
    left = [i for i in range(12) if i not in (3, 5, 8)]
    assert got.columns["n"].tolist() == left
    assert got.columns["square"].tolist() == [i * i for i in left]
    assert got.columns["name"].tolist() == [f"tile {i}" for i in left]


# -- much ---------------------------------------------------------------------------------------------


def test_many_activations_go_to_disk():
    dataset = scenes(40)
    kept = collect(Reads(), dataset, pool="flatten", collector={"memory_limit": 40 * 70 * 4})
    assert not isinstance(kept.features, np.memmap)
    got = collect(Reads(), dataset, pool="flatten", collector={"memory_limit": 40 * 70 * 4 - 1})
    assert isinstance(got.features, np.memmap)
    assert got.features.shape == (40, 70)
    np.testing.assert_array_equal(got.features, kept.features)


def test_the_file_goes_without_a_word_when_the_collection_does(monkeypatch, tmp_path, recwarn):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    got = collect(Reads(), scenes(), collector={"memory_limit": 1})
    (file,) = tmp_path.rglob("*.npy")
    assert Path(got.features.filename) == file
    del got
    gc.collect()
    assert list(tmp_path.iterdir()) == []
    assert [str(warning.message) for warning in recwarn] == []


def test_some_on_disk_are_as_good_as_all():
    got = collect(Reads(), Unreadable(scenes(), 0, 4), collector={"memory_limit": 1}, on_error="skip")
    check(got, scenes(), [1, 2, 3, 5, 6, 7, 8, 9, 10, 11])


# -- what goes wrong ----------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [0, 1, 6, 11])
@pytest.mark.parametrize("batch_size", [None, 4])
def test_a_model_that_fails_on_an_item(bad, batch_size):
    dataset = scenes()
    with pytest.raises(
        CollectionError, match=f"item {bad}: the model raised ValueError: cannot do this for an input of shape"
    ) as caught:
        collect(Fails(bad), dataset, segmenter={"batch_size": batch_size})
    assert caught.value.index == bad
    if bad:
        check(caught.value.collection, dataset, range(bad))
    else:
        assert caught.value.collection is None


@pytest.mark.parametrize("bad", [0, 1, 6, 11])
def test_an_item_that_cannot_be_read(bad):
    with pytest.raises(CollectionError, match=f"item {bad} could not be read: OSError: disk") as caught:
        collect(Reads(), Unreadable(scenes(), bad))
    assert caught.value.index == bad
    if bad:
        check(caught.value.collection, scenes(), range(bad))
    else:
        assert caught.value.collection is None


@pytest.mark.parametrize(
    ("where", "message"),
    [("activations", "item 6: the activations have NaN or infinity"), ("output", "item 6: the model returned NaN")],
)
def test_numbers_that_are_none(where, message):
    with pytest.raises(CollectionError, match=message) as caught:
        collect(Spoils(6, where=where), scenes())
    assert caught.value.index == 6
    check(caught.value.collection, scenes(), range(6))
    left = [i for i in range(12) if i not in (2, 6, 7)]
    got = collect(Spoils(2, 6, 7, where=where), scenes(), on_error="skip")
    check(got, scenes(), left)
    assert list(got.skipped) == [2, 6, 7]


@pytest.mark.parametrize("bad", [(0,), (0, 1), (4, 5, 11)])
@pytest.mark.parametrize("kind", ["model", "data set", "size"])
def test_items_that_cannot_be_used_are_skipped(bad, kind):
    dataset, model = scenes(), Reads()
    if kind == "model":
        model = Fails(*bad)
    elif kind == "data set":
        dataset = Unreadable(dataset, *bad)
    else:
        for index in bad:
            dataset[index] = (dataset[index][0], dataset[index][1][:3])
    got = collect(model, dataset, on_error="skip")
    check(got, scenes(), [i for i in range(12) if i not in bad])
    assert list(got.skipped) == list(bad)
    for index, message in got.skipped.items():
        assert message.startswith(f"item {index}")


def test_no_item_can_be_used():
    with pytest.raises(CollectionError, match=r"no item could be used; .*could not be read: OSError: disk") as caught:
        collect(Reads(), Unreadable(scenes(3), 0, 1, 2), on_error="skip")
    assert caught.value.collection is None
    with pytest.raises(CollectionError, match=r"no item could be used; .*cannot do this") as caught:
        collect(Fails(0, 1, 2), scenes(3), on_error="skip")
    assert caught.value.collection is None


@pytest.mark.parametrize(("most", "tried"), [(2, [16, 8, 4]), (5, [16, 8])])
@pytest.mark.parametrize("error", [RuntimeError("CUDA out of memory. Tried to allocate"), MemoryError()])
def test_running_out_of_memory_halves_the_batch(most, tried, error):
    model = Fails(error=error, most=most)
    got = collect(model, scenes(30), segmenter={"batch_size": 16})
    check(got, scenes(30), range(30))
    sizes = [len(batch) for batch in model.seen[PREPARATION:]]
    # 16 and its halves were tried once each, never again.
    assert [size for size in sizes if size > most] == tried
    assert sum(size for size in sizes if size <= most) == 30
    assert max(size for size in sizes if size <= most) == tried[-1] // 2


def test_no_memory_for_a_single_image():
    with pytest.raises(CollectionError, match="item 3: out of memory even for a single image") as caught:
        collect(Fails(3, error=torch.OutOfMemoryError("no room")), scenes(), segmenter={"batch_size": 8})
    assert caught.value.index == 3
    check(caught.value.collection, scenes(), range(3))


def test_a_batch_that_fails_is_tried_one_by_one():
    class DislikesLargeBatches(Reads):
        def forward(self, images):
            if len(images) > 2:
                raise RuntimeError("not so many")
            return super().forward(images)

    model = DislikesLargeBatches()
    with pytest.warns(UserWarning, match="failed on a batch of 5 images .*not so many.* one at a time"):
        got = collect(model, scenes(), segmenter={"batch_size": 5})
    check(got, scenes(), range(12))
    assert [len(batch) for batch in model.seen[PREPARATION:]] == [1] * 12


class OneByOne(Reads):
    """Takes single images only."""

    def forward(self, images):
        if len(images) > 1:
            raise RuntimeError("one image, please")
        return super().forward(images)


def test_a_model_for_single_images():
    check(collect(OneByOne(), scenes(), segmenter={"batch_size": 1}), scenes(), range(12))
    with pytest.warns(UserWarning, match="failed on a batch of 3 images .*one image, please.* one at a time"):
        check(collect(OneByOne(), scenes(), segmenter={"batch_size": 3}), scenes(), range(12))


@pytest.mark.parametrize("layer", ["auto", "values"])
@pytest.mark.parametrize("error", [RuntimeError("CUDA out of memory. Tried to allocate"), MemoryError()])
def test_memory_for_one_image_only(layer, error):
    model = Fails(error=error, most=1)
    got = collect(model, scenes(), layer=layer)
    check(got, scenes(), range(12))
    assert got.layer == Layer("values", SHAPE, chosen=layer == "auto")


@pytest.mark.parametrize("layer", ["auto", "values"])
def test_no_memory_for_the_first_image(layer):
    model = Fails(error=torch.OutOfMemoryError("no room"), most=0)
    with pytest.raises(CollectionError, match="item 0: out of memory even for a single image") as caught:
        collect(model, scenes(), layer=layer)
    assert (caught.value.index, caught.value.collection) == (0, None)
    with pytest.raises(CollectionError, match="no item could be used; the last: item 11: out of memory even for"):
        collect(model, scenes(), layer=layer, on_error="skip")


@pytest.mark.parametrize("method", ["transform", "predict_iou", "locate"])
def test_new_images_halve_a_batch_that_memory_runs_out_for(method):
    images = np.stack([image for image, _ in scenes(30)])
    plain = hw.LatentSpace(Reads(), layer="values").fit(scenes(30), progress=False)
    model = Fails(error=torch.OutOfMemoryError("no room"))
    space = hw.LatentSpace(model, layer="values", batch_size=16).fit(scenes(30), progress=False)
    model.seen, model.most = [], 4
    got, expected = getattr(space, method)(images), getattr(plain, method)(images)
    if method == "locate":
        got, expected = got.embedding, expected.embedding
    np.testing.assert_allclose(got, expected, atol=1e-6)
    assert [len(batch) for batch in model.seen] == [16, 8, 4, 4, 4, 4, 4, 4, 4, 2]


def test_new_images_for_a_model_that_takes_them_one_by_one():
    images = np.stack([image for image, _ in scenes(12)])
    space = hw.LatentSpace(OneByOne(), layer="values", batch_size=1).fit(scenes(), progress=False)
    np.testing.assert_allclose(space.transform(images), space.embedding_, atol=1e-6)
    space.segmenter.batch_size = 5
    with pytest.warns(UserWarning, match="failed on a batch of 5 images .*one image, please.* one at a time"):
        np.testing.assert_allclose(space.transform(images), space.embedding_, atol=1e-6)


@pytest.mark.parametrize(("side", "expected"), [(16, [64, 64, 22]), (128, [16] * 9 + [6]), (300, [2] * 75)])
def test_the_size_of_batches_depends_on_the_images_alone(side, expected):
    # 2 ** 18 pixels at most, and 64 images: not on the time that a batch takes, which is another every time.
    def batches(call):
        model.seen = []
        call()
        return [len(batch) for batch in model.seen]

    model = Reads()
    space = hw.LatentSpace(model, layer="values")
    image = np.stack(
        [np.full((side, side), 2.0, np.float32), np.arange(side * side, dtype=np.float32).reshape(side, -1)]
    )
    dataset = [(image + number, image[1] > side) for number in range(150)]
    assert batches(lambda: space.fit(dataset, progress=False))[-len(expected) :] == expected
    images = np.stack([image for image, _ in dataset])
    assert batches(lambda: space.transform(images)) == expected


def test_a_model_that_writes_into_its_input_does_not_change_what_is_kept():
    class Writes(Reads):
        def forward(self, images):
            out = super().forward(images).clone()
            images.zero_()
            return out

    dataset = scenes()
    got, expected = collect(Writes(), dataset), collect(Reads(), dataset)
    check(got, scenes(), range(12))
    np.testing.assert_array_equal(got.thumbnails, expected.thumbnails)
    images = torch.from_numpy(np.stack([image for image, _ in dataset]))
    space = hw.LatentSpace(Writes(), layer="values").fit(dataset, progress=False)
    for _ in range(2):
        np.testing.assert_allclose(space.transform(images), space.embedding_, atol=1e-6)


def test_a_layer_that_gives_another_number_of_features():
    class Shrinks(Reads):
        def forward(self, images):
            numbers = [number_of(image) for image in images]
            self.values(images[:, :1] if 6 in numbers else images)
            return images[:, 0]

    with pytest.raises(CollectionError, match="item 6: the layer gave 2 features before and 1 now") as caught:
        collect(Shrinks(), scenes(), segmenter={"batch_size": 1})
    check(caught.value.collection, scenes(), range(6))


@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_a_layer_that_serves_no_image_is_said_at_once(on_error):
    class RunsTwice(Reads):
        def forward(self, images):
            self.values(images)
            return super().forward(images)

    model = RunsTwice()
    with pytest.raises(LayerError, match="layer 'values' ran 2 times"):
        collect(model, scenes(), on_error=on_error)
    assert len(model.seen) == 1


def test_a_layer_that_runs_for_some_images_only():
    class Sometimes(Reads):
        def forward(self, images):
            if 6 in [number_of(image) for image in images]:
                return images[:, 0]
            return super().forward(images)

    with pytest.raises(CollectionError, match="item 6: layer 'values' did not run when the model ran") as caught:
        collect(Sometimes(), scenes())
    check(caught.value.collection, scenes(), range(6))


def test_what_is_collected_before_an_error_makes_a_map():
    dataset = scenes(30)
    space = hw.LatentSpace(Fails(20), layer="values")
    with pytest.raises(CollectionError) as caught:
        space.fit(dataset, progress=False)
    space.fit_collected(caught.value.collection, dataset)
    whole = hw.LatentSpace(Reads(), layer="values").fit(dataset[:20], progress=False)
    np.testing.assert_allclose(space.embedding_, whole.embedding_, atol=1e-6)
    np.testing.assert_array_equal(space.iou_, whole.iou_)
