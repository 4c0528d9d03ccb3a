"""Maps of an image by Hausdorff Distance Masks and by the field's own methods.

Every map is float (H, W), 0 or more, and explains the model's own mask of the plain image: no method is told the truth,
but for those that say so. Of a method with a sign the positive part counts: what the mask rests on. Where the others
need one number of a mask, it is its sum: the probabilities' sum over the pixels of that mask.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_args

import captum.attr
import numpy as np
import torch
from _explanation_networks import Case, Explained, predict
from monai.visualize import OcclusionSensitivity
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from hdm_widgets import hdm
from hdm_widgets.hdm.named_measures import MEASURES, MeasureName
from hdm_widgets.hdm.occlusion import Fill

Map = NDArray[np.float64]

# All that occlude with names; dice orders cells as iou does, so its map is the same picture.
FILLS: tuple[str, ...] = get_args(get_args(Fill)[0])
FILL_LABELS = {"minimum": "black"}
MEASURED: tuple[MeasureName, ...] = ("hausdorff", "hausdorff95", "mean_surface", "iou", "flipped")
# With squares in place of discs.
SQUARE_FILLS: tuple[str, ...] = ("minimum", "blur")
SQUARE_MEASURED: tuple[MeasureName, ...] = ("mean_surface", "flipped")
_BATCH = 32


@dataclass(frozen=True)
class Method:
    """A method with one or several maps.

    Attributes
    ----------
    name : str
    maps : callable
        (network, case, seed) to maps by name. The seed is of what a method draws at random.
    ours : bool
        Whether it is a scan with Hausdorff Distance Masks.
    """

    name: str
    maps: Callable[[Explained, Case, int], dict[str, Map]]
    ours: bool = False


class MaskSum(nn.Module):
    """Sum of the model's probabilities over the pixels of its mask for one image.

    Parameters
    ----------
    model : torch.nn.Module
        (N, C, H, W) to logits (N, 1, H, W).
    mask : torch.Tensor
        bool (H, W).
    """

    def __init__(self, model: nn.Module, mask: Tensor) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("mask", mask)

    @classmethod
    def at(cls, model: nn.Module, image: Tensor) -> MaskSum:
        """Of the model's mask for this image."""
        return cls(model, torch.from_numpy(predict(model, image)))

    def forward(self, images: Tensor) -> Tensor:
        """Sums (N,) for images (N, C, H, W)."""
        probabilities = torch.sigmoid(self.model(images)[:, 0])
        return (probabilities * self.get_buffer("mask")).sum((1, 2))


def scan(network: Explained, case: Case, fill: str, **options: Any) -> hdm.HDMResult:
    """A scan that explains the model's own mask, unless a truth is given."""
    chosen = {**network.scan_options, **options}
    return network.explainer.explain(network.model, case.image, fill=fill, progress=False, **chosen)


def painted(result: hdm.HDMResult, result_type: hdm.ResultType = hdm.WORSE_ONLY) -> Map:
    """The circle map: of all discs over a pixel, the largest value."""
    return np.nan_to_num(result.painted_values(result_type))


def averaged(result: hdm.HDMResult) -> Map:
    """Mean over all discs that cover a pixel; 0 where none does."""
    return np.nan_to_num(result.painted_values(hdm.WORSE_ONLY, order="mean"))


def measured_maps(result: hdm.HDMResult, names: tuple[MeasureName, ...], label: str) -> dict[str, Map]:
    """Maps of some measures of one scan, painted as discs and averaged over them."""
    made = {}
    for name in names:
        measured = result.measure(name)
        made[f"HDM {MEASURES[name].label}, {label}"] = painted(measured)
        made[f"HDM {MEASURES[name].label}, {label}, averaged"] = averaged(measured)
    return made


def _hdm(fill: str) -> Method:
    label = FILL_LABELS.get(fill, fill)

    def maps(network: Explained, case: Case, seed: int) -> dict[str, Map]:  # noqa: ARG001 - a scan draws nothing at random
        result = scan(network, case, fill)
        made = measured_maps(result, MEASURED, label)
        if fill == "minimum":
            published = result.measure("hausdorff", case.truth)
            made["HDM as published, to the truth, raw"] = painted(published, hdm.RAW)
            made["HDM to the truth, worse only"] = painted(published)
        return made

    return Method(f"HDM, {label}", maps, ours=True)


