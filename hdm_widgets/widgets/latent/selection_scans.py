"""A latent explorer that explains a selection: scans of a sample of its images, and what they have in common."""

from __future__ import annotations

import threading
from typing import Any, Unpack

import numpy as np
import traitlets
from numpy.typing import NDArray

from hdm_widgets._validation import check_whole
from hdm_widgets.hdm.collection import HDMCollection
from hdm_widgets.hdm.grid import Grid, usual_discs
from hdm_widgets.hdm.image_scans import ImageUpdate, explain_many
from hdm_widgets.hdm.options import ScanKeywords, ScanOptions
from hdm_widgets.latent.space import LatentSpace
from hdm_widgets.widgets.latent.explanation import Explanation
from hdm_widgets.widgets.latent.group_choice import ExplorerWithGroups
from hdm_widgets.widgets.latent.scans_panel import ScansPanel
from hdm_widgets.widgets.shared.jobs import LatestJob

__all__ = ["ExplorerWithSelectionScans"]


class _StoppedError(Exception):
    """Ends scans that nobody waits for any more."""


class _SpaceItems:
    """Images and true masks of a space, by their positions in it, as a data set."""

    def __init__(self, space: LatentSpace) -> None:
        self._space = space

    def __len__(self) -> int:
        return len(self._space)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        item = self._space.item(index)
        return item.image, item.mask if item.ignored is None else np.ma.masked_array(item.mask, item.ignored)


