"""A scan is right early: after a coarse grid, cells come first where the map changes."""

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch.nn import functional as F

from hdm_widgets import hdm
from hdm_widgets.hdm.circle_map import filled

SIDE, OFFSET = 128, 4
ROWS = SIDE // OFFSET
# Of the 1024 cells, the coarse grid has every fourth row and column.
COARSE = 64


def blurred(images):
    return F.avg_pool2d(images[:, 0], 5, 1, 2)


def corner(size=24):
    """Nothing but noise, and a light square at the lower right, which is the segment."""
    generator = torch.Generator().manual_seed(0)
    image = 0.1 + 0.2 * torch.rand(1, SIDE, SIDE, generator=generator)
    image[:, SIDE - size :, SIDE - size :] += 0.6
    segment = torch.zeros(SIDE, SIDE)
    segment[SIDE - size :, SIDE - size :] = 1
    return image, segment


def explainer_of(circle_size=8):
    explainer = hdm.HausdorffDistanceMasks(SIDE, SIDE)
    explainer.generate_masks(circle_size, OFFSET)
    return explainer


def updates_of(image, segment, model=blurred, circle_size=8, **options):
    updates = list(explainer_of(circle_size).stream(model, image, segment, batch_size=20, **options))
    # Every wanted cell once, and all of them at the end.
    seen = np.zeros((ROWS, ROWS), int)
    for update in updates:
        seen[update.cells[:, 0], update.cells[:, 1]] += 1
        assert update.done == seen.sum()
    np.testing.assert_array_equal(seen, updates[-1].result.measured)
    assert updates[-1].done == updates[-1].total
    assert updates[-1].result.complete
    return updates


def cells_of(updates):
    return np.concatenate([update.cells for update in updates])


def test_first_a_regular_grid():
    updates = updates_of(*corner())
    coarse = cells_of(updates)[:COARSE]
    np.testing.assert_array_equal(coarse, [(row, col) for row in range(0, 32, 4) for col in range(0, 32, 4)])
    assert {update.stride for update in updates if 0 < update.done <= COARSE} == {4}
    assert {update.stride for update in updates if update.done > COARSE} == {1}


def test_then_where_neighbours_differ():
    image, segment = corner()
    updates = updates_of(image, segment)
    values = updates[-1].result.values
    changing = values != updates[-1].result.baseline
    # Only discs that reach the square change the mask: those of the last rows and columns.
    assert 20 < changing.sum() < 100
    assert np.argwhere(changing).min() >= 23
    fine = cells_of(updates)[COARSE:]
    # All that changes is measured before a quarter of the rest is.
    place = {tuple(cell): index for index, cell in enumerate(fine.tolist())}
    last = max(place[cell] for cell in map(tuple, np.argwhere(changing).tolist()) if cell in place)
    assert last < 0.25 * len(fine)
    # The very first lie around the square's edge, as far as the coarse grid tells.
    first = fine[:48]
    assert (first >= 16).all()


@pytest.mark.parametrize("empty", ["inf", "nan"])
def test_neither_infinity_nor_nan_hides_a_difference(empty):
    # One pixel: every distance is 0 or that of an empty mask. Some discs of the coarse grid cover it too.
    image, segment = corner(0)
    image[:, 116, 116] = segment[116, 116] = 1
    updates = updates_of(image, segment, lambda images: images[:, 0], circle_size=20, empty=empty)
    values = updates[-1].result.values
    special = np.isinf(values) if empty == "inf" else np.isnan(values)
    assert 15 < special.sum() < 30
    np.testing.assert_array_equal(values[~special], 0)
    fine = cells_of(updates)[COARSE:]
    place = {tuple(cell): index for index, cell in enumerate(fine.tolist())}
    last = max(place[cell] for cell in map(tuple, np.argwhere(special).tolist()) if cell in place)
    assert last < 0.25 * len(fine)


def test_only_the_region():
    image, segment = corner()
    region = (60, 30, 128, 128)
    updates = updates_of(image, segment, region=region)
    wanted = explainer_of().grid.touching(region)
    np.testing.assert_array_equal(updates[-1].result.measured, wanted)
    whole = updates_of(image, segment)[-1].result
    np.testing.assert_array_equal(updates[-1].result.values[wanted], whole.values[wanted])
    changing = np.argwhere(wanted & (whole.values != whole.baseline))
    cells = cells_of(updates).tolist()
    assert max(cells.index(cell) for cell in changing.tolist()) < 0.5 * len(cells)


def test_a_region_that_the_coarse_grid_misses():
    image, segment = corner()
    explainer = explainer_of()
    # One pixel that only discs between the coarse ones touch.
    covering = np.array([[explainer.grid.mask(row, col)[106, 106] for col in range(ROWS)] for row in range(ROWS)])
    assert covering.any()
    assert not covering[::4, ::4].any()
    updates = updates_of(image, segment, region=(106, 106, 107, 107))
    assert updates[-1].done == covering.sum()


def test_a_map_of_one_value_goes_from_coarse_to_fine():
    image, segment = corner()
    updates = updates_of(image * 0 + 0.9, segment * 0 + 1, model=lambda images: images[:, 0] * 0 + 1)
    cells = cells_of(updates)
    half = cells[COARSE:256]
    # Where nothing differs, every second row and column comes before the rest.
    assert (half % 2 == 0).all()


def test_the_map_is_right_early():
    image, segment = corner(48)
    updates = updates_of(image, segment)
    final = updates[-1].result.values

    def correlation(cells):
        measured = np.zeros(final.shape, bool)
        measured[cells[:, 0], cells[:, 1]] = True
        return spearmanr(filled(final, measured).ravel(), final.ravel()).statistic

    fourth = cells_of(updates)[: final.size // 4]
    assert correlation(fourth) > 0.95
    # Coarse to fine without looking comes less far.
    unguided = np.concatenate([stage for _, stage in explainer_of().grid.stages()])[: len(fourth)]
    assert correlation(fourth) > correlation(unguided) + 0.03


def test_every_cell_knows_whether_it_was_measured():
    image, segment = corner()
    for update in updates_of(image, segment):
        np.testing.assert_array_equal(np.isnan(update.result.values), ~update.result.measured)
        assert update.result.complete == (update.done == update.total)
