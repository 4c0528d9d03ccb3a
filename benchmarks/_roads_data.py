"""Real aerial pictures with road masks, where they lie beside the project; they are never part of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

ROADS = Path(__file__).parents[2] / "shared" / "data" / "roads"
VALIDATION = 15  # of the 60 pictures; the others are trained on


def names() -> tuple[list[str], list[str]]:
    """File names to train on and to validate on, a fixed choice."""
    found = sorted(path.name for path in (ROADS / "images").glob("*.png"))
    if len(found) <= VALIDATION:
        raise SystemExit(f"this needs the road pictures in {'/'.join(ROADS.parts[-3:])} beside the project")
    order = np.random.default_rng(0).permutation(len(found))
    chosen = [found[i] for i in order]
    return sorted(chosen[VALIDATION:]), sorted(chosen[:VALIDATION])


def read(name: str) -> tuple[Tensor, Tensor]:
    """Picture float32 (3, 400, 400) in [0, 1] and mask uint8 (400, 400)."""
    picture = np.asarray(Image.open(ROADS / "images" / name).convert("RGB"), np.float32) / 255
    mask = np.asarray(Image.open(ROADS / "masks" / name).convert("L")) > 127
    return torch.from_numpy(picture).permute(2, 0, 1).contiguous(), torch.from_numpy(mask.astype(np.uint8))


class Pictures(Dataset[tuple[Tensor, Tensor]]):
    """Whole pictures, or `per_picture` random crops of `patch` px from each, other ones every time."""

    def __init__(self, files: list[str], *, patch: int | None = None, per_picture: int = 1) -> None:
        self.items = [read(name) for name in files]
        self.patch, self.per_picture = patch, per_picture
        self.rng = np.random.default_rng(0)

    def __len__(self) -> int:
        return len(self.items) * self.per_picture

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image, mask = self.items[index % len(self.items)]
        if self.patch is None:
            return image, mask
        row, col = (int(self.rng.integers(0, side - self.patch + 1)) for side in mask.shape)
        window = slice(row, row + self.patch), slice(col, col + self.patch)
        return image[(slice(None), *window)], mask[window]


class Patches:
    """Patches of `size` px at a stride of `stride`; columns say from which picture, where in it, and its split."""

    def __init__(self, size: int = 128, stride: int = 64) -> None:
        self.size = size
        self.columns: dict[str, list[object]] = {"name": [], "split": [], "row": [], "col": []}
        self.pictures = {}
        for split, files in zip(("training", "validation"), names(), strict=True):
            for name in files:
                self.pictures[name] = image, _ = read(name)
                corners = range(0, image.shape[-1] - size + 1, stride)
                for row in corners:
                    for col in corners:
                        for key, value in zip(self.columns, (name, split, row, col), strict=True):
                            self.columns[key].append(value)

    def __len__(self) -> int:
        return len(self.columns["name"])

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        name, row, col = (self.columns[key][index] for key in ("name", "row", "col"))
        image, mask = self.pictures[name]
        window = slice(row, row + self.size), slice(col, col + self.size)
        return image[(slice(None), *window)], mask[window]
