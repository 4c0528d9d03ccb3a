"""What a trace computes is what the network computes, whatever it writes to, whoever it calls."""

import logging
import re
import threading

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from odd_networks import REFUSED, SHADOWED, TRACEABLE, Computes, Shadowing, scripted_layer
from torch import nn
from torch.nn import functional as F
from window_checks import random_image

from hdm_widgets.windowed import TraceError
from hdm_widgets.windowed import trace as tracing
from hdm_widgets.windowed.trace import trace


def computed(traced, images):
    """The output of a trace, computed call by call."""
    values = {traced.image: images, **traced.constants}
    values |= {name: number.at(len(images)) for name, number in traced.numbers.items()}
    with torch.inference_mode():
        for call in traced.calls:
            value = values[call.name] = call.run(values)
            assert value.ndim == len(call.shape)
            assert all(said in (None, size) for said, size in zip(call.shape, value.shape, strict=True))
    return values[traced.output]


def assert_the_trace_computes_what_the_network_does(network, image, counts=(1, 2, 5)):
    traced = trace(network, image)
    for count in counts:
        images = torch.stack([random_image(*image.shape, seed=seed, dtype=image.dtype) for seed in range(count)])
        given = images.clone()
        with torch.inference_mode():
            expected = network(images.clone())
        torch.testing.assert_close(computed(traced, given), expected, atol=1e-6, rtol=1e-6)
        assert torch.equal(given, images)
    return traced


# Writes into tensors that share memory.

VIEWS = {
    "slice": lambda x: x[:, :, 1:-1],
    "every second": lambda x: x[..., ::2],
    "select": lambda x: x[:, 0],
    "permute": lambda x: x.transpose(-1, -2),
    "split": lambda x: x.split(3, -1)[0],
    "chunk": lambda x: x.chunk(2, 1)[-1],
    "flatten": lambda x: x.flatten(1),
    "unsqueeze": lambda x: x.unsqueeze(1),
    "same": lambda x: x.view_as(x),
    "detached": lambda x: x.detach(),
    "data": lambda x: x.data,
    "contiguous": lambda x: x.contiguous(),
    "copy": lambda x: x.clone(),
    "dropout": lambda x: F.dropout(x, 0.5, training=False),
}
WRITES = {
    "add": lambda x: x.add_(1.5),
    "negate": lambda x: x.neg_(),
    "relu": lambda x: F.relu(x, inplace=True),
    "fill": lambda x: x.fill_(0.25),
    "zero": lambda x: x.zero_(),
    "set": lambda x: x.__setitem__((Ellipsis, slice(1, 3)), 7.0),
    "dropout": lambda x: F.dropout(x, 0.5, training=False, inplace=True),
    "unsqueeze": lambda x: x.unsqueeze_(1),
    "where": lambda x: x.masked_fill_(x > 0.2, 0.1),
}
_STEPS = st.tuples(
    st.sampled_from([*VIEWS, *(f"{name}_" for name in WRITES), "add to_"]), st.integers(0, 9), st.integers(0, 9)
)


def _program(steps):
    """A network that makes views of its tensors and writes into them; its output depends on all of them."""

    def forward(self, x):
        held = [x * 2]
        for name, index, other in steps:
            tensor = held[index % len(held)]
            if min(tensor.shape[1:]) < 2 or tensor.ndim > 6:
                continue
            if name == "add to_":
                tensor.add_(held[other % len(held)].flatten(1).mean(1).view(-1, *(1,) * (tensor.ndim - 1)))
            elif name in VIEWS:
                if tensor.ndim > 2:
                    held.append(VIEWS[name](tensor))
            else:
                WRITES[name[:-1]](tensor)
        weights = [torch.arange(1.0, each[0].numel() + 1).view(each.shape[1:]).cos() for each in held]
        return torch.stack([(each * weight).flatten(1).sum(1) for each, weight in zip(held, weights, strict=True)], 1)

    return Computes(forward).eval()


