"""Stores as the tests look at them, and file systems that fail."""

import contextlib
import errno
import uuid
from pathlib import Path

import fsspec
import numpy as np
from fsspec.implementations.memory import MemoryFileSystem
from layer_helpers import Reads

import hdm_widgets as hw

# Items of a data set, and of a shard.
COUNT, SHARD = 31, 8
QUIET = {"progress": False}
LARGE = ("features", "thumbnails", "probability_maps")
MASKS = ("truths", "predictions", "ignored")
COLUMNS = ("items", "tp", "fn", "fp", "label_quality")


def fit(data, store, model=None, **options):
    return hw.LatentSpace(model or Reads()).fit(data, store=store, **QUIET, **options)


@contextlib.contextmanager
def memory():
    """The address of a store in memory, which is emptied afterwards."""
    name = f"/{uuid.uuid4().hex}"
    try:
        yield f"memory:/{name}"
    finally:
        with contextlib.suppress(FileNotFoundError):
            fsspec.filesystem("memory").rm(name, recursive=True)


def assert_same_space(space, expected, rtol=0.0):
    """Both have the same items, arrays, columns and map; but for numbers that may differ by rounding."""
    found, wanted = space.collection_, expected.collection_

    def same(one, other, name):
        one, other = np.asarray(one), np.asarray(other)
        assert one.dtype == other.dtype, name
        if rtol and one.dtype.kind == "f":
            np.testing.assert_allclose(one, other, rtol=rtol, atol=rtol, err_msg=name)
        else:
            np.testing.assert_array_equal(one, other, err_msg=name)

    for name in LARGE + COLUMNS:
        assert (getattr(found, name) is None) == (getattr(wanted, name) is None), name
        if getattr(wanted, name) is not None:
            same(getattr(found, name), getattr(wanted, name), name)
    for name in MASKS:
        assert (getattr(found, name) is None) == (getattr(wanted, name) is None), name
        if getattr(wanted, name) is not None:
            same(getattr(found, name).packed, getattr(wanted, name).packed, name)
    same(space.embedding_, expected.embedding_, "embedding")
    same(space.expected_iou(), expected.expected_iou(), "expected IoU")
    assert list(space.table()) == list(expected.table())
    for name, values in expected.table().items():
        same(space.table()[name], values, name)
    assert space.skipped_ == expected.skipped_
    for name in ("layer", "image_shape", "ignore_value", "thumbnail_maker", "random", "no_confidences", "values"):
        assert getattr(found, name) == getattr(wanted, name), name


def shard_files(store):
    """Every file of the shards of a store in a folder, with what tells whether it was written again."""
    paths = [path for path in Path(store).rglob("*") if path.is_file() and path.name.startswith(("c.", "0"))]
    return {str(path.relative_to(store)): path.stat().st_ino for path in paths if "space" not in path.parts}


class FaultyFiles(MemoryFileSystem):
    """Files in memory; writing fails when `room` files have been written.

    Attributes
    ----------
    room : int or None
        None: there is room for all.
    error : OSError
    """

    protocol = ("faulty",)
    store = {}  # noqa: RUF012 - as the base class has it
    pseudo_dirs = [""]  # noqa: RUF012 - as above
    room = None
    error = OSError(errno.ENOSPC, "No space left on device")

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(path.replace("faulty://", "memory://", 1))

    def pipe_file(self, path, value, mode="overwrite", **options):
        cls = type(self)
        if cls.room is not None:
            if not cls.room:
                raise cls.error
            cls.room -= 1
        return super().pipe_file(path, value, mode, **options)
