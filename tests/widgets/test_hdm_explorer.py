import gc
import io
import threading
import weakref

import ipywidgets
import numpy as np
import pytest
import torch
import traitlets
from gate import BEFORE, SECONDS, Gate, first, gone, workers
from on_screen import OnScreen, unpacked
from PIL import Image
from torch import nn

import hdm_widgets as hw
from hdm_widgets import hdm
from hdm_widgets.hdm.plotting import canny

IMAGE = np.full((2, 24, 32), 0.2, np.float32)
IMAGE[:, 6:16, 8:20] = 0.8
SEGMENT = (IMAGE[0] > 0.5).astype(np.uint8)


def png_of(message):
    return np.asarray(Image.open(io.BytesIO(message)))


@pytest.fixture
def make(explore_hdm):
    """Explorers of one image."""

    def maker(model=first, image=IMAGE, segment=SEGMENT, **options):
        return explore_hdm(model, image, segment, **{"circle_size": 6, "offset": 4, **options})

    return maker


def expected(circle_size=6, offset=4, **options):
    explainer = hdm.HausdorffDistanceMasks(32, 24)
    explainer.generate_masks(circle_size, offset)
    return explainer.explain(first, IMAGE, SEGMENT, progress=False, **options)


def explored(explorer):
    assert explorer.wait(SECONDS)
    return explorer


# -- a scan from start to end -------------------------------------------------------------------------


def test_scans_on_its_own_and_can_be_waited_for(make):
    explorer = make()
    assert explorer.wait(SECONDS) is True
    assert (explorer.status, explorer.progress, explorer.error) == ("done", 1.0, "")
    assert explorer.exception is None
    whole = expected()
    np.testing.assert_array_equal(explorer.result.values, whole.values)
    assert explorer.result.complete
    # What the browser paints from.
    np.testing.assert_array_equal(OnScreen(explorer)["_map"]["values"], whole.values)
    assert OnScreen(explorer)["_map"]["baseline"] == whole.baseline
    assert (OnScreen(explorer)["_map"]["circleSize"], OnScreen(explorer)["_map"]["offset"]) == (6, 4)
    assert (OnScreen(explorer)["_map"]["done"], OnScreen(explorer)["_map"]["total"]) == (48, 48)
    truth = unpacked(OnScreen(explorer)["_truth"], 24, 32)
    np.testing.assert_array_equal(truth, SEGMENT)
    prediction = unpacked(OnScreen(explorer)["_prediction"], 24, 32)
    np.testing.assert_array_equal(prediction, whole.baseline_mask)
    image = np.array(Image.open(io.BytesIO(OnScreen(explorer)["_image"])))
    np.testing.assert_array_equal(image, np.repeat(np.round(IMAGE[0] * 255)[..., None], 3, 2))


def test_a_segmenter_with_windows(make):
    explorer = explored(make(hw.Segmenter(first, window=(16, 20), overlap=0.5, blending="gaussian")))
    np.testing.assert_array_equal(explorer.result.values, expected().values)
    assert explorer.result.plan.sliding == (16, 20)
    assert "windows of 16 x 20 px" in explorer.result.reading.short
    # Another size of discs, with the same segmenter.
    explorer.circle_size = 8
    np.testing.assert_array_equal(explored(explorer).result.values, expected(8).values)


def test_sizes_by_default_suit_the_image():
    image = np.zeros((90, 120), np.float32)
    image[20:40, 20:40] = 1
    explorer = hw.HDMExplorer(first, image, image)
    assert (explorer.circle_size, explorer.offset) == (9, 3)
    explorer.close()
    assert gone()


@pytest.mark.parametrize(
    "options",
    [{"distance": "rows"}, {"fill": 0.5}, {"fill": "mean"}, {"channel": 0}, {"threshold": 0.1}, {"batch_size": 5}],
)
def test_options_of_a_scan_are_passed_on(make, options):
    explorer = make(**options)
    assert explorer.wait(SECONDS)
    np.testing.assert_array_equal(explorer.result.values, expected(**options).values)


