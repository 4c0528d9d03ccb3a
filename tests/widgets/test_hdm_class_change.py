"""Class against class in the HDM explorer."""

import numpy as np
import pytest
import torch
import traitlets
from on_screen import OnScreen

IMAGE = np.full((1, 24, 32), 0.5, np.float32)
IMAGE[:, 6:16, 18:28] = 0.9
TRUTH = np.where(IMAGE[0] > 0.75, 2, 1)


def maps(images):
    """Class 2 is the bright square, class 1 all else; class 0 is what black discs show."""
    value = images[:, 0]
    return torch.stack([value < 0.25, (value >= 0.25) & (value < 0.75), value >= 0.75], 1).float()


@pytest.fixture
def explorer(explore_hdm):
    made = explore_hdm(maps, IMAGE, TRUTH, 6, 4, target="all", class_names=["hole", "road", "building"])
    assert made.wait(60)
    return made


def shown(explorer):
    return OnScreen(explorer)["_class_change"]


@pytest.mark.parametrize("by_control", [False, True], ids=["assigned", "by the control"])
def test_shows_what_turns_into_another_class(explorer, by_control):
    assert (explorer.against, shown(explorer)) == (None, {})
    explorer.target = 2
    if by_control:
        OnScreen(explorer).set(against=0)
    else:
        explorer.against = 0
    expected = explorer.result.class_change(2, 0)
    # A disc lies wholly on the square at its most.
    assert expected.max() == pytest.approx(37 / 100, abs=0.02)
    np.testing.assert_array_equal(shown(explorer)["values"], expected.astype(np.float32))
    assert shown(explorer)["classes"] == [2, 0]
    # The measure's own map stays, and is back at once.
    assert explorer.result.settings.distance == "hausdorff"
    explorer.against = None
    assert shown(explorer) == {}


def test_follows_the_class_that_is_shown_and_ends_with_its_own(explorer):
    explorer.target, explorer.against = 1, 0
    np.testing.assert_array_equal(shown(explorer)["values"], explorer.result.class_change(1, 0).astype(np.float32))
    explorer.target = 2
    assert (explorer.against, shown(explorer)["classes"]) == (0, [2, 0])
    # Nothing is class 0 without a disc.
    explorer.target = 0
    assert (explorer.against, shown(explorer), explorer.error) == (None, {}, "")
    explorer.target, explorer.against = 1, 2
    assert not shown(explorer)["values"].any()


def test_lasts_over_scans(explorer):
    explorer.target, explorer.against = 2, 0
    before = shown(explorer)["values"]
    explorer.circle_size = 10
    assert explorer.wait(60)
    assert (explorer.against, shown(explorer)["classes"]) == (0, [2, 0])
    assert shown(explorer)["values"].max() > before.max()


@pytest.mark.parametrize(
    ("target", "against", "message"),
    [(2, 2, "does not turn into itself"), (0, 1, "no pixel is class 0"), (2, 7, "7"), (2, -1, "-1")],
)
def test_what_has_no_answer_is_refused(explorer, target, against, message):
    explorer.target = target
    with pytest.raises(traitlets.TraitError, match=message):
        explorer.against = against
    assert (explorer.against, shown(explorer)) == (None, {})


def test_one_class_has_no_other(explore_hdm):
    explorer = explore_hdm(lambda images: images[:, 0], IMAGE, IMAGE[0] > 0.75, 6, 4)
    assert explorer.wait(60)
    with pytest.raises(traitlets.TraitError, match="target='all'"):
        explorer.against = 1


def test_a_page_opens_with_it(explorer, tmp_path):
    explorer.target, explorer.against = 2, 0
    explorer.to_html(tmp_path / "page.html")
    assert '"against":0' in (tmp_path / "page.html").read_text(encoding="utf-8")
