"""How an image of a data set is scanned: the same in this process and in others."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from hdm_widgets._datasets import Dataset, Fields, from_pillow
from hdm_widgets._validation import brief, image_size
from hdm_widgets.hdm.explainer import HausdorffDistanceMasks
from hdm_widgets.hdm.fill_names import fill_text
from hdm_widgets.hdm.grid import check_count, usual_discs
from hdm_widgets.hdm.occlusion import Fill
from hdm_widgets.hdm.options import ScanKeywords, ScanOptions
from hdm_widgets.hdm.result import HDMResult
from hdm_widgets.hdm.scan import PreparedScan
from hdm_widgets.models.description import (
    describe_ignored,
    describe_model,
    describe_reading,
    describe_segmenter,
    differences,
    plain,
)
from hdm_widgets.models.segmenter import Model, Segmenter

__all__ = ["ImageScanner", "PreparedImage", "ReadItem"]

# What does not change a result.
_NOT_DESCRIBED = ("batch_size", "inference", "fill", "ignore", "target", "threshold")


@dataclass(frozen=True, eq=False)
class ReadItem:
    """An item of a data set as a scan takes it.

    Attributes
    ----------
    image : torch.Tensor or numpy.ndarray
    segment : torch.Tensor or numpy.ndarray, or None
        The truth; None if masks are compared with the prediction.
    """

    image: Any
    segment: Any

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the image and the truth."""
        digest = hashlib.sha256()
        for values in (self.image, self.segment):
            if values is None:
                continue
            array = _array(values)
            for part in (np.ma.getdata(array), np.ma.getmaskarray(array)):
                digest.update(f"{part.dtype} {part.shape}".encode())
                digest.update(np.ascontiguousarray(part).data)
        return digest.hexdigest()[:16]

    def copied(self) -> ReadItem:
        """The same in memory of its own: a data set may read the next item into that of the last."""
        return ReadItem(*map(_copy, (self.image, self.segment)))


def _copy(values: Any) -> Any:
    if isinstance(values, Tensor):
        return values.clone()
    return values.copy() if isinstance(values, np.ndarray) else values


def _array(values: Any) -> Any:
    if not isinstance(values, Tensor):
        return values
    values = values.detach().cpu()
    # NumPy has no such type; every value of it is one of float32.
    return (values.float() if values.dtype == torch.bfloat16 else values).numpy()


@dataclass(frozen=True, eq=False)
class PreparedImage:
    """The scans of an image, checked.

    Attributes
    ----------
    scans : list of PreparedScan
        One for each fill.
    """

    scans: list[PreparedScan]

    def doubts(self) -> list[str] | None:
        """What is valid in the image and its truth but probably unintended.

        None of an empty truth, which is nothing unusual among many: another image may tell more.
        """
        if not (self.scans[0].settings.of_prediction or self.scans[0].truth.mask.any()):
            return None
        return list(dict.fromkeys(text for scan in self.scans for text in scan.doubts()))


class ImageScanner:
    """Everything that the scans of many images have in common, checked; it can be sent to another process.

    Parameters
    ----------
    model, device, channel, normalize, options
        As for `explain_many`.
    fields : Fields
        Where the image and the mask of an item are.
    discs : tuple of int or None
        Circle size and offset.
    fills : list of Fill
        As `check_fill` gives them.
    of_prediction : bool
        Compare masks with the prediction.

    Raises
    ------
    TypeError, ValueError
        For bad input.
    """

    def __init__(
        self,
        model: Model,
        fields: Fields,
        discs: tuple[int | None, int | None],
        device: torch.device | str | None,
        channel: int | Sequence[int],
        fills: list[Fill],
        of_prediction: bool,
        normalize: bool,
        options: ScanKeywords,
    ) -> None:
        self.fill_names = [fill_text(fill) for fill in fills]
        if not fills or len(set(self.fill_names)) < len(fills):
            raise ValueError(f"fills must be at least one, and none twice, got {brief(fills)}")
        for name, size in zip(("circle_size", "offset"), discs, strict=True):
            if size is not None:
                check_count(name, size)
        self._options = ScanOptions(**options)
        target = self._options.target
        self._segmenter = Segmenter.wrap(
            model, target=None if target == "all" else target, threshold=self._options.threshold, device=device
        )
        self._fields, self._discs, self._device, self._channel = fields, discs, device, channel
        self._fills, self._of_prediction, self._normalize = fills, of_prediction, normalize
        # The segmenter has target and threshold already.
        self._keywords: dict[str, Any] = {
            name: value
            for name, value in options.items()
            if name not in ("fill", "threshold") and (name != "target" or value == "all")
        }
        # What the first image says of the model is true of all.
        self._quiet = False

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

    def expect(self, reading: Mapping[str, Any]) -> list[str]:
        """Read the model's output as earlier scans did.

        Parameters
        ----------
        reading : mapping
            As `describe_reading` gives it.

        Returns
        -------
        list of str
            What differs, where a Segmenter that has been used before reads it in another way.
        """
        segmenter = self._segmenter
        if segmenter.reading.values or segmenter.reading.form == "class numbers":
            return differences(dict(reading), describe_reading(segmenter.reading))
        segmenter.expect(reading["kind of the output's values"])
        return []

    def read(self, dataset: Dataset, index: int) -> ReadItem:
        """Read an item.

        Raises
        ------
        ValueError, TypeError
            Naming the item.
        """
        try:
            item = dataset[index]
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
        return ReadItem(image, segment)

    def prepare(self, item: ReadItem) -> PreparedImage:
        """Check an image.

        Raises
        ------
        TypeError, ValueError
            For bad input.
        """
        height, width = image_size(item.image, preprocess=self._segmenter.preprocess is not None, mask=item.segment)
        # One for each image: what it caches is of no use for others.
        explainer = HausdorffDistanceMasks(width, height)
        circle_size, offset = (
            asked or usual for asked, usual in zip(self._discs, usual_discs(height, width), strict=True)
        )
        explainer.generate_masks(circle_size, offset, self._normalize)
        scans: list[PreparedScan] = []
        for fill in self._fills:
            keywords: dict[str, Any] = {**self._keywords, "fill": fill}
            scan = explainer.prepare(
                self._segmenter, item.image, item.segment, self._device, self._channel, **keywords
            )  # fmt: skip
            scans.append(replace(scan, quiet=self._quiet or bool(scans)))
        return PreparedImage(scans)

    def plan(self, image: PreparedImage) -> None:
        """Run an image without a disc, and decide with it how the model's output is read.

        Raises
        ------
        ModelError, ValueError
            If the model cannot be scanned on this image.
        """
        image.scans[0].plan()
        self._quiet = True

    def scan(
        self, image: PreparedImage, tell: Callable[[float], object] = lambda _: None
    ) -> tuple[list[HDMResult], Exception | None]:
        """Run the scans of an image.

        Parameters
        ----------
        image : PreparedImage
        tell : callable
            Takes the fraction that is done, in [0, 1]. What it raises ends the scans.

        Returns
        -------
        list of HDMResult
            One for each fill.
        Exception or None
            What the model or the measure raised; the results are those before.
        """
        results: list[HDMResult] = []
        for position, scan in enumerate(image.scans):
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
                    self._quiet = True
                    # Outside of the try: what `tell` raises ends all scans.
                    tell((position + update.done / max(update.total, 1)) / len(image.scans))
            assert result is not None  # the first update comes before any cell  # noqa: S101
            results.append(result)
        return results, None
