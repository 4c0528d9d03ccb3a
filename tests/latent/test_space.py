import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.manifold import trustworthiness
from sklearn.metrics import adjusted_rand_score, silhouette_score
from torch import nn

import hdm_widgets as hw
from hdm_widgets.latent import CollectionError, Layer, batches
from hdm_widgets.latent import fitted as module
from hdm_widgets.latent.confidences import CONFIDENCES

QUIET = {"progress": False}
SCORES = [
    "iou", "dice", "precision", "recall", "truth_area", "predicted_area", "false_positive_area",
    "false_negative_area", "expected_iou",
]  # fmt: skip


def distances(features):
    return np.linalg.norm(features[:, None] - features[None], axis=-1)


# -- the map ------------------------------------------------------------------------------------------


def test_the_map_is_what_numpy_and_scikit_learn_say(space, groups):
    oracle = PCA(6, svd_solver="full").fit(groups.features)
    expected = oracle.transform(groups.features)
    assert space.embedding_.shape == (60, 2)
    signs = np.sign((space.cluster_coordinates_ * expected).sum(0))
    np.testing.assert_allclose(space.cluster_coordinates_ * signs, expected, atol=1e-5)
    np.testing.assert_array_equal(space.embedding_, space.cluster_coordinates_[:, :2])
    np.testing.assert_allclose(space.explained_variance_ratio_, oracle.explained_variance_ratio_[:2], atol=1e-5)
    np.testing.assert_array_equal(space.iou_, groups.iou)
    assert space.layer_ == Layer("values", (6, 8, 8), chosen=True)
    assert space.layer_name_ == "values"
    assert space.items_.tolist() == list(range(60))
    assert space.skipped_ == {}
    assert space.dataset_ is groups
    assert len(space) == 60
    np.testing.assert_array_equal(space.overlaps_.truth_area, groups.masks.sum((1, 2)))
    share = oracle.explained_variance_ratio_[:2].sum()
    assert repr(space) == (
        f"LatentSpace of 60 items at values: 6 channels of 8 x 8, pool='mean'; "
        f"two components explain {share:.0%} of the variance"
    )


@pytest.mark.parametrize(
    ("n_components", "n_cluster_components", "kept"), [(2, 10, 6), (4, 3, 3), (6, 6, 6), (2, 1, 1)]
)
def test_as_many_components_as_asked_for(reads, groups, n_components, n_cluster_components, kept):
    space = hw.LatentSpace(reads, n_components=n_components, n_cluster_components=n_cluster_components)
    assert space.fit(groups, **QUIET) is space
    assert space.embedding_.shape == (60, n_components)
    assert space.cluster_coordinates_.shape == (60, kept)
    assert space.explained_variance_ratio_.shape == (n_components,)
    assert space.transform(groups.images[:3]).shape == (3, n_components)
    assert [name for name in space.table() if name.startswith("pc")] == [f"pc{i + 1}" for i in range(n_components)]


@pytest.mark.parametrize(
    ("pool", "grid", "width"), [("mean", 2, 6), ("max", 2, 6), ("flatten", 2, 384), ("grid", 4, 96)]
)
def test_pooling_and_grid_are_handed_on(reads, groups, pool, grid, width):
    space = hw.LatentSpace(reads, pool=pool, grid=grid).fit(groups, **QUIET)
    assert space.collection_.features.shape == (60, width)
    np.testing.assert_allclose(space.transform(groups.images), space.embedding_, atol=1e-4)


def test_two_fits_agree(reads, groups, space):
    one, two = (
        hw.LatentSpace(reads, layer=layer, batch_size=16).fit(groups, **QUIET) for layer in ("auto", reads.values)
    )
    assert two.layer_ == Layer("values", (6, 8, 8))
    np.testing.assert_array_equal(one.embedding_, two.embedding_)
    np.testing.assert_array_equal(one.expected_iou(), two.expected_iou())
    assert one.cv_score_ == two.cv_score_
    # Batches of another size may differ in the last bit.
    np.testing.assert_allclose(one.embedding_, space.embedding_, atol=1e-6)
    np.testing.assert_array_equal(one.iou_, space.iou_)


