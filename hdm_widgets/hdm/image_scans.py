"""Scans of many images of a data set, one after the other."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, Unpack

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm.auto import tqdm

from hdm_widgets._datasets import Dataset, Field, Fields, as_dataset, from_pillow
from hdm_widgets._store_files import StoreFiles
from hdm_widgets._store_lock import writing
from hdm_widgets._validation import image_size, is_whole, takes_options
from hdm_widgets.hdm.collection import HDMCollection
from hdm_widgets.hdm.explainer import HausdorffDistanceMasks
from hdm_widgets.hdm.fill_names import fill_text
from hdm_widgets.hdm.grid import check_count, usual_discs
from hdm_widgets.hdm.kept_scans import KeptScans, ScansInMemory, ScansInStore
from hdm_widgets.hdm.occlusion import Fill, check_fill
from hdm_widgets.hdm.options import ScanKeywords, ScanOptions
from hdm_widgets.hdm.result import HDMResult
from hdm_widgets.hdm.scan import PreparedScan
from hdm_widgets.models.description import describe_ignored, describe_model, describe_segmenter, plain
from hdm_widgets.models.errors import describe_error
from hdm_widgets.models.segmenter import Model, Segmenter

__all__ = ["ImageUpdate", "explain_many"]

# Stored images that are read again, to see whether the data set is the same.
_COMPARED = 16
# What does not change a result.
_NOT_DESCRIBED = ("batch_size", "inference", "fill", "ignore", "target", "threshold")


@dataclass(frozen=True, eq=False)
class ImageUpdate:
    """News from running scans of many images.

    Attributes
    ----------
    done, total : int
        Images that are finished, with those that failed, and all.
    index : int or None
        The image that is being scanned; None at the end.
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
    progress : bool or callable
        Show a tqdm bar, or call this with every `ImageUpdate`. An exception that it raises ends the scans.
    **options
        See `ScanOptions`.

    Returns
    -------
    HDMCollection
        An image that failed has no result, and its error in `errors`. An interrupt from the keyboard ends the scans,
        and what is finished is returned: see `complete`.

    Raises
    ------
    TypeError, ValueError
        For bad input, before the model is run; if every image failed, with what is wrong with the first.
    StoreError
        If the store is of another model, other settings or another data set, with the difference; if another process
        writes to it.

    Notes
    -----
    Of the store's images, 16 are read again from the data set and compared. All files of the images asked for are
    checked by their checksums, and what is damaged is scanned again. Of a model that is no Module only the name is
    compared. `HDMResult.load` reads the files too.

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
    run = _Run(
        model, data, Fields(image, mask), circle_size, offset, device, channel,
        [check_fill(fill) for fill in ([options.get("fill", "minimum")] if fills is None else fills)],
        of_prediction, normalize, options,
    )  # fmt: skip
    if store is None:
        return run.all(chosen, ScansInMemory(), [], progress)
    files = StoreFiles(store)
    with writing(files) as lock:
        scans = ScansInStore(files)
        scans.begin(run.described(), lock)
        there = scans.whole(chosen)
        for place in np.unique(np.linspace(0, len(there) - 1, min(_COMPARED, len(there))).round().astype(int)):
            scans.check(there[place], run.read(there[place]).fingerprint)
        return run.all(chosen, scans, there, progress)


def _chosen(indices: Iterable[int] | None, count: int) -> list[int]:
    """The items that are asked for, each once."""
    if indices is None:
        return list(range(count))
    chosen = [index.item() if isinstance(index, (np.integer, Tensor)) else index for index in indices]
    for index in chosen:
        if not is_whole(index):
            raise TypeError(f"indices must be whole numbers, got {index!r}")
        if not 0 <= index < count:
            raise ValueError(f"indices must be 0 to {count - 1}, as the data set has {count} items, got {index}")
    if not chosen:
        raise ValueError("indices are empty: there is nothing to explain")
    return list(dict.fromkeys(chosen))


