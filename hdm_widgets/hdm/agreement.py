"""Whether a traced backend gives what the model gives, up to float rounding."""

from __future__ import annotations

import copy
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hdm_widgets.models.errors import is_out_of_memory
from hdm_widgets.models.modules import apply_to_tensors, model_dtype, modules, unwrapped
from hdm_widgets.models.segmenter import Segmenter
from hdm_widgets.models.tf32 import uses_tf32, without_tf32

__all__ = ["Agreement", "OwnRounding"]

# Largest difference of two ways to compute the same sums, as a fraction of the largest value (at least 1).
_ROUNDING = 1e-5
# Two results may lie on both sides of the exact one, and the model is measured on few images.
_FACTOR = 4.0
# Of the mean difference a sparse error is a small part, so this much may always differ.
_MEAN_ROUNDING = 1e-6
# Whatever the model's own rounding, a larger fraction of the largest value is a difference.
_MOST = 0.01
_MOST_LOW = 0.1
_BATCH = 3
_LOW = (torch.bfloat16, torch.float16)


@dataclass(frozen=True)
class OwnRounding:
    """How far float rounding moves a model's own output, as fractions of its largest value (at least 1).

    Attributes
    ----------
    largest, mean : float
        Over all pixels and classes, of the larger one of the two below.
    from_higher : float or None
        From the output of a copy in a higher precision; None if there is no such copy.
    between_batches : float or None
        Between the image alone and in a batch of three; None if that was not measured.
    """

    largest: float
    mean: float
    from_higher: float | None = None
    between_batches: float | None = None


