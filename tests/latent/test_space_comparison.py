import copy
import dataclasses
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from layer_helpers import Reads
from scipy.spatial import KDTree, procrustes

import hdm_widgets as hw
from hdm_widgets.latent import batches
from hdm_widgets.latent import space_comparison as comparison_module
from hdm_widgets.latent.fitted import FittedState
from hdm_widgets.latent.kernel_alignment import linear_cka
from hdm_widgets.latent.space_comparison import _neighbors, align, neighbor_overlap


def random(n, d, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 1000), st.floats(0.01, 100), st.integers(2, 4))
def test_alignment_is_that_of_scipy(seed, scale, width):
    a, b = random(10, width, seed), scale * random(10, width, seed + 1) + 5
    found = align(a, b)
    _, _, disparity = procrustes(a, b)
    assert found.disparity == pytest.approx(disparity)
    # What is left is that fraction of the reference's variance, and nothing smaller does better.
    left = ((found.points - a) ** 2).sum()
    assert left == pytest.approx(disparity * ((a - a.mean(0)) ** 2).sum())


def test_a_turned_map_is_turned_back():
    a = random(20, 2)
    flipped = 3 * a @ np.array([[0, 1], [1, 0.0]]) - 4
    found = align(a, flipped)
    np.testing.assert_allclose(found.points, a, atol=1e-12)
    assert (found.scale, found.disparity) == (pytest.approx(1 / 3), pytest.approx(0))


def test_points_that_are_all_alike_stay_in_the_middle():
    a = random(5, 2)
    found = align(a, np.ones((5, 2)))
    np.testing.assert_allclose(found.points, np.broadcast_to(a.mean(0), (5, 2)))
    assert found.disparity == 1


def test_overlap_by_hand():
    one = np.array([[1, 2], [0, 2], [0, 1]])
    other = np.array([[2, 1], [2, 3], [3, 4]])
    np.testing.assert_allclose(neighbor_overlap(one, other), [1, 1 / 3, 0])


def test_overlap_of_many_neighbors_takes_little_memory():
    rng = np.random.default_rng(0)
    one, other = (np.array([rng.permutation(1000)[:400] for _ in range(30)]) for _ in range(2))
    tracemalloc.start()
    try:
        found = neighbor_overlap(one, other)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    common = np.array([len(set(a) & set(b)) for a, b in zip(one.tolist(), other.tolist(), strict=True)])
    np.testing.assert_allclose(found, common / (800 - common))
    # A few times the indices, and not one entry for each pair of neighbors.
    assert peak < 64 * one.size


def test_neighbors_leave_out_the_item_itself_also_among_copies():
    features = np.array([[0.0], [0], [0], [0], [1], [3]])
    found = _neighbors(features, 2, np.arange(6))
    assert found.shape == (6, 2)
    assert not (found == np.arange(6)[:, None]).any()
    np.testing.assert_array_equal(found[5], [4, 0])


def test_neighbors_among_some_items_are_positions_among_these():
    features = np.array([[0.0], [1], [1.5], [3], [7], [7]])
    # Those at 1, 3 and 7.
    found = _neighbors(features, 1, np.array([1, 3, 5]))
    assert found.tolist() == [[0], [1], [0], [0], [2], [1]]
    some, queries = np.arange(3, 200, 7), random(200, 4)
    expected = [
        some[some != row][np.argsort(np.linalg.norm(queries[some[some != row]] - queries[row], axis=1))[:5]]
        for row in range(200)
    ]
    np.testing.assert_array_equal(some[_neighbors(queries, 5, some)], expected)


@pytest.fixture
def five_thousand(space):
    """Two spaces of 5,000 items, whose features are noisy in the second, and exchanged among 200 items; and these."""
    rng = np.random.default_rng(0)
    one = rng.normal(size=(5000, 8)) + 3 * rng.normal(size=(8, 8))[rng.integers(0, 8, 5000)]
    other = one + 0.3 * rng.normal(size=one.shape)
    exchanged = rng.choice(5000, 200, replace=False)
    other[exchanged] = other[np.roll(exchanged, 1)]
    fitted, rows = space._map("collection_"), np.arange(5000) % len(space)
    counts = {name: getattr(fitted.collection, name)[rows] for name in ("tp", "fn", "fp", "thumbnails")}
    spaces = []
    for features in (one, other):
        made = copy.copy(space)
        collection = dataclasses.replace(fitted.collection, features=features, items=np.arange(5000), **counts)
        made._fitted = FittedState(
            dataclasses.replace(fitted, collection=collection, given_coordinates=features[:, :2])
        )
        spaces.append(made)
    return *spaces, exchanged


