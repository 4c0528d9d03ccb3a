"""Two models on the same items: how alike their latent spaces are, and which items changed."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hdm_widgets._validation import brief, is_whole
from hdm_widgets._wording import quantity
from hdm_widgets.latent.batches import progress_bar, row_batches
from hdm_widgets.latent.fitted import read_only
from hdm_widgets.latent.kernel_alignment import linear_cka, permuted_cka
from hdm_widgets.latent.neighbors import nearest
from hdm_widgets.latent.space import LatentSpace
from hdm_widgets.latent.thumbnails import alike

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure

__all__ = ["Alignment", "SpaceComparison", "align", "compare_spaces", "neighbor_overlap"]

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

_PERMUTATIONS = 199
# Figures over all pairs of items are taken from at most this many.
_SAMPLE = 2000
_CHANGED_IOU = 0.1
_NEIGHBORS = 10
_QUERIES = 1024  # items whose neighbors are sought between two steps of a bar
# Of more items than this, neighbors are sought among so many.
_MOST_SOUGHT = 50_000


@dataclass(frozen=True, eq=False)
class Alignment:
    """Points that were moved, rotated, reflected and scaled to lie on others as well as they can.

    Attributes
    ----------
    points : numpy.ndarray, float64 (n, k)
        Where they are now.
    scale : float
        What lengths were multiplied by.
    disparity : float
        Fraction of the others' variance that is left between them, in [0, 1]: 0 if they lie on each other.
    """

    points: Floats
    scale: float
    disparity: float


def align(reference: Floats, points: Floats) -> Alignment:
    """Move points (n, k) onto others (n, k) by orthogonal Procrustes analysis with scale.

    Notes
    -----
    Schönemann (1966), Gower (1975). The disparity is that of `scipy.spatial.procrustes`.
    """
    mean, other_mean = reference.mean(axis=0), points.mean(axis=0)
    a, b = reference - mean, points - other_mean
    squares_a, squares_b = float((a**2).sum()), float((b**2).sum())
    if squares_a <= 0 or squares_b <= 0:
        return Alignment(np.broadcast_to(mean, reference.shape).copy(), 0.0, 1.0 if squares_a > 0 else 0.0)
    left, values, right = np.linalg.svd(b.T @ a)
    scale = float(values.sum() / squares_b)
    disparity = max(0.0, 1 - float(values.sum()) ** 2 / (squares_a * squares_b))
    return Alignment(scale * (b @ (left @ right)) + mean, scale, disparity)


def neighbor_overlap(a: Indices, b: Indices) -> Floats:
    """Jaccard index of the neighbors (n, k) of every item in one space and in another, float64 (n,)."""
    # No index stands twice in a row of either: in both together, those that do are common.
    both = np.sort(np.hstack([a, b]), axis=1)
    common = (both[:, 1:] == both[:, :-1]).sum(axis=1)
    return np.asarray(common / (a.shape[1] + b.shape[1] - common))


def _p_value(value: float, null: Floats) -> float:
    """Chance that items in random order are as alike."""
    return math.nan if math.isnan(value) else float((1 + (null >= value).sum()) / (1 + len(null)))


@dataclass(frozen=True, eq=False)
class SpaceComparison:
    """Two latent spaces of the same items, made by `compare_spaces`.

    Attributes
    ----------
    names : tuple of str
        Of the two models.
    cka, cka_null, cka_p : float
        Linear centered kernel alignment of the activations, in [0, 1]; its mean over items in random order; and the
        chance that those are as alike.
    overlap, overlap_null, overlap_p : float
        The same for the neighbors: mean Jaccard index of the `k` nearest items in both spaces.
    k : int
        Neighbors that were compared.
    sought : int
        Items among which they were sought, the same ones in both spaces: all, or a random 50,000 of more.
    coordinates : tuple of numpy.ndarray, float64 (n, 2)
        The common map: the first space's coordinates, and those of the second, moved, rotated, reflected and scaled
        onto them. Read-only.
    disparity : float
        Fraction of the first map's variance that is left between the two, in [0, 1].
    iou : tuple of numpy.ndarray, float64 (n,)
        IoU of every item with either model, read-only.
    neighbors : numpy.ndarray, float64 (n,)
        Jaccard index of every item's neighbors in both spaces: 1 for the same neighbors. Read-only.
    moved_below : float
        Items whose neighbors overlap less than this have moved.
    changed_above : float
        Items whose IoU changed by more than this are better or worse.
    items : numpy.ndarray, int64 (n,)
        Index of every item in the data set, read-only.
    spaces : tuple of LatentSpace
        Snapshots of the two spaces.
    """

    names: tuple[str, str]
    cka: float
    cka_null: float
    cka_p: float
    overlap: float
    overlap_null: float
    overlap_p: float
    k: int
    sought: int
    coordinates: tuple[Floats, Floats]
    disparity: float
    iou: tuple[Floats, Floats]
    neighbors: Floats
    moved_below: float
    changed_above: float
    items: Indices
    spaces: tuple[LatentSpace, LatentSpace] = field(repr=False)

    def __len__(self) -> int:
        return len(self.items)

    @cached_property
    def iou_change(self) -> Floats:
        """IoU with the second model less that with the first, float64 (n,), read-only; NaN where either is."""
        return read_only(self.iou[1] - self.iou[0])

    @cached_property
    def better(self) -> Indices:
        """Positions of the items whose IoU rose by more than `changed_above`, the most improved first."""
        return self._beyond(self.iou_change)

    @cached_property
    def worse(self) -> Indices:
        """Positions of the items whose IoU fell by more than `changed_above`, the worst first."""
        return self._beyond(-self.iou_change)

    @cached_property
    def moved(self) -> Indices:
        """Positions of the items whose neighbors overlap less than `moved_below`, the least overlap first."""
        order = np.argsort(self.neighbors, kind="stable")
        return read_only(order[self.neighbors[order] < self.moved_below].astype(np.int64))

    def _beyond(self, change: Floats) -> Indices:
        order = np.argsort(-change, kind="stable")  # NaN comes last
        return read_only(order[change[order] > self.changed_above].astype(np.int64))

    @property
    def text(self) -> str:
        """What the numbers say, in words."""
        first, second = self.names
        both = np.isfinite(self.iou_change)
        if both.any():
            before, after = (float(iou[both].mean()) for iou in self.iou)
            change = (
                f"Mean IoU {before:.2f} with {first} and {after:.2f} with {second}. "
                f"Of {quantity(int(both.sum()), 'item')}, "
                f"{len(self.better):,} got better and {len(self.worse):,} worse by more than {self.changed_above:g}."
            )
        else:
            change = "No item has an IoU with both models."
        return (
            f"{change} {self.likeness} "
            f"{quantity(len(self.moved), 'item')} moved: their neighbors overlap by less than {self.moved_below:.2g}. "
            f"On the common map, {self.disparity:.0%} of the variance of {first} is left between the two."
        )

    @property
    def likeness(self) -> str:
        """Whether activations and neighborhoods are more alike than by chance, in words."""
        near = f"overlap of {self.k} nearest"
        if self.sought < len(self):
            near += f" among a random {self.sought:,} items"
        return (
            f"{self._alike('Activations', 'CKA', self.cka, self.cka_null, self.cka_p)} "
            f"{self._alike('Neighborhoods', near, self.overlap, self.overlap_null, self.overlap_p)}"
        )

    @staticmethod
    def _alike(what: str, measure: str, value: float, null: float, p_value: float) -> str:
        if math.isnan(value):
            return f"{what} cannot be compared: all items are alike."
        chance = "no more alike than by chance" if p_value > 0.05 else "more alike than by chance"
        return f"{what} are {chance} ({measure} {value:.2f}, by chance {null:.2f}, p = {p_value:.2g})."

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"SpaceComparison({self.names[0]!r}, {self.names[1]!r}: {self.text})"

    def plot(self) -> Figure:
        """Both maps, colored by the change of IoU, and a histogram of it.

        Returns
        -------
        matplotlib.figure.Figure
            It belongs to no window and to nothing of `matplotlib.pyplot`: the last line of a cell shows it, `savefig`
            writes it.
        """
        from hdm_widgets.latent.comparison_plot import plot_comparison

        return plot_comparison(self)

    def frame(self) -> pandas.DataFrame:
        """One row per item, in the order of the spaces.

        Returns
        -------
        pandas.DataFrame
            `item`, coordinates on the common map, IoU with either model, `iou_change`, `neighbors` (the overlap), and
            whether the item is `better`, `worse` and `moved`.
        """
        import pandas

        (x_a, y_a), (x_b, y_b) = (points.T for points in self.coordinates)
        rows = np.arange(len(self))
        columns: dict[str, NDArray[Any]] = {"item": self.items, "x_a": x_a, "y_a": y_a, "x_b": x_b, "y_b": y_b}
        columns |= {"iou_a": self.iou[0], "iou_b": self.iou[1], "iou_change": self.iou_change}
        columns |= {"neighbors": self.neighbors}
        columns |= {name: np.isin(rows, getattr(self, name)) for name in ("better", "worse", "moved")}
        return pandas.DataFrame(columns, index=pandas.RangeIndex(len(self), name="index"))


def compare_spaces(
    a: LatentSpace, b: LatentSpace, *, names: tuple[str, str] = ("a", "b"), k: int | None = None, progress: bool = True
) -> SpaceComparison:
    """Compare the latent spaces of two models, or of two checkpoints of one, on the same items.

    Parameters
    ----------
    a, b : LatentSpace
        Fitted to the same data set. The layers and the number of features may differ.
    names : tuple of str
        What the models are called: two different texts.
    k : int, optional
        Neighbors to compare, less than half of the items that they are sought among; by default 10, or as many as
        there can be.
    progress : bool
        Show tqdm bars with the time left for what lasts longer than a second.

    Returns
    -------
    SpaceComparison

    Raises
    ------
    AttributeError
        If a space is not fitted.
    ValueError
        If the spaces are not of the same items, images and ground truths, have another `iou_empty`, there are too few
        items for `k`, or the names are not two different texts.
    TypeError
        If they are no spaces.

    Notes
    -----
    Alignment and overlap are those of all items, and so is the mean alignment of items in random order, which is known
    exactly. The chance that items in random order are as alike, and their mean overlap, are those of 199 orders; above
    2000 items, of a random 2000.

    Above 50,000 items the neighbors of every item are sought among a random 50,000, the same in both spaces, whose
    activations are held in memory; the text says so. It is these that come in random order. Of n items the overlap is
    then about that of the k n / 50,000 nearest of all, which is higher where neighborhoods differ in detail alone.

    Examples
    --------
    >>> import hdm_widgets as hw
    >>> model, scenes = hw.demo.aerial(40)
    >>> mean, largest = (hw.LatentSpace(model, pool=pool).fit(scenes, progress=False) for pool in ("mean", "max"))
    >>> comparison = hw.compare_spaces(mean, largest)
    >>> len(comparison.better), len(comparison.worse)
    (0, 0)
    """
    for space in (a, b):
        if not isinstance(space, LatentSpace):
            raise TypeError(f"expected two fitted LatentSpaces, got {type(space).__name__}")
    texts = [] if isinstance(names, str) else [name for name in names if isinstance(name, str)]
    if len(texts) != 2 or len(names) != 2 or texts[0] == texts[1]:
        raise ValueError(f"names must be two different texts, got {brief(names)}")
    _check_same(a, b)
    if k is None:
        k = max(1, min(_NEIGHBORS, (len(a) - 1) // 2))
    sought = min(len(a), _MOST_SOUGHT)
    if not is_whole(k) or not 1 <= k < sought / 2:
        raise ValueError(
            f"k must be 1 to {(sought - 1) // 2}, less than half of the items"
            f"{' that are searched' if sought < len(a) else ''}, got {brief(k)}"
        )
    features = a.collection_.features, b.collection_.features
    rng = np.random.default_rng(a.random_state)
    among = np.arange(len(a)) if sought == len(a) else np.sort(rng.choice(len(a), sought, replace=False))
    # Positions among these; of what is taken from a sample of them.
    some = np.arange(sought)
    if sought > _SAMPLE:
        some = np.sort(rng.choice(sought, _SAMPLE, replace=False))
    rows = among[some]
    cka, cka_by_chance = linear_cka(*features, progress=progress)
    of_sample, null = permuted_cka(features[0][rows], features[1][rows], random_state=a.random_state, progress=progress)
    near = [_neighbors(one, k, among, progress) for one in features]
    overlap = neighbor_overlap(*near)
    by_chance = _overlaps_by_chance(near[0][rows], near[1][among], some, rng, progress)
    aligned = align(a.embedding_[:, :2], b.embedding_[:, :2])
    return SpaceComparison(
        names=(texts[0], texts[1]),
        cka=cka,
        cka_null=cka_by_chance,
        cka_p=_p_value(of_sample, null),
        overlap=float(overlap.mean()),
        overlap_null=float(by_chance.mean()),
        overlap_p=_p_value(float(overlap[rows].mean()), by_chance),
        k=k,
        sought=sought,
        coordinates=(read_only(a.embedding_[:, :2]), read_only(aligned.points)),
        disparity=aligned.disparity,
        iou=(a.iou_, b.iou_),
        neighbors=read_only(overlap),
        # Half of the usual overlap, but of unlike spaces no less than chance explains.
        moved_below=max(float(np.median(overlap)) / 2, float(by_chance.mean())),
        changed_above=_CHANGED_IOU,
        items=a.items_,
        spaces=(a.snapshot(), b.snapshot()),
    )


def _neighbors(features: NDArray[np.floating[Any]], k: int, among: Indices, progress: bool = False) -> Indices:
    """The k items nearest to every item, of some, as positions among these, int64 (n, k); itself is not among them."""
    items = features if len(among) == len(features) else np.asarray(features[among])
    own = np.full(len(features), -1)
    own[among] = np.arange(len(among))
    parts = []
    with progress_bar(len(features), progress, "seeking neighbors", late=True) as bar:
        for rows in row_batches(*features.shape, most=_QUERIES):
            found = nearest(items, features[rows], k + 1)[0]
            others = found != own[rows, None]
            # Of items that are exactly alike, an item itself may not be among the nearest: then the last one is left
            # out, as it is where an item is not among those that are searched.
            others[others.all(axis=1), -1] = False
            parts.append(found[others].reshape(len(found), k))
            bar.update(rows.stop - rows.start)
    return np.concatenate(parts)


def _overlaps_by_chance(
    near: Indices, other: Indices, rows: Indices, rng: np.random.Generator, progress: bool
) -> Floats:
    """Mean overlaps where the second space's items are in random order, float64 (199,)."""
    means = np.empty(_PERMUTATIONS)
    with progress_bar(_PERMUTATIONS, progress, "neighbors by chance", unit="order", late=True) as bar:
        for place in range(_PERMUTATIONS):
            order = rng.permutation(len(other))
            # Item i of the first space is compared with item order[i] of the second, whose neighbors are renamed alike.
            back = np.argsort(order)
            means[place] = neighbor_overlap(near, back[other[order[rows]]]).mean()
            bar.update(1)
    return means


