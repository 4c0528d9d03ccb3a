import re
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas
import pytest
import threadpoolctl

import hdm_widgets as hw
from hdm_widgets.latent.clusters import compare
from hdm_widgets.latent.conditions import Condition, dates_if_any, single_conditions
from hdm_widgets.latent.failure_search import find_failures
from hdm_widgets.latent.failures import Failures

N = 300


def table(seed=0, n=N):
    """IoU, components, confidences and columns that have nothing to do with each other."""
    rng = np.random.default_rng(seed)
    columns = {
        "land_use": rng.choice(["field", "car park", "town"], n),
        "sun": rng.uniform(0, 60, n),
        "cloudy": rng.random(n) < 0.4,
        "day": np.datetime64("2024-01-01") + rng.integers(0, 300, n),
    }
    return rng.normal(0.8, 0.05, n), rng.normal(size=(n, 3)), {"mean_entropy": rng.random(n)}, columns


def planted(name, seed=0, n=N):
    """The same with a group whose IoU is 0.3 lower, which items are in it, and what the group is called."""
    iou, components, confidences, columns = table(seed, n)
    members, text = {
        "value": (columns["land_use"] == "car park", "land use = car park"),
        "flag": (columns["cloudy"], "cloudy"),
        "range": (columns["sun"] < np.quantile(columns["sun"], 1 / 6), "sun up to"),
        "dates": (columns["day"] >= np.quantile(columns["day"].astype(int), 5 / 6).astype("M8[D]"), "day from 2024-"),
        "pair": ((columns["land_use"] == "car park") & (columns["sun"] < np.median(columns["sun"])), "car park"),
    }[name]
    return (np.where(members, iou - 0.3, iou), components, confidences, columns), members, text


@pytest.mark.parametrize("name", ["value", "flag", "range", "dates", "pair"])
def test_a_planted_group_of_the_columns_is_the_first(name):
    given, members, text = planted(name)
    found = find_failures(*given)
    group = found[0]
    inside = np.isin(np.arange(N), group.indices)
    assert (inside & members).sum() / (inside | members).sum() > 0.85
    assert text in group.text
    iou = given[0]
    assert group.size == len(group) == inside.sum()
    assert group.mean_iou == pytest.approx(iou[inside].mean())
    assert group.rest_iou == pytest.approx(iou[~inside].mean())
    assert group.harm == pytest.approx(inside.sum() * (iou[~inside].mean() - iou[inside].mean()))
    assert group.low < group.mean_iou < group.high < group.rest_iou
    assert 0 < group.harm_low < group.harm < group.harm_high
    assert group.p_value < 0.05
    for condition in group.conditions:
        assert condition.holds(given[3])[group.indices].all()
    # Other groups do not tell the same again.
    for other in found[1:]:
        common = np.intersect1d(other.indices, group.indices)
        assert len(common) < 0.5 * len(np.union1d(other.indices, group.indices))


def test_a_pair_names_both_columns():
    given, _, _ = planted("pair", n=900)
    assert {condition.column for condition in find_failures(*given)[0].conditions} == {"land_use", "sun"}


@pytest.mark.parametrize("name", ["objects", "pc1", "mean_entropy"])
@pytest.mark.parametrize("values", [("car", "tree"), (7, 2), (True, False)], ids=["text", "number", "flag"])
def test_a_column_with_a_name_of_ours_is_searched_too(name, values):
    iou, components, confidences, _ = table()
    confidences["objects"] = np.arange(N) % 5
    bad = np.arange(N) % 3 == 0
    column = np.where(bad, *values)
    found = find_failures(np.where(bad, iou - 0.4, iou), components, confidences, {name: column})
    np.testing.assert_array_equal(found[0].indices, np.flatnonzero(bad))
    assert [condition.column for condition in found[0].conditions] == [f"data_{name}"]
    assert found[0].text.startswith(f"data {name.replace('_', ' ')}")


def test_kinds_of_failures_are_found_in_components_and_confidences():
    iou, components, confidences, _ = table(3, 600)
    rng = np.random.default_rng(3)
    kinds = np.repeat([0, 1, 2, 2, 2, 2, 2, 2, 2, 2], 60)
    components[kinds == 0] += (6, 0, 0)
    components[kinds == 1] += (0, 0, -6)
    confidences["mean_entropy"][kinds == 1] += 2
    iou[kinds < 2] -= 0.4
    order = rng.permutation(600)
    found = find_failures(
        iou[order], components[order], {name: values[order] for name, values in confidences.items()}, {}
    )
    told = [kinds[order][group.indices] for group in found]
    assert all(group.text.startswith(("PC", "mean entropy")) for group in found)
    for kind in (0, 1):
        # Groups are of one kind, and hold most of it.
        own = [one for one in told if (one == kind).mean() > 0.9]
        assert sum((one == kind).sum() for one in own) > 54
    assert all(max((one == 0).mean(), (one == 1).mean()) > 0.9 for one in told)


