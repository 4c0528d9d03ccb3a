"""A latent space over large tiles, one of them damaged."""

import numpy as np
import pytest
import rasterio

import hdm_widgets as hw
from hdm_widgets.latent import CollectionError

SIDE, PATCH = 96, 32


def write(path, bands):
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = bands.shape
    profile = {"driver": "GTiff", "count": count, "height": height, "width": width, "dtype": "uint8"}
    # Compressed strips: damage to one is noticed when it is read, and not before.
    with rasterio.open(
        path,
        "w",
        **profile,
        compress="deflate",
        blockysize=PATCH,
        transform=rasterio.Affine(0.3, 0, 0, 0, -0.3, 0),
    ) as file:
        file.write(bands)


@pytest.fixture
def root(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("austin6", "austin7", "vienna6"):
        image = rng.integers(0, 255, (3, SIDE, SIDE), dtype=np.uint8)
        write(tmp_path / "train" / "images" / f"{name}.tif", image)
        write(tmp_path / "train" / "gt" / f"{name}.tif", (image[:1] > 200).astype(np.uint8) * 255)
    return tmp_path


def damage(path):
    """Spoil the second half of the data, header and directory left as they are."""
    content = bytearray(path.read_bytes())
    start = len(content) // 2
    content[start : start + 4000] = bytes(4000)
    path.write_bytes(content)


def test_patches_carry_where_they_are_from(root):
    tiles = hw.data.InriaTiles(root, patch=PATCH, stride=PATCH)
    space = hw.LatentSpace(hw.UNet(3, 1, width=4, depth=2)).fit(tiles, progress=False)
    assert len(space) == 27
    table = space.table()
    assert table["tile"].tolist() == ["austin6"] * 9 + ["austin7"] * 9 + ["vienna6"] * 9
    assert (table["row"][5], table["col"][5]) == (32, 64)
    np.testing.assert_array_equal(space.truth(5), tiles[5][1].numpy() != 0)


@pytest.mark.parametrize("ignore", [255, 7])
def test_marked_pixels_of_tiles_do_not_count(root, ignore):
    values = np.resize(np.array([0, 1, 1, 0, ignore], np.uint8), (SIDE, SIDE))
    for path in (root / "train" / "gt").iterdir():
        write(path, values[None])
    tiles = hw.data.InriaTiles(root, patch=PATCH, stride=PATCH, ignore=ignore)
    space = hw.LatentSpace(hw.UNet(3, 1, width=4, depth=2)).fit(tiles, ignore=ignore, progress=False)
    for item in (0, 13):
        row, col = tiles.columns["row"][item], tiles.columns["col"][item]
        patch = values[row : row + PATCH, col : col + PATCH]
        np.testing.assert_array_equal(space.truth(item), patch == 1)
        np.testing.assert_array_equal(space.ignored(item), patch == ignore)
        counted = space.prediction(item) & (patch != ignore)
        assert space.iou_[item] == (counted & (patch == 1)).sum() / (counted | (patch == 1)).sum()


def test_a_value_that_only_fit_is_told_of_is_asked_of_tiles_too(root):
    tiles = hw.data.InriaTiles(root, patch=PATCH, stride=PATCH)
    with pytest.warns(
        UserWarning, match=r"value of ignore=255; .*; Tiles keep that value if .*Tiles\(..., ignore=255\)"
    ):
        hw.LatentSpace(hw.UNet(3, 1, width=4, depth=2)).fit(tiles, ignore=255, progress=False)


def test_a_damaged_tile_is_named_and_what_came_before_is_kept(root):
    damage(root / "train" / "images" / "austin7.tif")
    tiles = hw.data.InriaTiles(root, patch=PATCH, stride=PATCH)
    with pytest.raises(CollectionError, match=r"item \d+ could not be read: ValueError: .*austin7") as caught:
        hw.LatentSpace(hw.UNet(3, 1, width=4, depth=2)).fit(tiles, progress=False)
    index = caught.value.index
    assert 9 <= index < 18
    assert caught.value.collection.items.tolist() == list(range(index))
    kept = hw.LatentSpace(hw.UNet(3, 1, width=4, depth=2)).fit_collected(caught.value.collection, tiles)
    assert len(kept) == index


def test_the_patches_of_a_damaged_tile_can_be_skipped(root):
    damage(root / "train" / "images" / "austin7.tif")
    tiles = hw.data.InriaTiles(root, patch=PATCH, stride=PATCH)
    with pytest.warns(UserWarning, match=r"\d of 27 items were skipped, the first because: item \d+"):
        space = hw.LatentSpace(hw.UNet(3, 1, width=4, depth=2)).fit(tiles, on_error="skip", progress=False)
    assert 0 < len(space.skipped_) <= 9
    assert set(space.skipped_) <= set(range(9, 18))
    assert len(space) == 27 - len(space.skipped_)
    assert all("austin7" in message for message in space.skipped_.values())
