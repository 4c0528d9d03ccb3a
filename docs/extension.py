"""What these pages add to Sphinx: notebooks, tables, a live page, diagrams in the theme's colors, and checks."""

from __future__ import annotations

import importlib
import inspect
import json
from pathlib import Path
from typing import Any

from built_pages import problems
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.errors import ExtensionError
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging
from sphinx.util.inspect import stringify_signature

__all__ = ["setup", "with_pictures"]

logger = logging.getLogger(__name__)

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
WIDGET = "application/vnd.jupyter.widget-view+json"


# -- Notebooks ---------------------------------------------------------------------------------------


def with_pictures(notebook: dict[str, Any]) -> dict[str, Any]:
    """A notebook with a picture after each cell whose metadata name one: `{"picture": file, "caption": text}`.

    A page cannot show a widget, so it shows a picture of it: `file` on a light page, `file_dark` on a dark one. Where
    the metadata name a `page` that `write_live_pages` makes, it shows that.
    """
    cells = []
    for cell in notebook["cells"]:
        cells.append(cell)
        if "picture" in cell["metadata"]:
            file, caption = Path(cell["metadata"]["picture"]), cell["metadata"]["caption"]
            dark = file.with_stem(f"{file.stem}_dark")
            source = f"![{caption}]({file}){{.shot .only-light}} ![{caption}]({dark}){{.shot .only-dark}}"
            if page := cell["metadata"].get("page"):
                source = f'<iframe class="live" src="../{page}" title="{caption}"></iframe>'
            cells.append({"cell_type": "markdown", "id": f"{cell['id']}-picture", "metadata": {}, "source": source})
    return {**notebook, "cells": cells}


def copy_notebooks(app: Sphinx) -> None:
    """Copy the notebooks and their images beside the page that lists them; unchanged ones stay as they are."""
    target = Path(app.srcdir) / "tutorials"
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        text = json.dumps(with_pictures(json.loads(path.read_text(encoding="utf-8"))), indent=1)
        _write(target / path.name, text.encode())
    for path in sorted((NOTEBOOKS / "images").iterdir()):
        _write(target / "images" / path.name, path.read_bytes())


def write_tables(_app: Sphinx) -> None:
    """Write the tables that the tests run into their pages."""
    # They load torch and the tables of the tests.
    from architecture_table import write_page as write_architectures
    from readable_tables import write_page

    write_page()
    write_architectures()


