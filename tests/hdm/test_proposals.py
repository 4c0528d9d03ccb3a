"""Another measure is proposed where a Hausdorff map shows little, and nowhere else."""

import numpy as np
import pytest
import torch

from hdm_widgets import hdm
from hdm_widgets.hdm.proposals import propose_measure

SIDE = 48
ROWS, COLS = np.indices((SIDE, SIDE))


def boxes(*corners):
    mask = np.zeros((SIDE, SIDE), bool)
    for top, left, height, width in corners:
        mask[top : top + height, left : left + width] = True
    return mask


def scan(image, truth, model=lambda images: images[:, 0], **options):
    explainer = hdm.HausdorffDistanceMasks(SIDE, SIDE)
    explainer.generate_masks(circle_size=5, offset=4)
    image = torch.as_tensor(image, dtype=torch.float32)[None]
    return explainer.explain(model, image, truth, progress=False, **options)


LARGE = boxes((4, 4, 24, 24))
SPECK = LARGE | boxes((44, 44, 1, 3))
MANY = boxes((3, 3, 9, 9), (3, 20, 9, 9), (20, 3, 9, 9), (20, 20, 9, 9))


def test_a_speck_that_decides_most_distances():
    result = scan(SPECK, LARGE)
    proposal = propose_measure(result)
    masks = np.array([result.output(*cell) for cell in np.ndindex(12, 12)])
    assert (masks != SPECK).any(axis=(1, 2)).sum() > 8
    # Wherever the speck is not covered.
    uncovered = masks[:, 44, 46]
    assert proposal
    assert proposal.measure == "hausdorff95"
    assert (proposal.of, SPECK[proposal.pixel], LARGE[proposal.pixel]) == ("prediction", True, False)
    assert str(proposal) == f"One speck of 3 px in the prediction decides {uncovered.sum()} of 144 distances"


def test_a_speck_of_the_truth_that_is_missed():
    proposal = propose_measure(scan(LARGE, SPECK))
    assert (proposal.of, SPECK[proposal.pixel], LARGE[proposal.pixel]) == ("truth", True, False)
    assert (proposal.measure, proposal.reason[:37]) == ("hausdorff95", "One speck of 3 px in the truth decide")


def test_an_object_that_decides_most_distances():
    missed = MANY | boxes((38, 38, 8, 8))
    proposal = propose_measure(scan(MANY, missed))
    assert proposal.measure == "iou"
    assert proposal.reason.startswith("One of 5 objects of the truth decides ")


def test_a_flat_map():
    """Two objects far away from each other, and a truth in between: whatever a disc takes away, one is far."""
    image, truth = boxes((2, 2, 44, 8), (2, 38, 44, 8)), boxes((2, 22, 44, 4))
    proposal = propose_measure(scan(image, truth))
    assert "nearly the same, 20.0 to 20.0 px" in proposal.reason
    assert (proposal.of, proposal.pixel) == ("", None)
    # No disc makes the two overlap: that map would be flat too.
    assert proposal.measure == "flipped"


@pytest.mark.filterwarnings("ignore:the segment is empty")
@pytest.mark.parametrize(
    ("truth", "measure"),
    [
        (boxes(), "flipped"),
        (boxes((2, 22, 44, 4)), "flipped"),
        # Within both objects.
        (boxes((2, 22, 44, 4), (10, 4, 20, 4), (10, 40, 20, 4)), "iou"),
    ],
    ids=["empty", "apart", "overlapping"],
)
def test_the_map_of_a_proposed_measure_is_not_flat(truth, measure):
    result = scan(boxes((2, 2, 44, 8), (2, 38, 44, 8)), truth)
    proposal = propose_measure(result)
    assert proposal.measure == measure
    values = result.measure(measure).values
    assert values.max() - values.min() > 0.02


ORDINARY = {
    "one object, well found": (LARGE, LARGE),
    "one object, moved": (LARGE, np.roll(LARGE, 2, 1)),
    "many objects, all found": (MANY, MANY),
    "nothing changes": (np.zeros((SIDE, SIDE)), LARGE),
}


@pytest.mark.parametrize(("image", "truth"), ORDINARY.values(), ids=ORDINARY)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_ordinary_maps(image, truth):
    proposal = propose_measure(scan(image, truth))
    assert not proposal
    assert (proposal.measure, str(proposal)) == ("", "")


def test_other_measures_and_scans_without_masks():
    result = scan(SPECK, LARGE)
    assert not any(propose_measure(result.measure(name)) for name in ("hausdorff95", "iou", "flipped"))
    assert not propose_measure(scan(SPECK, LARGE, keep_outputs=False))


def test_ignored_specks_decide_nothing():
    assert not propose_measure(scan(SPECK, LARGE, ignore=(ROWS > 40) & (COLS > 40)))
