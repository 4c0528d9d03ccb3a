"""Settings for all tests."""

import inspect

import matplotlib
import pytest
import torch
from hypothesis import settings
from torch import nn

import hdm_widgets as hw

# Figures are drawn to memory, as matplotlib draws them without anybody's settings.
matplotlib.rcdefaults()
matplotlib.use("agg")

# A busy machine may stall any single example; the same examples every time keep a failure repeatable.
settings.register_profile("steady", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("steady")

# The models of these tests are tiny: one thread is as fast, and does not wait for a core that others use.
torch.set_num_threads(1)


@pytest.fixture
def every_torch_warning():
    """Some warnings of torch come once in the life of a process; here they come every time."""
    before = torch.is_warn_always_enabled()
    torch.set_warn_always(True)
    yield
    torch.set_warn_always(before)


@pytest.fixture
def preprocessing():
    """A function (model, preprocess, **options) -> a Segmenter that prepares images itself."""
    return _preprocessing


def _preprocessing(model, preprocess, **options):
    if "preprocess" in inspect.signature(hw.Segmenter).parameters:
        return hw.Segmenter(model, preprocess=preprocess, **options)
    segmenter = hw.Segmenter(_Prepared(model, preprocess), **options)
    segmenter.preprocess = preprocess
    return segmenter


class _Prepared(nn.Module):
    def __init__(self, model, preprocess):
        super().__init__()
        self.model, self.prepare = model, preprocess

    def forward(self, images):
        return self.model(self.prepare(images))