class Agreement:
    """Decides which outputs of a traced backend count as equal to the model's.

    Sums of the same terms in another order differ by rounding: in most networks by less than 1e-5 of the largest value.
    What a network makes of rounding depends on its precision, its depth and the size of its values. So in low
    precision, and where more than that differs, the model's own rounding is measured: against a copy of the model in a
    higher precision, and in low precision also between two batch sizes. Four times that counts as equal, in the
    maximum and in the mean. Where float32 is multiplied in TF32, both are computed without for the comparison.

    Parameters
    ----------
    segmenter : Segmenter
        Of a `torch.nn.Module`, while it is `evaluating`.

    Attributes
    ----------
    own : OwnRounding or None
        What has been measured; None if there was no need to.
    tf32 : bool
        Whether the model computes in TF32.
    moved_by_tf32 : float
        Largest difference that it makes in the model's output.
    """

    def __init__(self, segmenter: Segmenter) -> None:
        assert isinstance(segmenter.model, nn.Module)  # nothing else is traced  # noqa: S101
        self._segmenter, self._model, self._dtype = segmenter, segmenter.model, model_dtype(segmenter.model)
        self.tf32 = self._dtype == torch.float32 and uses_tf32(segmenter.run_device)
        self._most = _MOST_LOW if self._dtype in _LOW else _MOST
        self.own: OwnRounding | None = None
        self.moved_by_tf32 = 0.0

    def comparing(self) -> AbstractContextManager[None]:
        """What this thread computes meanwhile can be compared: it is without TF32."""
        return without_tf32(self._segmenter.run_device, self._model)

    def compared(self, raw: Tensor, image: Tensor) -> Tensor:
        """The model's raw output of an image (C, H, W) to compare others with: `raw`, but for TF32."""
        if not self.tf32:
            return raw
        with self.comparing():
            exact = self._segmenter.raw(image[None].clone())
        self.moved_by_tf32 = max(self.moved_by_tf32, float((raw - exact).abs().max()))
        return exact

    def equal(self, ours: Tensor, raw: Tensor, image: Tensor) -> bool:
        """Whether an output equals the model's.

        Parameters
        ----------
        ours, raw : torch.Tensor (1, classes, H, W)
            Of the traced backend and of the model.
        image : torch.Tensor (C, H, W)
            That both are of.
        """
        if self.own is None and self._most == _MOST_LOW:
            # Other cells may round where these do not: what is said to be equal is measured in any case.
            self.own = self._measured(raw, image)
        if self._within(ours, raw, self.own):
            return True
        # NaN is no agreement, and no rounding explains more than the most.
        if not self._relative(ours, raw) <= self._most:
            return False
        own = self._measured(raw, image)
        if own is None or not self._within(ours, raw, own):
            return False
        if self.own is None or own.largest > self.own.largest:
            self.own = own
        return True

    def limit(self, raw: Tensor) -> float:
        """Largest difference from this raw output that counts as equal."""
        return self._limit(self.own) * _scale(raw)

    def reason(self, raw: Tensor) -> str:
        """What the limit follows from, in the units of this raw output; empty if nothing had to be measured."""
        reasons = []
        if self.own is not None:
            reasons.append(self._own_rounding(self.own, raw))
        if self.tf32:
            moved = f"{self.moved_by_tf32:.2g}"
            reasons.append(f"both were computed without TF32, which moves the model's output by up to {moved}")
        return ", and ".join(reasons)

    def _own_rounding(self, own: OwnRounding, raw: Tensor) -> str:
        parts = []
        if own.from_higher is not None:
            parts.append(f"{own.from_higher * _scale(raw):.2g} from {_name(_higher(self._dtype))}")
        if own.between_batches is not None:
            parts.append(f"{own.between_batches * _scale(raw):.2g} between batches of 1 and {_BATCH}")
        return f"the model's own output in {_name(self._dtype)} differs by up to {' and '.join(parts)}"

    def _limit(self, own: OwnRounding | None) -> float:
        return _ROUNDING if own is None else min(max(_ROUNDING, _FACTOR * own.largest), self._most)

    def _relative(self, ours: Tensor, raw: Tensor) -> float:
        return float((ours - raw).abs().max()) / _scale(raw)

    def _within(self, ours: Tensor, raw: Tensor, own: OwnRounding | None) -> bool:
        largest = self._relative(ours, raw)
        if own is None or largest <= _ROUNDING:
            return largest <= _ROUNDING
        # One pixel that rounding moves far allows nothing for the others.
        mean = float((ours - raw).abs().mean()) / _scale(raw)
        return largest <= self._limit(own) and mean <= max(_MEAN_ROUNDING, _FACTOR * own.mean)

    def _measured(self, raw: Tensor, image: Tensor) -> OwnRounding | None:
        """The model's own rounding on this image; None if it cannot be measured."""
        try:
            higher = self._in_higher_precision(image)
        except Exception:  # noqa: BLE001 - a model that computes in one precision only
            higher = None
        batch = None
        if higher is None or self._dtype in _LOW:
            try:
                batch = self._segmenter.raw(image[None].repeat(_BATCH, 1, 1, 1))[:1]
            except Exception as error:
                if is_out_of_memory(error):
                    raise
        others = [other for other in (higher, batch) if other is not None and other.shape == raw.shape]
        differences = [(other.to(raw) - raw).abs() for other in others]
        if not differences or not all(bool(torch.isfinite(each).all()) for each in differences):
            return None
        apart = [float(each.max()) / _scale(raw) for each in differences]
        return OwnRounding(
            max(apart),
            max(float(each.mean()) for each in differences) / _scale(raw),
            apart[0] if others[0] is higher else None,
            apart[-1] if others[-1] is batch else None,
        )

    def _in_higher_precision(self, image: Tensor) -> Tensor:
        """The output of a copy of the model that computes more exactly."""
        dtype = _higher(self._dtype)

        def raised(tensor: Tensor) -> Tensor:
            return tensor.to(dtype) if tensor.is_floating_point() else tensor

        pipeline = copy.deepcopy(self._segmenter.pipeline())
        with torch.no_grad():
            apply_to_tensors(pipeline, raised)
            for module in modules(pipeline):
                for name, value in vars(module).items():
                    if isinstance(value, Tensor):
                        vars(module)[name] = raised(value)
                # What is compiled would be compiled again for this precision.
                for name, child in module._modules.items():
                    if child is not None:
                        module._modules[name] = unwrapped(child)
            output: Tensor = nn.Module.__call__(pipeline, image[None].to(dtype))
        return output


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _higher(dtype: torch.dtype) -> torch.dtype:
    return torch.float32 if dtype in _LOW else torch.float64


def _scale(raw: Tensor) -> float:
    return max(1.0, float(raw.abs().max()))
