"""Fits with a store that are ended at any moment, stores that are damaged, and file systems that fail."""

import errno
import json
import os
import signal
import zlib

import fsspec
import pytest
import torch
from store_helpers import COUNT, SHARD, FaultyFiles, assert_same_space, fit, shard_files

import hdm_widgets as hw
from hdm_widgets._store_files import StoreFiles
from hdm_widgets.latent import CollectionError, InterruptedCollectionError, StoreError
from hdm_widgets.latent.surface import Regressor

# -- ended, and gone on with ----------------------------------------------------------------------


class Dies:
    """The process is killed when one of the items is read."""

    def __init__(self, groups, item):
        self.groups, self.item, self.columns = groups, item, groups.columns

    def __len__(self):
        return len(self.groups)

    def __getitem__(self, index):
        if index == self.item:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.groups[index]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_after_its_process_was_killed_a_fit_goes_on(groups, undisturbed, tmp_path, one_ahead):
    store = tmp_path / "store"
    for item in (3, 13, 30):
        child = os.fork()
        if not child:
            torch.set_num_threads(1)
            try:
                fit(Dies(groups, item), store)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        assert len(list((store / "shards").glob("*.json"))) == item // SHARD
    before = shard_files(store)
    assert_same_space(fit(groups, store), undisturbed[0])
    after = shard_files(store)
    assert before.items() <= after.items()


def test_an_interrupt_while_the_surface_is_learned_keeps_the_items(groups, undisturbed, tmp_path, monkeypatch):
    def stop(*_args, **_options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Regressor, "fit", stop)
        with pytest.raises(InterruptedCollectionError, match="interrupted at item 31; 31 items are collected"):
            fit(groups, tmp_path / "store")
    before = shard_files(tmp_path / "store")
    assert_same_space(fit(groups, tmp_path / "store"), undisturbed[0])
    assert shard_files(tmp_path / "store") == before


class Ended(BaseException):
    """In place of a signal that ends the process."""


