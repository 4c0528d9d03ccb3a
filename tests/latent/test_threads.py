"""Nothing that belongs to the whole process is touched while a latent space works in a thread."""

import io
import sys
import threading
import warnings

import numpy as np
import pytest
import torch
from layer_helpers import Reads, found
from sklearn.cluster import KMeans
from torch import nn

import hdm_widgets as hw
from hdm_widgets.latent import clusters as clusters_module
from hdm_widgets.latent import surface as surface_module
from hdm_widgets.latent.activations import Layer

SECONDS = 60


class Pause:
    """Stops the thread that comes by until the test lets it go on."""

    def __init__(self):
        self.reached, self.going_on = threading.Event(), threading.Event()

    def __call__(self):
        if threading.current_thread() is not threading.main_thread():
            self.reached.set()
            assert self.going_on.wait(SECONDS)


class PausingModel(Reads):
    """Pauses in its first call, in which the bottleneck is sought."""

    def __init__(self, pause):
        super().__init__()
        self.pause = pause

    def forward(self, images):
        self.pause()
        return super().forward(images)


class PausingDataset(list):
    """Pauses at an item in the middle."""

    def __init__(self, items, pause):
        super().__init__(items)
        self.pause = pause

    def __getitem__(self, index):
        if index == 20:
            self.pause()
        return super().__getitem__(index)


def items_of(groups):
    return [groups[index] for index in range(len(groups))]


def in_the_search_for_the_bottleneck(pause, groups, monkeypatch):
    space = hw.LatentSpace(PausingModel(pause))
    return lambda: space.fit(groups, progress=False).embedding_


def in_the_middle_of_the_data_set(pause, groups, monkeypatch):
    space = hw.LatentSpace(Reads())
    return lambda: space.fit(PausingDataset(items_of(groups), pause), progress=False).embedding_


def in_the_training_of_the_regressor(pause, groups, monkeypatch):
    train = surface_module._trained_networks
    monkeypatch.setattr(surface_module, "_trained_networks", lambda *args: pause() or train(*args))
    space = hw.LatentSpace(Reads()).fit(groups, progress=False)
    return lambda: space.expected_iou()


class PausingKMeans(KMeans):
    pause = None

    def fit(self, coordinates):
        PausingKMeans.pause()
        return super().fit(coordinates)


def in_clustering(pause, groups, monkeypatch):
    space = hw.LatentSpace(Reads()).fit(groups, progress=False)
    PausingKMeans.pause = pause
    monkeypatch.setattr(clusters_module, "KMeans", PausingKMeans)
    return lambda: space.cluster(60) and space.labels_


def in_a_comparison_of_clusterings(pause, groups, monkeypatch):
    space = hw.LatentSpace(Reads()).fit(groups, progress=False)
    PausingKMeans.pause = pause
    monkeypatch.setattr(clusters_module, "KMeans", PausingKMeans)
    return lambda: space.cluster() and space.labels_


def in_new_images(pause, groups, monkeypatch):
    model = PausingModel(lambda: None)
    space = hw.LatentSpace(model).fit(groups, progress=False)
    model.pause = pause
    return lambda: space.locate(groups.images[:5]).embedding


@pytest.mark.parametrize(
    "work",
    [
        in_the_search_for_the_bottleneck,
        in_the_middle_of_the_data_set,
        in_the_training_of_the_regressor,
        in_clustering,
        in_a_comparison_of_clusterings,
        in_new_images,
    ],
)
def test_what_the_user_sets_meanwhile_stays(work, groups, monkeypatch):
    pause, results = Pause(), []
    job = work(pause, groups, monkeypatch)
    monkeypatch.setattr(surface_module, "threadpool_limits", pytest.fail)
    worker = threading.Thread(target=lambda: results.append(job()))
    stderr = io.StringIO()
    with warnings.catch_warnings():
        before = warnings.showwarning
        worker.start()
        assert pause.reached.wait(SECONDS)
        # As a user in the next cell of a notebook.
        warnings.filterwarnings("ignore", message="set meanwhile")
        filters = list(warnings.filters)
        monkeypatch.setattr(sys, "stderr", stderr)
        numpy_errors, grad, threads = np.geterr(), torch.is_grad_enabled(), torch.get_num_threads()
        pause.going_on.set()
        worker.join(SECONDS)
        assert not worker.is_alive()
        assert list(warnings.filters) == filters
        assert warnings.showwarning is before
        assert sys.stderr is stderr
        assert (np.geterr(), torch.is_grad_enabled(), torch.get_num_threads()) == (numpy_errors, grad, threads)
        warnings.warn("set meanwhile", UserWarning, stacklevel=1)  # an error but for the filter
    (result,) = results
    monkeypatch.undo()
    no_pause = Pause()
    no_pause.going_on.set()
    np.testing.assert_array_equal(result, work(no_pause, groups, monkeypatch)())
    assert stderr.getvalue() == ""


# -- nothing to silence -------------------------------------------------------------------------------


class LooksAtNumbers(nn.Module):
    """Makes numbers of its maps on the way; a head beside, with fewer positions, is not part of the output."""

    def __init__(self, look):
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3, 2, 1)
        self.middle = nn.Conv2d(4, 8, 3, 2, 1)
        self.beside = nn.Conv2d(8, 2, 3, 4, 1)
        self.last = nn.ConvTranspose2d(8, 1, 4, 4)
        self.look = look

    def forward(self, images):
        maps = self.middle(self.first(images))
        self.beside(maps)
        self.look(maps.mean())
        self.look(maps.max() + 1)
        return self.last(maps)


LOOKS = {
    "float": float,
    "complex": complex,
    "int": int,
    "bool": bool,
    "item": lambda value: value.item(),
    "list": lambda value: value.tolist(),
    "text": lambda value: f"{value:.3f} {value}",
    "a tensor of numbers": lambda value: torch.tensor([value, 1.0]),
    "a tensor of lists": lambda value: torch.as_tensor([[value, value], [0, 1]]),
    "as it is": torch.as_tensor,
    "in a list": lambda value: [0, 1, 2][min(2, max(0, int(value)))],
}


@pytest.mark.usefixtures("every_torch_warning")
@pytest.mark.parametrize("look", LOOKS)
def test_models_that_look_at_their_values_warn_of_nothing(look):
    # Warnings are errors here. Without gradients `beside` would be the bottleneck.
    expected = Layer("middle", (8, 16, 16), chosen=True)
    assert found(LooksAtNumbers(LOOKS[look])) == expected
    results = []
    worker = threading.Thread(target=lambda: results.append(found(LooksAtNumbers(LOOKS[look]))))
    worker.start()
    worker.join(SECONDS)
    assert results == [expected]


def test_detached_numbers_keep_the_graph():
    # What is made by `as_tensor` of a tensor is still that tensor: the head beside is part of the output.
    class Uses(LooksAtNumbers):
        def forward(self, images):
            maps = self.middle(self.first(images))
            return self.last(maps) * torch.as_tensor(self.beside(maps).mean())

    assert found(Uses(None)) == Layer("beside", (2, 4, 4), chosen=True)
