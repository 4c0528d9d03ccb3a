"""What was scored, as tables in Markdown and as a plot."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from _explanation_networks import CUE_KINDS
from _explanation_scores import interval
from matplotlib.figure import Figure
from numpy.typing import NDArray

TRAINED = ("aerial", "roads")
# What the explorer begins with: measure, fill, and how discs that overlap are put together.
FIRST_LOOK = ("flipped area", "blur", "averaged")
# Scores of which less is better.
LOW_IS_GOOD = ("leakage", "deletion", "seconds")
TITLES = {
    "mass": "relevance mass", "rank": "rank accuracy", "pointing": "pointing game", "top": "cue in the top 5 %",
    "leakage": "leakage", "deletion": "deletion", "insertion": "insertion", "stability": "with noise",
    "agreement": "between seeds", "seconds": "CPU seconds",
}  # fmt: skip


def by_image(frame: pd.DataFrame, score: str, kinds: Sequence[str]) -> pd.DataFrame:
    """Values of a score: rows are images (kind, index), the mean over networks of one kind; columns are methods."""
    chosen = frame[(frame["score"] == score) & frame["kind"].isin(kinds)]
    means = chosen.groupby(["kind", "image", "method"])["value"].mean()
    return means.unstack("method").reindex(columns=_methods(frame))


def _methods(frame: pd.DataFrame) -> list[str]:
    return list(dict.fromkeys(frame["method"]))


def is_ours(method: str) -> bool:
    return method.startswith("HDM ")


def tables(frame: pd.DataFrame, notes: Iterable[str]) -> str:
    """All tables, with what is first where."""
    ranked = by_image(frame, "rank", CUE_KINDS).mean().sort_values(ascending=False).index
    cues = [kind for kind in CUE_KINDS if kind in set(frame["kind"])]
    trained = [kind for kind in TRAINED if kind in set(frame["kind"])]
    known = [(TITLES[score], by_image(frame, score, cues)) for score in ("mass", "rank", "pointing", "top", "leakage")]
    kinds = [(kind, by_image(frame, "rank", [kind])) for kind in cues]
    other = [
        ("deletion, cues", by_image(frame, "deletion", cues)),
        ("insertion, cues", by_image(frame, "insertion", cues)),
        *(
            (f"{score}, {kind}", by_image(frame, score, [kind]))
            for kind in trained
            for score in ("deletion", "insertion")
        ),
    ]
    steady = [
        ("leakage, receptive field", by_image(frame, "leakage", ["receptive field"])),
        ("with noise, cues", by_image(frame, "stability", cues)),
        ("with noise, trained", by_image(frame, "stability", trained)),
        ("between seeds", by_image(frame, "agreement", cues)),
        ("CPU seconds", by_image(frame, "seconds", cues)),
        ("of a first scan", by_image(frame, "first", cues)),
    ]
    first_look = f"**{', '.join(FIRST_LOOK).capitalize()}, against one other choice and other methods: better by**"
    parts = [
        "\n".join(f"- {note}" for note in notes),
        first_places(frame, cues, trained),
        "**Rank accuracy of scans by measure and fill**\n\n" + measures_by_fill(by_image(frame, "rank", cues)),
        first_look + "\n\n" + against_first_look(frame, cues),
        "**Discs against squares: better by**\n\n" + discs_or_squares(frame, cues),
        "**Where the answer is known**\n\n" + table(ranked, known),
        "**Rank accuracy by kind of cue**\n\n" + table(ranked, kinds),
        "**Without what the map shows**\n\n" + table(ranked, other),
        "**How steady, and how long**\n\n" + table(ranked, steady),
    ]
    return "\n\n".join(parts) + "\n"


def table(methods: Iterable[str], columns: Sequence[tuple[str, pd.DataFrame]]) -> str:
    """A row for each method, a column for each score: mean and 95 % interval."""
    lines = ["| method | " + " | ".join(title for title, _ in columns) + " |", "|---" * (len(columns) + 1) + "|"]
    lines += [
        f"| {name} | " + " | ".join(_cell(values[name].to_numpy()) for _, values in columns) + " |" for name in methods
    ]
    return "\n".join(lines)


def measures_by_fill(values: pd.DataFrame) -> str:
    """A row for each measure, as discs are painted and averaged, and a column for each fill.

    Parameters
    ----------
    values : pandas.DataFrame
        As `by_image` gives them; scans are called "HDM measure, fill" and "HDM measure, fill, averaged".
    """
    scans = [parts for parts in _scans(values) if "square" not in parts]
    fills = list(dict.fromkeys(parts[1] for parts in scans))
    rows = list(dict.fromkeys((parts[0], *parts[2:]) for parts in scans))
    lines = [f"| measure | {' | '.join(fills)} |", "|---" * (len(fills) + 1) + "|"]
    for measure, *painting in sorted(rows, key=len):
        names = (", ".join((f"HDM {measure}", fill, *painting)) for fill in fills)
        cells = " | ".join(_cell(values[name].to_numpy()) for name in names)
        lines.append(f"| {', '.join((measure, *painting))} | {cells} |")
    return "\n".join(lines)


def _scans(methods: Iterable[str]) -> list[tuple[str, ...]]:
    """(measure, fill) of scans that have a fill, with "square" if it is no disc, "averaged" if it is not painted."""
    scans = (tuple(name.removeprefix("HDM ").split(", ")) for name in methods if is_ours(name))
    return [parts for parts in scans if "to the truth" not in parts]


def against_first_look(frame: pd.DataFrame, kinds: Sequence[str]) -> str:
    """By how much the first look is better than scans that differ from it in one choice, and than other methods."""
    rows = []
    for parts in _scans(_methods(frame)):
        differing = [part for part in parts if part not in FIRST_LOOK] + _painted(parts)
        if len(differing) == 1:
            rows.append((differing[0], _scan_name(FIRST_LOOK), _scan_name(parts)))
    rows += [(name, _scan_name(FIRST_LOOK), name) for name in _methods(frame) if not is_ours(name)]
    return _differences(frame, kinds, rows)


def discs_or_squares(frame: pd.DataFrame, kinds: Sequence[str]) -> str:
    """By how much discs are better than squares around them."""
    rows = []
    for parts in _scans(_methods(frame)):
        if "square" in parts:
            disc = tuple(part for part in parts if part != "square")
            rows.append((", ".join((*disc, *_painted(disc))), _scan_name(disc), _scan_name(parts)))
    return _differences(frame, kinds, rows)


def _painted(parts: tuple[str, ...]) -> list[str]:
    return [] if "averaged" in parts else ["painted"]


def _scan_name(parts: tuple[str, ...]) -> str:
    return "HDM " + ", ".join(parts)


def _differences(frame: pd.DataFrame, kinds: Sequence[str], rows: Iterable[tuple[str, str, str]]) -> str:
    """A row for each (label, method, other method): by how much the method is better, image by image."""
    scores = ("rank", "mass", "top", "deletion")
    values = {score: by_image(frame, score, kinds) for score in scores}
    lines = [f"| better than | {' | '.join(TITLES[score] for score in scores)} |", "|---" * (len(scores) + 1) + "|"]
    for label, first, second in rows:
        cells = ((-1 if score in LOW_IS_GOOD else 1) * (of[first] - of[second]) for score, of in values.items())
        lines.append(f"| {label} | {' | '.join(_cell(cell.to_numpy()) for cell in cells)} |")
    return "\n".join(lines)


def _cell(values: NDArray[np.float64]) -> str:
    mean, low, high = interval(values)
    if np.count_nonzero(~np.isnan(values)) == 1:
        return _number(mean)
    return "" if np.isnan(mean) else f"{_number(mean)} ({_number(low)} to {_number(high)})"


def _number(value: float) -> str:
    return f"{value:.2f}" if value == 0 or abs(value) >= 0.005 else f"{value:.0e}"


def compared(frame: pd.DataFrame, score: str, kinds: Sequence[str]) -> NDArray[np.float64]:
    """By how much the best of ours is better than the best of the others, by image.

    Both are chosen on all other kinds of network than the image's, so that neither profits from chance; where there is
    one kind only, on that.
    """
    sign = -1 if score in LOW_IS_GOOD else 1
    differences = []
    for kind in kinds:
        elsewhere = by_image(frame, score, [other for other in kinds if other != kind] or kinds)
        here = by_image(frame, score, [kind])
        ours, others = (_best(elsewhere, sign, ours=mine) for mine in (True, False))
        differences.append(sign * (here[ours] - here[others]).to_numpy())
    return np.concatenate(differences)


def _best(values: pd.DataFrame, sign: int, *, ours: bool) -> str:
    return str((sign * values[[name for name in values if is_ours(name) is ours]].mean()).idxmax())


def first_places(frame: pd.DataFrame, cues: Sequence[str], trained: Sequence[str]) -> str:
    """For each score the best of ours and the best of the others, and how far they are apart."""
    known = ("mass", "rank", "pointing", "top", "leakage", "deletion", "insertion", "stability", "agreement")
    asked = [(score, "cues", cues) for score in known]
    asked += [(score, "trained", trained) for score in ("deletion", "insertion", "stability")]
    lines = ["| score | networks | best of ours | best of the others | ours better by |", "|---|---|---|---|---|"]
    for score, networks, kinds in asked:
        values = by_image(frame, score, kinds)
        if values.empty:
            continue
        sign = -1 if score in LOW_IS_GOOD else 1
        ours, others = (_best(values, sign, ours=mine) for mine in (True, False))
        mean, low, high = interval(compared(frame, score, kinds))
        lines.append(
            f"| {TITLES[score]} | {networks} | {ours}: {values[ours].mean():.2f} "
            f"| {others}: {values[others].mean():.2f} | {mean:.2f} ({low:.2f} to {high:.2f}) |"
        )
    return "**First places**\n\n" + "\n".join(lines)


def plot(frame: pd.DataFrame, path: Path) -> None:
    """Relevance mass and rank accuracy of all methods where the answer is known, with their intervals."""
    mpl.rcParams["svg.fonttype"] = "none"
    mpl.rcParams["svg.hashsalt"] = "explanations"
    values = {score: by_image(frame, score, CUE_KINDS) for score in ("rank", "mass")}
    names = list(values["rank"].mean().sort_values().index)
    figure = Figure(figsize=(10, 1 + 0.17 * len(names)), layout="constrained")
    colors = {"discs averaged": "#1b6ca8", "discs painted": "#7db8e0", "other methods": "#d1495b"}
    axes = figure.subplots(1, 2, sharey=True)
    for ax, (score, table_of) in zip(axes, values.items(), strict=True):
        for label, color in colors.items():
            chosen = [row for row, name in enumerate(names) if _family(name) == label]
            points = np.array([interval(table_of[names[row]].to_numpy()) for row in chosen])
            mean, low, high = points.T
            ax.errorbar(
                mean,
                chosen,
                xerr=(mean - low, high - mean),
                fmt="o",
                markersize=4,
                linewidth=1,
                color=color,
                label=label,
            )
        ax.set_xlabel(f"{TITLES[score]} (95 % interval)")
        ax.set_xlim(left=0)
        # The scale at both ends, and lines that lead from a name to its points.
        ax.tick_params(axis="x", top=True, labeltop=True)
        ax.tick_params(axis="y", length=0)
        ax.spines[["left", "right"]].set_visible(False)
        ax.grid(axis="x", alpha=0.3)
        ax.grid(axis="y", alpha=0.3, linewidth=0.5)
        ax.set_axisbelow(True)
    axes[0].set_yticks(range(len(names)), names, fontsize=7)
    axes[0].set_ylim(-1, len(names))
    for name, label in zip(names, axes[0].get_yticklabels(), strict=True):
        label.set_color(colors["other methods"] if not is_ours(name) else "black")
        label.set_fontweight("bold" if name == _scan_name(FIRST_LOOK) else "normal")
    axes[1].legend(loc="lower right")
    figure.savefig(path, metadata={"Date": None})


def _family(method: str) -> str:
    if not is_ours(method):
        return "other methods"
    return "discs averaged" if method.endswith(", averaged") else "discs painted"
