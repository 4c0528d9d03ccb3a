"""Arrays with a description in one npz file, without pickles."""

from __future__ import annotations

import io
import json
import os
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["check_folder", "pack", "read", "unpack", "write"]


def check_folder(path: str | os.PathLike[str]) -> None:
    """Refuse a file in a folder that does not exist.

    Raises
    ------
    FileNotFoundError
    """
    target = Path(path)
    if not target.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {os.fspath(target.parent)!r} to write {target.name!r} into")


def write(path: str | os.PathLike[str], about: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
    """Write arrays and their description; `about["format"]` names the kind of file."""
    check_folder(path)
    Path(path).write_bytes(pack(about, arrays))


def pack(about: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> memoryview:
    """The content of a file as `write` writes it."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, about=np.array(json.dumps(about)), **arrays)  # type: ignore[arg-type]  # no such option
    return buffer.getbuffer()


def read(path: str | os.PathLike[str], kind: str) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Read a file of this kind that `write` has written.

    Raises
    ------
    ValueError
        If the file is of another kind, or damaged.
    """
    if Path(path).is_dir():
        raise ValueError(f"{os.fspath(path)!r} is a folder, not a file of the kind {kind!r}")
    with Path(path).open("rb") as file:
        return unpack(file, kind, os.fspath(path))


def unpack(file: IO[bytes], kind: str, name: str) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Read what `pack` made; `name` is the file's, for messages.

    Raises
    ------
    ValueError
        If the file is of another kind, or damaged.
    """
    try:
        if not zipfile.is_zipfile(file):
            raise ValueError("it is no npz file, as save() writes it, or not all of one")
        file.seek(0)
        with np.load(file, allow_pickle=False) as stored:
            arrays = dict(stored)
        about: dict[str, Any] = json.loads(str(arrays.pop("about")))
        if about["format"] != kind:
            raise ValueError(f"it is written as {about['format']!r}")
    except (AttributeError, KeyError, TypeError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{name!r} is not a file of the kind {kind!r}: {error}") from error
    return about, arrays