def test_an_explainer_of_ones_own(make):
    class Own(hdm.HausdorffDistanceMasks):
        def calculate_distance(self, output, segment):
            return float(np.abs(output - segment).sum())

    explorer = make(explainer=Own(32, 24))
    assert explorer.wait(SECONDS)
    assert explorer.result.settings.distance == "custom"
    assert explorer.result.values[0, 0] == pytest.approx(
        np.abs(explorer.result.occluded(0, 0)[0] - SEGMENT).sum(), rel=1e-5
    )
    assert OnScreen(explorer)["_about"]["unit"] == ""


def test_an_empty_segment_warns_once_and_is_explored(make):
    with pytest.warns(UserWarning, match="the segment is empty") as caught:
        explorer = explored(make(segment=SEGMENT * 0))
    assert (explorer.status, explorer.error) == ("done", "")
    assert len(caught) == 1
    assert explorer.result.values.max() == 40  # the diagonal of 24 x 32
    assert OnScreen(explorer)["_about"]["truthEmpty"] is True


def test_the_caller_may_go_on_with_the_arrays(make):
    image, segment, model = IMAGE.copy(), SEGMENT.copy(), Gate()
    explorer = make(model, image, segment, batch_size=10)
    model.begin()
    image[:], segment[:] = 0, 1
    model.free()
    assert explorer.wait(SECONDS)
    np.testing.assert_array_equal(explorer.result.segment, SEGMENT != 0)
    np.testing.assert_array_equal(explorer.result.values, expected().values)


# -- while it runs ------------------------------------------------------------------------------------


def test_the_map_comes_in_parts(make):
    model = Gate()
    explorer = make(model, batch_size=12)
    model.begin()
    assert explorer.status == "running"
    assert explorer.result is None
    assert not explorer.wait(0)
    model.let(BEFORE)  # the image without a disc, then the first batch is in the model
    assert explorer.result.baseline == 0
    assert explorer.progress == 0
    assert np.isnan(OnScreen(explorer)["_map"]["values"]).all()
    model.free()
    assert explorer.wait(SECONDS)
    assert explorer.progress == 1


def test_cancel_stops_within_a_batch(make):
    model = Gate()
    explorer = make(model, batch_size=12)
    model.begin()
    model.let(BEFORE + 1)  # the first batch is through, the second in the model
    explorer.cancel()
    assert explorer.status == "cancelled"
    model.free()
    assert explorer.wait(SECONDS)
    assert model.calls == BEFORE + 2
    assert explorer.status == "cancelled"
    assert explorer.error == ""
    # What was published before stays; nothing comes after.
    assert not explorer.result.complete
    assert explorer.progress < 1


def test_cancel_when_nothing_runs_changes_nothing(make):
    explorer = make()
    explorer.wait(SECONDS)
    explorer.cancel()
    assert explorer.status == "done"


def test_run_starts_again_after_a_cancel(make):
    model = Gate()
    explorer = make(model, batch_size=12)
    model.begin()
    explorer.cancel()
    model.free()
    explorer.wait(SECONDS)
    explorer.run()
    assert explorer.wait(SECONDS)
    assert explorer.status == "done"
    np.testing.assert_array_equal(explorer.result.values, expected().values)


