"""Batches of features have a size in bytes, whatever the width of the features."""

import numpy as np
import pytest

from hdm_widgets.latent import batches
from hdm_widgets.latent.batches import centered_gram, row_batches
from hdm_widgets.latent.neighbors import distance_scale, nearest, pairwise_distances
from hdm_widgets.latent.projection import Projection


def sizes(parts):
    return [part.stop - part.start for part in parts]


@pytest.mark.parametrize(
    ("count", "width", "options", "expected"),
    [
        (10_000, 64, {}, [4096, 4096, 1808]),
        (10_000, 2048, {}, [4096, 4096, 1808]),
        (10_000, 4096, {}, [2048] * 4 + [1808]),
        (2400, 65_536, {}, [128] * 18 + [96]),
        (3, 8_388_608, {}, [1, 1, 1]),
        (3, 100_000_000, {}, [1, 1, 1]),
        (2400, 65_536, {"most": 100}, [100] * 24),
        (10_000, 64, {"most": 1024}, [1024] * 9 + [784]),
        (0, 64, {}, []),
    ],
)
def test_rows_of_a_batch(count, width, options, expected):
    parts = row_batches(count, width, **options)
    assert sizes(parts) == expected
    assert [index for part in parts for index in range(count)[part]] == list(range(count))


@pytest.mark.parametrize("width", [1, 7, 640, 8192, 65_536, 1_000_003])
def test_no_batch_takes_more_than_the_budget(width):
    rows = sizes(row_batches(5000, width))
    assert max(rows) * width * 8 <= 64 << 20
    # And none is needlessly small.
    assert max(rows) == 4096 or (max(rows) + 1) * width * 8 > 64 << 20


class Watched(np.ndarray):
    """Features that note how many values are taken out of them at once."""

    most = 0

    def __getitem__(self, key):
        taken = super().__getitem__(key)
        Watched.most = max(Watched.most, np.size(taken))
        return np.asarray(taken)


@pytest.mark.parametrize(
    "use",
    [
        lambda features: Projection.fit(features, 4),
        lambda features: Projection.fit(np.asarray(features), 4).transform(features),
        lambda features: nearest(features, np.asarray(features), 3),
        lambda features: nearest(np.asarray(features), features, 3),
        lambda features: nearest(features, np.asarray(features[:1]), len(features)),
        lambda features: distance_scale(features, np.arange(len(features))),
        lambda features: pairwise_distances(features, np.arange(len(features))),
    ],
    ids=["fit", "transform", "items", "queries", "all neighbors", "distance scale", "pairs"],
)
@pytest.mark.parametrize("shape", [(90, 100), (60, 400)])
def test_features_are_read_in_batches_whatever_their_width(monkeypatch, use, shape):
    budget = 8 * 1600
    monkeypatch.setattr(batches, "BATCH_BYTES", budget)
    features = np.random.default_rng(0).normal(size=shape).astype(np.float32).view(Watched)
    Watched.most = 0
    use(features)
    assert 0 < 8 * Watched.most <= budget


def test_inner_products_of_centered_rows(monkeypatch):
    features = np.random.default_rng(0).normal(5, 1, (6, 50)).astype(np.float32)
    monkeypatch.setattr(batches, "BATCH_BYTES", 8 * 6 * 7)
    for rows in (slice(None), np.array([4, 1, 0])):
        centered = features[rows].astype(np.float64)
        centered -= centered.mean(0)
        gram = centered_gram(features, rows)
        np.testing.assert_allclose(gram, centered @ centered.T, rtol=1e-10)
    assert features.dtype == np.float32
    # What is float64 already is not written to.
    untouched = features.astype(np.float64)
    centered_gram(untouched)
    np.testing.assert_array_equal(untouched, features)
