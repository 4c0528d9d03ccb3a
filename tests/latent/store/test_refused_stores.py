"""Stores of another model, setting or data set."""

import sys

import numpy as np
import pytest
import torch
from layer_helpers import Reads
from store_helpers import QUIET, fit, shard_files

import hdm_widgets as hw
from hdm_widgets._store_files import StoreFiles
from hdm_widgets.latent import StoreError


class Other(Reads):
    """Another class, which computes the same."""


class Weighted(Reads):
    def __init__(self, weight):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(weight))

    def forward(self, images):
        return super().forward(images * self.weight)


class Scaled(Reads):
    """Its code has changed, which neither class nor weights tell."""

    factor = 1.0

    def forward(self, images):
        return super().forward(images * self.factor)


class TwoLayers(Reads):
    def __init__(self):
        super().__init__()
        self.same = torch.nn.Identity()

    def forward(self, images):
        return super().forward(self.same(images))


def changed(groups, place):
    other = type(groups)(len(groups))
    other.images[place] = 1 - other.images[place]
    return other


REFUSED = {
    "model": (Reads, {}, Other, {}, "model's class is 'Reads' in the store and 'Other' now"),
    "weights": (lambda: Weighted(1.0), {}, lambda: Weighted(0.5), {}, "the model's weights are another"),
    "layer": (TwoLayers, {"layer": "values"}, TwoLayers, {"layer": "same"}, "layer is 'values' in the store"),
    "pool": (Reads, {}, Reads, {"pool": "max"}, "pool is 'mean' in the store and 'max' now"),
    "grid": (Reads, {"pool": "grid"}, Reads, {"pool": "grid", "grid": 4}, "grid is 2 in the store and 4 now"),
    "threshold": (Reads, {}, Reads, {"threshold": 0.25}, "threshold is 0.5 in the store and 0.25 now"),
    "thumbnail": (Reads, {}, Reads, {"thumbnail": 4}, "thumbnail's block of pixels is 1 in the store and 2 now"),
    "display": (Reads, {}, Reads, {"display": (0, 1, 2)}, "display is"),
}  # fmt: skip


@pytest.mark.parametrize(("model", "options", "other", "others", "reason"), REFUSED.values(), ids=REFUSED)
def test_a_store_of_another_model_or_setting_is_refused(groups, tmp_path, model, options, other, others, reason):
    hw.LatentSpace(model(), **options).fit(groups, store=tmp_path / "store", **QUIET)
    before = shard_files(tmp_path / "store")
    with pytest.raises(StoreError, match=reason):
        hw.LatentSpace(other(), **others).fit(groups, store=tmp_path / "store", **QUIET)
    assert shard_files(tmp_path / "store") == before


def test_a_model_whose_code_has_changed_is_refused(groups, tmp_path, monkeypatch):
    fit(groups, tmp_path, Scaled())
    monkeypatch.setattr(Scaled, "factor", 0.9)
    with pytest.raises(StoreError, match="it gives other activations for item 0 than were collected"):
        fit(groups, tmp_path, Scaled())


@pytest.mark.parametrize(
    ("data", "options", "reason"),
    [
        (lambda groups: changed(groups, slice(None)), {}, "the image of item 0 is not the one that was collected"),
        (lambda groups: changed(groups, 24), {}, "the image of item 24 is not the one that was collected"),
        (lambda groups: [(image, ~mask) for image, mask in groups], {}, "the mask of item 0 is not the one"),
        (lambda groups: [groups[i] for i in range(20)], {}, "written from 31 items or more, the data set has 20"),
        (lambda groups: groups, {"ignore": np.eye(8, dtype=bool)}, "ignore is None in the store and"),
        (lambda groups: [(i[:, :6], m[:6]) for i, m in groups], {}, "size of the images is .6, 8, 8. in the store"),
        (lambda groups: [{"image": i, "label": m} for i, m in groups], {"mask": "label"}, "mask is None in the store"),
    ],
    ids=["other images", "one other image", "other masks", "fewer", "ignored pixels", "another size", "another field"],
)
def test_a_store_of_another_data_set_is_refused(groups, undisturbed, data, options, reason):
    before = shard_files(undisturbed[1])
    with pytest.raises(StoreError, match=reason):
        fit(data(groups), undisturbed[1], **options)
    assert shard_files(undisturbed[1]) == before


def test_a_folder_of_something_else_is_refused(groups, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(StoreError, match="is not empty and holds no store"):
        fit(groups, tmp_path)
    with pytest.raises(FileNotFoundError, match="there is no store at"):
        hw.LatentSpace.open(tmp_path)


def test_a_store_of_another_format_is_refused(groups, undisturbed, copied):
    files = StoreFiles(copied)
    files.write_json("manifest.json", files.read_json("manifest.json") | {"format": "hdm-widgets store 9"})
    with pytest.raises(StoreError, match="is of the kind 'hdm-widgets store 9', this release writes"):
        fit(groups, copied)
    (copied / "space.json").unlink()
    with pytest.raises(StoreError, match="is of the kind 'hdm-widgets store 9', expected"):
        hw.LatentSpace.open(copied)


@pytest.mark.parametrize("wrong", [5, "", b"bytes"])
def test_no_address(groups, wrong):
    with pytest.raises(TypeError, match="store must be a folder or an address"):
        fit(groups, wrong)


def test_an_address_of_an_unknown_kind(groups):
    with pytest.raises(StoreError, match="is at no address that fsspec knows"):
        fit(groups, "nowhere://store")


def test_without_zarr_it_is_said_what_to_install(groups, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(ImportError, match=r"a store needs zarr: pip install 'hdm-widgets\[scale\]'"):
        fit(groups, tmp_path)
    with pytest.raises(ImportError, match="a store needs zarr"):
        hw.LatentSpace.open(tmp_path)