@pytest.mark.parametrize(("name", "value"), [("circle_size", 9), ("offset", 8), ("channel", 1), ("channel", [0, 1])])
def test_a_changed_trait_stops_the_scan_and_starts_anew(make, name, value):
    model = Gate()
    explorer = make(model, batch_size=12)
    model.begin()
    model.let(1)
    setattr(explorer, name, value)
    assert explorer.status == "running"
    assert getattr(explorer, name) == value  # the kernel is free while the scan runs
    model.free()
    assert explorer.wait(SECONDS)
    assert explorer.status == "done"
    given = {"circle_size": explorer.circle_size, "offset": explorer.offset}
    np.testing.assert_array_equal(explorer.result.values, expected(**given, channel=explorer.channel).values)
    assert explorer.result.grid.circle_size == OnScreen(explorer)["_map"]["circleSize"] == given["circle_size"]
    # Of the first scan, no more than the batch in the model was run: 48 cells in all would have been 4 batches.
    cells = explorer.result.values.size
    # One more run checks what is remembered of the first scan.
    assert model.calls <= 2 + 1 + BEFORE + -(-cells // 12)


def test_many_changes_in_a_row_end_with_the_last(make):
    explorer = make()
    for offset in (2, 3, 5, 6, 7, 8):
        explorer.offset = offset
    assert explorer.wait(SECONDS)
    assert explorer.status == "done"
    np.testing.assert_array_equal(explorer.result.values, expected(offset=8).values)


def test_looks_do_not_run_the_model(make):
    model = Gate()
    model.free()
    explorer = make(model)
    explorer.wait(SECONDS)
    calls = model.calls
    explorer.result_type, explorer.color_map, explorer.opacity = "worse", "plasma", 0.3
    explorer.layers, explorer.cell = ["truth", "picture"], (1, 1)
    assert explorer.wait(SECONDS)
    assert model.calls == calls
    assert explorer.layers == ["picture", "truth"]  # in the order they are drawn
    assert len(OnScreen(explorer)["_color_tables"]["plasma"]) == 768


@pytest.mark.parametrize(
    ("given", "trait"), [([1, 0], [0, 1]), ((0, 1), [0, 1]), ([1], 1), (-1, -1), (range(2), [0, 1])], ids=str
)
def test_channels_from_both_sides(make, given, trait):
    explorer = make(channel=given)
    screen = OnScreen(explorer)
    assert explorer.wait(SECONDS)
    assert explorer.channel == screen["channel"] == screen["_map"]["channel"] == trait
    screen.set(channel=0)
    screen.set(channel=[1, 0])
    assert explorer.wait(SECONDS)
    assert explorer.channel == screen["_scanned"]["channel"] == [0, 1]
    assert explorer.result.settings.channel == (0, 1)


SIX = np.stack([np.roll(IMAGE[0], 4 * band, axis=1) for band in range(6)]) * 9000


@pytest.mark.parametrize(("display", "shown"), [((3, 2, 1), [3, 2, 1]), (4, [4, 4, 4]), (None, None)])
@pytest.mark.filterwarnings("ignore:the image has values up to")
def test_the_stage_the_edges_and_the_inspector_show_the_same_bands(make, display, shown):
    explorer = make(image=SIX, display=display, fill=0)
    assert explorer.wait(SECONDS)
    planes = SIX.mean(0, keepdims=True).repeat(3, 0) if shown is None else SIX[shown]
    # All bands have two values only: black and white.
    expected = np.where(planes > planes.min(), planes - planes.min(), 0) / np.ptp(planes) * 255
    stage = png_of(explorer._image)
    if shown is not None:
        np.testing.assert_array_equal(stage, expected.transpose(1, 2, 0))
    np.testing.assert_array_equal(unpacked(explorer._edges, 24, 32), canny(stage.mean(axis=2)))
    assert explorer._ground == round(np.median(stage.mean(axis=2)))
    explorer.cell = (3, 3)
    disc = explorer.result.grid.mask(3, 3)
    seen = png_of(explorer._inspector["image"])
    np.testing.assert_array_equal(seen[~disc], stage[~disc])
    assert not seen[disc].any()


def test_bands_that_the_image_does_not_have_cannot_be_shown():
    with pytest.raises(ValueError, match="display must have channels 0 to 1 for this image, got 2"):
        hw.HDMExplorer(first, IMAGE, SEGMENT, display=2)
    assert gone()


# -- errors of the model ------------------------------------------------------------------------------


def test_a_failing_model_is_shown(make):
    explorer = make(lambda images: {"masks": images})
    assert explorer.wait(SECONDS)
    assert explorer.status == "error"
    assert "on the image without a disc" in explorer.error
    assert "mapping without 'out' or 'logits'" in explorer.error
    assert isinstance(explorer.exception, hdm.ModelOutputError)
    assert explorer.result is None


def test_a_failure_at_one_cell_keeps_what_was_measured(make):
    disc = torch.from_numpy(hdm.Grid(24, 32, 4, 4).mask(2, 3))

    def model(images):
        if (images[:, 0][:, disc] == 0).all(1).any():
            raise ZeroDivisionError("lost")
        return images[:, 0]

    explorer = make(model, circle_size=4, batch_size=6)
    assert explorer.wait(SECONDS)
    assert explorer.status == "error"
    assert "at cell (row 2, column 3)" in explorer.error
    assert "ZeroDivisionError: lost" in explorer.error
    assert explorer.exception.result.measured.sum() == 2 * 8 + 3
    # Other settings serve: the error goes away with the next scan.
    explorer.channel = 1
    assert explorer.wait(SECONDS)
    assert (explorer.status, explorer.error, explorer.exception) == ("done", "", None)


# -- traits -------------------------------------------------------------------------------------------

BAD_TRAITS = [
    ("circle_size", 0, "circle_size must be at least 1"),
    ("circle_size", 25, "circle_size must not be larger than the image"),
    ("offset", 25, "offset must not be larger than the image"),
    ("channel", 2, r"channel must be -1 \(all\) or 0 to 1"),
    ("channel", [0, 2], "channel must be 0 to 1 for this image, got 2"),
    ("channel", [], "at least one channel, and none twice"),
    ("channel", [1, 1], "at least one channel, and none twice"),
    ("result_type", "best", "unknown result type 'best'"),
    ("color_map", "Blue", "unknown color map 'Blue'"),
    ("layers", ["map", "clouds"], "unknown layer 'clouds'; known are picture"),
    ("cell", (6, 0), r"cell \(6, 0\) is outside the grid of 6 x 8 cells"),
    ("opacity", 1.5, "1.5"),
]


@pytest.mark.parametrize(("name", "value", "message"), BAD_TRAITS)
def test_bad_values_are_refused_and_change_nothing(make, name, value, message):
    explorer = make()
    explorer.wait(SECONDS)
    before = getattr(explorer, name)
    with pytest.raises((ValueError, traitlets.TraitError), match=message):
        setattr(explorer, name, value)
    assert getattr(explorer, name) == before
    assert explorer.status == "done"


@pytest.mark.parametrize(("name", "value", "message"), BAD_TRAITS)
def test_bad_values_from_the_screen_are_refused_too(make, name, value, message):
    # Messages of the browser arrive through set_state, which checks all traits at its end.
    explorer = make()
    explorer.wait(SECONDS)
    before = getattr(explorer, name)
    with pytest.raises((ValueError, traitlets.TraitError), match=message):
        explorer.set_state({name: list(value) if isinstance(value, tuple) else value})
    assert getattr(explorer, name) == before
    assert explorer.status == "done"


def test_values_from_the_screen_start_a_scan(make):
    explorer = make()
    explorer.wait(SECONDS)
    explorer.set_state({"circle_size": 9, "offset": 6})
    assert explorer.wait(SECONDS)
    np.testing.assert_array_equal(explorer.result.values, expected(9, 6).values)


@pytest.mark.parametrize("result_type", [hdm.WORSE_ONLY, "worse"])
def test_result_types_by_member_or_name(make, result_type):
    explorer = make(result_type=result_type)
    assert explorer.result_type == "worse"
    explorer.result_type = hdm.BETTER_ONLY
    assert explorer.result_type == "better"


# -- the pinned cell ----------------------------------------------------------------------------------


def test_a_pinned_cell_opens_the_inspector(make):
    explorer = make()
    explorer.wait(SECONDS)
    whole = expected()
    row, col = (int(i) for i in np.argwhere(whole.values == whole.values.max())[0])
    explorer.cell = (row, col)
    shown = OnScreen(explorer)["_inspector"]
    assert shown["cell"] == [row, col]
    assert shown["pending"] is False
    assert shown["distance"] == whole.values.max() > 0
    assert shown["baseline"] == whole.baseline
    assert (shown["rank"], shown["of"]) == (1, 48)
    prediction = shown["prediction"]
    assert prediction["iou"] == whole.iou(row, col)
    pair = whole.pair(row, col)
    assert prediction["pair"] == [list(pair.from_pixel), list(pair.to_pixel)]
    assert prediction["from"] == pair.from_mask
    mask = unpacked(prediction["mask"], 24, 32)
    np.testing.assert_array_equal(mask, whole.output(row, col))
    image = np.array(Image.open(io.BytesIO(shown["image"])))
    np.testing.assert_array_equal(image[..., 0], np.round(whole.occluded(row, col)[0] * 255))
    explorer.cell = None
    assert OnScreen(explorer)["_inspector"] == {}


def test_a_cell_pinned_before_it_is_measured_is_filled_in(make):
    model = Gate()
    explorer = make(model, batch_size=12)
    model.begin()
    explorer.cell = (5, 7)
    assert OnScreen(explorer)["_inspector"] == {"cell": [5, 7], "pending": True}
    model.free()
    explorer.wait(SECONDS)
    assert OnScreen(explorer)["_inspector"]["pending"] is False
    assert OnScreen(explorer)["_inspector"]["distance"] == expected().values[5, 7]


def failing_after(runs):
    """A model that raises once it has run so often."""
    calls = 0

    def model(images):
        nonlocal calls
        calls += 1
        if calls > runs:
            raise ValueError("enough")
        return images[:, 0]

    return model


def test_the_rank_of_a_pinned_cell_is_among_all_that_were_measured_however_the_scan_ends(make):
    explorer = make(failing_after(20), batch_size=1)
    explorer.cell = (0, 0)
    assert explorer.wait(SECONDS)
    found = OnScreen(explorer)["_inspector"]
    assert found["of"] == OnScreen(explorer)["_map"]["done"] == int(explorer.result.measured.sum()) > 1

    gate = Gate()
    explorer = make(gate, batch_size=4)
    gate.begin()
    explorer.cell = (0, 0)
    gate.let(BEFORE + 3)
    explorer.cancel()
    assert OnScreen(explorer)["_inspector"]["of"] == OnScreen(explorer)["_map"]["done"] > 4


def test_a_cell_can_be_pinned_where_no_masks_are_kept(make):
    explorer = make(keep_outputs=False)
    explorer.cell = (2, 3)
    assert explorer.wait(SECONDS)
    assert (explorer.status, explorer.error) == ("done", "")
    found = OnScreen(explorer)["_inspector"]
    assert (found["pending"], found["prediction"]) == (False, None)
    assert found["distance"] == expected().values[2, 3]


def test_the_pin_stays_at_its_place_when_the_offset_changes(make):
    explorer = make()
    explorer.wait(SECONDS)
    explorer.cell = (2, 4)  # at pixel (8, 16)
    explorer.offset = 8
    assert explorer.cell == (1, 2)
    explorer.wait(SECONDS)
    assert OnScreen(explorer)["_inspector"]["cell"] == [1, 2]
    assert OnScreen(explorer)["_inspector"]["distance"] == expected(offset=8).values[1, 2]
    explorer.cell = (2, 3)
    explorer.offset = 5
    assert explorer.cell == (3, 5)
    explorer.offset = 24  # a grid of one cell
    assert explorer.cell == (0, 0)


# -- requests of the screen ---------------------------------------------------------------------------


def test_requests_are_answered(make):
    explorer = make()
    explorer.wait(SECONDS)
    screen = OnScreen(explorer)
    assert screen.ask("run") == ({"error": None}, [])
    assert explorer.wait(SECONDS)
    assert explorer.status == "done"
    assert screen.ask("cancel") == ({"error": None}, [])
    assert screen.ask("stop") == ({"error": "unknown request 'stop'"}, [])
    assert screen.send("nonsense") == []


def test_a_scan_that_cannot_be_started_is_told_however_it_was_asked_for(make, monkeypatch):
    explorer = make()
    explorer.wait(SECONDS)
    screen = OnScreen(explorer)
    start = threading.Thread.start

    def refuse(thread):
        if thread.name == "hdm-explorer":
            raise RuntimeError("can't start new thread")
        start(thread)

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        assert screen.ask("run")[0] == {"error": "can't start new thread"}
        assert (screen["status"], screen["error"]) == ("error", "can't start new thread")
        assert explorer.wait(0)
        screen.set(circle_size=8)
        assert (screen["status"], screen["_scanned"]["circleSize"]) == ("error", 8)
        assert isinstance(explorer.exception, RuntimeError)
    assert screen.ask("run")[0] == {"error": None}
    assert explorer.wait(SECONDS)
    assert (screen["status"], screen["error"], explorer.result.circle_size) == ("done", "", 8)


# -- the end ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "use",
    [lambda e: e.run(), lambda e: e.cancel(), lambda e: e.wait(), lambda e: e.result],
    ids=["run", "cancel", "wait", "result"],
)
def test_a_closed_explorer_says_so(make, use):
    explorer = make()
    explorer.wait(SECONDS)
    explorer.close()
    explorer.close()  # closing twice is no error
    with pytest.raises(RuntimeError, match="this explorer is closed; make a new HDMExplorer"):
        use(explorer)


