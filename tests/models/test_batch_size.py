"""How many images go into a batch, and what happens when a batch fails."""

import pytest
import torch

from hdm_widgets.models.batch_size import BatchSize, run_in_batches
from hdm_widgets.models.errors import ModelError, ModelOutputError

IMAGE = torch.zeros(1, 32, 32)
CPU = torch.device("cpu")


def took(sizes, seconds):
    """Two batches of the present size: the first of a size is not counted, and here it is slow."""
    size = sizes.size
    sizes.record(size, 50.0)
    assert sizes.size == size
    sizes.record(size, seconds)


def test_a_batch_grows_as_long_as_that_makes_an_image_quicker():
    sizes = BatchSize(None, IMAGE, CPU)
    seen = [sizes.size]
    # Seconds for an image: quicker up to four together, then slower.
    for each in (0.020, 0.015, 0.012, 0.014, 0.011, 0.010):
        took(sizes, each * sizes.size)
        seen.append(sizes.size)
    assert seen == [1, 2, 4, 8, 4, 4, 4]


def test_a_little_quicker_is_not_worth_it():
    sizes = BatchSize(None, IMAGE, CPU)
    took(sizes, 0.100)
    took(sizes, 0.196)
    assert sizes.size == 1


def test_what_is_left_of_a_stage_teaches_nothing():
    sizes = BatchSize(None, IMAGE, CPU)
    took(sizes, 0.1)
    sizes.record(1, 0.5)
    sizes.record(1, 0.5)
    assert sizes.size == 2


def test_a_batch_stays_short_enough_to_be_cancelled():
    sizes = BatchSize(None, IMAGE, CPU)
    took(sizes, 0.2)
    assert sizes.size == 1
    # However quick an image gets in company, a batch must not take longer than a quarter of a second.
    sizes = BatchSize(None, IMAGE, CPU)
    seen = []
    for each in (0.060, 0.050, 0.050, 0.050):
        took(sizes, each * sizes.size)
        seen.append(sizes.size)
    assert seen == [2, 4, 2, 2]


def test_a_batch_at_its_limit_keeps_its_size():
    sizes = BatchSize(None, IMAGE, CPU)
    for _ in range(20):
        took(sizes, 0.004)
    assert sizes.size == 256


@pytest.mark.parametrize("given", [1, 5])
def test_a_given_size_stays(given):
    sizes = BatchSize(given, IMAGE, CPU)
    for _ in range(5):
        sizes.record(given, 1e-6)
    assert sizes.size == given


def test_memory_that_ran_out_is_not_tried_again():
    sizes = BatchSize(None, IMAGE, CPU)
    for size in (1, 2, 4):
        assert sizes.size == size
        took(sizes, 1e-3)
    sizes.halve()
    assert sizes.size == 4
    for _ in range(5):
        sizes.record(4, 1e-4)
    assert sizes.size == 4
    sizes.run_singly()
    assert sizes.size == 1


def test_memory_that_ran_out_for_a_smaller_batch_counts_for_that_one():
    sizes = BatchSize(16, IMAGE, CPU)
    sizes.halve(6)
    assert sizes.size == 3
    sizes.halve(1)
    assert sizes.size == 1


class Runs:
    """Stands for a model: notes what it is run on, and fails on what it is told to."""

    def __init__(self, *fails, most=100, error=None):
        self.fails, self.most, self.error = fails, most, error
        self.seen = []

    def __call__(self, part):
        items = list(range(10))[part]
        self.seen.append(items)
        if len(items) > self.most or any(item in self.fails for item in items):
            raise self.error
        return [item**2 for item in items]


def run(count, model, batch_size=4, **options):
    """What was yielded, and the errors that were told, with `on_error`."""
    told = []
    sizes = BatchSize(batch_size, IMAGE, CPU)
    parts = run_in_batches(count, model, sizes, on_error=lambda *error: told.append(error), **options)
    return [(part.start, part.stop, output) for part, output in parts], told, sizes


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (0, []),
        (3, [(0, 3, [0, 1, 4])]),
        (10, [(0, 4, [0, 1, 4, 9]), (4, 8, [16, 25, 36, 49]), (8, 10, [64, 81])]),
    ],
)
def test_items_run_in_order(count, expected):
    got, told, _ = run(count, Runs())
    assert got == expected
    assert told == []


