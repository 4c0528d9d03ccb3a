"""Any segmentation model as a function from images to masks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal, TypeAlias, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from hdm_widgets._validation import check_choice, is_whole, to_tensor
from hdm_widgets.models.batch_size import BatchSize, run_in_batches
from hdm_widgets.models.errors import ModelError, ModelOutputError, describe_error, is_out_of_memory
from hdm_widgets.models.evaluation import evaluating
from hdm_widgets.models.modules import model_device, model_dtype, same_device, unwrapped

__all__ = ["Activation", "Model", "ModelError", "ModelOutputError", "Segmenter", "is_out_of_memory"]

S = TypeVar("S", bound=np.generic)

Activation = Literal["auto", "none", "sigmoid", "softmax"]
Model: TypeAlias = "nn.Module | Callable[[Any], Any] | Segmenter"


class Segmenter:
    """Probabilities and masks from a model, whatever form its output has.

    Parameters
    ----------
    model : torch.nn.Module or callable
        (N, C, H, W) -> maps. A Module gets torch tensors; any other callable may take torch tensors or
        numpy arrays (ONNX Runtime and other engines work in a one-line function). The output
        may be (N, H, W), (N, 1, H, W) or (N, classes, H, W); a mapping with `"out"` or `"logits"`; an object
        with `.logits`; a list or tuple, of which the first entry counts.
    target : int, optional
        The class that is the segment, for outputs with several classes. With two it is 1 by default.
    threshold : float
        A pixel belongs to the segment if its probability is above this. With several classes the
        segment is where `target` has the largest value, and the threshold is not used.
    activation : {"auto", "none", "sigmoid", "softmax"}
        What turns the output into probabilities. `"auto"` decides once, on the first output: values all within
        [0, 1] are probabilities already, others are logits (sigmoid for one map, softmax over several).
        `"sigmoid"` on several classes means independent ones: then the threshold cuts the target's map.
    device : torch.device or str, optional
        Where to run; a Module's own device by default. The Module goes back where it was afterwards.
    batch_size : int, optional
        Images in one call of the model. By default the largest number that still lowers the time per image, bounded by
        free memory and 0.25 s per batch.
    pad_to : int, optional
        Pad images at the bottom and the right, by reflection, to multiples of this, and crop the output back: for
        networks that take only sides divisible by their strides.

    Notes
    -----
    A Module is run in eval mode under `torch.no_grad`; training flags and device are put back. Outputs
    smaller than the image are resized bilinearly before threshold or argmax. A batch that runs out of memory is
    halved; a model that fails on a batch, but not on its images one by one, is run on single images.

    Examples
    --------
    >>> seg = Segmenter(lambda images: images[:, 0])
    >>> seg.masks(torch.tensor([[[[0.2, 0.7]]]]))
    array([[[False,  True]]])
    """

    def __init__(
        self,
        model: nn.Module | Callable[[Any], Any],
        target: int | None = None,
        threshold: float = 0.5,
        activation: Activation = "auto",
        device: torch.device | str | None = None,
        batch_size: int | None = None,
        *,
        pad_to: int | None = None,
    ) -> None:
        if not callable(model):
            raise TypeError(f"model must be a torch.nn.Module or a callable, got {type(model).__name__}")
        if isinstance(model, type):
            raise TypeError(
                f"model must be an instance, got the class {model.__name__}; did you forget the parentheses?"
            )
        if target is not None and (not is_whole(target) or target < 0):
            raise ValueError(f"target must be the index of a class, 0 or more, got {target!r}")
        if not isinstance(threshold, (int, float, np.number)) or not np.isfinite(threshold):
            raise ValueError(f"threshold must be a finite number, got {threshold!r}")
        check_choice("activation", activation, Activation)
        for name, value in (("batch_size", batch_size), ("pad_to", pad_to)):
            if value is not None and (not is_whole(value) or value < 1):
                raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")
        self.model = model
        self.target = None if target is None else int(target)
        self.threshold = float(threshold)
        self.activation: Activation = activation
        self.device = None if device is None else torch.device(device)
        self.batch_size = None if batch_size is None else int(batch_size)
        self.pad_to = None if pad_to is None else int(pad_to)
        self.batch_dependent: bool | None = None  # not checked yet
        self._sizes: tuple[object, BatchSize] | None = None
        self._takes_numpy: bool | None = False if isinstance(model, nn.Module) else None

    @classmethod
    def wrap(cls, model: Model, **options: Any) -> Segmenter:
        """`model` itself if it is a Segmenter, else a new one around it.

        Parameters
        ----------
        model : torch.nn.Module, callable or Segmenter
        **options : object
            Of the constructor; None counts as not given. A Segmenter has its own: giving others is an error.

        Returns
        -------
        Segmenter

        Raises
        ------
        ValueError
            For an option beside a Segmenter; only its own device may be given again.
        """
        given = {name: value for name, value in options.items() if value is not None}
        if not isinstance(model, Segmenter):
            return cls(model, **given)
        # The documented interface always passes a device: allow the Segmenter's own.
        device = given.pop("device", None)
        if device is not None and not same_device(torch.device(device), model.run_device):
            given["device"] = device
        if given:
            raise ValueError(f"{', '.join(given)} must be set on the Segmenter itself, not beside it")
        return model

    def __repr__(self) -> str:
        settings = ("target", "threshold", "activation", "device", "batch_size", "pad_to")
        shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in settings if getattr(self, name) is not None)
        return f"Segmenter({type(self.model).__name__}, {shown})"

    @property
    def run_device(self) -> torch.device:
        """Where images must be for the model to run."""
        own = model_device(self.model) if isinstance(self.model, nn.Module) else None
        return self.device or own or torch.device("cpu")

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Hold the model in eval mode on its device; around many calls, this saves switching for each.

        Raises
        ------
        RuntimeError
            If the model is in use on another device.
        """
        if isinstance(self.model, nn.Module):
            with evaluating(self.model, self.device):
                yield
        else:
            yield

    def probabilities(self, images: Tensor | NDArray[Any]) -> NDArray[np.float32]:
        """The segment's probability at every pixel.

        Parameters
        ----------
        images : torch.Tensor or numpy.ndarray (N, C, H, W)

        Returns
        -------
        numpy.ndarray, float32 (N, H, W)

        Raises
        ------
        ModelError
            If the model raises, or memory runs out for a single image; `ModelOutputError`, which is a `ValueError` too,
            if its output has a wrong form or is not finite. Its `image_index` says for which image.
        """
        return self._in_batches(images, lambda batch: self._probability(self.raw(batch)).cpu().numpy())

    def masks(self, images: Tensor | NDArray[Any]) -> NDArray[np.bool_]:
        """The segment: see `threshold` for what belongs to it.

        Parameters
        ----------
        images : torch.Tensor or numpy.ndarray (N, C, H, W)

        Returns
        -------
        numpy.ndarray, bool (N, H, W)

        Raises
        ------
        ModelError
            As `probabilities` does.
        """
        return self._in_batches(images, lambda batch: self.binarize(self.raw(batch)).cpu().numpy())

    def _in_batches(self, images: Tensor | NDArray[Any], run: Callable[[Tensor], NDArray[S]]) -> NDArray[S]:
        """What `run` returns for batches of images (N, C, H, W), joined."""
        given = to_tensor(images)
        if given.ndim != 4:
            raise ValueError(f"images must have four dimensions (N, C, H, W), got shape {tuple(given.shape)}")
        if not len(given):
            raise ValueError("there is no image: N is 0")
        with self.evaluating():
            sizes = self.sizes_for(given[0])
            # Copies: a model may write into its input, and a batch may have to run again.
            parts = run_in_batches(len(given), lambda part: run(given[part].clone()), sizes)
            return np.concatenate([output for _, output in parts])

    def sizes_for(self, image: Tensor) -> BatchSize:
        """The batch size for images like this one; what earlier calls learned about them is used again."""
        key = tuple(image.shape), self.run_device, self.batch_size
        if self._sizes is None or self._sizes[0] != key:
            self._sizes = key, BatchSize(self.batch_size, image, self.run_device)
        return self._sizes[1]

    def raw(self, images: Tensor) -> Tensor:
        """The model's output as float (N, classes, H, W) of the images' size, before any activation.

        Parameters
        ----------
        images : torch.Tensor (N, C, H, W)
            One batch, run in one call.

        Returns
        -------
        torch.Tensor
            On the model's device.

        Raises
        ------
        ModelError
            As `probabilities` does, but what runs out of memory raises its own error.
        """
        with torch.no_grad(), self.evaluating():
            maps = self._to_size(self.call(images), images)
            finite = torch.isfinite(maps.flatten(1).sum(1))
            if not bool(finite.all()):
                # The sum of finite values may overflow: check every value.
                finite = torch.isfinite(maps).flatten(1).all(1)
            if not bool(finite.all()):
                raise ModelOutputError("the model returned NaN or infinity", int((~finite).nonzero()[0]))
            if self.activation == "auto":
                low, high = maps.aminmax()
                probabilities = bool((low >= 0) & (high <= 1))
                self.activation = "none" if probabilities else "sigmoid" if maps.shape[1] == 1 else "softmax"
            return maps

    def _to_size(self, output: Any, images: Tensor) -> Tensor:
        """Standardize an output and crop it to the size of the images before padding: float (N, classes, H, W)."""
        maps = self.standard(output, images.shape[0])
        height, width = images.shape[-2:]
        padded_height, padded_width = self._padded_size(height, width)
        if maps.shape[-2] > padded_height or maps.shape[-1] > padded_width:
            raise ModelOutputError(
                f"the model returned maps of {maps.shape[-2]} x {maps.shape[-1]} px for images of "
                f"{padded_height} x {padded_width} px; expected the same size or a smaller one"
            )
        if maps.shape[-2:] != (padded_height, padded_width):
            maps = F.interpolate(maps, size=(padded_height, padded_width), mode="bilinear", align_corners=False)
        return maps[..., :height, :width]

    def pipeline(self) -> nn.Module:
        """`raw` without its value checks, as a Module that torch.export can trace.

        Only for a Segmenter around a Module, inside `evaluating`.
        """
        return _Pipeline(self)

    def target_map(self, raw: Tensor) -> Tensor:
        """The segment's channel (N, H, W) of a raw output."""
        return raw[:, self._target(raw.shape[1])]

    def binarize(self, raw: Tensor) -> Tensor:
        """Masks, bool (N, H, W), from a raw output (N, classes, H, W)."""
        if raw.shape[1] > 1 and self.activation != "sigmoid":
            return raw.argmax(1) == self._target(raw.shape[1])
        return self._probability(raw) > self.threshold

    def _probability(self, raw: Tensor) -> Tensor:
        target = self._target(raw.shape[1])
        if self.activation == "softmax":
            return raw.softmax(1)[:, target].float()
        values = raw[:, target]
        return (values.sigmoid() if self.activation == "sigmoid" else values).float()

    def _target(self, classes: int) -> int:
        if self.target is not None:
            if self.target >= classes:
                raise ModelOutputError(f"target is class {self.target}, but the model returned {classes} class(es)")
            return self.target
        if classes > 2:
            raise ModelOutputError(f"the model returned {classes} classes; say which one is the segment with target=")
        return classes - 1

    def _padded_size(self, height: int, width: int) -> tuple[int, int]:
        step = self.pad_to or 1
        return -(-height // step) * step, -(-width // step) * step

    def _padded(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        padded_height, padded_width = self._padded_size(height, width)
        below, right = padded_height - height, padded_width - width
        if not below and not right:
            return images
        # Reflection needs an image larger than what it adds; a smaller one repeats its edge.
        mode = "reflect" if below < height and right < width else "replicate"
        return F.pad(images, (0, right, 0, below), mode=mode)

    def call(self, images: Tensor) -> Any:
        """Pad a batch (N, C, H, W) and run the model on it; the output is as the model gave it."""
        return self._call(self._padded(images.to(self.run_device)))

    def _call(self, images: Tensor) -> Any:
        if isinstance(self.model, nn.Module):
            return self._guarded(images.to(model_dtype(self.model)))
        if self._takes_numpy is None:
            return self._first_call(images)
        return self._guarded(images.cpu().numpy() if self._takes_numpy else images)

    def _first_call(self, images: Tensor) -> Any:
        """Call a function that may take tensors or arrays, and remember which."""
        # Copies for the first two attempts: a function may write into its input before it fails.
        probe = _ArrayProbe()
        try:
            with probe:
                output = self.model(images.clone())
        except Exception as error:
            if is_out_of_memory(error):
                raise
            torch_error = describe_error(error)
        else:
            self._takes_numpy = False
            return output
        try:
            output = self.model(images.clone().cpu().numpy())
        except Exception as error:
            if is_out_of_memory(error):
                raise
            numpy_error = error
        else:
            self._takes_numpy = True
            return output
        if probe.refused:
            # A torch function that makes an array itself, of its output for instance.
            try:
                output = self.model(images)
            except Exception as error:
                if is_out_of_memory(error):
                    raise
                torch_error = describe_error(error)
            else:
                self._takes_numpy = False
                return output
        raise ModelError(
            f"the model raised {torch_error} for a torch tensor of shape {tuple(images.shape)}, "
            f"and {describe_error(numpy_error)} for the same numpy array"
        ) from numpy_error

    def _guarded(self, images: Any) -> Any:
        try:
            return self.model(images)
        except Exception as error:
            if is_out_of_memory(error):
                raise
            hint = ""
            if self.pad_to is None and isinstance(error, RuntimeError) and "size" in str(error).lower():
                hint = "; if it needs sides divisible by its strides, wrap it: Segmenter(model, pad_to=16)"
            raise ModelError(
                f"the model raised {describe_error(error)} for an input of shape {tuple(images.shape)}{hint}"
            ) from error

    def standard(self, output: Any, count: int) -> Tensor:
        """Any documented form of output for `count` images as float (N, classes, h, w)."""
        returned = type(output).__name__
        if hasattr(output, "logits"):
            output = output.logits
        if isinstance(output, Mapping):
            key = next((key for key in ("out", "logits") if key in output), None)
            if key is None:
                raise ModelOutputError(
                    f"the model returned a mapping without 'out' or 'logits'; it has {sorted(map(str, output))}"
                )
            output = output[key]
        if isinstance(output, (list, tuple)):
            if not output:
                raise ModelOutputError(f"the model returned an empty {returned}")
            output = output[0]
        if isinstance(output, np.ndarray) and output.dtype != object:
            output = torch.from_numpy(np.ascontiguousarray(output)).to(self.run_device)
        if not isinstance(output, Tensor):
            raise ModelOutputError(f"expected a tensor or an array of maps from the model, got {returned}")
        if output.is_complex():
            raise ModelOutputError(f"expected real numbers from the model, got {output.dtype}")
        maps = output.unsqueeze(1) if output.ndim == 3 else output
        if maps.ndim != 4 or maps.shape[0] != count or 0 in maps.shape[1:]:
            raise ModelOutputError(
                f"for {count} image(s) expected maps (N, H, W) or (N, classes, H, W) with N = {count} "
                f"from the model, got shape {tuple(output.shape)}"
            )
        return maps.float() if maps.dtype != torch.float64 else maps


class _ArrayProbe(TorchFunctionMode):
    """Refuse to turn tensors into arrays, in this thread and while it is entered.

    NumPy functions accept tensors on the CPU by half: they convert them, and warn when they convert the result back. To
    refuse is how such a function is told from a torch function without any warning.

    Attributes
    ----------
    refused : bool
        Whether a conversion was asked for.
    """

    def __init__(self) -> None:
        super().__init__()
        self.refused = False

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is Tensor.__array__:
            self.refused = True
            # NumPy takes a TypeError for an old signature, and warns of it.
            raise RuntimeError("the tensor is not to be turned into an array")
        return func(*args, **(kwargs or {}))


class _Pipeline(nn.Module):
    """`Segmenter.raw` without its value checks, of the network inside any wrapper.

    Parameters
    ----------
    segmenter : Segmenter
        Around a Module.
    """

    def __init__(self, segmenter: Segmenter) -> None:
        super().__init__()
        assert isinstance(segmenter.model, nn.Module)  # as `pipeline` says  # noqa: S101
        self.model = unwrapped(segmenter.model)
        self.training = False
        self._segmenter = segmenter

    def forward(self, images: Tensor) -> Tensor:
        """Raw output (N, classes, H, W) for images (N, C, H, W)."""
        segmenter = self._segmenter
        return segmenter._to_size(self.model(segmenter._padded(images).to(model_dtype(self.model))), images)