def test_a_scan_may_end_while_the_explorer_closes():
    gate = Gate()

    class Slow(hw.HDMExplorer):
        def _end(self):
            gate.free()
            assert gone()  # what the scan's thread raises is an error of this test
            super()._end()

    explorer = Slow(gate, IMAGE, SEGMENT, 8, 8)
    gate.begin()
    explorer.close()
    assert repr(explorer) == "HDMExplorer(closed)"


def test_closing_stops_the_scan_and_restores_the_model():
    class Held(nn.Module):
        def __init__(self):
            super().__init__()
            self.gate = Gate()

        def forward(self, images):
            return self.gate(images)

    model = Held().train()
    explorer = hw.HDMExplorer(model, IMAGE, SEGMENT, 6, 4, batch_size=6)
    model.gate.begin()
    model.gate.let(1)
    assert not model.training
    explorer.close()
    model.gate.free()
    assert gone()
    assert model.gate.calls == 2
    assert model.training


def test_a_hundred_cycles_leave_nothing_behind(shell):
    hooks, instances = len(shell.watching), len(ipywidgets.widgets.widget._instances)
    left = []
    for number in range(100):
        shell.run("a" if number % 2 else f"cell {number}")
        model = nn.Conv2d(2, 1, 1)
        explorer = hw.HDMExplorer(model, IMAGE, SEGMENT, 8, 8)
        if number % 3 == 0:
            assert explorer.wait(SECONDS)
            left.append(weakref.ref(explorer.result))
        left += [weakref.ref(explorer), weakref.ref(model)]
        explorer.close()
        del explorer, model
    assert gone()
    assert len(shell.watching) == hooks
    assert len(ipywidgets.widgets.widget._instances) == instances
    gc.collect()
    assert [reference() for reference in left if reference() is not None] == []


