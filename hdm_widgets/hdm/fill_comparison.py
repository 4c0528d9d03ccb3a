"""What a comparison of fills found."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from hdm_widgets.hdm.chance import (
    RankCorrelation,
    changes,
    expected_floor,
    least_changes,
    noise_floor,
    rank_correlations,
)
from hdm_widgets.hdm.circle_map import RAW, finite_limits
from hdm_widgets.hdm.plotting import Panel, draw_all, panel_of, png
from hdm_widgets.hdm.result import HDMResult
from hdm_widgets.hdm.result_file import read_results, write_results

__all__ = ["FillComparison", "choose_repeated_fill", "drawn_fills"]

_FORMAT = "hdm-widgets fill comparison 1"
_ARRAYS = ("spread", "least_change", "significant")


@dataclass(frozen=True, eq=False)
class FillComparison:
    """Scans of one image with several fills, and which of their discs matter beyond chance.

    Made by `compare_fills`. In a notebook it shows itself as the maps of all fills, and as a map of significance.

    Attributes
    ----------
    results : dict of str to HDMResult
        By the fill's name, or its number.
    agreement : dict of (str, str) to RankCorrelation
        Of every two fills' distances.
    spread : numpy.ndarray, float64 (rows, cols)
        Largest less smallest distance that the fills give a cell; NaN where not all have measured it.
    left_out : tuple of str
        Fills that say nothing of significance, because their discs are drawn as segment themselves: see
        `HDMResult.disc_drawn`. Empty if all fills are such.
    repeated_fill : str
        The fill of the repeats: of those that are not left out, the one that changes least by itself.
    least_change : numpy.ndarray, float64 (rows, cols)
        The smallest difference from the baseline that a cell has in any repeat, or any fill that is not left out, with
        its sign; 0 where not all are to the same side, or not all have measured it.
    noise_floor : float
        The largest such change that chance explains, in the unit of the distances; 0 where any is significant.
    significant : numpy.ndarray, bool (rows, cols)
        Cells whose change is larger than the noise floor, in either direction.
    repeats : int
        Scans with `repeated_fill` on moved grids, which the noise floor is from.
    """

    results: dict[str, HDMResult]
    agreement: dict[tuple[str, str], RankCorrelation]
    spread: NDArray[np.float64]
    left_out: tuple[str, ...]
    repeated_fill: str
    least_change: NDArray[np.float64]
    noise_floor: float
    significant: NDArray[np.bool_]
    repeats: int

    @classmethod
    def between(
        cls, results: Mapping[str, HDMResult], repeated_fill: str, repeated: Sequence[HDMResult], seed: int
    ) -> FillComparison:
        """Compare finished scans.

        Parameters
        ----------
        results : mapping of str to HDMResult
            By fill, on one grid.
        repeated_fill : str
            What `choose_repeated_fill` gave for these results.
        repeated : sequence of HDMResult
            With that fill, on grids that are moved a little.
        seed : int
            Of the intervals.
        """
        left_out = drawn_fills(results)
        every = [*results.values(), *repeated]
        compared = np.logical_and.reduce([result.measured for result in every])
        changed = np.stack([changes(result.values[compared], result.baseline) for result in every])
        told = [fill not in left_out for fill in results] + [True] * len(repeated)
        least = np.zeros(compared.shape)
        least[compared] = least_changes(changed[told])
        # The scan with the same fill counts as a repeat. The choice of that fill makes no alarm likelier: `least` is of
        # all that it is chosen from.
        alike = [fill == repeated_fill for fill in results] + [True] * len(repeated)
        floor = noise_floor(least[compared], changed[alike])
        maps = {fill: result.values for fill, result in results.items()}
        values = np.stack([each[compared] for each in maps.values()])
        spread = np.full(compared.shape, np.nan)
        with np.errstate(invalid="ignore"):
            spread[compared] = np.where((values == values[0]).all(0), 0.0, values.max(0) - values.min(0))
        return cls(
            dict(results), rank_correlations(maps, compared, every[0].grid, seed), spread, left_out, repeated_fill,
            least, floor, np.abs(least) > floor, len(repeated),
        )  # fmt: skip

    @property
    def compared(self) -> NDArray[np.bool_]:
        """Cells, bool (rows, cols), that all fills have measured."""
        return ~np.isnan(self.spread)

    @property
    def text(self) -> str:
        """What was found, in words."""
        first = next(iter(self.results.values()))
        count, total = int(np.count_nonzero(self.significant)), int(np.count_nonzero(self.compared))
        unit = f" {first.settings.unit}" if first.settings.unit else ""
        said = f"{count:,} of {total:,} discs matter beyond chance"
        other = "other " if self.left_out else ""
        digits = first.settings.decimals
        small = self.noise_floor < 10.0**-digits
        floor = f"{self.noise_floor:.1g}" if small else f"{self.noise_floor:.{digits}f}"
        if count:
            said += f": every {other}fill changes the {first.settings.name} to the same side"
            if self.noise_floor:
                said += f" by more than {floor}{unit}, the most that chance explains"
        elif total:
            said += self._why_none(f"{floor}{unit}", other)
        for fill in self.left_out:
            said += f". {fill} is left out: {self.results[fill].disc_drawn.finding}"
        known = {pair: each for pair, each in self.agreement.items() if not np.isnan(each.value)}
        if known:
            pair = min(known, key=lambda pair: known[pair].value)
            said += f". The fills that agree least are {pair[0]} and {pair[1]}: rank correlation {known[pair]}"
        return said

    def _why_none(self, floor: str, other: str) -> str:
        """Why no disc matters, and what to try."""
        name = next(iter(self.results.values())).settings.name
        counts = {
            fill: int(np.count_nonzero(changes(result.values[self.compared], result.baseline)))
            for fill, result in self.results.items()
            if fill not in self.left_out
        }
        if not any(counts.values()):
            return f": none changes the {name}"
        if self.least_change.any():
            return (
                f": with {self.repeated_fill} alone, discs anywhere change the {name} by up to {floor}, and what the "
                f"{other}fills have in common is not more; another measure, or other fills, may tell more"
            )
        fewest = min(counts, key=lambda fill: counts[fill])
        return (
            f": no disc changes the {name} to the same side with every {other}fill and at every repeat; {fewest} "
            f"changes it with the fewest discs, {counts[fewest]:,}. Another measure, or other fills, may tell more"
        )

    def plot(self, figure: Figure | None = None) -> Any:
        """Draw the maps of all fills on one scale, and the changes that they have in common, with matplotlib.

        Cells that are not distinguishable from chance are hatched in the last map; its colors are the smallest change
        of each cell, whatever its sign.

        Parameters
        ----------
        figure : matplotlib.figure.Figure, optional
            Where to draw; by default a new figure of pyplot's.

        Returns
        -------
        numpy.ndarray of matplotlib.axes.Axes
        """
        return draw_all(self._panels(), figure, heading=self.text)

    def _repr_png_(self) -> bytes:
        return png(self._panels(), self.text)

    def _panels(self) -> list[Panel]:
        results = list(self.results.values())
        values = np.stack([result.values for result in results])
        limits = finite_limits(values)
        first = next(iter(self.results))
        panels = []
        for fill, result in self.results.items():
            panel = panel_of(result, RAW)
            other = self.agreement.get((first, fill))
            # On one scale, a map that is constant by itself has a color bar too.
            title = fill if other is None else f"{fill}: \N{GREEK SMALL LETTER RHO} with {first} {other}"
            panels.append(replace(panel, title=title, limits=limits))
        size = np.abs(self.least_change)
        title = f"Change in common: {np.count_nonzero(self.significant):,} of {np.count_nonzero(self.compared):,} discs"
        common = replace(
            panels[0], title=title, values=size, shown=self.compared, color_map="Purples", limits=finite_limits(size),
            significant=self.significant,
        )  # fmt: skip
        return [*panels, common]

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"FillComparison({', '.join(self.results)}; {self.text})"

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything to an npz file; nothing in it is pickled.

        Parameters
        ----------
        path : path-like
            Written as given; `.npz` is the usual ending.
        """
        about = {
            "agreement": [[*pair, each.value, each.low, each.high] for pair, each in self.agreement.items()],
            "noise_floor": self.noise_floor,
            "repeats": self.repeats,
            "repeated_fill": self.repeated_fill,
            "left_out": self.left_out,
        }
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        write_results(path, _FORMAT, {fill: vars(one) for fill, one in self.results.items()}, about, arrays)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> FillComparison:
        """Read a comparison that `save` wrote.

        Raises
        ------
        ValueError
            If the file is no such comparison.
        """
        stored = read_results(path, _FORMAT)
        results, about, arrays = stored.results, stored.about, stored.arrays
        try:
            return cls(
                results={fill: HDMResult(**fields) for fill, fields in results.items()},
                agreement={
                    (first, second): RankCorrelation(*numbers) for first, second, *numbers in about["agreement"]
                },
                left_out=tuple(about["left_out"]),
                repeated_fill=str(about["repeated_fill"]),
                noise_floor=float(about["noise_floor"]),
                repeats=int(about["repeats"]),
                **{name: arrays[name] for name in _ARRAYS},
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{os.fspath(path)!r} is not a whole FillComparison: {error}") from error


def drawn_fills(results: Mapping[str, HDMResult]) -> tuple[str, ...]:
    """Fills whose discs are drawn as segment themselves; none if all are such."""
    drawn = tuple(fill for fill, result in results.items() if result.disc_drawn)
    return drawn if len(drawn) < len(results) else ()


def choose_repeated_fill(results: Mapping[str, HDMResult], repeats: int) -> str:
    """The fill to repeat: of those whose discs are not drawn, the one that changes least by itself.

    That is the one whose own map would have the lowest noise floor if it were all chance. A fill that acts like an
    object wherever it is changes as much anywhere as the right disc does, so that nothing rises above its floor.
    Of equals, noise, whose repeats have no pixel in common; then the first.
    """
    told = [fill for fill in results if fill not in drawn_fills(results)]
    told.sort(key=lambda fill: fill != "noise")
    return min(told, key=lambda fill: expected_floor(_changes_of(results[fill]), repeats + 1))


def _changes_of(result: HDMResult) -> NDArray[np.float64]:
    return changes(result.values[result.measured], result.baseline)
