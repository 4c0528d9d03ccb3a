import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.cluster import DBSCAN, KMeans
from sklearn.metrics import adjusted_rand_score, silhouette_samples, silhouette_score

from hdm_widgets.latent import clusters as module
from hdm_widgets.latent import lloyd as lloyd_module
from hdm_widgets.latent.clusters import Clustering, best, compare, describe, fit_clusters
from hdm_widgets.latent.surface import rounded

SIZES = (50, 20, 30)
CENTERS = np.array([[0.0, 0, 0], [10, 0, 0], [0, 10, 5]])


def blobs(sizes=SIZES, centers=CENTERS, spread=0.5, seed=0):
    """Points around centers, in mixed order, and which center each has."""
    rng = np.random.default_rng(seed)
    names = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    return centers[names] + rng.normal(0, spread, (len(names), centers.shape[1])), names


def same_groups(one, other):
    return adjusted_rand_score(one, other) == 1


# -- one way ------------------------------------------------------------------------------------------


def test_blobs_are_found_by_kmeans():
    points, names = blobs()
    found = fit_clusters(points, "kmeans", n_clusters=3)
    assert same_groups(found.labels, names)
    # The largest is 0: blobs 0, 2 and 1.
    np.testing.assert_array_equal(np.array([0, 2, 1])[names], found.labels)
    assert found.labels.dtype == np.int64
    assert (found.method, found.n_clusters, found.eps, found.min_samples, found.noise) == ("kmeans", 3, None, None, 0)
    assert found.silhouette == pytest.approx(silhouette_score(points, names))
    assert not found.sampled


def test_blobs_are_found_by_dbscan_and_noise_is_in_no_group():
    points, names = blobs()
    noise = np.array([[50.0, 0, 0], [0, 50, 0], [0, 0, 50], [-50, 0, 0]])
    points = np.concatenate([points, noise])
    found = fit_clusters(points, "dbscan", eps=2.0, min_samples=5)
    np.testing.assert_array_equal(found.labels[:100], np.array([0, 2, 1])[names])
    np.testing.assert_array_equal(found.labels[100:], -1)
    assert (found.method, found.n_clusters, found.eps, found.min_samples) == ("dbscan", 3, 2.0, 5)
    assert found.noise == pytest.approx(4 / 104)
    # Items in no group count as 0.
    expected = np.concatenate([silhouette_samples(points[:100], names), np.zeros(4)]).mean()
    assert found.silhouette == pytest.approx(expected)


@pytest.mark.parametrize(("eps", "min_samples"), [(0.8, 3), (1.5, 10), (12.0, 2)])
def test_parameters_of_dbscan_are_used(eps, min_samples):
    points, _ = blobs(spread=0.8)
    found = fit_clusters(points, "dbscan", eps=eps, min_samples=min_samples)
    expected = DBSCAN(eps=eps, min_samples=min_samples).fit(points).labels_
    np.testing.assert_array_equal(found.labels < 0, expected < 0)
    assert same_groups(found.labels, expected)
    assert found.n_clusters == expected.max() + 1
    sizes = np.bincount(found.labels[found.labels >= 0], minlength=1)
    assert (np.diff(sizes) <= 0).all()


@pytest.mark.parametrize(
    ("options", "groups", "noise"),
    [
        ({"method": "kmeans", "n_clusters": 1}, 1, 0),
        ({"method": "kmeans", "n_clusters": 100}, 100, 0),
        ({"method": "dbscan", "eps": 1000.0, "min_samples": 5}, 1, 0),
        ({"method": "dbscan", "eps": 1e-6, "min_samples": 5}, 0, 1),
    ],
)
def test_without_two_groups_to_compare_there_is_no_silhouette(options, groups, noise):
    found = fit_clusters(blobs()[0], **options)
    assert np.isnan(found.silhouette)
    assert (found.n_clusters, found.noise) == (groups, noise)
    assert set(found.labels) == (set(range(groups)) or {-1})