@given(st.lists(_STEPS, min_size=1, max_size=10))
# Through a view of what was written to just before.
@example([("slice", 0, 0), ("add_", 1, 0), ("every second", 1, 0), ("negate_", 2, 0)])
# Through two views that overlap, in turns.
@example([("slice", 0, 0), ("every second", 0, 0), ("add_", 1, 0), ("relu_", 2, 0), ("negate_", 1, 0), ("add_", 0, 0)])
# Of a chain of views, the last; of two chains, both.
@example([("permute", 0, 0), ("chunk", 1, 0), ("flatten", 2, 0), ("select", 2, 0), ("set_", 2, 0), ("fill_", 4, 0)])
# A tensor that is reshaped in place, and views that it had before.
@example([("slice", 0, 0), ("unsqueeze_", 0, 0), ("add_", 0, 0), ("where_", 1, 0), ("split", 0, 0)])
@example([("unsqueeze_", 0, 0), ("slice", 0, 0), ("add_", 1, 0)])
# Under other names.
@example([("dropout", 0, 0), ("data", 1, 0), ("add_", 2, 0), ("contiguous", 0, 0), ("relu_", 3, 0), ("dropout_", 0, 0)])
# What is read has the same memory as what is written.
@example([("select", 0, 0), ("add to_", 0, 1), ("add to_", 1, 0)])
def test_writes_into_shared_memory(steps):
    assert_the_trace_computes_what_the_network_does(_program(steps), random_image(3, 4, 6), counts=(1, 3))


# Networks that do more than compute.


@pytest.mark.parametrize("name", TRACEABLE)
def test_what_can_be_traced(name):
    assert_the_trace_computes_what_the_network_does(TRACEABLE[name]().eval(), random_image(2, 8, 8))


@pytest.mark.parametrize(
    "name",
    [
        "numbers of the batch",
        "a number of one image",
        "len",
        "len in a view",
        "a range over the batch",
        "a layer with a fused kernel",
    ],
)
def test_symbols_are_for_numbers_that_are_not_linear(name, monkeypatch):
    """They take several times as long."""

    def with_symbols(fakes, image):
        raise TraceError("with symbols")

    monkeypatch.setattr(tracing, "_any_images", with_symbols)
    assert_the_trace_computes_what_the_network_does(TRACEABLE[name]().eval(), random_image(2, 8, 8))
    with pytest.raises(TraceError, match=r"^with symbols$"):
        trace(TRACEABLE["a quotient of the batch"]().eval(), random_image(2, 8, 8))


def test_loops_over_images_are_given_up_early():
    """Where there are 1021, too."""
    run = []

    def function(self, x):
        for image in range(len(x)):
            run.append(image)
            x = self.convolution(x)[:, :2]
        return x

    with pytest.raises(TraceError, match=r"^it works on a fixed number of images at a time$"):
        trace(Computes(function).eval(), random_image(2, 8, 8))
    # With two images, with more, and with a symbolic number.
    assert run == [0, 1, 0, 1, 2, 0, 1]


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_traced_and_why(name, caplog, capfd):
    function, reason = REFUSED[name]
    network = nn.Sequential(nn.Identity(), Computes(function)).eval()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    attributes = set(vars(network[1]))
    with pytest.raises(TraceError) as caught:
        trace(network, random_image(2, 8, 8))
    assert str(caught.value).replace(" of 1", "").replace(" in 1", "") == reason
    # Nobody else says anything, and the network is as it was.
    assert capfd.readouterr() == ("", "")
    assert [record for record in caplog.records if record.levelno > logging.DEBUG] == []
    assert set(vars(network[1])) == attributes
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_the_reason_names_the_module():
    network = nn.Sequential(nn.Conv2d(2, 2, 3), nn.Sequential(nn.Dropout(0.5))).eval()
    network[1][0].train()
    with pytest.raises(TraceError, match=r"^it draws random numbers in dropout of 1\.0$"):
        trace(network, random_image(2, 8, 8))


