"""Scans of many images in a store: interrupted, damaged, of something else."""

import contextlib
import json
import threading

import numpy as np
import pytest
import torch
from many_images import QUIET, Cue, diagonal, identity, interrupted_at, maps, moved, scene

import hdm_widgets as hw
from hdm_widgets import hdm
from hdm_widgets._store_files import StoreFiles
from hdm_widgets._store_lock import Heartbeat


def test_a_store_goes_on_where_it_was(tmp_path):
    data, model = [scene(), scene(cue=False), scene()], Cue()
    first = hdm.explain_many(model, data, store=tmp_path / "a", **(QUIET | {"progress": interrupted_at(1)}))
    assert first.indices == (0,)
    runs, whole = model.runs, Cue()
    undisturbed = hdm.explain_many(whole, data, store=tmp_path / "b", **QUIET)
    resumed = hdm.explain_many(model, data, store=tmp_path / "a", **QUIET)
    assert model.runs - runs < whole.runs
    for one, other in zip(resumed, undisturbed, strict=True):
        np.testing.assert_array_equal(one.values, other.values)
    runs = model.runs
    again = hdm.explain_many(model, data, store=tmp_path / "a", **QUIET)
    assert model.runs == runs
    opened = hdm.HDMCollection.open(tmp_path / "a")
    assert opened.indices == (0, 1, 2)
    for same in (again, opened):
        np.testing.assert_array_equal(same.mean(), undisturbed.mean())
        assert same.ranking().equals(undisturbed.ranking())
    [file] = (tmp_path / "a").glob("images/00000001-*.npz")
    np.testing.assert_array_equal(hdm.HDMResult.load(file).values, undisturbed[1].values)
    more = hdm.explain_many(model, [*data, scene()], [3], store=tmp_path / "a", **QUIET)
    assert more.indices == (3,)
    assert hdm.HDMCollection.open(tmp_path / "a").indices == (0, 1, 2, 3)


@pytest.mark.parametrize("used", ["in no scan", "before", "in both"])
def test_a_store_goes_on_with_a_segmenter_that_has_been_used(tmp_path, used):
    data, first, second = [scene(), scene(cue=False)], hw.Segmenter(Cue()), hw.Segmenter(Cue())
    if used == "before":
        first.masks(scene()[0][None])
    hdm.explain_many(first, data, [0], store=tmp_path, **QUIET)
    runs = first.model.runs
    again = hdm.explain_many(first if used == "in both" else second, data, [0], store=tmp_path, **QUIET)
    assert (again.indices, first.model.runs, second.model.runs) == ((0,), runs, 0)


@pytest.mark.parametrize("name", ["00000001-0-*.npz", "00000001.json"])
@pytest.mark.parametrize("damage", ["changed", "cut", "missing"])
def test_a_damaged_file_is_found_and_made_again(tmp_path, name, damage):
    data, store = [scene(), scene(cue=False)], tmp_path / "store"
    before = hdm.explain_many(Cue(), data, store=store, **QUIET).mean()
    (path,) = (store / "images").glob(name)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(content if damage == "changed" else content[:-7])
    opened = hdm.HDMCollection.open(store)
    if (name.endswith("json"), damage) == (True, "missing"):
        assert opened.indices == (0,)
    else:
        with pytest.raises(hdm.StoreError, match=r"is damaged or missing; hdm.explain_many .* scans item 1 again"):
            opened[1]
    np.testing.assert_array_equal(hdm.explain_many(Cue(), data, store=store, **QUIET).mean(), before)
    np.testing.assert_array_equal(hdm.HDMCollection.open(store).mean(), before)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"model": Cue(2.0)}, "the model's weights are another"),
        ({"model": lambda images: images[:, 0]}, "model's name is None in the store and"),
        ({"circle_size": 4}, "circle_size is 3 in the store and 4 now"),
        ({"fill": "mean"}, r"fills is \['minimum'\] in the store and \['mean'\] now"),
        ({"distance": "dice"}, "distance is 'hausdorff' in the store and 'dice' now"),
        ({"threshold": 0.25}, "threshold is 0.5 in the store and 0.25 now"),
        ({"of_prediction": True}, "of_prediction is False in the store and True now"),
        ({"dataset": [scene(cue=False)] * 2}, "item 0 has another image or mask than the one that was scanned"),
    ],
)
def test_a_store_of_anything_else_is_refused(tmp_path, change, match):
    given = {"model": Cue(), "dataset": [scene(), scene()], "indices": [0], **QUIET}
    hdm.explain_many(store=tmp_path / "store", **given)
    with pytest.raises(hdm.StoreError, match=match):
        hdm.explain_many(store=tmp_path / "store", **(given | change))


