import math

import numpy as np
import pytest
import torch
from torch import nn

import hdm_widgets as hw
from hdm_widgets.models import training


class Bright(torch.utils.data.Dataset):
    """Noise images; what is brighter than one half is the segment."""

    def __init__(self, length=16, shape=(8, 8), seed=0):
        self.images = torch.rand(length, 1, *shape, generator=torch.Generator().manual_seed(seed))

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.images[index], (self.images[index, 0] > 0.5).to(torch.uint8) * 255


class Pixelwise(nn.Module):
    """One weight and one bias per model; remembers what it was given."""

    def __init__(self, weight=0.0, bias=0.0):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.tensor(weight)), nn.Parameter(torch.tensor(bias))
        self.seen = []

    def forward(self, images):
        self.seen.append(images.detach().clone())
        return images * self.weight + self.bias


def weights(model):
    return [float(p.detach()) for p in model.parameters()]


def test_learns_a_threshold():
    model = Pixelwise()
    history = hw.train(
        model, Bright(), validation=Bright(seed=1), epochs=40, batch_size=4, learning_rate=1.0, progress=False
    )
    assert training.evaluate(model, Bright(seed=1)) == max(history.iou) > 0.97
    assert history.iou[history.best_epoch] == max(history.iou)
    assert history.loss[-1] < 0.5 * history.loss[0]
    assert not model.training


def test_the_loss_is_cross_entropy_plus_dice():
    # One step on one batch: the loss is that of the untrained model, p = 1/2 everywhere.
    dataset = Bright(length=2, shape=(3, 5))
    history = hw.train(Pixelwise(), dataset, epochs=1, batch_size=2, progress=False)
    truth = [int((image > 0.5).sum()) for image in dataset.images]
    dice = [(2 * 0.5 * n + 1) / (0.5 * 15 + n + 1) for n in truth]
    assert history.loss == [pytest.approx(math.log(2) + 1 - np.mean(dice), rel=1e-5)]
    assert history.iou == []


def test_the_seed_fixes_everything():
    def trained(seed):
        model = Pixelwise()
        history = hw.train(model, Bright(), epochs=3, batch_size=4, seed=seed, progress=False)
        return weights(model), history

    assert trained(5) == trained(5)
    assert trained(5)[0] != trained(6)[0]


def test_the_best_weights_are_kept(monkeypatch):
    scores, stored = iter([0.2, 0.9, 0.4]), []

    def scripted(model, dataset, **_options):
        stored.append(weights(model))
        return next(scores)

    monkeypatch.setattr(training, "evaluate", scripted)
    model = Pixelwise()
    history = hw.train(model, Bright(), validation=Bright(), epochs=3, learning_rate=0.5, progress=False)
    assert history.iou == [0.2, 0.9, 0.4]
    assert history.best_epoch == 1
    assert weights(model) == stored[1]
    assert stored[1] not in (stored[0], stored[2])


def test_without_validation_the_lowest_loss_counts(monkeypatch):
    scripted, before = iter([3.0, 1.0, 2.0]), []
    model = Pixelwise()

    def loss(logits, truth):
        before.append(weights(model))
        # Worth what the script says, with a gradient that moves the weights.
        return logits.sum() - logits.sum().detach() + next(scripted)

    monkeypatch.setattr(training, "_loss", loss)
    history = hw.train(model, Bright(), epochs=3, batch_size=16, progress=False)
    assert history.loss == pytest.approx([3, 1, 2])
    assert history.best_epoch == 1
    assert weights(model) == before[2]
    assert len({tuple(step) for step in before}) == 3


@pytest.mark.parametrize("shape", [(4, 4), (4, 6)])
def test_augmentation_turns_image_and_mask_together(shape, monkeypatch):
    dataset = Bright(length=1, shape=shape)
    model, truths = Pixelwise(), []
    real = training._loss
    monkeypatch.setattr(training, "_loss", lambda logits, truth: truths.append(truth) or real(logits, truth))
    hw.train(model, dataset, epochs=90, progress=False)
    image = dataset.images[0, 0].numpy()
    turns = [np.rot90(side, k) for side in (image, image.T) for k in range(4)]
    allowed = {turn.tobytes() for turn in turns if turn.shape == shape}
    seen = {images[0, 0].numpy().tobytes() for images in model.seen}
    assert seen == allowed
    assert len(allowed) == (8 if shape == (4, 4) else 4)
    for images, truth in zip(model.seen, truths, strict=True):
        np.testing.assert_array_equal(truth[0], (images[0, 0] > 0.5).float())


def test_augmentation_can_be_left_out():
    model, dataset = Pixelwise(), Bright(length=1)
    hw.train(model, dataset, epochs=5, augment=False, progress=False)
    for images in model.seen:
        np.testing.assert_array_equal(images[0], dataset.images[0])


def test_progress_is_shown_on_request(capsys):
    hw.train(Pixelwise(), Bright(), epochs=2, batch_size=8, progress=False)
    assert capsys.readouterr().err == ""
    hw.train(Pixelwise(), Bright(), epochs=2, batch_size=8)
    shown = capsys.readouterr().err
    assert "training" in shown
    assert "4/4" in shown


