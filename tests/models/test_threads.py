"""Fewer threads on a busy machine: which number is chosen, and that it holds for the batches of a model alone."""

import re
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np
import pytest
import torch
from torch import nn

import hdm_widgets as hw
from hdm_widgets import hdm
from hdm_widgets.models import threads
from hdm_widgets.models.threads import ThreadChoice, limited_threads, thread_limit

CPU = torch.device("cpu")
QUIET, BUSY = {3: 1.0, 2: 1.5, 1: 3.0}, {3: 12.0, 2: 9.0, 1: 3.0}
ONE_TAKEN = {3: 12.0, 2: 2.0, 1: 3.0}


class Machine:
    """Work takes milliseconds that depend on the number of threads; the clock stands still meanwhile otherwise."""

    def __init__(self, milliseconds):
        self.milliseconds, self.asked, self.now = milliseconds, [], 0.0

    def seconds(self, count):
        self.asked.append(count)
        self.now += self.milliseconds[count] / 1e3
        return self.milliseconds[count] / 1e3

    def compare(self, choice):
        """The numbers that are compared, and the one that is chosen."""
        self.asked = []
        choice.compare(self.seconds, lambda: self.now)
        return self.asked, choice.chosen


@pytest.mark.parametrize(
    ("milliseconds", "asked", "chosen"),
    [
        pytest.param({2: 10.0, 1: 18.0}, [2, 1], 2, id="two-cores-quiet"),
        pytest.param({2: 45.0, 1: 10.0}, [2, 1], 1, id="two-cores-one-taken"),
        pytest.param({2: 10.0, 1: 11.5}, [2, 1], 2, id="a-little-faster"),
        pytest.param({2: 10.0, 1: 10.5}, [2, 1], 1, id="hardly-faster-is-not-worth-it"),
        pytest.param({8: 10.0, 7: 11.5, 4: 20.0}, [8, 7, 4], 8, id="eight-cores-quiet"),
        pytest.param({8: 20.0, 7: 11.5, 4: 20.0}, [8, 7, 4], 7, id="eight-cores-one-taken"),
        pytest.param({8: 60.0, 7: 55.0, 4: 20.0, 2: 40.0}, [8, 7, 4, 2], 4, id="eight-cores-four-taken"),
        pytest.param({8: 20.0, 7: 19.5, 4: 28.0}, [8, 7, 4], 8, id="eight-cores-in-pairs"),
        pytest.param({3: 30.0, 2: 30.0, 1: 30.0}, [3, 2, 1], 1, id="work-that-threads-do-not-share"),
    ],
)
def test_the_fastest_number_is_chosen(milliseconds, asked, chosen):
    assert Machine(milliseconds).compare(ThreadChoice(max(milliseconds))) == (asked, chosen)


def test_one_thread_needs_no_comparison():
    assert not ThreadChoice(1).is_due(0.0)


def test_all_threads_as_fast_as_ever_need_no_comparison_with_fewer():
    choice, machine = ThreadChoice(3), Machine(QUIET)
    assert machine.compare(choice) == ([3, 2], 3)
    assert machine.compare(choice) == ([3], 3)
    machine.milliseconds = {**QUIET, 3: 1.25}
    assert machine.compare(choice) == ([3], 3)
    machine.milliseconds = BUSY
    assert machine.compare(choice) == ([3, 2, 1], 1)


@pytest.mark.parametrize(
    ("machines", "chosen"),
    [
        pytest.param("bq", [1, 3], id="busy-for-a-moment"),
        pytest.param("qbq", [3, 1, 3], id="busy-for-a-moment-later"),
        pytest.param("bqbqqb", [1, 3, 1, 3, 3, 1], id="busy-now-and-then"),
        pytest.param("bbqq", [1, 1, 1, 3], id="busy-and-then-quiet"),
        pytest.param("bbqbqqb", [1, 1, 1, 1, 1, 3, 1], id="quiet-for-a-moment"),
        pytest.param("bboo", [1, 1, 1, 2], id="then-less-busy"),
        pytest.param("bboqqq", [1, 1, 1, 2, 2, 3], id="most-threads-once-among-more"),
        pytest.param("bo", [1, 2], id="less-busy-than-it-seemed"),
        pytest.param("ob", [2, 1], id="busier-than-it-seemed"),
        pytest.param("oobqq", [2, 2, 1, 2, 2], id="no-more-than-before"),
    ],
)
def test_fewer_are_chosen_at_once_and_each_change_is_decided_by_a_second_comparison(machines, chosen):
    choice, states = ThreadChoice(3), {"b": BUSY, "o": ONE_TAKEN, "q": QUIET}
    assert [Machine(states[state]).compare(choice)[1] for state in machines] == chosen


