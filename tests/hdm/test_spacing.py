"""Scans in physical units: the height and width of a pixel."""

import math

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

import hdm_widgets as hw
from hdm_widgets import hdm
from hdm_widgets.hdm import messages
from hdm_widgets.metrics import hausdorff_distance, hausdorff_pair

HEIGHT, WIDTH = 12, 16
IMAGE = np.full((1, HEIGHT, WIDTH), 0.2, np.float32)
IMAGE[:, 3:8, 4:10] = 0.8
TRUTH = IMAGE[0] > 0.5


def first(images):
    return images[:, 0]


def scan(cls=hdm.HausdorffDistanceMasks, model=first, **options):
    explainer = cls(WIDTH, HEIGHT)
    explainer.generate_masks(4, 4)
    return list(explainer.stream(model, IMAGE, TRUTH, **options))[-1]


@pytest.mark.parametrize("spacing", [(10, 10), (2, 0.5), (0.3, 0.1), (1, math.pi)])
def test_all_distances_are_in_its_unit(spacing):
    result = scan(spacing=spacing).result
    assert result.settings.spacing == spacing
    for row, col in np.ndindex(result.grid.shape):
        mask = result.output(row, col)
        assert result.values[row, col] == hausdorff_distance(mask, TRUTH, spacing=spacing)
        assert result.pair(row, col) == hausdorff_pair(mask, TRUTH, spacing=spacing)
    # The disc at (1, 1) covers rows and columns 4 to 8, and leaves the corner at (3, 4).
    assert result.values.max() > 2 * min(spacing)


def test_square_pixels_scale_the_map():
    np.testing.assert_array_equal(scan(spacing=(10, 10)).result.values, 10 * scan().result.values)
    assert scan(spacing=(1, 1)).result.settings == scan().result.settings


def test_the_diagonal_of_an_empty_mask_has_the_same_unit():
    update = scan(model=lambda images: images[:, 0] * 0, spacing=(10, 30))
    assert update.result.baseline == math.hypot(10 * HEIGHT, 30 * WIDTH)
    assert (update.result.values == update.result.baseline).all()
    # The screen says of each cell that nothing is predicted there.
    assert np.unpackbits(np.frombuffer(messages.map_message(update)["one_empty"], np.uint8), count=12).all()


def test_a_stored_result_keeps_it(tmp_path):
    result = scan(spacing=(2, 0.5)).result
    result.save(tmp_path / "result.npz")
    loaded = hdm.HDMResult.load(tmp_path / "result.npz")
    assert loaded.settings == result.settings
    assert loaded.pair(1, 1) == result.pair(1, 1)
    assert repr(loaded) == repr(result)


class Own(hdm.HausdorffDistanceMasks):
    def calculate_distance(self, output, segment):
        return float(np.abs(output - segment).sum())


@pytest.mark.parametrize(
    ("cls", "options", "label", "unit", "length_unit", "decimals"),
    [
        (hdm.HausdorffDistanceMasks, {}, "Hausdorff distance (px)", "px", "px", 1),
        (hdm.HausdorffDistanceMasks, {"spacing": (10, 10)}, "Hausdorff distance (units)", "units", "units", 1),
        (hdm.HausdorffDistanceMasks, {"spacing": (2, 0.25)}, "Hausdorff distance (units)", "units", "units", 2),
        (hdm.HausdorffDistanceMasks, {"spacing": (1e-3, 1)}, "Hausdorff distance (units)", "units", "units", 4),
        (hdm.HausdorffDistanceMasks, {"distance": "rows"}, "row distance", "", "px", 1),
        (Own, {"spacing": (10, 10)}, "distance", "", "units", 1),
    ],
)
def test_the_unit_is_on_every_label(cls, options, label, unit, length_unit, decimals):
    result = scan(cls, **options).result
    settings = result.settings
    assert settings.label == label
    about = messages.about_message(result.image, result.segment, settings)
    assert (about["unit"], about["length_unit"], about["decimals"]) == (unit, length_unit, decimals)
    assert f"{label} {result.values.min():.{decimals}f} to {result.values.max():.{decimals}f}" in repr(result)
    ax = result.plot(Figure().subplots())
    assert (ax.get_xlabel(), ax.get_ylabel()) == (f"column ({length_unit})", f"row ({length_unit})")
    (bar,) = ax.child_axes
    assert bar.get_ylabel() == label