def test_of_many_items_neighbors_are_sought_among_a_sample(five_thousand, monkeypatch):
    """The overlap of 10 among 1,000 of 5,000 is within 0.02 of that of 50 among all, and the same items moved."""
    a, b, exchanged = five_thousand
    exact = hw.compare_spaces(a, b, k=50, progress=False)
    usual = hw.compare_spaces(a, b, progress=False)
    monkeypatch.setattr(comparison_module, "_MOST_SOUGHT", 1000)
    sampled, again = (hw.compare_spaces(a, b, progress=False) for _ in range(2))
    assert (exact.sought, usual.sought, sampled.sought, sampled.k) == (5000, 5000, 1000, 10)
    trees = (KDTree(space.collection_.features) for space in (a, b))
    near = [tree.query(tree.data, 11)[1][:, 1:] for tree in trees]
    np.testing.assert_array_equal(usual.neighbors, neighbor_overlap(*near))
    assert sampled.overlap == pytest.approx(exact.overlap, abs=0.02)
    assert np.isin(exchanged, sampled.moved[:220]).mean() >= 0.95
    assert np.isin(exchanged, exact.moved[:220]).mean() >= 0.95
    # By chance, of two choices of k among 999 others, k² / 999 are common on average.
    assert sampled.overlap_null == pytest.approx(10 / (2 * 999 - 10), rel=0.1)
    assert sampled.overlap_p == pytest.approx(1 / 200)
    np.testing.assert_array_equal(sampled.neighbors, again.neighbors)
    assert sampled.text == again.text
    assert "(overlap of 10 nearest among a random 1,000 items 0." in sampled.text
    assert "among a random" not in usual.text
    with pytest.raises(ValueError, match="k must be 1 to 499, less than half of the items that are searched, got 500"):
        hw.compare_spaces(a, b, k=500)


@pytest.fixture(scope="module")
def pair(make_groups):
    """Two spaces of the same sixty images: of the second model, masks of ten are better and of five worse."""
    groups = make_groups(60)
    features = groups.images.mean((2, 3))
    before = groups.images[:, 0] > 0.5
    after = before.copy()
    after[:10] = groups.masks[:10]
    after[10:15] = ~groups.masks[10:15]
    spaces = []
    for masks, columns in ((before, features), (after, -2 * features[:, ::-1])):
        spaces.append(hw.LatentSpace.from_features(columns, groups, masks, progress=False))
    return spaces


def test_two_checkpoints(pair):
    found = hw.compare_spaces(*pair, names=("before", "after"), k=5)
    a, b = pair
    # The activations differ by a rotation and a scale only.
    assert found.cka == pytest.approx(1)
    assert found.cka_p == found.overlap_p == pytest.approx(1 / 200)
    assert found.cka_null < 0.5
    assert found.overlap == pytest.approx(1)
    assert found.disparity == pytest.approx(0, abs=1e-6)
    np.testing.assert_allclose(found.coordinates[1], found.coordinates[0], atol=1e-4)
    np.testing.assert_allclose(found.iou_change, b.iou_ - a.iou_)
    assert set(found.better) == set(np.flatnonzero(b.iou_ - a.iou_ > 0.1)) == set(range(10))
    assert set(found.worse) == set(range(10, 15))
    assert (np.diff(found.iou_change[found.better]) <= 0).all()
    assert len(found.moved) == 0
    frame = found.frame()
    assert frame["better"].sum() == 10
    np.testing.assert_array_equal(frame["x_a"], a.embedding_[:, 0])
    assert "Of 60 items, 10 got better and 5 worse by more than 0.1." in found.text
    assert "Activations are more alike than by chance" in found.text
    assert found.likeness in found.text
    assert found.text in repr(found)
    # Snapshots: what is done to the spaces afterwards does not reach them.
    assert [shown.collection_ for shown in found.spaces] == [a.collection_, b.collection_]
    assert all(shown is not given for shown, given in zip(found.spaces, pair, strict=True))


def test_unlike_spaces_of_another_width(pair, make_groups):
    groups = make_groups(60)
    other = hw.LatentSpace.from_features(random(60, 17), groups, groups.masks, progress=False)
    found = hw.compare_spaces(pair[0], other)
    assert found.cka_p > 0.05
    assert found.overlap_p > 0.05
    assert found.overlap == pytest.approx(found.overlap_null, abs=0.05)
    assert found.disparity > 0.8
    assert len(found.moved) > 10
    assert (found.neighbors[found.moved] < found.moved_below).all()
    assert "no more alike than by chance" in found.text