def test_scans_whose_lock_was_taken_over_write_nothing_more():
    address = "memory://taken-scans"

    def progress(update):
        if update.index == 1 and not update.fraction:
            Heartbeat(StoreFiles(address))._write()
            (beating,) = [one for one in threading.enumerate() if one.name == "store heartbeat"]
            assert not beating._target.__self__.beat()

    try:
        with pytest.raises(hdm.StoreError, match="has taken over"):
            hdm.explain_many(Cue(), [scene(), scene()], store=address, **(QUIET | {"progress": progress}))
        assert hdm.HDMCollection.open(address).indices == (0,)
    finally:
        StoreFiles(address).remove("")


@pytest.mark.parametrize(("write", "error"), [*((n, KeyboardInterrupt) for n in range(8)), (4, hdm.StoreError)])
def test_an_error_while_a_file_is_written_loses_nothing_else(tmp_path, monkeypatch, write, error):
    # The manifest, with its reading after the first result, and a result and a record of each of three images.
    data, model = [scene(), scene(cue=False), scene()], Cue()
    undisturbed = hdm.explain_many(Cue(), data, **QUIET)
    written, write_file = [], StoreFiles.write

    def write_or_stop(self, name, content):
        written.append(name)
        if len(written) == write + 1:
            raise error("no space left")
        write_file(self, name, content)

    with monkeypatch.context() as patch:
        patch.setattr(StoreFiles, "write", write_or_stop)
        with contextlib.suppress(KeyboardInterrupt) if error is KeyboardInterrupt else pytest.raises(error):
            hdm.explain_many(model, data, store=tmp_path, **QUIET)
    assert len(written) == write + 1
    runs, kept = model.runs, sum(name.endswith("json") for name in written[:write] if "images" in name)
    resumed = hdm.explain_many(model, data, store=tmp_path, **QUIET)
    assert resumed.complete
    for one, other in zip(resumed, undisturbed, strict=True):
        np.testing.assert_array_equal(one.values, other.values)
    whole = Cue()
    hdm.explain_many(whole, data[kept:], **QUIET)
    assert model.runs - runs == whole.runs


def test_a_store_has_one_writer_at_a_time(tmp_path):
    def progress(update):
        if update.index == 1 and not update.fraction:
            with pytest.raises(hdm.StoreError, match="a store has one writer at a time"):
                hdm.explain_many(Cue(), [scene(), scene()], store=tmp_path, **QUIET)

    found = hdm.explain_many(Cue(), [scene(), scene()], store=tmp_path, **(QUIET | {"progress": progress}))
    assert found.complete


def signed(low, high):
    """An image whose block is `high` on `low`, with the block."""
    image = torch.full((1, 12, 12), low)
    image[0, 4:8, 4:8] = high
    return image, image[0] == high


