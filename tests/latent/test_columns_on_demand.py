"""Columns that are made when they are first asked for."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas
import pytest

import hdm_widgets as hw
from hdm_widgets.latent.columns_on_demand import ColumnsOnDemand
from hdm_widgets.latent.fitted import FittedMap, FittedState


@pytest.fixture
def made() -> list[str]:
    return []


@pytest.fixture
def columns(made: list[str]) -> ColumnsOnDemand:
    def maker(name: str, values: list[int]) -> Callable[[], np.ndarray]:
        return lambda: made.append(name) or np.array(values)

    return ColumnsOnDemand({"a": maker("a", [1, 2]), "b": maker("b", [3, 4])})


def test_a_column_is_made_once_and_when_it_is_asked_for(columns: ColumnsOnDemand, made: list[str]) -> None:
    other = columns.copy()
    assert (list(columns), len(columns), "b" in columns, made) == (["a", "b"], 2, True, [])
    assert columns["b"].tolist() == other["b"].tolist() == columns["b"].tolist() == [3, 4]
    assert made == ["b"]
    other["b"] = np.array([0, 0])
    del other["a"]
    assert (list(columns), columns["b"].tolist()) == (["a", "b"], [3, 4])
    with pytest.raises(KeyError, match="c"):
        columns["c"]


@pytest.mark.parametrize(
    "read",
    [
        dict,
        lambda columns: {**columns},
        lambda columns: columns | {},
        lambda columns: {} | columns,
        lambda columns: dict(columns.items()),
        lambda columns: dict(zip(columns, columns.values(), strict=True)),
        lambda columns: {name: columns.get(name) for name in columns},
        lambda columns: {name: columns.setdefault(name, None) for name in columns},
        lambda columns: {name: columns.pop(name) for name in list(columns)},
        lambda columns: dict([columns.popitem(), columns.popitem()]),
        copy.copy,
        copy.deepcopy,
        lambda columns: pickle.loads(pickle.dumps(columns)),
        lambda columns: dict(pandas.DataFrame(columns)),
    ],
)
def test_whoever_reads_it_finds_every_column(columns: ColumnsOnDemand, read: Callable[..., Any]) -> None:
    found = read(columns)
    assert {name: list(values) for name, values in found.items()} == {"a": [1, 2], "b": [3, 4]}


def test_a_table_computes_what_is_asked_for(own_space: hw.LatentSpace, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise AssertionError("nobody has asked for the surface")

    monkeypatch.setattr(FittedMap, "expected_iou", property(refuse))
    # Columns that no other test has asked for.
    own_space._fitted = FittedState(own_space._fitted.map, None)
    table = own_space.table()
    np.testing.assert_array_equal(table["iou"], own_space.iou_)
    assert len(table["truth_area"]) == len(own_space)
    with pytest.raises(AssertionError, match="nobody"):
        table["expected_iou"]