def _check_same(a: LatentSpace, b: LatentSpace) -> None:
    """Refuse spaces that are not of the same items, or that score them otherwise."""
    if len(a) != len(b):
        raise ValueError(f"the spaces must be of the same items, got {len(a)} and {len(b)} items")
    for what, one, other in (
        ("items of the data set", a.items_, b.items_),
        ("areas of the ground truth", a.overlaps_.truth_area, b.overlaps_.truth_area),
    ):
        differ = np.flatnonzero(one != other)
        if len(differ):
            place = int(differ[0])
            raise ValueError(
                f"the spaces must have the same {what}; {len(differ)} of {len(a)} differ, the first at position "
                f"{place}: {one[place]} and {other[place]}"
            )
    sizes = tuple(space.collection_.image_shape[1:] for space in (a, b))
    if sizes[0] != sizes[1]:
        raise ValueError(f"the spaces must be of images of the same size, got {sizes[0]} and {sizes[1]}")
    _check_same_images(a, b)
    empty = a.overlaps_.iou_empty, b.overlaps_.iou_empty
    if not np.array_equal(*empty, equal_nan=True):
        raise ValueError(
            f"the spaces must have the same iou_empty, got {empty[0]} and {empty[1]}: items with nothing to find and "
            "nothing drawn would change by that alone"
        )


def _check_same_images(a: LatentSpace, b: LatentSpace) -> None:
    """Refuse spaces of visibly different images, where both have thumbnails of one kind."""
    one, other = a.collection_, b.collection_
    if one.image_shape != other.image_shape or one.thumbnail_maker != other.thumbnail_maker:
        return
    for rows in row_batches(len(a), math.prod(one.thumbnails.shape[1:])):
        for place, pictures in enumerate(zip(one.thumbnails[rows], other.thumbnails[rows], strict=True), rows.start):
            if not alike(*pictures):
                raise ValueError(
                    f"the spaces must be of the same images; the first that differs is at position {place}"
                )