def test_the_score_tells_whether_the_place_says_anything(make_groups, reads):
    groups, rng = make_groups(100), np.random.default_rng(0)
    share = rng.random((100, 1, 1))
    # A share of the pixels is drawn and all are true: the IoU is the share, and the channels' means tell it.
    ramps = rng.permuted(np.broadcast_to(np.linspace(0, 1, 64), (100, 64)), axis=1)
    groups.images[:, 0] = ramps.reshape(-1, 8, 8) < share
    groups.images[:, 1:3] = share[:, None]
    groups.masks[:] = True
    space = hw.LatentSpace(reads).fit(groups, **QUIET)
    assert space.cv_score_ > 0.9
    np.testing.assert_allclose(space.expected_iou(), space.iou_, atol=0.1)
    # All pixels are drawn, and a share by chance is true.
    groups.images[:, 0] = 1
    groups.masks = rng.random((100, 8, 8)) < rng.random((100, 1, 1))
    assert hw.LatentSpace(reads).fit(groups, **QUIET).cv_score_ < 0.1


@pytest.mark.parametrize("empty", [0.0, 1.0, 0.5, np.nan])
def test_items_without_anything_to_find_or_found(make_groups, reads, empty):
    groups = make_groups(40)
    groups.images[::4, :2] = 0.1
    groups.masks[::4] = False
    space = hw.LatentSpace(reads, iou_empty=empty).fit(groups, **QUIET)
    np.testing.assert_array_equal(space.iou_[::4], empty)
    assert np.isfinite(np.delete(space.iou_, np.s_[::4])).all()
    assert space.regressor_.trained_on == (30 if np.isnan(empty) else 40)


def test_no_item_with_an_iou(make_groups, reads):
    groups = make_groups(20)
    groups.images[:, 0] = 0.1
    groups.masks[:] = False
    space = hw.LatentSpace(reads, iou_empty=np.nan).fit(groups, **QUIET)
    assert np.isnan(space.cv_score_)
    assert np.isnan(space.expected_iou()).all()
    assert np.isnan(space.predict_iou(groups.images[:2])).all()
    assert np.isnan(space.surface((3, 3)).values).all()
    assert np.isnan(space.select([1]).statistics.mean_iou)


def test_the_encoder_decoder_of_a_user():
    # The class itself, on images of its own: the activations are those at its bottleneck.
    torch.manual_seed(0)
    model = hw.UNet(1, 1, width=2, depth=2)
    images = torch.rand(12, 1, 16, 16)
    space = hw.LatentSpace(model).fit([(image, image[0] > 0.5) for image in images], **QUIET)
    seen = []
    handle = model.bottleneck.register_forward_hook(lambda module, inputs, output: seen.append(output.mean((2, 3))))
    with torch.inference_mode():
        logits = model.eval()(images)
    handle.remove()
    np.testing.assert_allclose(space.collection_.features, seen[0], atol=1e-6)
    expected = [hw.metrics.iou(logit[0] > 0, image[0] > 0.5) for logit, image in zip(logits, images, strict=True)]
    np.testing.assert_allclose(space.iou_, expected)


def test_a_segmenter_serves_as_the_model(reads, groups, space):
    segmenter = hw.Segmenter(reads, threshold=0.7, batch_size=7)
    there = hw.LatentSpace(segmenter).fit(groups, **QUIET)
    here = hw.LatentSpace(reads, threshold=0.7, batch_size=7).fit(groups, **QUIET)
    np.testing.assert_array_equal(there.iou_, here.iou_)
    assert not np.array_equal(there.iou_, space.iou_)
    with pytest.raises(ValueError, match="threshold must be set on the Segmenter itself"):
        hw.LatentSpace(segmenter, threshold=0.5)


def test_progress_is_shown_or_not(reads, groups, capfd):
    space = hw.LatentSpace(reads).fit(groups, progress=False)
    space.compare_clusterings(progress=False)
    assert capfd.readouterr() == ("", "")
    space.fit(groups)
    space.compare_clusterings()
    shown = capfd.readouterr().err
    assert "collecting activations" in shown
    assert "comparing" in shown


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_fitting_where_gradients_are_off(reads, groups, space, mode):
    with mode():
        there = hw.LatentSpace(reads).fit(groups, **QUIET)
        np.testing.assert_allclose(there.transform(groups.images[:5]), space.embedding_[:5], atol=1e-5)
    np.testing.assert_allclose(there.embedding_, space.embedding_, atol=1e-6)


