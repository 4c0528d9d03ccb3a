import dataclasses
import io
import json
import math
import pickle

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib import pyplot
from PIL import Image

import hdm_widgets as hw
from hdm_widgets import hdm
from hdm_widgets._picture import to_rgb
from hdm_widgets.hdm.plotting import canny
from hdm_widgets.metrics import hausdorff_distance, hausdorff_pair, iou


def first(images):
    return images[:, 0]


def two_classes(images):
    return torch.stack([1 - images[:, 0], images[:, 0]], 1)


def scan(height=18, width=26, channels=1, cls=hdm.HausdorffDistanceMasks, model=first, **options):
    image = np.full((channels, height, width), 0.2, np.float32)
    image[:, 3:12, 5:19] = 0.9
    image[:, 13:15, 10:12] = 0.8  # what the model adds to the truth
    segment = np.zeros((height, width), bool)
    segment[3:12, 5:19] = True
    explainer = cls(width, height)
    explainer.generate_masks(9, 3)
    return explainer.explain(model, image, segment, progress=False, **options)


@pytest.fixture(scope="module")
def result():
    return scan()


def test_every_mask_and_figure_of_every_cell(result):
    assert (result.width, result.height, result.circle_size, result.offset) == (26, 18, 9, 3)
    assert result.baseline == hausdorff_distance(result.baseline_mask, result.segment) > 0
    for row in range(result.grid.rows):
        for col in range(result.grid.cols):
            occluded = result.occluded(row, col)
            assert occluded.shape == (1, 18, 26)
            assert occluded.dtype == np.float32
            mask = occluded[0] > 0.5
            np.testing.assert_array_equal(result.output(row, col), mask)
            assert result.values[row, col] == pytest.approx(hausdorff_distance(mask, result.segment))
            assert result.pair(row, col) == hausdorff_pair(mask, result.segment)
            assert result.pair(row, col).distance == pytest.approx(result.values[row, col])
            assert result.iou(row, col) == iou(mask, result.segment)
    assert result.output(0, 0).dtype == bool


def test_masks_take_one_bit_for_every_pixel_of_the_box_they_differ_in(result):
    expected = 0
    for row, col in np.ndindex(result.grid.shape):
        rows, cols = np.nonzero(result.output(row, col) != result.baseline_mask)
        if len(rows):
            expected += math.ceil((np.ptp(rows) + 1) * (np.ptp(cols) + 1) / 8)
    assert 0 < result._masks.bytes == expected


def test_arrays_are_copies_where_they_could_be_changed(result):
    before = result.values.copy()
    result.distances(hdm.RAW)[:] = -1
    result.output(0, 0)[:] = True
    result.occluded(0, 0)[:] = -1
    np.testing.assert_array_equal(result.values, before)
    assert not result.output(0, 0).all()


@pytest.mark.parametrize("target", [1, "all"])
def test_a_result_can_be_pickled(target):
    given = scan(model=two_classes, target=target)
    found = pickle.loads(pickle.dumps(given))
    np.testing.assert_array_equal(found.values, given.values)
    np.testing.assert_array_equal(found.output(1, 1), given.output(1, 1))
    np.testing.assert_array_equal(found.occluded(1, 1), given.occluded(1, 1))
    assert (found.classes, str(found.reading), found.plan) == (given.classes, str(given.reading), given.plan)
    for number in given.classes:
        np.testing.assert_array_equal(found.for_class(number).values, given.for_class(number).values)


@pytest.mark.parametrize("cell", [(6, 0), (0, 8), (-1, 0)])
@pytest.mark.parametrize("method", ["output", "occluded", "pair", "iou"])
def test_no_such_cell(result, method, cell):
    with pytest.raises(IndexError, match=r"is outside the grid of 6 x 8 cells"):
        getattr(result, method)(*cell)