def test_batches_grow_while_that_is_quicker():
    sizes = BatchSize(None, IMAGE, CPU)
    batches = [part.stop - part.start for part, _ in run_in_batches(10, Runs(), sizes)]
    assert sum(batches) == 10
    # The first batch of every size warms up.
    assert batches[:3] == [1, 1, 2]


def test_what_fails_is_told_and_the_rest_of_its_batch_runs():
    model = Runs(2, 5, error=KeyError("no"))
    got, told, sizes = run(10, model)
    assert [output for *_, output in got] == [[0], [1], [9], [16], [36], [49], [64, 81]]
    assert [index for index, _ in told] == [2, 5]
    assert all(error is model.error for _, error in told)
    assert sizes.size == 4


def test_the_first_error_is_raised_after_what_came_before_it():
    got = []
    model = Runs(2, error=ModelOutputError("wrong", 7))
    with pytest.raises(ModelOutputError, match="wrong") as error:
        got.extend(output for _, output in run_in_batches(10, model, BatchSize(4, IMAGE, CPU)))
    assert got == [[0], [1]]
    # Its index among all items, not in the batch.
    assert error.value.image_index == 2


@pytest.mark.parametrize("most", [1, 3])
def test_memory_that_runs_out_halves_the_batch(most):
    model = Runs(most=most, error=torch.OutOfMemoryError("no room"))
    got, told, sizes = run(10, model, batch_size=8)
    assert [item for _, _, output in got for item in output] == [item**2 for item in range(10)]
    assert told == []
    tried = [len(items) for items in model.seen]
    assert [size for size in tried if size > most] == [8, 4, 2][: 3 if most == 1 else 2]
    assert sizes.size == max(size for size in tried if size <= most)


@pytest.mark.parametrize("batch_size", [None, 1, 4])
@pytest.mark.parametrize("error", [torch.OutOfMemoryError("no room"), MemoryError(), RuntimeError("out of memory")])
def test_a_single_item_that_needs_too_much_memory_is_told_in_plain_words(batch_size, error):
    got, told, _ = run(10, Runs(6, error=error), batch_size)
    assert sum(len(output) for *_, output in got) == 9
    ((index, problem),) = told
    assert index == 6
    assert isinstance(problem, ModelError)
    assert str(problem).startswith(f"out of memory even for a single image: {type(error).__name__}")
    assert problem.image_index == 6
    assert problem.__cause__ is error


def test_single_images_only():
    model = Runs(most=1, error=ValueError("one, please"))
    with pytest.warns(UserWarning, match=r"a batch of 4 images \(ValueError: one, please\).*batch_size=1 avoids"):
        got, told, sizes = run(10, model)
    assert [output for *_, output in got] == [[item**2] for item in range(10)]
    assert told == []
    assert [len(items) for items in model.seen] == [4] + [1] * 10
    assert sizes.size == 1


@pytest.mark.parametrize("batch_size", [1, 4])
def test_fatal_errors_are_not_tried_again(batch_size):
    model = Runs(5, error=ZeroDivisionError("no"))
    with pytest.raises(ZeroDivisionError, match="no"):
        run(10, model, batch_size, fatal=(KeyError, ArithmeticError))
    assert model.seen[-1][-1] == {1: 5, 4: 7}[batch_size]


def test_fatal_errors_of_a_single_item_are_not_told_as_its_own():
    class Late(Runs):
        def __call__(self, part):
            if part == slice(2, 3):
                raise ZeroDivisionError("no")
            return super().__call__(part)

    with pytest.raises(ZeroDivisionError, match="no"):
        run(10, Late(2, error=KeyError("no")), fatal=(ZeroDivisionError,))


def test_an_error_of_whoever_takes_the_output_is_not_the_models():
    parts = run_in_batches(10, Runs(), BatchSize(4, IMAGE, CPU))
    next(parts)
    with pytest.raises(KeyError, match="taken"):
        parts.throw(KeyError("taken"))
