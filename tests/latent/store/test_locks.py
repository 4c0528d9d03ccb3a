"""One writer at a time, in a folder and elsewhere."""

import errno
import os
import threading

import fsspec
import pytest
from layer_helpers import Reads
from store_helpers import COUNT, QUIET, FaultyFiles, assert_same_space, fit, memory

import hdm_widgets as hw
from hdm_widgets import _store_lock as lock
from hdm_widgets._store_files import StoreFiles
from hdm_widgets._store_lock import Heartbeat, writing
from hdm_widgets.latent import StoreError


class Meanwhile:
    """A data set; when one of its items is read, something is done."""

    def __init__(self, groups, item, do):
        self.groups, self.item, self.do, self.columns = groups, item, do, groups.columns

    def __len__(self):
        return len(self.groups)

    def __getitem__(self, index):
        if index == self.item:
            self.do()
        return self.groups[index]


def test_a_second_writer_is_refused_and_the_first_goes_on(groups, undisturbed, address):
    refused = []

    def second():
        with pytest.raises(StoreError, match=rf"process {os.getpid()} on .* writes to the store") as caught:
            fit(groups, address)
        refused.append(caught.value)

    assert_same_space(fit(Meanwhile(groups, 12, second), address), undisturbed[0])
    assert len(refused) == 1
    # And after the first, anybody may write.
    assert len(fit(groups, address)) == COUNT


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_another_process_is_refused_and_one_that_is_dead_holds_nothing(tmp_path):
    ready, told = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        with writing(StoreFiles(tmp_path)):
            os.write(ready[1], b"1")
            os.read(told[0], 1)
            os._exit(0)  # without giving the lock back
    os.read(ready[0], 1)
    with pytest.raises(StoreError, match=f"process {child} on"), writing(StoreFiles(tmp_path)):
        pass
    os.write(told[1], b"1")
    os.waitpid(child, 0)
    with writing(StoreFiles(tmp_path)) as held:
        held.check()


def test_a_file_system_without_locks_is_told_and_no_other_process_is_blamed(tmp_path, monkeypatch):
    def refuse(_file):
        raise OSError(errno.ENOLCK, "No locks available")

    with writing(StoreFiles(tmp_path)):
        pass  # its process stays named in the file
    monkeypatch.setattr(lock, "_lock_file", refuse)
    with pytest.raises(StoreError, match=r"cannot be locked: No locks available$"), writing(StoreFiles(tmp_path)):
        pass


class Steps:
    """In place of waiting: what happens in each interval between two looks at a lock."""

    def __init__(self, *steps):
        self.steps, self.seconds = list(steps), []

    def wait(self, seconds):
        self.seconds.append(seconds)
        if self.steps:
            self.steps.pop(0)()
        return True

    def set(self):
        pass


@pytest.fixture
def elsewhere(monkeypatch):
    """A store in memory whose lock another machine holds, and that lock."""
    with memory() as address:
        files = StoreFiles(address)
        holder = Heartbeat(files)
        with monkeypatch.context() as patch:
            patch.setattr(lock.socket, "gethostname", lambda: "another")
            files.write("lock.json", holder._content())
            # Its clock is wrong by years: no time is in the lock.
            yield files, holder
            patch.undo()


def beats(holder):
    def beat():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(lock.socket, "gethostname", lambda: "another")
            assert holder.beat()

    return beat


def nothing():
    pass


def second_writer(files, *steps):
    found = Heartbeat(files)
    found._stop = Steps(*steps)
    return found


@pytest.mark.parametrize("late", range(4))
def test_a_holder_elsewhere_that_beats_in_time_is_not_disturbed(elsewhere, monkeypatch, late):
    files, holder = elsewhere
    monkeypatch.setattr(lock.socket, "gethostname", lambda: "here")
    other = second_writer(files, *[nothing] * late, beats(holder))
    with pytest.raises(StoreError, match="on another writes to the store"), other.held():
        pass
    assert other._stop.seconds == [5.0] * (late + 1)
    assert holder.beat()
    holder.check()


def test_a_holder_elsewhere_that_is_silent_loses_the_lock_and_is_told(elsewhere, monkeypatch):
    files, holder = elsewhere
    monkeypatch.setattr(lock.socket, "gethostname", lambda: "here")
    other = second_writer(files)
    with other.held():
        assert len(other._stop.seconds) >= 4
        assert not holder.beat()
        with pytest.raises(StoreError, match="has taken over"):
            holder.check()
        other.check()
    assert files.read("lock.json") is None


def test_a_lock_that_is_given_back_meanwhile_is_free(elsewhere, monkeypatch):
    files, _ = elsewhere
    monkeypatch.setattr(lock.socket, "gethostname", lambda: "here")
    with second_writer(files, lambda: files.remove("lock.json")).held() as held:
        held.check()


def test_a_dead_process_of_this_machine_is_not_waited_for(elsewhere, monkeypatch):
    files, _ = elsewhere
    monkeypatch.setattr(lock, "_runs", lambda pid: False)
    monkeypatch.setattr(lock.os, "getpid", lambda: -1)
    other = second_writer(files)
    other._acquire()
    assert other._stop.seconds == []


def test_of_two_that_take_over_at_once_one_has_the_lock(elsewhere, monkeypatch):
    files, _ = elsewhere
    monkeypatch.setattr(lock.socket, "gethostname", lambda: "here")
    first, second = second_writer(files), second_writer(files)
    write = first._write

    def write_and_lose():
        write()
        second._write()

    first._write = write_and_lose
    with pytest.raises(StoreError, match="writes to the store"):
        first._acquire()
    assert second._is_ours()


def test_a_fit_whose_lock_was_taken_over_writes_nothing_more(groups, one_ahead):
    with memory() as address:

        def taken():
            Heartbeat(StoreFiles(address))._write()
            (beating,) = [one for one in threading.enumerate() if one.name == "store heartbeat"]
            assert not beating._target.__self__.beat()

        with pytest.raises(StoreError, match="has taken over"):
            fit(Meanwhile(groups, 12, taken), address)
        assert StoreFiles(address).sizes("shards").keys() == {"shards/00000000.json"}


@pytest.mark.parametrize("error", [OSError("no route"), RuntimeError("as of a library of its own")])
def test_a_beat_that_cannot_be_written_is_made_up_for_by_the_next(monkeypatch, error):
    monkeypatch.setattr(FaultyFiles, "store", {})
    files = StoreFiles("faulty://beats")
    holder = Heartbeat(files)
    holder._acquire()
    with monkeypatch.context() as patch:
        patch.setattr(FaultyFiles, "room", 0)
        patch.setattr(FaultyFiles, "error", error)
        assert holder.beat()
    assert holder.beat()
    assert files.read_json("lock.json")["beat"] == 2


def test_the_thread_of_the_beats_ends_with_the_fit(groups):
    with memory() as address:
        fit(groups, address)
        assert StoreFiles(address).read("lock.json") is None
        assert not fsspec.filesystem("memory").exists(f"{address.removeprefix('memory:/')}/lock.json")
    assert not [one for one in threading.enumerate() if one.name == "store heartbeat"]


def test_an_opened_store_has_no_lock(groups, undisturbed):
    with writing(StoreFiles(undisturbed[1])):
        assert len(hw.LatentSpace.open(undisturbed[1], Reads(), groups)) == COUNT
    assert hw.LatentSpace(Reads()).fit(groups, store=undisturbed[1], **QUIET) is not None
