"""A trace in one thread leaves the process to the others: what they set stays, what they run is not recorded."""

import io
import logging
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
import torch
from odd_networks import Computes
from single_operations import IN_PLACE_OF_PARTS, InPlace
from test_trace import assert_the_trace_computes_what_the_network_does
from torch import nn
from window_checks import random_image, randomized

from hdm_widgets.windowed import TraceError
from hdm_widgets.windowed.trace import trace

IMAGE = random_image(2, 12, 10)


class Paused(nn.Module):
    """Waits in the middle of a trace; the same network otherwise."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        if threading.current_thread() is not threading.main_thread():
            _inside.set()
            assert _go_on.wait(60)
        return self.network(x)


_inside, _go_on = threading.Event(), threading.Event()


@contextmanager
def paused_trace(network):
    """A trace in another thread of a network with a pause in it, ended when this ends; gives its future."""
    _inside.clear()
    _go_on.clear()
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(trace, network, IMAGE)
        try:
            assert _inside.wait(60)
            yield future
        finally:
            _go_on.set()


def process_state():
    """What a trace might set for everybody."""
    loggers = {
        name: (logger.level, logger.disabled, logger.propagate, list(logger.handlers), list(logger.filters))
        for name, logger in {"": logging.root, **logging.root.manager.loggerDict}.items()
        if isinstance(logger, logging.Logger)
    }
    return {
        "warnings": (
            list(warnings.filters), warnings.showwarning, warnings.catch_warnings, torch.is_warn_always_enabled()
        ),
        "streams": (sys.stdout, sys.stderr),
        "loggers": (loggers, logging.root.manager.disable),
        "module": (nn.Module.__call__, nn.Module.__getattr__, nn.Module.__setattr__, nn.Module.register_buffer),
        "tracing": (
            torch.compiler.is_compiling(), torch.compiler.is_exporting(), torch.jit.is_tracing(),
            torch.fx._symbolic_trace.is_fx_tracing(),
        ),
        "modes": (
            torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch._C._len_torch_dispatch_stack(),
            torch._C._len_torch_function_stack(), torch._C._get_graph_executor_optimize(),
        ),
        "random": torch.get_rng_state().tolist(),
    }  # fmt: skip


NETWORKS = {
    "a convolution": lambda: nn.Conv2d(2, 2, 3),
    "writes into views": lambda: InPlace(IN_PLACE_OF_PARTS["chunks"]),
    "shared modules": lambda: nn.Sequential(*[nn.Conv2d(2, 2, 3)] * 2),
    "control flow": lambda: Computes(lambda self, x: x if x.mean() > 0 else 2 * x),
    "noise": lambda: Computes(lambda self, x: x + torch.rand_like(x)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_what_others_set_meanwhile_stays(name, monkeypatch):
    network = randomized(NETWORKS[name]())
    trace(Computes(lambda self, x: x * (x.shape[0] // 2)).eval(), IMAGE)  # so that everything is imported
    paused = nn.Sequential(Paused(network), nn.Conv2d(2, 3, 1)).eval()
    known = process_state()
    own, stream, logger = ("ignore", None, UserWarning, None, 0), io.StringIO(), "torch.fx.experimental.symbolic_shapes"
    level, disabled = logging.getLogger(logger).level, logging.getLogger("torch").disabled
    try:
        with paused_trace(paused) as future:
            assert process_state() == known
            warnings.filters.insert(0, own)
            monkeypatch.setattr(sys, "stderr", stream)
            logging.getLogger(logger).setLevel(logging.CRITICAL)
            logging.getLogger("torch").disabled = True
            expected = process_state()
            assert not future.done()
        assert process_state() == expected
        assert warnings.filters[0] is own
        assert sys.stderr is stream
        assert stream.getvalue() == ""
        assert logging.getLogger(logger).level == logging.CRITICAL
        assert logging.getLogger("torch").disabled
    finally:
        logging.getLogger(logger).setLevel(level)
        logging.getLogger("torch").disabled = disabled
    if name in ("control flow", "noise"):
        assert isinstance(future.exception(), TraceError)
    else:
        assert_the_trace_computes_what_the_network_does(network, IMAGE)


@pytest.mark.parametrize("name", ["a convolution", "shared modules"])
def test_what_others_run_meanwhile_is_not_recorded(name):
    network = NETWORKS[name]()
    other = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU())
    expected = other(IMAGE[None])
    undisturbed = trace(nn.Sequential(nn.Sequential(network), nn.Conv2d(2, 3, 1)).eval(), IMAGE)
    with paused_trace(nn.Sequential(Paused(network), nn.Conv2d(2, 3, 1)).eval()) as future:
        output = other(IMAGE[None])
        assert type(output) is torch.Tensor
        assert output.requires_grad
        assert torch.equal(output, expected)
        # What is read of a module is what was put into it.
        assert type(network) is type(NETWORKS[name]())
        assert type(other.get_submodule("0")) is nn.Conv2d
        fresh = nn.Module()
        fresh.part = other
        assert fresh.part is other
    assert [call.operation for call in future.result().calls] == [call.operation for call in undisturbed.calls]


def test_traces_at_once():
    networks = [
        randomized(nn.Sequential(nn.Conv2d(2, width, 3), nn.BatchNorm2d(width), nn.ReLU())) for width in (3, 4, 5)
    ]
    together = threading.Barrier(len(networks))

    class Together(nn.Module):
        def forward(self, x):
            together.wait(60)
            return x

    # Events and barriers cannot be copied; the closure is not.
    parts = [nn.Sequential(network[0], Together(), network[1], Together(), network[2]).eval() for network in networks]
    with ThreadPoolExecutor(len(parts)) as pool:
        traces = list(pool.map(lambda part: trace(part, IMAGE), parts))
    for traced, width in zip(traces, (3, 4, 5), strict=True):
        assert [(call.label, call.shape) for call in traced.calls] == [
            (label, (None, width, 10, 8)) for label in ("conv2d in 0", "batch_norm in 2", "relu in 4")
        ]


@pytest.mark.parametrize("action", ["error", "ignore"])
def test_warnings_of_the_network_are_treated_as_the_user_says(action):
    def forward(self, x):
        warnings.warn("the network's own", UserWarning, stacklevel=2)
        return self.convolution(x)

    network = Computes(forward).eval()
    with warnings.catch_warnings():
        warnings.simplefilter(action)
        if action == "error":
            with pytest.raises(TraceError, match=r"^it cannot be traced: it raises UserWarning: the network's own$"):
                trace(network, IMAGE)
        else:
            assert_the_trace_computes_what_the_network_does(network, IMAGE)
