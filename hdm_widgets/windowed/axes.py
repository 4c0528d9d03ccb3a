"""How a change spreads along one axis: which places of an output see it, and which input they need.

Every supported operation treats rows and columns apart, so each has one of these per axis. An interval is
half open, in places of the value it speaks of.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["Axis", "Blocks", "Interval", "Merged", "Same", "Sampled", "Sliding", "Span", "Spread", "Whole", "hull"]


class Interval(NamedTuple):
    """Places from `lo` up to, not including, `hi`."""

    lo: int
    hi: int

    @property
    def size(self) -> int:
        """Number of places."""
        return self.hi - self.lo


class Span(NamedTuple):
    """Places `lo` to `hi` of an input, with as many places of padding `before` and `after` them."""

    lo: int
    hi: int
    before: int = 0
    after: int = 0


class Axis(Protocol):
    """One operation along one axis; `size` is the number of places of its output."""

    @property
    def size(self) -> int:
        """Number of places of the output."""

    def change(self, changed: Sequence[Interval | None]) -> Interval | None:
        """Places of the output that may differ where the inputs differ in `changed`."""

    def need(self, out: Interval) -> tuple[Span, ...]:
        """What of each input the places `out` are computed from."""

    def pattern(self, out: Interval) -> object:
        """Whatever else of the arithmetic depends on where `out` lies; equal patterns compute alike."""


def hull(intervals: Sequence[Interval | None]) -> Interval | None:
    """The smallest interval that holds all of them."""
    given = [interval for interval in intervals if interval is not None]
    if not given:
        return None
    return Interval(min(interval.lo for interval in given), max(interval.hi for interval in given))


def _clipped(lo: int, hi: int, size: int) -> Interval | None:
    lo, hi = max(lo, 0), min(hi, size)
    return Interval(lo, hi) if lo < hi else None


def _padded(lo: int, hi: int, size: int) -> Span:
    inside = min(max(lo, 0), size), min(max(hi, 0), size)
    return Span(*inside, inside[0] - lo, hi - inside[1])


@dataclass(frozen=True)
class Same:
    """Place by place; an input of one place serves all of the output's."""

    sizes: tuple[int, ...]
    size: int

    def change(self, changed: Sequence[Interval | None]) -> Interval | None:
        """See `Axis`."""
        return hull(
            [
                Interval(0, self.size) if interval is not None and size != self.size else interval
                for interval, size in zip(changed, self.sizes, strict=True)
            ]
        )

    def need(self, out: Interval) -> tuple[Span, ...]:
        """See `Axis`."""
        return tuple(Span(*out) if size == self.size else Span(0, 1) for size in self.sizes)

    def pattern(self, out: Interval) -> object:
        """See `Axis`."""
        return None


