"""Call a model on a batch, with tensors or arrays and in its own precision; say what may help where it fails."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from hdm_widgets.models.errors import ModelError, WrongChannelsError, describe_error, is_out_of_memory
from hdm_widgets.models.modules import model_dtype

__all__ = ["ModelCall", "padded", "padded_size"]

# Multiples of the sides that networks may need: most of them halve the sides several times.
_MULTIPLES = (2, 4, 8, 16, 32, 64)


def padded_size(images: Tensor, multiple: int | None) -> tuple[int, int]:
    """Rows and columns of images (N, C, H, W), rounded up to the next multiple."""
    height, width = images.shape[-2:]
    step = multiple or 1
    return -(-height // step) * step, -(-width // step) * step


def padded(images: Tensor, multiple: int | None) -> Tensor:
    """Images (N, C, H, W), extended by reflection at the bottom and the right to the next multiple."""
    height, width = images.shape[-2:]
    padded_height, padded_width = padded_size(images, multiple)
    below, right = padded_height - height, padded_width - width
    if not below and not right:
        return images
    # Reflection needs an image larger than what it adds; a smaller one repeats its edge.
    mode = "reflect" if below < height and right < width else "replicate"
    return F.pad(images, (0, right, 0, below), mode=mode)


class ModelCall:
    """Calls a model.

    Parameters
    ----------
    model : torch.nn.Module or callable
        A Module gets tensors in the precision of its weights; any other callable gets tensors or arrays, whichever it
        accepts.
    """

    def __init__(self, model: nn.Module | Callable[[Any], Any]) -> None:
        self._model = model
        self._takes_numpy: bool | None = False if isinstance(model, nn.Module) else None

    def __call__(self, images: Tensor, multiple: int | None) -> Any:
        """Pad a batch and run the model on it.

        Parameters
        ----------
        images : torch.Tensor (N, C, H, W)
        multiple : int or None
            Sides are padded to multiples of it.

        Returns
        -------
        object
            What the model returned.

        Raises
        ------
        ModelError
            If the model raises; an error that says that memory ran out stays as it is.
        """
        given = padded(images, multiple)
        if self._takes_numpy is None:
            return self._first_call(images, multiple)
        try:
            return self._run(given)
        except Exception as error:
            if is_out_of_memory(error):
                raise
            shape = tuple(given.shape)
            problem = f"the model raised {describe_error(error)} for an input of shape {shape}"
            if expected := _expected_channels(error, shape):
                raise WrongChannelsError.of(problem, expected, tuple(images.shape[1:])) from error
            raise ModelError(
                _fixed_size_message(error, shape) or f"{problem}{self._advice(error, images, multiple)}"
            ) from error

    def _advice(self, error: Exception, images: Tensor, multiple: int | None) -> str:
        """What may help against an error of the model, as the end of a message; empty where nothing is known."""
        if _wrong_channels(error):
            return ""  # padding changes no number of channels
        if isinstance(error, RuntimeError) and "size" in str(error).lower():
            return self.padding_advice(images, multiple)
        return ""

    def _run(self, images: Tensor) -> Any:
        if isinstance(self._model, nn.Module):
            return self._model(images.to(model_dtype(self._model)))
        return self._model(images.cpu().numpy() if self._takes_numpy else images)

    def padding_advice(
        self, images: Tensor, multiple: int | None, accept: Callable[[Any, Tensor], bool] = lambda *_: True
    ) -> str:
        """Find out, by trying, which multiple of its sides the model needs.

        Parameters
        ----------
        images : torch.Tensor (N, C, H, W)
            The batch that the model fails on.
        multiple : int or None
            The multiple that it was padded to.
        accept : callable
            Takes an output and the padded images that it is for; returns whether that output serves.

        Returns
        -------
        str
            The end of a message; empty where padding would not change the size.
        """
        tried = False
        for larger in self._larger(images, multiple):
            tried = True
            given = padded(images[:1], larger)
            try:
                if accept(self._run(given.clone()), given):
                    return f"; it needs sides divisible by {larger}: wrap it, Segmenter(model, pad_to={larger})"
            except Exception:  # noqa: BLE001, S112 - this multiple does not help
                continue
        return "; padding the sides to multiples of 2 to 64 does not help" if tried else ""

    def _larger(self, images: Tensor, multiple: int | None) -> Iterator[int]:
        """Multiples above the one in use that change the size."""
        now = padded_size(images, multiple)
        for larger in _MULTIPLES:
            if larger > (multiple or 1) and padded_size(images, larger) != now:
                yield larger

    def _first_call(self, unpadded: Tensor, multiple: int | None) -> Any:
        """Find out whether a function takes tensors or arrays, and call it."""
        images = padded(unpadded, multiple)
        # Copies for the first two attempts: a function may write into its input before it fails.
        with _ArrayProbe() as probe:
            output, torch_error = self._attempt(images.clone())
        if torch_error is None:
            self._takes_numpy = False
            return output
        output, numpy_error = self._attempt(images.clone().cpu().numpy())
        if numpy_error is None:
            self._takes_numpy = True
            return output
        if probe.refused:
            # A torch function that makes an array itself, for instance of its output.
            output, error = self._attempt(images)
            if error is None:
                self._takes_numpy = False
                return output
            torch_error = error
        shape = tuple(images.shape)
        problem = (
            f"the model raised {describe_error(torch_error)} for a torch tensor of shape {shape}, "
            f"and {describe_error(numpy_error)} for the same numpy array"
        )
        fixed = _fixed_size_message(numpy_error, shape) or _fixed_size_message(torch_error, shape)
        expected = _expected_channels(torch_error, shape) or _expected_channels(numpy_error, shape)
        if expected and not fixed:
            raise WrongChannelsError.of(problem, expected, tuple(unpadded.shape[1:])) from numpy_error
        raise ModelError(
            fixed or f"{problem}{self._advice_on_tensors(torch_error, unpadded, multiple)}"
        ) from numpy_error

    def _attempt(self, images: Any) -> tuple[Any, Exception | None]:
        """What the function returns, or the error that it raises; running out of memory is no answer."""
        try:
            return self._model(images), None
        except Exception as error:
            if is_out_of_memory(error):
                raise
            return None, error

    def _advice_on_tensors(self, error: Exception, images: Tensor, multiple: int | None) -> str:
        """What may help a function against an error for a tensor, if tensors are what it takes."""
        self._takes_numpy = False
        try:
            return self._advice(error, images, multiple)
        finally:
            self._takes_numpy = None


# The error of a torch convolution, and that of ONNX Runtime about an axis of its input.
_TORCH_CHANNELS = re.compile(r"expected input\[(\d+), (\d+),[\d, ]+\] to have (\d+) channels?, but got \d+ channels?")
_ONNX_AXIS = re.compile(r"index: (\d+) Got: (\d+) Expected: (\d+)")
# Of an exported program: the axis of its input and what it expects there.
_EXPORTED_AXIS = re.compile(r"(?:size\(\)|shape)\[(\d)\](?: ==| to be equal to) (\d+)")


def _wrong_channels(error: Exception) -> tuple[int, int, int] | None:
    """Images, channels that came and channels expected, of an error about channels alone; -1 images if not said."""
    text = str(error)
    if found := _TORCH_CHANNELS.search(text):
        return int(found[1]), int(found[2]), int(found[3])
    axes = _ONNX_AXIS.findall(text)
    if [axis for axis, _, _ in axes] == ["1"]:
        return -1, int(axes[0][1]), int(axes[0][2])
    return None


def _expected_channels(error: Exception, shape: tuple[int, ...]) -> int:
    """How many channels a model expects that raised an error about those of its images (N, C, H, W).

    0 for other errors, also for one about the channels of a deeper layer.
    """
    found = _wrong_channels(error)
    return 0 if found is None or found[0] not in (-1, shape[0]) or found[1] != shape[1] else found[2]


def _fixed_size_message(error: Exception, shape: tuple[int, ...]) -> str:
    """The message about a model that takes images, or batches, of one size only; empty for other errors."""
    if _wrong_channels(error):
        return ""
    text = str(error)
    axes = [(int(axis), int(expected)) for axis, _, expected in _ONNX_AXIS.findall(text)]
    axes += [(int(axis), int(expected)) for axis, expected in _EXPORTED_AXIS.findall(text)]
    if axes and all(axis == 0 for axis, _ in axes):
        number = axes[0][1]
        if number == 1:
            return f"the model takes one image at a time: batch_size=1; it raised {describe_error(error)}"
        fill = f"images[[i % len(images) for i in range({number})]]"
        return (
            f"the model takes batches of {number} images only, it got {shape[0]}: fill its batches up, Segmenter("
            f"lambda images: model({fill})[:len(images)], batch_size={number}); it raised {describe_error(error)}"
        )
    found = re.search(r"[Gg]ot:? (\d+)\D+[Ee]xpected:? (\d+)", text)
    if not found and not axes and "invalid dimensions" not in text.lower():
        return ""
    got, expected = (int(found[1]), int(found[2])) if found else (0, 0)
    if not found and axes:
        axis, expected = next((axis, side) for axis, side in axes if axis)
        got = shape[axis] if axis < len(shape) else 0
    expected_text = f" (it expects {expected} where it got {got})" if expected else ""
    return (
        f"the model takes inputs of another size than {shape}{expected_text}: cut or resize image and ground truth to "
        f"its size, or export the model with free sizes; it raised {describe_error(error)}"
    )


class _ArrayProbe(TorchFunctionMode):
    """Refuses to convert tensors to arrays, in this thread and while it is entered.

    A NumPy function accepts a tensor on the CPU, but converts it, and warns when it converts the result back. Refusing
    the conversion tells such a function from a torch function without that warning.

    Attributes
    ----------
    refused : bool
        Whether anything tried to convert a tensor.
    """

    def __init__(self) -> None:
        super().__init__()
        self.refused = False

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is Tensor.__array__:
            self.refused = True
            # NumPy would take a TypeError for an old signature, and warn about it.
            raise RuntimeError("the tensor must not be converted to an array")
        return func(*args, **(kwargs or {}))
