"""Small scans, and what a page must say of each of their cells: the script's tests in `js/` read it from a file.

`python tests/hdm/page_scans.py` writes the file.
"""

from __future__ import annotations

import base64
import io
import json
import zlib
from pathlib import Path

import numpy as np
import torch
from matplotlib.colors import ListedColormap
from PIL import Image

from hdm_widgets import Display, hdm
from hdm_widgets._wire import bits, to_wire
from hdm_widgets.hdm.messages import inspect_cell
from hdm_widgets.hdm.page import packed
from hdm_widgets.hdm.page_data import PageView, page_data
from hdm_widgets.widgets.hdm.brush import PaintedChange, from_runs

FILE = Path(__file__).parents[2] / "js/tests/page_scans.txt"
SHAPE = (10, 14)


class Striped(hdm.HausdorffDistanceMasks):
    """What its discs show depends on where they are."""

    def apply_mask(self, image, mask):
        rows = torch.arange(len(mask), dtype=torch.float32)[:, None]
        middle = ((1 - mask) * rows).sum() / (1 - mask).sum().clamp(min=1)
        return torch.where(mask > 0, image, torch.full_like(image, 1.0) * middle / len(mask))


def image(channels):
    rows, cols = np.mgrid[: SHAPE[0], : SHAPE[1]]
    planes = [np.sin(rows * (0.5 + 0.1 * plane)) * np.cos(cols * 0.6 + plane) for plane in range(channels)]
    return (np.stack(planes) / 2 + 0.5).astype(np.float32)


def bright(images):
    return images.mean(1) - 0.05


def three_classes(images):
    return torch.stack([images[:, 0], images[:, 1], 1.1 - images[:, 0]], 1)


def explain(model, channels, segment, explainer=hdm.HausdorffDistanceMasks, **options):
    made = explainer(SHAPE[1], SHAPE[0])
    made.generate_masks(4, 3)
    return made.explain(model, image(channels), segment, progress=False, **options)


def truth():
    mask = np.zeros(SHAPE, np.uint8)
    mask[2:7, 3:9] = 1
    return mask


def two_objects():
    mask = truth()
    mask[8:, 11:] = 1
    return mask


def labels():
    numbers = np.zeros(SHAPE, np.uint8)
    numbers[2:7, 3:9] = 1
    numbers[6:, 8:] = 2
    return numbers


def lost(images):
    """Draws nothing where a disc covers a certain pixel."""
    return bright(images) * (images[:, 0, 4, 6] > 0.1)[:, None, None]


def with_ignored():
    mask = truth()
    mask[0] = mask[3, 5:9] = 255
    return mask


# (row, col) of a pixel that `bright` draws.
FIRST_PREDICTED = np.argwhere(image(1)[0] > 0.05 + 0.5)[0].tolist()

SCANS = {
    "plain": lambda: explain(bright, 1, truth()),
    "ignored pixels that are no squares": lambda: explain(
        bright, 3, with_ignored(), ignore=255, spacing=(1.5, 1), fill=0.9
    ),
    "part of the image": lambda: explain(bright, 1, truth(), region=(0, 0, 5, 6), distance="area", fill="blur"),
    "no truth": lambda: explain(bright, 3, None, fill="mean"),
    "its own discs": lambda: explain(bright, 3, truth(), Striped),
    "classes": lambda: explain(three_classes, 2, labels(), target="all", channel=1, distance="iou"),
    "no masks": lambda: explain(bright, 1, truth(), keep_outputs=False),
    "squares of noise": lambda: explain(bright, 3, truth(), shape="square", fill="noise", distance="flipped"),
    "inpainted discs": lambda: explain(bright, 1, truth(), fill="inpainted"),
    "one object": lambda: explain(bright, 1, two_objects()).for_object(2, 3),
    "one object of the prediction": lambda: explain(bright, 1, None).for_object(*FIRST_PREDICTED, of="prediction"),
    "lost masks": lambda: explain(lost, 1, truth(), empty="inf"),
    "lost masks without a distance": lambda: explain(lost, 1, truth(), empty="nan"),
}


