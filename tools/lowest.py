"""Print constraints for `make test-lowest`: the oldest releases that pyproject.toml promises, torch apart.

What users install is held at its lower bound, everything else (the tools that test it) at the release in
constraints.txt. torch stays as pinned there: a looser request may bring gigabytes of CUDA.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PINNED = {"torch"}
# What users install beside the dependencies.
EXTRAS = ("tiles", "scale")


def lower_bound(requirement: Requirement) -> str:
    """The release after `>=`; a requirement without one promises nothing that could be tested."""
    for specifier in requirement.specifier:
        if specifier.operator == ">=":
            return specifier.version
    raise ValueError(f"{requirement} has no lower bound (>=)")


def lowest(project: dict[str, Any], constraints: list[str]) -> list[str]:
    """Lines of a constraints file, from the project table of pyproject.toml and the lines of constraints.txt."""
    extras = (project["optional-dependencies"].get(extra, []) for extra in EXTRAS)
    wanted = map(Requirement, [*project["dependencies"], *(one for extra in extras for one in extra)])
    bounds = {canonicalize_name(one.name): lower_bound(one) for one in wanted if one.name not in PINNED}
    pins = [line for line in constraints if line and not line.startswith("#")]
    others = [pin for pin in pins if canonicalize_name(Requirement(pin).name) not in bounds]
    return [*(f"{name}=={version}" for name, version in sorted(bounds.items())), *others]


if __name__ == "__main__":
    table = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    sys.stdout.writelines(f"{line}\n" for line in lowest(table, lines))
