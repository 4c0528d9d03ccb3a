"""Which step an operation becomes. What is not listed here is computed as a whole."""

from __future__ import annotations

from collections.abc import Callable

from hdm_widgets.windowed import channel_rules, spatial_rules
from hdm_widgets.windowed.axes import Whole
from hdm_widgets.windowed.calls import Call, refs
from hdm_widgets.windowed.context import Context, is_picture_like, places_of, runner
from hdm_widgets.windowed.steps import Opaque, Step

__all__ = ["step_of"]

# Operations that treat every place alike and apart, named as in ATen.
_ELEMENTWISE = (
    "abs add addcdiv addcmul alias atan atan2 bitwise_and bitwise_not bitwise_or ceil celu clamp clamp_max "
    "clamp_min clip clone contiguous cos detach div divide elu eq erf exp expm1 fill floor floor_divide fmod "
    "frac full_like ge gelu gt hardshrink hardsigmoid hardswish hardtanh hypot isfinite isinf isnan le "
    "leaky_relu lerp lift_fresh_copy log log10 log1p log2 log_sigmoid logical_and logical_not logical_or "
    "logit lt masked_fill maximum minimum mish mul multiply nan_to_num ne neg ones_like pow reciprocal relu "
    "relu6 remainder round rsqrt rsub selu sigmoid sign silu sin softplus softshrink softsign sqrt square sub "
    "subtract tan tanh threshold to true_divide type_as where zeros_like __and__ __or__ _to_copy"
)
_OVER_CHANNELS = (
    "amax amin argmax argmin cumsum glu linalg_vector_norm log_softmax logsumexp max mean min norm prod softmax std "
    "sum var _log_softmax _softmax"
)
_OF_CHANNELS = (
    "chunk index_select narrow permute select split split_with_sizes squeeze tensor_split transpose unbind unsqueeze"
)
_PER_CHANNEL = "batch_norm channel_shuffle prelu _native_batch_norm_legit_no_training"
_RESHAPES = "flatten reshape unflatten view _unsafe_view"
_PADS = "constant_pad_nd pad reflection_pad2d replication_pad2d"
_INTERPOLATIONS = (
    "upsample_bicubic2d upsample_bilinear2d upsample_nearest2d _upsample_bicubic2d_aa _upsample_bilinear2d_aa "
    "_upsample_nearest_exact2d"
)


def step_of(call: Call, context: Context) -> Step:
    """The step that does what a call does."""
    rule = _RULES.get(call.operation)
    step = None
    if rule is not None and call.shape is not None and is_picture_like(call.shape):
        step = rule(call, context)
    return _opaque(call, context) if step is None else step


def _opaque(call: Call, context: Context) -> Step:
    names = tuple(
        dict.fromkeys(name for value in call.arguments.values() for name in refs(value) if name in context.shapes)
    )
    sizes = [context.size(name) for name in names]
    size = places_of(call.shape or ())
    rows, cols = (Whole(tuple(each[dim] for each in sizes), size[dim]) for dim in (0, 1))
    return Opaque(call.name, call.label, names, rows, cols, function=runner(call, context, names))


Rule = Callable[[Call, Context], "Step | None"]
_RULES: dict[str, Rule] = {
    name: rule
    for names, rule in (
        (_ELEMENTWISE, channel_rules.elementwise),
        (_OVER_CHANNELS, channel_rules.over_channels),
        (_OF_CHANNELS, channel_rules.of_channels),
        (_PER_CHANNEL, channel_rules.per_channel),
        (_RESHAPES, channel_rules.reshape),
        (_PADS, spatial_rules.pad),
        (_INTERPOLATIONS, spatial_rules.interpolation),
        ("max_pool2d max_pool2d_with_indices", spatial_rules.max_pool),
        ("flip roll", spatial_rules.moved),
        ("expand", channel_rules.expand),
        ("slice", spatial_rules.cut),
        ("cat", channel_rules.cat),
        ("stack", channel_rules.stack),
        ("index", channel_rules.index),
        ("conv2d", spatial_rules.convolution),
        ("conv_transpose2d", spatial_rules.transposed),
        ("avg_pool2d", spatial_rules.average_pool),
        ("adaptive_avg_pool2d", spatial_rules.adaptive_pool),
        ("pixel_shuffle", channel_rules.shuffle),
        ("pixel_unshuffle", channel_rules.unshuffle),
    )
    for name in names.split()
}
