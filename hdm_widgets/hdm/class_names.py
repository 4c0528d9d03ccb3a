"""What classes are called on the screen: by the explorer, and on a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

from hdm_widgets._validation import brief, is_whole

if TYPE_CHECKING:
    from hdm_widgets.hdm.result import HDMResult

__all__ = ["ClassNames", "check_class_names", "check_name_count", "named_classes"]

ClassNames: TypeAlias = Sequence[str] | Mapping[int, str]


def check_class_names(given: ClassNames | None, *, all_classes: bool) -> dict[int, str] | list[str]:
    """The names as a list in the order of class numbers, or by class number; empty if there are none."""
    if given is None:
        return {}
    if not all_classes:
        raise ValueError("class_names are for target='all', where there is a class to choose")
    names: dict[int, str] | list[str]
    if isinstance(given, Mapping):
        names = {number: name for number, name in given.items() if is_whole(number)}
        whole = len(names) == len(given)
        texts = list(names.values())
    else:
        names = texts = list(given)
        whole = not isinstance(given, str)
    if not whole or not all(isinstance(name, str) for name in texts):
        raise TypeError(
            f"class_names must be texts in the order of the classes, or a dict by number, got {brief(given)}"
        )
    return names


def named_classes(numbers: Sequence[int], names: dict[int, str] | list[str]) -> list[list[int | str]]:
    """Number and name of each class; the number itself where there is no name."""
    by_number = dict(enumerate(names)) if isinstance(names, list) else names
    return [[number, by_number.get(number, str(number))] for number in numbers]


def check_name_count(result: HDMResult, names: dict[int, str] | list[str]) -> None:
    """Refuse a list of names that is shorter or longer than the maps of the model: names would be wrong."""
    maps = result.reading is not None and result.reading.form == "maps"
    if isinstance(names, list) and maps and len(names) != len(result.classes):
        raise ValueError(f"class_names has {len(names)} names, but the model returned {len(result.classes)} classes")