def test_a_usual_group_that_holds_clearer_ones_is_not_listed_beside_them():
    """Without the items of clearer groups, towns are as good as all others; fields without noise are better."""
    iou, components, _, _ = table(1, 600)
    place = np.arange(600)
    town, shadow, noise = place < 330, place < 90, place >= 570
    # Half of the shadows cannot be told from other towns.
    components[:45] += (6, 0, 0)
    components[noise] += (0, 0, -6)
    iou = iou - 0.06 * town - 0.4 * shadow - 0.6 * noise
    found = find_failures(iou, components, {}, {"land_use": np.where(town, "town", "field")})
    assert [group.conditions[0].column for group in found] == ["pc3", "pc1"]
    assert (found[0].indices >= 570).all()
    assert (found[1].indices < 45).mean() > 0.9


def test_ranges_that_tell_the_same_are_tested_once():
    """One column of numbers has 20 ranges: those that hold the failing items would all be tested."""
    given, _, _ = planted("range", n=600)
    iou, _, _, columns = given
    found = find_failures(iou, np.zeros((600, 1)), {}, {"sun": columns["sun"]})
    assert found.tested <= 6
    assert [group.text.split()[0] for group in found] == ["sun"]


def test_progress_is_told_to_the_end_and_can_stop_the_search(space):
    given, _, _ = planted("value")
    calls = []
    find_failures(*given, progress=lambda done, total: calls.append((done, total)))
    assert calls[0] == (1, 30)
    assert calls[-1] == (30, 30)
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)

    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        space.failures(progress=stop)


def test_off_the_main_thread_no_limit_of_the_process_is_set(make_groups, monkeypatch):
    """Clusters in more than 15 components, too: scikit-learn seeks neighbors otherwise there."""
    groups = make_groups(120)
    features = np.random.default_rng(0).normal(size=(120, 20)) + 5 * groups.groups[:, None]
    space = hw.LatentSpace.from_features(
        features, groups, groups.masks ^ (groups.groups == 1)[:, None, None], progress=False
    )
    monkeypatch.setattr(threadpoolctl.ThreadpoolController, "limit", lambda *_, **__: pytest.fail("set"))

    def work():
        given, _, _ = planted("value")
        return [find_failures(*given), space.failures(), space.cluster(3), space.cluster(1), list(compare(features))]

    with ThreadPoolExecutor(1) as pool:
        assert all(pool.submit(work).result())


def test_where_nothing_is_planted_hardly_anything_is_found():
    # At most 5 of 100 are asked for; of 20, more than 4 have a chance below 1 %.
    assert sum(bool(find_failures(*table(seed, 150))) for seed in range(20)) <= 4


def test_it_is_deterministic():
    given, _, _ = planted("value")
    one, other = find_failures(*given, random_state=4), find_failures(*given, random_state=4)
    assert one.text == other.text
    pandas.testing.assert_frame_equal(one.frame(), other.frame())


def test_intervals_cover_the_mean_of_a_known_law():
    covered = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        kind = np.repeat(["bad", "good", "good"], 60)
        iou = np.where(kind == "bad", rng.uniform(0.0, 0.4, 180), rng.uniform(0.7, 1.0, 180))
        group = find_failures(iou, rng.normal(size=(180, 2)), {}, {"kind": kind}, coverage=0.8)[0]
        assert group.size == 60
        covered.append(group.low <= 0.2 <= group.high)
    # 16 are expected, with a standard deviation of 1.8.
    assert 11 <= sum(covered) <= 19


@pytest.mark.parametrize(
    ("iou", "said"),
    [
        (np.full(N, np.nan), "No item has an IoU"),
        (np.full(N, 0.5), "No group of items is distinguishable"),
        (np.where(np.arange(N) < 20, 0.5, np.nan), "280 more have no IoU"),
        (
            np.where(np.arange(N) < 39, 0.5, np.nan),
            "39 items are too few to search for groups of 10 or more: it takes at least 40. Their mean IoU is 0.50.",
        ),
        (np.where(np.arange(N) < 40, 0.5, np.nan), "No group of items is distinguishable from the others ("),
    ],
)
def test_without_failures_the_text_says_so(iou, said):
    _, components, confidences, columns = table()
    found = find_failures(iou, components, confidences, columns)
    assert len(found) == 0
    assert said in found.text
    assert list(found.frame().columns)[:3] == ["text", "mostly", "size"]


