"""See why an image segmentation model draws the mask it draws.

`hdm_widgets.hdm` has the Hausdorff Distance Masks, `HDMExplorer` is their widget, and `HDMComparison` the one for
several models. `LatentSpace` maps a data set as a model sees it, and `LatentExplorer` is its widget. `compare_spaces`
compares two such maps, and `LatentComparison` shows both. `export_marked` writes items to be labeled again, and
`layers` lists what can be named as the layer of a space. `Segmenter` makes a segmenter of any torch Module or callable,
and its `Reading` says how the model's output is read; `Display` says how images are shown, `demo` has ready-made models
with data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hdm_widgets._lazy import lazy_names

if TYPE_CHECKING:
    from hdm_widgets import data, demo, hdm, latent, metrics
    from hdm_widgets._picture import Display
    from hdm_widgets.latent.annotations import export_marked
    from hdm_widgets.latent.layer_table import layers
    from hdm_widgets.latent.space import LatentSpace
    from hdm_widgets.latent.space_comparison import compare_spaces
    from hdm_widgets.models.reading import Reading
    from hdm_widgets.models.segmenter import Segmenter
    from hdm_widgets.models.training import train
    from hdm_widgets.models.unet import UNet
    from hdm_widgets.widgets.hdm.comparison import HDMComparison
    from hdm_widgets.widgets.hdm.explorer import HDMExplorer
    from hdm_widgets.widgets.latent.comparison import LatentComparison
    from hdm_widgets.widgets.latent.explorer import LatentExplorer

__all__ = [
    "Display",
    "HDMComparison",
    "HDMExplorer",
    "LatentComparison",
    "LatentExplorer",
    "LatentSpace",
    "Reading",
    "Segmenter",
    "UNet",
    "compare_spaces",
    "data",
    "demo",
    "export_marked",
    "hdm",
    "latent",
    "layers",
    "metrics",
    "train",
]
__version__ = "0.1.0"

# Where each public name lives; None: a module of its own. Loaded when first asked for.
_HOMES = {
    "Display": "hdm_widgets._picture",
    "HDMComparison": "hdm_widgets.widgets.hdm.comparison",
    "HDMExplorer": "hdm_widgets.widgets.hdm.explorer",
    "LatentComparison": "hdm_widgets.widgets.latent.comparison",
    "LatentExplorer": "hdm_widgets.widgets.latent.explorer",
    "LatentSpace": "hdm_widgets.latent.space",
    "Reading": "hdm_widgets.models.reading",
    "Segmenter": "hdm_widgets.models.segmenter",
    "UNet": "hdm_widgets.models.unet",
    "compare_spaces": "hdm_widgets.latent.space_comparison",
    "data": None,
    "demo": None,
    "export_marked": "hdm_widgets.latent.annotations",
    "hdm": None,
    "latent": None,
    "layers": "hdm_widgets.latent.layer_table",
    "metrics": None,
    "train": "hdm_widgets.models.training",
}
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
