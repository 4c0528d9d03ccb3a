"""Which tensor is meant in what a module returned: the only map, or the one that a name such as `encoder[3]` picks."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import Any

from torch import Tensor

__all__ = [
    "LayerError",
    "Path",
    "activation_of",
    "joined_name",
    "main_tensor",
    "output_tensor",
    "split_name",
    "tensors_of",
]

# Keys and positions that lead from what a module returned to one tensor.
Path = tuple[int | str, ...]

# Keys under which libraries return the tensor that the next module takes.
_MAIN_KEYS = ("last_hidden_state", "logits", "out")
# Nested outputs beyond this depth are not looked into.
_DEPTH = 4


class LayerError(ValueError):
    """The layer gives no activations that could be used."""


def split_name(name: str) -> tuple[str, Path]:
    """Name of the module, and the path into its output: `"encoder[3]"` is output 3 of `encoder`."""
    found = re.fullmatch(r"([^\[\]]*)((?:\[[^\[\]]+\])+)", name)
    if found is None:
        return name, ()
    keys = [key.strip().strip("'\"") for key in re.findall(r"\[([^\[\]]+)\]", found[2])]
    return found[1], tuple(int(key) if re.fullmatch(r"-?\d+", key) else key for key in keys)


def joined_name(name: str, path: Path) -> str:
    """Inverse of `split_name`."""
    return name + "".join(f"[{key}]" for key in path)


def output_tensor(output: Any) -> Tensor | None:
    """The tensor in what a module returned: itself, `last_hidden_state`, `logits` or `out`, or the first entry."""
    if isinstance(output, Tensor):
        return output
    if isinstance(output, Mapping):
        for key in _MAIN_KEYS:
            if key in output:
                return output_tensor(output[key])
        return None
    if isinstance(output, (list, tuple)) and output:
        return output_tensor(output[0])
    return None


def tensors_of(output: Any) -> Iterator[tuple[Path, Tensor]]:
    """Every tensor in what a module returned or takes, with the path to it."""

    def walk(value: Any, path: Path) -> Iterator[tuple[Path, Tensor]]:
        if isinstance(value, Tensor):
            yield path, value
        elif len(path) < _DEPTH:
            for key, entry in _entries(value):
                yield from walk(entry, (*path, key))

    return walk(output, ())


def _entries(value: Any) -> Iterator[tuple[int | str, Any]]:
    """Keys and values of a container that a module returned."""
    if isinstance(value, Mapping):
        yield from ((key, entry) for key, entry in value.items() if isinstance(key, (int, str)))
    elif isinstance(value, (list, tuple)):
        yield from enumerate(value)
    elif isinstance(value, SimpleNamespace) or (dataclasses.is_dataclass(value) and not isinstance(value, type)):
        yield from vars(value).items()


def main_tensor(output: Any) -> Tensor | None:
    """The tensor that a module returned, if nothing else in its output could be meant.

    The only tensor, the one under `last_hidden_state`, `logits` or `out`, or the only one with positions; of several
    that are different maps, none.
    """
    if isinstance(output, Mapping) and any(key in output for key in _MAIN_KEYS):
        return output_tensor(output)
    maps = _different_maps(output)
    if len(maps) > 1:
        return None
    return maps[0][1] if maps else output_tensor(output)


def _different_maps(output: Any) -> list[tuple[Path, Tensor]]:
    """The maps and tokens in an output, each tensor once."""
    found: list[tuple[Path, Tensor]] = []
    for path, tensor in tensors_of(output):
        is_map = tensor.is_floating_point() and tensor.ndim in (3, 4) and 0 not in tensor.shape
        if is_map and not any(_same(tensor, other) for _, other in found):
            found.append((path, tensor))
    return found


def _same(one: Tensor, other: Tensor) -> bool:
    if one is other:
        return True
    return one.shape == other.shape and one.stride() == other.stride() and one.data_ptr() == other.data_ptr()


def activation_of(output: Any, name: str) -> Tensor:
    """The tensor that a layer's name means.

    Parameters
    ----------
    output : object
        What the module returned.
    name : str
        Of the layer, with the path into the output if there is one.

    Raises
    ------
    LayerError
        If the output has no such entry, no tensor, or several different maps and the name picks none.
    """
    module, path = split_name(name)
    if path:
        tensor = _entry(output, path)
        if isinstance(tensor, Tensor):
            return tensor
        there = _listed(output, module)
        raise LayerError(f"layer {module!r} has no output {joined_name('', path)}; {there or 'it puts out no tensor'}")
    main = main_tensor(output)
    if main is not None:
        return main
    there = _listed(output, module)
    if there is None:
        raise LayerError(f"layer {name!r} puts out {type(output).__name__}, expected a tensor")
    raise LayerError(f"layer {name!r} puts out several maps; {there}")


def _listed(output: Any, module: str) -> str | None:
    """What an output can be named by, with shapes for one image; None if there is nothing."""
    found = _different_maps(output) or list(tensors_of(output))
    if not found:
        return None
    shapes = [f"{joined_name('', path)}: {' x '.join(map(str, tensor.shape[1:]))}" for path, tensor in found]
    shown = ", ".join(shapes[:12]) + (f" and {len(shapes) - 12} more" if len(shapes) > 12 else "")
    example = joined_name(module, found[-1][0])
    return f"it has {shown}. Name one of them, such as layer={example!r}"


def _entry(output: Any, path: Path) -> Any:
    """What a path leads to; None if there is nothing."""
    for key in path:
        entries: dict[int | str, Any] = dict(_entries(output))
        if isinstance(key, int) and isinstance(output, (list, tuple)):
            entries |= dict(zip(range(-len(output), 0), output, strict=True))
        output = entries.get(key, entries.get(str(key)))
    return output
