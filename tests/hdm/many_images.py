"""Images and models for scans of many."""

import numpy as np
import torch
from torch import nn

QUIET = {"circle_size": 3, "offset": 4, "progress": False}


class Cue(nn.Module):
    """Draws rows and columns 4 to 7 if the pixel (1, 1) is bright, and what is bright there in any case."""

    def __init__(self, gain=1.0):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(gain))
        self.runs = 0

    def forward(self, images):
        self.runs += len(images)
        if bool((images > 5).any()):
            raise RuntimeError("too bright")
        lit = images[:, 0, 1, 1] > 0.5
        drawn = images[:, 0] * 0
        drawn[:, 4:8, 4:8] = (lit * self.gain)[:, None, None]
        return drawn


def scene(cue=True, height=12, width=12):
    """An image whose cue is lit or not, with the segment that Cue draws for it."""
    image = torch.zeros(1, height, width)
    image[:, 4:8, 4:8] = 0.25
    image[0, 1, 1] = float(cue)
    segment = torch.zeros(height, width, dtype=torch.bool)
    segment[4:8, 4:8] = True
    return image, segment


def diagonal(height=12, width=12):
    return float(np.hypot(height, width))


def maps(values):
    """A scan's grid of 3 x 3 with one value in its first cell."""
    return np.array([[values, 0, 0], [0, 0, 0], [0, 0, 0]], float)


def moved(down, across, height=20, width=24):
    """An image with a bright block at another place, which the identity draws."""
    image = torch.zeros(1, height, width)
    image[0, 4 + down : 8 + down, 4 + across : 8 + across] = 1
    return image, image[0] > 0


def identity(images):
    return images[:, 0]


def interrupted_at(index):
    def progress(update):
        if update.index == index:
            raise KeyboardInterrupt

    return progress
