"""Expected IoU of groups of new items, and maps of them."""

import json
from dataclasses import replace

import numpy as np
import pandas
import pytest
import rasterio
from layer_helpers import Reads
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2
from rasterio.warp import transform
from torch.utils.data import ConcatDataset, Subset

import hdm_widgets as hw
from hdm_widgets.latent import Estimates, Shift
from hdm_widgets.latent.mean_intervals import Clusters, Dependence

Z = 1.6448536  # of an interval of 90 %
IOU = [0.2, 0.8, 0.4, 0.9, 0.7, 0.6]
REGIONS = ["west", "east", "west", "east", "east", "north"]
BOUNDS = [[x, y, x + 0.5, y + 0.25] for x, y in ((8, 47), (9, 47), (10, 47), (8, 48), (9, 48), (10, 48))]


def estimates(*, shifted=False, columns=None, deviation=None, **others):
    """Six items, each with an expected error of 0.1; the estimator was fitted to 25."""
    iou = np.array(IOU)
    return Estimates(
        iou=iou,
        low=iou - 0.1,
        high=iou + 0.1,
        distance=np.zeros(6),
        reliable=np.array([True, True, False, True, False, False]),
        deviation=np.full(6, 0.1) if deviation is None else deviation,
        mean=0.6,
        mean_low=0.5,
        mean_high=0.7,
        shift=Shift(0.001 if shifted else 0.5, 0.1, shifted, {}, {}, 6, 25),
        coverage=0.9,
        fitted_items=25,
        skill="",
        columns={"item": np.arange(6), "region": np.array(REGIONS)} if columns is None else columns,
        **others,
    )


# -- groups -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shifted", [False, True])
def test_regions_by_hand(shifted):
    table = estimates(shifted=shifted).by("region")
    assert table.index.tolist() == ["west", "north", "east"]
    assert table.index.name == "region"
    assert table.columns.tolist() == ["items", "mean", "mean_low", "mean_high", "reliable"]
    assert table["items"].tolist() == [2, 1, 3]
    np.testing.assert_allclose(table["mean"], [0.3, 0.6, 0.8])
    np.testing.assert_allclose(table["reliable"], [0.5, 0, 2 / 3])
    # 0.1 / sqrt(items) of the items, and 0.1 / sqrt(25) of the estimator; all of 0.1 where errors have one sign.
    half = Z * np.hypot(0.1 / np.sqrt([2, 1, 3]), 0.1 if shifted else 0.1 / 5)
    np.testing.assert_allclose(table["mean_low"], np.array([0.3, 0.6, 0.8]) - half)
    np.testing.assert_allclose(table["mean_high"], np.minimum(1, np.array([0.3, 0.6, 0.8]) + half))


def test_the_coverage_widens_the_intervals():
    half = estimates().by("region", coverage=0.5)
    np.testing.assert_allclose(half["mean_high"] - half["mean"], 0.6744898 * np.hypot(0.1 / np.sqrt([2, 1, 3]), 0.02))


def test_one_group_of_all_is_the_whole(space, groups):
    found = space.estimate(groups, progress=False)
    (row,) = found.by(np.zeros(60, int)).itertuples(index=False)
    assert row == (60, found.mean, found.mean_low, found.mean_high, found.reliable.mean())
    assert found.by("group")["items"].to_dict() == {"group 0": 30, "group 1": 18, "group 2": 12}


def test_regions_whose_items_have_something_in_common():
    _, labels = np.unique(REGIONS, return_inverse=True)
    found = estimates(clusters=(Clusters(labels, Dependence(0.5, 4)),))
    counts = np.array([2, 1, 3])
    half = Z * np.hypot(0.1 * np.sqrt((0.5 * counts + 0.5 * counts**2) / counts**2), 0.1 / 2)
    table = found.by("region")
    np.testing.assert_allclose(table["mean"] - table["mean_low"], half)
    # Groups that cut through the regions have as much in common as there are items of one region in them.
    (first, second) = found.by([0, 0, 1, 1, 1, 1]).itertuples()
    assert first.mean - first.mean_low == pytest.approx(Z * np.hypot(0.1 / np.sqrt(2), 0.1 / 2))
    shared = 0.5 * 4 + 0.5 * (1 + 4 + 1)
    assert second.mean - second.mean_low == pytest.approx(Z * np.hypot(0.1 * np.sqrt(shared) / 4, 0.1 / 2))


