"""What is told of an image that has been scanned, and the task of a worker of a Dask cluster: to scan one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hdm_widgets._datasets import Dataset
from hdm_widgets._store_files import StoreFiles
from hdm_widgets.hdm.image_scanner import ImageScanner, ReadItem
from hdm_widgets.hdm.kept_scans import ImageRecord, write_results
from hdm_widgets.hdm.result import HDMResult
from hdm_widgets.models.description import describe_reading
from hdm_widgets.models.errors import describe_error

__all__ = ["ImageFailedError", "ImageReport", "report", "scan_image"]


class ImageFailedError(Exception):
    """An image could not be scanned.

    It has the text of the error alone: others may not load where the call is, or hold all that was measured.
    """


@dataclass(frozen=True, eq=False)
class ImageReport:
    """What is told of an image that has been scanned.

    Attributes
    ----------
    results : list of HDMResult
        One for each fill; none where they are in a store.
    record : ImageRecord or None
        Of what was written to the store.
    reading : dict of str to object
        How the model's output was read, as `describe_reading` gives it.
    doubts : list of str or None
        As `PreparedImage.doubts` gives them.
    """

    results: list[HDMResult]
    record: ImageRecord | None
    reading: dict[str, Any]
    doubts: list[str] | None


def scan_image(scanner: ImageScanner, dataset: Dataset, index: int, files: StoreFiles | None) -> ImageReport:
    """Read and scan an image, and write its results to the store, if there is one: the task that a worker runs.

    Raises
    ------
    ImageFailedError
        If the image cannot be read or scanned.
    StoreError
        If its results cannot be written.
    """
    try:
        item = scanner.read(dataset, index)
        prepared = scanner.prepare(item)
        doubts = prepared.doubts()
        results, error = scanner.scan(prepared)
    except Exception as caught:  # noqa: BLE001 - told by its text
        raise ImageFailedError(describe_error(caught)) from None
    if error is not None:
        raise ImageFailedError(describe_error(error))
    return report(index, item, results, files, doubts)


def report(
    index: int, item: ReadItem, results: list[HDMResult], files: StoreFiles | None, doubts: list[str] | None = None
) -> ImageReport:
    """Report results of an image, which are written to the store if there is one.

    Raises
    ------
    StoreError
        If they cannot be written.
    """
    assert results[0].reading is not None  # the model was run  # noqa: S101
    reading = describe_reading(results[0].reading)
    if files is None:
        return ImageReport(results, None, reading, doubts)
    return ImageReport([], write_results(files, index, results, item.fingerprint), reading, doubts)
