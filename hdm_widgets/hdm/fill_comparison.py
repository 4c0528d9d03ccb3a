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
# A fill whose discs are drawn in more than this fraction of the cells says nothing of the others either.
_MOSTLY = 0.5
# What one fill alone shows may be its own doing.
_FEWEST_FILLS = 2


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
        Fills that say nothing of significance, because their discs are drawn as segment themselves in more than half
        of the cells: see `HDMResult.disc_drawn`. Empty if all fills are such. Of the other fills, single cells may be
        left out: see `used`.
    repeated_fill : str
        The fill of the repeats: of those that are not left out, the one that changes least by itself.
    least_change : numpy.ndarray, float64 (rows, cols)
        The smallest difference from the baseline that a cell has in any repeat, or any fill that is used there, with
        its sign; 0 where not all are to the same side, not all have measured it, or fewer than two fills are used.
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
        used = np.stack([each[compared] for each in _used(results).values()])
        # The scan with the same fill counts as a repeat, in every cell. The choice of that fill makes no alarm
        # likelier: `least` is of all that it is chosen from.
        alike = np.array([fill == repeated_fill for fill in results] + [True] * len(repeated))
        counted = alike[:, None] | np.concatenate([used, np.zeros((len(repeated), used.shape[1]), np.bool_)])
        least = np.zeros(compared.shape)
        least[compared] = np.where(used.sum(0) >= _FEWEST_FILLS, least_changes(changed, counted), 0.0)
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
    def used(self) -> dict[str, NDArray[np.bool_]]:
        """Cells, bool (rows, cols), by fill, in which a fill is asked whether a disc matters.

        Not those in which its disc is drawn as segment itself; none of a fill that is left out.
        """
        return _used(self.results)

    @property
    def text(self) -> str:
        """What was found, in words."""
        said = [self.finding]
        used = [fill for fill in self.results if fill not in self.left_out]
        if self.left_out:
            said.append(f"Of {len(self.results)} fills, {len(used)} {'was' if len(used) == 1 else 'were'} used")
        if notes := self.left_out_notes:
            each = "; ".join(f"{fill} {note}" for fill, note in notes.items())
            said.append(f"Where the disc itself is drawn as segment, it says nothing of the place: {each}")
        few = int(np.count_nonzero(self._with_too_few))
        if 0 < few < np.count_nonzero(self.compared):
            said.append(f"In {few:,} cells fewer than two fills can be used, so that nothing is known of them")
        known = {
            pair: each
            for pair, each in self.agreement.items()
            if not np.isnan(each.value) and not set(pair) & set(self.left_out)
        }
        if known:
            pair = min(known, key=lambda pair: known[pair].value)
            said.append(f"The fills that agree least are {pair[0]} and {pair[1]}: rank correlation {known[pair]}")
        return ". ".join(said)

    @property
    def finding(self) -> str:
        """How many discs matter beyond chance, and what that means or why there is none, in a sentence."""
        settings = next(iter(self.results.values())).settings
        count, total = int(np.count_nonzero(self.significant)), int(np.count_nonzero(self.compared))
        unit = f" {settings.unit}" if settings.unit else ""
        said = f"{count:,} of {total:,} discs matter beyond chance"
        small = self.noise_floor < 10.0**-settings.decimals
        floor = f"{self.noise_floor:.1g}" if small else f"{self.noise_floor:.{settings.decimals}f}"
        if count:
            said += f": {self._every_fill} changes the {settings.name} to the same side"
            if self.noise_floor:
                said += f" by more than {floor}{unit}, the most that chance explains"
        elif total:
            said += self._why_none(f"{floor}{unit}")
        return said

    @property
    def _every_fill(self) -> str:
        """What has to change the distance, in words."""
        if self.left_out:
            return f"each of the {len(self.results) - len(self.left_out)} fills used"
        return "every fill"

    @property
    def left_out_notes(self) -> dict[str, str]:
        """How far a fill is left out, in words, by fill; of those only that are."""
        of = f"{np.count_nonzero(self.compared):,} cells"
        notes = {}
        for fill, used in self.used.items():
            drawn = int(np.count_nonzero(self.results[fill].disc_drawn.cells & self.compared))
            if fill in self.left_out:
                notes[fill] = f"left out: drawn in {drawn:,} of {of}"
            elif not used[self.compared].all():
                notes[fill] = f"left out in {drawn:,} of {of}, where it is drawn"
        return notes

    @property
    def _with_too_few(self) -> NDArray[np.bool_]:
        """Cells (rows, cols) in which too few fills are used."""
        used: NDArray[np.intp] = np.sum(list(self.used.values()), axis=0)
        return self.compared & (used < _FEWEST_FILLS)

    def _why_none(self, floor: str) -> str:
        """Why no disc matters, and what to try."""
        name = next(iter(self.results.values())).settings.name
        if (self._with_too_few == self.compared).all():
            return (
                ": of fewer than two fills the disc itself is not drawn as segment, and one alone is no evidence; "
                "other fills, such as numbers, may tell more"
            )
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
                "fills have in common is not more; another measure, or other fills, may tell more"
            )
        fewest = min(counts, key=lambda fill: counts[fill])
        return (
            f": no disc changes the {name} to the same side with {self._every_fill} and at every repeat; {fewest} "
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
        limits = finite_limits(values, around_zero=results[0].settings.info.signed)
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
    """Fills whose discs are mostly drawn as segment themselves; none if all are such."""
    drawn = tuple(
        fill for fill, result in results.items() if result.disc_drawn.count > _MOSTLY * max(1, result.disc_drawn.of)
    )
    return drawn if len(drawn) < len(results) else ()


def _used(results: Mapping[str, HDMResult]) -> dict[str, NDArray[np.bool_]]:
    """See `FillComparison.used`."""
    left_out = drawn_fills(results)
    return {
        fill: np.zeros(result.grid.shape, np.bool_) if fill in left_out else ~result.disc_drawn.cells
        for fill, result in results.items()
    }


def choose_repeated_fill(results: Mapping[str, HDMResult], repeats: int) -> str:
    """The fill to repeat: of those that are not left out, the one that changes least by itself.

    That is the one whose own map would have the lowest noise floor if it were all chance. A fill that acts like an
    object wherever it is changes as much anywhere as the right disc does, so that nothing rises above its floor.
    Of equals, noise, whose repeats have no pixel in common; then the first.
    """
    told = [fill for fill in results if fill not in drawn_fills(results)]
    told.sort(key=lambda fill: fill != "noise")
    return min(told, key=lambda fill: expected_floor(_changes_of(results[fill]), repeats + 1))


def _changes_of(result: HDMResult) -> NDArray[np.float64]:
    return changes(result.values[result.measured], result.baseline)