def test_errors_of_the_maps_regions_widen_intervals(make_groups):
    data = make_groups(240, seed=2)

    class Regions:
        """Half of the regions have truths that are larger than what is seen."""

        def __init__(self, half):
            self.images, self.masks = data.images[half::2], data.masks[half::2]
            self.columns = {"region": np.arange(120) % 12, "item_name": [str(i) for i in range(120)]}

        def __len__(self):
            return 120

        def __getitem__(self, index):
            image, mask = self.images[index], self.masks[index]
            return image, (mask | (image[0] > 0.2)) if index % 2 else mask

    space = hw.LatentSpace(Reads()).fit(Regions(0), progress=False)
    dependence = space._fitted.map.dependences
    assert list(dependence) == ["region"]
    assert dependence["region"].correlation > 0.3
    assert dependence["region"].count < 60
    found = space.estimate(Regions(1), progress=False)
    assert not found.shift.shifted
    alone = replace(found, clusters=())
    widths = [table["mean_high"] - table["mean_low"] for table in (found.by("region"), alone.by("region"))]
    assert (widths[0] > 1.3 * widths[1]).all()
    assert found.by(np.zeros(120, int))["mean_low"].item() == found.mean_low


@pytest.mark.parametrize(
    ("column", "name", "items"),
    [
        (REGIONS, None, {"west": 2, "north": 1, "east": 3}),
        (np.array([1, 2, 1, 2, 2, 0]), None, {1: 2, 0: 1, 2: 3}),
        (pandas.Series(REGIONS, name="place"), "place", {"west": 2, "north": 1, "east": 3}),
        (pandas.Series(pandas.Categorical(REGIONS), name=3), "3", {"west": 2, "north": 1, "east": 3}),
        (pandas.cut(pandas.Series(IOU, name="iou"), [0, 0.5, 1]), "iou", {"(0.0, 0.5]": 2, "(0.5, 1.0]": 4}),
        (["west", None, "west", "east", "east", "east"], None, {"west": 2, "east": 3, "": 1}),
        ("reliable", "reliable", {False: 3, True: 3}),
    ],
    ids=["list", "array", "Series", "Categorical", "cut", "missing", "a column of its own"],
)
def test_what_makes_groups(column, name, items):
    table = estimates().by(column)
    assert table["items"].to_dict() == items
    assert list(table.index) == list(items)  # the lowest mean first
    assert table.index.name == name


def test_numbers_that_are_missing_are_a_group():
    table = estimates().by([0.5, np.nan, 0.5, np.nan, np.nan, 1.5])
    assert table["items"].tolist() == [2, 1, 3]
    np.testing.assert_array_equal(table.index, [0.5, 1.5, np.nan])


def test_an_error_without_a_bound_tells_nothing_of_its_group():
    table = estimates(deviation=np.array([0.1, np.inf, 0.1, 0.1, 0.1, 0.1])).by("region")
    assert table.loc["east", ["mean_low", "mean_high"]].tolist() == [0, 1]
    assert table.loc["west", "mean_low"] > 0


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ("place", "there is no column 'place'; the columns are: iou, low, high, .*region"),
        (REGIONS[:5], "by takes one value for every item: got 5 for 6 items"),
        (np.zeros((6, 2)), r"must have one entry per item, got shape \(6, 2\)"),
    ],
)
def test_what_makes_no_groups(column, message):
    with pytest.raises(ValueError, match=message):
        estimates().by(column)


def test_many_different_numbers_are_no_groups(space, groups):
    found = space.estimate(groups, progress=False)
    with pytest.raises(ValueError, match=r"column 'pc1' has 60 different numbers.*pandas.cut\(numbers, 5\)"):
        found.by("pc1")
    with pytest.raises(ValueError, match="the values have 60 different numbers"):
        found.by(np.linspace(0, 1, 60))
    assert len(found.by(pandas.cut(found.frame()["pc1"], 3))) == 3
    assert len(found.by(np.arange(60.0))) == 60  # whole numbers may be names


@pytest.mark.parametrize("coverage", [0, 1, "high", True])
def test_bad_coverage(coverage):
    with pytest.raises(ValueError, match="coverage must be above 0 and below 1, got"):
        estimates().by("region", coverage=coverage)


# -- maps ---------------------------------------------------------------------------------------------


def written(found, path, **options):
    found.to_geojson(path, **options)
    return json.loads(path.read_text(encoding="utf-8"))


def rings(content):
    return [feature["geometry"]["coordinates"][0] for feature in content["features"]]