def outdated(
    _app: Sphinx, env: BuildEnvironment, _added: set[str], _changed: set[str], _removed: set[str]
) -> list[str]:
    """Read notebooks again when the package has changed, and every page when this file has."""

    def since(path: Path) -> set[str]:
        return {name for name, read in env.all_docs.items() if path.stat().st_mtime_ns // 1000 > read}

    newest = max(NOTEBOOKS.with_name("hdm_widgets").rglob("*.py"), key=lambda path: path.stat().st_mtime_ns)
    return sorted({name for name in since(newest) if name.startswith("tutorials/")} | since(Path(__file__)))


def _write(path: Path, content: bytes) -> None:
    if not path.exists() or path.read_bytes() != content:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def drop_widgets(app: Sphinx, doctree: nodes.document) -> None:
    """Remove the output of widgets and progress bars, and their state."""
    for output in list(doctree.findall(nodes.container)):
        if any(part.get("mime_type") == WIDGET for part in output.children if isinstance(part, nodes.container)):
            output.parent.remove(output)
    for output in list(doctree.findall(nodes.container)):
        if "cell_output" in output["classes"] and not output.children:
            output.parent.remove(output)
    data = getattr(app.env, "nb_metadata", {}).get(app.env.docname, {})
    data.get("js_files", {}).pop("ipywidgets_state", None)


# -- Diagrams ----------------------------------------------------------------------------------------


class InlineDiagrams(SphinxPostTransform):
    """Put SVG files from images/ into the page itself, where they follow the theme's light and dark colors."""

    default_priority = 5
    formats = ("html",)

    def run(self, **_options: Any) -> None:
        """Replace each such image."""
        for image in list(self.document.findall(nodes.image)):
            path = Path(self.app.srcdir) / image["uri"]
            if path.suffix == ".svg" and path.parent.name == "images":
                drawing = path.read_text(encoding="utf-8")
                image.replace_self(nodes.raw("", f'<div class="diagram">{drawing}</div>', format="html"))


# -- Reference ---------------------------------------------------------------------------------------


def skip_members(_app: Sphinx, what: str, name: str, member: object, _skip: bool, _options: object) -> bool | None:
    """Leave out the fields of named tuples, which the class describes, and what a class inherits of no base of ours."""
    if str(getattr(member, "__doc__", "")).startswith("Alias for field number"):
        return True
    if what != "class" or name.startswith("_"):
        return None
    defined = getattr(member, "fget", None) or getattr(member, "func", None) or member
    module = str(getattr(defined, "__module__", ""))
    ours = module.startswith("hdm_widgets.") and not module.startswith("hdm_widgets.widgets.shared.")
    return None if ours else True


def widget_signature(
    _app: Sphinx, what: str, _name: str, value: Any, _options: object, signature: str | None, _returns: str | None
) -> tuple[str, str] | None:
    """Show the arguments of a widget: its metaclass says `(*args, **kwargs)`."""
    if what != "class" or signature != "(*args, **kwargs)":
        return None
    own = inspect.signature(value.__init__)
    parameters = [parameter for name, parameter in own.parameters.items() if name != "self"]
    return stringify_signature(own.replace(parameters=parameters), show_annotation=False), ""


def check_reference(app: Sphinx, env: BuildEnvironment) -> None:
    """Warn of every public name that the reference lacks."""
    documented = [_found(name) for name, *_ in env.get_domain("py").get_objects()]
    for module_name in app.config.reference_modules:
        module = importlib.import_module(module_name)
        for name in module.__all__:
            if not any(getattr(module, name) is value for value in documented):
                logger.warning("%s.%s is public but not in the reference", module_name, name, location="api/index")


def _found(name: str) -> object:
    """What a dotted name of the reference stands for."""
    parts = name.split(".")
    value: Any = importlib.import_module(parts[0])
    for part in parts[1:]:
        value = getattr(value, part, None)
    return value


# -- Live pages --------------------------------------------------------------------------------------


def write_live_pages(app: Sphinx, error: Exception | None) -> None:
    """Write the scan of the quick start as a page that works by itself, for the frames that show it."""
    if error is not None or app.builder.format != "html":
        return
    # It loads torch.
    import hdm_widgets as hw

    path = Path(app.outdir) / "live/shapes.html"
    path.parent.mkdir(exist_ok=True)
    model, image, segment, _cue = hw.demo.shapes(0)
    explorer = hw.HDMExplorer(model, image, segment, circle_size=10, offset=4)
    explorer.wait()
    explorer.cell = (13, 23)
    explorer.to_html(path)
    explorer.close()


# -- Built pages -------------------------------------------------------------------------------------


def check_pages(app: Sphinx, error: Exception | None) -> None:
    """Fail if a built page would load anything from another place, or has a link that leads nowhere."""
    if error is not None or app.builder.format != "html":
        return
    # The way back from a source is wrong where a name is public in another module than the first that has it.
    found = [line for line in problems(Path(app.outdir)) if not line.startswith("_modules/")]
    if found:
        raise ExtensionError("problems of the built pages:\n" + "\n".join(found))


def setup(app: Sphinx) -> dict[str, Any]:
    """Add everything to Sphinx."""
    app.add_config_value("reference_modules", [], "env", list)
    app.add_post_transform(InlineDiagrams)
    app.connect("builder-inited", copy_notebooks, priority=1)
    app.connect("builder-inited", write_tables, priority=1)
    app.connect("env-get-outdated", outdated)
    app.connect("doctree-read", drop_widgets)
    app.connect("autodoc-skip-member", skip_members)
    app.connect("autodoc-process-signature", widget_signature)
    app.connect("env-check-consistency", check_reference)
    app.connect("build-finished", write_live_pages, priority=400)
    app.connect("build-finished", check_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
