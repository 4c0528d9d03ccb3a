"""The selections on screen: several at a time, one of them active, with undo."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import traitlets

from hdm_widgets._validation import check_choice
from hdm_widgets.latent.item_set import ItemSet
from hdm_widgets.latent.selection import COLORS, Selection
from hdm_widgets.latent.space import LatentSpace

__all__ = ["MODES", "Items", "ItemsChange", "Mode", "SelectedItems", "SelectionHistory"]

Mode = Literal["replace", "add", "subtract"]
MODES: tuple[Mode, ...] = ("replace", "add", "subtract")
_MOST_STEPS = 100
# Bytes of the sets of items that only undo needs.
_MOST_BYTES = 64 << 20
_LETTERS = "abcdefghijklmnopqrstuvwxyz"

State = tuple[tuple[Selection, ...], int | None, tuple[int, ...]]


class Items(traitlets.TraitType[Any, Any]):
    """Positions of items, in any form that `LatentSpace.select` takes."""

    info_text = "positions of items"


class SelectedItems(Items):
    """A set of items at one bit each, which is a tuple of positions to whoever asks."""

    def get(self, obj: Any, cls: Any = None) -> Any:
        """The positions, ascending."""
        return _listed(super().get(obj, cls))


class ItemsChange(traitlets.Bunch):
    """What observers of `SelectedItems` are called with: positions are listed when they are asked for."""

    def __getitem__(self, key: str) -> Any:
        return _listed(super().__getitem__(key))

    def get(self, key: str, default: Any = None) -> Any:
        """The entry of this name, or else the default."""
        return _listed(super().get(key, default))


def _listed(value: Any) -> Any:
    return value.positions if isinstance(value, ItemSet) else value


class SelectionHistory:
    """Named selections of a space.

    Parameters
    ----------
    space : LatentSpace

    Attributes
    ----------
    selections : tuple of Selection
    active : int or None
        Position of the one that gestures change; None: the next gesture begins a new selection.
    new : tuple of int
        The new items that are selected, which have no names.
    """

    def __init__(self, space: LatentSpace) -> None:
        self._space = space
        self._past: list[State] = []
        self.selections: tuple[Selection, ...] = ()
        self.active: int | None = None
        self.new: tuple[int, ...] = ()

    @property
    def current(self) -> Selection | None:
        """The active selection."""
        return None if self.active is None else self.selections[self.active]

    @property
    def can_undo(self) -> bool:
        """Whether there is a change to undo."""
        return bool(self._past)

    def gesture(self, indices: Any, mode: Mode, name: str | None = None) -> None:
        """Replace, extend or reduce the active selection by items; begins one where none is active.

        A `name` renames what is replaced; another selection of this name is removed.
        """
        current = self.current
        drawn = self._space.select(indices)
        if current is None:
            if mode == "subtract":
                raise ValueError("there is no active selection to subtract from")
            self.put(drawn, name)
            return
        combined = {"replace": drawn, "add": current | drawn, "subtract": current - drawn}[mode]
        changed = self._made(combined, name if name and mode == "replace" else current.name, current.color)
        left = [one for one in self._with(self.active, changed) if one is changed or one.name != changed.name]
        self._change(left, left.index(changed))

    def gesture_on_new(self, indices: Sequence[int], mode: Mode) -> None:
        """Replace, extend or reduce the selected new items."""
        drawn, before = set(indices), set(self.new)
        combined = {"replace": drawn, "add": before | drawn, "subtract": before - drawn}[mode]
        self._change(self.selections, self.active, tuple(sorted(combined)))

    @contextmanager
    def one_step(self) -> Iterator[None]:
        """Undo what changes meanwhile as one change."""
        past, before = self._past, self._state
        yield
        self._past = past if self._state == before else self._latest([*past, before])

    def put(self, indices: Any, name: str | None = None, color: str | None = None) -> Selection:
        """Make a selection and activate it, in place of one of the same name."""
        same = next((i for i, one in enumerate(self.selections) if one.name == name), None)
        chosen = color or (self.selections[same].color if same is not None else self._next_color())
        made = self._made(indices, name or self._next_name(), chosen)
        if same is not None:
            self._change(self._with(same, made), same)
        else:
            self._change((*self.selections, made), len(self.selections))
        return made

    def begin(self) -> None:
        """Let the next gesture begin a new selection."""
        self._change(self.selections, None)

    def activate(self, position: int | None) -> None:
        """Make a selection the active one."""
        if position is not None:
            self._check(position)
        self._change(self.selections, position)

    def rename(self, position: int, name: str) -> None:
        """Give a selection another name."""
        self._check(position)
        name = name.strip()
        if not name:
            raise ValueError("a selection needs a name")
        if any(one.name == name for i, one in enumerate(self.selections) if i != position):
            raise ValueError(f"there is a selection named {name!r} already")
        self._change(self._with(position, self.selections[position].renamed(name)), self.active)

    def remove(self, position: int) -> None:
        """Remove a selection."""
        self._check(position)
        left = self.selections[:position] + self.selections[position + 1 :]
        active = self.active
        if active == position:
            active = min(position, len(left) - 1) if left else None
        elif active is not None and active > position:
            active -= 1
        self._change(left, active)

    def combine(self, position: int, how: Literal["union", "intersection", "difference"]) -> None:
        """Change the active selection by another one."""
        self._check(position)
        current = self.current
        if current is None or self.active is None:
            raise ValueError("there is no active selection to combine with")
        other = self.selections[position]
        check_choice("how", how, ("union", "intersection", "difference"))
        changed: Selection = getattr(current, how)(other)
        self._change(self._with(self.active, changed), self.active)

    def clear(self) -> None:
        """Clear all selections."""
        self._change((), None, ())

    def undo(self) -> bool:
        """Undo the last change; False if there is none."""
        if not self._past:
            return False
        self.selections, self.active, self.new = self._past.pop()
        return True

    @property
    def _state(self) -> State:
        return self.selections, self.active, self.new

    def _change(self, selections: Sequence[Selection], active: int | None, new: tuple[int, ...] | None = None) -> None:
        state: State = (tuple(selections), active, self.new if new is None else new)
        if state != self._state:
            past = [*self._past, self._state]
            self.selections, self.active, self.new = state
            self._past = self._latest(past)

    def _with(self, position: int | None, changed: Selection) -> tuple[Selection, ...]:
        return tuple(changed if i == position else one for i, one in enumerate(self.selections))

    def _made(self, indices: Any, name: str, color: str) -> Selection:
        return self._space.select(indices, name, color)

    def _next_name(self) -> str:
        taken = {one.name for one in self.selections}
        candidates = [*_LETTERS, *(f"selection {i}" for i in range(27, 28 + len(taken)))]
        return str(next(name for name in candidates if name not in taken))

    def _next_color(self) -> str:
        taken = [one.color for one in self.selections]
        return min(COLORS, key=taken.count)

    def _check(self, position: int) -> None:
        if not 0 <= position < len(self.selections):
            raise IndexError(f"there are {len(self.selections)} selections, no position {position}")

    def _latest(self, states: list[State]) -> list[State]:
        """The latest steps, as many as undo may keep."""
        seen = {id(one.items) for one in self.selections}
        size = 0
        for count, (selections, _, _) in enumerate(reversed(states[-_MOST_STEPS:])):
            for one in selections:
                if id(one.items) not in seen:
                    seen.add(id(one.items))
                    size += one.items.bits.nbytes
            if size > _MOST_BYTES:
                return states[len(states) - count :]
        return states[-_MOST_STEPS:]
