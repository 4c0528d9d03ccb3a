"""Find the maps in what a model returned."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from hdm_widgets._validation import brief, is_whole
from hdm_widgets.models.errors import ModelOutputError, describe_error

__all__ = ["MapSource", "OutputRule", "check_output_rule", "find_maps"]

# Keys of the final maps in common libraries: torchvision, transformers.
_FINAL = ("out", "logits")
# Maps whose sides are smaller by more than this factor are features, not masks.
_FEATURES = 8
# Attributes of models that return a class and a mask for each query: Mask2Former, MaskFormer, EoMT.
_CLASSES, _MASKS = "class_queries_logits", "masks_queries_logits"

OutputRule: TypeAlias = "str | int | Callable[[Any], Any] | None"


@dataclass(frozen=True)
class MapSource:
    """How to take the maps out of a model's output.

    Attributes
    ----------
    steps : tuple of callable
        Applied in turn to what the model returned.
    text : str
        Which part that is, in words; empty if the model returns nothing but maps.
    expression : str
        The same in Python, as an expression of `outputs`.
    other : str
        What to write for another entry than the one that was found; empty if there is none.
    """

    steps: tuple[Callable[[Any], Any], ...] = ()
    text: str = ""
    expression: str = "outputs"
    other: str = ""

    def take(self, output: Any) -> Any:
        """The maps in an output, a tensor or an array."""
        for step in self.steps:
            output = step(output)
        return output

    def then(self, step: Callable[[Any], Any], text: str, code: str = "") -> MapSource:
        """A copy with one more step; `code` follows the expression, with `outputs` in it replaces it."""
        expression = code if "outputs" in code else self.expression + code
        return MapSource((*self.steps, step), f"{text} of {self.text}" if self.text else text, expression, self.other)

    def entry(self, key: str | int) -> str:
        """What to write to take this entry of the part that the source takes."""
        if self.expression == "outputs":
            return f"output={key!r}"
        return f"output=lambda outputs: {self.expression}{_index(key)}"

    def attribute(self, name: str) -> str:
        """What to write to take an attribute of the part that the source takes."""
        if self.expression == "outputs":
            return f"output={name!r}"
        return f"output=lambda outputs: {self.expression}.{name}"


def check_output_rule(rule: object) -> None:
    """Check that a rule is None, a key, an index or a function.

    Raises
    ------
    TypeError
        If it is anything else.
    """
    if rule is not None and not isinstance(rule, str) and not is_whole(rule) and not callable(rule):
        raise TypeError(f"output must be a key, an index or a function of what the model returns, got {brief(rule)}")


def find_maps(output: Any, rule: OutputRule, count: int) -> tuple[MapSource, str]:
    """Find out which part of an output has the maps.

    Parameters
    ----------
    output : object
        What the model returned.
    rule : str, int, callable or None
        The user's choice: a key or attribute, an index, or a function of the output.
    count : int
        Number of images that the model was given.

    Returns
    -------
    source : MapSource
    warning : str
        Says that other entries fit as well; empty if none does.

    Raises
    ------
    ModelOutputError
        If there are no maps, or no rule says which entry has them.
    """
    source = MapSource()
    if rule is not None:
        source = source.then(*_chosen(output, rule, count))
        output = _apply(source, output)
    return _find(source, output, count)


def _apply(source: MapSource, output: Any) -> Any:
    try:
        return source.take(output)
    except Exception as error:
        raise ModelOutputError(f"output= failed on what the model returned: {describe_error(error)}") from error


def _chosen(output: Any, rule: str | int | Callable[[Any], Any], count: int) -> tuple[Callable[[Any], Any], str, str]:
    """The user's rule as a step, with its text and its code."""
    if callable(rule):
        name = getattr(rule, "__name__", "")
        return rule, "the given function", f"{name if name.isidentifier() else 'given'}(outputs)"
    if isinstance(output, Mapping):
        if rule in output:
            return lambda given: given[rule], f"the entry {rule!r}", _index(rule)
        if isinstance(rule, str):
            raise ModelOutputError(f"output={rule!r} is none of the keys that the model returned: {_listed(output)}")
    if isinstance(rule, str):
        if hasattr(output, rule):
            return lambda given: getattr(given, rule), f"the attribute {rule!r}", f".{rule}"
        raise ModelOutputError(
            f"output={rule!r} is a key, but the model returned {_described(output)}, which has none of that name"
        )
    if isinstance(output, (Sequence, Mapping)) and not isinstance(output, str):
        if not -len(output) <= rule < len(output):
            entries = "only entry" if len(output) == 1 else f"{len(output)} entries"
            raise ModelOutputError(
                f"output={rule} is beyond the {entries} that the model returned{_inside(output, rule, count)}"
            )
        # Mappings keep their order.
        code = _index(list(output)[rule] if isinstance(output, Mapping) else rule)
        return lambda given: list(given.values() if isinstance(given, Mapping) else given)[rule], f"entry {rule}", code
    raise ModelOutputError(f"output={rule} is an index, but the model returned {_described(output)}")