def test_where_all_masks_are_empty_the_text_does_not_deny_the_iou():
    _, components, confidences, columns = table()
    found = find_failures(np.ones(N), components, confidences, columns, counted=np.zeros(N, bool))
    assert found.text == (
        "No item has an IoU and a true or predicted mask that is not empty: there are no failures to seek."
    )


@pytest.mark.parametrize(
    ("condition", "text"),
    [
        (Condition("kind", "car park"), "kind = car park"),
        (Condition("is_wet", True), "is wet"),
        (Condition("is_wet", False), "not is wet"),
        (Condition("truth_area", low=12, high=41), "area of the truth from 12 to 40 px"),
        (Condition("truth_area", high=41), "area of the truth up to 40 px"),
        (Condition("truth_area", low=41), "area of the truth at least 2,000 px"),
        (Condition("pc2", high=0), "PC 2 up to -0.5"),
        (Condition("pc2", low=0, high=1), "PC 2 = 0.25"),
        (Condition("foreground_entropy", low=0.5), "entropy in the prediction at least 0.753 bits"),
        (Condition("area_at_50", low=0.8), "fraction of pixels above 0.5 at least 0.8"),
        (Condition("day", low=86400), "day from 1970-01-03 on"),
    ],
)
def test_words(condition, text):
    columns = {
        "kind": np.array(["car park", "field", "field", "field"]),
        "is_wet": np.array([True, False, False, True]),
        "truth_area": np.array([5, 12, 40, 2000]),
        "pc2": np.array([-3.0, -0.5, 0.25, 7.5]),
        "foreground_entropy": np.array([0.1, 0.2, 0.753, 0.8]),
        "area_at_50": np.array([0.1, 0.2, 0.3, 0.8]),
        "day": np.array(["1970-01-01", "1970-01-01", "1970-01-03", "NaT"], "M8[D]"),
    }
    assert condition.words(columns) == text


def test_missing_numbers_meet_no_range():
    columns = {"sun": np.array([np.nan, 1.0, 2.0, 3.0, 4.0, np.nan])}
    conditions = single_conditions(columns, np.arange(6), 1)
    assert conditions
    assert not any(one.holds(columns)[[0, 5]].any() for one in conditions)


def test_of_a_space(make_groups):
    groups = make_groups(200)
    # Of the second group, the model's masks are wrong; of the others, a few pixels.
    features = groups.images.mean((2, 3))
    wrong = (groups.groups == 1)[:, None, None] | (groups.images[:, 2] > 0.95)
    predictions = groups.masks ^ wrong
    space = hw.LatentSpace.from_features(features, groups, predictions, progress=False)
    found = space.failures(["group"])
    assert isinstance(found, Failures)
    group = found[0]
    np.testing.assert_array_equal(group.indices, np.flatnonzero(groups.groups == 1))
    assert space.select(group.indices, name=group.text).statistics.mean_iou == pytest.approx(group.mean_iou)
    frame = found.frame()
    assert len(frame) == len(found)
    assert frame["size"][0] == group.size
    assert space.failures("group").text == found.text
    assert repr(found).startswith(f"Failures({len(found)} groups)")
    assert group.text in str(found)


DAYS = np.datetime64("2024-01-01") + np.arange(200)


@pytest.mark.parametrize(
    ("days", "time"),
    [
        (DAYS, ""),
        (DAYS.astype(str), ""),
        (pandas.Series(DAYS).astype("datetime64[ns]"), ""),
        # What is missing is in no range.
        (np.where(np.arange(200) < 190, DAYS, np.datetime64("NaT")), ""),
        (DAYS + np.timedelta64(3600, "s"), " 01:00:00"),
    ],
    ids=["dates", "texts", "pandas", "missing", "times"],
)
def test_ranges_of_dates_of_a_space(make_groups, days, time):
    groups = make_groups(200)
    early = np.arange(200) < 41
    predictions = groups.masks ^ early[:, None, None] ^ (groups.images[:, 2] > 0.95)
    space = hw.LatentSpace.from_features(
        groups.images.mean((2, 3)), groups, predictions, columns={"day": days}, progress=False
    )
    group = space.failures("day")[0]
    inside = np.isin(np.arange(200), group.indices)
    assert (inside & early).sum() / (inside | early).sum() > 0.75
    assert re.fullmatch(f"day up to 2024-02-\\d\\d{time}", group.text)
    # The space's own column, which has texts, meets the conditions too.
    (condition,) = group.conditions
    np.testing.assert_array_equal(np.flatnonzero(condition.holds(space.columns_)), group.indices)


