"""Models that torch.compile or `nn.Module.compile` has compiled, and that have run: their layers are listened to."""

import threading
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch import nn

import hdm_widgets as hw
from hdm_widgets.models.compiled import uncompiled
from hdm_widgets.models.modules import modules, named_modules, unwrapped

IMAGES = torch.rand(12, 1, 16, 16, generator=torch.Generator().manual_seed(0))
ITEMS = [(image, image[0] > 0.5) for image in IMAGES]
LAYERS = ["down.0", "down", "middle.0.0", "middle.0", "middle", "head"]


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.down = nn.Sequential(nn.Conv2d(1, 4, 4, stride=4))
        self.middle = nn.Sequential(nn.Sequential(nn.Conv2d(4, 6, 3, padding=1)))
        self.head = nn.Conv2d(6, 1, 1)

    def forward(self, images):
        return self.head(nn.functional.interpolate(self.middle(self.down(images)), scale_factor=4))


class Decorated(Network):
    @torch.compile(backend="eager")
    def forward(self, images):
        return super().forward(images)


def in_place(model):
    model.compile(backend="eager")
    return model


def part_wrapped(model):
    model.middle = torch.compile(model.middle, backend="eager")
    return model


def part_in_place(model):
    model.middle[0].compile(backend="eager")
    return model


def method(model):
    model.forward = torch.compile(model.forward, backend="eager")
    return model


COMPILED = {
    "wrapped": lambda: torch.compile(Network(), backend="eager"),
    "in place": lambda: in_place(Network()),
    "part wrapped": lambda: part_wrapped(Network()),
    "part in place": lambda: part_in_place(Network()),
    "method": lambda: method(Network()),
    "decorated": Decorated,
    "part and whole": lambda: in_place(part_wrapped(Network())),
    "twice": lambda: torch.compile(part_in_place(Network()), backend="eager"),
    "DataParallel": lambda: nn.DataParallel(in_place(Network())),
}


@pytest.fixture(autouse=True)
def fresh_compiler():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def warmed_up(name):
    """A compiled model in eval mode that has run: hooks that are registered now stay silent."""
    model = COMPILED[name]().eval()
    with torch.no_grad():
        for count in (1, 2, 4):
            model(IMAGES[:count])
    return model


@pytest.mark.parametrize("name", COMPILED)
def test_hooks_are_called_on_every_layer(name):
    model, heard = warmed_up(name), []
    network = unwrapped(model)
    before = {id(module): dict(vars(module)) for module in modules(network)}
    with torch.no_grad():
        expected = model(IMAGES[:2])
    handles = [
        module.register_forward_hook(lambda *_, path=path: heard.append(path))
        for path, module in named_modules(network)
        if path.replace("_orig_mod.", "") in LAYERS
    ]
    try:
        with uncompiled(network), uncompiled(network), torch.no_grad():
            maps = network(IMAGES[:2])
        torch.testing.assert_close(maps, expected)
        assert [path.replace("_orig_mod.", "") for path in heard if "_orig_mod" not in path[-9:]] == LAYERS
    finally:
        for handle in handles:
            handle.remove()
    after = {id(module): dict(vars(module)) for module in modules(network)}
    assert all(after[key].keys() == before[key].keys() for key in before)
    assert all(after[key][one] is before[key][one] for key in before for one in before[key])


@pytest.mark.parametrize("layer", ["auto", "middle.0"])
@pytest.mark.parametrize("name", COMPILED)
def test_a_compiled_model_has_the_latent_space_of_the_model_itself(name, layer, tmp_path):
    model = warmed_up(name)
    hw.Segmenter(model, batch_size=4).masks(IMAGES)
    spaces = [
        hw.LatentSpace(one, layer=layer, batch_size=4).fit(ITEMS, progress=False) for one in (model, Network().eval())
    ]
    compiled, plain = spaces
    np.testing.assert_array_equal(compiled.embedding_, plain.embedding_)
    np.testing.assert_array_equal(compiled.iou_, plain.iou_)
    np.testing.assert_array_equal(compiled.transform(IMAGES[:4]), plain.transform(IMAGES[:4]))
    # The layer has the name that it has without the compiler, and each model serves the space of the other.
    assert compiled.layer_ == plain.layer_
    compiled.save(tmp_path)
    for one in (Network().eval(), model):
        # What was compiled is the same model, and not a word is said; a class of its own may compute something else.
        told = name == "decorated" and type(one) is Network
        with pytest.warns(UserWarning, match="the model's structure differs") if told else nullcontext():
            loaded = hw.LatentSpace.load(tmp_path, one)
        np.testing.assert_allclose(loaded.transform(IMAGES[:4]), plain.transform(IMAGES[:4]), atol=1e-6)


@pytest.mark.parametrize("name", ["in place", "part wrapped"])
def test_other_threads_run_the_compiled_code(name):
    model, heard = warmed_up(name), []
    handle = model.middle.register_forward_hook(lambda *_: heard.append(threading.get_ident()))
    part = unwrapped(model.middle)[0].register_forward_hook(lambda *_: heard.append(threading.get_ident()))

    def run():
        with torch.no_grad():
            model(IMAGES[:4])

    with uncompiled(model):
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        assert heard == ([thread.ident] if name == "part wrapped" else [])
        run()
        assert heard[-2:] == [threading.get_ident()] * 2
    handle.remove()
    part.remove()


def test_nothing_is_imported_for_models_that_are_not_compiled():
    model = Network()
    before = dict(vars(model))
    with uncompiled(model):
        assert dict(vars(model)) == before