def test_the_axes_have_its_scale():
    result = scan(spacing=(10, 0.5)).result
    ax = result.plot(Figure().subplots())
    assert ax.get_xlim() == (-0.25, 15.5 * 0.5)
    assert ax.get_ylim() == (115.0, -5.0)
    # The outline of the truth: halfway between pixels, each 10 high and half a unit wide.
    (outline,) = [child for child in ax.get_children() if isinstance(child, matplotlib.contour.QuadContourSet)]
    corners = np.concatenate([path.vertices for path in outline.get_paths()])
    np.testing.assert_allclose([corners.min(axis=0), corners.max(axis=0)], [[3.5 * 0.5, 25], [9.5 * 0.5, 75]])


def test_ignored_pixels_are_hatched_in_a_figure():
    def hatched(result):
        ax = result.plot(Figure().subplots())
        return [one for one in ax.get_children() if "////" in (getattr(one, "hatches", None) or [])]

    void = np.zeros((HEIGHT, WIDTH), bool)
    void[9:, 2:7] = True
    (area,) = hatched(scan(ignore=void, spacing=(10, 0.5)).result)
    corners = np.concatenate([path.vertices for path in area.get_paths()])
    np.testing.assert_allclose([corners.min(axis=0), corners.max(axis=0)], [[1.5 * 0.5, 85], [6.5 * 0.5, 110]])
    assert hatched(scan().result) == []
    assert scan(ignore=void).result._repr_png_().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"spacing": 2.0}, TypeError, r"spacing must be \(row, col\)"),
        ({"spacing": (0, 1)}, ValueError, "positive and finite"),
        ({"spacing": (1, 2), "distance": "rows"}, ValueError, "spacing means nothing for it; drop spacing"),
    ],
)
def test_said_at_the_call(options, error, message):
    with pytest.raises(error, match=message):
        scan(**options)
    with pytest.raises(error, match=message):
        hw.HDMExplorer(first, IMAGE, TRUTH, **options)


def test_the_explorer_has_units_and_ignored_pixels():
    void = np.zeros((HEIGHT, WIDTH), bool)
    void[9:, 2:7] = True
    explorer = hw.HDMExplorer(
        first, IMAGE, np.where(void, 255, TRUTH), 4, 4, fill="minimum", spacing=(10, 20), ignore=255
    )
    try:
        assert explorer.wait(timeout=60)
        assert explorer._about["unit"] == "units"
        assert explorer.result.settings.spacing == (10, 20)
        unpacked = np.unpackbits(np.frombuffer(explorer._ignored, np.uint8), count=TRUTH.size).reshape(TRUTH.shape)
        np.testing.assert_array_equal(unpacked, void)
        shown = np.unpackbits(np.frombuffer(explorer._truth, np.uint8), count=TRUTH.size).reshape(TRUTH.shape)
        np.testing.assert_array_equal(shown, TRUTH)
        np.testing.assert_array_equal(explorer.result.ignored, void)
        assert explorer.result.baseline == 0
    finally:
        explorer.close()
    assert explorer._ignored == b""


def test_the_inspector_counts_no_ignored_pixel():
    void = np.zeros((HEIGHT, WIDTH), bool)
    void[9:] = True
    everywhere = lambda images: images[:, 0] + 1  # noqa: E731
    explorer = hdm.HausdorffDistanceMasks(WIDTH, HEIGHT)
    explorer.generate_masks(4, 4)
    result = explorer.explain(everywhere, IMAGE, ~void, ignore=void, spacing=(2, 2), progress=False)
    prediction = messages.inspect_cell(result, 0, 0)["prediction"]
    mask = np.unpackbits(np.frombuffer(prediction["mask"], np.uint8), count=TRUTH.size).reshape(TRUTH.shape)
    np.testing.assert_array_equal(mask, ~void)
    assert (prediction["iou"], prediction["pair"]) == (1.0, None)
    hidden = explorer.explain(lambda images: images[:, 0] * 0, IMAGE, ~void, ignore=void, progress=False)
    assert messages.inspect_cell(hidden, 0, 0)["prediction"]["empty"]
