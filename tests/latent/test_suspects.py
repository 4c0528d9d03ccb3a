"""Truths that were made wrong are found, each with its kind, place and reason."""

from __future__ import annotations

import copy
import dataclasses
import json

import numpy as np
import pandas
import pytest
import torch
from layer_helpers import Reads
from scipy.stats import spearmanr

import hdm_widgets as hw
from hdm_widgets._bitmasks import PackedMasks
from hdm_widgets.latent import disagreements, suspects
from hdm_widgets.latent.fitted import FittedState
from hdm_widgets.latent.label_quality import encoded_log_odds
from hdm_widgets.latent.simulated_errors import KINDS

COUNT, SIDE = 100, 24
MISSING, EXTRA, SHIFTED, ANOTHER = KINDS
# Of the last thirty images, with another fourth channel than the others, the model draws a square that is none.
USUAL = 70
WRONG = {5: MISSING, 17: EXTRA, 29: SHIFTED, 41: ANOTHER}
# Where the square is taken away and where one is put.
REMOVED, ADDED = (16, 3, 21, 8), (17, 14, 22, 20)


class Squares:
    """Images of three squares, each in a part of its own; the first channel is what the model draws.

    Of every hundred images before the unusual ones, which are the last three tenths, four truths are wrong.
    """

    def __init__(self, wrong: bool = True, count: int = COUNT) -> None:
        rng = np.random.default_rng(0)
        self.count, usual = count, USUAL * count // COUNT
        first = np.arange(0, usual, COUNT)
        self.truths = np.zeros((count, SIDE, SIDE), bool)
        for index in range(count):
            for row, col in ((1, 1), (2, 13), (13, 1)):
                top, left = row + rng.integers(0, 4), col + rng.integers(0, 4)
                self.truths[index, top : top + rng.integers(4, 7), left : left + rng.integers(4, 7)] = True
        self.truths[first + 5, 12:] = False
        self.truths[first + 5, 16:21, 3:8] = True
        drawn = self.truths.copy()
        drawn[usual:, 17:22, 15:20] = True
        # The model is sure of most squares, and less so of some.
        strength = rng.choice([0.95, 0.9, 0.7], (count, 1, 1), p=[0.6, 0.3, 0.1])
        self.images = np.clip(rng.normal(0.5, 0.1, (count, 6, SIDE, SIDE)), 0, 1).astype(np.float32)
        self.images[:, 0] = np.clip(np.where(drawn, strength, 0.03) + rng.normal(0, 0.02, drawn.shape), 0.01, 0.99)
        self.images[usual:, 3] += 0.3
        if wrong:
            self.truths[first + 5, 12:] = False
            self.truths[first + 17, 17:22, 14:20] = True
            self.truths[first + 29] = np.roll(self.truths[first + 29], (-1, 3), (1, 2))
            self.truths[first + 41] = self.truths[first + 60]
        self.columns = {"path": [f"tiles/{index:03}.png" for index in range(count)]}

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[torch.Tensor, np.ndarray]:
        return torch.from_numpy(self.images[index]), self.truths[index]


@pytest.fixture(scope="module")
def squares() -> Squares:
    return Squares()


@pytest.fixture(scope="module")
def space(squares: Squares) -> hw.LatentSpace:
    return hw.LatentSpace(Reads()).fit(squares, progress=False)


@pytest.fixture(scope="module")
def found(space: hw.LatentSpace) -> pandas.DataFrame:
    return space.suspects()


def test_wrong_truths_come_first_each_with_its_kind(found: pandas.DataFrame) -> None:
    assert {index: found["kind"][index] for index in found.index[:4]} == WRONG
    assert found["score"].is_monotonic_decreasing
    assert found["score"].between(0, 1).all()
    assert sorted(found.index) == list(range(COUNT))
    assert found.index.name == "index"


def test_reasons_say_what_and_where(found: pandas.DataFrame, squares: Squares) -> None:
    p = squares.images[5, 0, 16:21, 3:8].mean()
    missing = found.loc[5]
    assert missing["reason"] == (f"the model draws an object of 25 px that the truth lacks, with confidence {p:.2f}")
    assert (missing["box"], missing["size"], missing["row"], missing["col"]) == (REMOVED, 25, 18, 5)
    extra = found.loc[17]
    assert extra["reason"].startswith(
        "the truth has an object of 30 px where the model sees none, with probability 0.0"
    )
    assert extra["box"] == ADDED
    assert found["reason"][29].startswith("shifted by about (-1, 3) px")
    assert "with that of item 60 about 1.00" in found["reason"][41].replace("0.999", "1.00")


