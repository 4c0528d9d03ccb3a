"""Figures for papers: discs as vectors, and what is not distinguishable from chance hatched."""

import dataclasses
import io
import re

import numpy as np
import pytest
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from hdm_widgets import hdm
from hdm_widgets.hdm import plotting
from hdm_widgets.hdm.circle_map import painted_discs

HEIGHT, WIDTH = 30, 42
IMAGE = np.random.default_rng(0).random((1, HEIGHT, WIDTH)).astype(np.float32)
TRUTH = np.zeros((HEIGHT, WIDTH), bool)
TRUTH[8:20, 10:28] = True


def scan(**options):
    explainer = hdm.HausdorffDistanceMasks(WIDTH, HEIGHT)
    explainer.generate_masks(7, 6)
    return explainer.explain(lambda images: images[:, 0] - 0.5, IMAGE, TRUTH, progress=False, **options)


def written(figure, kind="svg"):
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind)
    return buffer.getvalue()


def drawn(result, **options):
    figure = Figure(figsize=(6, 4))
    ax = figure.subplots()
    result.plot(ax, **options)
    return figure, ax


def discs_of(svg):
    """What an SVG file has in its group of discs."""
    group = svg.split('<g id="discs">')[1].split("\n   </g>\n")[0]
    return re.findall(r"<use |<path [^>]*style=\"(?!stroke)", group)


@pytest.mark.parametrize("shape", ["disc", "square"])
def test_a_vector_file_has_every_disc(shape):
    result = scan(shape=shape)
    figure, _ = drawn(result)
    svg = written(figure).decode()
    assert len(discs_of(svg)) == result.values.size == 35
    # The color bar is the only image.
    assert svg.count("<image") == 1
    assert "Hausdorff distance (px)" in svg or "<!-- Hausdorff distance (px) -->" in svg
    assert written(figure, "pdf").count(b"/Subtype /Image") <= 1


@pytest.mark.parametrize("spacing", [(1, 1), (2, 0.5)])
@pytest.mark.parametrize("shape", ["disc", "square"])
def test_the_picture_has_the_circle_maps_colors(shape, spacing):
    """At the center of every disc, as far as no outline runs there."""
    result = dataclasses.replace(scan(shape=shape, spacing=spacing), segment=np.zeros_like(TRUTH))
    figure, ax = drawn(result)
    figure.set_dpi(200)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[..., :3].astype(int)
    circles = np.asarray(result.circle_map(color_map="Blues")).astype(int)
    for row, col in np.ndindex(result.grid.shape):
        y, x = row * 6 + 3, col * 6 + 3
        if len(np.unique(circles[y - 1 : y + 2, x - 1 : x + 2].reshape(-1, 3), axis=0)) == 1:
            across, up = ax.transData.transform((x * spacing[1], y * spacing[0]))
            shown = pixels[pixels.shape[0] - 1 - round(up), round(across)]
            np.testing.assert_allclose(shown, circles[y, x], atol=1)


@pytest.mark.parametrize("kind", [hdm.RAW, hdm.BETTER_ONLY])
def test_means_are_drawn_as_an_image_in_the_colors_of_the_bar(kind):
    result = scan(distance="area")
    _, ax = drawn(result, result_type=kind, order="mean", color_map="viridis")
    (image,) = ax.get_images()
    shown, means = np.asarray(image.get_array()), result.painted_values(kind, order="mean")
    bare = np.isnan(means)
    assert (shown[bare] == 222).all()
    bar = ax.child_axes[0].get_ylim()
    values = result.distances(kind)
    farthest = np.abs(values).max()
    # Less and more are as far from the middle.
    assert bar == pytest.approx((-farthest, farthest) if kind is hdm.RAW else (values.min(), values.max()))
    colors = (colormaps["viridis"]((means[~bare] - bar[0]) / (bar[1] - bar[0])) * 255).astype(int)
    np.testing.assert_allclose(shown[~bare], colors[:, :3], atol=3)
    assert len(np.unique(shown.reshape(-1, 3), axis=0)) > 5


