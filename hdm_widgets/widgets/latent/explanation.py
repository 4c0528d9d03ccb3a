"""The HDM explorer of one item, below the latent explorer."""

from __future__ import annotations

import threading
from typing import Any

import ipywidgets

from hdm_widgets.latent.space import LatentSpace
from hdm_widgets.widgets.hdm.explorer import HDMExplorer
from hdm_widgets.widgets.shared.explorer import close_all

__all__ = ["Explanation"]


class Explanation:
    """A box that is empty, or holds an explorer with a heading and a button that closes it.

    Attributes
    ----------
    box : ipywidgets.VBox
    explorer : HDMExplorer or None
    """

    def __init__(self, space: LatentSpace) -> None:
        self._space = space
        self._lock = threading.RLock()
        self._head: tuple[Any, ...] = ()
        self.explorer: HDMExplorer | None = None
        self.box = ipywidgets.VBox(layout=ipywidgets.Layout(width="100%"))
        self.box.add_class("hdm-latent-below")

    def open(self, index: int) -> HDMExplorer:
        """Explain an item; an earlier explanation is closed."""
        segmenter = self._space.needed_segmenter()
        item = self._space.item(index)
        explorer = HDMExplorer(segmenter, item.image, item.mask, ignore=item.ignored, display=self._space.display)
        with self._lock:
            self.clear()
            note = " · read again: not the image and mask of the map" if self._space.is_changed(index) else ""
            heading = ipywidgets.HTML(f"<b>What item {index} depends on</b> · Hausdorff Distance Masks{note}")
            button = ipywidgets.Button(description="Close", tooltip="Close this explanation")
            button.on_click(lambda _button: self.clear())
            row = ipywidgets.HBox([heading, button])
            row.add_class("hdm-latent-head")
            self._head = (heading, button, row)
            self.explorer = explorer
            self.box.children = [row, explorer]
        return explorer

    def clear(self) -> None:
        """Close the explanation, if there is one."""
        with self._lock:
            explorer, self.explorer = self.explorer, None
            head, self._head = self._head, ()
            self.box.children = []
        if explorer is not None:
            explorer.close()
        close_all(*head)

    def close(self) -> None:
        """Close everything, the box too."""
        self.clear()
        close_all(self.box)