def test_the_silhouette_of_many_items_is_that_of_a_sample(monkeypatch):
    points, _ = blobs((1200, 700, 600), spread=2.0)
    found = fit_clusters(points, "kmeans", n_clusters=3)
    assert found.sampled
    assert found.silhouette == pytest.approx(silhouette_score(points, found.labels), abs=0.02)
    assert found.silhouette == fit_clusters(points, "kmeans", n_clusters=3).silhouette
    # Noise is not among those that are drawn, and counts as 0.
    alone = np.arange(300.0)[:, None] * [0, 0, 30] + [0, 0, 100]
    points = np.concatenate([blobs((1200, 700))[0], alone])
    found = fit_clusters(points, "dbscan", eps=3.0, min_samples=5)
    assert (found.noise, found.n_clusters, found.sampled) == (300 / 2200, 2, False)
    assert found.silhouette == pytest.approx(silhouette_score(points[:1900], found.labels[:1900]) * 1900 / 2200)
    monkeypatch.setattr(module, "_SILHOUETTE_SAMPLE", 1899)
    sampled = fit_clusters(points, "dbscan", eps=3.0, min_samples=5)
    assert sampled.sampled
    assert sampled.silhouette == pytest.approx(found.silhouette, abs=0.001)


def test_the_same_every_time():
    points, _ = blobs(spread=4.0)
    one, two = (fit_clusters(points, "kmeans", n_clusters=6, random_state=3) for _ in range(2))
    np.testing.assert_array_equal(one.labels, two.labels)
    assert one.silhouette == two.silhouette


def inertia(points, labels):
    return sum(((points[labels == label] - points[labels == label].mean(0)) ** 2).sum() for label in np.unique(labels))


@pytest.mark.parametrize(("spread", "n_clusters", "tolerance"), [(0.5, 3, 0), (2.0, 3, 0.002), (4.0, 8, 0.02)])
def test_many_items_are_grouped_as_a_few_are(monkeypatch, spread, n_clusters, tolerance):
    points, names = blobs((2500, 1000, 1500), spread=spread)
    whole = fit_clusters(points, "kmeans", n_clusters=n_clusters)
    monkeypatch.setattr(module, "_MANY", 4999)
    monkeypatch.setattr(module, "_FIRST_SAMPLE", 500)
    monkeypatch.setattr(lloyd_module, "_ROWS", 700)
    found = fit_clusters(points, "kmeans", n_clusters=n_clusters)
    assert (whole.from_sample, found.from_sample, found.n_clusters) == (False, True, n_clusters)
    assert inertia(points, found.labels) <= inertia(points, whole.labels) * (1 + tolerance) + 1e-9
    if spread == 0.5:
        assert same_groups(found.labels, names)
    if n_clusters == 3:
        assert adjusted_rand_score(found.labels, whole.labels) > 0.98
    np.testing.assert_array_equal(fit_clusters(points, "kmeans", n_clusters=n_clusters).labels, found.labels)


def test_batches_change_no_group_of_many_items(monkeypatch):
    points, _ = blobs((300, 400, 200), spread=4.0)
    monkeypatch.setattr(module, "_MANY", 100)
    monkeypatch.setattr(module, "_FIRST_SAMPLE", 100)
    whole = fit_clusters(points, "kmeans", n_clusters=5).labels
    monkeypatch.setattr(lloyd_module, "_ROWS", 7)
    np.testing.assert_array_equal(fit_clusters(points, "kmeans", n_clusters=5).labels, whole)


@pytest.mark.parametrize("n_clusters", [1, 3, 4, 9])
def test_points_that_the_first_sample_lacks_are_clusters_too(monkeypatch, n_clusters):
    # Three points are one item each: a sample of 20 has few of them. Warnings are errors here.
    points = np.zeros((1000, 2))
    points[[10, 500, 900]] = [[5.0, 0], [0, 9], [-7, 7]]
    monkeypatch.setattr(module, "_MANY", 999)
    monkeypatch.setattr(module, "_FIRST_SAMPLE", 20)
    found = fit_clusters(points, "kmeans", n_clusters=n_clusters)
    assert found.n_clusters == min(n_clusters, 4)
    if n_clusters >= 4:
        assert np.bincount(found.labels).tolist() == [997, 1, 1, 1]


def test_a_center_without_items_goes_to_the_farthest_item():
    points = np.array([[0.0], [1], [2], [50], [51], [90]])
    found, moved = lloyd_module._pass(points, np.array([[1.0], [50], [1000]]))
    assert found.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert found.inertia == pytest.approx(1 + 1 + 1 + 40**2)
    np.testing.assert_allclose(moved, [[1], [191 / 3], [90]])
    rest = lloyd_module.lloyd(points, 3, lambda some, _: np.array([0, 1]), np.array([0, 3]))
    assert rest.labels.tolist() == [0, 0, 0, 1, 1, 2]
    assert rest.inertia == pytest.approx(2.5)


