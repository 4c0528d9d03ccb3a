"""Words that texts of every part of the package form in the same way."""

import pytest

from hdm_widgets._wording import quantity
from hdm_widgets.latent.scores import Statistics


@pytest.mark.parametrize(("count", "text"), [(0, "0 items"), (1, "1 item"), (2, "2 items"), (1200, "1,200 items")])
def test_a_number_agrees_with_its_noun(count, text):
    assert quantity(count, "item") == text


def test_one_item_is_one_item():
    assert str(Statistics(1, 0.5, 0.5, 0.0)) == "1 item, mean IoU 0.50, median 0.50"
