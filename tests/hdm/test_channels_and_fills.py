"""Several channels covered at once, and what each of them shows in the disc."""

import numpy as np
import pytest

import hdm_widgets as hw
from hdm_widgets import hdm
from hdm_widgets.metrics import hausdorff_distance

HEIGHT, WIDTH = 24, 32
RNG = np.random.default_rng(8)
TRUTH = np.zeros((HEIGHT, WIDTH), bool)
TRUTH[6:16, 8:20] = True
IMAGE = RNG.uniform(0.1, 0.4, (6, HEIGHT, WIDTH)).astype(np.float32)
IMAGE[:, TRUTH] += 0.5
WEIGHTS = np.array([0.35, 0.05, 0.45, 0.05, 0.05, 0.05], np.float32)


def weighted(images):
    """Reads all six bands, each with a weight of its own."""
    return (images * WEIGHTS[:, None, None]).sum(1)


def explainer():
    one = hdm.HausdorffDistanceMasks(WIDTH, HEIGHT)
    one.generate_masks(7, 4)
    return one


def explained(model=weighted, image=IMAGE, **options):
    return explainer().explain(model, image, TRUTH, progress=False, **options)


def by_hand(grid, channels, fill):
    """Distances (rows, cols) and the last occluded image, by plain NumPy."""
    distances = np.empty(grid.shape)
    for row, col in np.ndindex(grid.shape):
        covered = IMAGE.copy()
        for channel, value in zip(channels, fill, strict=True):
            covered[channel][grid.mask(row, col)] = value
        distances[row, col] = hausdorff_distance(weighted(covered[None])[0] > 0.5, TRUTH)
    return distances, covered


@pytest.mark.parametrize("fill", ["minimum", 0.1, (0.0, 0.1, 0.2, 0.3, 0.15, 0.05)], ids=str)
@pytest.mark.parametrize(
    ("channel", "covered"),
    [
        ([0, 2, 4], [0, 2, 4]),
        ((4, 0), [0, 4]),
        (np.array([0, 1]), [0, 1]),
        ([2], [2]),
        (range(6), [0, 1, 2, 3, 4, 5]),
        (-1, [0, 1, 2, 3, 4, 5]),
    ],
    ids=str,
)
def test_every_cell_against_plain_numpy(channel, covered, fill, tmp_path):
    result = explained(channel=channel, fill=fill)
    values = {"minimum": [0.0] * 6, 0.1: [0.1] * 6}.get(fill, fill)
    distances, last = by_hand(result.grid, covered, [values[one] for one in covered])
    np.testing.assert_array_equal(result.values, distances)
    assert len(np.unique(distances)) > 1
    corner = result.grid.rows - 1, result.grid.cols - 1
    np.testing.assert_array_equal(result.occluded(*corner), last)
    # What is saved makes the same images.
    result.save(tmp_path / "result.npz")
    loaded = hdm.HDMResult.load(tmp_path / "result.npz")
    assert loaded.settings == result.settings
    assert hash(loaded.settings) == hash(result.settings)
    np.testing.assert_array_equal(loaded.occluded(*corner), last)


def test_the_settings_have_them_in_ascending_order():
    result = explained(channel=[4, 0], fill=[1, 2, 3, 4, 5, 6.5])
    assert result.settings.channel == (0, 4)
    assert result.settings.fill == (1, 2, 3, 4, 5, 6.5)


def test_an_explorer_a_stream_and_a_plan_take_them_too():
    options = {"channel": [0, 4], "fill": (0.0, 0.1, 0.2, 0.3, 0.15, 0.05)}
    expected = explained(**options)
    *_, last = explainer().stream(weighted, IMAGE, TRUTH, **options)
    np.testing.assert_array_equal(last.result.values, expected.values)
    assert isinstance(explainer().plan(weighted, IMAGE, TRUTH, **options), hdm.Plan)
    explorer = hw.HDMExplorer(weighted, IMAGE, TRUTH, circle_size=7, offset=4, **options)
    assert explorer.wait(60)
    np.testing.assert_array_equal(explorer.result.values, expected.values)
    explorer.close()


def test_the_same_in_windows(windows):
    """A network whose windows are exact gives the same distances, channel by channel."""
    network = hw.UNet(6, 1, width=4, depth=1)
    options = {"channel": [1, 5], "fill": (0.9, 0.8, 0.7, 0.6, 0.5, 0.4)}
    quick = explained(network, inference="windowed", **options)
    assert sum(windows) > 0
    np.testing.assert_allclose(quick.values, explained(network, inference="full", **options).values)


@pytest.mark.parametrize("method", ["explain", "stream", "plan"])
@pytest.mark.parametrize("fill", [(0.0,), (0, 0, 0), (0,) * 7], ids=len)
def test_a_fill_of_another_length_is_said_at_the_call(method, fill):
    with pytest.raises(ValueError, match=rf"for each of the image's 6 channel\(s\).* got {len(fill)}: "):
        getattr(explainer(), method)(weighted, IMAGE, TRUTH, channel=[0, 1, 2], fill=fill)
