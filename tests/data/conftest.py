"""Folders of tiles, as they are published."""

import pytest
from tile_helpers import write_tile


@pytest.fixture
def train(tmp_path):
    return tmp_path / "AerialImageDataset" / "train"


@pytest.fixture
def three(train):
    """Three tiles of 40 x 48 px, each with other pixels: 3 x 3 patches of 16 px at stride 12."""
    for seed, name in enumerate(("austin1", "austin6", "vienna1")):
        write_tile(train, name, height=40, width=48, seed=seed, compress="deflate")
    return train
