"""Circle maps in matplotlib, with color bars; edges of an image."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import Collection, EllipseCollection, PolyCollection
from matplotlib.colors import Colormap, ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from scipy import ndimage
from torch import Tensor

from hdm_widgets._picture import Bands, Display, View
from hdm_widgets._validation import check_choice, to_tensor
from hdm_widgets._wording import letter_by_letter
from hdm_widgets.hdm.circle_map import (
    BETTER_ONLY,
    RAW,
    WORSE_ONLY,
    PaintingOrder,
    ResultType,
    change_from_baseline,
    color_table,
    finite_limits,
    paint,
    paint_mean,
    painted_discs,
    painted_values,
)
from hdm_widgets.hdm.grid import Grid
from hdm_widgets.hdm.options import ScanSettings

if TYPE_CHECKING:
    from hdm_widgets.hdm.result import HDMResult

__all__ = ["Panel", "canny", "draw", "draw_all", "overlay", "panel_of", "plot", "png"]

# Title and usual color map of each kind of map in a figure; {} stands for what masks are compared with. The title of
# raw distances follows from what they measure.
_PANELS = {
    RAW: ("", "Blues"),
    BETTER_ONLY: ("Nearer to the {} by", "Greens"),
    WORSE_ONLY: ("Farther from the {} by", "Reds"),
}

# Where no disc is: a color that no map has.
_UNCOVERED = (222, 222, 222)


# More discs than these are drawn as one image: a vector graphic of them would be slow to open.
_MOST_VECTORS = 5000
# Maps in a row of a figure.
_ACROSS = 3


@dataclass(frozen=True, eq=False)
class Panel:
    """One circle map to draw.

    Attributes
    ----------
    title : str
    values : numpy.ndarray, float64 (rows, cols)
    shown : numpy.ndarray, bool (rows, cols)
        Cells to draw.
    grid : Grid
    truth : numpy.ndarray, bool (H, W)
    color_map : str or matplotlib.colors.Colormap
    limits : tuple of float
        Ends of the color bar; equal for a constant map, which has none.
    settings : ScanSettings
        What the distances are, and how large a pixel is.
    ignored : numpy.ndarray, bool (H, W), or None
        Pixels that do not count: they are hatched.
    significant : numpy.ndarray, bool (rows, cols), or None
        Cells beyond chance: all others are hatched, and said to be.
    change : numpy.ndarray, float64 (rows, cols), or None
        What changes most lies on top; by default what has the largest value.
    label : str
        Of the color bar; by default what the distances are.
    mean : bool
        Draw the mean of all discs over each pixel, in place of discs.
    """

    title: str
    values: NDArray[np.float64]
    shown: NDArray[np.bool_]
    grid: Grid
    truth: NDArray[np.bool_]
    color_map: str | Colormap
    limits: tuple[float, float]
    settings: ScanSettings
    ignored: NDArray[np.bool_] | None = None
    significant: NDArray[np.bool_] | None = None
    change: NDArray[np.float64] | None = None
    label: str = ""
    mean: bool = False


def panel_of(
    result: HDMResult,
    kind: ResultType,
    color_map: str | Colormap | None = None,
    significant: NDArray[np.bool_] | None = None,
    order: PaintingOrder = "value",
) -> Panel:
    """What to draw of a result; in its usual colors by default."""
    title, usual = _PANELS[kind]
    title = (title or result.settings.info.title).format(result.settings.compared_with)
    values = result.distances(kind)
    # Less and more are told apart by their colors, as on the screen, and what is farthest from 0 lies on top.
    signed = kind is RAW and result.settings.info.signed
    if color_map is None:
        color_map = _around_zero(usual) if signed else usual
    return Panel(
        title, values, result.measured, result.grid, result.segment, color_map,
        finite_limits(values, around_zero=signed), result.settings, result.ignored, significant,
        _change(result, kind, values, order), mean=order == "mean",
    )  # fmt: skip


def _change(
    result: HDMResult, kind: ResultType, values: NDArray[np.float64], order: PaintingOrder
) -> NDArray[np.float64] | None:
    """By what discs are painted one over another; None: by their values."""
    if order == "change":
        return change_from_baseline(values, result.baseline, kind)
    return np.abs(values) if kind is RAW and result.settings.info.signed else None


def _around_zero(color_map: str) -> Colormap:
    """A color map with 0 in its middle: what is below has the same colors with red and blue exchanged."""
    colors = color_table(color_map)[1::2] / 255
    return ListedColormap(np.concatenate([colors[::-1, ::-1], colors]), f"{color_map} around 0")


def overlay(
    result: HDMResult,
    result_type: ResultType | str,
    image: Tensor | NDArray[Any] | None,
    color_map: str | Colormap,
    *,
    edges: bool,
    display: Display | Bands | None,
) -> Image.Image:
    """See `HDMResult.overlay`."""
    shown = result.image if image is None else to_tensor(image).cpu().numpy()
    if shown.shape[-2:] != (result.height, result.width) or shown.ndim not in (2, 3):
        raise ValueError(f"expected an image (C, {result.height}, {result.width}), got shape {shown.shape}")
    circles = result.circle_map(result_type, color_map)
    covered = ~np.isnan(result.painted_values(result_type))
    return _over_image(circles, covered, shown, Display.wrap(display).view(shown), edges=edges)


def plot(
    result: HDMResult,
    ax: Axes | None,
    result_type: ResultType | str | None,
    color_map: str | Colormap | None,
    significant: ArrayLike | None,
    order: PaintingOrder,
) -> Any:
    """See `HDMResult.plot`."""
    check_choice("order", order, PaintingOrder)
    if isinstance(ax, str):
        raise TypeError(f"the first argument of plot is a matplotlib axes; for the kind of map use result_type={ax!s}")
    cells = None if significant is None else np.asarray(significant)
    if cells is not None and (cells.dtype != bool or cells.shape != result.grid.shape):
        raise ValueError(
            f"significant must be bool, one for each cell {result.grid.shape}, got {cells.dtype} {cells.shape}; "
            "FillComparison.significant is"
        )
    if ax is not None:
        draw(ax, panel_of(result, ResultType(result_type or RAW), color_map, cells, order))
        return ax
    kinds = [ResultType(result_type)] if result_type else list(ResultType)
    return draw_all([panel_of(result, kind, color_map, cells, order) for kind in kinds])


def _over_image(
    circles: Image.Image, covered: NDArray[np.bool_], image: NDArray[Any], view: View, *, edges: bool
) -> Image.Image:
    """A circle map with the edges of an image (C, H, W) over it, white where no disc is; or with the image itself."""
    if not edges:
        return Image.blend(circles, Image.fromarray(view.to_rgb(image)), 0.5)
    light = np.asarray(Image.blend(circles, Image.new("RGB", circles.size, "white"), 0.4)).copy()
    light[~covered] = 255
    light[canny(view.levels(image).mean(axis=0))] = 0
    return Image.fromarray(light)


def draw(ax: Axes, panel: Panel, *, vectors: bool = True) -> None:
    """Draw one circle map with the outline of the ground truth and a color bar; discs as vectors if not too many."""
    if not isinstance(ax, Axes):
        raise TypeError(f"ax must be one matplotlib axes, got {type(ax).__name__}; of several give one: axes[0]")
    grid, (low, high) = panel.grid, panel.limits
    height, width = panel.truth.shape
    unit, (down, across) = letter_by_letter(panel.settings.length_unit), panel.settings.spacing
    # Pixels have their own height and width, and the first one's center is 0.
    edges = (-0.5 * across, (width - 0.5) * across, (height - 0.5) * down, -0.5 * down)
    if vectors and not panel.mean and np.count_nonzero(panel.shown) <= _MOST_VECTORS:
        ax.add_patch(Rectangle((edges[0], edges[3]), width * across, height * down, color=_hex(_UNCOVERED), zorder=0))
        ax.add_collection(_discs(ax, panel), autolim=False)
        ax.set(aspect="equal", xlim=edges[:2], ylim=edges[2:])
    else:
        if panel.mean:
            painted = paint_mean(panel.values, panel.shown, grid, panel.color_map, panel.limits)
        else:
            painted = paint(panel.values, panel.shown, grid, panel.color_map, panel.change, panel.limits)
        image = np.array(painted)
        image[np.isnan(painted_values(panel.values, panel.shown, grid, panel.change))] = _UNCOVERED
        ax.imshow(image, interpolation="nearest", extent=edges)
    rows, cols = np.arange(height) * down, np.arange(width) * across
    if panel.truth.any() and not panel.truth.all():
        ax.contour(cols, rows, panel.truth, levels=[0.5], colors="#e3b341", linewidths=1)
    if panel.ignored is not None and min(height, width) > 1:
        ax.contourf(cols, rows, panel.ignored, levels=[0.5, 1.5], colors="none", hatches=["////"])
    note = ""
    if panel.significant is not None and min(height, width) > 1:
        chance = painted_values(panel.values, panel.shown, grid, panel.change, of=~panel.significant)
        hatched = ax.contourf(cols, rows, np.nan_to_num(chance), levels=[0.5, 1.5], colors="none", hatches=["xxx"])
        hatched.set(edgecolor="#777777", linewidth=0)
        # Hatching of discs beside them lies on the significant ones where they overlap: these have outlines.
        beyond = np.argwhere(panel.significant & panel.shown)
        if len(beyond) <= _MOST_VECTORS:
            outlines = _shapes(ax, panel, beyond, "significant")
            outlines.set(facecolor="none", edgecolor="#111111", linewidth=0.8, zorder=3)
            ax.add_collection(outlines, autolim=False)
        # Without a layout engine, a second line is cut off in a figure of the default size.
        note = "; " if ax.figure.get_layout_engine() is None else "\n"
        note += "hatched: not distinguishable from chance"
    same = f": {low:.{panel.settings.decimals}f} everywhere" if low == high else ""
    ax.set_title(letter_by_letter(panel.title) + same, fontsize="medium")
    ax.set_xlabel(f"column ({unit}){note}")
    ax.set_ylabel(f"row ({unit})")
    if high > low:
        beside = ax.inset_axes((1.03, 0, 0.045, 1))
        scale = ScalarMappable(Normalize(low, high), panel.color_map)
        ax.figure.colorbar(scale, cax=beside, label=letter_by_letter(panel.label or panel.settings.label))


def _discs(ax: Axes, panel: Panel) -> Collection:
    """The discs of a panel, or its squares, in the order in which they are painted."""
    cells, colors = painted_discs(panel.values, panel.shown, panel.color_map, panel.change, panel.limits)
    discs = _shapes(ax, panel, cells, "discs")
    discs.set(facecolor=colors / 255, linewidth=0, zorder=1)
    return discs


def _shapes(ax: Axes, panel: Panel, cells: Sequence[Any] | NDArray[np.intp], name: str) -> Collection:
    """The discs of some cells, or their squares."""
    grid, (down, across) = panel.grid, panel.settings.spacing
    corners = np.array([grid.corner(*cell) for cell in cells], float).reshape(-1, 2)
    centers = (corners[:, ::-1] + grid.circle_size / 2) * (across, down)
    width, height = (grid.circle_size + 1) * across, (grid.circle_size + 1) * down
    if grid.disc_shape == "disc":
        several = np.ones(len(cells))
        return EllipseCollection(
            several * width, several * height, several * 0, units="xy", offsets=centers, offset_transform=ax.transData,
            gid=name,
        )  # fmt: skip
    around = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * (width / 2, height / 2)
    return PolyCollection(list(centers[:, None] + around), gid=name)


def _hex(color: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*color)


def draw_all(panels: Sequence[Panel], figure: Figure | None = None, *, heading: str = "", vectors: bool = True) -> Any:
    """Draw circle maps side by side; the axes, or the only one. By default in a new figure of pyplot's."""
    rows, cols = _layout(panels)
    if figure is None:
        from matplotlib import pyplot

        figure = pyplot.figure(figsize=_size(panels), layout="constrained")
    if heading:
        heading = textwrap.fill(heading, max(20, int(11 * figure.get_figwidth())))
        figure.suptitle(letter_by_letter(heading), fontsize="medium")
    axes = figure.subplots(rows, cols, squeeze=False).ravel()
    for ax, panel in zip(axes, panels, strict=False):
        draw(ax, panel, vectors=vectors)
    for ax in axes[len(panels) :]:
        ax.set_axis_off()
    axes = axes[: len(panels)]
    return axes if len(panels) > 1 else axes[0]


