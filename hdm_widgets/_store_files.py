"""The files of a store, in a local folder or at any other address that fsspec knows."""

from __future__ import annotations

import json
import os
import re
import uuid
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hdm_widgets._validation import brief

if TYPE_CHECKING:
    from zarr.abc.store import Store

__all__ = ["LOCKS", "StoreError", "StoreFiles", "import_zarr", "sealed"]

# Files of a lock, in a local folder and elsewhere. They may lie in a folder that is not a store yet.
LOCKS = ("lock", "lock.json")

# What a process that was killed may leave of a file that it was writing.
_TEMPORARY = ".tmp"
_TEMPORARY_NAME = re.compile(rf"\.[0-9a-f]{{32}}{re.escape(_TEMPORARY)}$")

# What file systems say of a file beside its size, and say otherwise once it has been written again: local ones, S3,
# Google's, Azure's, those in memory.
_STATE = ("ino", "mtime", "ETag", "LastModified", "etag", "updated", "last_modified", "modified", "created")

# File systems without folders: making one there would make a bucket of a name that is mistyped.
_OBJECTS = {"s3", "s3a", "gs", "gcs", "az", "abfs", "oss"}


class StoreError(ValueError):
    """A store cannot be used as asked: it is of other data, in use, damaged, or cannot be read or written."""


