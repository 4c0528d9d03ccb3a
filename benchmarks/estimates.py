"""How far the expected IoU of new data holds: `python benchmarks/estimates.py [--only aerial]`.

The aerial demo, and a network for roads on real pictures where those lie beside the project; each clean and under
shifts. Half of the items make the map, the other half is estimated: five random splits, medians of them, and intervals
of 90 % by bootstrap of the items. Compared with the network behind the map's surface, with single scores, and, for the
mean of a set, with label-free methods of the literature, plain and by class (Li et al. 2022).

What the models make of the images is kept in the folder, so that a second run takes minutes.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import _estimate_sets as sets
import numpy as np
from _estimate_baselines import (
    Array,
    Data,
    aurc,
    confidences,
    flips,
    mean_estimates,
    single_scores,
    spearman,
    subset,
    true_iou,
)
from matplotlib.figure import Figure

from hdm_widgets.latent.estimator import Estimate, Estimator
from hdm_widgets.latent.mean_intervals import dependences, find_clusters, mean_interval
from hdm_widgets.latent.projection import Projection
from hdm_widgets.latent.shift import Shift, compare_samples
from hdm_widgets.latent.surface import Regressor, rounded

Interval = tuple[float, float, float]

SPLITS, RESAMPLES, CLEAN_SPLITS, COMPONENTS = 5, 200, 100, 10
REGIONS = "other pictures"


class Map:
    """What a fitted space knows, from arrays."""

    def __init__(self, known: Data, seed: int) -> None:
        self.known, self.iou = known, true_iou(known)
        self.projection = Projection.fit(known["features"], COMPONENTS).without_rounding()
        self.components = self.projection.transform(known["features"])
        self.surface = Regressor.fit(rounded(self.components[:, :2]), self.iou, random_state=seed)
        area = known["tp"] + known["fp"]
        self.estimator = Estimator.fit(self.components, confidences(known), self.iou, area, random_state=seed)

    def estimate(self, new: Data) -> Estimate:
        components = self.projection.transform(new["features"])
        return self.estimator.estimate(components, confidences(new), new["tp"] + new["fp"])

    def picture(self, new: Data) -> Array:
        if self.surface is None:
            raise ValueError("no item has an IoU")
        return self.surface.predict(self.projection.transform(new["features"])[:, :2])

    def interval(self, new: Data, found: Estimate, shift: Shift, rows: Array, *, grouped: bool = True) -> Interval:
        """Of the mean IoU of some of the new items."""
        clusters = find_clusters(dependences({"group": self.known["group"]}, self.estimator.errors), new)
        return mean_interval(
            found.iou[rows],
            found.deviation[rows],
            0.9,
            self.estimator.count,
            together=shift.shifted,
            weight=found.weight[rows],
            clusters=[each.at(rows) for each in clusters] if grouped else (),
        )


def compare(known: Data, new: Data) -> Shift:
    """As a space compares new data with its own."""
    return compare_samples(confidences(known), confidences(new), (known["features"], new["features"]))


@dataclass
class Case:
    """One split under one shift."""

    truth: Array
    estimate: Estimate
    picture: Array
    singles: Data
    flips: Array
    shift: Shift
    means: dict[str, float]
    interval: Interval
    # Of the means of single groups: whether the interval holds, with what their items have in common and without.
    groups: Array
    reliable: Array


def cases(name: str) -> dict[str, list[Case]]:
    """All splits by shift."""
    data = sets.load(name)
    groups = data["clean"]["group"]
    found: dict[str, list[Case]] = {}
    for seed in range(SPLITS):
        rng = np.random.default_rng(seed)
        order = rng.permutation(len(groups))
        fit, test = order[: len(order) // 2], order[len(order) // 2 :]
        made = Map(subset(data["clean"], np.sort(fit)), seed)
        print(f"{name}, split {seed}: {made.estimator}", flush=True)
        for shift, everything in data.items():
            new = everything if shift == sets.OTHER else subset(everything, np.sort(test))
            found.setdefault(shift, []).append(case(made, new))
        if name == "roads":
            pictures = rng.permutation(np.unique(groups))
            inside = np.isin(groups, pictures[: len(pictures) // 2])
            made = Map(subset(data["clean"], np.flatnonzero(inside)), seed)
            found.setdefault(REGIONS, []).append(case(made, subset(data["clean"], np.flatnonzero(~inside))))
    return found


def case(made: Map, new: Data) -> Case:
    estimate, shift, truth = made.estimate(new), compare(made.known, new), true_iou(new)
    members = [new["group"] == group for group in np.unique(new["group"])]
    held = []
    for grouped in (True, False):
        intervals = [made.interval(new, estimate, shift, rows, grouped=grouped) for rows in members]
        inside = [low <= truth[rows].mean() <= high for (_, low, high), rows in zip(intervals, members, strict=True)]
        held.append(np.mean(inside))
    return Case(
        truth=truth,
        estimate=estimate,
        picture=made.picture(new),
        singles=single_scores(new),
        flips=flips(new),
        shift=shift,
        means=mean_estimates(made.known, new),
        interval=made.interval(new, estimate, shift, np.ones(len(truth), bool)),
        groups=np.array(held),
        reliable=estimate.reliable & ~estimate.certain,
    )


def covered(one: Case, rows: Array) -> float:
    truth, low, high = one.truth[rows], one.estimate.low[rows], one.estimate.high[rows]
    return float(((truth >= low - 1e-9) & (truth <= high + 1e-9)).mean())


def errors(one: Case, rows: Array) -> float:
    own, other = (np.abs(values[rows] - one.truth[rows]).mean() for values in (one.estimate.iou, one.picture))
    return float(own / other)


FIGURES: dict[str, Callable[[Case, Array], float]] = {
    "rho": lambda one, rows: spearman(one.estimate.iou[rows], one.truth[rows]),
    "best rho": lambda one, rows: max(spearman(score[rows], one.truth[rows]) for score in one.singles.values()),
    "mae": lambda one, rows: float(np.abs(one.estimate.iou[rows] - one.truth[rows]).mean()),
    "mae / surface": errors,
    "mean error": lambda one, rows: abs(float(one.estimate.iou[rows].mean() - one.truth[rows].mean())),
    "covered": covered,
    "covered near": lambda one, rows: covered(one, rows[one.reliable[rows]]),
    "aurc": lambda one, rows: aurc(one.estimate.iou[rows], one.truth[rows]),
    "aurc of flips": lambda one, rows: aurc(one.flips[rows], one.truth[rows]),
    "lost early": lambda one, rows: (
        aurc(one.estimate.iou[rows], one.truth[rows])
        - min(aurc(score[rows], one.truth[rows]) for score in one.singles.values())
    ),
    "best aurc": lambda one, rows: min(aurc(score[rows], one.truth[rows]) for score in one.singles.values()),
}


def figures(splits: list[Case]) -> dict[str, tuple[float, float, float]]:
    """Median of the splits, and the interval of it when their items are drawn again."""
    found = {}
    for name, figure in FIGURES.items():
        value = float(np.median([figure(one, np.arange(len(one.truth))) for one in splits]))
        low = high = np.nan
        if "aurc" not in name and not name.startswith("best"):
            rng = np.random.default_rng(0)
            drawn = [
                np.median([figure(one, rng.integers(0, len(one.truth), len(one.truth))) for one in splits])
                for _ in range(RESAMPLES)
            ]
            low, high = np.quantile(drawn, [0.05, 0.95])
        found[name] = value, float(low), float(high)
    return found


def mark(met: bool) -> str:
    return " " if met else "!"


def report(name: str, found: dict[str, list[Case]]) -> dict[str, dict[str, tuple[float, float, float]]]:
    print(
        f"\n{name}: medians of {SPLITS} splits [90 % interval]; ! marks what was asked and is not met\n"
        f"{'':<26}{'IoU':>5}  {'Spearman':<19}{'best single':<13}{'MAE / surface':<26}{'mean off':<21}"
        f"{'covered':<17}{'unlike':<8}{'effect':<8}AURC / best single (flips, three runs), difference"
    )
    table = {}
    clean = float(np.median([one.truth.mean() for one in found["clean"]]))
    for shift, splits in found.items():
        row = table[shift] = figures(splits)
        truth = float(np.median([one.truth.mean() for one in splits]))
        unlike = float(np.mean([one.shift.shifted for one in splits]))
        calm = shift == "clean"
        rho, ratio, off, cover, area = (row[key] for key in ("rho", "mae / surface", "mean error", "covered", "aurc"))
        best, best_area, lost = row["best rho"][0], row["best aurc"][0], row["lost early"]
        right_ratio = ratio[0] <= (0.6 if calm else 0.5)
        right_cover = 0.87 <= cover[0] <= 0.95 if calm else cover[0] >= 0.8 or unlike == 1
        right_mean = off[0] <= (0.05 if calm else 0.1) or (not calm and unlike == 1)
        found_shift = unlike <= 0.05 if calm else unlike == 1 or clean - truth <= 0.05
        print(
            f"{shift:<26}{truth:5.2f}  "
            f"{rho[0]:.3f} [{rho[1]:.2f}, {rho[2]:.2f}]{mark(rho[0] >= best - 0.02)} {best:<13.3f}"
            f"{row['mae'][0]:.3f}, {ratio[0]:.2f} [{ratio[1]:.2f}, {ratio[2]:.2f}]{mark(right_ratio)} "
            f"{off[0]:.3f} [{off[1]:.2f}, {off[2]:.2f}]{mark(right_mean)} "
            f"{cover[0]:.2f} [{cover[1]:.2f}, {cover[2]:.2f}]{mark(right_cover)} "
            f"{unlike:<4.0%}{mark(found_shift)}  {np.median([one.shift.effect for one in splits]):<8.2f}"
            f"{area[0]:.4f} / {best_area:.4f}{mark(area[0] < best_area)} ({row['aurc of flips'][0]:.4f}), "
            f"{lost[0]:+.4f} [{lost[1]:+.4f}, {lost[2]:+.4f}]"
        )
    print(f"\n{name}: 90 % intervals of near items with a prediction, reliable if the set were like the map's, cover")
    for shift, row in table.items():
        print(f"{shift:<26}{row['covered near'][0]:.2f}")
    if name == "roads":
        print("\nroads: 90 % intervals of a picture's mean IoU cover, with what its patches have in common / without")
        for shift, splits in found.items():
            print(f"{shift:<26}{' / '.join(f'{value:.2f}' for value in np.mean([one.groups for one in splits], 0))}")
    names = list(found["clean"][0].means)
    print(f"\n{name}: error of the mean IoU of a set, medians of {SPLITS} splits")
    print(f"{'':<26}{'estimate':<10}{'inside':<8}" + "".join(f"{method:<14}" for method in names))
    for shift, splits in found.items():
        inside = np.mean([one.interval[1] <= one.truth.mean() <= one.interval[2] for one in splits])
        others = [np.median([abs(one.means[method] - one.truth.mean()) for one in splits]) for method in names]
        print(
            f"{shift:<26}{table[shift]['mean error'][0]:<10.3f}{inside:<8.0%}"
            + "".join(f"{value:<14.3f}" for value in others)
        )
    return table


def false_alarms(name: str) -> float:
    """How many of 100 random halves of the clean data are called unlike the other half."""
    data = sets.load(name)["clean"]
    alarms = 0
    for seed in range(CLEAN_SPLITS):
        order = np.random.default_rng(1000 + seed).permutation(len(data["tp"]))
        known, new = subset(data, order[: len(order) // 2]), subset(data, order[len(order) // 2 :])
        alarms += compare(known, new).shifted
    return alarms / CLEAN_SPLITS


def plot(tables: dict[str, dict[str, dict[str, tuple[float, float, float]]]], path: Path) -> None:
    """Error per item beside that of the surface, and coverage, set by set."""
    figure = Figure(figsize=(11, 2 + 3.2 * len(tables)), layout="constrained")
    axes = figure.subplots(len(tables), 2, squeeze=False)
    for (name, table), (left, right) in zip(tables.items(), axes, strict=True):
        rows = np.arange(len(table))[::-1]
        for ax, key, limit, label in (
            (left, "mae / surface", 0.5, "mean absolute error, as a fraction of the surface's"),
            (right, "covered", 0.9, "fraction of items inside their 90 % interval"),
        ):
            values = np.array([row[key] for row in table.values()])
            spans = np.abs(values[:, 1:] - values[:, :1]).T
            ax.errorbar(values[:, 0], rows, xerr=spans, fmt="o", color="#20609f", capsize=3)
            ax.axvline(limit, color="0.5", linestyle="--", linewidth=1)
            ax.set_yticks(rows, list(table) if ax is left else [""] * len(rows))
            ax.set(title=name, xlabel=label)
            ax.set_xlim(0, 1.05)
            ax.grid(axis="x", alpha=0.3)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("aerial", "roads"), help="one set")
    only = parser.parse_args().only
    tables = {}
    for name in [only] if only else ["aerial", *(["roads"] if sets.has_roads() else [])]:
        tables[name] = report(name, cases(name))
        print(f"\n{name}: {false_alarms(name):.0%} of {CLEAN_SPLITS} clean splits called unlike the data of the map")
    plot(tables, sets.OUT / "estimates.png")


if __name__ == "__main__":
    main()