def test_a_closed_explorer_that_is_kept_holds_no_data():
    model = nn.Conv2d(2, 1, 1)
    explorer = hw.HDMExplorer(model, IMAGE, SEGMENT, 8, 8)
    assert explorer.wait(SECONDS)
    left = [weakref.ref(model), weakref.ref(explorer.result)]
    explorer.close()
    del model
    assert gone()
    gc.collect()
    assert [reference() for reference in left] == [None, None]
    assert all(not explorer.get_state(name)[name] for name in ("_image", "_edges", "_truth", "_prediction"))
    assert all(not explorer.get_state(name)[name] for name in ("_map", "_inspector", "_color_tables"))


def test_an_explorer_that_fails_to_start_leaves_nothing(shell):
    hooks, before = len(shell.watching), len(ipywidgets.widgets.widget._instances)
    shell.run("a")
    with pytest.raises(traitlets.TraitError):
        hw.HDMExplorer(first, IMAGE, SEGMENT, 6, 4, opacity=2.0)
    assert len(ipywidgets.widgets.widget._instances) == before
    assert len(shell.watching) == hooks
    assert workers() == []


def test_all_that_was_measured_is_on_screen_after_a_failure(make):
    # Quicker than news goes to the screen: the last of it must not be lost.
    explorer = make(failing_after(9), batch_size=1)
    assert explorer.wait(SECONDS)
    assert explorer.status == "error"
    measured = unpacked(OnScreen(explorer)["_map"]["measured"], 6, 8)
    assert np.count_nonzero(measured) == OnScreen(explorer)["_map"]["done"] == 7
    np.testing.assert_array_equal(measured, explorer.result.measured)
    shown = OnScreen(explorer)["_map"]["values"]
    np.testing.assert_array_equal(shown[measured], explorer.result.values[measured])


