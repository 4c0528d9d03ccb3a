"""Scans of many images: what they have in common."""

import functools
import itertools

import numpy as np
import pytest
import torch
from many_images import QUIET, Cue, diagonal, identity, interrupted_at, maps, moved, scene

from hdm_widgets import hdm


def test_the_mean_and_spread_are_those_of_the_distances():
    # The disc of cell (0, 0) covers the cue: without it nothing is drawn, the policy for empty masks counts.
    collection = hdm.explain_many(Cue(), [scene(), scene(cue=False), scene()], **QUIET)
    lost = diagonal()
    np.testing.assert_allclose(collection[0].values, maps(lost), rtol=1e-6)
    # Of the second image nothing is drawn with any disc.
    np.testing.assert_allclose(collection[1].values, np.full((3, 3), lost), rtol=1e-6)
    np.testing.assert_allclose(collection.mean(), np.stack([one.values for one in collection]).mean(0), rtol=1e-6)
    np.testing.assert_allclose(collection.mean("worse"), maps(2 * lost / 3), rtol=1e-6)
    np.testing.assert_allclose(collection.mean(hdm.BETTER_ONLY), maps(0))
    np.testing.assert_allclose(collection.spread("worse"), maps(lost * np.sqrt(2) / 3), rtol=1e-6)
    assert collection.indices == (0, 1, 2)
    assert collection.complete
    assert [one.grid.shape for one in collection] == [(3, 3)] * 3
    assert collection[1:].indices == (1, 2)


def test_infinite_distances_have_an_infinite_mean_and_undefined_ones_do_not_count():
    data = [scene(), scene()]
    assert hdm.explain_many(Cue(), data, empty="inf", **QUIET).mean()[0, 0] == np.inf
    assert np.isnan(hdm.explain_many(Cue(), data, empty="nan", **QUIET).mean()[0, 0])
    region = hdm.explain_many(Cue(), data, region=(1, 1, 2, 2), **QUIET)
    assert np.count_nonzero(~np.isnan(region.mean())) == 1


def test_the_ranking_has_the_largest_changes_in_order():
    wrong = scene()[0], torch.zeros(12, 12, dtype=torch.bool)  # here the cue makes the model wrong
    wrong[1][9:11, 9:11] = True
    wrong[1][4:8, 4:8] = False
    collection = hdm.explain_many(Cue(), [wrong, scene(), scene(cue=False)], empty="diagonal", **QUIET)
    ranking = collection.ranking()
    assert ranking.index.tolist() == [1, 0, 2]
    # From row and column 4 to 9 is farther than from 7 to 10.
    baseline = np.hypot(5, 5)
    np.testing.assert_allclose(ranking["baseline"], [0, baseline, diagonal()], rtol=1e-6)
    np.testing.assert_allclose(ranking["fragility"], [diagonal(), diagonal() - baseline, 0], rtol=1e-6)
    np.testing.assert_allclose(ranking["iou"], [1, 0, 0])
    assert ranking["fill_spread"].isna().all()
    better = hdm.explain_many(Cue(), [scene(), wrong], distance="area", **QUIET).ranking("improvability")
    assert better.index.tolist() == [1, 0]
    np.testing.assert_allclose(better["improvability"], [12 - 4, 0])
    with pytest.raises(ValueError, match="by must be one of baseline, fragility"):
        collection.ranking("size")


def test_several_fills_have_a_spread():
    # A disc of ones keeps the cue lit, one of zeros does not.
    collection = hdm.explain_many(Cue(), [scene(), scene(cue=False)], fills=(0.0, 1.0), **QUIET)
    assert collection.fills == ("0", "1")
    np.testing.assert_allclose(collection[0].values, maps(diagonal()), rtol=1e-6)
    np.testing.assert_allclose(collection.with_fill(0, "1").values, maps(0))
    # In the second image, only a disc of ones on the cue has anything drawn.
    np.testing.assert_allclose(collection.ranking()["fill_spread"], [diagonal() / 9] * 2, rtol=1e-6)
    with pytest.raises(ValueError, match="there is no fill 'mean'; the fills are 0, 1"):
        collection.with_fill(0, "mean")