def test_a_trained_model_is_not_changed():
    encoder = nn.Conv2d(6, 4, 3, 2, 1), nn.BatchNorm2d(4), nn.ReLU(inplace=True)
    model = nn.Sequential(*encoder, nn.ConvTranspose2d(4, 1, 2, 2))
    model.train()[1].eval()
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(10, 6, 8, 8, generator=generator)
    space = hw.LatentSpace(model).fit([(image, image[0] > 0.5) for image in images], **QUIET)
    space.locate(images[:2])
    assert [module.training for module in model.modules()] == [True, True, False, True, True]
    assert all(not module._forward_hooks for module in model.modules())
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, weights[name])


# -- new images -------------------------------------------------------------------------------------


@pytest.mark.parametrize("convert", [np.asarray, torch.as_tensor, lambda images: images.astype(np.float64)])
def test_images_of_the_data_set_fall_where_they_are(space, groups, convert):
    images = convert(groups.images)
    np.testing.assert_allclose(space.transform(images), space.embedding_, atol=1e-5)
    np.testing.assert_array_equal(space.predict_iou(images), space.estimate(images, progress=False).iou)
    found = space.locate(images)
    np.testing.assert_allclose(found.embedding, space.embedding_, atol=1e-5)
    np.testing.assert_allclose(found.iou, space.expected_iou(), atol=1e-4)
    np.testing.assert_array_equal(found.nearest, np.arange(60))
    np.testing.assert_allclose(found.distance, 0, atol=1e-4)


def test_new_images_of_the_same_kind_and_of_another(space, groups, make_groups):
    new = make_groups(40, seed=0)
    # The same groups with other noise.
    noise = np.random.default_rng(9).normal(0, 0.3, new.images.shape)
    means = new.features[..., None, None]
    images = (means + noise - noise.mean((2, 3), keepdims=True) + 0.01).astype(np.float32)
    found = space.locate(images)
    near = distances(groups.features)
    usual = np.quantile(np.where(np.eye(60, dtype=bool), np.inf, near).min(1), 0.95)
    features = images.astype(np.float64).mean((2, 3))
    to_items = np.linalg.norm(features[:, None] - groups.features[None], axis=-1)
    np.testing.assert_allclose(found.distance, to_items.min(1) / usual, rtol=1e-3)
    np.testing.assert_array_equal(found.nearest, to_items.argmin(1))
    assert np.median(found.distance) < 1
    assert found.distance.max() < 1.5
    assert (space.locate(np.full((1, 6, 8, 8), 3, np.float32)).distance > 5).all()
    chance = np.random.default_rng(1).normal(0, 3, (5, 6, 8, 8)).astype(np.float32)
    assert (space.locate(chance).distance > 1).all()


def test_items_that_come_twice_bring_nothing_near(make_groups, reads):
    once = make_groups(40)
    twice = make_groups(80)
    twice.images, twice.masks = np.tile(once.images, (2, 1, 1, 1)), np.tile(once.masks, (2, 1, 1))
    far = np.full((1, 6, 8, 8), 0.5, np.float32)
    expected, got = (
        hw.LatentSpace(reads, batch_size=20).fit(groups, **QUIET).locate(far).distance for groups in (once, twice)
    )
    assert expected > 1
    np.testing.assert_allclose(got, expected, rtol=0.2)


def test_images_of_another_size_fall_on_the_map_too(space, groups):
    larger = np.repeat(np.repeat(groups.images[:4], 2, axis=2), 3, axis=3)
    np.testing.assert_allclose(space.transform(larger), space.embedding_[:4], atol=1e-5)


def test_images_come_in_batches(groups, reads):
    sizes = []
    reads.register_forward_pre_hook(lambda module, inputs: sizes.append(len(inputs[0])))
    space = hw.LatentSpace(reads, batch_size=9).fit(groups, **QUIET)
    sizes.clear()
    space.transform(groups.images[:20])
    assert sizes == [9, 9, 2]


