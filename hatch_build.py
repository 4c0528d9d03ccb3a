"""Build the front end into the package where its sources are newer; an sdist has it built and needs no npm."""

from __future__ import annotations

from typing import Any

from hatch_jupyter_builder.utils import is_stale, npm_builder


def build_front_end(target_name: str, version: str, **options: Any) -> None:
    """Call npm, if there is anything to build; asked for by pyproject.toml."""
    if is_stale(options["build_dir"], options["source_dir"]):
        npm_builder(target_name, version, **options)