def _inside(output: Sequence[Any] | Mapping[Any, Any], rule: int, count: int) -> str:
    """What to write where an index is meant for the sequence in an entry, as the end of a message; or nothing."""
    try:
        source, _ = _find(MapSource(), output, count)
    except ModelOutputError:
        return ""
    # The last step takes an entry of the sequence.
    sequence = MapSource(source.steps[:-1]).take(output)
    outer = source.expression.rpartition("[")[0]
    if len(source.steps) < 2 or not isinstance(sequence, (list, tuple)) or not -len(sequence) <= rule < len(sequence):
        return ""
    return f"; for entry {rule} inside write output=lambda outputs: {outer}[{rule}]"


def _find(source: MapSource, output: Any, count: int) -> tuple[MapSource, str]:
    """Extend a source by what `find_maps` finds in `output`, the part that it takes."""
    if _is_array(output):
        return source, ""
    if _get(output, _CLASSES) is not None and _get(output, _MASKS) is not None:
        return source.then(_classes_of_queries, "classes and masks of queries, combined"), ""
    if getattr(output, "logits", None) is not None:
        return _find(source.then(lambda given: given.logits, "the attribute 'logits'", ".logits"), output.logits, count)
    if isinstance(output, Mapping):
        return _find_in_mapping(source, output, count)
    if isinstance(output, (list, tuple)):
        return _find_in_sequence(source, output, count)
    names = _attributes(output)
    advice = "wrap the model in a function that returns maps (N, classes, H, W), or write output=function"
    if names:
        shown = next((name for name in names if _is_maps(getattr(output, name), count)), names[0])
        advice = (
            f"it has the attributes {', '.join(names)}; say which one has the maps, such as with "
            f"Segmenter(model, {source.attribute(shown)})"
        )
    raise ModelOutputError(
        f"expected a tensor or an array of maps from the model, got {type(output).__name__}; {advice}"
    )


def _find_in_mapping(source: MapSource, output: Mapping[Any, Any], count: int) -> tuple[MapSource, str]:
    keys = [key for key in _FINAL if key in output]
    if not keys:
        key = next((key for key, entry in output.items() if _is_maps(entry, count)), None)
        written = "output=key" if key is None else source.entry(key)
        raise ModelOutputError(
            f"the model returned a mapping without 'out' or 'logits'; it has {_listed(output)}; "
            f"say which entry has the maps, such as with Segmenter(model, {written})"
        )
    key, warning = keys[0], ""
    found = {each: output[each] for each in keys if _is_maps(output[each], count)}
    if key in found:
        source, warning = _compared(source, found, key)
    source, inner = _find(source.then(lambda given: given[key], f"the entry {key!r}", _index(key)), output[key], count)
    return source, warning or inner


def _find_in_sequence(source: MapSource, output: Sequence[Any], count: int) -> tuple[MapSource, str]:
    if not output:
        raise ModelOutputError(f"the model returned an empty {type(output).__name__}")
    found = {index: entry for index, entry in enumerate(output) if _is_maps(entry, count)}
    if not found:
        first = output[0]
        if isinstance(first, (Mapping, list, tuple)) or hasattr(first, "logits") or _is_array(first):
            return _find(source.then(lambda given: given[0], "entry 0", "[0]"), first, count)
        raise ModelOutputError(
            f"the model returned a {type(output).__name__} of {len(output)} {type(first).__name__} objects; "
            "wrap it in a function that returns maps (N, classes, H, W), or write output=function"
        )
    largest = max(_pixels(entry) for entry in found.values())
    index = next(index for index, entry in found.items() if _pixels(entry) == largest)
    source, warning = _compared(source, found, index)
    text = f"entry {index} of {len(output)}" if len(output) > 1 else "the only entry"
    return source.then(lambda given: given[index], text, _index(index)), warning


