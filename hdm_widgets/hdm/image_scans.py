"""Scans of many images of a data set: one after the other, or shared by the workers of a cluster."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from hdm_widgets._cluster import Workers, check_client, why_failed
from hdm_widgets._datasets import Dataset, Field, Fields, as_dataset
from hdm_widgets._reading_ahead import read_ahead
from hdm_widgets._store_files import StoreError, StoreFiles
from hdm_widgets._store_lock import writing
from hdm_widgets._validation import brief, is_whole, takes_options, warn_user
from hdm_widgets.hdm.collection import HDMCollection
from hdm_widgets.hdm.image_scanner import ImageScanner, PreparedImage, ReadItem
from hdm_widgets.hdm.image_worker import ImageFailedError, ImageReport, report, scan_image
from hdm_widgets.hdm.kept_scans import ScansInMemory, ScansInStore
from hdm_widgets.hdm.occlusion import Fill, check_fill
from hdm_widgets.hdm.options import ScanKeywords, ScanOptions
from hdm_widgets.models.errors import describe_error
from hdm_widgets.models.segmenter import Model

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["ImageUpdate", "explain_many"]

# Stored images that are read again, to see whether the data set is the same.
_COMPARED = 16


@dataclass(frozen=True, eq=False)
class ImageUpdate:
    """News from running scans of many images.

    Attributes
    ----------
    done, total : int
        Images that are finished, with those that failed, and all.
    index : int or None
        The image that is being scanned; None at the end, and where the workers of a cluster scan several.
    fraction : float
        How much of it is done, in [0, 1].
    seconds : float
        Since the first scan began.
    seconds_left : float
        Time that the rest will take at the pace so far; infinite before there is a pace.
    collection : HDMCollection
        What is finished.
    """

    done: int
    total: int
    index: int | None
    fraction: float
    seconds: float
    seconds_left: float
    collection: HDMCollection


@takes_options(ScanOptions)
def explain_many(
    model: Model,
    dataset: Dataset | Sequence[Any],
    indices: Iterable[int] | None = None,
    circle_size: int | None = None,
    offset: int | None = None,
    device: torch.device | str | None = None,
    channel: int | Sequence[int] = -1,
    *,
    fills: Sequence[Fill] | None = None,
    of_prediction: bool = False,
    image: Field | None = None,
    mask: Field | None = None,
    normalize: bool = False,
    store: str | os.PathLike[str] | None = None,
    client: Client | None = None,
    progress: bool | Callable[[ImageUpdate], object] = True,
    **options: Unpack[ScanKeywords],
) -> HDMCollection:
    """Explain many images of a data set, and put together what the model makes of them.

    Parameters
    ----------
    model : torch.nn.Module, callable or Segmenter
        See `Segmenter` for what a model may take and return.
    dataset : Dataset
        Anything with a length and items, as for `LatentSpace.fit`: (image, mask) pairs, or mappings with ``"image"``
        and ``"mask"``. Masked pixels of a mask that is a numpy masked array do not count.
    indices : iterable of int, optional
        Items to explain, as positions in the data set; all by default.
    circle_size, offset : int, optional
        As for `HausdorffDistanceMasks.generate_masks`; by default about a tenth and a thirtieth of each image's shorter
        side.
    device : torch.device or str, optional
        Where to run; the model's own device by default.
    channel : int or sequence of int
        Occlude this channel only, or these; -1 for all.
    fills : sequence, optional
        What discs show, each as `fill`: every image is scanned once with each. The first is what the collection's maps
        are of, and the ranking has the spread over all.
    of_prediction : bool
        Compare masks with the model's own mask for the image without a disc, in place of the truth; the items need no
        mask then.
    image, mask : str, int or callable, optional
        Where the image and the mask of an item are, as for `LatentSpace.fit`.
    normalize : bool
        As for `HausdorffDistanceMasks.generate_masks`.
    store : str or os.PathLike, optional
        A folder, or an address that fsspec knows, to write every result to as soon as its image is finished. What is
        there already is not run again, so that a call that was stopped goes on where it was; results are read when they
        are asked for, so that memory does not grow with the number of images.
    client : distributed.Client, optional
        Of a Dask cluster whose workers read and scan the images, each image as one task; the results are those without
        a client. With `store`, which all workers must see, results go from the workers to the store; without it they
        come back to this process. The first image is run in this process too, without a disc: it decides how the
        model's output is read. Model and data set are pickled, and sent once to each worker.
    progress : bool or callable
        Show a tqdm bar, or call this with every `ImageUpdate`; with a client, once for each image. An exception that it
        raises ends the scans.
    **options
        See `ScanOptions`.

    Returns
    -------
    HDMCollection
        An image that failed has no result, and its error in `errors`; with a client it was tried three times. An
        interrupt from the keyboard ends the scans, and what is finished is returned: see `complete`.

    Raises
    ------
    TypeError, ValueError
        For bad input, before the model is run; if every image failed, with what is wrong with the first; if the model
        or the data set cannot be pickled for `client`.
    StoreError
        If the store is of another model, other settings or another data set, or read the model's output in another way,
        with the difference; if another process writes to it.
    ClusterError
        If a worker cannot load the model or the data set, or does not see the store; if the cluster was closed.
    ImportError
        If Dask is not installed.

    Notes
    -----
    Of the store's images, 16 are read again from the data set and compared, those that can be read. How the model's
    output is read (`Segmenter` with ``activation="auto"``) is decided once for a store, on its first image. All files
    of the images asked for are checked by their checksums, and what is damaged is scanned again. Of a model that is no
    Module only the name is compared. `HDMResult.load` reads the files too.

    Examples
    --------
    >>> import torch
    >>> from hdm_widgets import hdm
    >>> images = torch.zeros(3, 1, 8, 8)
    >>> for at in range(3):
    ...     images[at, 0, at : at + 4, 2:6] = 1
    >>> data = (images, images[:, 0])
    >>> collection = hdm.explain_many(lambda x: x[:, 0], data, circle_size=2, offset=4, progress=False)
    >>> len(collection), collection.mean().shape
    (3, (2, 2))
    """
    data = as_dataset(dataset)
    chosen = _chosen(indices, len(data))
    if fills is not None and "fill" in options:
        raise TypeError("explain_many() takes fill= or fills=, not both")
    if client is not None:
        client = check_client(client)
    scanner = ImageScanner(
        model, Fields(image, mask), (circle_size, offset), device, channel,
        [check_fill(fill) for fill in ([options.get("fill", "minimum")] if fills is None else fills)],
        of_prediction, normalize, options,
    )  # fmt: skip
    if store is None:
        return _Run(scanner, data, chosen, ScansInMemory(), [], progress).all(client)
    files = StoreFiles(store)
    with writing(files) as lock:
        scans = ScansInStore(files)
        scans.begin(scanner.described(), lock)
        there = scans.whole(chosen)
        _check_items(scans, scanner, data, there)
        if scans.reading is not None and len(there) < len(chosen):
            scans.refuse(scanner.expect(scans.reading))
        return _Run(scanner, data, chosen, scans, there, progress).all(client)


def _check_items(scans: ScansInStore, scanner: ImageScanner, data: Dataset, there: list[int]) -> None:
    """Refuse a data set whose images are not those that were scanned; what cannot be read any more does not count."""
    for place in np.unique(np.linspace(0, len(there) - 1, min(_COMPARED, len(there))).round().astype(int)):
        try:
            fingerprint = scanner.read(data, there[place]).fingerprint
        except Exception:  # noqa: BLE001, S112 - the results of a file that is gone are still good
            continue
        scans.check(there[place], fingerprint)


def _chosen(indices: Iterable[int] | None, count: int) -> list[int]:
    """The items that are asked for, each once."""
    if indices is None:
        return list(range(count))
    chosen = [index.item() if isinstance(index, (np.integer, Tensor)) else index for index in indices]
    for index in chosen:
        if not is_whole(index):
            raise TypeError(f"indices must be whole numbers, got {brief(index)}")
        if not 0 <= index < count:
            raise ValueError(f"indices must be 0 to {count - 1}, as the data set has {count} items, got {index}")
    if not chosen:
        raise ValueError("indices are empty: there is nothing to explain")
    return list(dict.fromkeys(chosen))


class _Run:
    """The scans of one call.

    Parameters
    ----------
    scanner : ImageScanner
    dataset : Dataset
    chosen : list of int
        Images that are asked for.
    scans : ScansInMemory or ScansInStore
        Where results go.
    there : list of int
        Images that are done.
    progress : bool or callable
        As for `explain_many`.
    """

    def __init__(
        self,
        scanner: ImageScanner,
        dataset: Dataset,
        chosen: list[int],
        scans: ScansInMemory | ScansInStore,
        there: list[int],
        progress: bool | Callable[[ImageUpdate], object],
    ) -> None:
        self._scanner, self._dataset, self._chosen, self._scans = scanner, dataset, chosen, scans
        self._progress, self._there = progress, len(there)
        known = set(there)
        self._missing = [index for index in chosen if index not in known]
        self._errors: dict[int, str] = {}
        self._first_error: Exception | None = None
        self._warned = False
        # Images that have been finished, with those that failed.
        self._ended = 0
        self._started = time.perf_counter()
        self._latest: HDMCollection | None = None

    def all(self, client: Client | None) -> HDMCollection:
        """Scan what is missing."""
        with tqdm(
            disable=self._progress is not True, total=len(self._chosen), initial=self._there, unit="image",
            desc="explaining", delay=0.5,
            bar_format="{l_bar}{bar}| {n:.1f}/{total} images [{elapsed}<{remaining}{postfix}]",
        ) as bar:  # fmt: skip
            try:
                if client is None:
                    self._scan_here(bar)
                else:
                    self._scan_on(client, bar)
                self._tell(bar)
            except KeyboardInterrupt:
                return self._collection()
        found = self._collection()
        if self._first_error is not None and not len(found):
            index, error = next(iter(found.errors.items()))
            raise ValueError(f"all {len(self._chosen)} images failed; item {index}: {error}") from self._first_error
        return found

    def _scan_here(self, bar: Any) -> None:
        with closing(read_ahead(self._read, self._missing)) as items:
            for index in self._missing:
                self._tell(bar, index)
                _, item = next(items)
                try:
                    if isinstance(item, Exception):
                        raise item
                    prepared = self._scanner.prepare(item)
                except Exception as error:  # noqa: BLE001 - kept with the image
                    self._fail(index, error, describe_error(error))
                    continue
                self._warn_of(prepared)
                results, caught = self._scanner.scan(prepared, partial(self._tell, bar, index))
                if caught is not None:
                    self._fail(index, caught, describe_error(caught))
                    continue
                self._take(index, report(index, item, results, self._files))

    def _read(self, index: int) -> ReadItem | Exception:
        try:
            return self._scanner.read(self._dataset, index).copied()
        except Exception as error:  # noqa: BLE001 - kept with the image
            return error

    def _scan_on(self, client: Client, bar: Any) -> None:
        """Scan on the workers of a cluster."""
        self._tell(bar)
        rest = self._first_run(bar)
        if not rest:
            return
        files = self._files
        shared = {"the model, or an option beside it,": self._scanner, "the data set": self._dataset}
        tasks = {index: (index, files) for index in rest}
        with closing(Workers(client, files).run(scan_image, shared, tasks, bar)) as reports:
            told: ImageReport | Exception
            for index, told in reports:
                if isinstance(told, StoreError):
                    raise told
                if isinstance(told, Exception):
                    known = isinstance(told, ImageFailedError)
                    self._fail(index, told, str(told) if known else why_failed(told, describe_error(told)))
                else:
                    self._take(index, told)
                self._tell(bar)

    def _first_run(self, bar: Any) -> list[int]:
        """Find out with the first image that can be run how to read the model's output; returns it, and those after it.

        Images before it have failed.
        """
        for position, index in enumerate(self._missing):
            try:
                prepared = self._scanner.prepare(self._scanner.read(self._dataset, index))
                self._scanner.plan(prepared)
            except Exception as error:  # noqa: BLE001 - kept with the image
                self._fail(index, error, describe_error(error))
                self._tell(bar)
                continue
            self._warn_of(prepared)
            return self._missing[position:]
        return []

    @property
    def _files(self) -> StoreFiles | None:
        """Of the store, if there is one."""
        return self._scans.files if isinstance(self._scans, ScansInStore) else None

    def _take(self, index: int, told: ImageReport) -> None:
        if isinstance(self._scans, ScansInStore):
            assert told.record is not None  # as there is a store  # noqa: S101
            self._scans.add(index, told.record, told.reading)
        else:
            self._scans.keep(index, told.results)
        if told.doubts is not None:
            self._warn(told.doubts)
        self._end()

    def _warn_of(self, image: PreparedImage) -> None:
        """Warn of what is unusual in the first image that has a truth: it is mostly so in all."""
        if not self._warned and (doubts := image.doubts()) is not None:
            self._warn(doubts)

    def _warn(self, doubts: Sequence[str]) -> None:
        if not self._warned:
            self._warned = True
            for text in doubts:
                warn_user(text)

    def _fail(self, index: int, error: Exception, text: str) -> None:
        self._errors[index], self._first_error = text, self._first_error or error
        self._end()

    def _end(self) -> None:
        self._ended, self._latest = self._ended + 1, None

    def _collection(self) -> HDMCollection:
        """What is finished."""
        if self._latest is None:
            # In the order in which images were asked for: workers end in any.
            errors = {index: self._errors[index] for index in self._chosen if index in self._errors}
            self._latest = HDMCollection(self._scans, self._scanner.fill_names, self._chosen, errors)
        return self._latest

    def _tell(self, bar: Any, index: int | None = None, fraction: float = 0.0) -> None:
        done = self._there + self._ended
        bar.update(round(done + fraction, 3) - bar.n)
        if not callable(self._progress):
            return
        seconds, ran = time.perf_counter() - self._started, self._ended + fraction
        left = seconds * (len(self._missing) - ran) / ran if ran else float("inf")
        self._progress(ImageUpdate(done, len(self._chosen), index, fraction, seconds, left, self._collection()))
