"""The HDM explorer's fill: what its discs show."""

import numpy as np
import pytest
import torch
import traitlets
from gate import SECONDS
from on_screen import OnScreen

import hdm_widgets as hw
from hdm_widgets import hdm

IMAGE = np.full((2, 24, 32), 0.2, np.float32)
IMAGE[:, 6:16, 8:20] = 0.8
TRUTH = IMAGE[0] > 0.5


def bright(images):
    """The mask of all but the darkest: a disc of the mean, 0.29, counts as segment."""
    return (images[:, 0] > 0.25).float()


@pytest.fixture
def make(explore_hdm):
    """Explorers of one image."""

    def maker(model=bright, image=IMAGE, **options):
        return explore_hdm(model, image, TRUTH, **{"circle_size": 6, "offset": 4, **options})

    return maker


def scanned(image=IMAGE, **options):
    explainer = hdm.HausdorffDistanceMasks(32, 24)
    explainer.generate_masks(6, 4)
    return explainer.explain(bright, image, TRUTH, progress=False, **options)


@pytest.mark.parametrize(
    ("assigned", "text", "fill"),
    [
        ("mean", "mean", "mean"),
        ("blur", "blur", "blur"),
        ("0.75", "0.75", 0.75),
        (1, "1", 1.0),
        ((0.75, 0.1), "0.75, 0.1", (0.75, 0.1)),
        ("0.75,.1", "0.75, 0.1", (0.75, 0.1)),
    ],
)
def test_another_fill_is_another_scan(make, assigned, text, fill):
    explorer = make()
    assert explorer.wait(SECONDS)
    np.testing.assert_array_equal(explorer.result.values, scanned().values)
    explorer.fill = assigned
    assert explorer.fill == text
    assert explorer.wait(SECONDS)
    wanted = scanned(fill=fill)
    assert not np.array_equal(wanted.values, scanned().values)
    np.testing.assert_array_equal(explorer.result.values, wanted.values)
    assert explorer.result.settings.fill == fill
    screen = OnScreen(explorer)
    np.testing.assert_array_equal(screen["_map"]["values"], wanted.values)
    assert screen["_map"]["fill"] == screen["_scanned"]["fill"] == screen["fill"] == text


def test_the_control_starts_a_scan_and_the_way_back_is_quick(make):
    seen = []

    def model(images):
        seen.append(images.numpy().copy())
        return bright(images)

    explorer = make(model)
    assert explorer.wait(SECONDS)
    OnScreen(explorer).set(fill="mean")
    assert explorer.wait(SECONDS)
    assert explorer.result.settings.fill == "mean"
    seen.clear()
    OnScreen(explorer).set(fill="minimum")
    assert explorer.wait(SECONDS)
    assert explorer.result.settings.fill == "minimum"
    np.testing.assert_array_equal(explorer.result.values, scanned().values)
    # All discs are in the cache; what is run again is the image itself, and one disc to see how long a run takes.
    assert sum(len(images) for images in seen) <= 2


def test_the_fill_of_the_options_is_the_one_to_begin_with(make):
    explorer = make(fill=(0.75, 0.1))
    assert explorer.fill == "0.75, 0.1"
    assert OnScreen(explorer)["_fills"][-1] == ["0.75, 0.1", "own values"]
    explorer.fill = 0.5
    assert OnScreen(explorer)["_fills"][-2:] == [["0.75, 0.1", "own values"], ["0.5", "0.5"]]
    explorer.fill = "0.75, 0.1"
    assert len(OnScreen(explorer)["_fills"]) == len({text for text, _ in OnScreen(explorer)["_fills"]})
    assert explorer.wait(SECONDS)
    np.testing.assert_array_equal(explorer.result.values, scanned(fill=(0.75, 0.1)).values)


@pytest.mark.parametrize(
    ("low", "high", "options", "label"),
    [
        (0.0, 1.0, {}, "black (as published)"),
        (0.2, 0.8, {}, "black (as published)"),
        (-1.0, 1.0, {"normalize": True}, "black (as published)"),
        (0.0, 1.0, {"normalize": True}, "black (as published)"),
        (-1.0, 1.0, {}, "minimum with 0 (as published)"),
        (-3.0, 4.0, {}, "minimum with 0 (as published)"),
        (-3.0, 4.0, {"normalize": True}, "minimum with −1 (as published)"),  # noqa: RUF001 - as it is written
        (0.0, 255.0, {"preprocess": True}, "black"),
        (0.0, 4000.0, {"preprocess": True}, "black"),
        (150.0, 4000.0, {"preprocess": True}, "darkest value"),
    ],
)
@pytest.mark.filterwarnings("ignore:the image has values:UserWarning")
def test_black_is_called_black_where_it_is_black(make, low, high, options, label):
    options = dict(options)
    preprocess = (lambda images: images / high) if options.pop("preprocess", False) else None
    image = np.full((1, 24, 32), low, np.float32)
    image[:, 6:16, 8:20] = high
    explorer = make(hw.Segmenter(bright, preprocess=preprocess), image, **options)
    assert OnScreen(explorer)["_fills"][:3] == [["minimum", label], ["mean", "mean"], ["blur", "blur"]]


@pytest.mark.parametrize(
    ("fill", "said"),
    [
        ("grey", "fill must be 'minimum'"),
        ("", "fill must be 'minimum'"),
        ("nan", "finite number"),
        ("0.1, 0.2, 0.3", "2 channel"),
        (None, "fill must be 'minimum'"),
    ],
)
def test_a_fill_that_is_none_is_refused(make, fill, said):
    explorer = make()
    with pytest.raises(traitlets.TraitError, match=said):
        explorer.fill = fill
    assert explorer.fill == "minimum"


def test_an_occlusion_of_ones_own_has_no_fill(make):
    class Lighter(hdm.HausdorffDistanceMasks):
        def apply_mask(self, image, mask):
            return torch.max(image, 1 - mask)

    explorer = make(explainer=Lighter(32, 24))
    assert OnScreen(explorer)["_fills"] == []
    with pytest.raises(traitlets.TraitError, match="its own apply_mask"):
        explorer.fill = "mean"


def test_squares_in_place_of_discs(make):
    explorer = make()
    assert explorer.wait(SECONDS)
    OnScreen(explorer).set(shape="square")
    assert explorer.wait(SECONDS)
    wanted = scanned(shape="square")
    assert not np.array_equal(wanted.values, scanned().values)
    np.testing.assert_array_equal(explorer.result.values, wanted.values)
    screen = OnScreen(explorer)
    assert screen["_map"]["shape"] == screen["_scanned"]["shape"] == "square"
    np.testing.assert_array_equal(screen["_map"]["disc"], [[0, 7]] * 7)
    explorer.circle_size = 5
    explorer.cell = (1, 1)
    assert explorer.wait(SECONDS)
    assert explorer.result.grid.disc_shape == "square"
    assert OnScreen(explorer)["_inspector"]["pending"] is False
    with pytest.raises(traitlets.TraitError, match="shape must be one of 'disc', 'square'"):
        explorer.shape = "star"
    assert make(shape="square").shape == "square"