def test_a_new_circle_size_hides_what_the_pinned_cell_showed(make):
    gate = Gate()
    gate.free()
    explorer = make(gate)
    assert explorer.wait(SECONDS)
    explorer.cell = (1, 1)
    assert OnScreen(explorer)["_inspector"]["pending"] is False
    while gate.open.acquire(blocking=False):
        continue
    explorer.circle_size = 8
    assert OnScreen(explorer)["_inspector"] == {"cell": [1, 1], "pending": True}
    gate.free()
    assert explorer.wait(SECONDS)
    assert OnScreen(explorer)["_inspector"]["pending"] is False


def test_a_cancel_that_overtakes_the_change_of_settings_it_is_meant_for(make):
    gate = Gate()
    explorer = make(gate)
    gate.begin()
    # As the screen sends them: it knows the new size already when Cancel is clicked.
    meant = {"circleSize": 8, "offset": 4, "channel": -1, "fill": "minimum", "shape": "disc"}
    OnScreen(explorer).ask("cancel", settings=meant)
    assert explorer.status == "cancelled"
    explorer.circle_size = 8
    assert explorer.status == "cancelled"
    gate.free()
    assert explorer.wait(SECONDS)
    assert explorer.status == "cancelled"
    # It is over with that: the next change is scanned, and so are those settings when they are chosen again.
    explorer.circle_size = 6
    assert explorer.wait(SECONDS)
    assert explorer.status == "done"
    explorer.circle_size = 8
    assert explorer.wait(SECONDS)
    assert explorer.status == "done"
    assert explorer.result.circle_size == 8