def test_bounds_by_hand(tmp_path):
    columns = {"item": np.arange(6), "region": np.array(REGIONS), "sun": np.array([1.5, np.nan, 2, 3, 4, 5])}
    content = written(estimates(columns=columns), tmp_path / "map.geojson", bounds=BOUNDS)
    assert list(content) == ["type", "features"]  # degrees need no name
    assert content["type"] == "FeatureCollection"
    assert len(content["features"]) == 6
    assert content["features"][1] == {
        "type": "Feature",
        "properties": {
            "iou": 0.8, "low": 0.8 - 0.1, "high": 0.8 + 0.1, "reliable": True, "item": 1, "region": "east", "sun": None,
        },
        "geometry": {
            "type": "Polygon",
            "coordinates": [[[9.0, 47.0], [9.5, 47.0], [9.5, 47.25], [9.0, 47.25], [9.0, 47.0]]],
        },
    }  # fmt: skip


def test_bounds_in_another_system(tmp_path):
    bounds = np.array(BOUNDS) * 1e4
    bounds[2, 3] = np.nan
    content = written(estimates(), tmp_path / "map.geojson", bounds=bounds, crs="EPSG:25832")
    assert content["crs"] == {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::25832"}}
    assert [feature["geometry"] is None for feature in content["features"]] == [False, False, True, False, False, False]
    assert content["features"][0]["geometry"]["coordinates"][0][2] == [85000, 472500]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r"no item has a georeference.*Tiles.*give bounds="),
        ({"bounds": np.full((6, 4), np.nan)}, "no item has a georeference"),
        ({"bounds": BOUNDS[:5]}, r"bounds must be \(6, 4\).*got shape \(5, 4\)"),
        ({"bounds": [["a"] * 4] * 6}, "bounds must be numbers"),
        ({"bounds": [*BOUNDS[:5], [8, 48, 7, 49]]}, r"left below right.*\[8.0, 48.0, 7.0, 49.0\] for item 5"),
        ({"bounds": [*BOUNDS[:5], [8, 48, 9, 48]]}, "bottom below top"),
        ({"bounds": np.array(BOUNDS) * 10}, "beyond the degrees .* crs='EPSG:32614'"),
        ({"bounds": BOUNDS, "crs": "utm"}, "crs must be an authority and a code, such as 'EPSG:32614', got 'utm'"),
        ({"bounds": BOUNDS, "crs": 32614}, "got 32614"),
        ({"crs": "EPSG:32614"}, "bounds are missing"),
    ],
)
def test_bad_bounds(options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        estimates().to_geojson(tmp_path / "map.geojson", **options)
    assert list(tmp_path.iterdir()) == []


class Placed:
    """Images whose data set knows where they are."""

    def __init__(self, images, corners, crs):
        self.images, self.corners, self.crs = images, corners, crs

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.images[index], self.images[index, 1] > 0.5


def squares(count, step=1.0):
    """Unit squares side by side, clockwise from the bottom left."""
    left = step * np.arange(count)[:, None, None]
    return left * [1, 0] + np.array([[0, 0], [0, 1], [1, 1], [1, 0]])


def test_data_sets_within_others_know_too(space, groups, tmp_path):
    one = Placed(groups.images[:8], squares(8), "EPSG:25832")
    other = Placed(groups.images[8:12], squares(4, 100), ["EPSG:25832"] * 4)
    data = Subset(ConcatDataset([one, groups, other]), [70, 3, 10])
    content = written(space.estimate(data, progress=False), tmp_path / "map.geojson")
    assert [feature["properties"]["item"] for feature in content["features"]] == [0, 1, 2]
    assert content["features"][2]["geometry"] is None
    # Counterclockwise, whatever the data set has.
    assert [feature["geometry"]["coordinates"][0] for feature in content["features"][:2]] == [
        [[201.0, 0.0], [201.0, 1.0], [200.0, 1.0], [200.0, 0.0], [201.0, 0.0]],
        [[4.0, 0.0], [4.0, 1.0], [3.0, 1.0], [3.0, 0.0], [4.0, 0.0]],
    ]


@pytest.mark.parametrize(
    "others",
    [{"corners": np.zeros((3, 4, 2))}, {"corners": "none"}, {"crs": ["EPSG:25832"]}],
    ids=["another length", "a text", "crs of another length"],
)
def test_attributes_of_another_form_are_something_else(others, space, groups, tmp_path):
    data = Placed(groups.images, **({"corners": squares(60), "crs": "EPSG:25832"} | others))
    with pytest.raises(ValueError, match="no item has a georeference"):
        space.estimate(data, progress=False).to_geojson(tmp_path / "map.geojson")


def test_a_property_that_fails_is_something_else(space, groups, tmp_path):
    class Fails(Placed):
        corners = property(lambda self: 1 / 0, lambda self, value: None)

    found = space.estimate(Fails(groups.images, None, ""), progress=False)
    assert found.footprints is None
    assert len(written(found, tmp_path / "map.geojson", bounds=BOUNDS * 10)["features"]) == 60


# -- GeoTIFFs -----------------------------------------------------------------------------------------

SIDE = 16
SHORT, DOUBLE = 3, 12
MODEL_PIXEL_SCALE, MODEL_TIEPOINT, GEO_KEY_DIRECTORY = 33550, 33922, 34735


def geotiff(path, values, corner=None, epsg=None, *, raster_type=1):
    """A GeoTIFF by Pillow, half a meter to a pixel, with its top left corner there, and nothing if that is None."""
    tags = ImageFileDirectory_v2()
    if corner is not None:
        tags.tagtype |= {MODEL_PIXEL_SCALE: DOUBLE, MODEL_TIEPOINT: DOUBLE, GEO_KEY_DIRECTORY: SHORT}
        tags[MODEL_PIXEL_SCALE] = (0.5, 0.5, 0.0)
        tags[MODEL_TIEPOINT] = (0.0, 0.0, 0.0, *corner, 0.0)
        # Version 1.1.0; model type (projected), raster type (1 area, 2 point), projected system.
        keys = [(1024, 0, 1, 1), (1025, 0, 1, raster_type), *([] if epsg is None else [(3072, 0, 1, epsg)])]
        tags[GEO_KEY_DIRECTORY] = (1, 1, 0, len(keys), *(number for key in keys for number in key))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path, tiffinfo=tags)