def test_mass_is_the_share_on_a_region(result):
    painted = np.nan_to_num(result.painted_values(hdm.WORSE_ONLY))
    region = np.zeros((18, 26), int)
    region[2:9, 4:11] = 3
    expected = sum(painted[r, c] for r in range(2, 9) for c in range(4, 11)) / painted.sum()
    assert 0 < expected < 1
    assert result.relevance_mass_accuracy(region, hdm.WORSE_ONLY) == pytest.approx(expected)
    assert result.relevance_mass_accuracy(np.ones((18, 26))) == pytest.approx(1)
    assert result.relevance_mass_accuracy(np.zeros((18, 26))) == 0
    # Without the upper half, of which nothing is in the region then.
    upper = np.arange(18)[:, None] < np.full((18, 26), 9)
    masked = np.ma.masked_array(region, upper)
    below = sum(painted[r, c] for r in range(9, 18) for c in range(26))
    assert result.relevance_mass_accuracy(masked, hdm.WORSE_ONLY) == 0 < below
    assert result.relevance_mass_accuracy(np.ma.masked_array(region, ~upper), hdm.WORSE_ONLY) == pytest.approx(
        expected * painted.sum() / painted[:9].sum()
    )
    with pytest.raises(ValueError, match=r"the region has floats other than 0 and 1, such as 3; .*write region != 0$"):
        result.relevance_mass_accuracy(region * 1.0)
    with pytest.raises(ValueError, match=r"region of the image's size \(18, 26\), got \(26, 18\)"):
        result.relevance_mass_accuracy(region.T)


def test_mass_of_a_signed_measure_is_of_absolute_values(result):
    signed = result.measure("area")
    painted = np.nan_to_num(signed.painted_values())
    assert painted.min() < 0
    region = painted < 0
    expected = -painted[region].sum() / np.abs(painted).sum()
    assert 0 < expected <= 1
    assert signed.relevance_mass_accuracy(region) == pytest.approx(expected)
    assert signed.relevance_mass_accuracy(~region) == pytest.approx(1 - expected)


def test_mass_of_a_map_of_zeros_is_zero():
    class Same(hdm.HausdorffDistanceMasks):
        def calculate_distance(self, output, segment):
            return 0.0

    assert scan(cls=Same).relevance_mass_accuracy(np.ones((18, 26))) == 0


# -- stored and read again ----------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"fill": 0.1, "channel": 1}, {"fill": "blur"}, {"keep_outputs": False}])
def test_a_stored_result_is_the_same(tmp_path, options):
    result = scan(channels=2, target=0, empty="nan", **options)
    path = tmp_path / "a result"
    result.save(path)
    assert [file.name for file in tmp_path.iterdir()] == ["a result"]
    loaded = hdm.HDMResult.load(str(path))
    for name in ("values", "measured", "image", "segment", "baseline_mask"):
        stored = getattr(loaded, name)
        np.testing.assert_array_equal(stored, getattr(result, name))
        assert stored.dtype == getattr(result, name).dtype
    assert (loaded.baseline, loaded.grid, loaded.settings) == (result.baseline, result.grid, result.settings)
    np.testing.assert_array_equal(loaded.occluded(2, 3), result.occluded(2, 3))
    if options.get("keep_outputs", True):
        np.testing.assert_array_equal(loaded.output(2, 3), result.output(2, 3))
    else:
        with pytest.raises(ValueError, match="masks were not kept"):
            loaded.output(2, 3)
    assert loaded.circle_map() == result.circle_map()
    assert repr(loaded) == repr(result)


@pytest.mark.parametrize("baseline", [math.inf, math.nan])
def test_a_baseline_that_is_no_number_is_stored_too(tmp_path, baseline):
    explainer = hdm.HausdorffDistanceMasks(8, 8)
    explainer.generate_masks(4, 4)
    image = np.zeros((8, 8), np.float32)
    segment = np.eye(8)
    result = explainer.explain(first, image, segment, empty=str(baseline), progress=False)
    result.save(tmp_path / "r.npz")
    np.testing.assert_equal(hdm.HDMResult.load(tmp_path / "r.npz").baseline, baseline)


def test_an_unfinished_result_stays_unfinished(tmp_path):
    explainer = hdm.HausdorffDistanceMasks(8, 8)
    explainer.generate_masks(2, 2)
    # No two discs leave the same image.
    image = np.linspace(0.1, 1, 64, dtype=np.float32).reshape(8, 8)
    for update in explainer.stream(first, image, np.eye(8), batch_size=5):
        if update.done:
            break
    update.result.save(tmp_path / "r.npz")
    loaded = hdm.HDMResult.load(tmp_path / "r.npz")
    assert loaded.measured.sum() == 5
    assert not loaded.complete
    with pytest.raises(ValueError, match=r"cell \(3, 3\) was not measured"):
        loaded.output(3, 3)


