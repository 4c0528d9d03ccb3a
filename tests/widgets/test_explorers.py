"""What both explorers have in common."""

import copy
import csv
import io
import json

import numpy as np
import pytest
import traitlets
from on_screen import LatentScreen, OnScreen

import hdm_widgets as hw
from hdm_widgets import hdm

SECONDS = 60
IMAGE = np.full((1, 24, 32), 0.2, np.float32)
IMAGE[:, 6:16, 8:20] = 0.8
SEGMENT = IMAGE[0] > 0.5


def first(images):
    return images[:, 0]


@pytest.fixture
def explain():
    """HDM explorers that are closed after the test."""
    made = []

    def explorer_of(**options):
        made.append(hw.HDMExplorer(first, IMAGE, SEGMENT, **options))
        return made[-1]

    yield explorer_of
    for explorer in made:
        explorer.close()


@pytest.fixture(params=["hdm", "latent"])
def explorer(request):
    """One of each."""
    if request.param == "hdm":
        return request.getfixturevalue("explain")(circle_size=6, offset=4)
    return request.getfixturevalue("explore")(request.getfixturevalue("space"))


# -- traits -------------------------------------------------------------------------------------------


def test_a_value_that_a_trait_cannot_have_is_both_kinds_of_error(explorer):
    name, value = ("circle_size", 0) if isinstance(explorer, hw.HDMExplorer) else ("mode", "xor")
    before = getattr(explorer, name)
    for kind in (traitlets.TraitError, ValueError):
        with pytest.raises(kind, match=f"{name} must be"):
            setattr(explorer, name, value)
    assert getattr(explorer, name) == before


def test_a_misspelt_trait_is_refused_with_advice(explorer):
    name, near = ("opactiy", "opacity") if isinstance(explorer, hw.HDMExplorer) else ("backround", "background")
    kind = type(explorer).__name__
    with pytest.raises(AttributeError, match=f"{kind} has no '{name}' to set; did you mean '{near}'"):
        setattr(explorer, name, 0.3)
    assert not hasattr(explorer, name)
    with pytest.raises(AttributeError, match=f"{kind} has no 'qqqq' to set$"):
        explorer.qqqq = 1


def test_a_closed_explorer_says_what_to_do(explorer):
    explorer.close()
    explorer.close()  # closing twice is no error
    kind = type(explorer).__name__
    with pytest.raises(RuntimeError, match=f"this explorer is closed; make a new {kind} to go on"):
        explorer.wait()


def test_ring_is_the_former_name_of_highlighted(explore, space):
    explorer = explore(space)
    with pytest.warns(DeprecationWarning, match="ring is called highlighted now") as caught:
        explorer.ring = 4
    assert caught[0].filename == __file__
    assert explorer.highlighted == 4
    with pytest.warns(DeprecationWarning, match="ring is called highlighted now") as caught:
        assert explorer.ring == 4
    assert caught[0].filename == __file__
    with (
        pytest.warns(DeprecationWarning, match="ring is called"),
        pytest.raises(ValueError, match="highlighted must be None or 0 to 23"),
    ):
        explorer.ring = 24


# -- an explorer holds a snapshot ---------------------------------------------------------------------


def test_fitting_a_space_again_does_not_change_its_explorer(explore, map_of, make_places):
    space = map_of(make_places(24))
    space.cluster(3)
    explorer = explore(space, color_by="number")
    screen = LatentScreen(explorer)
    rows, legend = screen.table["rows"], screen.legend["legend"]
    embedding, iou = space.embedding_.copy(), space.iou_.copy()

    space.fit(make_places(9), progress=False)
    explorer.select([20, 23])
    explorer.color_by = "place"
    explorer.color_by = "number"

    assert len(space) == 9
    assert (screen.table["rows"], screen.legend["legend"]) == (rows, legend)
    assert explorer.selection["number"].tolist() == [20, 23]
    np.testing.assert_array_equal(explorer.space.embedding_, embedding)
    np.testing.assert_array_equal(explorer.selection["iou"], iou[[20, 23]])
    assert len(screen.gallery.ask("images", items=[23])[1]) == 3
    assert screen.table.ask("choose", label=0) == ({"error": None}, [])
    explorer.cluster(5)
    assert explorer.wait(SECONDS)
    assert (explorer.error, sum(row["size"] for row in screen.table["rows"])) == ("", 24)


def test_clusters_of_a_space_and_of_its_explorer_are_apart(explore, space):
    explorer = explore(space, color_by="cluster")
    screen = LatentScreen(explorer)
    colors = screen.points.colors
    space.cluster(5)
    explorer.color_by = "iou"
    explorer.color_by = "cluster"
    assert screen.points.colors == colors
    assert len(explorer.space.clusters_) == 3
    explorer.cluster(2)
    assert explorer.wait(SECONDS)
    assert (len(explorer.space.clusters_), len(space.clusters_)) == (2, 5)
    # What the explorer hands out is a snapshot too.
    explorer.space.cluster(4)
    assert len(explorer.space.clusters_) == 2


