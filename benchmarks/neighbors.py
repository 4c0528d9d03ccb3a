"""Clusters, silhouettes and nearest items of many items: seconds of the CPU in one thread, memory, and agreement.

python benchmarks/neighbors.py [--items 1000000] [--queries 10000]

Each row runs in a process of its own. hnswlib, faiss-cpu and usearch are measured where they are installed; the package
needs none of them.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.neighbors import NearestNeighbors

from hdm_widgets.latent.clusters import compare, describe, fit_clusters
from hdm_widgets.latent.lloyd import squares_from
from hdm_widgets.latent.neighbors import nearest

_FEATURES, _COMPONENTS, _K, _CLUSTERS, _GROUPS = 64, 10, 11, 14, 60
_CHECKED = 200  # queries whose neighbors are compared with exact ones
_BLOCK = 100_000
# Read when NumPy is imported.
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def items(count: int, width: int) -> NDArray[np.float32]:
    """Points (n, d) around 60 centers, with less variance in every further dimension."""
    rng = np.random.default_rng(0)
    scale = 1 / np.sqrt(np.arange(1, width + 1))
    centers = 2 * rng.normal(size=(_GROUPS, width)) * scale
    made = np.empty((count, width), np.float32)
    for start in range(0, count, _BLOCK):
        part = made[start : start + _BLOCK]
        part[:] = centers[rng.integers(_GROUPS, size=len(part))] + rng.normal(size=part.shape) * scale
    return made


def peak() -> float:
    """Largest memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def inertia(points: NDArray[Any], labels: NDArray[Any]) -> float:
    """Sum of the squared distances to the means of the groups."""
    groups = (np.flatnonzero(labels == label) for label in np.unique(labels))
    return float(sum(squares_from(points, points[rows].mean(0), rows).sum() for rows in groups))


def cluster_row(name: str, count: int) -> str:
    """A line of the table of clusters."""
    points = items(count, _COMPONENTS).astype(np.float64)
    before, start = peak(), time.process_time()
    if name == "this package, comparison of 2 to 14":
        note = f"{len(list(compare(points)))} clusterings with silhouettes"
        labels = None
    elif name == "this package":
        found = fit_clusters(points, "kmeans", n_clusters=_CLUSTERS)
        labels, note = found.labels, str(found)
    elif name == "representatives":
        labels = np.arange(count) % _CLUSTERS
        before, start = peak(), time.process_time()
        describe(labels, points, np.zeros(count), np.ones(count, np.int64))
        labels, note = None, f"of {_CLUSTERS} clusters"
    else:
        model: Any = MiniBatchKMeans(_CLUSTERS, n_init=4, batch_size=4096, random_state=0)
        if name == "scikit-learn KMeans":
            model = KMeans(_CLUSTERS, n_init=4, algorithm="elkan", random_state=0)
        labels, note = model.fit(points).labels_, ""
    seconds, memory = time.process_time() - start, peak() - before
    quality = "" if labels is None else f"{inertia(points, labels):.4g}"
    return f"{name:>36} {seconds:>8.1f} s {memory:>6.0f} MB {quality:>10} {note}"


def index_of(name: str, points: NDArray[np.float32]) -> Callable[[NDArray[np.float32]], NDArray[np.int64]]:
    """A built index: takes queries, gives the positions of their nearest items."""
    count, width = points.shape
    if name == "this package":
        return lambda queries: nearest(points, queries, _K)[0]
    if name.startswith("scikit-learn"):
        model = NearestNeighbors(n_neighbors=_K, algorithm="kd_tree" if "tree" in name else "brute").fit(points)
        return lambda queries: model.kneighbors(queries, return_distance=False)
    if name == "hnswlib":
        import hnswlib

        graph = hnswlib.Index("l2", width)
        graph.init_index(count, ef_construction=100, M=16)
        graph.set_num_threads(1)
        graph.set_ef(128)
        graph.add_items(points)
        return lambda queries: graph.knn_query(queries, _K)[0].astype(np.int64)
    if name == "usearch":
        from usearch.index import Index

        index = Index(ndim=width, metric="l2sq", dtype="f32", connectivity=16, expansion_add=100, expansion_search=128)
        index.add(np.arange(count), points, threads=1)
        return lambda queries: index.search(queries, _K, threads=1).keys.astype(np.int64)
    import faiss

    made = faiss.index_factory(width, {"faiss flat": "Flat", "faiss cells": "IVF1024,Flat"}[name])
    faiss.omp_set_num_threads(1)
    made.train(points[::10])
    made.add(points)
    if name == "faiss cells":
        made.nprobe = 16
    return lambda queries: made.search(queries, _K)[1]


def neighbor_row(name: str, count: int, asked: int) -> str:
    """A line of the table of nearest items."""
    points = items(count, _FEATURES)
    queries = points[np.random.default_rng(1).choice(count, asked, replace=False)]
    before, start = peak(), time.process_time()
    search = index_of(name, points)
    built = time.process_time() - start
    found = search(queries)
    seconds, memory = time.process_time() - start - built, peak() - before
    expected = nearest(points, queries[:_CHECKED], _K)[0]
    recall = np.mean([len(np.intersect1d(*pair)) / _K for pair in zip(found[:_CHECKED], expected, strict=True)])
    return f"{name:>36} {built:>8.1f} s {seconds:>8.1f} s {memory:>6.0f} MB   recall {recall:.3f}"


_CLUSTER_ROWS = (
    "this package", "scikit-learn MiniBatchKMeans", "scikit-learn KMeans", "representatives",
    "this package, comparison of 2 to 14",
)  # fmt: skip
_NEIGHBOR_ROWS = {
    "this package": "numpy", "scikit-learn brute force": "sklearn", "faiss flat": "faiss", "faiss cells": "faiss",
    "hnswlib": "hnswlib", "usearch": "usearch",
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=10_000)
    parser.add_argument("--row", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.row is not None:
        table, name = given.row.split(":")
        clusters = table == "clusters"
        print(cluster_row(name, given.items) if clusters else neighbor_row(name, given.items, given.queries))
        return
    rows = [f"clusters:{name}" for name in _CLUSTER_ROWS]
    rows += [f"neighbors:{name}" for name, module in _NEIGHBOR_ROWS.items() if importlib.util.find_spec(module)]
    print(f"{given.items:,} items; clusters in {_COMPONENTS} components: seconds, memory, inertia")
    print(f"nearest {_K} of {given.queries:,} items by {_FEATURES} features: seconds to build and to search, memory")
    for row in rows:
        command = [sys.executable, __file__, *sys.argv[1:], "--row", row]
        subprocess.run(command, check=True, env=os.environ | dict.fromkeys(_THREADS, "1"))


if __name__ == "__main__":
    main()