def test_nothing_is_pickled(result, tmp_path):
    result.save(tmp_path / "r.npz")
    with np.load(tmp_path / "r.npz", allow_pickle=False) as stored:
        arrays = dict(stored)
    assert set(arrays) == {"about", "values", "measured", "image", "segment", "baseline_mask"} | {
        "mask_base",
        "mask_cells",
        "mask_boxes",
        "mask_bits",
    }
    assert all(array.dtype != object for array in arrays.values())


def test_an_own_occlusion_cannot_be_stored(tmp_path):
    class Own(hdm.HausdorffDistanceMasks):
        def apply_mask(self, image, mask):
            return image * mask

    result = scan(cls=Own)
    result.save(tmp_path / "r.npz")
    loaded = hdm.HDMResult.load(tmp_path / "r.npz")
    np.testing.assert_array_equal(loaded.output(1, 1), result.output(1, 1))
    with pytest.raises(ValueError, match="an apply_mask of its own, which a stored result does not have"):
        loaded.occluded(1, 1)


def damaged(data, kind):
    if kind == "cut off":
        return data[: len(data) // 2]
    if kind == "no bytes":
        return b""
    if kind == "other bytes":
        return b"something else" * 20
    if kind == "overwritten":
        # The compressed bytes of the largest array begin after its local header.
        at = data.index(b"values.npy") + 60
        return data[:at] + b"\xff" * 40 + data[at + 40 :]
    buffer = io.BytesIO()
    if kind == "array":
        np.save(buffer, np.zeros(3))
    elif kind == "pickle":
        np.savez(buffer, about=np.array([{}], dtype=object))
    elif kind == "other npz":
        np.savez(buffer, x=np.zeros(3))
    else:
        with np.load(io.BytesIO(data)) as stored:
            arrays = dict(stored)
        arrays["about"] = np.array(str(arrays["about"]).replace("result 2", "result 9"))
        np.savez(buffer, **arrays)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "kind",
    ["cut off", "no bytes", "other bytes", "overwritten", "array", "pickle", "other npz", "newer version"],
)
def test_files_that_are_no_result(result, tmp_path, kind):
    path = tmp_path / "r.npz"
    result.save(path)
    path.write_bytes(damaged(path.read_bytes(), kind))
    with pytest.raises(ValueError, match=r"r\.npz' is not a .*hdm-widgets result 2"):
        hdm.HDMResult.load(path)


@pytest.mark.parametrize("content", [b"<!DOCTYPE html>", b"some notes", b""])
def test_what_is_no_file_of_a_scan_is_called_so(tmp_path, content):
    path = tmp_path / "page.html"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"page\.html' is not a file of the kind .*: it is no npz file"):
        hdm.HDMResult.load(path)
    with pytest.raises(ValueError, match="is a folder, not a file of the kind"):
        hdm.HDMResult.load(tmp_path)


def test_a_folder_that_is_not_there_is_named(result, tmp_path):
    for write in (result.save, result.to_html):
        with pytest.raises(FileNotFoundError, match=r"there is no folder '.*none' to write 'x' into"):
            write(tmp_path / "none" / "x")


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        hdm.HDMResult.load(tmp_path / "none.npz")


# -- to look at ---------------------------------------------------------------------------------------


def test_circle_map_colours_the_extremes(result):
    image = np.array(result.circle_map(hdm.RAW, "Reds"))
    painted = result.painted_values()
    low, high = result.values.min(), result.values.max()
    assert np.nanmax(painted) == high  # the largest lies on top
    for value in (np.nanmin(painted), high):
        color = matplotlib.colormaps["Reds"]((value - low) / (high - low), bytes=True)[:3]
        np.testing.assert_array_equal(np.unique(image[painted == value], axis=0), [color])
    assert not image[np.isnan(painted)].any()


def test_overlay_draws_the_edges_over_the_circle_map(result):
    overlay = np.array(result.overlay(hdm.RAW, result.image))
    edges = canny(result.image[0].astype(float))
    assert edges.any()
    assert not overlay[edges].any()
    circles = result.circle_map(hdm.RAW, "Blues")
    light = np.array(Image.blend(circles, Image.new("RGB", circles.size, "white"), 0.4))
    uncovered = np.isnan(result.painted_values())
    assert uncovered.any()
    np.testing.assert_array_equal(overlay[~edges & ~uncovered], light[~edges & ~uncovered])
    assert (overlay[~edges & uncovered] == 255).all()
    np.testing.assert_array_equal(overlay, result.overlay())  # the explained image by default
    with pytest.raises(ValueError, match=r"expected an image \(C, 18, 26\), got shape \(3, 5\)"):
        result.overlay(hdm.RAW, np.zeros((3, 5)))