@pytest.mark.parametrize("order", ["value", "change"])
def test_discs_lie_as_those_of_the_circle_map(order):
    result = scan(distance="iou")
    _, ax = drawn(result, order=order)
    cells = {"value": None, "change": np.abs(result.values - result.baseline)}[order]
    expected = painted_discs(result.values, result.measured, "Blues", cells)[1]
    (discs,) = [one for one in ax.collections if one.get_gid() == "discs"]
    np.testing.assert_allclose(discs.get_facecolor()[:, :3] * 255, expected, atol=0.5)
    if order == "change":
        assert (expected != painted_discs(result.values, result.measured, "Blues")[1]).any()


def test_an_order_of_a_figure_that_is_none_is_refused():
    with pytest.raises(ValueError, match="order must be one of"):
        drawn(scan(), order="largest")


def test_squares_are_drawn_where_they_are():
    result = scan(shape="square", spacing=(2, 0.5))
    _, ax = drawn(result)
    (squares,) = (each for each in ax.collections if each.get_gid() == "discs")
    boxes = sorted(tuple(path.get_extents().extents.tolist()) for path in squares.get_paths())
    expected = [
        ((6 * col - 0.5) * 0.5, (6 * row - 0.5) * 2, (6 * col + 7.5) * 0.5, (6 * row + 7.5) * 2)
        for row, col in np.ndindex(result.grid.shape)
    ]
    np.testing.assert_allclose(boxes, sorted(expected))


def test_of_very_many_discs_an_image_is_drawn(monkeypatch):
    monkeypatch.setattr(plotting, "_MOST_VECTORS", 34)
    result = scan()
    figure, ax = drawn(result)
    (image,) = ax.images
    covered = ~np.isnan(result.painted_values())
    np.testing.assert_array_equal(image.get_array()[covered], np.asarray(result.circle_map(color_map="Blues"))[covered])
    assert (image.get_array()[~covered] == 222).all()
    assert written(figure).decode().count("<image") == 2


def test_cells_that_could_be_chance_are_hatched():
    result = scan()
    significant = np.zeros(result.grid.shape, bool)
    significant[2:, 3:] = True
    _, plain = drawn(result)
    figure, ax = drawn(result, significant=significant)
    (hatched,) = (each for each in ax.collections if "xxx" in getattr(each, "hatches", ()))
    inside = [
        any(path.contains_point((col * 6 + 3, row * 6 + 3)) for path in hatched.get_paths())
        for row, col in ((0, 0), (4, 0), (4, 5), (3, 5))
    ]
    assert inside == [True, True, False, False]
    assert "hatched: not distinguishable from chance" in ax.get_xlabel()
    assert "hatched" not in plain.get_xlabel()
    assert len(discs_of(written(figure).decode())) == 35


@pytest.mark.parametrize("shape", ["disc", "square"])
@pytest.mark.parametrize("spacing", [(1, 1), (2, 0.5)])
def test_significant_discs_have_outlines_on_top_of_the_hatching(shape, spacing):
    result = scan(shape=shape, spacing=spacing)
    significant = np.zeros(result.grid.shape, bool)
    significant[2, 3] = significant[4, 6] = True
    _, ax = drawn(result, significant=significant)
    (outlines,) = (each for each in ax.collections if each.get_gid() == "significant")
    assert outlines.get_zorder() > max(each.get_zorder() for each in ax.collections if each is not outlines)
    assert len(outlines.get_facecolor()) == 0
    if shape == "disc":
        centers = outlines.get_offsets().tolist()
    else:
        boxes = [path.get_extents().extents for path in outlines.get_paths()]
        centers = [[(x0 + x1) / 2, (y0 + y1) / 2] for x0, y0, x1, y1 in boxes]
    wanted = [[(6 * col + 3.5) * spacing[1], (6 * row + 3.5) * spacing[0]] for row, col in ((2, 3), (4, 6))]
    np.testing.assert_allclose(centers, wanted)


@pytest.mark.parametrize(
    ("size", "layout", "maps"), [(None, None, 1), (None, "constrained", 1), ((9, 4), "constrained", 3)]
)
def test_what_hatching_means_is_inside_the_figure(size, layout, maps):
    result = scan()
    figure = Figure(figsize=size, layout=layout)
    ax = figure.subplots(1, maps, squeeze=False)[0, -1]
    result.plot(ax, significant=np.zeros(result.grid.shape, bool))
    FigureCanvasAgg(figure).draw()
    box = ax.xaxis.label.get_window_extent()
    assert box.y0 > 0
    assert box.x0 > 0
    assert box.x1 < figure.bbox.x1


