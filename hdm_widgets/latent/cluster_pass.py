"""A pass over new data that the workers of a Dask cluster share."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hdm_widgets._cluster import Workers, why_failed
from hdm_widgets._datasets import Dataset
from hdm_widgets.latent.activations import LayerError
from hdm_widgets.latent.collection import Collection, CollectionBuilder, CollectionError
from hdm_widgets.latent.item_pass import Bar, ItemPass
from hdm_widgets.latent.items import MaskNotes
from hdm_widgets.models.errors import describe_error
from hdm_widgets.models.segmenter import Segmenter

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["ClusterPass", "MergedBuilder", "SilentBar", "collect_part", "error_text", "shared_objects"]

# A worker's thread gets about so many parts, if a part then has a batch of items.
_PARTS = 4
# Items of a part at most: what is collected of them travels at once.
_MOST = 512


class SilentBar:
    """A bar that shows nothing."""

    def update(self, n: int = 1, /) -> None:
        """Nothing is shown on a worker."""


def shared_objects(items: ItemPass, dataset: Dataset) -> dict[str, object]:
    """What all tasks of a pass share, by what it is called in messages."""
    return {"the model, or an option beside it,": items, "the data set": dataset}


def error_text(error: Exception) -> str:
    """An error of a pass; a CollectionError names its item."""
    return str(error).splitlines()[0] if isinstance(error, CollectionError) else describe_error(error)


@dataclass(frozen=True, eq=False)
class PartReport:
    """What a worker has collected of some items.

    Attributes
    ----------
    collection : Collection or None
        None if no item could be used.
    beside : list of dict
        What stood beside every item in the data set.
    skipped : dict of int to str
        Items that could not be used, and why.
    random : bool
        Whether the first item was another one than when it was read before.
    notes : MaskNotes
        What the masks leave open.
    """

    collection: Collection | None
    beside: list[dict[str, Any]]
    skipped: dict[int, str]
    random: bool
    notes: MaskNotes


class _PartBuilder(CollectionBuilder):
    """A builder for the items [start, stop) of a data set; the pass that it is a part of gives the warnings."""

    def __init__(self, bounds: tuple[int, int], *given: Any, **options: Any) -> None:
        super().__init__(bounds[1] - bounds[0], *given, **options)
        self.indices = range(*bounds)

    def report(self, notes: MaskNotes) -> PartReport:
        """What was collected."""
        return PartReport(self.build({}), self._columns[: self._count], self.skipped, self.random, notes)

    def warn_of_randomness(self, index: int) -> None:
        """The report says it."""


class MergedBuilder(CollectionBuilder):
    """A builder that takes what others have collected; it takes what `CollectionBuilder` does."""

    def append(self, part: PartReport) -> None:
        """Add what was collected of the next items."""
        self.skipped.update(part.skipped)
        found = part.collection
        if found is None:
            return
        rows = slice(self._count, self._count + len(found))
        width = found.features.shape[1]
        if self._features is None:
            self._features = self._allocate(width)
        if width != self._features.shape[1]:
            raise LayerError(f"the layer gave {self._features.shape[1]} features before and {width} now")
        self._features[rows] = found.features
        self._items[rows] = found.items
        self._packed[:, rows] = found.truths.packed, found.predictions.packed
        self._counts[:, rows] = found.tp, found.fn, found.fp
        self._labeled[rows] = True if found.labeled is None else found.labeled
        self._thumbnails[rows] = found.thumbnails
        for name, values in found.confidences.items():
            self._confidences.setdefault(name, np.full(self._length, np.nan))[rows] = values
        if found.probability_maps is not None and found.label_quality is not None:
            if self._probability_maps is None:
                self._probability_maps = np.empty((self._length, *found.probability_maps.shape[1:]), np.uint8)
            self._probability_maps[rows], self._label_quality[rows] = found.probability_maps, found.label_quality
        if found.ignored is not None:
            self._any_ignored = self.any_ignored = True
            self._ignored[rows] = found.ignored.packed
        self._columns.extend(part.beside)
        self.values = self.values or found.values
        self._count += len(found)


def collect_part(items: ItemPass, dataset: Dataset, bounds: tuple[int, int]) -> PartReport:
    """Collect the items [start, stop): the task that a worker runs."""
    notes = MaskNotes()

    def new_builder(_length: int, *given: Any, **options: Any) -> _PartBuilder:
        return _PartBuilder(bounds, *given, **options)

    builder = items.builder(new_builder, len(dataset))
    assert isinstance(builder, _PartBuilder)  # made above  # noqa: S101
    with items.collector.running() as segmenter:
        items.run(segmenter, dataset, builder, {}, SilentBar(), notes)
    return builder.report(notes)


class ClusterPass:
    """Runs a pass over new data on the workers of a cluster.

    Parameters
    ----------
    client : distributed.Client
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    def run(
        self,
        items: ItemPass,
        segmenter: Segmenter,  # noqa: ARG002 - workers have their own
        dataset: Dataset,
        builder: MergedBuilder,
        tables: dict[str, NDArray[Any]],
        bar: Bar,
    ) -> None:
        """As `ItemPass.run`.

        Raises
        ------
        CollectionError
            If items could not be collected, three times.
        ClusterError
            If a worker cannot load the model or the data set, or the cluster was closed.
        TypeError
            If the model or the data set cannot be pickled.
        """
        workers = Workers(self._client)
        parts = _parts(len(dataset), items.sizes.size, workers.threads)
        tasks = {number: (bounds,) for number, bounds in enumerate(parts)}
        notes, early = MaskNotes(), dict[int, PartReport]()
        with (
            builder.keeping(tables, lambda: None),
            closing(workers.run(collect_part, shared_objects(items, dataset), tasks, bar)) as reports,
        ):
            following = 0
            report: PartReport | Exception
            for number, report in reports:
                start, stop = parts[number]
                if isinstance(report, Exception):
                    raise _failed(report, start, stop) from report
                bar.update(stop - start)
                notes.merge(report.notes)
                early[number] = report
                while following in early:
                    builder.append(early.pop(following))
                    following += 1
                if report.random and not builder.random:
                    builder.random = True
                    builder.warn_of_randomness(items.first[0])
        notes.warn()
        if not builder.any_ignored:
            notes.warn_if_unmarked(items.reading["ignore"])


def _parts(length: int, batch: int, threads: int) -> list[tuple[int, int]]:
    """The parts of a data set, of whole batches: so the batches are those of a pass in one process."""
    wanted = min(_MOST, -(-length // (_PARTS * threads)))
    size = batch * max(1, wanted // batch)
    return [(start, min(start + size, length)) for start in range(0, length, size)]


def _failed(error: Exception, start: int, stop: int) -> CollectionError:
    index = error.index if isinstance(error, CollectionError) else start
    reason = why_failed(error, error_text(error))
    return CollectionError(f"items {start} to {stop - 1} could not be collected: {reason}", index, None)