def wait(choice, machine):
    """Let the time pass until a comparison is due."""
    while not choice.is_due(machine.now):
        machine.now += 0.01


def test_a_comparison_while_threads_of_matrix_products_end_is_soon_mended():
    """They keep a core for 0.1 s after the last product."""
    choice, machine = ThreadChoice(2), Machine({2: 50.0, 1: 30.0})
    assert machine.compare(choice)[1] == 1
    assert machine.now < 0.1
    machine.milliseconds = {2: 16.0, 1: 30.0}
    wait(choice, machine)
    assert 0.1 < machine.now < 0.25
    for _ in range(3):
        assert machine.compare(choice)[1] == 2
        wait(choice, machine)


@pytest.mark.parametrize("seed", range(5))
def test_comparisons_take_a_fiftieth_of_the_time_whatever_happens(seed):
    random = np.random.default_rng(seed)
    choice, machine = ThreadChoice(3), Machine(QUIET)
    since = spent = looks = 0
    for _ in range(60):
        machine.milliseconds = dict(zip((3, 2, 1), random.uniform(10.0, 100.0, 3), strict=True))
        started = machine.now
        machine.compare(choice)
        spent, looks, ended = spent + machine.now - started, looks + 1, machine.now
        wait(choice, machine)
        if machine.now - ended >= 2.0:
            assert looks <= 2
            assert spent <= 0.02 * (machine.now - since)
            since, spent, looks = machine.now, 0.0, 0
    assert looks < 2


@pytest.mark.parametrize("first", [{2: 10.0, 1: 20.0}, {2: 20.0, 1: 10.0}])
def test_what_is_hardly_faster_changes_nothing(first):
    choice = ThreadChoice(2)
    _, chosen = Machine(first).compare(choice)
    for close in ({2: 10.0, 1: 11.0}, {2: 10.0, 1: 14.0}) * 3:
        assert Machine(close).compare(choice)[1] == chosen


def test_comparisons_are_two_seconds_apart_or_take_a_fiftieth_of_the_time():
    choice, machine = ThreadChoice(2), Machine({2: 10.0, 1: 18.0})
    assert choice.is_due(machine.now)
    machine.compare(choice)
    assert machine.now == pytest.approx(0.028)
    assert [choice.is_due(at) for at in (0.1, 2.02, 2.03)] == [False, False, True]
    # Another number was faster, which may have been luck.
    machine.milliseconds = {2: 90.0, 1: 20.0}
    machine.compare(choice)
    assert machine.now == pytest.approx(0.138)
    assert [choice.is_due(at) for at in (0.28, 0.29)] == [False, True]
    # Both comparisons count.
    machine.compare(choice)
    assert machine.now == pytest.approx(0.248)
    assert [choice.is_due(at) for at in (11.24, 11.25)] == [False, True]
    machine.milliseconds, machine.now = {2: 1.0, 1: 2.0}, 12.0
    machine.compare(choice)
    assert choice.chosen == 1
    assert [choice.is_due(at) for at in (12.15, 12.16)] == [False, True]
    machine.compare(choice)
    assert choice.chosen == 2
    assert [choice.is_due(at) for at in (14.0, 14.01)] == [False, True]


# -- threads of this process --------------------------------------------------------------------------


def counts():
    """Threads of the calling thread: as PyTorch tells, OpenMP and MKL."""
    text = torch.__config__.parallel_info()
    return {name: int(count) for name, count in re.findall(r"(\w+_(?:num|max)_threads)\(\) : (\d+)", text)}


