import pytest

from hdm_widgets.latent.confidences import CONFIDENCES
from hdm_widgets.latent.titles import running_title, title


@pytest.mark.parametrize(
    ("name", "expected", "inside"),
    [
        ("iou", "IoU", "IoU"),
        ("expected_iou", "IoU by place", "IoU by place"),
        ("dice", "Dice", "Dice"),
        ("false_negative_area", "False negative area (px)", "false negative area"),
        ("foreground_entropy", "Entropy in the prediction (bits)", "entropy in the prediction"),
        ("area_at_30", "Fraction of pixels above 0.3", "fraction of pixels above 0.3"),
        ("pc12", "PC 12", "PC 12"),
        ("my_own_column", "my own column", "my own column"),
        ("Land_use (2020)", "Land use (2020)", "Land use (2020)"),
        ("plain", "plain", "plain"),
    ],
)
def test_names_for_people(name, expected, inside):
    assert (title(name), running_title(name)) == (expected, inside)


def test_every_confidence_has_a_title():
    assert all("_" not in title(name) and title(name) != name for name in CONFIDENCES)