def test_alignment_undoes_a_known_shift():
    # Shifts by whole offsets, so that the discs lie on the segments alike.
    data = [moved(0, 0), moved(4, 8), moved(8, 4)]
    collection = hdm.explain_many(identity, data, distance="area", shape="square", **QUIET)
    aligned = collection.aligned()
    # Rows 5.5, 9.5 and 13.5 are rounded up; columns likewise.
    assert aligned.origin == (14, 14)
    assert aligned.mean.shape == (14 + 13 + 1, 14 + 17 + 1)
    assert aligned.count[14, 14] == 3
    assert aligned.count[0, 0] == 0
    assert np.isnan(aligned.mean[0, 0])
    assert aligned.size == 4
    # Around the centroid all three have the same map.
    around = aligned.mean[10:19, 10:19]
    np.testing.assert_allclose(around, collection[0].painted_values(order="mean")[2:11, 2:11])
    np.testing.assert_allclose(aligned.spread[10:19, 10:19], 0, atol=1e-12)
    assert around.min() == -16
    np.testing.assert_array_equal(np.asarray(aligned), aligned.mean)


def test_scaled_alignment_resizes_to_the_median_segment():
    small, large = moved(0, 0), torch.zeros(1, 40, 48)
    large[0, 8:16, 8:16] = 1
    data = [small, (large, large[0] > 0), moved(0, 0)]
    collection = hdm.explain_many(identity, data, distance="dice", shape="square", **QUIET)
    with pytest.raises(ValueError, match="image 0 has 20 x 24 px and image 1 40 x 48 px"):
        collection.mean()
    aligned = collection.aligned(scaled=True)
    assert aligned.size == 4
    assert aligned.origin == (6, 6)
    # The second image at half its size: its pixels (12 + 2 r, 12 + 2 c).
    once = np.stack([one.painted_values(order="mean") for one in (collection[0], collection[2])]).mean(0)
    second = collection[1].painted_values(order="mean")
    np.testing.assert_allclose(aligned.mean[6, 6], (2 * once[6, 6] + second[12, 12]) / 3)
    np.testing.assert_allclose(aligned.mean[2, 4], (2 * once[2, 4] + second[4, 8]) / 3)
    assert aligned.count.max() == 3


def test_empty_segments_are_left_out_of_the_alignment():
    nothing = torch.zeros(1, 20, 24), torch.zeros(20, 24, dtype=torch.bool)
    collection = hdm.explain_many(identity, [nothing, moved(0, 0)], **QUIET)
    assert collection.aligned().left_out == (0,)
    assert collection.aligned().indices == (1,)
    assert "1 with an empty segment left out" in repr(collection.aligned())
    with pytest.raises(ValueError, match="the segments of all images are empty"):
        hdm.explain_many(identity, [nothing], **QUIET).aligned()


def test_an_image_that_fails_is_reported_and_the_rest_is_kept():
    bright = torch.full((1, 12, 12), 9.0), scene()[1]
    data = [scene(), bright, (torch.zeros(1, 12, 12), None), scene()]
    collection = hdm.explain_many(Cue(), data, fill=0.0, **QUIET)
    assert collection.indices == (0, 3)
    assert not collection.complete
    assert sorted(collection.errors) == [1, 2]
    assert "too bright" in collection.errors[1]
    assert "item 2: its mask is missing" in collection.errors[2]
    assert "2 images of 4 that were asked for" in repr(collection)
    assert "failed: item 1 (" in repr(collection)
    with pytest.raises(KeyError, match=r"there is no result of item 1: .*too bright"):
        collection.of_item(1)
    with pytest.raises(ValueError, match=r"all 1 images failed; item 1: .*too bright"):
        hdm.explain_many(Cue(), data, [1], fill=0.0, **QUIET)


def test_without_masks_the_prediction_takes_the_place_of_the_truth():
    collection = hdm.explain_many(Cue(), [{"image": scene()[0]}], of_prediction=True, **QUIET)
    assert collection[0].settings.of_prediction
    np.testing.assert_allclose(collection.mean(), maps(diagonal()), rtol=1e-6)
    assert collection.aligned().origin == (6, 6)


