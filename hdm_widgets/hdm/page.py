"""A scan as one HTML file that needs neither Python nor a network."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
import torch

from hdm_widgets._storage import check_folder
from hdm_widgets._wording import quantity
from hdm_widgets.hdm.answers import Answers
from hdm_widgets.hdm.fill_names import fill_choices, fill_text
from hdm_widgets.hdm.named_measures import measure_label
from hdm_widgets.hdm.page_data import PageView, page_data
from hdm_widgets.hdm.result import HDMResult

__all__ = ["packed", "page_html", "write_page"]

_STATIC = Path(__file__).parents[1] / "static"
_LEAD = (
    "A disc was moved over the image, and at each place $model drew a new mask. The map shows what each disc does "
    "to the mask. Point at a disc to read its value; click it, or choose it with the arrow keys and Enter, to see what "
    "the model saw and what it drew."
)
# The policy forbids whatever is not in the file: the page works without a network, and asks none.
_PAGE = Template("""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="$policy">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="hdm-widgets">
<title>$title</title>
<style>
$style
</style>
</head>
<body>
<header class="page-head">
<h1>$title</h1>
<div id="theme"></div>
</header>
<main class="page-main">
<p class="page-lead">$lead</p>
<div id="explorer"><noscript><p>The script of this page draws its map: allow JavaScript to see it.</p></noscript></div>
<section class="page-about" aria-labelledby="about">
<h2 id="about">What was scanned</h2>
<dl>
$facts
</dl>
</section>
</main>
<script type="application/json" id="data">$data</script>
<script type="text/plain" id="bytes">$bytes</script>
<script type="module">$script</script>
</body>
</html>
""")


def write_page(
    path: str | os.PathLike[str],
    result: HDMResult,
    view: PageView,
    answers: Answers | None = None,
    *,
    title: str | None = None,
    model_name: str = "",
) -> None:
    """Write a scan to one HTML file.

    Parameters
    ----------
    path : path-like
    result : HDMResult
        As it was scanned.
    view : PageView
        How the page looks when it is opened.
    answers : Answers, optional
        What the scan is asked; by default it has no other truth than its own.
    title : str, optional
    model_name : str
        What the model is called; may be empty.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    ValueError
        If cells are not measured.
    """
    check_folder(path)
    Path(path).write_text(
        page_html(result, view, answers, title=title, model_name=model_name), encoding="utf-8", newline="\n"
    )


def page_html(
    result: HDMResult,
    view: PageView,
    answers: Answers | None = None,
    *,
    title: str | None = None,
    model_name: str = "",
) -> str:
    """The text of the file that `write_page` writes."""
    asked = result.settings.asked(result.grid)
    missing = int(np.count_nonzero(result._missing))
    if missing:
        raise ValueError(
            f"{missing} of {np.count_nonzero(asked)} cells are not measured yet; a page shows a complete scan"
        )
    data, chunks = packed(page_data(result, view, answers))
    script = _static("hdm_page.js").replace("</script", "<\\/script")
    script_hash = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return _PAGE.substitute(
        policy=(
            f"default-src 'none'; script-src 'sha256-{script_hash}'; style-src 'unsafe-inline'; img-src blob:; "
            "base-uri 'none'; form-action 'none'"
        ),
        title=html.escape(title or "Which parts of the image does the mask depend on?"),
        lead=Template(_LEAD).substitute(model=html.escape(model_name or "the model")),
        facts="\n".join(
            f"<div><dt>{html.escape(name)}</dt><dd>{html.escape(text)}</dd></div>"
            for name, text in _facts(result, model_name, view.annotator).items()
        ),
        style=_static("hdm_page.css").replace("</style", "<\\/style"),
        data=_inside_script(json.dumps(data, allow_nan=False, separators=(",", ":"))),
        bytes=base64.b64encode(zlib.compress(chunks, 9)).decode(),
        script=script,
    )


def _facts(result: HDMResult, model_name: str, annotator: str) -> dict[str, str]:
    """What was scanned, and how, by headings."""
    settings, grid = result.settings, result.grid
    count = int(np.count_nonzero(result.measured))
    channels = len(result.image)
    discs = f"{count:,} of {grid.circle_size} px, {grid.offset} px from one to the next"
    if grid.disc_shape != "disc":
        discs = f"{discs}; {grid.disc_shape}s"
    if settings.channel != -1:
        chosen = settings.channel if isinstance(settings.channel, tuple) else (settings.channel,)
        discs += f", on channel {' and '.join(map(str, chosen))}"
    fill = "by an apply_mask of its own"
    if not settings.own_mask:
        name = fill_text(settings.fill)
        fill = dict(fill_choices(torch.from_numpy(result.image), settings, name))[name]
    unit = f" in {settings.unit}" if settings.unit else ""
    changes = settings.of_prediction or settings.distance == "flipped"
    truth = f"the ground truth of {annotator}" if annotator else "the ground truth"
    other = "the mask without a disc" if changes else truth
    if settings.of_object:
        other = f"one object of {other}"
    more = "" if result._masks is None else "; the other measures on this page are of the same masks"
    facts = {
        "Model": model_name,
        "Image": f"{grid.height} x {grid.width} px, {quantity(channels, 'channel')}",
        "Discs": discs,
        "Fill": fill,
        "Measured": f"{measure_label(settings.distance)}{unit} of each mask, compared with {other}{more}",
        "Output": "" if result.reading is None else str(result.reading),
        "Computed": "" if result.plan is None else str(result.plan),
    }
    return {name: text for name, text in facts.items() if text}


def packed(data: Any) -> tuple[Any, bytes]:
    """A message in which bytes are `{"bytes": [first, length]}` of one block, and the block; the same bytes once."""
    firsts: dict[bytes, int] = {}
    length = 0

    def pack(value: Any) -> Any:
        nonlocal length
        if isinstance(value, Mapping):
            return {name: pack(entry) for name, entry in value.items()}
        if isinstance(value, (list, tuple)):
            return [pack(entry) for entry in value]
        if isinstance(value, (bytes, memoryview)):
            chunk = bytes(value)
            if chunk not in firsts:
                firsts[chunk] = length
                length += len(chunk)
            return {"bytes": [firsts[chunk], len(chunk)]}
        return value

    return pack(data), b"".join(firsts)


def _inside_script(text: str) -> str:
    """JSON that cannot end the script element around it, whatever its texts are."""
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _static(name: str) -> str:
    """A built file as text."""
    return (_STATIC / name).read_text(encoding="utf-8").strip()