class ExplorerWithSelectionScans(ExplorerWithGroups):
    """The part of a latent explorer that explains a selection."""

    scan_status = traitlets.Unicode("idle")
    scan_error = traitlets.Unicode("")

    _explanation: Explanation
    _scans: ScansPanel | None = None
    _collection: HDMCollection | None = None

    @property
    def collection(self) -> HDMCollection | None:
        """What `explain_selection` found, as far as it came, by positions in the space; None before the first image."""
        return self._collection

    def explain_selection(
        self,
        n: int | None = None,
        *,
        circle_size: int | None = None,
        offset: int | None = None,
        of_prediction: bool | None = None,
        **options: Unpack[ScanKeywords],
    ) -> None:
        """Explain a sample of the active selection by Hausdorff Distance Masks, in the background.

        The panel below the clusters shows what the images have in common as soon as there is one, and ranks them; a
        click on one opens it. `collection` has the results, `wait` waits for them, `cancel` stops, and what is finished
        stays.

        Parameters
        ----------
        n : int, optional
            How many items at most, drawn at random from the selection (the same ones every time); by default as many
            as the panel says, which is 12 at first.
        circle_size, offset : int, optional
            As for `HausdorffDistanceMasks.generate_masks`; by default about a tenth and a fifteenth of the images'
            shorter side, coarser than `explain`, as there are many.
        of_prediction : bool, optional
            Compare masks with the model's own mask without a disc, in place of the truth; by default if most truths of
            the sample are empty, from which every mask is equally far. Then the measure is the area that flips, unless
            `distance` is given.
        **options
            See `hdm.ScanOptions`.

        Raises
        ------
        ValueError
            If nothing is selected, the space has no model or no data set, or a disc is larger than the images.
        """
        self._check_open()
        panel, current = self._scans, self._history.current
        if panel is None:
            raise ValueError(
                "explaining needs the model and the data set: LatentSpace.load(path, model=..., dataset=...) takes both"
            )
        if n is not None:
            panel.wanted = check_whole("n", n, 1)
        if current is None or not len(current):
            raise ValueError("nothing is selected: select items, or a cluster, to explain a sample of them")
        ScanOptions(**options)
        chosen = self._sample(current.indices, panel.wanted)
        height, width = self._space.collection_.image_shape[1:]
        usual = usual_discs(height, width)
        grid = Grid(
            height,
            width,
            usual[0] if circle_size is None else circle_size,
            2 * usual[1] if offset is None else offset,
        )
        if of_prediction is None:
            empty = sum(not self._space.truth(index).any() for index in chosen)
            of_prediction = 2 * empty > len(chosen)
            if of_prediction:
                options.setdefault("distance", "flipped")
        settings: dict[str, Any] = {
            "of_prediction": of_prediction,
            "circle_size": grid.circle_size,
            "offset": grid.offset,
            **options,
        }
        with self._lock:
            self._collection, self._scanned = None, (current.name, len(current))
            panel.show(None, *self._scanned)
            panel.done, panel.total, panel.seconds_left = 0.0, len(chosen), None
            # Before scans of another selection, which may still run, tell of themselves again.
            self._scanning.submit(lambda stop: self._scan(panel, chosen, settings, stop))
            self.scan_error, self.scan_status = "", "running"

    def cancel(self) -> None:
        """Stop running the model, on new data and on a selection that is being explained; what is finished stays."""
        super().cancel()
        self._stop_scans()

    # -- beginning and end ------------------------------------------------------------------------

    def _prepare_scans(self, space: LatentSpace) -> None:
        self._scanning = LatestJob("scans of a selection")
        self._scanned = ("", 0)
        if space.dataset_ is not None and space.segmenter is not None:
            self._scans = ScansPanel(space)

    def _connect_scans(self) -> None:
        panel = self._scans
        if panel is None:
            return
        traitlets.dlink((self, "scan_status"), (panel, "state"))
        traitlets.dlink((self, "scan_error"), (panel, "error"))
        panel.on_request("start", lambda asked: self.explain_selection(asked["count"]))
        panel.on_request("cancel", lambda _: self._stop_scans())
        panel.on_request("open", lambda asked: self._open_scanned(asked["item"]))
        panel.observe(lambda _: self._show_scans(), names=["kind", "frame", "order"])

    def _end_scans(self) -> None:
        self._scanning.close()
        if self._scans is not None:
            self._scans.close()

    def _tell_selection(self) -> None:
        """Tell the panel which selection it would explain."""
        current = self._history.current
        if self._scans is not None:
            self._scans.selection = (
                {"name": current.name, "color": current.color, "count": len(current)}
                if current is not None and len(current)
                else {}
            )

    # -- scans in the background --------------------------------------------------------------------

    def _sample(self, indices: NDArray[np.int64], n: int) -> list[int]:
        """Some of the items, drawn at random, in their order."""
        if len(indices) <= n:
            return [int(index) for index in indices]
        drawn = np.random.default_rng(0).choice(indices, n, replace=False)
        return sorted(int(index) for index in drawn)

    def _scan(self, panel: ScansPanel, chosen: list[int], settings: dict[str, Any], stop: threading.Event) -> None:
        shown = 0

        def tell(update: ImageUpdate) -> None:
            nonlocal shown
            with self._lock:
                if stop.is_set():
                    raise _StoppedError
                panel.done = update.done + update.fraction
                panel.seconds_left = update.seconds_left if np.isfinite(update.seconds_left) else None
                if update.done > shown:
                    shown = update.done
                    self._collection = update.collection
                    self._show_scans()

        try:
            explain_many(self._space.needed_segmenter(), _SpaceItems(self._space), chosen, progress=tell, **settings)
        except _StoppedError:
            return
        except Exception as error:  # noqa: BLE001 - shown in the widget
            with self._lock:
                if not stop.is_set():
                    self.scan_error = str(error) or type(error).__name__
                    self.scan_status = "error"
            return
        with self._lock:
            if not stop.is_set():
                self.scan_status = "done"

    def _stop_scans(self) -> None:
        with self._lock:
            self._scanning.cancel()
            if self.scan_status == "running":
                self.scan_status = "cancelled"

    def _show_scans(self) -> None:
        with self._lock:
            if self._scans is not None and not self._ended:
                self._scans.show(self._collection, *self._scanned)

    def _open_scanned(self, item: int) -> None:
        self.highlighted = item
        self._explanation.open(item)
