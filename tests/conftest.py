"""Settings for all tests."""

import gc

import matplotlib
import pytest
import torch
from hypothesis import settings

# Figures are drawn to memory, as matplotlib draws them without anybody's settings.
matplotlib.rcdefaults()
matplotlib.use("agg")

# A busy machine may stall any single example; the same examples every time keep a failure repeatable.
settings.register_profile("steady", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("steady")

# Tests of what is left over look for garbage themselves; Python need not do so after every 700 new objects.
gc.set_threshold(20_000, 10, 10)

# The models of these tests are tiny: one thread is as fast, and does not wait for a core that others use.
torch.set_num_threads(1)


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """What is collected and imported stays: looking through it for garbage took a third of the time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Weights and images that a test draws are the same every time, whatever tests came before it in its process."""
    torch.manual_seed(0)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """One process has all files of browser tests: each further one would start JupyterLab, a browser and a kernel."""
    if config.getvalue("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class BrowserTogether(LoadFileScheduling):
        def _split_scope(self, nodeid):
            return "tests/browser" if nodeid.startswith("tests/browser/") else super()._split_scope(nodeid)

    return BrowserTogether(config, log)


@pytest.fixture
def every_torch_warning():
    """Some warnings of torch come once in the life of a process; here they come every time."""
    before = torch.is_warn_always_enabled()
    torch.set_warn_always(True)
    yield
    torch.set_warn_always(before)


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    """Of a Dask cluster of two workers with a thread each."""
    import dask
    from distributed import Client, LocalCluster

    # Memory that is given back at once takes a third of a network's time.
    memory = "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_"
    settings = {"temporary-directory": str(tmp_path_factory.mktemp("dask")), memory: None}
    with (
        dask.config.set(settings),
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address="127.0.0.1:0"
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


@pytest.fixture
def tries(tmp_path):
    """A folder in which the data sets of `dask_helpers` note what they do."""
    folder = tmp_path / "tries"
    folder.mkdir()
    return folder