def tile(train, name, *place, **options):
    values = np.random.default_rng(len(name)).integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8)
    geotiff(train / "images" / f"{name}.tif", values, *place, **options)
    geotiff(train / "gt" / f"{name}.tif", (values[..., 1] > 127).astype(np.uint8) * 255)


AUSTIN = [(616500, 3345000), (616508, 3345000), (616500, 3344992), (616508, 3344992)]


@pytest.fixture
def four(tmp_path):
    """Four tiles of 8 x 8 m, two by two."""
    for number, corner in enumerate(AUSTIN, start=1):
        tile(tmp_path / "train", f"austin{number}", corner, 32614)
    return tmp_path


@pytest.fixture(scope="module")
def tile_space(make_groups):
    """A space of images with three channels, for estimates of tiles."""

    class Three:
        def __len__(self):
            return 40

        def __getitem__(self, index):
            image = images[index, :3]
            return image, image[1] > 0.5

    images = np.repeat(np.repeat(make_groups(40).images, 2, 2), 2, 3)
    return hw.LatentSpace(hw.UNet(3, 1, width=4, depth=1)).fit(Three(), progress=False)


def test_tiles_by_hand(four, tile_space, tmp_path):
    tiles = hw.data.InriaTiles(four, SIDE, SIDE)
    content = written(tile_space.estimate(tiles, progress=False), tmp_path / "map.geojson")
    assert content["crs"]["properties"] == {"name": "urn:ogc:def:crs:EPSG::32614"}
    assert rings(content) == [
        [[x, y], [x, y - 8], [x + 8, y - 8], [x + 8, y], [x, y]] for x, y in np.array(AUSTIN, float)
    ]
    assert [feature["properties"]["tile"] for feature in content["features"]] == [f"austin{i}" for i in (1, 2, 3, 4)]


def test_patches_have_their_place_in_the_tile(four):
    tiles = hw.data.InriaTiles(four, 4, 8)
    assert tiles.corners.shape == (16, 4, 2)
    assert (tiles.columns["tile"][6], tiles.columns["row"][6], tiles.columns["col"][6]) == ("austin2", 8, 0)
    x, y = 616508, 3345000 - 4
    np.testing.assert_array_equal(tiles.corners[6], [[x, y], [x, y - 2], [x + 2, y - 2], [x + 2, y]])
    assert tiles.crs == ["EPSG:32614"] * 16


def test_a_point_is_the_center_of_its_pixel(tmp_path):
    tile(tmp_path / "train", "austin1", AUSTIN[0], 32614, raster_type=2)
    corners = hw.data.InriaTiles(tmp_path, SIDE).corners
    np.testing.assert_array_equal(corners[0, 0], [616500 - 0.25, 3345000 + 0.25])


