import importlib
import pkgutil
import subprocess
import sys

import pytest


def in_a_new_python(code):
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def modules_after(statement, names):
    return in_a_new_python(f"import sys; {statement}; print(*[name for name in {names!r} if name in sys.modules])")


def test_engines_know_no_widgets():
    # torch is there: proof that the check looks at what was loaded.
    statement = "from hdm_widgets import data, demo, hdm, latent, metrics, models; demo.shapes(0)"
    assert modules_after(statement, ["torch", "ipywidgets", "anywidget", "bqplot", "traitlets"]) == ["torch"]


@pytest.mark.parametrize(
    ("module", "engines"), [("hdm", ["hdm"]), ("latent", ["latent"]), ("metrics", []), ("models.segmenter", [])]
)
def test_each_part_alone_knows_no_other_engine_and_no_widgets(module, engines):
    own = ["hdm_widgets.hdm", "hdm_widgets.latent", "hdm_widgets.widgets", "hdm_widgets.data"]
    others = ["ipywidgets", "anywidget", "bqplot", "IPython"]
    assert modules_after(f"import hdm_widgets.{module}", own + others) == [f"hdm_widgets.{name}" for name in engines]


def test_a_map_is_fitted_saved_and_read_without_any_widget(tmp_path):
    statement = (
        "import torch, hdm_widgets as hw; images = torch.rand(8, 1, 8, 8); "
        "space = hw.LatentSpace(hw.UNet(1, 1, 2, 1)).fit([(p, p[0] > 0.5) for p in images], progress=False); "
        f"space.cluster(2); space.surface((9, 9)); path = {str(tmp_path)!r}; space.save(path); space.load(path)"
    )
    names = ["sklearn", "ipywidgets", "anywidget", "bqplot", "traitlets", "IPython", "matplotlib"]
    assert modules_after(statement, names) == ["sklearn"]


def test_the_package_alone_loads_nothing_heavy():
    names = ["torch", "numpy", "scipy", "matplotlib", "PIL", "ipywidgets", "anywidget", "hdm_widgets"]
    assert modules_after("import hdm_widgets", names) == ["hdm_widgets"]


def test_public_names_are_there_when_asked_for():
    code = "import hdm_widgets as hw; print(hw.HDMExplorer.__name__, hw.Segmenter.__name__, hw.UNet.__name__, "
    code += "hw.train.__name__, hw.hdm.__name__, hw.demo.__name__, hw.data.__name__, hw.metrics.__name__)"
    assert in_a_new_python(code) == [
        "HDMExplorer", "Segmenter", "UNet", "train", "hdm_widgets.hdm", "hdm_widgets.demo", "hdm_widgets.data",
        "hdm_widgets.metrics",
    ]  # fmt: skip


def test_all_is_honest():
    import hdm_widgets

    for name in hdm_widgets.__all__:
        assert getattr(hdm_widgets, name) is not None
        assert name in dir(hdm_widgets)
    with pytest.raises(AttributeError, match="module 'hdm_widgets' has no attribute 'HDMExplorr'"):
        hdm_widgets.HDMExplorr  # noqa: B018


def test_a_release_of_pytorch_that_cannot_be_traced_runs_the_model():
    code = "import sys, torch; sys.modules['torch._subclasses.fake_tensor'] = None; "
    code += "import hdm_widgets as hw; from hdm_widgets import hdm; image = torch.rand(1, 16, 16); "
    code += "explainer = hdm.HausdorffDistanceMasks(16, 16); explainer.generate_masks(4, 4); "
    code += "model = torch.nn.Conv2d(1, 1, 3, padding=1); options = dict(inference='windowed', progress=False); "
    code += "result = explainer.explain(model, image, image[0] > 0.5, **options); "
    code += "print(result.complete, result.plan.backend, result.plan.reason)"
    said = " ".join(in_a_new_python(code))
    assert said.startswith("True model this release of PyTorch cannot be traced (")


@pytest.mark.parametrize("name", ["data", "demo", "hdm", "latent", "metrics"])
def test_no_module_has_the_name_of_something_public_beside_it(name):
    """Whoever imports the module would find it in the place of the function or class."""
    package = importlib.import_module(f"hdm_widgets.{name}")
    assert not {info.name for info in pkgutil.iter_modules(package.__path__)} & set(package.__all__)