# -- neighbors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [1024, 7, 60])
@pytest.mark.parametrize("k", [1, 12, 59])
def test_neighbors_are_those_that_brute_force_finds(monkeypatch, space, groups, rows, k):
    monkeypatch.setattr(batches, "BATCH_BYTES", rows * 8 * 6)
    features = np.asarray(space.collection_.features, np.float64)
    apart = distances(features)
    for index in (0, 13, 59):
        order = np.argsort(np.where(np.arange(60) == index, np.inf, apart[index]), kind="stable")[:k]
        found = space.neighbors(index, k)
        np.testing.assert_array_equal(found.indices, order)
        np.testing.assert_allclose(found.distances, apart[index][order], rtol=1e-12)
    np.testing.assert_allclose(features, groups.features, atol=1e-6)


def test_twelve_neighbors_unless_told_otherwise(space):
    indices, apart = space.neighbors(np.int64(5))
    assert len(indices) == len(apart) == 12
    assert 5 not in indices
    assert (np.diff(apart) >= 0).all()


def test_items_that_are_alike_are_neighbors_at_no_distance(make_groups, reads):
    groups = make_groups(30)
    groups.images[[3, 9, 27]] = groups.images[20]
    space = hw.LatentSpace(reads, batch_size=30).fit(groups, **QUIET)
    for index, others in ((3, [9, 20, 27]), (20, [3, 9, 27])):
        found = space.neighbors(index, 5)
        assert sorted(found.indices[:3]) == others
        np.testing.assert_array_equal(found.distances[:3], 0)
        assert index not in found.indices
        assert found.distances[3] > 0
    # More of the same than are asked for: still not the item itself.
    groups.images[:20] = groups.images[0]
    space.fit(groups, **QUIET)
    assert 19 not in space.neighbors(19, 3).indices
    np.testing.assert_array_equal(space.neighbors(19, 3).distances, 0)


def test_neighbors_of_activations_far_from_zero(make_groups, reads):
    # Squares of thousands cancel; the distances are hundredths.
    groups = make_groups(40)
    groups.images = (groups.images.astype(np.float64) * 0.1 + 5000).astype(np.float32)
    space = hw.LatentSpace(reads).fit(groups, **QUIET)
    features = np.asarray(space.collection_.features, np.float64)
    apart = distances(features)
    for index in range(40):
        found = space.neighbors(index, 5)
        np.testing.assert_allclose(found.distances, np.sort(apart[index])[1:6], rtol=1e-12)


def test_trustworthiness_is_scikit_learns(space):
    for n_neighbors in (1, 12, 29):
        expected = trustworthiness(
            np.asarray(space.collection_.features, np.float64), space.embedding_, n_neighbors=n_neighbors
        )
        assert space.trustworthiness(n_neighbors) == pytest.approx(expected)
    assert space.trustworthiness() == space.trustworthiness(12)


def test_trustworthiness_of_many_is_that_of_some(monkeypatch, space):
    whole = space.trustworthiness(5)
    monkeypatch.setattr(module, "_SAMPLE", 59)
    assert space.trustworthiness(5) == space.trustworthiness(5) != whole
    assert space.trustworthiness(5) == pytest.approx(whole, abs=0.1)


# -- clusters -----------------------------------------------------------------------------------------


def test_the_groups_are_found(own_space, groups):
    found = own_space.cluster()
    assert found is own_space.clusters_
    # They were made by size: 0 is the largest.
    np.testing.assert_array_equal(own_space.labels_, groups.groups)
    assert [one.size for one in found] == [30, 18, 12]
    assert own_space.clustering_.n_clusters == 3
    for one in found:
        members = groups.groups == one.label
        np.testing.assert_array_equal(one.indices, np.flatnonzero(members))
        assert one.mean_iou == pytest.approx(groups.iou[members].mean())
        assert one.median_iou == pytest.approx(np.median(groups.iou[members]))
        assert set(one.representatives) <= set(one.indices)
        within = distances(own_space.cluster_coordinates_[one.indices]).sum(1)
        assert one.medoid == one.indices[within.argmin()]


@pytest.mark.parametrize("n_clusters", [1, 3, 14, np.int64(5), 60])
def test_as_many_clusters_as_asked_for(own_space, n_clusters):
    found = own_space.cluster(n_clusters)
    assert len(found) == n_clusters
    assert [one.label for one in found] == list(range(n_clusters))
    sizes = [one.size for one in found]
    assert sizes == sorted(sizes, reverse=True)
    assert sum(sizes) == 60
    np.testing.assert_array_equal(np.sort(np.concatenate([one.indices for one in found])), np.arange(60))
    assert own_space.clustering_.method == "kmeans"
    np.testing.assert_array_equal(own_space.table()["cluster"], own_space.labels_)