def test_overlay_with_the_image_itself(result):
    overlay = np.array(result.overlay(hdm.WORSE_ONLY, edges=False, color_map="magma")).astype(int)
    circles = np.array(result.circle_map(hdm.WORSE_ONLY, "magma")).astype(int)
    image = np.repeat(np.round(result.image[0] * 255)[..., None], 3, axis=2)
    np.testing.assert_allclose(overlay, (circles + image) / 2, atol=1)


def test_overlay_shows_the_bands_that_are_asked_for():
    """Six bands of 16 bit: each has an edge of its own, and is far from [0, 1]."""
    bands = np.full((6, 18, 26), 1000.0)
    for band in range(6):
        bands[band, :, 4 * band + 2 :] = 3000
    result = scan()
    for display in (4, (3, 2, 1), hw.Display((5, 0, 0), stretch=(0, 100))):
        rgb = to_rgb(bands, display)
        circles = np.array(result.circle_map(color_map="Blues")).astype(int)
        image = np.array(result.overlay(hdm.RAW, bands, edges=False, display=display)).astype(int)
        np.testing.assert_allclose(image, (circles + rgb) / 2, atol=1)
        edges = canny(rgb.mean(axis=2))
        overlay = np.array(result.overlay(hdm.RAW, bands, display=display))
        np.testing.assert_array_equal((overlay == 0).all(axis=2), edges)
    with pytest.raises(ValueError, match="display must have channels 0 to 0 for this image, got 2"):
        result.overlay(display=2)


