"""Show a model's input: as gray levels or as RGB."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdm_widgets._validation import brief, finite_number, is_whole, listed

__all__ = ["Bands", "Display", "View", "known_range", "to_rgb", "to_rgb_batch"]

Bands = int | Sequence[int]

# Without a stretch of the user's, values between these percentiles are spread from black to white.
_STRETCH = (2.0, 98.0)
# Gray and RGB. Bands of anything else rarely fill their nominal range: reflectances end at 0.3.
_PLAIN_CHANNELS = (1, 3)
# They are stretched as well if they fill less than this fraction of it.
_FILLED = 0.5
# Of larger images, a stretch is found on about so many pixels.
_SAMPLE = 1 << 20


@dataclass(frozen=True)
class Display:
    """How images are shown that are no plain RGB or gray: which bands, and from which value to which.

    Parameters
    ----------
    bands : int or sequence of int, optional
        One channel, shown in gray, or three, shown as red, green and blue; channels are counted from 0. By default
        three channels are red, green and blue, and any other number is shown by its mean.
    stretch : tuple of float, optional
        Percentiles, in [0, 100], that are shown as black and white, in each band that is shown. By default these are
        the 2nd and the 98th, except that values in [0, 1], [-1, 1] or 0 to 255 are shown as they are; of images with
        other than one or three channels, only if those percentiles of a band are at least half of that range apart.
    nodata : float, optional
        A pixel that has this value in all channels has no data, and does not count for the stretch. By default these
        are pixels that are 0 in all channels, or of several channels have the image's minimum in all.

    Examples
    --------
    >>> import numpy as np
    >>> import hdm_widgets as hw
    >>> display = hw.Display((3, 2, 1), stretch=(0, 100))
    >>> bands = np.arange(12.0).reshape(6, 1, 2)
    >>> display.view(bands).to_rgb(bands)
    array([[[  0,   0,   0],
            [255, 255, 255]]], dtype=uint8)
    """

    bands: Bands | None = None
    stretch: tuple[float, float] | None = None
    nodata: float | None = None

    def __post_init__(self) -> None:
        if is_whole(self.bands):
            object.__setattr__(self, "bands", int(self.bands))
        elif self.bands is not None:
            bands = listed(self.bands)
            if bands is None or len(bands) != 3 or not all(map(is_whole, bands)):
                raise ValueError(f"display must be a channel, or three of them for RGB, got {brief(self.bands)}")
            object.__setattr__(self, "bands", tuple(int(band) for band in bands))
        if self.stretch is not None:
            ends = listed(self.stretch) or []
            numbers = len(ends) == 2 and all(finite_number(end) is not None for end in ends)
            if not numbers or not 0 <= ends[0] < ends[1] <= 100:
                raise ValueError(f"stretch must be two percentiles, 0 <= low < high <= 100, got {brief(self.stretch)}")
            object.__setattr__(self, "stretch", (float(ends[0]), float(ends[1])))
        if self.nodata is not None:
            nodata = finite_number(self.nodata)
            if nodata is None:
                raise ValueError(
                    f"nodata must be a finite number, got {brief(self.nodata)}; fill NaN in the image itself"
                )
            object.__setattr__(self, "nodata", nodata)

    @classmethod
    def wrap(cls, display: Display | Bands | None) -> Display:
        """`display` itself if it is a Display, else one of these bands."""
        return display if isinstance(display, Display) else cls(display)

    def check(self, channels: int) -> None:
        """Refuse bands that an image with so many channels does not have.

        Raises
        ------
        ValueError
        """
        for band in () if self.bands is None else (self.bands,) if isinstance(self.bands, int) else self.bands:
            if not 0 <= band < channels:
                raise ValueError(
                    f"display must have channels 0 to {channels - 1} for this image, got {brief(self.bands)}"
                )

    def view(self, image: NDArray[Any]) -> View:
        """From which value to which this image (C, H, W) or (H, W) is shown, and others beside it.

        Raises
        ------
        ValueError
            If it has no such band.
        """
        values = _with_channels(image)
        self.check(len(values))
        nominal = self.nominal_range(values)
        if nominal is not None:
            return View.between(self.bands, *nominal)
        taken = _taken(self.bands)
        plain = len(values) in _PLAIN_CHANNELS
        pixels = values.reshape(len(values), -1)
        pixels = pixels[:, :: -(-pixels.shape[1] // _SAMPLE)]
        has_data = self._has_data(pixels)
        pixels = pixels[taken][:, has_data] if has_data.any() else pixels[taken]
        known = None if self.stretch is not None else _known_range(pixels)
        if known is not None and (plain or _fills(pixels, known)):
            return View.between(self.bands, *known)
        low, high = _percentiles(_planes(pixels), self.stretch or _STRETCH)
        return View(self.bands, low[:, None, None], high[:, None, None])

    def nominal_range(self, values: NDArray[Any]) -> tuple[float, float] | None:
        """The nominal range of an image (C, H, W) that is shown as it is; None for one that is stretched."""
        if len(values) not in _PLAIN_CHANNELS or self.nodata is not None or self.stretch is not None:
            return None
        return _known_range(values[_taken(self.bands)])

    def _has_data(self, pixels: NDArray[Any]) -> NDArray[np.bool_]:
        """Which pixels (C, n) have data, bool (n,)."""
        if self.nodata is not None:
            filled: NDArray[np.bool_] = (pixels != self.nodata).any(0)
            return filled
        least, most = pixels.min(0), pixels.max(0)
        dark = least == 0 if len(pixels) == 1 else (least == 0) | (least == least.min())
        nothing: NDArray[np.bool_] = (least == most) & dark
        return ~nothing


@dataclass(frozen=True, eq=False)
class View:
    """Which bands of images are shown, and from which value to which.

    Attributes
    ----------
    bands : int, tuple of int or None
    low, high : numpy.ndarray, float64 (k, 1, 1)
        What is black and white: in each plane that is shown, or, with k = 1, in all of them.
    """

    bands: Bands | None
    low: NDArray[np.float64]
    high: NDArray[np.float64]

    @classmethod
    def between(cls, bands: Bands | None, low: float, high: float) -> View:
        """All planes from `low` to `high`."""
        return cls(bands, np.full((1, 1, 1), low), np.full((1, 1, 1), high))

    def to_rgb(self, image: NDArray[Any]) -> NDArray[np.uint8]:
        """An image (C, H, W) or (H, W) as RGB, uint8 (H, W, 3)."""
        levels = self.levels(image)
        levels *= 255
        levels = np.rint(levels, out=levels).astype(np.uint8)
        return np.ascontiguousarray(np.broadcast_to(levels, (3, *levels.shape[1:])).transpose(1, 2, 0))

    def levels(self, image: NDArray[Any]) -> NDArray[np.float64]:
        """The planes that are shown of an image, (k, H, W), from 0 for black to 1 for white."""
        planes = _planes(_with_channels(image)[_taken(self.bands)])
        extent = self.high - self.low
        # In place: new arrays take most of the time.
        planes -= self.low
        planes /= np.where(extent > 0, extent, 1)
        planes *= extent > 0
        return np.clip(planes, 0, 1, out=planes)


def to_rgb(image: NDArray[Any], display: Display | Bands | None = None) -> NDArray[np.uint8]:
    """An image (C, H, W) or (H, W) as RGB, uint8 (H, W, 3)."""
    return Display.wrap(display).view(image).to_rgb(image)


def to_rgb_batch(images: NDArray[np.float32], display: Display | Bands | None = None) -> NDArray[np.uint8]:
    """Images (N, C, H, W) as RGB, uint8 (N, H, W, 3), each as `to_rgb` shows it."""
    display = Display.wrap(display)
    display.check(images.shape[1])
    shown = np.empty((len(images), *images.shape[2:], 3), np.uint8)
    known: dict[tuple[float, float], list[int]] = {}
    for place, image in enumerate(images):
        nominal = display.nominal_range(image)
        if nominal is None:
            shown[place] = display.view(image).to_rgb(image)
        else:
            known.setdefault(nominal, []).append(place)
    for (low, high), places in known.items():
        # Images of one range at once and in place: several times faster than one by one.
        planes = images[places][:, _taken(display.bands)].astype(np.float64)
        if planes.shape[1] != 3:
            planes = planes.mean(axis=1, keepdims=True)
        planes -= low
        planes /= high - low
        planes *= 255
        np.clip(np.rint(planes, out=planes), 0, 255, out=planes)
        shown[places] = planes.astype(np.uint8).transpose(0, 2, 3, 1)
    return shown


def known_range(low: float, high: float) -> tuple[float, float] | None:
    """The nominal range of an image with values from `low` to `high`: [0, 1], [-1, 1], 0 to 255, or None."""
    if low >= 0 and high <= 1:
        return 0.0, 1.0
    if low >= -1 and high <= 1:
        return -1.0, 1.0
    # A photograph has pixels in its lighter half; other small positive numbers may mean anything.
    return (0.0, 255.0) if low >= 0 and 128 <= high <= 255 else None


def _known_range(values: NDArray[Any]) -> tuple[float, float] | None:
    return known_range(float(values.min()), float(values.max()))


def _fills(pixels: NDArray[Any], known: tuple[float, float]) -> bool:
    """Whether some band (C, n) fills its nominal range, or all are constant."""
    low, high = np.percentile(pixels, _STRETCH, axis=1)
    extent = float((high - low).max())
    return extent == 0 or extent >= _FILLED * (known[1] - known[0])


def _percentiles(
    planes: NDArray[np.float64], stretch: tuple[float, float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Two percentiles of each plane (k, n); its minimum and maximum where these are equal."""
    low, high = np.percentile(planes, stretch, axis=1)
    # Where nearly all pixels are equal, the few others set the range.
    flat = low >= high
    return np.where(flat, planes.min(1), low), np.where(flat, planes.max(1), high)


def _with_channels(image: NDArray[Any]) -> NDArray[Any]:
    values = np.asarray(image)
    return values[None] if values.ndim == 2 else values


def _taken(bands: Bands | None) -> Any:
    """What takes the bands of an image (C, H, W), keeping their axis."""
    if bands is None:
        return slice(None)
    return slice(bands, bands + 1) if isinstance(bands, int) else list(bands)


def _planes(bands: NDArray[Any]) -> NDArray[np.float64]:
    """Three bands as they are, the mean of any other number."""
    return bands.astype(np.float64) if len(bands) == 3 else bands.mean(axis=0, keepdims=True, dtype=np.float64)