def test_clusters_by_density(own_space, groups):
    found = own_space.cluster(method="dbscan", eps=0.2, min_samples=3)
    assert (own_space.clustering_.eps, own_space.clustering_.min_samples) == (0.2, 3)
    np.testing.assert_array_equal(own_space.labels_, groups.groups)
    own_space.cluster(method="dbscan", eps=0.03)
    assert own_space.clustering_.min_samples == 5
    assert own_space.clustering_.noise == np.mean(own_space.labels_ == -1) > 0
    assert sum(one.size for one in own_space.clusters_) == np.sum(own_space.labels_ >= 0)
    assert own_space.cluster(method="dbscan", eps=1e-9) == ()
    assert len(found) == 3


def test_a_comparison_is_a_table_best_first(own_space):
    frame = own_space.compare_clusterings(progress=False)
    named = ["method", "n_clusters", "eps", "min_samples", "noise", "silhouette", "sampled", "from_sample"]
    assert list(frame.columns) == named
    assert set(frame["method"]) == {"kmeans", "dbscan"}
    scores = frame["silhouette"].dropna()
    assert (np.diff(scores) <= 0).all()
    assert frame["silhouette"].iloc[0] == frame["silhouette"].max()
    own_space.cluster()
    assert own_space.clustering_.silhouette == frame["silhouette"].iloc[0]
    by_three = frame[(frame["method"] == "kmeans") & (frame["n_clusters"] == 3)].iloc[0]
    own_space.cluster(3)
    expected = silhouette_score(own_space.cluster_coordinates_, own_space.labels_)
    assert by_three["silhouette"] == pytest.approx(expected)
    again = own_space.compare_clusterings(progress=False)
    assert again.equals(frame)


def test_a_comparison_comes_one_by_one_and_is_kept(groups, reads):
    own_space = hw.LatentSpace(reads).fit(groups, **QUIET)
    first = next(own_space.comparison())
    assert (first.method, first.n_clusters) == ("kmeans", 2)
    # Left in the middle, it is started again.
    whole = list(own_space.comparison())
    assert whole[0] is not first
    np.testing.assert_array_equal(whole[0].labels, first.labels)
    again = list(own_space.comparison())
    assert len(again) == len(whole) == len(own_space.compare_clusterings(progress=False))
    assert all(one is two for one, two in zip(again, whole, strict=True))


def test_groups_that_overlap_on_the_map_are_told_apart(make_groups, reads):
    # Two channels vary most and draw the map; the third, that varies less, is one of two values.
    rng = np.random.default_rng(0)
    groups = make_groups(80)
    means = np.full((80, 6), 0.5)
    means[:, 0], means[:, 1] = rng.permutation(np.linspace(0, 3, 80)), rng.permutation(np.linspace(0, 3, 80))
    means[:, 2:] = np.repeat([[0.0], [0.9]], 40, axis=0)
    groups.images = np.broadcast_to(means[..., None, None], groups.images.shape).astype(np.float32)
    groups.masks = groups.images[:, 1] > 0.5
    truth = np.repeat([0, 1], 40)
    flat = hw.LatentSpace(reads, n_cluster_components=2)
    deep = hw.LatentSpace(reads, n_cluster_components=6)
    agreement = {}
    for space in (flat, deep):
        space.fit(groups, **QUIET)
        space.cluster(2)
        agreement[space.n_cluster_components] = abs(adjusted_rand_score(truth, space.labels_))
    assert space.explained_variance_ratio_.sum() < 0.9
    assert agreement[6] == 1
    np.testing.assert_array_equal(flat.embedding_, deep.embedding_)


# -- everything of every item -------------------------------------------------------------------------


