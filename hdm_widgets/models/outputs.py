"""Find the maps in what a model returned."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from hdm_widgets._validation import is_whole
from hdm_widgets.models.errors import ModelOutputError, describe_error

__all__ = ["MapSource", "OutputRule", "check_output_rule", "find_maps"]

# Keys of the final maps in common libraries: torchvision, transformers.
_FINAL = ("out", "logits")
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
    """

    steps: tuple[Callable[[Any], Any], ...] = ()
    text: str = ""

    def take(self, output: Any) -> Any:
        """The maps in an output, a tensor or an array."""
        for step in self.steps:
            output = step(output)
        return output

    def then(self, step: Callable[[Any], Any], text: str) -> MapSource:
        """A copy with one more step."""
        return MapSource((*self.steps, step), f"{text} of {self.text}" if self.text else text)


def check_output_rule(rule: object) -> None:
    """Check that a rule is None, a key, an index or a function.

    Raises
    ------
    TypeError
        If it is anything else.
    """
    if rule is not None and not isinstance(rule, str) and not is_whole(rule) and not callable(rule):
        raise TypeError(f"output must be a key, an index or a function of what the model returns, got {rule!r}")


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
        source = source.then(*_chosen(output, rule))
        output = _apply(source, output)
    return _find(source, output, count)


def _apply(source: MapSource, output: Any) -> Any:
    try:
        return source.take(output)
    except Exception as error:
        raise ModelOutputError(f"output= failed on what the model returned: {describe_error(error)}") from error


def _chosen(output: Any, rule: str | int | Callable[[Any], Any]) -> tuple[Callable[[Any], Any], str]:
    """The user's rule as a step, with its text."""
    if callable(rule):
        return rule, "the given function"
    if isinstance(output, Mapping):
        if rule in output:
            return lambda given: given[rule], f"the entry {rule!r}"
        if isinstance(rule, str):
            raise ModelOutputError(f"output={rule!r} is none of the keys that the model returned: {_listed(output)}")
    if isinstance(rule, str):
        if hasattr(output, rule):
            return lambda given: getattr(given, rule), f"the attribute {rule!r}"
        raise ModelOutputError(
            f"output={rule!r} is a key, but the model returned {_described(output)}, which has none of that name"
        )
    if isinstance(output, (Sequence, Mapping)) and not isinstance(output, str):
        if not -len(output) <= rule < len(output):
            raise ModelOutputError(f"output={rule} is beyond the {len(output)} entries that the model returned")
        # Mappings keep their order.
        return lambda given: list(given.values() if isinstance(given, Mapping) else given)[rule], f"entry {rule}"
    raise ModelOutputError(f"output={rule} is an index, but the model returned {_described(output)}")


def _find(source: MapSource, output: Any, count: int) -> tuple[MapSource, str]:
    """Extend a source by what `find_maps` finds in `output`, the part that it takes."""
    if _is_array(output):
        return source, ""
    if _get(output, _CLASSES) is not None and _get(output, _MASKS) is not None:
        return source.then(_classes_of_queries, "classes and masks of queries, combined"), ""
    if getattr(output, "logits", None) is not None:
        return _find(source.then(lambda given: given.logits, "the attribute 'logits'"), output.logits, count)
    if isinstance(output, Mapping):
        key = next((key for key in _FINAL if key in output), None)
        if key is None:
            raise ModelOutputError(
                f"the model returned a mapping without 'out' or 'logits'; it has {_listed(output)}; "
                "say which entry has the maps with Segmenter(model, output=key)"
            )
        return _find(source.then(lambda given: given[key], f"the entry {key!r}"), output[key], count)
    if isinstance(output, (list, tuple)):
        return _find_in_sequence(source, output, count)
    raise ModelOutputError(
        f"expected a tensor or an array of maps from the model, got {type(output).__name__}; "
        "wrap the model in a function that returns maps (N, classes, H, W), or write output=function"
    )


def _find_in_sequence(source: MapSource, output: Sequence[Any], count: int) -> tuple[MapSource, str]:
    if not output:
        raise ModelOutputError(f"the model returned an empty {type(output).__name__}")
    found = {index: entry for index, entry in enumerate(output) if _is_maps(entry, count)}
    if not found:
        first = output[0]
        if isinstance(first, (Mapping, list, tuple)) or hasattr(first, "logits") or _is_array(first):
            return _find(source.then(lambda given: given[0], "entry 0"), first, count)
        raise ModelOutputError(
            f"the model returned a {type(output).__name__} of {len(output)} {type(first).__name__} objects; "
            "wrap it in a function that returns maps (N, classes, H, W), or write output=function"
        )
    largest = max(_pixels(entry) for entry in found.values())
    rivals = [index for index, entry in found.items() if _pixels(entry) == largest]
    index = rivals[0]
    warning = ""
    if any(not _same_mask(output[index], output[other]) for other in rivals[1:]):
        shapes = ", ".join(str(tuple(output[each].shape)) for each in rivals)
        warning = (
            f"the model returned {len(rivals)} maps of one size that differ ({shapes}); entry {index} is taken; "
            f"for another one write Segmenter(model, output={rivals[-1]}), or output= with a function of all of them"
        )
    text = f"entry {index} of {len(output)}" if len(output) > 1 else "the only entry"
    return source.then(lambda given: given[index], text), warning


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


def _same_mask(first: Any, second: Any) -> bool:
    """Whether two maps give the same mask, as far as can be told before the values are understood."""
    masks = []
    for maps in (first, second):
        values = torch.as_tensor(maps).detach()
        if values.ndim == 4 and values.shape[1] > 1:
            masks.append(values.argmax(1))
        else:
            values = values.reshape(values.shape[0], *values.shape[-2:])
            low, high = values.aminmax()
            masks.append(values > (0.5 if low >= 0 and high <= 1 else 0))
    return masks[0].shape == masks[1].shape and bool((masks[0] == masks[1].to(masks[0].device)).all())


def _listed(output: Mapping[Any, Any]) -> str:
    return str(sorted(map(str, output)))


def _described(output: Any) -> str:
    return f"a {type(output).__name__}" + (f" of shape {tuple(output.shape)}" if _is_array(output) else "")