@dataclass(frozen=True)
class Sliding:
    """A window of `kernel` places, `dilation` apart, moved by `stride`: convolutions and pools."""

    size_in: int
    size: int
    kernel: int
    stride: int
    padding: int
    dilation: int = 1

    @property
    def _reach(self) -> int:
        return self.dilation * (self.kernel - 1)

    def change(self, changed: Sequence[Interval | None]) -> Interval | None:
        """See `Axis`."""
        (interval,) = changed
        if interval is None:
            return None
        first = -((self._reach - interval.lo - self.padding) // self.stride)
        last = (interval.hi - 1 + self.padding) // self.stride
        return _clipped(first, last + 1, self.size)

    def need(self, out: Interval) -> tuple[Span, ...]:
        """See `Axis`."""
        lo = out.lo * self.stride - self.padding
        hi = (out.hi - 1) * self.stride - self.padding + self._reach + 1
        return (_padded(lo, hi, self.size_in),)

    def pattern(self, out: Interval) -> object:
        """See `Axis`."""
        return None


@dataclass(frozen=True)
class Spread:
    """Every input place adds to `kernel` output places: transposed convolutions."""

    size_in: int
    size: int
    kernel: int
    stride: int
    padding: int
    dilation: int = 1

    @property
    def _reach(self) -> int:
        return self.dilation * (self.kernel - 1)

    def change(self, changed: Sequence[Interval | None]) -> Interval | None:
        """See `Axis`."""
        (interval,) = changed
        if interval is None:
            return None
        lo = interval.lo * self.stride - self.padding
        hi = (interval.hi - 1) * self.stride - self.padding + self._reach + 1
        return _clipped(lo, hi, self.size)

    def need(self, out: Interval) -> tuple[Span, ...]:
        """See `Axis`."""
        first = -((self._reach - out.lo - self.padding) // self.stride)
        last = (out.hi - 1 + self.padding) // self.stride
        return (Span(max(first, 0), min(last + 1, self.size_in)),)

    def offset(self, out: Interval) -> int:
        """Where `out` begins in what the needed input alone brings forth without padding."""
        return out.lo + self.padding - self.need(out)[0].lo * self.stride

    def pattern(self, out: Interval) -> object:
        """See `Axis`."""
        return self.offset(out)


class Sampled:
    """Every output place is a weighted sum of some input places, whatever they are.

    Parameters
    ----------
    weights : numpy.ndarray (size_out, size_in)
        As the operation itself applies them; a row of zeros is a constant place.
    """

    def __init__(self, weights: NDArray[np.floating]) -> None:
        used = weights != 0
        self.size, self.size_in = weights.shape
        count = used.sum(1)
        self.first = np.where(count > 0, used.argmax(1), self.size_in)
        self.last = np.where(count > 0, self.size_in - 1 - used[:, ::-1].argmax(1), -1)
        taps = max(1, int(count.max(initial=0)))
        # The used places of every row first, in order; the rest have weight 0.
        order = np.argsort(~used, axis=1, kind="stable")[:, :taps]
        self.taps = order
        self.weights = np.take_along_axis(weights, order, axis=1)

    @property
    def copies(self) -> bool:
        """Whether every output place is just an input place."""
        return self.taps.shape[1] == 1 and bool((self.weights == 1).all())

    def change(self, changed: Sequence[Interval | None]) -> Interval | None:
        """See `Axis`."""
        (interval,) = changed
        if interval is None:
            return None
        touched = np.flatnonzero((self.first < interval.hi) & (self.last >= interval.lo))
        return Interval(int(touched[0]), int(touched[-1]) + 1) if len(touched) else None

    def need(self, out: Interval) -> tuple[Span, ...]:
        """See `Axis`."""
        lo = int(self.first[out.lo : out.hi].min())
        hi = int(self.last[out.lo : out.hi].max()) + 1
        return (Span(lo, hi) if lo < hi else Span(0, 1),)

    def local(self, out: Interval) -> tuple[NDArray[np.intp], NDArray[np.floating]]:
        """Places in the needed input and their weights, each (size of `out`, taps)."""
        (span,) = self.need(out)
        places = self.taps[out.lo : out.hi] - span.lo
        return places.clip(0, span.hi - span.lo - 1), self.weights[out.lo : out.hi]

    def pattern(self, out: Interval) -> object:
        """See `Axis`."""
        places, weights = self.local(out)
        return places.tobytes(), weights.tobytes()


@dataclass(frozen=True)
class Blocks:
    """Every input place becomes a block of `factor` output places: pixel shuffle."""

    size: int
    factor: int

    def change(self, changed: Sequence[Interval | None]) -> Interval | None:
        """See `Axis`."""
        (interval,) = changed
        return interval and Interval(interval.lo * self.factor, interval.hi * self.factor)

    def need(self, out: Interval) -> tuple[Span, ...]:
        """See `Axis`."""
        return (Span(out.lo // self.factor, -(-out.hi // self.factor)),)

    def pattern(self, out: Interval) -> object:
        """See `Axis`."""
        return out.lo % self.factor


@dataclass(frozen=True)
class Merged:
    """Every block of `factor` input places becomes one output place: pixel unshuffle."""

    size: int
    factor: int

    def change(self, changed: Sequence[Interval | None]) -> Interval | None:
        """See `Axis`."""
        (interval,) = changed
        return interval and Interval(interval.lo // self.factor, -(-interval.hi // self.factor))

    def need(self, out: Interval) -> tuple[Span, ...]:
        """See `Axis`."""
        return (Span(out.lo * self.factor, out.hi * self.factor),)

    def pattern(self, out: Interval) -> object:
        """See `Axis`."""
        return None


@dataclass(frozen=True)
class Whole:
    """Anything may depend on everything."""

    sizes: tuple[int, ...]
    size: int

    def change(self, changed: Sequence[Interval | None]) -> Interval | None:
        """See `Axis`."""
        return None if hull(changed) is None else Interval(0, self.size)

    def need(self, out: Interval) -> tuple[Span, ...]:
        """See `Axis`."""
        return tuple(Span(0, size) for size in self.sizes)

    def pattern(self, out: Interval) -> object:
        """See `Axis`."""
        return None
