"""What workers import for scans of many images: a model, and tasks in place of the one that they run."""

from types import SimpleNamespace

import torch
from distributed import KilledWorker
from torch import nn

from hdm_widgets import hdm
from hdm_widgets.hdm.image_worker import scan_image


class ThreeClasses(nn.Module):
    """Nothing, what is dark, and what is bright."""

    def forward(self, images):
        bright = images[:, 0] > 0.8
        return torch.stack([images[:, 0] == 0, (images[:, 0] > 0) & ~bright, bright], 1).float() * 9


def gives_up(scanner, dataset, index, files):
    """Of one image, what Dask raises when it has killed four workers."""
    if index == 1:
        raise KilledWorker("task", SimpleNamespace(address="tcp://127.0.0.1:1"), 3)
    return scan_image(scanner, dataset, index, files)


def disk_full(_scanner, _dataset, _index, files):
    raise hdm.StoreError(f"the store {files.address!r} cannot be written: No space left on device")