def _squares(fill: str) -> Method:
    """Squares around the discs, on the same grid."""
    label = f"{FILL_LABELS.get(fill, fill)}, square"

    def maps(network: Explained, case: Case, seed: int) -> dict[str, Map]:  # noqa: ARG001 - a scan draws nothing at random
        return measured_maps(scan(network, case, fill, shape="square"), SQUARE_MEASURED, label)

    return Method(f"HDM, {label}", maps, ours=True)


def _rows(network: Explained, case: Case, seed: int) -> dict[str, Map]:  # noqa: ARG001 - as all methods
    """The published code's formula."""
    result = scan(network, case, "minimum", segment=case.truth, distance="rows", keep_outputs=False)
    return {"HDM published rows, to the truth, raw": painted(result, hdm.RAW)}


def random_masks(
    count: int, size: tuple[int, int], rng: np.random.Generator, *, cells: int = 8, kept: float = 0.5
) -> Tensor:
    """Masks of RISE, float32 (count, 1, H, W): random grids of `cells` x `cells`, enlarged and shifted at random.

    Parameters
    ----------
    kept : float
        Probability that a cell of the grid shows the image.
    """
    height, width = size
    cell = -(-height // cells), -(-width // cells)
    grids = torch.from_numpy((rng.random((count, 1, cells, cells)) < kept).astype(np.float32))
    whole = F.interpolate(
        grids, size=((cells + 1) * cell[0], (cells + 1) * cell[1]), mode="bilinear", align_corners=False
    )
    corners = zip(rng.integers(0, cell[0], count), rng.integers(0, cell[1], count), strict=True)
    return torch.stack(
        [mask[:, row : row + height, col : col + width] for mask, (row, col) in zip(whole, corners, strict=True)]
    )


def rise(score: Callable[[Tensor], Tensor], image: Tensor, count: int, rng: np.random.Generator) -> Map:
    """RISE (Petsiuk et al. 2018): masks weighted by the score of what they leave of the image.

    Notes
    -----
    The paper's map is the weighted sum; scores and masks are taken relative to their means here, which leaves the
    order of pixels as it is but for chance, and lets 0 mean that a pixel does not matter.
    """
    masks = random_masks(count, (image.shape[-2], image.shape[-1]), rng)
    scores = torch.cat([score(image * part) for part in masks.split(_BATCH)])
    weights = (scores - scores.mean()).reshape(-1, 1, 1)
    relevance = (weights * (masks[:, 0] - masks.mean((0, 1)))).mean(0)
    return _positive(relevance)


def seg_grad_cam(model: nn.Module, layer: nn.Module, image: Tensor, mask: Tensor) -> Map:
    """Seg-Grad-CAM (Vinogradova et al. 2020): a layer's channels, weighted by the gradient of a mask's summed logits.

    Parameters
    ----------
    mask : torch.Tensor
        bool (H, W), the pixels whose logits are summed.
    """
    seen: list[Tensor] = []
    hook = layer.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    try:
        logits = model(image[None])[0, 0]
    finally:
        hook.remove()
    (activations,) = seen
    (gradients,) = torch.autograd.grad(logits[mask].sum(), activations)
    weights = gradients.mean((2, 3), keepdim=True)
    coarse = (weights * activations).sum(1, keepdim=True).relu().detach()
    return _positive(F.interpolate(coarse, size=image.shape[-2:], mode="bilinear", align_corners=False)[0, 0])


def runs(network: Explained, case: Case) -> int:
    """Runs of the model that a scan takes, one for each disc."""
    height, width = case.image.shape[-2:]
    return (height // network.offset) * (width // network.offset)


def _rise_of_sum(network: Explained, case: Case, seed: int) -> dict[str, Map]:
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        score = MaskSum.at(network.model, case.image)
        return {"RISE, mask sum": rise(score, case.image, runs(network, case), rng)}


def _rise_of_iou(network: Explained, case: Case, seed: int) -> dict[str, Map]:
    prediction = torch.from_numpy(predict(network.model, case.image))

    def score(images: Tensor) -> Tensor:
        masks = network.model(images)[:, 0] > 0
        union = (masks | prediction).sum((1, 2))
        return (masks & prediction).sum((1, 2)) / union.clamp(min=1)

    with torch.no_grad():
        return {"RISE, IoU": rise(score, case.image, runs(network, case), np.random.default_rng(seed))}


def _fill_values(case: Case) -> dict[str, Tensor]:
    """Colors (1, C, 1, 1) of Captum's and MONAI's occlusions."""
    return {"black": torch.zeros(1, len(case.image), 1, 1), "mean": case.image.mean((1, 2))[None, :, None, None]}


def _captum_occlusion(network: Explained, case: Case, seed: int) -> dict[str, Map]:  # noqa: ARG001 - as all methods
    method = captum.attr.Occlusion(MaskSum.at(network.model, case.image))
    return {
        f"Captum Occlusion, {name}": _positive(
            method.attribute(
                case.image[None],
                sliding_window_shapes=(len(case.image), network.circle_size, network.circle_size),
                strides=(len(case.image), network.offset, network.offset),
                baselines=color.expand(case.image[None].shape),
                perturbations_per_eval=_BATCH,
            )[0, 0]
        )
        for name, color in _fill_values(case).items()
    }


def _captum_ablation(network: Explained, case: Case, seed: int) -> dict[str, Map]:  # noqa: ARG001 - as all methods
    """Squares as wide as the discs are apart: as many as there are discs."""
    method = captum.attr.FeatureAblation(MaskSum.at(network.model, case.image))
    height, width = case.image.shape[-2:]
    across = width // network.offset
    squares = torch.arange(height)[:, None] // network.offset * across + torch.arange(width) // network.offset
    return {
        f"Captum FeatureAblation, {name}": _positive(
            method.attribute(
                case.image[None],
                baselines=color.expand(case.image[None].shape),
                feature_mask=squares.expand(case.image[None].shape),
                perturbations_per_eval=_BATCH,
            )[0, 0]
        )
        for name, color in _fill_values(case).items()
    }


def _integrated_gradients(network: Explained, case: Case, seed: int) -> dict[str, Map]:  # noqa: ARG001 - as all methods
    method = captum.attr.IntegratedGradients(MaskSum.at(network.model, case.image))
    attributions = method.attribute(case.image[None], n_steps=50, internal_batch_size=_BATCH)
    return {"Captum IntegratedGradients": _positive(attributions[0].sum(0).float())}


def monai(network: Explained, case: Case, mode: str | float) -> Map:
    """MONAI's occlusion sensitivity: squares as wide as the discs, whose corners are as far apart."""
    score = MaskSum.at(network.model, case.image)
    method = OcclusionSensitivity(
        # One class, as a classifier has it.
        nn.Sequential(score, nn.Unflatten(0, (-1, 1))), mask_size=network.circle_size, n_batch=_BATCH, verbose=False,
        activate=False, mode=mode, overlap=1 - network.offset / network.circle_size,
    )  # fmt: skip
    with torch.no_grad():
        occluded = method(case.image[None])[0][0, 0]
        return _positive(score(case.image[None])[0] - torch.as_tensor(occluded))


def _monai(network: Explained, case: Case, seed: int) -> dict[str, Map]:  # noqa: ARG001 - as all methods
    """The default mode; a constant color gives the map of Captum's occlusion."""
    return {"MONAI OcclusionSensitivity": monai(network, case, "gaussian")}


def _seg_grad_cam(network: Explained, case: Case, seed: int) -> dict[str, Map]:  # noqa: ARG001 - as all methods
    mask = torch.from_numpy(predict(network.model, case.image))
    return {"Seg-Grad-CAM": seg_grad_cam(network.model, network.layer, case.image, mask)}


def _positive(relevance: Tensor) -> Map:
    values = relevance.detach().numpy().astype(np.float64)
    return np.asarray(np.maximum(values, 0))


METHODS: tuple[Method, ...] = (
    *(_hdm(fill) for fill in FILLS),
    *(_squares(fill) for fill in SQUARE_FILLS),
    Method("HDM, published rows", _rows, ours=True),
    Method("RISE, mask sum", _rise_of_sum),
    Method("RISE, IoU", _rise_of_iou),
    Method("Captum Occlusion", _captum_occlusion),
    Method("Captum FeatureAblation", _captum_ablation),
    Method("Captum IntegratedGradients", _integrated_gradients),
    Method("MONAI OcclusionSensitivity", _monai),
    Method("Seg-Grad-CAM", _seg_grad_cam),
)
METHODS_BY_NAME = {method.name: method for method in METHODS}
