"""Which step an operation becomes. What has no rule is computed on whole maps.

A rule takes a call and its context, and gives the step, or None where it does not apply. To add one, write it in
`channel_rules` or `spatial_rules` and name the operation in the table below.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from hdm_widgets.windowed import channel_rules, order_rules, spatial_rules
from hdm_widgets.windowed.axes import Global
from hdm_widgets.windowed.calls import Call
from hdm_widgets.windowed.context import Context, function_of, is_spatial, spatial_size
from hdm_widgets.windowed.steps import Function, GlobalStep, Step

__all__ = ["global_step", "step_of"]

Rule = Callable[[Call, Context], "Step | None"]

# Operations by their names in ATen.
_ELEMENTWISE = (
    "abs add addcdiv addcmul alias atan atan2 bitwise_and bitwise_not bitwise_or ceil celu clamp clamp_max "
    "clamp_min clip clone contiguous copy cos detach div divide dropout elu eq erf exp expand_as expm1 "
    "feature_dropout fill floor floor_divide fmod frac full_like ge gelu gt hardshrink hardsigmoid hardswish "
    "hardtanh hypot isfinite isinf isnan le leaky_relu lerp lift_fresh_copy log log10 log1p log2 log_sigmoid "
    "logical_and logical_not logical_or logit lt masked_fill maximum minimum mish mul multiply nan_to_num ne neg "
    "ones_like pow reciprocal relu relu6 remainder round rrelu rsqrt rsub selu sigmoid sign silu sin softplus "
    "softshrink softsign sqrt square sub subtract tan tanh threshold to true_divide type_as where zeros_like "
    "__and__ __or__ _to_copy"
)
_OVER_CHANNELS = (
    "amax amin argmax argmin cumsum glu linalg_vector_norm log_softmax logsumexp max mean min norm prod softmax std "
    "sum var _log_softmax _softmax"
)
_OF_CHANNELS = (
    "chunk index_select narrow permute select split split_with_sizes squeeze tensor_split transpose unbind unsqueeze"
)
_TAKES_CHANNELS = "chunk index_select narrow select split split_with_sizes tensor_split unbind"
_REORDERS = "moveaxis movedim permute swapaxes swapdims transpose"
_PER_CHANNEL = "batch_norm channel_shuffle prelu _native_batch_norm_legit_no_training"
_RESHAPES = "flatten reshape unflatten view _unsafe_view"
_PADS = "constant_pad_nd pad reflection_pad2d replication_pad2d"
_INTERPOLATIONS = (
    "upsample_bicubic2d upsample_bilinear2d upsample_nearest2d _upsample_bicubic2d_aa _upsample_bilinear2d_aa "
    "_upsample_nearest_exact2d"
)
_RULES: dict[str, Rule] = {
    name: rule
    for names, rule in (
        (_ELEMENTWISE, channel_rules.elementwise),
        (_OVER_CHANNELS, channel_rules.over_channels),
        (_OF_CHANNELS, channel_rules.of_channels),
        (_PER_CHANNEL, channel_rules.per_channel),
        (_RESHAPES, channel_rules.reshape),
        ("expand", channel_rules.expand),
        ("new_full new_ones new_zeros", channel_rules.filled),
        ("repeat tile", channel_rules.repeat),
        ("cat", channel_rules.cat),
        ("stack", channel_rules.stack),
        ("index", channel_rules.index),
        ("pixel_shuffle", channel_rules.pixel_shuffle),
        ("pixel_unshuffle", channel_rules.pixel_unshuffle),
        (_PADS, spatial_rules.pad),
        (_INTERPOLATIONS, spatial_rules.interpolation),
        ("slice", spatial_rules.slicing),
        ("flip roll", spatial_rules.rearrangement),
        ("repeat_interleave", spatial_rules.repetition),
        ("conv2d", spatial_rules.convolution),
        ("conv_transpose2d", spatial_rules.transposed_convolution),
        ("max_pool2d max_pool2d_with_indices", spatial_rules.max_pool),
        ("avg_pool2d", spatial_rules.average_pool),
        ("adaptive_avg_pool2d", spatial_rules.adaptive_average_pool),
    )
    for name in names.split()
}


# Tried where those above do not apply, and for values in another order.
_ORDER_RULES: dict[str, Rule] = {
    name: rule
    for names, rule in (
        (_ELEMENTWISE, order_rules.elementwise),
        (f"{_OVER_CHANNELS} {_TAKES_CHANNELS}", order_rules.over_channels),
        (_REORDERS, order_rules.reordered),
        ("layer_norm rms_norm", order_rules.normalized),
        ("linear", order_rules.linear),
        ("stack", order_rules.stacked),
        ("cat", order_rules.joined),
        ("slice", order_rules.of_positions(spatial_rules.slicing)),
        ("flip roll", order_rules.of_positions(spatial_rules.rearrangement)),
        (_PADS, order_rules.of_positions(spatial_rules.pad)),
    )
    for name in names.split()
}
_VIEWS = ("view", "_unsafe_view")
# In channels last, these sum in another order than they do in the model.
_NORMS = ("group_norm", "instance_norm", "native_group_norm")


def step_of(call: Call, context: Context) -> Step:
    """The step that computes a call."""
    step = None
    if is_spatial(call.shape) and not any(name in context.orders or name in context.tokens for name in call.reads()):
        step = _applied(_RULES, call, context)
    if step is None and not any(name in context.tokens for name in call.reads()):
        step = _applied(_ORDER_RULES, call, context)
    return step or global_step(call, context)


def _applied(rules: dict[str, Rule], call: Call, context: Context) -> Step | None:
    rule = rules.get(call.operation)
    return None if rule is None else rule(call, context)


def global_step(call: Call, context: Context) -> Step:
    """The step that computes a call from whole values."""
    names = tuple(name for name in call.reads() if name in context.shapes)
    sizes = [context.size(name) for name in names]
    size = spatial_size(call.shape)
    rows, cols = (Global(tuple(each[dim] for each in sizes), size[dim]) for dim in (0, 1))
    label = call.label
    if call.operation in _VIEWS:
        # A patch need not have the layout that a view relies on.
        given = {"self": call.arguments["self"], "shape": call.arguments["size"]}
        call = replace(call, target=torch.ops.aten.reshape.default, arguments=given)
    function = function_of(call, context, names)
    if call.operation in _NORMS:
        function = partial(_contiguous, function)
    return GlobalStep(call.name, label, names, rows, cols, function=function)


def _contiguous(function: Function, patches: list[Tensor], numbers: dict[str, Any]) -> Tensor:
    return function([patch.contiguous() for patch in patches], numbers)
