"""Settings of the documentation; `make docs` builds it."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from numpydoc.xref import DEFAULT_LINKS

import hdm_widgets

project = "hdm-widgets"
author = "The hdm-widgets developers"
project_copyright = "2026 The hdm-widgets developers, MIT license"
version = release = hdm_widgets.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
    "numpydoc",
    "myst_nb",
    "extension",
]
exclude_patterns = ["_build"]
templates_path = ["_templates"]
# Single backquotes in docstrings are code, and a link where they name something of the reference.
default_role = "py:obj"
# Types and code have straight quotes.
smartquotes = False

# -- Reference ---------------------------------------------------------------------------------------
autosummary_generate = True
autodoc_member_order = "bysource"
# numpydoc's sections have the types.
autodoc_typehints = "none"
# "EmptyPolicy", not the choices that it stands for.
numpydoc_show_class_members = False
# Of the types, only our own names are links.
numpydoc_xref_param_type = True
numpydoc_xref_ignore = "all"
# Unknown sections, their order, missing docstrings, parameters that the signature does not have or has in another
# order, missing descriptions of what is returned.
numpydoc_validation_checks = {"GL06", "GL07", "GL08", "PR02", "PR03"}
# The modules whose `__all__` must be in the reference.
reference_modules = [
    "hdm_widgets",
    "hdm_widgets.hdm",
    "hdm_widgets.latent",
    "hdm_widgets.metrics",
    "hdm_widgets.windowed",
    "hdm_widgets.data",
    "hdm_widgets.demo",
]
# numpydoc knows some words of Python and NumPy, whose documentation is elsewhere: they stay words.
numpydoc_xref_aliases = {word: word for word in DEFAULT_LINKS} | {
    name: f"{module}.{name}"
    for module in reversed(reference_modules)
    for name in importlib.import_module(module).__all__
    if name[0].isupper()
}
toc_object_entries_show_parents = "hide"

# -- Pages and notebooks -----------------------------------------------------------------------------
myst_enable_extensions = ["attrs_block", "attrs_inline", "colon_fence", "deflist"]
myst_heading_anchors = 3
nb_execution_mode = "force"
nb_execution_in_temp = True
nb_execution_timeout = 600
nb_execution_raise_on_error = True
nb_merge_streams = True
nb_output_stderr = "remove"
# Widgets would be loaded from a CDN; the pages show pictures of them.
nb_ipywidgets_js: dict[str, dict[str, str]] = {}

# -- Look --------------------------------------------------------------------------------------------
html_theme = "pydata_sphinx_theme"
html_title = "hdm-widgets"
html_logo = html_favicon = "_static/logo.svg"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = ["live.js"]
html_copy_source = False
html_show_sourcelink = False
_without_sidebar = ["index", "numbers", "architecture", "glossary", "benchmarks", "explanations", "changelog"]
html_sidebars: dict[str, list[str]] = {page: [] for page in _without_sidebar}
html_theme_options = {
    "logo": {"text": "hdm-widgets"},
    "header_links_before_dropdown": 6,
    "navbar_align": "left",
    "navbar_end": ["theme-switcher"],
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "show_toc_level": 2,
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
