"""Any segmentation model as a function from images to masks."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, TypeAlias, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hdm_widgets._validation import advise_on_keywords
from hdm_widgets.models.alignment import Align, Geometry, Inspection, Layout, valid_pixels
from hdm_widgets.models.batch_check import run_singly_if_mixing
from hdm_widgets.models.batch_size import BatchSize, run_in_batches
from hdm_widgets.models.calling import ModelCall, padded, padded_size
from hdm_widgets.models.checks import check_options
from hdm_widgets.models.cuts import Cuts, watch_cuts
from hdm_widgets.models.errors import ModelError, ModelOutputError, is_out_of_memory, output_not_finite
from hdm_widgets.models.evaluation import evaluating
from hdm_widgets.models.image_windows import ImageWindows
from hdm_widgets.models.modules import model_device, model_dtype, same_device, unwrapped
from hdm_widgets.models.outputs import OutputRule
from hdm_widgets.models.preprocessing import Pipeline, Preprocessing
from hdm_widgets.models.raw_outputs import RawOutputs
from hdm_widgets.models.reader import Activation, Classes, OutputReader
from hdm_widgets.models.sliding import Blending, Overlap, SlidingWindow
from hdm_widgets.models.threads import limited_threads

__all__ = ["Activation", "Model", "ModelError", "ModelOutputError", "Segmenter", "is_out_of_memory"]

S = TypeVar("S", bound=np.generic)

Model: TypeAlias = "nn.Module | Callable[[Any], Any] | Segmenter"


class Segmenter(RawOutputs):
    """Probabilities and masks from a model, whatever form its output has.

    Parameters
    ----------
    model : torch.nn.Module or callable
        (N, C, H, W) -> maps. A Module gets torch tensors; any other callable may take torch tensors or
        numpy arrays (ONNX Runtime and other engines work in a one-line function). The output
        may be (N, H, W), (N, 1, H, W) or (N, classes, H, W), channels first or last; class numbers, as integers; a
        mapping with `"out"` or `"logits"`; an object with `.logits`; a list or tuple of those; or classes and masks of
        queries (Mask2Former, MaskFormer, EoMT).
    target : int, optional
        The class that is the segment, for outputs with several classes. With two it is 1 by default.
    threshold : float
        A pixel belongs to the segment if its probability is above this, in (0, 1). With several exclusive classes the
        segment is where `target` has the largest value, and a threshold other than the default is an error.
    activation : {"auto", "none", "sigmoid", "softmax"}
        What turns the output into probabilities. `"auto"` decides once, on the first output: values all within
        [0, 1], but for a thousandth of their range, are probabilities already, others are logits (sigmoid for one map
        or independent classes, softmax over exclusive ones). With `"none"` the threshold is for the raw values.
        `"sigmoid"` on several classes means independent ones.
    device : torch.device or str, optional
        Where to run; a Module's own device by default. The Module goes back where it was afterwards.
    batch_size : int, optional
        Images in one call of the model. By default the largest number that still lowers the time per image, bounded by
        free memory and 0.25 s per batch.
    pad_to : int, optional
        Pad images at the bottom and the right, by reflection, to multiples of this, and crop the output back: for
        networks that take only sides divisible by their strides.
    output : str, int or callable, optional
        Which part of what the model returns has the maps: a key or attribute, an index, or a function of all of it.
    classes : {"exclusive", "independent"}
        Whether the class with the largest value wins, or the threshold applies to each class by itself.
    align : {"auto", "resize", "center"}
        Which part of the image maps cover that are smaller than it: all of it, so that they are resized, or its center,
        because convolutions are not padded. `"auto"` traces the network, or takes a whole ratio of sides for a resize,
        with a warning if something cuts the margin off; an error says where neither tells. If the maps have all of what
        `preprocess` leaves of the image, this is about that.
    layout : {"auto", "channels_first", "channels_last"}
        Which axis of the maps counts classes.
    preprocess : callable, optional
        A function or Module from float32 images (N, C, H, W), with values as users have them (0 to 255, 16 bit,
        Hounsfield units), to what the model expects. Discs are painted before it.
    window : int or tuple of int, optional
        Side, or (rows, columns), of the windows in which the model is run over a larger image, as MONAI's
        `sliding_window_inference` does it. A side of the image that is shorter is filled up with zeros. Windows are cut
        before `preprocess` and `pad_to`, which see one window at a time.
    overlap : float or int, or a pair of them, optional
        How far a window overlaps the next: a fraction of its side, or whole pixels; 0.25 by default.
    blending : {"constant", "gaussian"}
        What counts where windows overlap: the mean of their outputs, before any activation, with equal weights, or with
        weights that fall to the window's border (a Gaussian with a standard deviation of an eighth of the side, at
        least 0.001). Class numbers are taken from the window in which a pixel is nearest to the center.

    Attributes
    ----------
    reading : Reading
        How the model's output is read: what was decided and why, as fields and as text.

    Notes
    -----
    A Module is run in eval mode under `torch.no_grad`; training flags and device are put back. Maps
    smaller than the image are resized bilinearly before threshold or argmax. A batch that runs out of memory is
    halved; a model that fails on a batch, but not on its images one by one, is run on single images.

    Examples
    --------
    >>> seg = Segmenter(lambda images: images[:, 0])
    >>> seg.masks(torch.tensor([[[[0.2, 0.7]]]]))
    array([[[False,  True]]])
    """

    @advise_on_keywords
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
        output: OutputRule = None,
        classes: Classes = "exclusive",
        align: Align = "auto",
        layout: Layout = "auto",
        preprocess: Callable[[Tensor], Tensor] | None = None,
        window: int | tuple[int, int] | None = None,
        overlap: Overlap | None = None,
        blending: Blending = "constant",
    ) -> None:
        check_options(
            model, target=target, threshold=threshold, activation=activation, output=output, classes=classes,
            align=align, layout=layout, preprocess=preprocess, batch_size=batch_size, pad_to=pad_to,
        )  # fmt: skip
        self.sliding = SlidingWindow.from_options(window, overlap, blending)
        self.target = None if target is None else int(target)
        self.model, self.threshold = model, float(threshold)
        self.device = None if device is None else torch.device(device)
        self.batch_size, self.pad_to = (None if given is None else int(given) for given in (batch_size, pad_to))
        self.output, self.classes, self.align, self.layout = output, classes, align, layout
        self.preprocess = preprocess
        self._prepared = Preprocessing(preprocess, align)
        self._sizes: tuple[object, BatchSize] | None = None
        # Sizes of images that have been run again, and whether in a batch too.
        self._checked_sizes: dict[tuple[int, ...], bool] = {}
        # The last one that `for_target` made.
        self._others: dict[object, Segmenter] = {}
        self._call = ModelCall(model)
        self._reader = OutputReader(
            target=self.target, threshold=self.threshold, activation=activation, output=output,
            classes=classes, align=align, layout=layout,
        )  # fmt: skip
        if self.sliding is not None:
            self._reader.reading = self.reading.noted(
                window=self.sliding.size, overlap=self.sliding.overlap, blending=self.sliding.blending
            )

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

    def around(self, model: nn.Module) -> Segmenter:
        """The same segmenter around another module; both share what has been decided about the output."""
        other = copy.copy(self)
        other.model, other._call = model, ModelCall(model)
        return other

    def for_target(self, target: int) -> Segmenter:
        """The same segmenter for another class, the same object at every call.

        What has been learned of the output so far holds for both.
        """
        key = target, id(self.model), self.device, self.batch_size, self.pad_to
        if key not in self._others:
            other = copy.copy(self)
            other.target, other._others = target, {}
            other._checked_sizes = dict(self._checked_sizes)
            other._reader = self._reader.for_target(target)
            self._others = {key: other}
        return self._others[key]

    def __repr__(self) -> str:
        settings = (
            "target", "threshold", "activation", "device", "batch_size", "pad_to", "output", "preprocess", "window",
            "overlap", "blending",
        )  # fmt: skip
        shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in settings if getattr(self, name) is not None)
        reads = f"; reads {self.reading.short}" if self.reading.form else ""
        return f"Segmenter({type(self.model).__name__}, {shown}{reads})"

    @property
    def window(self) -> tuple[int, int] | None:
        """Rows and columns of the windows in which the model is run; None for whole images."""
        return self.sliding.size if self.sliding else None

    @property
    def overlap(self) -> tuple[int, int] | None:
        """Rows and columns by which windows overlap, in pixels."""
        return self.sliding.overlap if self.sliding else None

    @property
    def blending(self) -> Blending | None:
        """How the outputs of windows are blended."""
        return self.sliding.blending if self.sliding else None

    def for_windows(self) -> Segmenter:
        """The same segmenter for one window at a time; both share what has been decided about the output."""
        other = copy.copy(self)
        other.sliding, other._others = None, {}
        return other

    def model_input(self, image: Tensor) -> Tensor:
        """What the model gets of an image (C, H, W) in one call: all of it, or the window in its center."""
        if self.sliding is None:
            return image
        grid = self.sliding.grid(*image.shape[-2:])
        return grid.cut(image, grid.center)

    def runs_are_checked(self, image: Tensor, *, batches: bool = True) -> bool:
        """Whether `note_runs` has been called for images of this size, and for `batches` with what they do there."""
        in_batches = self._checked_sizes.get(tuple(image.shape))
        return in_batches is not None and (in_batches or not batches)

    def note_runs(self, image: Tensor, *, batch_dependent: bool | None, random: bool) -> None:
        """Note in `reading` whether the images of a batch affect each other, and whether two runs differ.

        What was found once stays: images of another size may hide it. None says that no batch was run.
        """
        size = tuple(image.shape)
        self._checked_sizes[size] = batch_dependent is not None or self._checked_sizes.get(size, False)
        if batch_dependent is None or self.reading.batch_dependent:
            batch_dependent = self.reading.batch_dependent
        self._reader.reading = self.reading.noted(
            batch_dependent=batch_dependent, random=random or bool(self.reading.random)
        )

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
        with ExitStack() as held:
            for module in (self.model, self.preprocess):
                if isinstance(module, nn.Module):
                    held.enter_context(evaluating(module, self.device))
            yield

    def probabilities(self, images: Tensor | NDArray[Any]) -> NDArray[np.float32]:
        """The segment's probability at every pixel.

        Parameters
        ----------
        images : torch.Tensor or numpy.ndarray (N, C, H, W)
            With `preprocess`, (N, H, W, C) too.

        Returns
        -------
        numpy.ndarray, float32 (N, H, W)
            NaN at pixels for which the model has no output (`align="center"`).

        Raises
        ------
        ModelError
            If the model raises, or memory runs out for a single image; `ModelOutputError`, which is a `ValueError` too,
            if its output has a wrong form or is not finite. Its `image_index` says for which image.
        """
        return self._in_batches(images, self._probabilities_of)

    def masks(self, images: Tensor | NDArray[Any]) -> NDArray[np.bool_]:
        """The segment: see `threshold` for what belongs to it.

        Parameters
        ----------
        images : torch.Tensor or numpy.ndarray (N, C, H, W)
            With `preprocess`, (N, H, W, C) too.

        Returns
        -------
        numpy.ndarray, bool (N, H, W)

        Raises
        ------
        ModelError
            As `probabilities` does.
        """
        return self._in_batches(images, self._masks_of)

    def _masks_of(self, batch: Tensor) -> NDArray[np.bool_]:
        masks: NDArray[np.bool_] = self.binarize(self.raw(batch)).cpu().numpy()
        valid = self.valid_pixels(*batch.shape[-2:])
        return masks if valid is None else masks & valid

    def _probabilities_of(self, batch: Tensor) -> NDArray[np.float32]:
        values: NDArray[np.float32] = self._reader.probability(self.raw(batch)).cpu().numpy()
        valid = self.valid_pixels(*batch.shape[-2:])
        return values if valid is None else np.where(valid, values, np.float32("nan"))

    def _in_batches(self, images: Tensor | NDArray[Any], run: Callable[[Tensor], NDArray[S]]) -> NDArray[S]:
        """What `run` returns for batches of images (N, C, H, W), joined."""
        given = self._prepared.batch(images)
        with self.evaluating():
            # Of an image in windows, these make the batches.
            sizes = self.sizes_for(given[0]) if self.sliding is None else BatchSize(1, given[0], self.run_device)

            def run_all() -> list[NDArray[S]]:
                # Copies: a model may write into its input, and a batch may have to run again.
                return [each for _, each in run_in_batches(len(given), lambda part: run(given[part].clone()), sizes)]

            outputs = run_all()
            if max(len(each) for each in outputs) > 1:
                run_singly_if_mixing(self, given[0], sizes, remind=False)
                if sizes.limit == 1:
                    outputs = run_all()
            return np.concatenate(outputs)

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
            One batch, run in one call; with `window`, each image in several.

        Returns
        -------
        torch.Tensor
            On the model's device.

        Raises
        ------
        ModelError
            As `probabilities` does, but what runs out of memory raises its own error.
        """
        if self.sliding is not None:
            with torch.no_grad(), self.evaluating():
                return torch.cat([ImageWindows(self, image).raw() for image in images])
        with torch.no_grad(), self.evaluating(), limited_threads(self.run_device), self._reader.naming_the_entry():
            given, maps = self._given_and_maps(images)
            # The sum of finite values may overflow: then check every value.
            if not bool(torch.isfinite(maps.sum())):
                finite = torch.isfinite(maps).flatten(1).all(1)
                if not bool(finite.all()):
                    raise output_not_finite(images, int((~finite).nonzero()[0]))
            size = padded_size(given, self.pad_to)
            if maps.shape[-2] > size[0] or maps.shape[-1] > size[1]:
                raise ModelOutputError(self._too_large(maps, given, size))
            self._reader.decide(maps, self._precision_note())
            raw = self._to_size(maps, given, images, self._inspection(given))
            self._note_image_state(given, images)
            return raw

    def _note_image_state(self, given: Tensor, images: Tensor) -> None:
        """Note in `reading` by what the image that the model gets has another size than the user's."""
        changes = [
            {"same": "", "resize": "resized", "center": "cropped"}[self._prepared.find(given, images, None).kind]
        ]
        changes.append("padded" if padded_size(given, self.pad_to) != tuple(given.shape[-2:]) else "")
        state = " and ".join(filter(None, changes))
        if state != self.reading.image_state:
            self._reader.reading = self.reading.noted(image_state=state)

    def _precision_note(self) -> str:
        """That images lose digits, where the weights have fewer than float32."""
        dtype = model_dtype(self.model) if isinstance(self.model, nn.Module) else torch.float32
        if torch.finfo(dtype).eps <= torch.finfo(torch.float32).eps:
            return ""
        name = str(dtype).removeprefix("torch.")
        return f"Images are given to the model in {name}, like its weights"

    def _to_size(self, maps: Tensor, given: Tensor, images: Tensor, look: Inspection | None = None) -> Tensor:
        """Maps (N, classes, h, w) of the images `given` to the model, at the size of `images`."""
        (height, width), size = given.shape[-2:], padded_size(given, self.pad_to)
        maps = self._reader.to_size(maps, size, look)[..., :height, :width]
        return self._reader.place(maps, self._prepared.find(given, images, self._reader.alignment(size)))

    def _too_large(self, maps: Tensor, given: Tensor, size: tuple[int, int]) -> str:
        advice = self._call.padding_advice(
            given, self.pad_to, lambda output, padded: self._standard(output, padded).shape[-2:] == padded.shape[-2:]
        )
        return (
            f"the model returned maps of {maps.shape[-2]} x {maps.shape[-1]} px for images of "
            f"{size[0]} x {size[1]} px (rows x columns); expected the same size or a smaller one{advice}"
        )

    def _inspection(self, given: Tensor) -> Inspection:
        """Of the model, on the first of the images that were given to it."""
        image = padded(given[:1], self.pad_to)

        def cuts() -> Cuts:
            model = self.model
            if isinstance(model, nn.Module):
                return watch_cuts(lambda: unwrapped(model)(image.to(model_dtype(model))))
            return watch_cuts(lambda: self._call(image, None))

        def geometry() -> Geometry | None:
            if not isinstance(self.model, nn.Module):
                return None
            # This takes a second to load, and few models need it.
            from hdm_widgets.windowed.geometry import output_geometry

            return output_geometry(self._pipeline(lambda model, batch: self._maps(model, batch)[1]), image[0])

        return Inspection(cuts, geometry)

    def valid_pixels(self, height: int, width: int) -> NDArray[np.bool_] | None:
        """Pixels that the model has an output for, bool (height, width); None if it has one for all.

        Known once an image of this size has been run.
        """
        if self.sliding is not None:
            return self.sliding.grid(height, width).valid_pixels(self.for_windows().valid_pixels(*self.sliding.size))
        outer = self._prepared.known((height, width))
        if outer is None:
            return None
        alignment = self._reader.alignment(padded_size(torch.empty(1, 1, *outer.size, device="meta"), self.pad_to))
        valid = None if alignment is None else valid_pixels(alignment, *outer.size)
        if valid is None and outer.kind != "center":
            return None
        valid = torch.ones(outer.size) if valid is None else valid.float()
        return outer.apply(valid[None, None], [0.0], numbers=True)[0, 0].bool().numpy()

    def pipeline(self) -> nn.Module:
        """`raw` without its value checks, as a Module that can be traced.

        Only for a Segmenter around a Module, inside `evaluating`, after its first output.
        """

        def run(model: nn.Module, images: Tensor) -> Tensor:
            given, maps = self._maps(model, self._prepared(images))
            return self._to_size(maps, given, images)

        return self._pipeline(run)

    def _pipeline(self, run: Callable[[nn.Module, Tensor], Tensor]) -> nn.Module:
        assert isinstance(self.model, nn.Module)  # as `pipeline` says  # noqa: S101
        return Pipeline(unwrapped(self.model), run)

    def _maps(self, model: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
        """The images, and the maps that a model returns for them."""
        output = model(padded(images, self.pad_to).to(model_dtype(model)))
        return images, self._standard(output, images)

    def maps(self, images: Tensor) -> Tensor:
        """The maps of a batch (N, C, H, W) as the model gave them: float (N, classes, h, w), of its own size."""
        with limited_threads(self.run_device):
            return self._given_and_maps(images)[1]

    def _given_and_maps(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The images as they were given to the model, without padding, and its maps."""
        given = self._prepared(images.to(self.run_device))
        return given, self._standard(self._call(given, self.pad_to), given)

    def _standard(self, output: Any, images: Tensor) -> Tensor:
        """The maps in an output for `images` (N, C, H, W) as they were given to the model."""
        return self._reader.maps(output, images.shape[0], padded_size(images, self.pad_to), self.run_device)