class StoreFiles:
    """Files below one address. A file is there as a whole or not at all.

    Parameters
    ----------
    address : str or os.PathLike
        A folder, or an address such as `"memory://name"` or `"s3://bucket/name"`; credentials are those that the
        file system finds by itself.

    Attributes
    ----------
    address : str
    """

    def __init__(self, address: str | os.PathLike[str]) -> None:
        from fsspec.core import url_to_fs
        from fsspec.implementations.local import LocalFileSystem

        if not isinstance(address, (str, os.PathLike)) or not os.fspath(address):
            raise TypeError(f"store must be a folder or an address such as 's3://bucket/name', got {brief(address)}")
        self.address = os.fspath(address)
        try:
            self._system, self._root = url_to_fs(self.address)
        except ImportError as error:
            raise StoreError(f"the store {self.address!r} cannot be reached: {error}") from error
        except ValueError as error:
            raise StoreError(f"the store {self.address!r} is at no address that fsspec knows: {error}") from error
        self.folder = Path(self._root) if isinstance(self._system, LocalFileSystem) else None
        self._made: set[str] = set()
        protocol = self._system.protocol
        self._has_objects = not _OBJECTS.isdisjoint([protocol] if isinstance(protocol, str) else protocol)

    def __repr__(self) -> str:
        return f"StoreFiles({self.address!r})"

    def __reduce__(self) -> tuple[type[StoreFiles], tuple[str]]:
        return StoreFiles, (self.address,)

    def path(self, name: str) -> str:
        """Where the file system has a file."""
        return f"{self._root}/{name}"

    def read(self, name: str) -> bytes | None:
        """All of a file; None if there is none.

        Raises
        ------
        StoreError
            If it cannot be read.
        """
        with self._explained("read"):
            try:
                data: bytes = self._system.cat_file(self.path(name))
            except FileNotFoundError:
                return None
        return data

    def read_json(self, name: str) -> dict[str, Any] | None:
        """What `write_json` wrote; None if there is no such file, or it is not as it was written."""
        data = self.read(name)
        try:
            found: Any = None if data is None else json.loads(data)
            content: dict[str, Any] = found["content"]
            return content if found["crc32"] == zlib.crc32(json.dumps(content).encode()) else None
        except (ValueError, TypeError, KeyError):
            return None

    def read_manifest(self, name: str, kind: str, holds: str) -> dict[str, Any] | None:
        """The file that says what a store is of; None if there is no store, and nothing else in its place.

        Parameters
        ----------
        name : str
            Of the file.
        kind : str
            What this release writes, with its version.
        holds : str
            What is kept in such a store, for messages.

        Raises
        ------
        StoreError
            If there are other files, or a store of another kind.
        """
        manifest = self.read_json(name)
        if manifest is None and self.sizes().keys() - set(LOCKS):
            raise StoreError(f"{self.address!r} is not empty and holds no {holds}: give another folder or address")
        if manifest is not None and manifest.get("format") != kind:
            raise StoreError(
                f"the store {self.address!r} is of the kind {manifest.get('format')!r}, this release writes {kind!r}"
            )
        return manifest

    def refused(self, reason: str) -> StoreError:
        """The error for a store that is of something else than what is asked for."""
        return StoreError(f"the store {self.address!r} does not fit {reason}; give another store, or none")

    def write(self, name: str, data: bytes) -> None:
        """Write a whole file, in place of what was there.

        Raises
        ------
        StoreError
            If it cannot be written; then what was there before still is.
        """
        with self._explained("written"):
            if self.folder is not None:
                self._write_local(self.folder / name, data)
                return
            self._make_parent(name)
            self._system.pipe_file(self.path(name), data)

    def write_json(self, name: str, content: dict[str, Any]) -> None:
        """Write an object as JSON, with a checksum."""
        self.write(name, sealed(content))

    def create(self, name: str, data: bytes) -> bool:
        """Write a file unless there is one, and say whether that was so."""
        if self.read(name) is not None:
            return False
        with self._explained("written"):
            self._make_parent(name)
            try:
                self._system.pipe_file(self.path(name), data, mode="create")
            except FileExistsError:
                return False
        return True

    def remove(self, name: str) -> None:
        """Remove a file or a folder with all in it; it need not be there."""
        with self._explained("written"):
            try:
                self._system.rm(self.path(name), recursive=True)
            except FileNotFoundError:
                return

    def sizes(self, folder: str = "") -> dict[str, int]:
        """Size in bytes of every file below a folder, by name; without what was left of files being written."""
        return {name: about["size"] or 0 for name, about in self._listed(folder).items()}

    def states(self) -> dict[str, str]:
        """What changes of every file, by name, when it is written again; empty where the file system does not tell."""
        return {
            name: " ".join([str(about["size"]), *(str(about[key]) for key in _STATE if about.get(key))])
            if any(about.get(key) for key in _STATE)
            else ""
            for name, about in self._listed("").items()
        }

    def _listed(self, folder: str) -> dict[str, dict[str, Any]]:
        """What the file system says of every file below a folder, by name."""
        with self._explained("read"):
            self._system.invalidate_cache()
            found: dict[str, Any] = self._system.find(self.path(folder).rstrip("/"), detail=True)
        # Some file systems give paths with a slash before them, others without.
        start = len(self._root.strip("/")) + 1
        names = {path.strip("/")[start:]: about for path, about in found.items()}
        return {name: about for name, about in names.items() if not _TEMPORARY_NAME.search(name)}

    def size(self, name: str) -> int | None:
        """Size of one file in bytes; None if there is none."""
        with self._explained("read"):
            try:
                return int(self._system.size(self.path(name)))
            except FileNotFoundError:
                return None

    def remove_temporary(self) -> None:
        """Remove what processes that were killed have left of files that they were writing."""
        if self.folder is not None and self.folder.is_dir():
            for path in self.folder.rglob(f"*{_TEMPORARY}"):
                if _TEMPORARY_NAME.search(path.name):
                    path.unlink(missing_ok=True)

    @cached_property
    def zarr(self) -> Store:
        """These files as Zarr reads them."""
        import_zarr()
        from zarr.storage import FsspecStore, LocalStore

        if self.folder is not None:
            return LocalStore(self.folder, read_only=True)
        return FsspecStore.from_url(self.address, read_only=True)

    def _make_parent(self, name: str) -> None:
        parent = self.path(name).rpartition("/")[0]
        if parent not in self._made and not self._has_objects:
            self._system.makedirs(parent, exist_ok=True)
            self._made.add(parent)

    @staticmethod
    def _write_local(target: Path, data: bytes) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        written = target.with_name(f"{target.name}.{uuid.uuid4().hex}{_TEMPORARY}")
        try:
            with written.open("xb") as file:
                file.write(data)
                file.flush()
                # A machine that loses power must not keep a record of a shard whose data never reached the disk.
                os.fsync(file.fileno())
            written.replace(target)
        except BaseException:
            written.unlink(missing_ok=True)
            raise

    @contextmanager
    def _explained(self, done: str) -> Iterator[None]:
        """Say which store an error of its file system is about."""
        try:
            yield
        except Exception as error:
            # Where there is no connection or no credential, libraries of remote file systems raise errors of their own.
            if self.folder is not None and not isinstance(error, OSError):
                raise
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise StoreError(f"the store {self.address!r} cannot be {done}: {reason}") from error


def sealed(content: dict[str, Any]) -> bytes:
    """An object as JSON, with a checksum."""
    return json.dumps({"crc32": zlib.crc32(json.dumps(content).encode()), "content": content}).encode()


def import_zarr() -> None:
    """Say how to install Zarr where it is missing."""
    try:
        import zarr  # noqa: F401 - whether it is there
    except ImportError as error:
        raise ImportError("a store needs zarr: pip install 'hdm-widgets[scale]'") from error
