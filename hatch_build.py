"""Build the front end into the package where its sources are newer; an sdist has it built and needs no npm."""

from __future__ import annotations

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
            "hdm-widgets builds its front end from js/ with npm, which is not here: install Node.js 20.19 or newer, "
            "or install hdm-widgets from a wheel or an sdist, which have it built."
        )
    npm_builder(target_name, version, **options)