# -- evaluate -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [1, 2, 16])
def test_pixels_are_pooled_over_the_images(batch_size):
    truths = [[[1, 1, 0, 0]], [[1, 0, 0, 0]], [[0, 0, 0, 0]]]
    logits = [[[1.0, -1, -1, -1]], [[2.0, 2, 2, -2]], [[-1.0, -1, 0, 5]]]
    pairs = [(torch.tensor(logit)[None], torch.tensor(truth)) for logit, truth in zip(logits, truths, strict=True)]
    # Intersections 1, 1, 0; unions 2, 3, 1. A logit of 0 is not above.
    assert training.evaluate(Pixelwise(weight=1.0), pairs, batch_size=batch_size) == pytest.approx(2 / 6)


def test_nothing_anywhere_is_zero():
    pairs = [(torch.full((1, 2, 2), -1.0), torch.zeros(2, 2))]
    assert training.evaluate(Pixelwise(weight=1.0), pairs) == 0.0


def test_evaluation_runs_in_eval_mode_and_puts_every_flag_back():
    model = nn.Sequential(Pixelwise(weight=1.0), nn.BatchNorm2d(1), nn.Dropout(1.0)).train()
    model[1].eval()  # frozen
    before = [module.training for module in model.modules()]
    running = model[1].running_mean.clone()
    score = training.evaluate(model, Bright())
    assert score > 0  # dropout of everything would leave no pixel
    np.testing.assert_array_equal(model[1].running_mean, running)
    assert [module.training for module in model.modules()] == before


# -- bad input ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{"epochs": 0}, {"batch_size": 0}])
def test_too_few(options):
    with pytest.raises(ValueError, match="epochs and batch_size must be at least 1"):
        hw.train(Pixelwise(), Bright(), progress=False, **options)


def test_no_data():
    with pytest.raises(ValueError, match="the data set is empty"):
        hw.train(Pixelwise(), [], progress=False)


@pytest.mark.parametrize(
    ("model", "got"),
    [
        (nn.Conv2d(1, 2, 1), r"got \(4, 2, 8, 8\)"),
        (nn.MaxPool2d(2), r"got \(4, 1, 4, 4\)"),
        (type("Dicts", (nn.Module,), {"forward": lambda self, images: {"out": images}})(), "got dict"),
    ],
)
def test_a_model_with_other_maps(model, got):
    model.register_parameter("some", nn.Parameter(torch.zeros(1)))  # Adam wants one
    with pytest.raises(ValueError, match=r"one logit per pixel, \(4, 1, H, W\).*" + got):
        hw.train(model, Bright(), batch_size=4, epochs=1, progress=False)


class Masks(torch.utils.data.Dataset):
    """Two images with the same mask."""

    def __init__(self, mask):
        self.mask = mask

    def __len__(self):
        return 2

    def __getitem__(self, index):
        return torch.zeros(1, 2, 2), self.mask


@pytest.mark.parametrize("run", [lambda *args: hw.train(*args, epochs=1, progress=False), training.evaluate])
@pytest.mark.parametrize(
    ("mask", "error", "message"),
    [
        (torch.tensor([[0.0, 1e-6], [1.0, 1.0]]), ValueError, "floats other than 0 and 1, such as 1e-06.*mask > 0.5"),
        (np.array([[0.0, 255.0], [1.0, 1.0]]), ValueError, "floats other than 0 and 1, such as 255"),
        (np.array([[0.0, np.nan], [1.0, 1.0]]), ValueError, "the mask has NaN or infinity$"),
        (np.array([["sky", "road"], ["road", "sky"]]), TypeError, "bool, whole or real numbers.*mask == 'name'"),
        (np.ma.MaskedArray([[0, 1], [1, 1]], [[0, 1], [0, 0]]), ValueError, "masked pixels.*counts every pixel"),
    ],
)
def test_masks_that_could_be_misread_are_refused(run, mask, error, message):
    with pytest.raises(error, match=message):
        run(Pixelwise(), Masks(mask))


@pytest.mark.parametrize(
    "mask",
    [
        torch.tensor([[0, 1], [0, 1]], dtype=torch.bfloat16),
        torch.tensor([[0.0, 1.0], [0.0, 1.0]], requires_grad=True),
        np.array([[False, True], [False, True]]),
        np.array([[0, 255], [0, 255]], np.uint8),
        np.ma.MaskedArray([[0, 1], [0, 1]]),
    ],
)
def test_masks_of_any_kind_serve(mask):
    # All pixels are predicted: half of them are right.
    assert training.evaluate(Pixelwise(bias=1.0), Masks(mask)) == 0.5


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        ([[0, 255], [1, 1]], "a mask of the data set has the value 255 beside 1.*use mask == 1$"),
        ([[0, 2], [1, 1]], "2 different values besides 0 and all of them count.*use mask == 1$"),
    ],
)
def test_masks_that_may_be_meant_otherwise_are_said_once(mask, message):
    with pytest.warns(UserWarning, match=message) as caught:
        hw.train(Pixelwise(), Masks(np.array(mask)), epochs=2, progress=False)
    assert len(caught) == 1
