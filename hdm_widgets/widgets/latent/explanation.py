"""The HDM explorer of one item, below the latent explorer."""

from __future__ import annotations

import threading
from typing import Any

import ipywidgets

from hdm_widgets.latent.items import Item
from hdm_widgets.latent.space import LatentSpace
from hdm_widgets.widgets.hdm.explorer import HDMExplorer
from hdm_widgets.widgets.latent.new_items import NewItems
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
        """Explain an item of the map; an earlier explanation is closed."""
        self._space.needed_segmenter()
        item = self._space.item(index)
        note = "read again: not the image and mask of the map" if self._space.is_changed(index) else ""
        return self._show(f"item {index}", item, note)

    def open_new(self, new: NewItems, index: int) -> HDMExplorer:
        """Explain a new item, by its true mask if it has one; an earlier explanation is closed."""
        self._space.needed_segmenter()
        item, same = new.read(index)
        notes = [
            "" if item.labeled else "it has no true mask: distances are those to the model's own mask",
            "" if same else "read again: not the image that was estimated",
        ]
        return self._show(f"new item {index}", item, *notes)

    def _show(self, name: str, item: Item, *notes: str) -> HDMExplorer:
        explorer = HDMExplorer(
            self._space.needed_segmenter(),
            item.image,
            item.mask if item.labeled else None,
            ignore=item.ignored,
            display=self._space.display,
        )
        with self._lock:
            self.clear()
            parts = [f"<b>What {name} depends on</b>", "Hausdorff Distance Masks", *filter(None, notes)]
            heading = ipywidgets.HTML(" · ".join(parts))
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
