"""One writer at a time: a lock that a process holds no longer than it lives."""

from __future__ import annotations

import errno
import json
import os
import socket
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Protocol

from hdm_widgets._store_files import LOCKS, StoreError, StoreFiles, sealed

__all__ = ["Heartbeat", "WriterLock", "writing"]

_LOCAL, _REMOTE = LOCKS
# Of a heartbeat: seconds from one to the next, and how many may be missed.
_SECONDS, _MISSED = 5.0, 4
# Errors that say that a lock is held; after others it cannot be had at all, as on some network drives.
_HELD = (errno.EAGAIN, errno.EACCES, errno.EDEADLK)
# Tokens of the locks that this process holds.
_held: set[str] = set()


class WriterLock(Protocol):
    """A lock that is held."""

    def check(self) -> None:
        """Raise a StoreError if another process has taken the lock over."""


@contextmanager
def writing(files: StoreFiles) -> Iterator[WriterLock]:
    """Hold the lock of a store.

    In a local folder the operating system keeps it and ends it with the process. Elsewhere the holder counts up a
    number in a file, and who finds that number unchanged for long enough takes over: no clock of any machine counts.

    Raises
    ------
    StoreError
        If another writer holds it, or the folder's file system has no locks.
    """
    with _local(files.folder, files.address) if files.folder is not None else Heartbeat(files).held() as lock:
        yield lock


class _LocalLock:
    """A lock of the operating system, which nobody can take over."""

    def check(self) -> None:
        """Nothing can have happened."""


@contextmanager
def _local(folder: Path, address: str) -> Iterator[WriterLock]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / _LOCAL).open("a+b")
    except OSError as error:
        reason = error.strerror or str(error)
        raise StoreError(
            f"the store {address!r} cannot be written: {reason}; open(store) reads one that is complete"
        ) from error
    with file:
        try:
            _lock_file(file)
        except OSError as error:
            if error.errno not in _HELD:
                raise StoreError(f"the store {address!r} cannot be locked: {error.strerror or error}") from error
            file.seek(0)
            raise _refused(address, _described(file.read())) from error
        try:
            file.truncate(0)
            file.write(json.dumps(_holder()).encode())
            file.flush()
            yield _LocalLock()
        finally:
            _unlock_file(file)


if os.name == "nt":
    import msvcrt

    # Other processes can read what is before the locked byte.
    _LOCKED_BYTE = 1 << 20

    def _lock_file(file: IO[bytes]) -> None:
        file.seek(_LOCKED_BYTE)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]  # of Windows

    def _unlock_file(file: IO[bytes]) -> None:
        file.seek(_LOCKED_BYTE)
        msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)  # type: ignore[attr-defined,unused-ignore]  # of Windows
else:
    import fcntl

    def _lock_file(file: IO[bytes]) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _unlock_file(file: IO[bytes]) -> None:
        fcntl.flock(file, fcntl.LOCK_UN)


class Heartbeat:
    """A lock as a file that its holder writes again and again, with a number that grows.

    Parameters
    ----------
    files : StoreFiles
    seconds : float
        From one beat to the next.
    """

    def __init__(self, files: StoreFiles, seconds: float = _SECONDS) -> None:
        self._files, self._seconds = files, seconds
        self._token = uuid.uuid4().hex
        self._beat, self._lost = 0, False
        self._stop = threading.Event()

    @contextmanager
    def held(self) -> Iterator[Heartbeat]:
        """Hold the lock; a thread writes the beats."""
        self._acquire()
        _held.add(self._token)
        thread = threading.Thread(target=self._beats, name="store heartbeat", daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            thread.join()
            _held.discard(self._token)
            with suppress(StoreError):
                if self._is_ours():
                    self._files.remove(_REMOTE)

    def check(self) -> None:
        """Raise a StoreError if another process has taken the lock over."""
        if self._lost:
            raise StoreError(
                f"another process writes to the store {self._files.address!r}: it saw no sign of this one for "
                f"{_MISSED * self._seconds:g} s and has taken over"
            )

    def beat(self) -> bool:
        """Show that the holder lives; False once another process has taken over."""
        try:
            self._lost = self._lost or not self._is_ours()
            if not self._lost:
                self._beat += 1
                self._write()
        except StoreError:
            pass  # the next one may succeed
        return not self._lost

    def _beats(self) -> None:
        while not self._stop.wait(self._seconds) and self.beat():
            pass

    def _acquire(self) -> None:
        if not self._files.create(_REMOTE, self._content()):
            holder = self._files.read_json(_REMOTE)
            if holder is not None and self._lives(holder):
                raise _refused(self._files.address, holder)
            self._write()
        # Of two that take over at once, the one that wrote last has it.
        if not self._is_ours():
            raise _refused(self._files.address, self._files.read_json(_REMOTE) or {})

    def _lives(self, holder: dict[str, Any]) -> bool:
        """Whether the holder of a lock still writes to it."""
        if holder.get("host") == socket.gethostname():
            if holder.get("pid") == os.getpid():
                return holder.get("token") in _held
            if not _runs(holder.get("pid")):
                return False
        for _ in range(_MISSED):
            self._stop.wait(self._seconds)
            now = self._files.read_json(_REMOTE)
            if now is None:
                return False
            if (now.get("token"), now.get("beat")) != (holder.get("token"), holder.get("beat")):
                return True
        return False

    def _is_ours(self) -> bool:
        return (self._files.read_json(_REMOTE) or {}).get("token") == self._token

    def _write(self) -> None:
        self._files.write(_REMOTE, self._content())

    def _content(self) -> bytes:
        return sealed({**_holder(), "token": self._token, "beat": self._beat})


def _runs(pid: object) -> bool:
    """Whether this machine runs a process of this number; True where it cannot tell."""
    if not isinstance(pid, int) or os.name == "nt":
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _holder() -> dict[str, Any]:
    return {"host": socket.gethostname(), "pid": os.getpid()}


def _described(data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _refused(address: str, holder: dict[str, Any]) -> StoreError:
    who = f"process {holder['pid']} on {holder['host']}" if {"pid", "host"} <= holder.keys() else "another process"
    return StoreError(f"{who} writes to the store {address!r}: a store has one writer at a time")
