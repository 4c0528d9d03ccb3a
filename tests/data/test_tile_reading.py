"""Reading a part of a file: by workers, threads and forks, with few files open at a time."""

import gc
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
import tracemalloc
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import rasterio
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import DatasetReader
from tile_helpers import PLACE, assert_equal, expected_of_three, image_values, open_files, write, write_tile
from torch.utils.data import DataLoader

from hdm_widgets.data import InriaTiles

FORK = pytest.param(
    "fork",
    marks=[
        pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system has no fork"),
        # Python 3.12 and newer warn of every fork of a process with threads. That it works is what is tested.
        pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning"),
    ],
)


@pytest.fixture(scope="module", params=["strips", "blocks"])
def large(request, tmp_path_factory):
    """One tile as large as the published ones; its bands are row % 251, col % 241 and the number of its block."""
    train = tmp_path_factory.mktemp(request.param)
    profile = {"tiled": True, "compress": "deflate", "zlevel": 1} if request.param == "blocks" else {"blockysize": 1}
    rows, cols = np.ogrid[:5000, :5000]
    bands = np.empty((3, 5000, 5000), np.uint8)
    bands[0], bands[1], bands[2] = rows % 251, cols % 241, (rows // 500) * 10 + cols // 500
    write(train / "images" / "chicago1.tif", bands, interleave="pixel", **PLACE, **profile)
    write(train / "gt" / "chicago1.tif", ((rows + cols) % 2 * 255)[None].astype(np.uint8), **PLACE, **profile)
    return train


def test_a_patch_is_read_without_its_tile(large, monkeypatch):
    asked = []
    read = DatasetReader.read

    def note(self, *args, **kwargs):
        values = read(self, *args, **kwargs)
        asked.append((kwargs["window"], values.nbytes))
        return values

    monkeypatch.setattr(DatasetReader, "read", note)
    tracemalloc.start()
    try:
        dataset = InriaTiles(large)
        assert len(dataset) == 19 * 19
        assert asked == []
        image, mask = dataset[19 * 18 + 2]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (dataset.columns["row"][344], dataset.columns["col"][344]) == (4608, 512)
    window = ((4608, 4864), (512, 768))
    assert asked == [(window, 3 * 256 * 256), (window, 256 * 256)]
    # The tile has 75 MB; the patch 1 MB as numbers of 4 bytes.
    assert peak < 4e6
    rows, cols = np.mgrid[4608:4864, 512:768]
    np.testing.assert_array_equal((image * 255).round()[0], rows % 251)
    np.testing.assert_array_equal((image * 255).round()[1], cols % 241)
    np.testing.assert_array_equal((image * 255).round()[2], (rows // 500) * 10 + cols // 500)
    np.testing.assert_array_equal(mask, (rows + cols) % 2)


@pytest.mark.parametrize("method", [FORK, "spawn"])
def test_workers_of_a_loader_read_the_same(three, method):
    dataset = InriaTiles(three, 16, 12)
    # Files that the parent has open must not disturb its children, nor they it.
    before = list(dataset)
    # A new Python takes seconds to load torch: one is enough, as forks show what several do.
    workers = 1 if method == "spawn" else 2
    loader = DataLoader(dataset, batch_size=None, num_workers=workers, multiprocessing_context=method, timeout=120)
    items = []
    for index, item in enumerate(loader):
        items.append(item)
        assert_equal([dataset[index]], [before[index]])
    assert_equal(items, expected_of_three())


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")  # as above
def test_a_fork_in_the_middle_of_a_read_does_not_wait_for_it(three, monkeypatch):
    dataset = InriaTiles(three, 16, 12)
    in_a_read, go_on = threading.Event(), threading.Event()
    parent, read = os.getpid(), DatasetReader.read

    def wait_in_the_parent(self, *args, **kwargs):
        if os.getpid() == parent:
            in_a_read.set()
            assert go_on.wait(120)
        return read(self, *args, **kwargs)

    monkeypatch.setattr(DatasetReader, "read", wait_in_the_parent)
    with ThreadPoolExecutor(1) as pool:
        item = pool.submit(dataset.__getitem__, 0)
        try:
            assert in_a_read.wait(120)
            loader = DataLoader(dataset, batch_size=None, num_workers=1, multiprocessing_context="fork", timeout=60)
            assert_equal(list(loader), expected_of_three())
        finally:
            go_on.set()
        assert_equal([item.result()], [next(expected_of_three())])


def test_threads_read_the_same_in_turn(three, monkeypatch):
    dataset = InriaTiles(three, 16, 12)
    reading, most, read = [], [], DatasetReader.read

    def note(self, *args, **kwargs):
        reading.append(self)
        most.append(len(reading))
        try:
            return read(self, *args, **kwargs)
        finally:
            reading.pop()

    monkeypatch.setattr(DatasetReader, "read", note)
    order = np.random.default_rng(0).permutation(np.repeat(np.arange(27), 8)).tolist()
    expected = list(expected_of_three())
    with ThreadPoolExecutor(4) as pool:
        assert_equal(pool.map(dataset.__getitem__, order), [expected[index] for index in order])
    assert len(most) == 2 * len(order)
    assert max(most) == 1


def test_few_files_are_open_at_a_time(train):
    for number in range(1, 8):
        write_tile(train, f"austin{number}")
    dataset = InriaTiles(train, 8)
    assert open_files(train) == []
    most = 0
    for index in (*range(7), *reversed(range(7))):
        assert dataset[index][0].shape == (3, 8, 8)
        most = max(most, len(open_files(train)))
    assert most == 8
    # Those of the last four images; their masks with them.
    names = {os.path.basename(path) for path in open_files(train)}  # noqa: PTH119  # short, and the paths are strings
    assert names == {f"austin{number}.tif" for number in (1, 2, 3, 4)}
    # A pickle, as a worker gets it, has no files open, and what it makes reads on its own.
    copy = pickle.loads(pickle.dumps(dataset))
    assert_equal([copy[0]], [dataset[0]])
    del dataset, copy
    gc.collect()
    assert open_files(train) == []


def test_files_stay_open_between_patches(three, monkeypatch):
    dataset = InriaTiles(three, 16, 12)
    opened = []
    start = DatasetReader.__init__

    def note(self, path, **options):
        opened.append(path)
        start(self, path, **options)

    monkeypatch.setattr(DatasetReader, "__init__", note)
    assert len(list(dataset)) == 27
    assert opened == [
        str(three / folder / f"{name}.tif") for name in ("austin1", "austin6", "vienna1") for folder in ("images", "gt")
    ]


def test_files_that_say_no_place_warn_nobody(three):
    with pytest.warns(NotGeoreferencedWarning), rasterio.open(three / "images" / "austin1.tif"):
        pass  # proof that there is something to be warned of
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        filters = list(warnings.filters)
        assert len(list(InriaTiles(three, 16, 12))) == 27
        assert warnings.filters == filters
    assert caught == []


def test_a_place_named_in_latin_1_is_no_obstacle(train):
    crs = rasterio.CRS.from_wkt('LOCAL_CS["the garden",UNIT["metre",1]]')
    write_tile(train, "austin1", crs=crs, transform=PLACE["transform"])
    path = train / "images" / "austin1.tif"
    content = path.read_bytes()
    assert content.count(b"the garden") == 1
    path.write_bytes(content.replace(b"the garden", "the gärden".encode("latin-1")))
    with pytest.raises(UnicodeDecodeError), rasterio.open(path):
        pass  # proof that it may be one
    np.testing.assert_array_equal(InriaTiles(train, 8)[0][0] * 255, image_values(8, 8))


def in_a_new_python(code):
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_rasterio_is_wanted_only_by_who_reads_tiles():
    code = """
import sys
from hdm_widgets.data import AerialScenes, InriaTiles
print("rasterio" in sys.modules)
sys.modules["rasterio"] = None  # as if it were not installed
AerialScenes(1)[0]
try:
    InriaTiles("anywhere")
except ImportError as error:
    print(error)
"""
    assert in_a_new_python(code).splitlines() == [
        "False", "reading GeoTIFFs needs rasterio: pip install 'hdm-widgets[tiles]'"
    ]  # fmt: skip
