import importlib
import json
import pkgutil
import subprocess
import sys

import pytest

# One process for all steps, as each would load torch again. The package is forgotten before each step; what is not its
# own stays, so that the steps that load least come first.
STEPS = {
    "the package": "import hdm_widgets",
    "metrics": "import hdm_widgets.metrics",
    "models.segmenter": "import hdm_widgets.models.segmenter",
    "a worker": "import hdm_widgets.latent.store.worker",
    "latent": "from hdm_widgets.latent import *",
    "a map": """
import torch, hdm_widgets as hw
images = torch.rand(8, 1, 8, 8)
space = hw.LatentSpace(hw.UNet(1, 1, 2, 1)).fit([(p, p[0] > 0.5) for p in images], progress=False)
space.cluster(2)
space.surface((9, 9))
space.save(folder)
space.load(folder)""",
    "hdm": "from hdm_widgets.hdm import *",
    "engines": """
from hdm_widgets import data, demo, metrics, models
from hdm_widgets.hdm import *
from hdm_widgets.latent import *
demo.shapes(0)""",
    "no statistics": """
import scipy
statistics, sys.modules["scipy.stats"] = vars(scipy).pop("stats"), None
from hdm_widgets.hdm import *
scipy.stats = sys.modules["scipy.stats"] = statistics
said += [HausdorffDistanceMasks.__name__]""",
    "no tracing": """
import torch
sys.modules["torch._subclasses.fake_tensor"] = None
import hdm_widgets as hw
from hdm_widgets import hdm
image = torch.rand(1, 16, 16)
explainer = hdm.HausdorffDistanceMasks(16, 16)
explainer.generate_masks(4, 4)
model = torch.nn.Conv2d(1, 1, 3, padding=1)
result = explainer.explain(model, image, image[0] > 0.5, inference="windowed", progress=False)
said += [result.complete, result.plan.backend, result.plan.reason]""",
    "public names": """
import hdm_widgets as hw
said += [hw.HDMExplorer.__name__, hw.Segmenter.__name__, hw.UNet.__name__, hw.train.__name__]
said += [hw.hdm.__name__, hw.demo.__name__, hw.data.__name__, hw.metrics.__name__]""",
}
RUN = """
import json, sys
steps, folder = json.loads(sys.argv[1]), sys.argv[2]
told = {}
for name, code in steps.items():
    for module in [module for module in sys.modules if module.partition(".")[0] == "hdm_widgets"]:
        del sys.modules[module]
    said = []
    exec(code, {"sys": sys, "folder": folder, "said": said})
    told[name] = {"modules": list(sys.modules), "said": said}
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What was loaded after each step, and what the step said."""
    command = [sys.executable, "-W", "ignore", "-c", RUN, json.dumps(STEPS), str(tmp_path_factory.mktemp("map"))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def modules_after(told):
    return lambda step, names: [name for name in names if name in told[step]["modules"]]


def test_engines_know_no_widgets(modules_after):
    # torch is there: proof that the check looks at what was loaded.
    assert modules_after("engines", ["torch", "ipywidgets", "anywidget", "bqplot", "traitlets"]) == ["torch"]


@pytest.mark.parametrize(
    ("module", "engines"), [("hdm", ["hdm"]), ("latent", ["latent"]), ("metrics", []), ("models.segmenter", [])]
)
def test_each_part_alone_knows_no_other_engine_and_no_widgets(modules_after, module, engines):
    own = ["hdm_widgets.hdm", "hdm_widgets.latent", "hdm_widgets.widgets", "hdm_widgets.data"]
    others = ["ipywidgets", "anywidget", "bqplot", "IPython"]
    assert modules_after(module, own + others) == [f"hdm_widgets.{name}" for name in engines]


def test_a_map_is_fitted_saved_and_read_without_any_widget(modules_after):
    names = ["sklearn", "ipywidgets", "anywidget", "bqplot", "traitlets", "IPython", "matplotlib"]
    assert modules_after("a map", names) == ["sklearn"]


def test_the_package_alone_loads_nothing_heavy(modules_after):
    names = ["torch", "numpy", "scipy", "matplotlib", "PIL", "ipywidgets", "anywidget", "hdm_widgets"]
    assert modules_after("the package", names) == ["hdm_widgets"]


def test_a_worker_that_runs_a_model_loads_nothing_of_what_maps_are_made_with(modules_after):
    names = ["torch", "sklearn", "scipy.stats", "matplotlib", "hdm_widgets.latent.clusters", "ipywidgets"]
    assert modules_after("a worker", names) == ["torch"]


def test_scans_need_no_statistics_before_maps_are_compared(told):
    assert told["no statistics"]["said"] == ["HausdorffDistanceMasks"]


def test_public_names_are_there_when_asked_for(told):
    assert told["public names"]["said"] == [
        "HDMExplorer", "Segmenter", "UNet", "train", "hdm_widgets.hdm", "hdm_widgets.demo", "hdm_widgets.data",
        "hdm_widgets.metrics",
    ]  # fmt: skip


def test_modules_of_a_package_are_there_too():
    import hdm_widgets

    assert hdm_widgets.hdm.explainer.HausdorffDistanceMasks is hdm_widgets.hdm.HausdorffDistanceMasks
    assert hdm_widgets.latent.space.LatentSpace is hdm_widgets.LatentSpace


@pytest.mark.parametrize("package", ["hdm_widgets", "hdm_widgets.hdm", "hdm_widgets.latent"])
def test_all_is_honest(package):
    module = importlib.import_module(package)
    assert {*module.__all__} == {*module._HOMES}
    for name in module.__all__:
        assert getattr(module, name) is not None
        assert name in dir(module)
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'HDMExplorr'"):
        module.HDMExplorr  # noqa: B018


def test_a_release_of_pytorch_that_cannot_be_traced_runs_the_model(told):
    complete, backend, reason = told["no tracing"]["said"]
    assert (complete, backend) == (True, "model")
    assert reason.startswith("this release of PyTorch cannot be traced (")


@pytest.mark.parametrize("name", ["data", "demo", "hdm", "latent", "metrics"])
def test_no_module_has_the_name_of_something_public_beside_it(name):
    """Whoever imports the module would find it in the place of the function or class."""
    package = importlib.import_module(f"hdm_widgets.{name}")
    assert not {info.name for info in pkgutil.iter_modules(package.__path__)} & set(package.__all__)
