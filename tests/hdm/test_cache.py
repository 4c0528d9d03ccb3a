"""A bounded store of what was measured, by scan and by what discs change."""

import sys
import threading

import numpy as np
import pytest
import torch

import hdm_widgets as hw
from hdm_widgets._bitmasks import MaskPatch
from hdm_widgets.hdm.cache import Measured, ScanCache


def measured(size):
    """With a mask of so many bytes."""
    return Measured(float(size), MaskPatch((0, 0, 8, size), bytes(size)))


def memory_of(limit):
    memory = ScanCache(limit)
    return memory, *(memory.for_scan(hw.Segmenter(same), UNCHANGED, name) for name in "ab")


def same(images):
    """A model for all."""
    return images


UNCHANGED = measured(0)


def entry_bytes():
    """What a cell takes beside its key and its mask."""
    memory, scan, _ = memory_of(10**9)
    scan.put(b"x", measured(0))
    return memory.bytes - 1


def test_every_scan_has_its_own_values():
    memory, first, second = memory_of(10**9)
    first.put(b"x", measured(3))
    assert first.get(b"x") == measured(3)
    assert first.get(b"y") is None
    assert second.get(b"x") is None
    assert memory.for_scan(hw.Segmenter(same), UNCHANGED, "a").get(b"x") == measured(3)


def test_what_no_disc_changes_is_never_forgotten():
    memory, first, second = memory_of(0)
    for scan in (first, second):
        scan.put(b"", measured(5))
        assert scan.get(b"") == UNCHANGED
    memory.clear()
    first.clear()
    assert first.get(b"") == UNCHANGED
    assert memory.bytes == 0


def test_bytes_are_those_of_keys_and_masks():
    each = entry_bytes()
    memory, first, second = memory_of(10**9)
    first.put(b"xy", measured(100))
    second.put(b"xyz", measured(1000))
    assert memory.bytes == (each + 2 + 100) + (each + 3 + 1000)
    # Another value in the same place takes that one's room.
    first.put(b"xy", measured(30))
    assert memory.bytes == (each + 2 + 30) + (each + 3 + 1000)
    second.clear()
    assert memory.bytes == each + 2 + 30
    assert first.get(b"xy") == measured(30)
    memory.clear()
    assert memory.bytes == 0
    assert first.get(b"xy") is None


def test_the_longest_unused_goes_first():
    each = entry_bytes()
    _, first, second = memory_of(3 * (each + 101))
    first.put(b"1", measured(100))
    second.put(b"2", measured(100))
    first.put(b"3", measured(100))
    assert first.get(b"1") is not None  # and so used
    second.put(b"4", measured(100))
    known = [scan.get(key) is not None for scan, key in ((first, b"1"), (second, b"2"), (first, b"3"), (second, b"4"))]
    assert known == [True, False, True, True]
    # The newest stays whatever its size.
    first.put(b"5", measured(10_000))
    assert first.get(b"5") == measured(10_000)
    assert first.get(b"1") is None


def test_no_more_than_the_limit():
    each = entry_bytes()
    memory, first, _ = memory_of(10 * each)
    for number in range(100):
        first.put(bytes([number]), measured(number))
        assert memory.bytes <= 10 * each
    kept = [number for number in range(100) if first.get(bytes([number])) is not None]
    assert kept == list(range(kept[0], 100))
    assert memory.bytes == sum(each + 1 + number for number in kept)
    # One more would not have fitted.
    assert memory.bytes + each + kept[0] > 10 * each


def test_another_model_forgets_all_of_the_last_one():
    memory, first, _ = memory_of(10**9)
    first.put(b"x", measured(3))
    other = memory.for_scan(hw.Segmenter(lambda images: images), UNCHANGED, "a")
    assert other.get(b"x") is None
    assert memory.bytes == 0


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (np.zeros((2, 3)), np.zeros((3, 2))),
        (np.zeros(4, np.float32), np.zeros(2, np.float64)),
        (torch.ones(2), -torch.ones(2)),
        ("a", "b"),
    ],
)
def test_what_makes_another_scan(first, second):
    memory = ScanCache()
    memory.for_scan(hw.Segmenter(same), UNCHANGED, first).put(b"x", measured(1))
    assert memory.for_scan(hw.Segmenter(same), UNCHANGED, first).get(b"x") == measured(1)
    assert memory.for_scan(hw.Segmenter(same), UNCHANGED, second).get(b"x") is None


def test_threads_may_share_it():
    """The bytes are those of the cells in it, whoever put them there and whoever removed them meanwhile."""
    memory, first, second = memory_of(40 * entry_bytes())
    keys = [bytes([number]) for number in range(100)]
    failures = []

    def work(seed):
        random = np.random.default_rng(seed)
        try:
            for number in random.integers(0, 100, 3000):
                scan = (first, second)[number % 2]
                scan.put(keys[number], measured(int(number) % 7))
                scan.get(keys[random.integers(100)])
                if number == 50:
                    scan.clear()
        except Exception as error:  # noqa: BLE001 - any error of a thread is a failure
            failures.append(error)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert failures == []
    kept = [(key, scan.get(key)) for key in keys for scan in (first, second)]
    sizes = [entry_bytes() + len(key) + len(one.mask.bits) for key, one in kept if one is not None]
    assert memory.bytes == sum(sizes)
    assert 0 < memory.bytes <= memory.limit
