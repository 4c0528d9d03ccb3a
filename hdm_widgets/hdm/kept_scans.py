"""Scans of many images, in memory or in a store, and what is known of each."""

from __future__ import annotations

import json
import os
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np

from hdm_widgets._store_files import StoreError, StoreFiles
from hdm_widgets._store_lock import WriterLock
from hdm_widgets.hdm.circle_map import BETTER_ONLY, WORSE_ONLY, ResultType
from hdm_widgets.hdm.result import HDMResult
from hdm_widgets.hdm.result_file import pack_result, unpack_result
from hdm_widgets.metrics.overlap import iou
from hdm_widgets.models.description import differences

__all__ = ["ImageFacts", "KeptScans", "Scans", "ScansInMemory", "ScansInStore", "facts_of"]

_KIND = "hdm-widgets scans 1"
_MANIFEST = "scans.json"
_RECORD = re.compile(r"images/(\d+)\.json")


@dataclass(frozen=True)
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


def facts_of(results: Sequence[HDMResult]) -> ImageFacts:
    """What the scans of one image come to, one for each fill; the first fill counts but for the spread."""
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

    def facts(self, index: int) -> ImageFacts:
        """What the scans of an image come to."""

    def result(self, index: int, fill: int = 0) -> HDMResult:
        """The scan of an image with one of the fills, by its position."""


class KeptScans(Scans, Protocol):
    """Results that can be added to."""

    def keep(self, index: int, results: Sequence[HDMResult], fingerprint: str) -> None:
        """Take the results of an image, one for each fill."""


class ScansInMemory:
    """See `KeptScans`."""

    def __init__(self) -> None:
        self._kept: dict[int, tuple[ImageFacts, tuple[HDMResult, ...]]] = {}

    @property
    def indices(self) -> tuple[int, ...]:
        """See `Scans`."""
        return tuple(self._kept)

    def facts(self, index: int) -> ImageFacts:
        """See `Scans`."""
        return self._kept[index][0]

    def result(self, index: int, fill: int = 0) -> HDMResult:
        """See `Scans`."""
        return self._kept[index][1][fill]

    def keep(self, index: int, results: Sequence[HDMResult], fingerprint: str) -> None:  # noqa: ARG002 - of a store
        """See `KeptScans`."""
        self._kept[index] = facts_of(results), tuple(results)


class ScansInStore:
    """See `KeptScans`; a file for each result, read when it is asked for.

    Parameters
    ----------
    files : StoreFiles

    Raises
    ------
    StoreError
        If there are other files, or scans of another release.

    Notes
    -----
    The results of an image are written first and its record last, each as a whole or not at all.
    """

    def __init__(self, files: StoreFiles) -> None:
        self.files = files
        self._lock: WriterLock
        self._records: dict[int, dict[str, Any]] = {}
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
        if differing := differences(self._manifest["of"], wanted):
            raise self.files.refused(f"the scans: {'; '.join(differing)}")
        self.files.remove_temporary()

    def check(self, index: int, fingerprint: str) -> None:
        """Refuse an image that is not the one that was scanned.

        Raises
        ------
        StoreError
        """
        if self._record(index)["fingerprint"] != fingerprint:
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

    def facts(self, index: int) -> ImageFacts:
        """See `Scans`."""
        return ImageFacts(**{name: float(value) for name, value in self._record(index)["facts"].items()})

    def result(self, index: int, fill: int = 0) -> HDMResult:
        """See `Scans`."""
        name = self._name(index, fill)
        return HDMResult(**unpack_result(self._content(index, fill), f"{self.files.address}/{name}"))

    def keep(self, index: int, results: Sequence[HDMResult], fingerprint: str) -> None:
        """See `KeptScans`.

        Raises
        ------
        StoreError
            If another process has taken the store over.
        """
        self._lock.check()
        checksums = []
        for fill, result in enumerate(results):
            content = bytes(pack_result(vars(result)))
            self.files.write(self._name(index, fill), content)
            checksums.append(zlib.crc32(content))
        # As texts: JSON has neither NaN nor infinity.
        facts = {name: repr(value) for name, value in asdict(facts_of(results)).items()}
        record = {"facts": facts, "fingerprint": fingerprint, "crc32": checksums}
        self.files.write_json(self._record_name(index), record)
        self._records[index] = record
        self._found.add(index)

    def _record(self, index: int) -> dict[str, Any]:
        if index not in self._records:
            record = self.files.read_json(self._record_name(index))
            if record is None:
                raise self._damaged(self._record_name(index), index)
            self._records[index] = record
        return self._records[index]

    def _content(self, index: int, fill: int) -> bytes:
        """The file of a result, if it is as it was written."""
        checksum = self._record(index)["crc32"][fill]
        content = self.files.read(self._name(index, fill))
        if content is None or zlib.crc32(content) != checksum:
            raise self._damaged(self._name(index, fill), index)
        return content

    def _damaged(self, name: str, index: int) -> StoreError:
        return StoreError(
            f"{self.files.address}/{name} is damaged or missing; hdm.explain_many with this store scans item {index} "
            "again"
        )

    @staticmethod
    def _record_name(index: int) -> str:
        return f"images/{index:08d}.json"

    @staticmethod
    def _name(index: int, fill: int) -> str:
        return f"images/{index:08d}-{fill}.npz"
