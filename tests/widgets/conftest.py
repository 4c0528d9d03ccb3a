"""A small latent space whose images, masks and groups are known."""

import threading

import IPython
import numpy as np
import pytest
import torch
from gate import Gate, gone
from layer_helpers import Reads
from notebook_shell import Shell

import hdm_widgets as hw

# What an explorer opens with as published: with its fill, the measure is the Hausdorff distance.
PUBLISHED = {"fill": "minimum", "order": "change"}

HEIGHT, WIDTH = 5, 7  # 35 pixels: the last byte of a packed mask is not full


class Places:
    """Images of three groups, apart by their color; what to find is the upper rows, more of them or fewer.

    Of item i the truth is its first 1 + i % 4 rows and the model draws the first 1 + i % 3, both nothing where
    `empty` says so.

    Attributes
    ----------
    images, masks : numpy.ndarray, float32 (n, 3, 5, 7) and bool (n, 5, 7)
    group : numpy.ndarray, int (n,)
        Of six items 3, 2 and 1.
    broken : set of int
        Items that raise an error when they are read.
    """

    def __init__(self, length=24, empty=(), columns=None):
        rng = np.random.default_rng(5)
        index = np.arange(length)
        rows = np.arange(HEIGHT)[None, :, None]
        self.group = np.resize([0, 0, 0, 1, 1, 2], length)
        self.masks = np.broadcast_to(rows < 1 + (index % 4)[:, None, None], (length, HEIGHT, WIDTH)).copy()
        self.drawn = np.broadcast_to(rows < 1 + (index % 3)[:, None, None], (length, HEIGHT, WIDTH)).copy()
        for masks in (self.masks, self.drawn):
            masks[list(empty)] = False
        centers = np.array([[0.1, 0.1], [0.9, 0.2], [0.4, 0.9]])
        colors = centers[self.group] + rng.uniform(-0.08, 0.08, (length, 2))
        self.images = np.empty((length, 3, HEIGHT, WIDTH), np.float32)
        self.images[:, 0] = np.where(self.drawn, 0.9, 0.2)
        self.images[:, 1:] = colors[:, :, None, None]
        self.columns = {
            "place": [f"place {group}" for group in self.group],
            "number": list(range(length)),
            "even": [i % 2 == 0 for i in range(length)],
            **(columns or {}),
        }
        self.broken = set()

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        if index in self.broken:
            raise OSError(f"disk {index} is gone")
        return torch.from_numpy(self.images[index]), self.masks[index]

    @property
    def iou(self):
        union = (self.masks | self.drawn).sum((1, 2))
        return np.where(union > 0, (self.masks & self.drawn).sum((1, 2)) / np.maximum(union, 1), np.nan)


@pytest.fixture(scope="session")
def make_places():
    """A function (length, empty, columns) -> Places."""
    return Places


@pytest.fixture(scope="module")
def new_places(make_places):
    """Twelve new images; their masks are of no use."""
    return make_places(12)


@pytest.fixture(scope="session")
def map_of():
    """A function (data set) -> its latent space, without clusters; items with nothing in either mask have no IoU."""

    def fitted(places):
        return hw.LatentSpace(Reads(), iou_empty=float("nan")).fit(places, progress=False)

    return fitted


@pytest.fixture(scope="session")
def places():
    """Twenty-four images, two of them with nothing to find; not to be changed."""
    return Places(empty=(5, 11))


@pytest.fixture(scope="session")
def unclustered(places, map_of):
    """Their latent space; not to be changed."""
    return map_of(places)


@pytest.fixture(scope="session")
def grouped(unclustered):
    """The same with three clusters; not to be changed."""
    space = unclustered.snapshot()
    space.cluster(3)
    return space


@pytest.fixture
def space(grouped):
    """The same with three clusters, to change."""
    return grouped.snapshot()


@pytest.fixture
def bare_space(unclustered):
    """The same before there were clusters, to change."""
    return unclustered.snapshot()


@pytest.fixture
def space_on_disk(grouped, tmp_path):
    """A function (model, data set) -> the space saved and loaded."""

    def loaded(model=None, dataset=None):
        grouped.save(tmp_path / "space")
        return hw.LatentSpace.load(tmp_path / "space", model, dataset)

    return loaded


@pytest.fixture(scope="session")
def reads():
    """A function that makes the model."""
    return Reads


@pytest.fixture
def shell(monkeypatch, tmp_path):
    """A notebook's shell, which is the one that runs."""
    shell = Shell(tmp_path)
    monkeypatch.setattr(IPython, "get_ipython", lambda: shell)
    return shell


@pytest.fixture
def explore_hdm():
    """HDM explorers as published, if not told otherwise, that are closed after the test, whatever happened."""
    made = []

    def explorer_of(model, *arguments, **options):
        explorer = hw.HDMExplorer(model, *arguments, **{**PUBLISHED, **options})
        made.append((explorer, model))
        return explorer

    yield explorer_of
    for explorer, model in made:
        explorer.close()
        if isinstance(model, Gate):
            model.free()
    assert gone()


@pytest.fixture
def explore(monkeypatch):
    """Latent explorers that are closed after the test, whatever happened; their surface is coarse, to be quick."""
    monkeypatch.setattr("hdm_widgets.widgets.latent.scatter._SURFACE_SHAPE", (18, 24))
    made = []

    def explorer_of(space, **options):
        explorer = hw.LatentExplorer(space, **options)
        made.append(explorer)
        return explorer

    yield explorer_of
    for explorer in made:
        explorer.close()
    for thread in threading.enumerate():
        if thread.name in ("clusters", "suspects", "failures", "scans of a selection", "hdm-explorer"):
            thread.join(60)
            assert not thread.is_alive()


@pytest.fixture(scope="session")
def comparison(make_places):
    """Twenty-four items in two spaces; items 5 and 11 have nothing in either mask, and so no IoU.

    With the second model items 0 to 3 are right, 6 and 7 wholly wrong, and all others as before; items 12 to 14 are
    among others.
    """
    places = make_places(empty=(5, 11))
    after = places.drawn.copy()
    after[:4] = places.masks[:4]
    after[6:8] = ~places.masks[6:8]
    features = places.images.mean((2, 3))
    moved = features[:, ::-1].copy()
    moved[12:15] = moved[[15, 16, 12]]
    spaces = [
        hw.LatentSpace.from_features(columns, places, masks, iou_empty=np.nan, columns=places.columns, progress=False)
        for columns, masks in ((features, places.drawn), (moved, after))
    ]
    return hw.compare_spaces(*spaces, names=("before", "<b>after</b>"), k=3)


@pytest.fixture
def compare(comparison):
    """Comparisons on screen, which are closed after the test."""
    made = []

    def comparer(comparison=comparison, **options):
        made.append(hw.LatentComparison(comparison, **options))
        return made[-1]

    yield comparer
    for explorer in made:
        explorer.close()