def elsewhere(function):
    """What a function returns in a thread that has just started."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function).result()


def threads_of(owner, name, monkeypatch):
    """A set to which the numbers of threads are added with which a function is called from now on."""
    seen, function = set(), getattr(owner, name)

    def noted(*given, **options):
        seen.add(torch.get_num_threads())
        return function(*given, **options)

    monkeypatch.setattr(owner, name, noted)
    return seen


@pytest.fixture
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.fixture(params=[(QUIET, 3), (BUSY, 1)], ids=["quiet", "busy"])
def expected(request, three_threads, monkeypatch):
    """The number of threads that models run with, on a machine that is quiet or busy."""
    milliseconds, number = request.param
    monkeypatch.setattr(threads, "seconds_with", lambda count, _: milliseconds[count])
    monkeypatch.setattr(threads, "_choices", {})
    return number


def test_a_limit_is_that_of_its_thread(three_threads):
    inside, going_on = threading.Event(), threading.Event()

    def limited():
        with thread_limit(1):
            inside.set()
            assert going_on.wait(60)
            return counts()

    mine = counts()
    assert set(mine.values()) == {3}
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(limited)
        assert inside.wait(60)
        assert counts() == elsewhere(counts) == mine
        going_on.set()
        assert set(future.result().values()) == {1}
        # The same thread again.
        assert pool.submit(counts).result() == mine


def test_limits_are_put_back(three_threads):
    with suppress(KeyError), thread_limit(2):
        with thread_limit(1):
            assert set(counts().values()) == {1}
        assert set(counts().values()) == {2}
        raise KeyError
    assert set(counts().values()) == {3}


def test_what_is_set_inside_a_limit_stays(three_threads):
    with thread_limit(1):
        torch.set_num_threads(2)
    assert torch.get_num_threads() == 2


def test_inside_a_limit_more_threads_may_be_chosen_again(expected):
    with thread_limit(2), limited_threads(CPU):
        assert torch.get_num_threads() == expected


def test_what_the_user_allows_is_the_most(expected):
    torch.set_num_threads(1)
    with limited_threads(CPU):
        assert torch.get_num_threads() == 1


def test_a_gpu_needs_no_comparison(expected, monkeypatch):
    monkeypatch.setattr(threads, "seconds_with", pytest.fail)
    with limited_threads(torch.device("cuda")):
        assert torch.get_num_threads() == 3


def test_work_is_timed_with_the_threads_that_are_asked_for(three_threads, monkeypatch):
    seen = threads_of(nn.functional, "conv2d", monkeypatch)
    assert threads.seconds_with(2, 3) > 0
    assert seen == {2}
    assert torch.get_num_threads() == 3


# -- models -------------------------------------------------------------------------------------------


class Counting(nn.Module):
    """A network that notes how many threads it runs with."""

    def __init__(self):
        super().__init__()
        self.layers = hw.UNet(1, 1, 4, 1)
        self.seen = set()

    def forward(self, images):
        if not torch.compiler.is_compiling():
            self.seen.add(torch.get_num_threads())
        return self.layers(images)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Counting().eval()


@pytest.fixture
def image():
    return torch.rand(1, 32, 32, generator=torch.Generator().manual_seed(0))


def test_a_segmenter(expected, model, image):
    hw.Segmenter(model).masks(image[None])
    assert model.seen == {expected}
    assert torch.get_num_threads() == 3


@pytest.mark.parametrize("inference", ["full", "windowed", "estimate"])
def test_scans(inference, expected, model, image, monkeypatch):
    computing = threads_of(nn.functional, "conv2d", monkeypatch)
    explainer = hdm.HausdorffDistanceMasks(32, 32)
    explainer.generate_masks(6, 8)
    between = set()
    for _ in explainer.stream(model, image, (image[0] > 0.5).float(), "cpu", inference=inference):
        between.add(torch.get_num_threads())
    assert model.seen == computing == {expected}
    assert between == {3}
    assert torch.get_num_threads() == 3


def test_fits(expected, model, monkeypatch):
    training = threads_of(torch, "sigmoid", monkeypatch)
    images = torch.rand(12, 1, 32, 32, generator=torch.Generator().manual_seed(1))
    data = [(each, (each[0] > 0.5).long()) for each in images]
    space = hw.LatentSpace(model).fit(data, progress=False)
    assert np.isfinite(space.expected_iou()).all()
    assert model.seen == training == {expected}
    assert torch.get_num_threads() == 3
    assert np.isfinite(space.embedding_).all()


def test_scans_elsewhere_leave_other_threads_alone(expected, model, image):
    explainer = hdm.HausdorffDistanceMasks(32, 32)
    explainer.generate_masks(6, 8)
    elsewhere(lambda: explainer.explain(model, image, (image[0] > 0.5).float(), "cpu", progress=False))
    assert model.seen == {expected}
    assert torch.get_num_threads() == elsewhere(torch.get_num_threads) == 3