def _compared(source: MapSource, found: Mapping[Any, Any], taken: Any) -> tuple[MapSource, str]:
    """Compare maps with those that are taken.

    Parameters
    ----------
    source : MapSource
        Takes what has the maps.
    found : mapping
        All maps (N, H, W) or (N, C, H, W), by key or index.
    taken : str or int
        One of them.

    Returns
    -------
    source : MapSource
        With what to write for other maps.
    warning : str
        Says how they differ; empty if they give the same masks from as many channels.
    """
    # Much smaller maps of other channels are features, not masks.
    coarse = _pixels(found[taken]) / _FEATURES**2
    others = [
        key
        for key, maps in found.items()
        if key != taken and (_channels(maps) == _channels(found[taken]) or _pixels(maps) >= coarse)
    ]
    if not others:
        return source, ""
    # Of maps that are small or features, those of the size of the ones taken are what else may be meant.
    same_size = [key for key in others if _pixels(found[key]) == _pixels(found[taken])]
    source = replace(source, other=source.entry((same_size or others)[-1]))
    if all(_channels(found[key]) == _channels(found[taken]) and _same_mask(found[taken], found[key]) for key in others):
        return source, ""
    shapes = ", ".join(str(tuple(maps.shape)) for maps in found.values())
    sizes = {_pixels(maps) for maps in found.values()}
    what = f"{len(found)} maps of one size" if len(sizes) == 1 else f"{len(found)} maps of several sizes"
    return source, (
        f"the model returned {what} that differ ({shapes}); entry {taken!r} is taken; for another one write "
        f"Segmenter(model, {source.other}), to say that it is the right one {source.entry(taken)}, or output= with a "
        "function of all of them"
    )


def _classes_of_queries(output: Any) -> Tensor:
    """Combine the classes and masks of queries to scores (N, classes, h, w): sum their products over all queries.

    The last class stands for "no class" and is left out. See Cheng et al. 2021, "Per-Pixel Classification is Not All
    You Need for Semantic Segmentation", section 3.4.
    """
    classes, masks = _get(output, _CLASSES), _get(output, _MASKS)
    return torch.einsum("nqc,nqhw->nchw", classes.softmax(-1)[..., :-1], masks.sigmoid())


def _get(output: Any, name: str) -> Any:
    return output.get(name) if isinstance(output, Mapping) else getattr(output, name, None)


def _is_array(output: Any) -> bool:
    return isinstance(output, Tensor) or (isinstance(output, np.ndarray) and output.dtype != object)


def _is_maps(entry: Any, count: int) -> bool:
    return _is_array(entry) and entry.ndim in (3, 4) and entry.shape[0] == count


def _pixels(maps: Any) -> int:
    return int(maps.shape[-2] * maps.shape[-1])


def _channels(maps: Any) -> int:
    return int(maps.shape[1]) if maps.ndim == 4 else 1


def _same_mask(first: Any, second: Any) -> bool:
    """Whether two maps give the same mask at the size of the first, as far as can be told before values are understood.

    Parameters
    ----------
    first, second : torch.Tensor or numpy.ndarray
        (N, H, W) or (N, C, H, W).
    """
    size = tuple(first.shape[-2:])
    masks = []
    for maps in (first, second):
        values = torch.as_tensor(maps).detach().float()
        values = values.reshape(len(values), -1, *values.shape[-2:])
        if tuple(values.shape[-2:]) != size:
            values = F.interpolate(values, size=size, mode="bilinear", align_corners=False)
        low, high = values.aminmax()
        level = 0.5 if low >= 0 and high <= 1 else 0
        masks.append(values.argmax(1) if values.shape[1] > 1 else values[:, 0] > level)
    return masks[0].shape == masks[1].shape and bool((masks[0] == masks[1].to(masks[0].device)).all())


def _index(key: Any) -> str:
    """The code that takes an entry."""
    return f'["{key}"]' if isinstance(key, str) and '"' not in key else f"[{key!r}]"


def _attributes(output: Any) -> list[str]:
    """Names of the attributes that an object has of its own."""
    return sorted(name for name in getattr(output, "__dict__", {}) if not name.startswith("_"))


def _listed(output: Mapping[Any, Any]) -> str:
    return str(sorted(map(str, output)))


def _described(output: Any) -> str:
    return f"a {type(output).__name__}" + (f" of shape {tuple(output.shape)}" if _is_array(output) else "")
