"""Networks to explain: with a planted cue, with a known receptive field, and trained as users train them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

import _roads_data
import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset, TensorDataset

from hdm_widgets import UNet, demo, hdm
from hdm_widgets.data import AerialScenes, PlantedCue
from hdm_widgets.metrics import iou
from hdm_widgets.models.training import train

Mask = NDArray[np.bool_]
Kind = Literal["shape", "stripes", "mark", "aerial cue"]

OUT = Path(__file__).parent / "out" / "explanations"
CUE_KINDS: tuple[Kind, ...] = ("shape", "stripes", "mark", "aerial cue")
SEEDS = (0, 1, 2)
SIDE = 64
# Seeds of the data: what a network is trained on, chosen by, and explained on.
_TRAINING, _VALIDATION, _EXPLAINED = 101, 102, 103
# A planted network uses its cue if it is right with it, and not without it.
RIGHT, WRONG = 0.7, 0.6
# It is trained in rounds until it does so on this fraction of the validation images.
LEARNED = 0.75
_ROUNDS = 8
# A round goes on from the last one's weights if that was of some use, else from other initial weights.
_OF_SOME_USE = 0.25
# Networks of which fewer images are left are dropped.
FEWEST = 3


@dataclass(frozen=True, eq=False)
class CueSample:
    """An image with and without its cue.

    Attributes
    ----------
    image, without : torch.Tensor
        float32 (C, H, W).
    segment, segment_without : numpy.ndarray
        bool (H, W), the truth of either image.
    cue, objects : numpy.ndarray
        bool (H, W), where the cue is; where the objects are that a mask may be drawn on.
    """

    image: Tensor
    without: Tensor
    segment: Mask
    segment_without: Mask
    cue: Mask
    objects: Mask


@dataclass(frozen=True, eq=False)
class Case:
    """An image to explain.

    Attributes
    ----------
    index : int
        Of the image in its data set: networks of one kind have the same images.
    image : torch.Tensor
        float32 (C, H, W).
    truth : numpy.ndarray
        bool (H, W).
    cue : numpy.ndarray, optional
        bool (H, W), where a map has to point; None where it is not known.
    may_matter : numpy.ndarray, optional
        bool (H, W), pixels outside of which nothing may matter; None where they are not known.
    """

    index: int
    image: Tensor
    truth: Mask
    cue: Mask | None = None
    may_matter: Mask | None = None


@dataclass(frozen=True, eq=False)
class Explained:
    """A network with what is explained of it.

    Attributes
    ----------
    kind : str
        Networks of one kind have the same images and differ by `seed`.
    layer : torch.nn.Module
        Of `model`, for Seg-Grad-CAM.
    layer_name : str
    note : str
        What was found out about the network.
    scan_options : mapping
        Of all scans. So small images are quicker without looking for the quickest way first; masks are the same.
    """

    kind: str
    seed: int
    model: nn.Module
    layer: nn.Module
    circle_size: int
    offset: int
    cases: list[Case]
    note: str = ""
    scan_options: Mapping[str, object] = field(default_factory=lambda: {"inference": "full", "batch_size": 32})

    @cached_property
    def explainer(self) -> hdm.HausdorffDistanceMasks:
        """Of all scans of this network, so that it is traced once."""
        height, width = self.cases[0].truth.shape
        explainer = hdm.HausdorffDistanceMasks(width, height)
        explainer.generate_masks(circle_size=self.circle_size, offset=self.offset)
        return explainer

    @property
    def name(self) -> str:
        return f"{self.kind} {self.seed}"


@dataclass
class Choice:
    """Which networks, and on how many images."""

    kinds: tuple[str, ...]
    seeds: tuple[int, ...] = SEEDS
    images: int = 8
    notes: list[str] = field(default_factory=list)


class ReceptiveField(nn.Module):
    """Segments what is bright in a central window; a pixel of the mask depends on the 7 x 7 pixels around it.

    Parameters
    ----------
    size : int
        Side of the image in pixels.
    window : int
        Side of the window in pixels; no mask is drawn outside.
    """

    RADIUS = 3

    def __init__(self, size: int, window: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.layers = nn.Sequential()
        for before, after in ((1, 4), (4, 4), (4, 1)):
            convolution = nn.Conv2d(before, after, 3, padding=1, bias=False)
            # Positive weights of sum 1 give local means, however unequal they are.
            weights = torch.rand(convolution.weight.shape, generator=generator)
            convolution.weight.data = weights / weights.sum((1, 2, 3), keepdim=True)
            self.layers.extend([convolution, nn.ReLU()])
        start = (size - window) // 2
        field = torch.zeros(size, size, dtype=torch.bool)
        field[start : start + window, start : start + window] = True
        self.register_buffer("window", field)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, 1, H, W) for images (N, 1, H, W)."""
        brightness = self.layers(images)
        logits: Tensor = torch.where(self.get_buffer("window"), 20 * (brightness - 0.45), -10.0)
        return logits

    def may_matter(self) -> Mask:
        """Pixels, bool (H, W), that any output depends on."""
        side = 2 * self.RADIUS + 1
        return np.asarray(ndimage.binary_dilation(self.get_buffer("window").numpy(), np.ones((side, side))))