def check_drawn(ax, result, kind, colors):
    """The circle map, grey where no disc is: painted again from the discs that were drawn."""
    (discs,) = (each for each in ax.collections if each.get_gid() == "discs")
    drawn = np.full((result.height, result.width, 3), 222, np.uint8)
    side = result.circle_size + 1
    for (x, y), color in zip(discs.get_offsets(), discs.get_facecolor(), strict=True):
        assert (x % 1, y % 1) == (result.circle_size / 2 % 1,) * 2
        row, col = (round(at - result.circle_size / 2) // result.offset for at in (y, x))
        drawn[result.grid.mask(row, col)] = np.round(color[:3] * 255)
    np.testing.assert_array_equal(discs.get_widths(), side)
    np.testing.assert_array_equal(discs.get_heights(), side)
    (ground,) = (each for each in ax.patches if each.get_width() == result.width)
    assert (ground.get_xy(), ground.get_height()) == ((-0.5, -0.5), result.height)
    assert np.round(np.multiply(ground.get_facecolor(), 255)).tolist() == [222, 222, 222, 255]
    uncovered = np.isnan(result.painted_values(kind))
    np.testing.assert_array_equal(drawn[~uncovered], np.array(result.circle_map(kind, colors))[~uncovered])
    assert (drawn[uncovered] == 222).all()


def test_a_constant_map_has_no_colour_bar(result):
    same = dataclasses.replace(result, values=np.full_like(result.values, 3.0), baseline=3.0)
    axes = same.plot()
    try:
        assert [ax.get_title() for ax in axes] == [
            "Distance to the truth: 3.0 everywhere",
            "Nearer to the truth by: 0.0 everywhere",
            "Farther from the truth by: 0.0 everywhere",
        ]
        assert [ax.child_axes for ax in axes] == [[], [], []]
    finally:
        pyplot.close("all")


def test_plot_takes_the_kind_of_map_by_name_only(result):
    with pytest.raises(TypeError, match="use result_type=worse"):
        result.plot(hdm.WORSE_ONLY)


def test_plot_draws_three_maps_with_colour_bars(result):
    axes = result.plot()
    try:
        assert [ax.get_title() for ax in axes] == [
            "Distance to the truth", "Nearer to the truth by", "Farther from the truth by",
        ]  # fmt: skip
        figure = axes[0].figure
        assert len(figure.axes) == 3
        for ax, kind, colors in zip(axes, hdm.ResultType, ("Blues", "Greens", "Reds"), strict=True):
            check_drawn(ax, result, kind, colors)
            values = result.distances(kind)
            low, high = values.min(), values.max()
            bars = ax.child_axes
            assert [bar.get_ylabel() for bar in bars] == ["Hausdorff distance (px)"] * int(high > low)
            assert all(bar.get_ylim() == pytest.approx((low, high)) for bar in bars)
    finally:
        pyplot.close("all")


def test_plot_on_given_axes(result):
    ax = pyplot.figure().subplots()
    try:
        assert result.plot(ax, result_type="worse", color_map="magma") is ax
        check_drawn(ax, result, hdm.WORSE_ONLY, "magma")
        one = result.plot(result_type=hdm.BETTER_ONLY)
        assert one.get_title() == "Nearer to the truth by"
        assert result.plot(ax).get_title() == "Distance to the truth"
    finally:
        pyplot.close("all")


def test_a_notebook_shows_a_png_and_leaves_pyplot_alone(result):
    image = Image.open(io.BytesIO(result._repr_png_()))
    assert image.format == "PNG"
    assert image.width > 3 * image.height  # three maps in a row
    assert len(np.unique(np.array(image.convert("RGB")).reshape(-1, 3), axis=0)) > 20
    assert pyplot.get_fignums() == []


def test_repr_says_what_was_measured(result):
    low, high = result.values.min(), result.values.max()
    assert repr(result) == (
        "HDMResult(6 x 8 cells of 18 x 26 px (rows x columns), circle 9, offset 3; 48 of 48 measured; "
        f"Hausdorff distance (px) {low:.1f} to {high:.1f}, baseline {result.baseline:.1f})"
    )
    assert "row distance" in repr(scan(distance="rows"))


def test_repr_says_what_else_matters(result):
    ignored = np.arange(result.width)[None].repeat(result.height, 0) < 13
    nothing = np.zeros_like(result.baseline_mask)
    settings = dataclasses.replace(result.settings, spacing=(2.0, 0.5))
    told = dataclasses.replace(
        result, settings=settings, ignored=ignored, baseline_mask=nothing, noise=hdm.Noise(2.83, 9, 8)
    )
    assert repr(told).endswith(
        "; spacing (2, 0.5); 50 % of the image ignored; nothing is drawn without a disc; noise of a random model 2.83)"
    )


@pytest.mark.parametrize("empty", ["diagonal", "inf", "nan"])
# Of the discs of 5 px, 4 px apart, all but that at the corner (4, 4) touch the region: its own corner is not in it.
@pytest.mark.parametrize(("region", "discs"), [(None, 16), ((0, 0, 5, 5), 3)])
def test_a_scan_that_ended_is_complete(empty, region, discs, tmp_path):
    """Also where neither the baseline nor any distance is a number."""
    explainer = hdm.HausdorffDistanceMasks(16, 16)
    explainer.generate_masks(4, 4)
    segment = np.zeros((16, 16), bool)
    segment[4:8, 4:8] = True
    updates = list(
        explainer.stream(
            lambda images: images[:, 0] * 0, torch.rand(1, 16, 16), segment, empty=empty, region=region, batch_size=1
        )
    )
    assert [update.result.complete for update in updates] == [False] * (len(updates) - 1) + [True]
    assert f"{discs} of {discs} measured" in repr(updates[-1].result)
    updates[-1].result.save(tmp_path / "result.npz")
    again = hdm.HDMResult.load(tmp_path / "result.npz")
    assert again.complete
    assert again.settings == updates[-1].result.settings


@pytest.mark.parametrize(
    "change",
    [
        {"settings": {"pitch": [1, 1]}},
        {"settings": {"channel": 0, "later": True}},
        {"approximation": {"tolerance": 0.1, "later": 2}},
        {"grid": [4, 4, 2, 2, 9]},
    ],
)
def test_a_result_of_a_later_version_is_a_value_error(tmp_path, change):
    path = tmp_path / "result.npz"
    scan().save(path)
    with np.load(path) as stored:
        arrays = dict(stored)
    about = json.loads(str(arrays.pop("about")))
    np.savez(path, about=json.dumps({**about, **change}), **arrays)
    with pytest.raises(ValueError, match=r"result.npz' is not a whole HDMResult: "):
        hdm.HDMResult.load(path)