def png(panels: Sequence[Panel], heading: str = "") -> bytes:
    """Circle maps side by side as a PNG file; pyplot's state is left alone."""
    figure = Figure(figsize=_size(panels), layout="constrained")
    draw_all(panels, figure, heading=heading, vectors=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=90)
    return buffer.getvalue()


def _layout(panels: Sequence[Panel]) -> tuple[int, int]:
    """Rows and columns of maps."""
    # Four maps in two rows of two leave no place empty.
    cols = 2 if len(panels) == 4 else min(_ACROSS, len(panels))
    return -(-len(panels) // cols), cols


def _size(panels: Sequence[Panel]) -> tuple[float, float]:
    """Width and height of a figure, in inches: maps of all images have the same area, beside their labels."""
    rows, cols = _layout(panels)
    (height, width), (down, across) = panels[0].truth.shape, panels[0].settings.spacing
    side = float(np.sqrt(np.clip(height * down / (width * across), 1 / 4, 4)))
    return (1.4 + 3 / side) * cols, (0.9 + 3 * side) * rows


def canny(image: NDArray[np.floating], *, sigma: float = 1.0, low: float = 0.1, high: float = 0.2) -> NDArray[np.bool_]:
    """Canny's edge detector on one channel.

    Parameters
    ----------
    image : numpy.ndarray (H, W)
        Any range; it is scaled to [0, 1] first.
    sigma : float
        Width of the Gaussian in pixels.
    low, high : float
        Hysteresis: an edge is kept where its gradient is above `low` and somewhere along it above `high`,
        as fractions of the largest gradient.

    Returns
    -------
    numpy.ndarray, bool (H, W)

    References
    ----------
    J. Canny: A Computational Approach to Edge Detection. IEEE TPAMI 8 (6), 1986.
    """
    value_range = float(np.ptp(image))
    if not value_range:
        return np.zeros(image.shape, dtype=bool)
    smooth = ndimage.gaussian_filter((image - image.min()) / value_range, sigma)
    across, down = ndimage.sobel(smooth, axis=1), ndimage.sobel(smooth, axis=0)
    gradient = np.hypot(across, down)
    ridge = _thinned(gradient, across, down)
    labels, _ = ndimage.label(ridge & (gradient > low * gradient.max()), structure=np.ones((3, 3)))
    strong = np.unique(labels[ridge & (gradient > high * gradient.max())])
    return np.isin(labels, strong[strong > 0])


def _thinned(
    gradient: NDArray[np.float64], across: NDArray[np.float64], down: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Pixels whose gradient is the largest along its own direction, of the four that a raster has."""
    octant = np.round(np.arctan2(down, across) / (np.pi / 4)).astype(int) % 4
    padded = np.pad(gradient, 1)
    height, width = gradient.shape
    ridge = np.zeros(gradient.shape, dtype=bool)
    for direction, (dy, dx) in enumerate(((0, 1), (1, 1), (1, 0), (1, -1))):
        ahead = padded[1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width]
        behind = padded[1 - dy : 1 - dy + height, 1 - dx : 1 - dx + width]
        # Strict on one side only: of two equal neighbors one stays.
        ridge |= (octant == direction) & (gradient > ahead) & (gradient >= behind)
    return ridge & (gradient > 0)