def test_a_rotated_tile(tmp_path):
    tile(tmp_path / "train", "austin1")
    # A world file: x by column, y by column, x by row, y by row, center of the first pixel.
    (tmp_path / "train" / "images" / "austin1.tfw").write_text("0\n1\n1\n0\n100.5\n200.5\n")
    tiles = hw.data.InriaTiles(tmp_path, SIDE)
    np.testing.assert_array_equal(tiles.corners, [[[100, 200], [116, 200], [116, 216], [100, 216]]])
    assert tiles.crs == [""]


def test_tiles_of_several_zones_are_in_degrees(four, tile_space, tmp_path):
    tile(four / "train", "chicago1", (445000, 4635000), 32616)
    tile(four / "train", "vienna1")
    tiles = hw.data.InriaTiles(four, SIDE, SIDE)
    assert tiles.crs == ["EPSG:32614"] * 4 + ["EPSG:32616", ""]
    content = written(tile_space.estimate(tiles, progress=False), tmp_path / "map.geojson")
    assert list(content) == ["type", "features"]
    assert content["features"][5]["geometry"] is None
    for item, (epsg, x, y) in {0: (32614, 616500, 3345000), 4: (32616, 445000, 4635000)}.items():
        expected = transform(f"EPSG:{epsg}", "OGC:CRS84", [x], [y])
        np.testing.assert_allclose(
            content["features"][item]["geometry"]["coordinates"][0][0], np.ravel(expected), atol=1e-9
        )
    # Austin is at 98 degrees west and 30 north.
    assert np.round(content["features"][0]["geometry"]["coordinates"][0][0]).tolist() == [-98, 30]


@pytest.mark.parametrize(
    ("place", "crs"),
    [((), None), (((616500, 3345000),), ""), (((616500, 3345000), 32767), "")],
    ids=["nothing", "no system", "a system without a code"],
)
def test_tiles_that_do_not_say_all(place, crs, tile_space, tmp_path):
    tile(tmp_path / "train", "austin1", *place)
    tile(tmp_path / "train", "austin2", *place)
    tiles = hw.data.InriaTiles(tmp_path, SIDE, 8)
    found = tile_space.estimate(tiles, progress=False)
    assert len(found) == 2
    if crs is None:
        with pytest.raises(ValueError, match="no item has a georeference"):
            found.to_geojson(tmp_path / "map.geojson")
    else:
        content = written(found, tmp_path / "map.geojson")
        assert content["crs"] is None
        assert rings(content)[0][2] == [616508, 3344992]


def tile_in(train, crs):
    """A tile by rasterio, half a meter to a pixel, with its top left corner at (0, 8) of a system; its path."""
    tile(train, "austin1")
    path = train / "images" / "austin1.tif"
    values = np.zeros((3, SIDE, SIDE), np.uint8)
    profile = {"driver": "GTiff", "count": 3, "height": SIDE, "width": SIDE, "dtype": "uint8"}
    with rasterio.open(path, "w", **profile, crs=crs, transform=rasterio.Affine(0.5, 0, 0, 0, -0.5, 8)) as file:
        file.write(values)
    return path


def test_a_system_without_a_code_is_converted(tile_space, tmp_path):
    tile_in(tmp_path / "train", "+proj=laea +lat_0=30 +lon_0=-98 +datum=WGS84 +units=m")
    patches = Subset(hw.data.InriaTiles(tmp_path, SIDE), [0] * 2)
    content = written(tile_space.estimate(patches, progress=False), tmp_path / "map.geojson")
    assert list(content) == ["type", "features"]
    # 8 m of a meridian are 8 / 110852 of a degree there.
    np.testing.assert_allclose(rings(content)[0][:2], [[-98, 30 + 8 / 110852], [-98, 30]], atol=1e-8)


def test_a_local_system_is_none(tmp_path):
    path = tile_in(tmp_path / "train", rasterio.CRS.from_wkt('LOCAL_CS["the garden",UNIT["metre",1]]'))
    # GDAL cannot read the second one's name, which is no UTF-8.
    for content in (path.read_bytes(), path.read_bytes().replace(b"the garden", "the gärden".encode("latin-1"))):
        path.write_bytes(content)
        tiles = hw.data.InriaTiles(tmp_path, SIDE)
        assert tiles.crs == [""]
        assert tiles.corners[0, 0].tolist() == [0, 8]