@pytest.mark.parametrize("writes", [0, 1, 2, 5, 9, 12, 17, 25, 33, 36, 50, 70, 78])
def test_ended_at_any_file_a_fit_goes_on(groups, undisturbed, tmp_path, monkeypatch, writes):
    store, left = tmp_path / "store", [writes]
    replace = type(store).replace

    def replace_or_end(path, target):
        left[0] -= 1
        if left[0] < 0:
            raise Ended
        return replace(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(type(store), "replace", replace_or_end)
        with pytest.raises(Ended):
            fit(groups, store)
    before = shard_files(store)
    recorded = {path.stem for path in (store / "shards").glob("*.json")} if (store / "shards").is_dir() else set()
    space = fit(groups, store)
    assert_same_space(space, undisturbed[0])
    assert_same_space(hw.LatentSpace.open(store), undisturbed[0])
    after = shard_files(store)
    # Only what the shard had that was being written is written again.
    written_again = {name for name in before if before[name] != after[name]}
    numbers = {int(name.split("c.")[1].split(".")[0]) if "c." in name else int(name[7:15]) for name in written_again}
    assert numbers <= {len(recorded)}
    assert not list(store.rglob("*.tmp"))


@pytest.mark.parametrize("name", ["manifest.json", "features/c.1.0", "space.json"])
def test_what_a_killed_process_leaves_of_a_file_is_removed(groups, undisturbed, tmp_path, name):
    left = tmp_path / f"{name}.{'0a' * 16}.tmp"
    left.parent.mkdir(exist_ok=True)
    left.write_bytes(b"half of it")
    assert_same_space(fit(groups, tmp_path), undisturbed[0])
    assert not left.exists()


def test_an_interrupt_says_what_is_stored(groups, undisturbed, tmp_path):
    class Interrupted(Dies):
        def __getitem__(self, index):
            if index == self.item:
                raise KeyboardInterrupt
            return self.groups[index]

    store = tmp_path / "store"
    with pytest.raises(InterruptedCollectionError, match="interrupted; 16 of 31 items are in the store") as caught:
        fit(Interrupted(groups, 20), store)
    assert caught.value.collection is None
    with pytest.raises(StoreError, match="has not ended; fit with this store goes on"):
        hw.LatentSpace.open(store)
    assert_same_space(fit(groups, store), undisturbed[0])


def test_an_item_that_cannot_be_used_ends_the_fit_and_loses_nothing(groups, undisturbed, tmp_path):
    store = tmp_path / "store"
    items = [groups[i] if i != 20 else (groups[i][0], groups[i][1][:4]) for i in range(COUNT)]
    with pytest.raises(CollectionError, match="item 20"):
        fit(items, store, columns=groups.columns)
    assert len(list((store / "shards").glob("*.json"))) == 2
    assert_same_space(fit(groups, store), undisturbed[0])


# -- damaged --------------------------------------------------------------------------------------


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


DAMAGES = {
    "a bit": flip,
    "half a file": lambda path: path.write_bytes(path.read_bytes()[:40]),
    "no file": lambda path: path.unlink(),
}


@pytest.mark.parametrize("name", ["features/c.2.0", "truths/c.2.0", "counts/c.2.0", "shards/00000002.json"])
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_what_is_damaged_is_collected_again_and_nothing_else(groups, undisturbed, copied, name, damage):
    before = shard_files(copied)
    damage(copied / name)
    assert_same_space(fit(groups, copied), undisturbed[0])
    after = shard_files(copied)
    again = {name for name in before if before[name] != after[name]}
    assert again
    assert all(".2." in name or "00000002" in name for name in again)


def reads(monkeypatch):
    """Names of the files that are read from now on."""
    names, read = [], StoreFiles.read

    def read_and_note(self, name):
        names.append(name)
        return read(self, name)

    monkeypatch.setattr(StoreFiles, "read", read_and_note)
    return names


def test_a_fit_compares_with_checksums_only_what_was_written_since_it_was_compared(groups, copied, monkeypatch):
    def large(names):
        return {name for name in names if name.startswith(("truths", "thumbnails", "predictions", "features"))}

    names = reads(monkeypatch)
    fit(groups, copied)
    assert len(large(names)) >= 4 * 4  # a copy has other files
    names.clear()
    fit(groups, copied)
    # Of the first item the activations are compared.
    assert large(names) == {"features/c.0.0"}
    names.clear()
    flip(copied / "thumbnails/c.2.0.0.0")
    fit(groups, copied)
    assert {name for name in large(names) if ".2." in name} >= {"thumbnails/c.2.0.0.0"}
    assert not {name for name in large(names) if ".1." in name}


def test_damage_that_no_file_system_tells_is_redone_once_it_was_met(groups, undisturbed, copied, monkeypatch):
    fit(groups, copied)
    states = StoreFiles(copied).states()
    flip(copied / "thumbnails/c.2.0.0.0")
    with monkeypatch.context() as patch:
        patch.setattr(StoreFiles, "states", lambda _self: states)
        fit(groups, copied)
        with pytest.raises(StoreError, match="damaged or missing"):
            hw.LatentSpace.open(copied).picture(20)
        assert_same_space(fit(groups, copied), undisturbed[0])
    assert_same_space(hw.LatentSpace.open(copied), undisturbed[0])


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("features/c.2.0", lambda space: space.collection_.features[20]),
        ("truths/c.2.0", lambda space: space.truth(20)),
        ("thumbnails/c.2.0.0.0", lambda space: space.picture(20)),
        ("space/*/tp/c.0", lambda space: space.iou_),
        ("space/*/map.npz", lambda space: space),
    ],
)
def test_what_is_damaged_is_never_read_as_if_it_were_whole(undisturbed, copied, name, read, damage):
    (path,) = copied.glob(name)
    damage(path)
    with pytest.raises(StoreError, match="damaged or missing"):
        read(hw.LatentSpace.open(copied))


@pytest.mark.parametrize("name", ["plan.json", "space.json"])
def test_a_plan_or_an_index_that_is_lost_is_made_again(groups, undisturbed, copied, name):
    (copied / name).unlink()
    before = shard_files(copied)
    assert_same_space(fit(groups, copied), undisturbed[0])
    assert_same_space(hw.LatentSpace.open(copied), undisturbed[0])
    assert shard_files(copied) == before