def test_a_signed_measure_has_two_ranges_of_colors_that_meet_at_0():
    values = np.random.default_rng(1).permutation(np.linspace(-30, 20, 35)).reshape(5, 7)
    result = dataclasses.replace(scan(distance="area"), values=values)
    figure, ax = drawn(result)
    figure.canvas.draw()
    assert ax.child_axes[0].get_ylim() == (-30, 30)
    (discs,) = (each for each in ax.collections if each.get_gid() == "discs")
    # What is farthest from 0 is painted last.
    order = np.array(sorted(values.ravel(), key=abs))
    red, _, blue = discs.get_facecolor()[:, :3].T
    far = np.abs(order) > 3
    np.testing.assert_array_equal(np.sign(blue - red)[far], np.sign(order[far]))
    np.testing.assert_allclose(discs.get_facecolor()[0], 1, atol=0.05)
    # A color map of one's own is taken as it is.
    _, own = drawn(result, color_map="RdBu")
    assert own.child_axes[0].get_ylim() == (-30, 30)
    (discs,) = (each for each in own.collections if each.get_gid() == "discs")
    np.testing.assert_allclose(discs.get_facecolor()[-1, :3], colormaps["RdBu"](0.0)[:3], atol=0.02)


@pytest.mark.parametrize(("count", "layout"), [(1, (1, 1)), (2, (1, 2)), (3, (1, 3)), (4, (2, 2)), (6, (2, 3))])
def test_maps_fill_the_rows_of_a_figure(count, layout):
    panel = plotting.panel_of(scan(), hdm.RAW)
    figure = Figure(layout="constrained")
    plotting.draw_all([panel] * count, figure)
    assert figure.axes[0].get_gridspec().get_geometry() == layout


@pytest.mark.parametrize("significant", [np.zeros((3, 3), bool), np.zeros((5, 7)), [True]], ids=str)
def test_significance_of_another_kind_is_refused(significant):
    with pytest.raises(ValueError, match=r"significant must be bool, one for each cell \(5, 7\)"):
        scan().plot(Figure().subplots(), significant=significant)


def test_a_comparison_is_drawn_on_one_scale():
    comparison = hdm.compare_fills(
        lambda images: images[:, 0] - 0.5, IMAGE, TRUTH, 7, 6, fills=("mean", "blur", 1.0), repeats=2, progress=False,
        distance="flipped",
    )  # fmt: skip
    figure = Figure(figsize=(12, 8), layout="constrained")
    axes = comparison.plot(figure)
    assert figure.get_suptitle().replace("\n", " ") == comparison.text
    assert [ax.get_title().split(":")[0] for ax in axes] == ["mean", "blur", "1", "Change in common"]
    assert all("with mean" in ax.get_title() for ax in axes[1:3])
    values = [result.values for result in comparison.results.values()]
    for ax in axes[:3]:
        assert ax.child_axes[0].get_ylim() == pytest.approx((np.min(values), np.max(values)))
    assert "not distinguishable" in axes[3].get_xlabel()
    assert comparison._repr_png_().startswith(b"\x89PNG")


def test_several_axes_for_one_map_are_refused():
    axes = Figure().subplots(1, 3)
    with pytest.raises(TypeError, match=r"ax must be one matplotlib axes, got ndarray; of several give one: axes\[0\]"):
        scan().plot(axes)


@pytest.mark.parametrize(
    ("shape", "spacing", "size"),
    [
        ((30, 30), (1, 1), (4.4, 3.9)),
        ((120, 30), (1, 1), (2.9, 6.9)),
        ((30, 120), (1, 1), (7.4, 2.4)),
        ((30, 30), (4, 1), (2.9, 6.9)),
        ((900, 30), (1, 1), (2.9, 6.9)),
    ],
)
def test_a_figure_has_the_proportions_of_its_image(shape, spacing, size):
    explainer = hdm.HausdorffDistanceMasks(*shape[::-1])
    explainer.generate_masks(30, 30)
    image, truth = np.ones((1, *shape), np.float32), np.eye(*shape) > 0
    result = explainer.explain(lambda images: images[:, 0], image, truth, spacing=spacing, progress=False)
    panel = plotting.panel_of(result, hdm.RAW)
    assert plotting._size([panel]) == pytest.approx(size)
    assert plotting._size([panel] * 3) == pytest.approx((3 * size[0], size[1]))
