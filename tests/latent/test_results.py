"""What the results of a latent space have in common: equality that never raises, and former names."""

import copy
import dataclasses

import numpy as np
import pytest

RESULTS = {
    "Cluster": lambda space: space.clusters_[0],
    "Clustering": lambda space: space.clustering_,
    "Collection": lambda space: space.collection_,
    "FittedMap": lambda space: space._fitted.map,
    "FittedState": lambda space: space._fitted,
    "Item": lambda space: space.item(0),
    "Location": lambda space: space.locate(np.zeros((2, 6, 8, 8), np.float32)),
    "Neighbors": lambda space: space.neighbors(0),
    "Overlaps": lambda space: space.overlaps_,
    "Projection": lambda space: space.projection_,
    "Regressor": lambda space: space.regressor_,
    "Surface": lambda space: space.surface((3, 3)),
}


@pytest.mark.parametrize("name", RESULTS)
def test_results_are_equal_to_themselves_alone_and_can_be_hashed(own_space, name):
    own_space.cluster(3)
    one = RESULTS[name](own_space)
    assert type(one).__name__ == name
    fields = one if isinstance(one, tuple) else [getattr(one, field.name) for field in dataclasses.fields(one)]
    other = type(one)(*fields) if isinstance(one, tuple) else copy.copy(one)
    assert (one == one, one == other, one != other, one == 3) == (True, False, True, False)
    assert len({one, other, one}) == 2


@pytest.mark.parametrize(
    ("result", "old", "new"),
    [
        ("Overlaps", "hits", "tp"),
        ("Overlaps", "misses", "fn"),
        ("Overlaps", "false_alarms", "fp"),
        ("Collection", "hits", "tp"),
        ("Collection", "misses", "fn"),
        ("Collection", "false_alarms", "fp"),
        ("Collection", "picture_shape", "image_shape"),
        ("Item", "picture", "image"),
    ],
)
def test_former_names_still_serve(space, result, old, new):
    one = RESULTS[result](space)
    with pytest.warns(DeprecationWarning, match=f"{result}.{old} is called {new} now") as caught:
        value = getattr(one, old)
    assert caught[0].filename == __file__
    np.testing.assert_array_equal(value, getattr(one, new))


def test_statistics_of_a_cluster_and_of_its_items_selected_are_one(own_space):
    for cluster in own_space.cluster(3):
        assert cluster.statistics == own_space.select(cluster.indices).statistics
        assert (cluster.size, cluster.mean_iou, cluster.median_iou, cluster.empty_truths) == dataclasses.astuple(
            cluster.statistics
        )
