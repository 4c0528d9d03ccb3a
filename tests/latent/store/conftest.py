"""Stores of small shards, and what is expected of them."""

import os
import shutil

import fsspec
import pytest
from layer_helpers import Reads
from store_helpers import COUNT, QUIET, SHARD, FaultyFiles, fit, memory

import hdm_widgets as hw
from hdm_widgets.latent.store import shards
from hdm_widgets.latent.surface import Regressor

_networks = {}


def quick(patch):
    """Small shards: 31 items make four. Networks of the surface are trained once, and files may wait in the cache."""

    def fit_once(cls, embedding, iou, **options):
        key = embedding.tobytes(), iou.tobytes(), str(options)
        if key not in _networks:
            _networks[key] = trained(embedding, iou, **options)
        return _networks[key]

    trained = Regressor.fit
    patch.setattr(shards, "_LEAST", SHARD)
    patch.setattr(Regressor, "fit", classmethod(fit_once))
    patch.setattr(os, "fsync", lambda _file: None)


@pytest.fixture(scope="session", autouse=True)
def failing_file_system():
    # Not where the class is made: that file is imported once more, to look for examples in it.
    fsspec.register_implementation("faulty", FaultyFiles, clobber=True)


@pytest.fixture(autouse=True)
def quick_tests(monkeypatch):
    quick(monkeypatch)


@pytest.fixture(scope="module")
def groups(make_groups):
    """Not to be changed."""
    return make_groups(COUNT)


@pytest.fixture(scope="module")
def space(groups):
    """What a fit without a store gives."""
    with pytest.MonkeyPatch.context() as patch:
        quick(patch)
        return hw.LatentSpace(Reads()).fit(groups, **QUIET)


@pytest.fixture(params=["folder", "memory"])
def address(request, tmp_path):
    """A place for a store, in a folder and elsewhere."""
    if request.param == "folder":
        yield str(tmp_path / "store")
        return
    with memory() as empty:
        yield empty


@pytest.fixture(scope="module")
def undisturbed(groups, tmp_path_factory):
    """What an undisturbed fit with a store gives; the store is not to be changed."""
    with pytest.MonkeyPatch.context() as patch:
        quick(patch)
        store = tmp_path_factory.mktemp("undisturbed") / "store"
        return fit(groups, store), store


@pytest.fixture
def copied(undisturbed, tmp_path):
    """A copy of its store, in a folder, to change."""
    return shutil.copytree(undisturbed[1], tmp_path / "copy")


@pytest.fixture
def one_ahead(monkeypatch):
    """Of a data set, no more is read ahead than an item: what happens when it is read happens at that place."""
    monkeypatch.setattr("hdm_widgets._reading_ahead._MOST", 1)