def test_an_explorer_writes_nothing_into_the_space(explore, bare_space):
    before = dict(vars(bare_space))
    explorer = explore(bare_space, color_by="cluster")
    assert explorer.wait(SECONDS)
    explorer.select([1, 2])
    explorer.cluster(2)
    assert explorer.wait(SECONDS)
    assert vars(bare_space) == before
    assert not hasattr(bare_space, "clusters_")


class Weighted(hdm.HausdorffDistanceMasks):
    """Another distance, with a setting of its own."""

    weight = 1.0

    def calculate_distance(self, output, segment):
        return self.weight * float(np.abs(output - segment).sum())


def own(circle_size=7, offset=6, normalize=True):
    explainer = Weighted(32, 24)
    explainer.generate_masks(circle_size, offset, normalize)
    return explainer


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, (7, 6, True)),
        ({"circle_size": 5}, (5, 6, True)),
        ({"offset": 3}, (7, 3, True)),
        ({"normalize": False}, (7, 6, False)),
        ({"circle_size": 5, "offset": 3, "normalize": False}, (5, 3, False)),
    ],
    ids=["nothing", "size", "offset", "normalize", "all"],
)
@pytest.mark.filterwarnings("ignore:.*outside")
def test_settings_of_ones_own_explainer_are_the_default(explain, given, expected):
    explorer = explain(explainer=own(), **given)
    assert explorer.wait(SECONDS)
    grid, settings = explorer.result.grid, explorer.result.settings
    assert (grid.circle_size, grid.offset, settings.normalize) == expected
    assert (explorer.circle_size, explorer.offset) == expected[:2]


def test_an_explainer_without_a_grid_leaves_the_usual_one(explain):
    explorer = explain(explainer=Weighted(32, 24))
    assert explorer.wait(SECONDS)
    assert (explorer.circle_size, explorer.offset, explorer.result.settings.normalize) == (2, 1, False)


def test_ones_own_explainer_and_its_explorer_are_apart(explain):
    explainer = own(normalize=False)
    before = {name: copy.copy(value) for name, value in vars(explainer).items()}
    explorer = explain(explainer=explainer)
    assert explorer.wait(SECONDS)
    values = explorer.result.values
    explorer.circle_size = 5
    assert explorer.wait(SECONDS)
    assert (explainer.grid.circle_size, explainer.grid.offset, explainer.normalize) == (7, 6, False)
    assert explainer.result is None
    assert vars(explainer).keys() == before.keys()

    explainer.weight = 100.0
    explainer.generate_masks(3, 12, normalize=True)
    explorer.circle_size = 7
    assert explorer.wait(SECONDS)
    np.testing.assert_array_equal(explorer.result.values, values)


def test_the_arrays_of_the_user_are_left_alone(explain):
    image, segment = IMAGE.copy(), SEGMENT.copy()
    explorer = hw.HDMExplorer(lambda images: images[:, 0].clamp_(0.1, 0.9), image, segment, 6, 4)
    try:
        assert explorer.wait(SECONDS)
        explorer.result.image[:] = 0  # nor does a result that was handed out reach the next scan
        explorer.circle_size = 7
        assert explorer.wait(SECONDS)
        assert explorer.result.image.max() == np.float32(0.8)
    finally:
        explorer.close()
    np.testing.assert_array_equal(image, IMAGE)
    np.testing.assert_array_equal(segment, SEGMENT)


# -- export -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sign", ["=", "+", "-", "@", "\t"])
def test_no_text_of_an_exported_table_is_a_formula(explore, map_of, make_places, sign):
    texts = [f"{sign}1+1", "plain", f"a{sign}b", sign, "", "x", "y", "z", "w"]
    space = map_of(make_places(9, columns={"note": texts, f"{sign}SUM": list(range(9))}))
    space.cluster(2)
    explorer = explore(space)
    explorer.select(range(9))
    _, (file,) = LatentScreen(explorer).toolbar.ask("export")
    head, *rows = csv.reader(io.StringIO(file.decode(), newline=""))
    assert f"'{sign}SUM" in head
    column = head.index("note")
    assert [row[column] for row in rows] == [f"'{sign}1+1", "plain", f"a{sign}b", f"'{sign}", *texts[4:]]
    # Numbers stay numbers, negative ones too.
    numbers = [float(row[head.index("pc1")]) for row in rows]
    assert min(numbers) < 0
    np.testing.assert_allclose(numbers, space.embedding_[:, 0])


def test_what_an_explorer_sends_is_in_one_form(explorer):
    # Every message is something that JSON has, beside bytes.
    def plain(value):
        if isinstance(value, dict):
            return {name: plain(entry) for name, entry in value.items()}
        if isinstance(value, list):
            return [plain(entry) for entry in value]
        return None if isinstance(value, (bytes, memoryview)) else value

    explorer.wait(SECONDS)
    if isinstance(explorer, hw.LatentExplorer):
        explorer.select([5, 11])  # without an IoU
        screen = LatentScreen(explorer)
        parts = [screen.toolbar, screen.legend, screen.gallery, screen.table]
    else:
        parts = [OnScreen(explorer)]
    for part in parts:
        for name in part.widget.keys:
            state = part.widget.get_state(name)[name]
            json.dumps(plain(state), allow_nan=False)
            assert not [key for key in state if "_" in key[1:]] if isinstance(state, dict) else True, name