def expected(result, data):
    """What each answer says of each cell, and once what the model saw there and the masks of each class."""
    found = []
    targets = set()
    for answer in data["answers"]:
        one = result if not result.classes else result.for_class(answer["target"])
        if (answer["measure"], answer["explainBy"]) != (one.settings.distance, one.settings.compared_with):
            segment = "prediction" if answer["explainBy"] == "prediction" and not one.settings.of_prediction else None
            one = one.measure(answer["measure"], segment)
        for row, col in np.ndindex(one.grid.shape):
            message = to_wire(inspect_cell(one, row, col, Display()))
            shown = message.pop("image", None)
            if shown is not None and answer is data["answers"][0]:
                message["image"] = text(np.asarray(Image.open(io.BytesIO(shown))).tobytes())
            if message.get("prediction"):
                mask = message["prediction"].pop("mask")
                if answer["target"] not in targets:
                    message["mask"] = text(mask)
            found.append(message)
        targets.add(answer["target"])
    return found


ORDERS = ("mean", "change")
# The color of a value says which of 256 it is.
NUMBERED = ListedColormap(np.minimum((np.arange(256)[:, None] + [0.5] * 3) / 255, 1))


def maps(result):
    """The color of each pixel of each circle map, with the pixels that no disc covers."""
    found = []
    for order in ORDERS:
        for kind in hdm.ResultType:
            drawn = np.asarray(result.circle_map(kind, NUMBERED, order=order))[..., 0]
            bare = np.isnan(result.painted_values(kind, order=order))
            found.append({"order": order, "type": kind.value, "drawn": text(drawn.tobytes()), "bare": text(bits(bare))})
    return found


RUNS = [1, 2, 9, 2, 2, 9, 3, 2, 7, 8, 0, 14]


def brushed(result, data):
    """What the discs change on a region, of each class, and the fraction of each map's change that lies on it."""
    region = from_runs(RUNS, *SHAPE)
    found = []
    for target in dict.fromkeys(answer["target"] for answer in data["answers"]):
        one = result.for_class(target) if result.classes else result
        values = one.influence(region).astype(np.float32)
        change = {
            order: {kind.value: PaintedChange().on(region, one, kind, order) for kind in hdm.ResultType}
            for order in ORDERS
        }
        found.append({"target": target, "values": text(values.tobytes()), "change": change})
    return {"runs": RUNS, "classes": found}


def turned(result):
    """How much of each class the discs turn into each other one; None where nothing can."""
    found = []
    for one in result.classes:
        for other in result.classes:
            try:
                values = result.class_change(one, other).astype(np.float32)
            except ValueError:
                values = None
            found.append({"from": one, "to": other, "values": None if values is None else text(values.tobytes())})
    return found


def text(content):
    return base64.b64encode(content).decode()


def stored():
    """What is in the file."""
    return json.loads(zlib.decompress(base64.b64decode(FILE.read_text(encoding="utf-8"))))


def contents():
    """What is to be in the file."""
    pages = {}
    for name, scan in SCANS.items():
        result = scan()
        classes = [[number, f"class {number}"] for number in result.classes]
        data = page_data(result, PageView(classes=classes))
        # Colors are the same on all pages.
        data["traits"]["_color_tables"] = {}
        stored, block = packed(data)
        pages[name] = {"data": stored, "bytes": text(block), "expected": expected(result, data)}
        pages[name]["maps"] = maps(result)
        if len(result.classes) > 1:
            pages[name]["turned"] = turned(result)
        if result._masks is not None:
            pages[name]["brushed"] = brushed(result, data)
    return pages


if __name__ == "__main__":
    FILE.write_text(text(zlib.compress(json.dumps(contents()).encode(), 9)) + "\n", encoding="utf-8")