def test_the_output_is_read_as_at_the_first_time(tmp_path):
    # Values from -3 to 3 are logits; then 0.4 is drawn, which as a probability would not be.
    data, given = [signed(-3.0, 3.0), signed(0.0, 0.4), signed(-1.0, 0.4)], {"fill": -2.0, **QUIET}
    undisturbed = hdm.explain_many(identity, data, **given)
    hdm.explain_many(identity, data, [0], store=tmp_path, **given)
    resumed = hdm.explain_many(identity, data, store=tmp_path, **given)
    assert {result.reading.values for result in undisturbed} == {"logits"}
    assert undisturbed[1].baseline_mask.sum() == 16
    for one, other in zip(resumed, undisturbed, strict=True):
        np.testing.assert_array_equal(one.values, other.values)
        np.testing.assert_array_equal(one.baseline_mask, other.baseline_mask)


def test_a_segmenter_that_reads_the_output_in_another_way_is_refused(tmp_path):
    data, given = [signed(-3.0, 3.0), signed(0.0, 0.4)], {"fill": -2.0, **QUIET}
    hdm.explain_many(identity, data, [0], store=tmp_path, **given)
    used = hw.Segmenter(identity)
    used.masks(data[1][0][None])
    match = "kind of the output's values is 'logits' in the store and 'probabilities' now"
    with pytest.raises(hdm.StoreError, match=match):
        hdm.explain_many(used, data, store=tmp_path, **given)
    # What is there needs no model.
    assert hdm.explain_many(used, data, [0], store=tmp_path, **given).complete


def test_stored_images_that_cannot_be_read_any_more_stay(tmp_path):
    class Tiles(list):
        def __getitem__(self, index):
            if index in self.missing:
                raise OSError("tile is missing")
            return super().__getitem__(index)

    data = Tiles([scene(), scene(cue=False), scene()])
    data.missing = {2}
    first = hdm.explain_many(Cue(), data, store=tmp_path, **QUIET)
    assert first.errors == {2: "ValueError: item 2 could not be read: OSError: tile is missing"}
    data.missing = {0}
    assert hdm.explain_many(Cue(), data, store=tmp_path, **QUIET).indices == (0, 1, 2)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_images_of_any_floating_type_are_stored(tmp_path, dtype):
    data = [(image.to(dtype), mask) for image, mask in (scene(), scene(cue=False))]
    found = hdm.explain_many(Cue(), data, store=tmp_path, **QUIET)
    np.testing.assert_allclose(found[0].values, maps(diagonal()), rtol=1e-6)
    assert hdm.explain_many(Cue(), data, store=tmp_path, **QUIET).complete


@pytest.mark.parametrize("aligned", [False, True])
def test_every_result_is_read_once(tmp_path, monkeypatch, aligned):
    from matplotlib.figure import Figure

    hdm.explain_many(identity, [moved(0, 0), moved(4, 8), moved(8, 4)], store=tmp_path, **QUIET)
    reads, read = [], StoreFiles.read

    def read_and_note(self, name):
        reads.append(name)
        return read(self, name)

    monkeypatch.setattr(StoreFiles, "read", read_and_note)
    opened = hdm.HDMCollection.open(tmp_path)

    def results_read(look):
        reads.clear()
        look()
        return sorted(name[7:15] for name in reads if name.endswith("npz"))

    once = ["00000000", "00000001", "00000002"]
    assert results_read(lambda: opened.aligned(scaled=True) if aligned else opened.mean()) == once
    # The figure takes the name of the measure from one more.
    assert results_read(lambda: opened.plot(aligned=aligned, figure=Figure())) == ["00000000", *once]
    assert results_read(opened.ranking) == []


def test_a_folder_of_anything_else_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(hdm.StoreError, match="is not empty and holds no scans"):
        hdm.explain_many(Cue(), [scene()], store=tmp_path, **QUIET)
    with pytest.raises(hdm.StoreError, match="there are no scans in"):
        hdm.HDMCollection.open(tmp_path / "nowhere")
    (tmp_path / "other").mkdir()
    hdm.explain_many(Cue(), [scene()], store=tmp_path / "other", **QUIET)
    assert json.loads((tmp_path / "other" / "scans.json").read_text())["content"]["of"]["offset"] == 4