def test_texts_that_are_no_dates_stay_texts():
    dates = [f"2024-01-{day:02}" for day in range(1, 11)]
    for texts in (dates[:6], [*dates, "2024-13-01"], [*dates, "soon"], ["", *dates[:5]]):
        column = np.array(texts)
        assert dates_if_any(column) is column
    found = dates_if_any(np.array(["", *dates]))
    assert found.dtype == "datetime64[D]"
    np.testing.assert_array_equal(np.isnat(found), np.arange(11) == 0)


def test_what_is_missing_is_nothing_that_items_have_in_common():
    iou, components, confidences, columns = table()
    worse = components[:, 1] > 1
    columns["site"] = np.where(worse, "", np.where(columns["cloudy"], "north", "south"))
    given = np.where(worse, iou - 0.3, iou), components, confidences, {"site": columns["site"]}
    found = find_failures(*given)
    assert any(group.conditions[0].column == "pc2" for group in found)
    assert {group.mostly for group in found} == {""}


@pytest.mark.parametrize(
    ("of_ten", "told"),
    [
        (["north"] * 7 + ["west", "east", "moor"], ["north"]),
        (["north"] * 5 + ["south"] * 4 + ["west"], ["north", "south"]),
        (["north"] * 3 + ["moor", "south"] * 2 + ["west", "east", "fen"], ["north", "moor", "south"]),
        (["north", "south", "moor", "fen", "hill", "bay"], []),
        # As many of the others have it.
        (["west"] * 7 + ["north", "south", "moor"], []),
    ],
    ids=["one value", "two", "three", "too many", "others too"],
)
def test_what_most_items_of_a_group_have_is_told(of_ten, told):
    (iou, components, confidences, columns), members, text = planted("flag")
    site = np.resize(["west", "east", "north", "west", "east"], N).astype("U5")
    site[members] = np.resize(of_ten, members.sum())
    given = iou, components, confidences, {"cloudy": columns["cloudy"], "site": site}
    group = next(one for one in find_failures(*given) if one.text == text)
    fraction = np.isin(site[members], told).mean()
    assert group.mostly == (f"site = {' or '.join(told)}, {fraction:.0%}" if told else "")


def test_a_column_with_the_name_of_an_area_is_no_area(make_groups):
    groups = make_groups(200)
    wrong = (groups.groups == 1)[:, None, None] | (groups.images[:, 2] > 0.95)
    space = hw.LatentSpace.from_features(
        groups.images.mean((2, 3)), groups, groups.masks ^ wrong,
        columns={"truth_area": np.where(groups.groups == 1, 3, 8)}, progress=False,
    )  # fmt: skip
    group = space.failures(["truth_area"])[0]
    np.testing.assert_array_equal(group.indices, np.flatnonzero(groups.groups == 1))
    assert group.text == "data truth area up to 3"


def test_nothing_to_find_and_nothing_drawn_is_no_failure(make_groups):
    groups = make_groups(120)
    empty = groups.groups == 2
    groups.masks = groups.masks & ~empty[:, None, None]
    predictions = (groups.images[:, 0] > 0.5) & ~empty[:, None, None]
    space = hw.LatentSpace.from_features(groups.images.mean((2, 3)), groups, predictions, progress=False)
    assert (space.iou_[empty] == 0).all()
    found = space.failures()
    assert (found.n_items, found.left_out) == (96, 24)
    assert not any(np.isin(group.indices, np.flatnonzero(empty)).any() for group in found)


def test_columns_that_are_named_are_looked_at_alone(make_groups):
    groups = make_groups(200)
    # The model fails where the truth is small, which the number of the item does not tell.
    small = groups.masks.sum((1, 2)) < np.median(groups.masks.sum((1, 2)))
    predictions = np.where(small[:, None, None], ~groups.masks, groups.masks)
    space = hw.LatentSpace.from_features(groups.images.mean((2, 3)), groups, predictions, progress=False)
    assert space.failures()[0].conditions[0].column == "truth_area"
    named = space.failures("number")
    assert {condition.column for group in named for condition in group.conditions} <= {"number"}
    assert named.tested < space.failures().tested


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"columns": ["kind"]}, "no column 'kind'; its columns are: 'group', 'number'"),
        ({"columns": []}, "columns is empty"),
        ({"coverage": 1.0}, "coverage must be between 0 and 1, got 1.0"),
        ({"least": 3}, "least must be a whole number of at least 4, got 3"),
    ],
)
def test_bad_input(space, options, message):
    with pytest.raises(ValueError, match=message):
        space.failures(**options)


def test_an_unfitted_space_says_so():
    with pytest.raises(AttributeError, match="has no failures: it is not fitted yet"):
        hw.LatentSpace(None).failures()