def test_the_table_has_the_items_own_numbers(found: pandas.DataFrame, space: hw.LatentSpace) -> None:
    assert found["item"].tolist() == found.index.tolist()
    np.testing.assert_array_equal(found["iou"], space.iou_[found.index])
    np.testing.assert_array_equal(found["label_quality"], space.frame()["label_quality"][found.index])


def test_another_item_is_named_by_its_index_in_the_data_set(space: hw.LatentSpace) -> None:
    # As where items were skipped: their index in the data set is not their position in the space.
    skipped = without_maps(space, items=space.collection_.items + 500).suspects(4)
    assert skipped["item"][41] == 541
    assert "with that of item 560 about" in skipped["reason"][41]


def test_where_the_model_is_always_wrong_a_truth_is_less_suspect(found: pandas.DataFrame) -> None:
    # The model draws a square that the truth lacks in all of these, as large as the one that item 5 lacks.
    assert (found["kind"][found.index >= USUAL] == MISSING).all()
    assert found["score"][found.index >= USUAL].max() < found["score"][5]


def test_the_first_k(space: hw.LatentSpace, found: pandas.DataFrame) -> None:
    pandas.testing.assert_frame_equal(space.suspects(7), found[:7])
    pandas.testing.assert_frame_equal(space.suspects(COUNT), found)


