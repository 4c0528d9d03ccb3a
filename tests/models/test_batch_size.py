"""How many pictures go into a batch."""

import pytest
import torch

from hdm_widgets.models.batch_size import BatchSize

PICTURE = torch.zeros(1, 32, 32)
CPU = torch.device("cpu")


def took(sizes, seconds):
    """Two batches of the present size: the first of a size is not counted, and here it is slow."""
    size = sizes.size
    sizes.took(size, 50.0)
    assert sizes.size == size
    sizes.took(size, seconds)


def test_a_batch_grows_as_long_as_that_makes_a_picture_quicker():
    sizes = BatchSize(None, PICTURE, CPU)
    seen = [sizes.size]
    # Seconds for a picture: quicker up to four together, then slower.
    for each in (0.020, 0.015, 0.012, 0.014, 0.011, 0.010):
        took(sizes, each * sizes.size)
        seen.append(sizes.size)
    assert seen == [1, 2, 4, 8, 4, 4, 4]


def test_a_little_quicker_is_not_worth_it():
    sizes = BatchSize(None, PICTURE, CPU)
    took(sizes, 0.100)
    took(sizes, 0.196)
    assert sizes.size == 1


def test_what_is_left_of_a_stage_teaches_nothing():
    sizes = BatchSize(None, PICTURE, CPU)
    took(sizes, 0.1)
    sizes.took(1, 0.5)
    sizes.took(1, 0.5)
    assert sizes.size == 2


def test_a_batch_stays_short_enough_to_be_cancelled():
    sizes = BatchSize(None, PICTURE, CPU)
    took(sizes, 0.2)
    assert sizes.size == 1
    # However quick a picture gets in company, a batch must not take longer than a quarter of a second.
    sizes = BatchSize(None, PICTURE, CPU)
    seen = []
    for each in (0.060, 0.050, 0.050, 0.050):
        took(sizes, each * sizes.size)
        seen.append(sizes.size)
    assert seen == [2, 4, 2, 2]


def test_a_batch_at_its_limit_keeps_its_size():
    sizes = BatchSize(None, PICTURE, CPU)
    for _ in range(20):
        took(sizes, 0.004)
    assert sizes.size == 256


@pytest.mark.parametrize("given", [1, 5])
def test_a_given_size_stays(given):
    sizes = BatchSize(given, PICTURE, CPU)
    for _ in range(5):
        sizes.took(given, 1e-6)
    assert sizes.size == given


def test_memory_that_ran_out_is_not_tried_again():
    sizes = BatchSize(None, PICTURE, CPU)
    for size in (1, 2, 4):
        assert sizes.size == size
        took(sizes, 1e-3)
    sizes.halve()
    assert sizes.size == 4
    for _ in range(5):
        sizes.took(4, 1e-4)
    assert sizes.size == 4
    sizes.one_at_a_time()
    assert sizes.size == 1
