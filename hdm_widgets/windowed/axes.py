"""Operations along one axis: how a change propagates through them, and the receptive field of an output.

Every supported operation treats rows and columns separately, so it has one of these for each. Intervals are half open
and count positions of the input or output in question.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Axis", "Blocks", "Global", "Interval", "LinearResample", "LocalPointwise", "PixelShuffle", "PixelUnshuffle",
    "Pointwise", "Span", "TransposedWindow", "Window", "hull",
]  # fmt: skip


class Interval(NamedTuple):
    """Positions from `lo` up to, not including, `hi`."""

    lo: int
    hi: int

    @property
    def size(self) -> int:
        """Number of positions."""
        return self.hi - self.lo


class Span(NamedTuple):
    """Positions `lo` to `hi` of an input, with so many positions of padding `before` and `after` them."""

    lo: int
    hi: int
    before: int = 0
    after: int = 0


class Axis(Protocol):
    """One operation along one axis."""

    @property
    def size(self) -> int:
        """Number of positions of the output."""

    def propagate(self, changed: Sequence[Interval | None]) -> Interval | None:
        """Output positions that may change where the inputs change in `changed`, one interval for each input."""

    def receptive_field(self, out: Interval) -> tuple[Span, ...]:
        """Positions of each input that the output positions `out` are computed from."""

    def pattern(self, out: Interval) -> object:
        """Whatever else the arithmetic depends on; outputs of equal size and pattern are computed alike."""


def hull(intervals: Sequence[Interval | None]) -> Interval | None:
    """Smallest interval that contains all of them."""
    given = [interval for interval in intervals if interval is not None]
    if not given:
        return None
    return Interval(min(interval.lo for interval in given), max(interval.hi for interval in given))


@dataclass(frozen=True)
class Pointwise:
    """Pointwise along this axis; inputs of size 1 are broadcast."""

    sizes: tuple[int, ...]
    size: int

    def propagate(self, changed: Sequence[Interval | None]) -> Interval | None:
        """See `Axis`."""
        return hull(
            [
                Interval(0, self.size) if interval is not None and size != self.size else interval
                for interval, size in zip(changed, self.sizes, strict=True)
            ]
        )

    def receptive_field(self, out: Interval) -> tuple[Span, ...]:
        """See `Axis`."""
        return tuple(Span(*out) if size == self.size else Span(0, 1) for size in self.sizes)

    def pattern(self, out: Interval) -> object:
        """See `Axis`."""
        return None


@dataclass(frozen=True)
class LocalPointwise(Pointwise):
    """As `Pointwise`, but a change of what is broadcast counts only where another input changes too.

    So a gate or a statistic that changes a little everywhere changes no position by itself.
    """

    def propagate(self, changed: Sequence[Interval | None]) -> Interval | None:
        """See `Axis`."""
        return hull(
            [
                interval
                for interval, size in zip(changed, self.sizes, strict=True)
                if size == self.size or self.size == 1
            ]
        )


@dataclass(frozen=True)
class _Kernel:
    """A kernel between the positions of two maps.

    Seen from the strided side, position `p` is in contact with positions `p * stride - padding` up to, not including,
    `p * stride - padding + extent` of the dense side.
    """

    size_in: int
    size: int
    kernel: int
    stride: int
    padding: int
    dilation: int = 1

    @property
    def _extent(self) -> int:
        return self.dilation * (self.kernel - 1) + 1

    def _dense(self, strided: Interval) -> Interval:
        """Positions of the dense side in contact with some of the strided side."""
        lo = strided.lo * self.stride - self.padding
        return Interval(lo, lo + (strided.size - 1) * self.stride + self._extent)

    def _strided(self, dense: Interval) -> Interval:
        """Positions of the strided side in contact with some of the dense side."""
        lo = -((self._extent - 1 - dense.lo - self.padding) // self.stride)
        return Interval(lo, (dense.hi - 1 + self.padding) // self.stride + 1)


class Window(_Kernel):
    """A window of `kernel` positions, `dilation` apart, moved by `stride`: convolution and pooling."""

    def propagate(self, changed: Sequence[Interval | None]) -> Interval | None:
        """See `Axis`."""
        (interval,) = changed
        return interval and _clipped(self._strided(interval), self.size)

    def receptive_field(self, out: Interval) -> tuple[Span, ...]:
        """See `Axis`."""
        lo, hi = self._dense(out)
        inside = min(max(lo, 0), self.size_in), min(max(hi, 0), self.size_in)
        return (Span(*inside, inside[0] - lo, hi - inside[1]),)

    def pattern(self, out: Interval) -> object:
        """See `Axis`."""
        return None


class TransposedWindow(_Kernel):
    """Every input position adds to `kernel` output positions: transposed convolution."""

    def propagate(self, changed: Sequence[Interval | None]) -> Interval | None:
        """See `Axis`."""
        (interval,) = changed
        return interval and _clipped(self._dense(interval), self.size)

    def receptive_field(self, out: Interval) -> tuple[Span, ...]:
        """See `Axis`."""
        lo, hi = self._strided(out)
        return (Span(max(lo, 0), min(hi, self.size_in)),)

    def offset(self, out: Interval) -> int:
        """Where `out` begins in the transposed convolution, without padding, of its receptive field alone."""
        return out.lo + self.padding - self.receptive_field(out)[0].lo * self.stride

    def pattern(self, out: Interval) -> object:
        """See `Axis`."""
        return self.offset(out)


class LinearResample:
    """Every output position is a weighted sum of some input positions.

    Parameters
    ----------
    weights : numpy.ndarray (size_out, size_in)
        As the operation itself applies them; a row of zeros is a constant position.
    """

    def __init__(self, weights: NDArray[np.floating]) -> None:
        used = weights != 0
        self.size, self.size_in = weights.shape
        count = used.sum(1)
        self.first = np.where(count > 0, used.argmax(1), self.size_in)
        self.last = np.where(count > 0, self.size_in - 1 - used[:, ::-1].argmax(1), -1)
        most = max(1, int(count.max(initial=0)))
        # The used positions of every row first, in order; the rest have weight 0.
        self.sources = np.argsort(~used, axis=1, kind="stable")[:, :most]
        self.weights = np.take_along_axis(weights, self.sources, axis=1)

    @property
    def copies(self) -> bool:
        """Whether every output position is a copy of an input position."""
        return self.sources.shape[1] == 1 and bool((self.weights == 1).all())

    def propagate(self, changed: Sequence[Interval | None]) -> Interval | None:
        """See `Axis`."""
        (interval,) = changed
        if interval is None:
            return None
        touched = np.flatnonzero((self.first < interval.hi) & (self.last >= interval.lo))
        return Interval(int(touched[0]), int(touched[-1]) + 1) if len(touched) else None

    def receptive_field(self, out: Interval) -> tuple[Span, ...]:
        """See `Axis`."""
        lo = int(self.first[out.lo : out.hi].min())
        hi = int(self.last[out.lo : out.hi].max()) + 1
        return (Span(lo, hi) if lo < hi else Span(0, 1),)

    def weighted_sources(self, out: Interval) -> tuple[NDArray[np.intp], NDArray[np.floating]]:
        """Positions in the receptive field and their weights, each (size of `out`, sources)."""
        (span,) = self.receptive_field(out)
        positions = self.sources[out.lo : out.hi] - span.lo
        return positions.clip(0, span.hi - span.lo - 1), self.weights[out.lo : out.hi]

    def pattern(self, out: Interval) -> object:
        """See `Axis`."""
        positions, weights = self.weighted_sources(out)
        return positions.tobytes(), weights.tobytes()


class IntegerUpsample(LinearResample):
    """Linear resampling to a whole multiple of the size, the same at every multiple of `factor`."""

    def __init__(self, weights: NDArray[np.floating], factor: int) -> None:
        super().__init__(weights)
        self.factor = factor

    def pattern(self, out: Interval) -> object:
        """See `Axis`."""
        return out.lo - self.factor * self.receptive_field(out)[0].lo


@dataclass(frozen=True)
class PixelShuffle:
    """Every input position becomes a block of `factor` output positions."""

    size: int
    factor: int

    def propagate(self, changed: Sequence[Interval | None]) -> Interval | None:
        """See `Axis`."""
        (interval,) = changed
        return interval and Interval(interval.lo * self.factor, interval.hi * self.factor)

    def receptive_field(self, out: Interval) -> tuple[Span, ...]:
        """See `Axis`."""
        return (Span(out.lo // self.factor, -(-out.hi // self.factor)),)

    def pattern(self, out: Interval) -> object:
        """See `Axis`."""
        return out.lo % self.factor


@dataclass(frozen=True)
class PixelUnshuffle:
    """Every block of `factor` input positions becomes one output position."""

    size: int
    factor: int

    def propagate(self, changed: Sequence[Interval | None]) -> Interval | None:
        """See `Axis`."""
        (interval,) = changed
        return interval and Interval(interval.lo // self.factor, -(-interval.hi // self.factor))

    def receptive_field(self, out: Interval) -> tuple[Span, ...]:
        """See `Axis`."""
        return (Span(out.lo * self.factor, out.hi * self.factor),)

    def pattern(self, out: Interval) -> object:
        """See `Axis`."""
        return None


@dataclass(frozen=True)
class Global:
    """Every output position may depend on all input positions."""

    sizes: tuple[int, ...]
    size: int

    def propagate(self, changed: Sequence[Interval | None]) -> Interval | None:
        """See `Axis`."""
        return None if hull(changed) is None else Interval(0, self.size)

    def receptive_field(self, out: Interval) -> tuple[Span, ...]:
        """See `Axis`."""
        return tuple(Span(0, size) for size in self.sizes)

    def pattern(self, out: Interval) -> object:
        """See `Axis`."""
        return None


@dataclass(frozen=True)
class Blocks:
    """Every position of a block may depend on all of its block, in each input."""

    inputs: int
    size: int
    block: int

    def propagate(self, changed: Sequence[Interval | None]) -> Interval | None:
        """See `Axis`."""
        interval = hull(changed)
        return interval and self._whole(interval)

    def receptive_field(self, out: Interval) -> tuple[Span, ...]:
        """See `Axis`."""
        return (Span(*self._whole(out)),) * self.inputs

    def pattern(self, out: Interval) -> object:
        """See `Axis`."""
        return out.lo % self.block

    def _whole(self, interval: Interval) -> Interval:
        return Interval(interval.lo // self.block * self.block, -(-interval.hi // self.block) * self.block)


def _clipped(interval: Interval, size: int) -> Interval | None:
    lo, hi = max(interval.lo, 0), min(interval.hi, size)
    return Interval(lo, hi) if lo < hi else None