def test_the_table(own_space, groups):
    table = own_space.table()
    assert list(table) == ["item", "pc1", "pc2", *SCORES, *CONFIDENCES, "label_quality", "group", "number"]
    assert all(len(values) == 60 for values in table.values())
    np.testing.assert_array_equal(table["item"], np.arange(60))
    np.testing.assert_array_equal(table["pc2"], own_space.embedding_[:, 1])
    np.testing.assert_array_equal(table["iou"], groups.iou)
    np.testing.assert_array_equal(table["expected_iou"], own_space.expected_iou())
    assert table["group"].tolist() == groups.columns["group"]
    own_space.cluster(3)
    assert list(own_space.table()) == [
        "item",
        "pc1",
        "pc2",
        *SCORES,
        *CONFIDENCES,
        "label_quality",
        "cluster",
        "group",
        "number",
    ]
    frame = own_space.frame()
    assert frame.index.tolist() == list(range(60))
    assert frame.index.name == "index"
    assert list(frame.columns) == list(own_space.table())
    assert frame["number"].tolist() == list(range(60))
    assert frame.loc[17, "iou"] == groups.iou[17]
    assert frame["number"].dtype.kind == "i"


def test_columns_of_the_data_set_give_way(groups, reads):
    columns = {name: [f"{name} {i}" for i in range(60)] for name in ("iou", "pc2", "pc3", "item", "cluster")}
    space = hw.LatentSpace(reads).fit(groups, columns=columns, **QUIET)
    table = space.table()
    np.testing.assert_array_equal(table["iou"], groups.iou)
    assert table["data_iou"][3] == "iou 3"
    assert table["data_pc2"][4] == "pc2 4"
    assert table["data_item"][5] == "item 5"
    assert table["pc3"][6] == "pc3 6"  # only two are drawn
    assert table["data_cluster"][7] == "cluster 7"  # kept free for those to come
    assert "cluster" not in table
    space.cluster(3)
    assert space.table()["data_cluster"][7] == "cluster 7"
    np.testing.assert_array_equal(space.table()["cluster"], space.labels_)
    assert list(space.columns_) == ["group", "number", *columns]


def test_no_column_is_lost_where_names_meet_twice(groups, reads):
    space = hw.LatentSpace(reads).fit(groups, columns={"iou": [1] * 60, "data_iou": [2] * 60}, **QUIET)
    carried = [values[0] for name, values in space.table().items() if name.startswith("data_")]
    assert sorted(carried) == [1, 2]


def test_images_and_masks_of_items(space, groups):
    for index in (0, 31, np.int32(59)):
        np.testing.assert_array_equal(space.truth(index), groups.masks[index])
        np.testing.assert_array_equal(space.prediction(index), groups.images[index, 0] > 0.5)
        # Six channels are shown as their mean, from the least value black to the largest white.
        image = groups.images[index].astype(np.float64)
        low, high = image.min(), image.max()
        gray = (image.mean(0) - low) / (high - low) * 255
        got = space.picture(index)
        assert got.dtype == np.uint8
        np.testing.assert_allclose(got, np.repeat(gray[..., None], 3, axis=2), atol=0.51)
    item = space.item(4)
    np.testing.assert_array_equal(item.image, groups.images[4])
    np.testing.assert_array_equal(item.mask, groups.masks[4])


def test_without_the_data_set_there_are_thumbnails(space):
    alone = hw.LatentSpace(None).fit_collected(space.collection_)
    assert alone.dataset_ is None
    np.testing.assert_array_equal(alone.picture(7), space.collection_.thumbnails[7])
    alone.picture(7)[:] = 0  # a copy
    assert space.collection_.thumbnails[7].any()
    with pytest.raises(ValueError, match="this space has no data set"):
        alone.item(7)


@pytest.mark.parametrize(
    ("given", "message"),
    [(None, "got NoneType: nothing was collected before the error$"), (5, "got int$"), ([1, 2, 3], "got list$")],
)
def test_what_was_not_collected_is_refused(reads, given, message):
    with pytest.raises(TypeError, match=f"collection must be what a pass .*{message}"):
        hw.LatentSpace(reads).fit_collected(given)