def test_two_traits_changed_together_start_one_scan(make):
    counted = Gate()
    counted.free()
    explorer = make(counted)
    assert explorer.wait(SECONDS)
    started = []
    explorer.observe(lambda change: started.append(change.new), names=["status"])
    with explorer.hold_trait_notifications():
        explorer.circle_size, explorer.offset = 7, 5
    assert explorer.wait(SECONDS)
    assert started == ["running", "done"]
    assert OnScreen(explorer)["_scanned"] == {
        "circleSize": 7,
        "offset": 5,
        "channel": -1,
        "fill": "minimum",
        "shape": "disc",
    }
    assert (explorer.result.circle_size, explorer.result.offset) == (7, 5)


def test_a_misspelt_trait_is_refused_and_the_rest_says_what_it_is(make):
    explorer = make()
    with pytest.raises(AttributeError, match="no 'circle_sise' to set"):
        explorer.circle_sise = 3
    assert explorer.wait(SECONDS)
    assert repr(explorer) == "HDMExplorer(24 rows x 32 columns, circle_size=6, offset=4, status='done')"
    explorer.close()
    assert repr(explorer) == "HDMExplorer(closed)"


def test_a_color_map_object_serves(make):
    from matplotlib.colors import ListedColormap

    own = ListedColormap(["#000000", "#ffffff"], name="two")
    explorer = make(color_map=own)
    assert explorer.color_map == "two"
    assert OnScreen(explorer)["_color_tables"]["two"][:3] == b"\x00\x00\x00"
    assert OnScreen(explorer)["_color_tables"]["two"][-3:] == b"\xff\xff\xff"


def test_an_explainer_must_be_an_instance(make):
    with pytest.raises(TypeError, match=r"an instance of hdm\.HausdorffDistanceMasks, got <class"):
        make(explainer=hdm.HausdorffDistanceMasks)