@pytest.mark.parametrize("names", [[0, 1, 2], [2, 0, 1], [1, 2, 0]])
def test_groups_of_equal_size_are_named_by_their_first_item(names):
    # What KMeans calls them depends on rounding. Three of one name, then two and two.
    groups = np.array([0, 0, -1, 1, 2, 2, 2, 1])
    labels = module._by_size(np.where(groups < 0, -1, np.array(names)[groups]))
    assert labels.tolist() == [1, 1, -1, 2, 0, 0, 0, 2]


def test_a_clustering_as_a_row_and_as_text():
    labels = np.array([0, 1, -1])
    found = Clustering("dbscan", 2, 0.5, 3, 1 / 3, 0.25, False, labels)
    assert found.row() == {
        "method": "dbscan", "n_clusters": 2, "eps": 0.5, "min_samples": 3, "noise": 1 / 3, "silhouette": 0.25,
        "sampled": False, "from_sample": False,
    }  # fmt: skip
    assert str(found) == "2 clusters (DBSCAN, eps 0.5, min_samples 3), silhouette 0.25"
    assert str(Clustering("kmeans", 4, None, None, 0.0, 0.5, False, labels)) == "4 clusters (KMeans), silhouette 0.50"
    assert str(Clustering("kmeans", 4, None, None, 0.0, 0.5, True, labels, True)) == (
        "4 clusters (KMeans, first centers from 20,000 random items), silhouette 0.50 of 2,000 random items"
    )


# -- many ways ----------------------------------------------------------------------------------------


def test_a_comparison_finds_the_blobs_by_either_method():
    points, names = blobs()
    ways = list(compare(points))
    chosen = best(ways)
    assert same_groups(chosen.labels, names)
    assert chosen.silhouette == max(way.silhouette for way in ways if not np.isnan(way.silhouette))
    by_kmeans = [way for way in ways if way.method == "kmeans"]
    assert [way.n_clusters for way in by_kmeans] == [2, 3, 4, 5, 6, 7, 8, 10, 12, 14]
    assert best(by_kmeans).n_clusters == 3
    by_dbscan = [way for way in ways if way.method == "dbscan"]
    assert {way.min_samples for way in by_dbscan} == {5, 10}
    assert best(by_dbscan).n_clusters == 3
    for way in ways:
        again = fit_clusters(
            points,
            way.method,
            n_clusters=way.n_clusters if way.method == "kmeans" else None,
            eps=way.eps,
            min_samples=way.min_samples,
        )
        np.testing.assert_array_equal(again.labels, way.labels)


def test_the_reaches_that_are_tried_follow_the_data():
    points, _ = blobs(spread=0.5)
    reaches = [way.eps for way in compare(points) if way.method == "dbscan"]
    larger = [way.eps for way in compare(1000 * points) if way.method == "dbscan"]
    np.testing.assert_allclose(larger, 1000 * np.array(reaches), rtol=1e-6)
    # Distances to the fifth and tenth nearest, the item itself counted.
    distances = np.sort(cdist(points, points), axis=1)
    expected = [np.quantile(distances[:, k - 1], q) for k in (5, 10) for q in (0.5, 0.7, 0.85, 0.95)]
    np.testing.assert_allclose(reaches, expected)


@pytest.mark.parametrize(("count", "kmeans"), [(2, []), (3, [2]), (6, [2, 3, 4, 5]), (11, [2, 3, 4, 5, 6, 7, 8, 10])])
def test_few_items_have_few_ways(count, kmeans):
    ways = list(compare(blobs()[0][:count]))
    assert [way.n_clusters for way in ways if way.method == "kmeans"] == kmeans
    assert all(way.min_samples < count for way in ways if way.method == "dbscan")


def test_items_that_are_alike_are_no_trouble():
    # Six places with ten items each: fewer than KMeans is asked for, and no distance between most neighbors.
    points = np.repeat(blobs((2, 2, 2))[0], 10, axis=0)
    ways = list(compare(points))
    assert all(way.eps > 0 for way in ways if way.method == "dbscan")
    assert best(ways).n_clusters in (3, 6)


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        (np.repeat([[0.0, 0], [1, 0], [5, 5]], [6, 3, 1], axis=0), [6, 3, 1]),
        (np.repeat([[7.0, -3]], 10, axis=0), [10]),
        (np.zeros((10, 2)), [10]),
        # Apart by rounding alone.
        (np.repeat([[100.0, 0], [0, 100]], [7, 3], axis=0) + 1e-12 * np.arange(20).reshape(10, 2), [7, 3]),
        (np.repeat([[1e9, 0], [1e9 + 10, 0], [-2e9, 5]], [5, 3, 2], axis=0), [8, 2]),
    ],
    ids=["three points", "one point", "zeros", "rounding", "far from the origin"],
)
def test_fewer_distinct_points_than_clusters_are_no_reason_to_warn(points, expected):
    # Warnings are errors here.
    for n_clusters in (4, 10):
        found = fit_clusters(points, "kmeans", n_clusters=n_clusters)
        assert np.bincount(found.labels).tolist() == expected
        assert found.n_clusters == len(expected)