@pytest.mark.parametrize(
    ("k", "error", "message"),
    [
        (0, ValueError, "k must be 1 to 100, got 0"),
        (101, ValueError, "k must be 1 to 100, got 101"),
        (2.0, TypeError, "k must be a whole number, got 2.0"),
        (True, TypeError, "k must be a whole number, got True"),
    ],
)
def test_k_out_of_range(space: hw.LatentSpace, k: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        space.suspects(k)


def test_a_saved_space_has_the_same_suspects(space: hw.LatentSpace, found: pandas.DataFrame, tmp_path: object) -> None:
    space.save(tmp_path / "space")
    loaded = hw.LatentSpace.load(tmp_path / "space")
    pandas.testing.assert_frame_equal(loaded.suspects(), found)
    # Saved again into the folder that it is read from.
    loaded.save(tmp_path / "space")
    pandas.testing.assert_frame_equal(hw.LatentSpace.load(tmp_path / "space").suspects(5), found[:5])


def test_pixels_that_do_not_count_are_no_reason(squares: Squares, found: pandas.DataFrame) -> None:
    ignore = np.zeros((SIDE, SIDE), bool)
    ignore[15:] = True
    partly = hw.LatentSpace(Reads()).fit(squares, ignore=ignore, progress=False).suspects()
    # Both squares that are wrong lie there.
    assert set(partly.index[:2]) == {29, 41}
    for index in (5, 17):
        assert partly["kind"][index] == "none"
        assert partly["box"][index] is None


def without_maps(space: hw.LatentSpace, **changed: object) -> hw.LatentSpace:
    """A space whose collection is another one."""
    other = copy.copy(space)
    collection = dataclasses.replace(space.collection_, **changed)
    other._fitted = FittedState(dataclasses.replace(space._fitted.map, collection=collection))
    return other


def test_an_older_space(space: hw.LatentSpace) -> None:
    reason = "the space was saved before confidences were kept; fit it again"
    older = without_maps(space, probability_maps=None, label_quality=None, no_confidences=reason)
    with pytest.raises(ValueError, match=f"suspects need the model's probabilities: {reason}"):
        older.suspects()
    assert "label_quality" not in older.frame()


def test_a_space_of_features(squares: Squares) -> None:
    own = hw.LatentSpace.from_features(squares.images.mean((2, 3)), squares, squares.images[:, 0] > 0.5, progress=False)
    assert own.collection_.probability_maps is None
    with pytest.raises(ValueError, match="suspects need the model's probabilities: the masks were given without"):
        own.suspects(3)


@pytest.mark.parametrize(
    ("count", "empty", "message"),
    [
        (29, False, "it takes at least 30 items, got 29"),
        (40, True, "no truth has an object that could be compared"),
        # Two pixels are no object.
        (40, (slice(None), [3, 3], [5, 6]), "no truth has an object that could be compared"),
    ],
)
def test_nothing_to_compare_with(squares: Squares, count: int, empty: object, message: str) -> None:
    truths = squares.truths[:count].copy()
    if empty:
        truths[:] = False
    if isinstance(empty, tuple):
        truths[empty] = True
    few = hw.LatentSpace(Reads()).fit((squares.images[:count], truths), progress=False)
    with pytest.raises(ValueError, match=message):
        few.suspects()


def test_objects_that_are_smaller_than_the_blocks_are_not_denied() -> None:
    images = torch.linspace(0, 0.4, 60).reshape(30, 2, 1, 1).expand(-1, -1, 160, 160)
    truths = np.zeros((30, 160, 160), bool)
    # Blocks are 3 px here.
    truths[:, 20:23, 20:23] = True
    small = hw.LatentSpace(Reads(), layer="values").fit((images, truths), progress=False)
    message = "in blocks of 3 x 3 px, and no true object fills 3 of them by half: cut the images into smaller tiles"
    with pytest.raises(ValueError, match=message):
        small.suspects()


def test_a_model_that_draws_nothing_has_suspects(squares: Squares) -> None:
    dark = squares.images[:40].copy()
    dark[:, 0] *= 0.1
    frame = hw.LatentSpace(Reads()).fit((dark, squares.truths[:40]), progress=False).suspects()
    assert np.isfinite(frame["score"]).all()
    assert set(frame["kind"]) <= {EXTRA, ANOTHER}


def test_the_fraction_of_a_kind() -> None:
    copies = np.arange(1, 101.0)
    # A tenth of the items are as the copies, the others unlike any.
    assert suspects.fraction_of_kind(np.r_[np.zeros(900), copies], copies) == pytest.approx(0.1)
    assert suspects.fraction_of_kind(np.zeros(900), copies) == 0
    assert suspects.fraction_of_kind(copies, copies) == 1


def test_suspects_are_the_same_in_smaller_batches(squares: Squares, monkeypatch: pytest.MonkeyPatch) -> None:
    ignore = np.arange(SIDE * SIDE).reshape(SIDE, SIDE) % 5 == 0
    space = hw.LatentSpace(Reads()).fit(squares, ignore=ignore, progress=False)
    at_once = space.suspects()
    monkeypatch.setattr(suspects, "_BATCH", 7)
    monkeypatch.setattr(suspects, "_ROWS", 16)
    pandas.testing.assert_frame_equal(without_maps(space).suspects(), at_once)


@pytest.mark.parametrize("count", [40, 300])
def test_neighbors_of_many_items_are_sought_among_a_sample(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(disagreements, "_MOST_SOUGHT", 100)
    points = np.random.default_rng(1).normal(size=(count, 3))
    rows = np.arange(0, count, 3)
    found, again = (disagreements.NeighborsOnMap(points, 5)(rows) for _ in range(2))
    np.testing.assert_array_equal(found, again)
    sought = np.unique(disagreements.NeighborsOnMap(points, 5)(np.arange(count)))
    assert len(sought) <= 100
    for row, near in zip(rows, found, strict=True):
        others = sought[sought != row]
        distances = np.linalg.norm(points[others] - points[row], axis=1)
        np.testing.assert_array_equal(near, others[np.argsort(distances)[:25]])


def test_neighbors_of_a_sample_find_the_same_suspects(space: hw.LatentSpace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 5,000 items with 140 wrong truths: 95 % of the first 140 are the same, scores correlate by 0.93 in rank."""
    data = Squares(count=5000)
    collection = dataclasses.replace(
        space.collection_,
        items=np.arange(5000),
        truths=PackedMasks(PackedMasks.pack(data.truths), SIDE, SIDE),
        predictions=PackedMasks(PackedMasks.pack(data.images[:, 0] > 0.5), SIDE, SIDE),
        probability_maps=encoded_log_odds(torch.from_numpy(data.images[:, 0]), 1),
    )
    where = data.images.mean((2, 3), dtype=np.float64)
    exact = suspects.suspect_scores(collection, where, 0).scores
    monkeypatch.setattr(disagreements, "_MOST_SOUGHT", 1000)
    sampled = suspects.suspect_scores(collection, where, 0).scores
    first, first_sampled = (set(np.argsort(-scores)[:140].tolist()) for scores in (exact, sampled))
    wrong = {index + start for start in range(0, 3500, COUNT) for index in WRONG}
    assert first == wrong
    assert len(first & first_sampled) >= 0.95 * 140
    assert spearmanr(exact, sampled).statistic > 0.93


# -- files --------------------------------------------------------------------------------------------


def decoded(segmentation: dict[str, list[int]]) -> np.ndarray:
    """A mask from COCO's run lengths, run by run."""
    height, width = segmentation["size"]
    flat = np.repeat(np.arange(len(segmentation["counts"])) % 2, segmentation["counts"])
    return flat.reshape(width, height).T.astype(bool)


def test_coco(space: hw.LatentSpace, found: pandas.DataFrame, squares: Squares, tmp_path: object) -> None:
    hw.export_marked(space, found[:2], tmp_path / "marked.json", "coco")
    written = json.loads((tmp_path / "marked.json").read_text())
    indices = sorted(found.index[:2])
    assert written["images"] == [
        {
            "id": index, "file_name": f"tiles/{index:03}.png", "height": SIDE, "width": SIDE,
            "reason": found["reason"][index],
        }
        for index in indices
    ]  # fmt: skip
    assert [category["name"] for category in written["categories"]] == ["ground truth", "prediction"]
    masks = [mask for index in indices for mask in (squares.truths[index], squares.images[index, 0] > 0.5)]
    assert len(written["annotations"]) == len(masks)
    for annotation, mask in zip(written["annotations"], masks, strict=True):
        np.testing.assert_array_equal(decoded(annotation["segmentation"]), mask)
        rows, cols = np.nonzero(mask)
        left, top, width, height = annotation["bbox"]
        assert (top, left) == (rows.min(), cols.min())
        assert (top + height, left + width) == (rows.max() + 1, cols.max() + 1)
        assert annotation["area"] == mask.sum()
    assert len({annotation["id"] for annotation in written["annotations"]}) == len(masks)


def test_images_without_a_path_are_named_by_their_index(space: hw.LatentSpace, tmp_path: object) -> None:
    paths = np.array(["a.png", "", *map(str, range(COUNT - 2))])
    partly = without_maps(space, columns={"path": paths}, items=space.collection_.items + 500)
    hw.export_marked(partly, [0, 1], tmp_path / "marked.json", "coco")
    written = json.loads((tmp_path / "marked.json").read_text())
    assert [image["file_name"] for image in written["images"]] == ["a.png", "501"]
    hw.export_marked(partly, [0, 1], tmp_path / "voc", "voc")
    assert (tmp_path / "voc/ImageSets/Segmentation/marked.txt").read_text() == "a\n501\n"


@pytest.mark.parametrize(
    ("mask", "counts"),
    [
        ([[0, 1, 1], [0, 1, 0]], [2, 3, 1]),
        ([[1, 0, 0], [1, 0, 1]], [0, 2, 3, 1]),
        ([[0, 0], [0, 0]], [4]),
        ([[1, 1], [1, 1]], [0, 4]),
        ([[0, 1], [1, 0]], [1, 2, 1]),
    ],
)
def test_run_lengths_go_column_by_column(mask: list[list[int]], counts: list[int]) -> None:
    from hdm_widgets.latent.annotations import run_lengths

    assert run_lengths(np.array(mask, bool)) == counts


def test_a_table_of_marked_items(space: hw.LatentSpace, tmp_path: object) -> None:
    hw.export_marked(space, [9, 4], tmp_path / "marked.csv", reasons={4: "=wrong, I think"})
    frame = pandas.read_csv(tmp_path / "marked.csv", index_col="index", keep_default_na=False)
    assert frame.index.tolist() == [4, 9]
    # No spreadsheet takes it for a formula.
    assert frame["reason"].tolist() == ["'=wrong, I think", ""]
    assert frame["path"].tolist() == ["tiles/004.png", "tiles/009.png"]
    assert frame["item"].tolist() == [4, 9]


def test_a_column_of_reasons_of_the_data_set_stays(squares: Squares, tmp_path: object) -> None:
    columns = {"reason": [f"of {i}" for i in range(30)]}
    data = squares.images[:30], squares.truths[:30]
    own = hw.LatentSpace(Reads()).fit(data, columns=columns, progress=False)
    hw.export_marked(own, [3], tmp_path / "marked.csv", reasons={3: "wrong"})
    frame = pandas.read_csv(tmp_path / "marked.csv", index_col="index")
    assert (frame["data_reason"][3], frame["reason"][3]) == ("of 3", "wrong")
    own.fit(data, columns={**columns, "data_reason": range(30)}, progress=False)
    hw.export_marked(own, [3], tmp_path / "marked.csv", reasons={3: "wrong"})
    frame = pandas.read_csv(tmp_path / "marked.csv", index_col="index")
    assert (frame["data_data_reason"][3], frame["data_reason"][3], frame["reason"][3]) == ("of 3", 3, "wrong")


@pytest.mark.parametrize("changed", ["reset", "sorted and reset"])
def test_a_table_whose_index_was_reset_is_refused(
    space: hw.LatentSpace, found: pandas.DataFrame, tmp_path: object, changed: str
) -> None:
    frame = found[:5] if changed == "reset" else found.sort_values("iou")
    first = frame["item"].iloc[0]
    with pytest.raises(ValueError, match=f"at 0 the space has item 0, and the table item {first}; was its index reset"):
        hw.export_marked(space, frame.reset_index(drop=True), tmp_path / "marked.csv")
    hw.export_marked(space, frame, tmp_path / "marked.csv")
    written = pandas.read_csv(tmp_path / "marked.csv", index_col="index")
    assert written["reason"].to_dict() == frame["reason"].sort_index().to_dict()


def test_masks_for_an_annotation_tool(space: hw.LatentSpace, squares: Squares, tmp_path: object) -> None:
    from PIL import Image

    hw.export_marked(space, space.select([5, 17]), tmp_path / "marked", "voc")
    assert (tmp_path / "marked/ImageSets/Segmentation/marked.txt").read_text() == "005\n017\n"
    for index in (5, 17):
        truth = np.asarray(Image.open(tmp_path / f"marked/SegmentationClass/{index:03}.png"))
        np.testing.assert_array_equal(truth, squares.truths[index])
        predicted = np.asarray(Image.open(tmp_path / f"marked/Predictions/{index:03}.png"))
        np.testing.assert_array_equal(predicted, squares.images[index, 0] > 0.5)


def test_masks_of_images_with_one_name_and_ignored_pixels(squares: Squares, tmp_path: object) -> None:
    from PIL import Image

    ignore = np.zeros((SIDE, SIDE), bool)
    ignore[0] = True
    names = ["a/x.tif", "b/x.tif", "b\\y.tif", *map(str, range(27))]
    small = hw.LatentSpace(Reads()).fit(
        (squares.images[:30], squares.truths[:30]), ignore=ignore, columns={"file": names}, progress=False
    )
    hw.export_marked(small, [0, 1, 2], tmp_path, "voc")
    assert sorted(path.name for path in (tmp_path / "Predictions").iterdir()) == [
        "00000_x.png", "00001_x.png", "00002_y.png"
    ]  # fmt: skip
    written = np.asarray(Image.open(tmp_path / "SegmentationClass/00000_x.png"))
    assert (written[0] == 255).all()
    np.testing.assert_array_equal(written[1:], squares.truths[0, 1:])


@pytest.mark.parametrize(
    ("items", "options", "error", "message"),
    [
        ([COUNT], {}, ValueError, "indices must be 0 to 99, got 100"),
        ([1.5], {}, TypeError, "indices must be whole numbers"),
        ([], {}, ValueError, "there are no items to export"),
        ([1], {"format": "yolo"}, ValueError, "format must be one of 'csv', 'coco', 'voc', got 'yolo'"),
        ([1], {"reasons": {2: "no"}}, ValueError, "reasons has position 2, which is not among the items"),
    ],
)
def test_what_cannot_be_written(
    space: hw.LatentSpace, tmp_path: object, items: list, options: dict, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        hw.export_marked(space, items, tmp_path / "marked", **options)
    assert not (tmp_path / "marked").exists()


def test_files_and_folders_are_not_confused(space: hw.LatentSpace, tmp_path: object) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(FileExistsError, match="is a file; VOC masks are written to a folder"):
        hw.export_marked(space, [1], tmp_path / "file", "voc")
    for kind in ("csv", "coco"):
        with pytest.raises(IsADirectoryError):
            hw.export_marked(space, [1], tmp_path, kind)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize(
    ("name", "format_", "message"),
    [
        ("marked.json", "csv", "the suffix '.json' is that of format='coco', got format='csv'"),
        ("marked.CSV", "coco", "the suffix '.csv' is that of format='csv', got format='coco'"),
    ],
)
def test_a_suffix_of_another_format_is_refused(
    space: hw.LatentSpace, tmp_path: object, name: str, format_: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        hw.export_marked(space, [1], tmp_path / name, format_)
    assert not (tmp_path / name).exists()


def test_masks_of_other_items_in_the_folder_are_kept_and_told(space: hw.LatentSpace, tmp_path: object) -> None:
    hw.export_marked(space, [1, 2], tmp_path, "voc")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(FileExistsError, match=r"has masks of other items, such as .*\.png: give another folder"):
        hw.export_marked(space, [1, 3], tmp_path, "voc")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    # The same items again, or more of them, leave nothing that is not listed.
    hw.export_marked(space, [1, 2, 3], tmp_path, "voc")
    listed = (tmp_path / "ImageSets/Segmentation/marked.txt").read_text().split()
    assert sorted(listed) == sorted(path.stem for path in (tmp_path / "SegmentationClass").iterdir())