def test_items_that_were_skipped_keep_their_number(make_groups, reads):
    groups = make_groups(30)
    groups.images[[0, 11]] = np.nan
    with pytest.warns(UserWarning, match=r"2 of 30 items were skipped, the first because: item 0: the image has NaN"):
        space = hw.LatentSpace(reads).fit(groups, on_error="skip", **QUIET)
    assert len(space) == 28
    assert list(space.skipped_) == [0, 11]
    assert repr(space).startswith("LatentSpace of 28 items (2 skipped) at ")
    assert "NaN or infinity" in space.skipped_[11]
    assert space.items_.tolist() == [i for i in range(30) if i not in (0, 11)]
    assert space.table()["number"].tolist() == space.items_.tolist()
    # Position 10 is item 12 of the data set.
    np.testing.assert_array_equal(space.truth(10), groups.masks[12])
    np.testing.assert_array_equal(space.item(10).image, groups.images[12])
    with pytest.raises(CollectionError, match="item 0: the image has NaN or infinity"):
        space.fit(groups, **QUIET)


# -- the surface --------------------------------------------------------------------------------------


def test_the_surface_is_what_is_expected_at_each_place(space):
    grid = space.surface((6, 9))
    assert grid.values.shape == (6, 9)
    assert space.surface().values.shape == (200, 200)
    low, high = space.embedding_.min(0), space.embedding_.max(0)
    assert grid.x[0] < low[0] < high[0] < grid.x[-1]
    assert grid.y[0] < low[1] < high[1] < grid.y[-1]
    places = np.stack([part.ravel() for part in np.meshgrid(grid.x, grid.y)], axis=1)
    np.testing.assert_allclose(grid.values.ravel(), space.regressor_.predict(places))
    # Every group's middle is supported.
    fine = space.surface((80, 80))
    for group in range(3):
        x, y = space.embedding_[space.columns_["number"] % 10 == [0, 5, 8][group]].mean(0)
        row, col = np.abs(fine.y - y).argmin(), np.abs(fine.x - x).argmin()
        assert fine.supported[row, col]


# -- fitting again ------------------------------------------------------------------------------------


def test_fitting_again_replaces_everything(make_groups, own_space):
    own_space.cluster(3)
    own_space.compare_clusterings(progress=False)
    own_space.surface((4, 4))
    own_space.locate(own_space.dataset_.images[:1])
    other = make_groups(25, seed=5)
    own_space.fit(other, **QUIET)
    fresh = hw.LatentSpace(own_space.segmenter).fit(other, **QUIET)
    for name in ("clusters_", "labels_", "clustering_"):
        with pytest.raises(AttributeError, match=r"there are no clusters yet; call cluster\(\)"):
            getattr(own_space, name)
    assert "cluster" not in own_space.table()
    assert len(own_space) == 25
    assert own_space.dataset_ is other
    np.testing.assert_allclose(own_space.embedding_, fresh.embedding_, atol=1e-5)
    np.testing.assert_allclose(own_space.surface((4, 4)).support, fresh.surface((4, 4)).support, atol=1e-4)
    np.testing.assert_allclose(
        own_space.locate(other.images[:3] + 0.1).distance, fresh.locate(other.images[:3] + 0.1).distance, rtol=1e-3
    )
    frames = [space.compare_clusterings(progress=False) for space in (own_space, fresh)]
    np.testing.assert_allclose(frames[0]["silhouette"], frames[1]["silhouette"], atol=1e-4)


def test_a_fit_that_fails_leaves_the_map_as_it_was(make_groups, own_space):
    own_space.cluster(3)
    before = own_space.embedding_.copy()
    bad = make_groups(25)
    bad.images[24] = np.nan
    with pytest.raises(CollectionError):
        own_space.fit(bad, **QUIET)
    np.testing.assert_array_equal(own_space.embedding_, before)
    assert len(own_space.clusters_) == 3


def test_before_the_first_fit(reads):
    space = hw.LatentSpace(reads, layer="values", pool="max")
    assert repr(space) == "LatentSpace(layer='values', pool='max'), not fitted"
    assert not hasattr(space, "embedding_")
    for name in ("embedding_", "iou_", "clusters_", "cv_score_"):
        with pytest.raises(AttributeError, match=rf"has no {name}: it is not fitted yet; call fit\(dataset\)"):
            getattr(space, name)
    for call in (
        lambda: space.transform(np.zeros((1, 6, 8, 8), np.float32)),
        space.surface,
        space.cluster,
        space.table,
        lambda: space.neighbors(0),
        lambda: space.save("nowhere"),
    ):
        with pytest.raises(AttributeError, match="it is not fitted yet"):
            call()
    with pytest.raises(AttributeError, match="'LatentSpace' object has no attribute 'embeding'"):
        space.embeding  # noqa: B018