# -- failing file systems -------------------------------------------------------------------------


@pytest.mark.parametrize("room", [1, 6, 20, 40, 60])
def test_a_disk_that_is_full_loses_nothing(groups, undisturbed, monkeypatch, room):
    monkeypatch.setattr(FaultyFiles, "store", {})
    monkeypatch.setattr(FaultyFiles, "room", room)
    with pytest.raises(StoreError, match="'faulty://full' cannot be written: No space left on device"):
        fit(groups, "faulty://full")
    before = {name: file.getvalue() for name, file in FaultyFiles.store.items() if "/shards/" in name}
    monkeypatch.setattr(FaultyFiles, "room", None)
    assert_same_space(fit(groups, "faulty://full"), undisturbed[0])
    after = {name: FaultyFiles.store[name].getvalue() for name in before}
    assert after == before


def test_a_full_disk_under_a_folder_loses_nothing(groups, undisturbed, tmp_path, monkeypatch):
    left = [20]

    def fsync(_file):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        with pytest.raises(StoreError, match="cannot be written: No space left on device"):
            fit(groups, tmp_path / "store")
    assert not list((tmp_path / "store").rglob("*.tmp"))
    assert_same_space(fit(groups, tmp_path / "store"), undisturbed[0])


def test_a_store_that_is_read_only_opens_and_refuses_a_fit(groups, monkeypatch):
    monkeypatch.setattr(FaultyFiles, "store", {})
    fitted = fit(groups, "faulty://read-only")
    monkeypatch.setattr(FaultyFiles, "room", 0)
    monkeypatch.setattr(FaultyFiles, "error", PermissionError(errno.EROFS, "Read-only file system"))
    assert_same_space(hw.LatentSpace.open("faulty://read-only"), fitted)
    with pytest.raises(StoreError, match="cannot be written: Read-only file system"):
        fit(groups, "faulty://read-only")


class Bucket(FaultyFiles):
    """As s3fs: making a folder makes its bucket."""

    protocol = ("faultybucket", "s3")
    store = {}  # noqa: RUF012 - as the base class has it
    pseudo_dirs = [""]  # noqa: RUF012 - as above

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(path.replace("faultybucket://", "memory://", 1))

    def makedirs(self, path, exist_ok=False):
        raise AssertionError(f"{path} was made")


def test_no_bucket_is_made(groups, undisturbed):
    fsspec.register_implementation("faultybucket", Bucket, clobber=True)
    assert_same_space(fit(groups, "faultybucket://new/store"), undisturbed[0])


class NoConnectionError(Exception):
    """As botocore and aiohttp raise where a server is away: no error of the operating system."""


@pytest.mark.parametrize(
    ("room", "error"),
    [
        (0, FileNotFoundError("The specified bucket does not exist")),
        (20, NoConnectionError("Could not connect to the endpoint")),
    ],
    ids=["no bucket", "no server"],
)
def test_what_a_remote_file_system_raises_is_told(groups, monkeypatch, room, error):
    monkeypatch.setattr(FaultyFiles, "store", {})
    monkeypatch.setattr(FaultyFiles, "room", room)
    monkeypatch.setattr(FaultyFiles, "error", error)
    with pytest.raises(StoreError, match=f"'faulty://remote' cannot be written: {error}"):
        fit(groups, "faulty://remote")


def test_a_folder_that_cannot_be_made_is_told(groups, tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(StoreError, match=r"cannot be written: .*; open\(store\) reads one that is complete"):
        fit(groups, tmp_path / "file")


def test_records_have_the_checksums_of_their_files(undisturbed):
    record = json.loads((undisturbed[1] / "shards" / "00000002.json").read_text())["content"]
    assert {"features/c.2.0", "truths/c.2.0", "predictions/c.2.0", "counts/c.2.0"} <= record["files"].keys()
    for name, (size, checksum) in record["files"].items():
        data = (undisturbed[1] / name).read_bytes()
        assert (len(data), zlib.crc32(data)) == (size, checksum)