@pytest.mark.parametrize("name", REFUSED)
def test_the_reason_names_the_layer(name):
    """But where it is the output, or how many images there are, that no layer alone is to blame for."""
    function, reason = REFUSED[name]
    network = nn.Sequential(nn.Conv2d(2, 2, 3), Computes(function)).eval()
    with pytest.raises(TraceError) as caught:
        trace(network, random_image(2, 8, 8))
    somewhere = not reason.startswith(("it gives", "it works on a fixed number of images"))
    assert bool(re.search(r" (in|of) 1\b", str(caught.value))) is somewhere


def test_modules_of_torchscript():
    network = nn.Sequential(nn.Conv2d(2, 2, 3), scripted_layer).eval()
    with pytest.raises(TraceError, match=r"^it cannot be traced: 1 is compiled by TorchScript$"):
        trace(network, random_image(2, 8, 8))


def test_networks_that_cannot_be_copied():
    network = Computes(lambda self, x: x)
    network.lock = threading.Lock()
    with pytest.raises(TraceError, match=r"^it cannot be copied, which tracing needs \(TypeError: cannot pickle"):
        trace(network, random_image(2, 8, 8))


@pytest.mark.parametrize(
    "names", [*([name] for name in SHADOWED), SHADOWED], ids=lambda names: f"{names[0]}, {len(names)}"
)
@pytest.mark.parametrize("prefix", ["", "1."])
def test_attributes_that_shadow_methods(names, prefix):
    network = nn.Sequential(nn.Identity(), Shadowing(names)) if prefix else Shadowing(names)
    traced = assert_the_trace_computes_what_the_network_does(network, random_image(2, 8, 9))
    assert [call.label for call in traced.calls] == [f"conv2d in {prefix}inner.0", f"batch_norm in {prefix}inner.1"]


@pytest.mark.filterwarnings("ignore:.*weight_norm. is deprecated:FutureWarning")
def test_weights_that_are_computed_before_every_run():
    network = nn.Sequential(nn.utils.weight_norm(nn.Conv2d(2, 4, 3)), nn.utils.spectral_norm(nn.Conv2d(4, 2, 3))).eval()
    assert_the_trace_computes_what_the_network_does(network, random_image(2, 8, 8))


# What torch.compile has compiled.


@pytest.mark.parametrize("ran_before", [False, True])
@pytest.mark.parametrize("kind", ["function", "module", "whole", "in place"])
def test_compiled_parts_run_as_they_are_written(kind, ran_before):
    torch._dynamo.reset()
    compiled = []

    def backend(graph, inputs):
        compiled.append(graph)
        return graph.forward

    part = Computes(lambda self, x: self.convolution(x).sin())
    if kind == "function":
        function = torch.compile(lambda x: x.sin() * 2, backend=backend, dynamic=False)
        network = Computes(lambda self, x: function(self.convolution(x)))
    elif kind == "module":
        network = nn.Sequential(nn.Conv2d(2, 2, 3), torch.compile(part, backend=backend, dynamic=False))
    elif kind == "whole":
        network = torch.compile(nn.Sequential(nn.Conv2d(2, 2, 3), part), backend=backend, dynamic=False)
    else:
        part.compile(backend=backend, dynamic=False)
        network = nn.Sequential(nn.Conv2d(2, 2, 3), part)
    network.eval()
    image = random_image(2, 9, 10)
    with torch.inference_mode():
        if ran_before:
            network(image[None])
        assert len(compiled) == int(ran_before)
        assert_the_trace_computes_what_the_network_does(network, image, counts=())
        assert len(compiled) == int(ran_before)
        # It is compiled as before, and for other sizes too.
        network(image[None])
        assert len(compiled) == 1
        network(image[None].repeat(2, 1, 1, 1))
        assert len(compiled) == 2
    assert_the_trace_computes_what_the_network_does(network, image)