def test_alignment_is_that_of_all_items(make_groups, monkeypatch):
    monkeypatch.setattr(comparison_module, "_SAMPLE", 30)
    groups = make_groups(60)
    features = random(60, 5), random(60, 4, 1)
    a, b = (hw.LatentSpace.from_features(one, groups, groups.masks, progress=False) for one in features)
    found = hw.compare_spaces(a, b, k=5)
    assert (found.cka, found.cka_null) == pytest.approx(linear_cka(*features), rel=1e-5)
    assert 0.05 < found.cka_p <= 1


@pytest.mark.parametrize("shown", [True, False])
def test_a_comparison_shows_how_far_it_is(pair, monkeypatch, capsys, shown):
    monkeypatch.setattr(batches, "_PROGRESS_DELAY", 0)
    hw.compare_spaces(*pair, k=5, progress=shown)
    told = capsys.readouterr().err
    for bar in ("comparing activations", "activations by chance", "seeking neighbors", "neighbors by chance"):
        assert (f"{bar}: 100%" in told) == shown


def test_it_is_deterministic(pair):
    one, other = hw.compare_spaces(*pair), hw.compare_spaces(*pair)
    assert one.text == other.text
    assert (one.cka_null, one.overlap_null) == (other.cka_null, other.overlap_null)


def changed(groups, **options):
    other = copy.copy(groups)
    for name, values in options.items():
        setattr(other, name, values)
    return other


def test_other_items_are_refused(space, groups, make_groups):
    shifted = np.roll(groups.masks, 1, axis=0)
    larger = np.tile(groups.images, (1, 1, 2, 1))
    spaces = {
        "the same items, got 60 and 50 items": make_groups(50),
        "the same areas of the ground truth; .* of 60 differ, the first at position 0": changed(groups, masks=shifted),
        "of the same size, got .8, 8. and .16, 8.": changed(
            groups, images=larger, masks=np.concatenate([groups.masks, np.zeros_like(groups.masks)], axis=1)
        ),
    }
    for message, data in spaces.items():
        other = hw.LatentSpace(Reads()).fit(data, progress=False)
        with pytest.raises(ValueError, match=message):
            hw.compare_spaces(space, other)


@pytest.mark.parametrize(("one", "other", "refused"), [(0.0, 1.0, True), (1.0, np.nan, True), (np.nan, np.nan, False)])
def test_items_with_nothing_to_find_are_scored_alike(make_groups, one, other, refused):
    groups = make_groups(40)
    groups.masks[:20] = False
    predictions = groups.masks.copy()
    a, b = (
        hw.LatentSpace.from_features(
            groups.images.mean((2, 3)), groups, predictions, iou_empty=iou_empty, progress=False
        )
        for iou_empty in (one, other)
    )
    if refused:
        with pytest.raises(ValueError, match=f"must have the same iou_empty, got {one} and {other}"):
            hw.compare_spaces(a, b)
    else:
        found = hw.compare_spaces(a, b)
        np.testing.assert_array_equal(np.isnan(found.iou_change), np.arange(40) < 20)


@pytest.mark.parametrize("k", [0, 30, 2.5])
def test_k_must_be_possible(space, k):
    with pytest.raises(ValueError, match="k must be 1 to 29, less than half of the items"):
        hw.compare_spaces(space, space, k=k)


@pytest.mark.parametrize("names", ["ab", ("a", "a"), ("a",), ("a", "b", "c"), ("a", 1)])
def test_names_are_two_different_texts(space, names):
    with pytest.raises(ValueError, match="names must be two different texts, got "):
        hw.compare_spaces(space, space, names=names)


def test_models_are_no_spaces(space):
    for pair_ in ((Reads(), Reads()), (space, Reads())):
        with pytest.raises(TypeError, match="expected two fitted LatentSpaces, got Reads"):
            hw.compare_spaces(*pair_)


def test_few_items_are_compared_by_as_many_neighbors_as_there_can_be(make_groups):
    space = hw.LatentSpace(Reads()).fit(make_groups(7), progress=False)
    assert hw.compare_spaces(space, space).k == 3
    with pytest.raises(ValueError, match="k must be 1 to 3"):
        hw.compare_spaces(space, space, k=4)


def test_images_may_be_normalized_in_two_ways(space, groups):
    other = hw.LatentSpace(Reads()).fit(changed(groups, images=groups.images * 0.5 + 0.25), progress=False)
    assert len(hw.compare_spaces(space, other)) == len(space)


def test_other_images_with_the_same_truths_are_refused(space, groups):
    images = groups.images.copy()
    images[5:8] = 1 - images[5:8]
    other = hw.LatentSpace(Reads()).fit(changed(groups, images=images), progress=False)
    with pytest.raises(ValueError, match="the same images; the first that differs is at position 5"):
        hw.compare_spaces(space, other)
