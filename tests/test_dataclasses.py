"""`==` and `hash` of whatever holds arrays: by identity, because comparing arrays gives no truth value."""

import dataclasses
import importlib
import inspect
import pkgutil
import typing

import numpy as np
import pytest
import torch

import hdm_widgets

ARRAYS = (np.ndarray, torch.Tensor)


def classes():
    """Every dataclass and named tuple of the package, by qualified name."""
    found = {}
    for info in pkgutil.walk_packages(hdm_widgets.__path__, "hdm_widgets."):
        if ".demo.train_" in info.name:
            continue
        module = importlib.import_module(info.name)
        for _, one in inspect.getmembers(module, inspect.isclass):
            if one.__module__ == info.name and (dataclasses.is_dataclass(one) or hasattr(one, "_fields")):
                found[f"{one.__module__}.{one.__qualname__}"] = one
    return found


CLASSES = classes()


def names_arrays(annotation):
    """Whether a type is, or contains, one of arrays or of what compares them."""
    origin = typing.get_origin(annotation) or annotation
    if inspect.isclass(origin) and issubclass(origin, ARRAYS):
        return True
    return any(names_arrays(part) for part in typing.get_args(annotation))


def holds_arrays(one):
    hints = typing.get_type_hints(one)
    if dataclasses.is_dataclass(one):
        return any(names_arrays(hints[field.name]) for field in dataclasses.fields(one) if field.compare)
    return any(map(names_arrays, hints.values()))


# Has a field of a type that only type checkers import.
FOR_CHECKERS = "hdm_widgets.latent.item_pass.ItemPass"


def test_there_are_such_classes():
    assert sum(holds_arrays(one) for name, one in CLASSES.items() if name != FOR_CHECKERS) > 10


# Compares its arrays in a way of its own, which its tests look at.
OWN_WAY = "hdm_widgets.latent.selection.Selection"


@pytest.mark.parametrize("name", sorted(CLASSES.keys() - {OWN_WAY}))
def test_what_holds_arrays_is_compared_by_identity(name):
    if name == FOR_CHECKERS or holds_arrays(CLASSES[name]):
        assert CLASSES[name].__eq__ is object.__eq__
        assert CLASSES[name].__hash__ is object.__hash__


def test_a_selection_compares_its_items():
    assert not CLASSES[OWN_WAY].__dataclass_params__.eq