@pytest.mark.parametrize("n_clusters", [1, 2, 7, 60])
def test_distinct_points_are_grouped_as_scikit_learn_does(n_clusters):
    points, _ = blobs((30, 20, 10), spread=2.0)
    expected = KMeans(n_clusters, n_init=4, random_state=2).fit(rounded(points)).labels_
    found = fit_clusters(points, "kmeans", n_clusters=n_clusters, random_state=2)
    assert same_groups(found.labels, expected)
    assert found.n_clusters == n_clusters


def test_the_best_is_the_first_where_none_has_a_silhouette():
    labels = np.array([0, 1])
    ways = [Clustering("kmeans", n, None, None, 0.0, score, False, labels) for n, score in ((1, np.nan), (2, np.nan))]
    assert best(ways) is ways[0]
    ways.append(Clustering("kmeans", 3, None, None, 0.0, -0.5, False, labels))
    assert best(ways) is ways[2]


# -- what is in a group -------------------------------------------------------------------------------


def test_a_group_by_hand():
    coordinates = np.array([[0.0], [1], [2], [3], [10], [100], [101], [500]])
    labels = np.array([0, 0, 0, 0, 0, 1, 1, -1])
    iou = np.array([0.1, 0.2, np.nan, 0.6, 0.7, np.nan, np.nan, 1.0])
    area = np.array([5, 0, 0, 8, 9, 0, 0, 4])
    first, second = describe(labels, coordinates, iou, area)
    assert (first.label, first.size, first.indices.tolist()) == (0, 5, [0, 1, 2, 3, 4])
    # Sums of distances: 16, 13, 12, 13, 34.
    assert first.medoid == 2
    # By distance to it: 1 and 3 at one step, 0 at two, 4 at eight.
    assert first.representatives == (2, 1, 3, 0, 4)
    assert first.mean_iou == pytest.approx(1.6 / 4)
    assert first.median_iou == pytest.approx(0.4)
    assert first.empty_truths == pytest.approx(2 / 5)
    assert (second.label, second.size, second.medoid, second.representatives) == (1, 2, 5, (5, 6))
    assert np.isnan(second.mean_iou)
    assert np.isnan(second.median_iou)
    assert second.empty_truths == 1


def test_no_group_at_all():
    assert describe(np.full(3, -1), np.zeros((3, 2)), np.zeros(3), np.zeros(3, int)) == ()


def test_the_medoid_comes_first_among_members_at_one_place():
    coordinates = np.array([[5.0, 5], [0, 0], [0, 0], [0, 0], [1, 0], [0, 1]])
    (group,) = describe(np.zeros(6, int), coordinates, np.zeros(6), np.ones(6, int))
    assert group.medoid == group.representatives[0]
    assert group.medoid in (1, 2, 3)
    assert set(group.representatives[:3]) == {1, 2, 3}
    assert len(set(group.representatives)) == 5


def test_the_medoid_of_many_is_sought_near_their_mean(monkeypatch):
    points, _ = blobs((60,), CENTERS[:1], spread=1.0)
    (group,) = describe(np.zeros(60, int), points, np.zeros(60), np.ones(60, int))
    assert group.medoid == cdist(points, points).sum(axis=1).argmin()
    monkeypatch.setattr(module, "_MEDOID_SAMPLE", 20)
    (some,) = describe(np.zeros(60, int), points, np.zeros(60), np.ones(60, int))
    nearest = np.argsort(np.linalg.norm(points - points.mean(0), axis=1))[:20]
    assert some.medoid == nearest[cdist(points[nearest], points[nearest]).sum(axis=1).argmin()]
    # Those nearest to the medoid are of all, not of the sample alone.
    away = np.linalg.norm(points - points[some.medoid], axis=1)
    assert list(some.representatives) == np.argsort(away)[:5].tolist()