@dataclass(frozen=True, eq=False)
class _Read:
    """An item as a scan takes it."""

    image: Any
    segment: Any

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the image and the truth."""
        digest = hashlib.sha256()
        for array in (self.image, self.segment):
            for part in (np.ma.getdata(_array(array)), np.ma.getmaskarray(_array(array))) if array is not None else ():
                digest.update(f"{part.dtype} {part.shape}".encode())
                digest.update(np.ascontiguousarray(part).data)
        return digest.hexdigest()[:16]


def _array(values: Any) -> Any:
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else values


class _Run:
    """Everything that the scans of one call have in common, checked."""

    def __init__(
        self,
        model: Model,
        dataset: Dataset,
        fields: Fields,
        circle_size: int | None,
        offset: int | None,
        device: torch.device | str | None,
        channel: int | Sequence[int],
        fills: list[Fill],
        of_prediction: bool,
        normalize: bool,
        options: ScanKeywords,
    ) -> None:
        self.fill_names = [fill_text(fill) for fill in fills]
        if not fills or len(set(self.fill_names)) < len(fills):
            raise ValueError(f"fills must be at least one, and none twice, got {fills!r}")
        for name, size in (("circle_size", circle_size), ("offset", offset)):
            if size is not None:
                check_count(name, size)
        self._options = ScanOptions(**options)
        target = self._options.target
        self._segmenter = Segmenter.wrap(
            model, target=None if target == "all" else target, threshold=self._options.threshold, device=device
        )
        self._dataset, self._fields = dataset, fields
        self._discs, self._device, self._channel = (circle_size, offset), device, channel
        self._fills, self._of_prediction, self._normalize = fills, of_prediction, normalize
        # The segmenter has target and threshold already.
        self._keywords: dict[str, Any] = {
            name: value
            for name, value in options.items()
            if name not in ("fill", "threshold") and (name != "target" or value == "all")
        }
        self._explainers: dict[tuple[int, int], HausdorffDistanceMasks] = {}
        self._warned = False

    def described(self) -> dict[str, Any]:
        """Everything that results depend on but for the items themselves, as JSON can hold it."""
        options = {name: value for name, value in vars(self._options).items() if name not in _NOT_DESCRIBED}
        where = self._fields.described()
        return {
            **describe_model(self._segmenter.model),
            **describe_segmenter(self._segmenter),
            # One that has been used before has decided it already; a call that goes on must not depend on that.
            "activation": self._segmenter.asked_activation,
            "all classes": self._options.target == "all",
            "circle_size": self._discs[0],
            "offset": self._discs[1],
            "channel": self._channel if isinstance(self._channel, int) else [int(one) for one in self._channel],
            "fills": self.fill_names,
            "of_prediction": self._of_prediction,
            "normalize": self._normalize,
            "image": where["image"],
            "mask": where["mask"],
            "ignore": describe_ignored(self._options.ignore),
            **plain(options),
        }

    def read(self, index: int) -> _Read:
        """Read an item.

        Raises
        ------
        ValueError, TypeError
            Naming the item.
        """
        try:
            item = self._dataset[index]
        except Exception as error:
            raise ValueError(f"item {index} could not be read: {type(error).__name__}: {error}") from error
        image, segment, _ = self._fields.find(item, index, mask_needed=not self._of_prediction)
        if self._of_prediction:
            segment = None
        elif segment is None:
            raise ValueError(f"item {index}: its mask is missing (None); of_prediction=True needs none")
        image, segment = (
            from_pillow(one, is_mask=is_mask) if isinstance(one, Image.Image) else one
            for one, is_mask in ((image, False), (segment, True))
        )
        if getattr(segment, "ndim", 0) == 3 and segment.shape[0] == 1:
            segment = segment[0]
        return _Read(image, segment)

    def all(
        self,
        chosen: list[int],
        scans: KeptScans,
        there: list[int],
        progress: bool | Callable[[ImageUpdate], object],
    ) -> HDMCollection:
        """Scan what is missing."""
        errors: dict[int, str] = {}
        first_error: Exception | None = None
        known = set(there)
        missing = [index for index in chosen if index not in known]
        started = time.perf_counter()

        def collection() -> HDMCollection:
            return HDMCollection(scans, self.fill_names, chosen, errors)

        def tell(position: int, fraction: float) -> None:
            seconds, ran = time.perf_counter() - started, position + fraction
            left = seconds * (len(missing) - ran) / ran if ran else float("inf")
            index = missing[position] if position < len(missing) else None
            done = len(there) + position
            bar.update(round(done + fraction, 3) - bar.n)
            if callable(progress):
                progress(ImageUpdate(done, len(chosen), index, fraction, seconds, left, collection()))

        with tqdm(
            disable=progress is not True, total=len(chosen), initial=len(there), unit="image", desc="explaining",
            delay=0.5, bar_format="{l_bar}{bar}| {n:.1f}/{total} images [{elapsed}<{remaining}]",
        ) as bar:  # fmt: skip
            try:
                for position, index in enumerate(missing):
                    tell(position, 0.0)
                    try:
                        read = self.read(index)
                        prepared = self._prepare(read)
                    except Exception as error:  # noqa: BLE001 - kept with the image
                        errors[index], first_error = describe_error(error), first_error or error
                        continue
                    results, caught = self._scan(prepared, partial(tell, position))
                    if caught is None:
                        scans.keep(index, results, "" if isinstance(scans, ScansInMemory) else read.fingerprint)
                    else:
                        errors[index], first_error = describe_error(caught), first_error or caught
                tell(len(missing), 0.0)
            except KeyboardInterrupt:
                return collection()
        found = collection()
        if first_error is not None and not len(found):
            raise ValueError(
                f"all {len(chosen)} images failed; item {next(iter(errors))}: {next(iter(errors.values()))}"
            ) from first_error
        return found

    def _prepare(self, read: _Read) -> list[PreparedScan]:
        """Check an image; one scan for each fill."""
        height, width = image_size(
            read.image, preprocess=self._segmenter.preprocess is not None, mask=read.segment
        )  # fmt: skip
        if (height, width) not in self._explainers:
            explainer = HausdorffDistanceMasks(width, height)
            circle_size, offset = (
                asked or usual for asked, usual in zip(self._discs, usual_discs(height, width), strict=True)
            )
            explainer.generate_masks(circle_size, offset, self._normalize)
            self._explainers[height, width] = explainer
        explainer = self._explainers[height, width]
        prepared = []
        for fill in self._fills:
            keywords: dict[str, Any] = {**self._keywords, "fill": fill}
            scan = explainer.prepare(
                self._segmenter, read.image, read.segment, self._device, self._channel, **keywords
            )  # fmt: skip
            # What the first image warns of is mostly true of all; an empty truth is nothing unusual among many.
            if not self._warned and (self._of_prediction or scan.truth.mask.any()):
                scan.warn()
                self._warned = True
            else:
                scan = replace(scan, quiet=True)
            prepared.append(scan)
        return prepared

    def _scan(
        self, prepared: list[PreparedScan], tell: Callable[[float], object]
    ) -> tuple[list[HDMResult], Exception | None]:
        """The results of an image, one for each fill; and what the model or the measure raised."""
        results: list[HDMResult] = []
        for position, scan in enumerate(prepared):
            result = None
            with closing(scan.updates()) as updates:
                while True:
                    try:
                        update = next(updates)
                    except StopIteration:
                        break
                    except Exception as error:  # noqa: BLE001 - kept with the image
                        return results, error
                    result = update.result
                    # Outside of the try: what `tell` raises ends all scans.
                    tell((position + update.done / max(update.total, 1)) / len(prepared))
            assert result is not None  # the first update comes before any cell  # noqa: S101
            results.append(result)
        return results, None