def test_progress_tells_how_far_it_is_and_may_end_it():
    updates = []
    hdm.explain_many(Cue(), [scene(), scene(cue=False)], **(QUIET | {"progress": updates.append}))
    assert [one.done for one in updates] == sorted(one.done for one in updates)
    assert (updates[0].done, updates[0].total, updates[0].index, updates[0].seconds_left) == (0, 2, 0, float("inf"))
    assert (updates[-1].done, updates[-1].index, updates[-1].seconds_left) == (2, None, 0)
    assert len(updates[-1].collection) == 2
    assert {len(one.collection) for one in updates if one.index == 1} == {1}

    def stop(update):
        if update.index == 1:
            raise LookupError("enough")

    with pytest.raises(LookupError, match="enough"):
        hdm.explain_many(Cue(), [scene(), scene()], **(QUIET | {"progress": stop}))


def test_an_interrupt_keeps_what_is_finished():
    collection = hdm.explain_many(Cue(), [scene(), scene(), scene()], **(QUIET | {"progress": interrupted_at(2)}))
    assert collection.indices == (0, 1)
    assert repr(collection).startswith("HDMCollection(2 images of 3 that were asked for, circle 3, offset 4; most frag")


def test_an_empty_truth_in_front_hides_no_warning():
    nothing, truth = torch.zeros(12, 12, dtype=torch.bool), scene()[1]
    bright = scene()[0] * 2
    data = [(bright, nothing), (bright, truth), (bright, truth)]
    # What the first image with a truth shows, with any of the fills.
    with pytest.warns(UserWarning, match="the image has values up to 2") as caught:
        hdm.explain_many(Cue(), data, fills=(0.0, "minimum"), **QUIET)
    assert len(caught) == 1
    runs = itertools.count()

    def alternating(images):
        return images[:, 0] * (0.4 + 0.6 * (next(runs) % 2))

    with pytest.warns(UserWarning, match="two runs of the model on one image differ") as caught:
        hdm.explain_many(alternating, [(scene()[0], nothing), scene()], batch_size=1, **QUIET)
    assert len(caught) == 1


def test_the_text_has_the_discs_of_all_sizes():
    found = hdm.explain_many(identity, [moved(0, 0, 20, 24), moved(0, 0, 60, 64)], progress=False)
    assert str(found).startswith("2 images, circle 2 to 6, offset 1 to 2; ")


@pytest.mark.parametrize(
    ("given", "error", "match"),
    [
        ({"indices": []}, ValueError, "indices are empty"),
        ({"indices": [2]}, ValueError, "indices must be 0 to 1, as the data set has 2 items, got 2"),
        ({"indices": ["a"]}, TypeError, "indices must be whole numbers, got 'a'"),
        ({"fills": (0, 0.0)}, ValueError, "none twice"),
        ({"fills": ("mean",), "fill": "blur"}, TypeError, "takes fill= or fills=, not both"),
        ({"circle_size": 0}, ValueError, "circle_size must be at least 1 px"),
        ({"distanze": "dice"}, TypeError, "did you mean 'distance'"),
        ({"dataset": 3}, TypeError, "the data set must have a length and items"),
    ],
)
def test_bad_input_is_refused_before_the_model_runs(given, error, match):
    model = Cue()
    with pytest.raises(error, match=match):
        hdm.explain_many(**({"model": model, "dataset": [scene(), scene()], **QUIET} | given))
    assert model.runs == 0


def test_it_is_drawn_in_both_frames():
    from matplotlib.figure import Figure

    draw = functools.partial(hdm.explain_many(Cue(), [scene(), scene()], **QUIET).plot, figure=Figure())
    titles = [ax.get_title() for ax in draw()]
    assert titles == ["Raw distances: mean of 2", "Better: mean of 2", "Worse: mean of 2"]
    # A map of one value has no color bar: its axis names the value.
    labels = [ax.get_xlabel().split("\n")[1:] for ax in draw()]
    assert labels == [[], ["Hausdorff distance (px): 0 everywhere"], []]
    assert [ax.get_xlabel() for ax in draw(aligned=True)][1:] == [
        "columns from the centroid (px)\nHausdorff distance (px): 0 everywhere",
        "columns from the centroid (px)",
        "columns from the centroid (px)",
    ]
    mixed = hdm.explain_many(identity, [moved(0, 0), moved(0, 0, 24, 24)], **QUIET)
    titles = [ax.get_title() for ax in mixed.plot("worse", figure=Figure())]
    assert titles == ["Worse: mean of 2", "How many images count"]
    with pytest.raises(ValueError, match="scaled=True needs the frame of the segments"):
        draw(aligned=False, scaled=True)