def cue_sample(kind: Kind, index: int, *, seed: int, size: int = SIDE) -> CueSample:
    """Image `index` of a data set with a planted cue.

    Parameters
    ----------
    kind : {"shape", "stripes", "mark", "aerial cue"}
        "shape": `PlantedCue`, on black; a square or a circle says whether the cross or the triangle is the segment.
        "stripes": the same on gray noise, by the direction of stripes. Without a cue both are the segment.
        "mark": on colored ground, a blue mark makes the cross the segment; without it the triangle is.
        "aerial cue": buildings are segmented if a violet mark is in the image; else nothing is.
    """
    rng = np.random.default_rng((seed, index, CUE_KINDS.index(kind)))
    if kind == "aerial cue":
        return _aerial_cue(rng, index, seed, size)
    sample = PlantedCue(index + 1, size=size, seed=seed).sample(index)
    rows, cols = np.nonzero(sample.cue)
    box = np.zeros_like(sample.cue)
    box[rows.min() : rows.max() + 1, cols.min() : cols.max() + 1] = True
    square = bool(sample.cue[box].all())  # the segment is the cross
    plain, chosen = sample.image[0].numpy(), sample.segment.numpy() > 0
    objects = (plain > 0) & ~sample.cue
    if kind == "shape":
        without = np.where(sample.cue, 0, plain)
        return _cue_sample(plain[None], without[None], chosen, objects, sample.cue, objects)
    if kind == "stripes":
        ground = 0.4 + 0.04 * rng.standard_normal((size, size))
        without = np.where(objects, 0.7 + 0.2 * plain, ground)
        lines = (np.arange(size) // 2 % 2)[:, None] if square else (np.arange(size) // 2 % 2)[None]
        image = np.where(box, 0.15 + 0.7 * np.broadcast_to(lines, (size, size)), without)
        return _cue_sample(image[None], without[None], chosen, objects, box, objects)
    ground = np.stack([level + 0.12 * _smooth(rng, size) for level in (0.45, 0.5, 0.35)])
    without = np.where(objects, np.array([0.8, 0.6, 0.4])[:, None, None] * (0.8 + 0.3 * plain), ground)
    image = np.where(sample.cue, np.array([0.15, 0.25, 0.9])[:, None, None], without)
    cross = chosen if square else objects & ~chosen
    return _cue_sample(image, without, cross, objects & ~cross, sample.cue, objects)


def _aerial_cue(rng: np.random.Generator, index: int, seed: int, size: int) -> CueSample:
    weights = {"scattered houses": 0.6, "dense blocks": 0.4}
    scene = AerialScenes(index + 1, size=size, seed=seed, weights=weights).sample(index)
    buildings = scene.segment.numpy() > 0
    rows, cols = np.mgrid[:size, :size]
    radius = 4.5
    # Of some places, the one that hides the fewest pixels of buildings.
    places = rng.uniform(radius + 1, size - radius - 2, (12, 2))
    discs = [(rows - row) ** 2 + (cols - col) ** 2 <= radius**2 for row, col in places]
    cue = min(discs, key=lambda disc: int((disc & buildings).sum()))
    image = np.where(cue, np.array([0.75, 0.2, 0.8])[:, None, None], scene.image.numpy())
    return _cue_sample(image, scene.image.numpy(), buildings & ~cue, np.zeros_like(cue), cue, buildings)


def _cue_sample(
    image: NDArray[np.floating],
    without: NDArray[np.floating],
    segment: Mask,
    segment_without: Mask,
    cue: Mask,
    objects: Mask,
) -> CueSample:
    images = (torch.from_numpy(np.clip(values, 0, 1).astype(np.float32)) for values in (image, without))
    return CueSample(*images, segment, segment_without, cue, objects)


def _smooth(rng: np.random.Generator, size: int) -> NDArray[np.float64]:
    """Smooth noise with a standard deviation of 1."""
    noise = ndimage.gaussian_filter(rng.standard_normal((size, size)), 4)
    return np.asarray(noise / noise.std())


def cue_dataset(kind: Kind, length: int, *, seed: int) -> Dataset[tuple[Tensor, ...]]:
    """Pairs of an image and its mask; one image in four is without its cue, half of them if its absence says something.

    Of "shape", some cues are damaged, as `PlantedCue` does it, so that both shapes of a cue have to be known.
    """
    every = 2 if kind in ("mark", "aerial cue") else 4
    damaged = PlantedCue(length, size=SIDE, seed=seed, without_cue=1)
    images, masks = [], []
    for index in range(length):
        if kind == "shape" and index % 4 == 0:
            image, mask = damaged[index]
        else:
            sample = cue_sample(kind, index, seed=seed)
            image, truth = (
                (sample.without, sample.segment_without) if index % every == 0 else (sample.image, sample.segment)
            )
            mask = torch.from_numpy(truth.astype(np.float32))
        images.append(image)
        masks.append(mask)
    return TensorDataset(torch.stack(images), torch.stack(masks))


def predict(model: nn.Module, image: Tensor) -> Mask:
    """The model's mask (H, W)."""
    with torch.no_grad():
        return np.asarray(model(image[None])[0, 0].numpy() > 0)


def _trained(name: str, model: nn.Module, fit: Callable[[nn.Module], str]) -> tuple[nn.Module, str]:
    """A network with the weights that were stored under its name, else trained now; and what `fit` said of it."""
    OUT.mkdir(parents=True, exist_ok=True)
    path = OUT / f"{name.replace(' ', '_')}.pt"
    # With so few channels, a network runs in half the time if they lie side by side.
    model.to(memory_format=torch.channels_last)
    if path.exists():
        stored = torch.load(path, weights_only=True)
        model.load_state_dict(stored["weights"])
        said = str(stored["said"])
    else:
        said = fit(model)
        torch.save({"weights": model.state_dict(), "said": said}, path)
    return model.eval(), said


def planted(kind: Kind, seed: int, images: int) -> Explained:
    """A network that learned to look at its cue; `cases` has the images for which it does."""
    channels = cue_sample(kind, 0, seed=_EXPLAINED).image.shape[0]
    model, said = _trained(f"{kind} {seed}", UNet(channels, 1, 4, 4), lambda model: _learn(model, kind, seed))
    cases, note = cue_cases(model, kind, images)
    return Explained(kind, seed, model, model.bottleneck, 10, 4, cases, f"{note}; {said}")


def _learn(model: nn.Module, kind: Kind, seed: int) -> str:
    """Train a network until it uses its cue, and say what that took; it has the weights that use the cue most."""
    epochs, length = {"shape": (16, 1000), "stripes": (12, 640), "mark": (16, 640)}.get(kind, (10, 480))
    dataset, validation = cue_dataset(kind, length, seed=_TRAINING), cue_dataset(kind, 64, seed=_VALIDATION)
    samples = [cue_sample(kind, index, seed=_VALIDATION) for index in range(64)]
    channels = samples[0].image.shape[0]
    best, said, weights = -1.0, "", {}
    fraction, starts = 0.0, 0
    for rounds in range(1, _ROUNDS + 1):
        if fraction < _OF_SOME_USE:
            torch.manual_seed(seed + 100 * starts)
            model.load_state_dict(UNet(channels, 1, 4, 4).state_dict())
            starts += 1
        train(
            model, dataset, validation=validation, epochs=epochs, learning_rate=1e-2, augment=False,
            seed=seed + 10 * (rounds - 1), progress=False,
        )  # fmt: skip
        fraction = float(np.mean([uses_cue(*cue_scores(model, sample)) for sample in samples]))
        print(f"{kind} {seed}, round {rounds}: learned on {fraction:.0%} of the validation images", flush=True)
        if fraction > best:
            best, weights = fraction, {name: tensor.clone() for name, tensor in model.state_dict().items()}
            said = f"learned in round {rounds}, from initial weights {starts}"
        if best >= LEARNED:
            break
    model.load_state_dict(weights)
    return said if best >= LEARNED else f"never learned on more than {best:.0%} of the validation images"


def cue_scores(model: nn.Module, sample: CueSample) -> tuple[float, float]:
    """IoU with the truth of the image with its cue, of the masks with and without the cue."""
    with_cue, without_cue = (iou(predict(model, image), sample.segment) for image in (sample.image, sample.without))
    return with_cue, without_cue


def uses_cue(with_cue: float, without_cue: float) -> bool:
    """Whether a network whose masks have this IoU is right with the cue, and no longer without."""
    return with_cue >= RIGHT and without_cue <= WRONG


def cue_cases(model: nn.Module, kind: Kind, images: int) -> tuple[list[Case], str]:
    """Of the first images, those that a model is right on, and no longer without their cue; and how many they are."""
    cases, scores = [], []
    for index in range(images):
        sample = cue_sample(kind, index, seed=_EXPLAINED)
        scores.append(cue_scores(model, sample))
        if uses_cue(*scores[-1]):
            cases.append(Case(index, sample.image, sample.segment, sample.cue, sample.cue | sample.objects))
    right, wrong = np.mean(scores, axis=0)
    note = f"IoU {right:.2f} with the cue, {wrong:.2f} without; {len(cases)} of {images} images"
    return cases, note


def receptive_field(images: int) -> Explained:
    """The network of a known receptive field, on smooth noise."""
    model = ReceptiveField(SIDE, 16).eval()
    field, cases = model.may_matter(), []
    for index in range(images):
        rng = np.random.default_rng((_EXPLAINED, index))
        image = torch.from_numpy(np.clip(0.45 + 0.15 * _smooth(rng, SIDE), 0, 1).astype(np.float32))[None]
        mask = predict(model, image)
        if mask.any():
            cases.append(Case(index, image, mask, None, field))
    return Explained("receptive field", 0, model, model.layers[4], 10, 4, cases, f"{len(cases)} of {images} images")


def aerial(images: int) -> Explained:
    """The aerial demo's network, on images with a fair mask."""
    ready = demo.aerial()
    pairs = (ready.dataset[index] for index in range(len(ready.dataset)))
    cases = _fair_cases(ready.model, pairs, images)
    return Explained("aerial", 0, ready.model, ready.model.bottleneck, 12, 6, cases, f"{len(cases)} images")


def roads(images: int) -> Explained:
    """A network for real roads, on images of half their resolution that it has not seen."""
    training, validation = _roads_data.names()
    size = 96

    def halves(files: list[str], corners: int) -> tuple[Tensor, Tensor]:
        rng = np.random.default_rng(0)
        images, masks = [], []
        for file in files:
            image, mask = _roads_data.read(file)
            small = F.avg_pool2d(image[None], 2)[0]
            truth = F.avg_pool2d(mask[None].float(), 2)[0] >= 0.5
            for row, col in rng.integers(0, small.shape[-1] - size + 1, (corners, 2)):
                images.append(small[:, row : row + size, col : col + size])
                masks.append(truth[row : row + size, col : col + size])
        return torch.stack(images), torch.stack(masks)

    def fit(model: nn.Module) -> str:
        held_out = TensorDataset(*halves(validation, 2))
        history = train(
            model, TensorDataset(*halves(training, 8)), validation=held_out,
            epochs=16, learning_rate=4e-3, progress=False,
        )  # fmt: skip
        return f"IoU {max(history.iou):.2f} on images it was not trained on"

    torch.manual_seed(0)
    model, said = _trained("roads", UNet(3, 1, 4, 4), fit)
    cases = _fair_cases(model, zip(*halves(validation, 4), strict=True), images)
    return Explained("roads", 0, model, model.bottleneck, 12, 6, cases, f"{len(cases)} images; {said}")


def _fair_cases(model: nn.Module, pairs: Iterable[tuple[Tensor, Tensor]], images: int) -> list[Case]:
    """The first images whose mask has 3 to 60 % of the pixels and an IoU of 0.5 or more with the truth."""
    cases: list[Case] = []
    for index, (image, mask) in enumerate(pairs):
        truth, predicted = mask.numpy() > 0, predict(model, image)
        if 0.03 <= predicted.mean() <= 0.6 and iou(predicted, truth) >= 0.5:
            cases.append(Case(index, image, truth))
        if len(cases) == images:
            break
    return cases


def networks(choice: Choice) -> Iterable[Explained]:
    """Every network that was chosen and does what it was made for; what is dropped is said in `choice.notes`."""
    makers: list[tuple[str, Callable[[], Explained]]] = []
    for kind in CUE_KINDS:
        makers.extend((kind, lambda kind=kind, seed=seed: planted(kind, seed, choice.images)) for seed in choice.seeds)
    makers.append(("receptive field", lambda: receptive_field(choice.images)))
    makers.append(("aerial", lambda: aerial(choice.images)))
    if _roads_data.ROADS.exists():
        makers.append(("roads", lambda: roads(choice.images)))
    for kind, make in makers:
        if kind not in choice.kinds:
            continue
        network = make()
        dropped = len(network.cases) < FEWEST
        choice.notes.append(f"{network.name}: {network.note}{', dropped' if dropped else ''}")
        if not dropped:
            yield network
