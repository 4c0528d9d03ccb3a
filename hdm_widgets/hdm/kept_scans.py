"""Scans of many images, in memory or in a store, and what is known of each."""

from __future__ import annotations

import json
import os
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

import numpy as np

from hdm_widgets._cluster import PARCELS
from hdm_widgets._store_files import StoreError, StoreFiles
from hdm_widgets._store_lock import WriterLock
from hdm_widgets.hdm.aligned_map import Placed
from hdm_widgets.hdm.circle_map import BETTER_ONLY, WORSE_ONLY, ResultType
from hdm_widgets.hdm.grid import Grid
from hdm_widgets.hdm.result import HDMResult
from hdm_widgets.hdm.result_file import pack_result, unpack_result
from hdm_widgets.metrics.overlap import iou
from hdm_widgets.models.description import differences

__all__ = ["ImageFacts", "ImageRecord", "Scans", "ScansInMemory", "ScansInStore", "write_results"]

_KIND = "hdm-widgets scans 2"
_MANIFEST = "scans.json"
_RECORD = re.compile(r"images/(\d+)\.json")


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What the scans of an image come to, in the unit of the distances.

    Attributes
    ----------
    baseline : float
        Distance of the mask for the image without a disc.
    fragility : float
        The largest "worse": how much farther from the truth a disc takes the mask at most.
    improvability : float
        The largest "better".
    fill_spread : float
        Mean over the cells of the difference between the largest and the smallest distance with any fill; NaN for one
        fill.
    iou : float
        Of the mask for the image without a disc.
    """

    baseline: float
    fragility: float
    improvability: float
    fill_spread: float
    iou: float


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """What is known of an image whose scans are done, without its results.

    Attributes
    ----------
    facts : ImageFacts
    grid : Grid
    placed : Placed or None
        Where its segment is; None if that is empty.
    fingerprint : str
        Of the image and its truth; empty in memory.
    checksums : tuple of int
        Of the files of its results.
    """

    facts: ImageFacts
    grid: Grid
    placed: Placed | None
    fingerprint: str = ""
    checksums: tuple[int, ...] = ()

    @classmethod
    def from_results(cls, results: Sequence[HDMResult], **more: Any) -> ImageRecord:
        """Of the scans of one image, one for each fill; the first fill counts but for the spread."""
        return cls(_facts_of(results), results[0].grid, Placed.from_segment(results[0].segment), **more)

    def described(self) -> dict[str, Any]:
        """All of it, as JSON can hold it: that has neither NaN nor infinity."""
        grid, placed = self.grid, self.placed
        return {
            "facts": {name: repr(value) for name, value in asdict(self.facts).items()},
            "grid": [grid.height, grid.width, grid.circle_size, grid.offset, grid.disc_shape],
            "segment": None if placed is None else [*placed.centroid, placed.size],
            "fingerprint": self.fingerprint,
            "crc32": list(self.checksums),
        }

    @classmethod
    def from_described(cls, found: Mapping[str, Any]) -> ImageRecord:
        """What `described` gave."""
        grid = Grid(*found["grid"])
        placed = None
        if found["segment"] is not None:
            row, col, size = found["segment"]
            placed = Placed((grid.height, grid.width), (row, col), size)
        facts = ImageFacts(**{name: float(value) for name, value in found["facts"].items()})
        return cls(facts, grid, placed, found["fingerprint"], tuple(found["crc32"]))


def _facts_of(results: Sequence[HDMResult]) -> ImageFacts:
    first = results[0]
    return ImageFacts(
        first.baseline,
        _largest(first, WORSE_ONLY),
        _largest(first, BETTER_ONLY),
        _fill_spread(results),
        iou(first.baseline_mask, first.segment, ignore=first.ignored),
    )


def _largest(result: HDMResult, kind: ResultType) -> float:
    values = result.distances(kind)[result.measured]
    values = values[~np.isnan(values)]
    return float(values.max()) if values.size else float("nan")


def _fill_spread(results: Sequence[HDMResult]) -> float:
    if len(results) < 2:
        return float("nan")
    values = np.stack([np.where(result.measured, result.values, np.nan) for result in results])
    values = values[:, ~np.isnan(values).any(axis=0)]
    if not values.size:
        return float("nan")
    same = (values == values[0]).all(axis=0)
    with np.errstate(invalid="ignore"):
        return float(np.where(same, 0.0, values.max(axis=0) - values.min(axis=0)).mean())


class Scans(Protocol):
    """Results by the index of their image, for each of the fills."""

    @property
    def indices(self) -> tuple[int, ...]:
        """Images that are done, in order."""

    def record(self, index: int) -> ImageRecord:
        """What is known of an image; nothing of its results is read."""

    def result(self, index: int, fill: int = 0) -> HDMResult:
        """The scan of an image with one of the fills, by its position."""


class ScansInMemory:
    """See `Scans`; results can be added."""

    def __init__(self) -> None:
        self._kept: dict[int, tuple[ImageRecord, tuple[HDMResult, ...]]] = {}

    @property
    def indices(self) -> tuple[int, ...]:
        """See `Scans`."""
        return tuple(self._kept)

    def record(self, index: int) -> ImageRecord:
        """See `Scans`."""
        return self._kept[index][0]

    def result(self, index: int, fill: int = 0) -> HDMResult:
        """See `Scans`."""
        return self._kept[index][1][fill]

    def keep(self, index: int, results: Sequence[HDMResult]) -> None:
        """Take the results of an image, one for each fill."""
        self._kept[index] = ImageRecord.from_results(results), tuple(results)


class ScansInStore:
    """See `Scans`; a file for each result, read when it is asked for.

    Parameters
    ----------
    files : StoreFiles

    Raises
    ------
    StoreError
        If there are other files, or scans of another release.

    Notes
    -----
    The results of an image are written first, by any process, and then its record by the one that holds the lock. Each
    file is there as a whole or not at all, and a result without a record does not count. The name of a result has its
    checksum, so that a process that writes late changes none that counts.
    """

    def __init__(self, files: StoreFiles) -> None:
        self.files = files
        self._lock: WriterLock
        self._records: dict[int, ImageRecord] = {}
        # Most images have one grid: it is kept once.
        self._grids: dict[Grid, Grid] = {}
        self._manifest = files.read_manifest(_MANIFEST, _KIND, "scans")
        self._found = {int(found[1]) for name in files.sizes("images") if (found := _RECORD.fullmatch(name))}

    @classmethod
    def open(cls, address: str | os.PathLike[str]) -> ScansInStore:
        """Read what is there; nothing is written.

        Raises
        ------
        StoreError
            If there are no scans.
        """
        scans = cls(StoreFiles(address))
        if scans._manifest is None:
            raise StoreError(f"there are no scans in {scans.files.address!r}; explain_many(..., store=) writes some")
        return scans

    @property
    def fills(self) -> tuple[str, ...]:
        """What the fills are called."""
        return tuple((self._manifest or {})["of"]["fills"])

    @property
    def indices(self) -> tuple[int, ...]:
        """See `Scans`."""
        return tuple(sorted(self._found))

    @property
    def reading(self) -> dict[str, Any] | None:
        """How the model's output was read, as `describe_reading` gives it; None before the first result."""
        return (self._manifest or {}).get("reading")

    def begin(self, of: Mapping[str, Any], lock: WriterLock) -> None:
        """Write what the scans are of, with the names of their "fills"; refuse what is there if it is of anything else.

        From now on results can be kept, as long as the lock is held.

        Raises
        ------
        StoreError
            With what differs.
        """
        self._lock, wanted = lock, json.loads(json.dumps(of))
        if self._manifest is None:
            self._manifest = {"format": _KIND, "of": wanted}
            self.files.write_json(_MANIFEST, self._manifest)
        self.refuse(differences(self._manifest["of"], wanted))
        self.files.remove_temporary()
        self.files.remove(PARCELS)

    def refuse(self, differing: Sequence[str]) -> None:
        """Refuse the store if anything differs.

        Raises
        ------
        StoreError
            With what differs.
        """
        if differing:
            raise self.files.refused(f"the scans: {'; '.join(differing)}")

    def check(self, index: int, fingerprint: str) -> None:
        """Refuse an image that is not the one that was scanned.

        Raises
        ------
        StoreError
        """
        if self.record(index).fingerprint != fingerprint:
            raise self.files.refused(
                f"the data set: item {index} has another image or mask than the one that was scanned"
            )

    def whole(self, indices: Sequence[int]) -> list[int]:
        """Those of these images that are done; one whose files are not as they were written no longer counts as done.

        Every file is read, and compared with its checksum.
        """
        damaged = {index for index in self._found.intersection(indices) if not self._is_whole(index)}
        self._found -= damaged
        return [index for index in indices if index in self._found]

    def _is_whole(self, index: int) -> bool:
        try:
            return all(self._content(index, fill) is not None for fill in range(len(self.fills)))
        except StoreError:
            return False

    def record(self, index: int) -> ImageRecord:
        """See `Scans`."""
        if index not in self._records:
            found = self.files.read_json(_record_name(index))
            if found is None:
                raise self._damaged(_record_name(index), index)
            self._note(index, ImageRecord.from_described(found))
        return self._records[index]

    def result(self, index: int, fill: int = 0) -> HDMResult:
        """See `Scans`."""
        name = _result_name(index, fill, self.record(index).checksums[fill])
        return HDMResult(**unpack_result(self._content(index, fill), f"{self.files.address}/{name}"))

    def add(self, index: int, record: ImageRecord, reading: Mapping[str, Any]) -> None:
        """Count the results of an image, which `write_results` has written.

        Parameters
        ----------
        index : int
        record : ImageRecord
        reading : mapping
            How the model's output was read, as `describe_reading` gives it.

        Raises
        ------
        StoreError
            If another process has taken the store over; if the output was read in another way than for the images
            before.
        """
        self._lock.check()
        if self.reading is None:
            self._manifest = {**(self._manifest or {}), "reading": dict(reading)}
            self.files.write_json(_MANIFEST, self._manifest)
        self.refuse(differences(self.reading or {}, dict(reading)))
        self.files.write_json(_record_name(index), record.described())
        self._note(index, record)
        self._found.add(index)

    def _note(self, index: int, record: ImageRecord) -> None:
        self._records[index] = replace(record, grid=self._grids.setdefault(record.grid, record.grid))

    def _content(self, index: int, fill: int) -> bytes:
        """The file of a result, if it is as it was written."""
        checksum = self.record(index).checksums[fill]
        name = _result_name(index, fill, checksum)
        content = self.files.read(name)
        if content is None or zlib.crc32(content) != checksum:
            raise self._damaged(name, index)
        return content

    def _damaged(self, name: str, index: int) -> StoreError:
        return StoreError(
            f"{self.files.address}/{name} is damaged or missing; hdm.explain_many with this store scans item {index} "
            "again"
        )


def write_results(files: StoreFiles, index: int, results: Sequence[HDMResult], fingerprint: str) -> ImageRecord:
    """Write the results of an image, one for each fill; they count once `ScansInStore.add` has their record.

    Raises
    ------
    StoreError
        If they cannot be written.
    """
    checksums = []
    for fill, result in enumerate(results):
        content = bytes(pack_result(vars(result)))
        checksums.append(zlib.crc32(content))
        files.write(_result_name(index, fill, checksums[-1]), content)
    return ImageRecord.from_results(results, fingerprint=fingerprint, checksums=tuple(checksums))


def _record_name(index: int) -> str:
    return f"images/{index:08d}.json"


def _result_name(index: int, fill: int, checksum: int) -> str:
    return f"images/{index:08d}-{fill}-{checksum:08x}.npz"
