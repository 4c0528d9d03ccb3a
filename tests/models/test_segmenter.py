from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

import hdm_widgets as hw
from hdm_widgets.models.segmenter import ModelError, ModelOutputError

# Two images of one channel whose first-channel values are the probabilities that most models here return.
IMAGES = torch.tensor([[[[0.1, 0.9, 0.5]]], [[[0.6, 0.4, 0.0]]]])
MASKS = [[[False, True, False]], [[True, False, False]]]


class Pass(nn.Module):
    """Gives back the first channel."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, images):
        return images[:, 0] * self.weight


class Refuses(nn.Module):
    """Fails as a network does that needs even sides."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, images):
        raise RuntimeError("Sizes of tensors must match except in dimension 1")


def two_classes(images):
    """Logits of two classes with a difference of logit(p)."""
    return torch.stack([torch.zeros_like(images[:, 0]), torch.logit(images[:, 0], eps=1e-6)], dim=1)


# -- forms of output ----------------------------------------------------------------------------------


def test_logits_of_two_classes_get_the_softmax():
    segmenter = hw.Segmenter(two_classes)
    np.testing.assert_allclose(segmenter.probabilities(IMAGES), IMAGES[:, 0], atol=1e-5)
    np.testing.assert_array_equal(segmenter.masks(IMAGES), MASKS)


def test_three_classes_take_the_largest():
    logits = torch.tensor([[[2.0, 0.0, 1.0]], [[1.0, 3.0, 1.0]], [[0.0, 2.0, 5.0]]])[None]
    for target, expected in enumerate(([[True, False, False]], [[False, True, False]], [[False, False, True]])):
        segmenter = hw.Segmenter(lambda images: logits, target=target)
        np.testing.assert_array_equal(segmenter.masks(IMAGES[:1])[0], expected)
        np.testing.assert_allclose(
            segmenter.probabilities(IMAGES[:1])[0], (logits[0, target].exp() / logits[0].exp().sum(0)), rtol=1e-6
        )


def test_the_largest_class_wins_below_the_threshold_too():
    # 0.4 against 0.3 and 0.3: the threshold is for a single map.
    segmenter = hw.Segmenter(lambda images: torch.tensor([0.3, 0.4, 0.3]).reshape(1, 3, 1, 1), target=1)
    assert segmenter.masks(torch.zeros(1, 1, 1, 1)).item() is True


def test_independent_classes_are_cut_by_the_threshold():
    logits = torch.tensor([[[3.0, 3.0]], [[2.0, -2.0]]])[None]
    segmenter = hw.Segmenter(lambda images: logits, target=1, activation="sigmoid")
    # The second class never is the largest, yet it is above one half in the first pixel.
    np.testing.assert_array_equal(segmenter.masks(torch.zeros(1, 1, 1, 2)), [[[True, False]]])


@pytest.mark.parametrize("classes", [1, 2])
def test_output_of_a_quarter_is_resized_before_the_cut(classes):
    small = torch.tensor([[-2.0, 2.0]]).expand(2, 2)

    def model(images):
        maps = small.expand(len(images), 1, 2, 2)
        if classes == 2:
            maps = torch.cat([torch.zeros_like(maps), maps], dim=1)
        return SimpleNamespace(logits=maps)

    # Two classes for 2 x 2 px may come last too.
    segmenter = hw.Segmenter(model, layout="channels_first")
    # Bilinear between pixel centers, four output pixels to one: fractions of the right value, by hand.
    row = -2 + 4 * np.array([0, 0, 0.125, 0.375, 0.625, 0.875, 1, 1])
    expected = np.broadcast_to(1 / (1 + np.exp(-row)), (2, 8, 8))
    np.testing.assert_allclose(segmenter.probabilities(torch.zeros(2, 3, 8, 8)), expected, atol=1e-6)
    np.testing.assert_array_equal(segmenter.masks(torch.zeros(2, 3, 8, 8)), expected > 0.5)


@pytest.mark.parametrize(("threshold", "expected"), [(0.3, [True, True, True]), (0.55, [True, True, False])])
def test_threshold(threshold, expected):
    segmenter = hw.Segmenter(lambda images: images[:, 0], threshold=threshold)
    np.testing.assert_array_equal(segmenter.masks(torch.tensor([[[[0.9, 0.6, 0.5]]]]))[0, 0], expected)


def test_threshold_is_a_probability_for_logits_too():
    segmenter = hw.Segmenter(lambda images: images[:, 0], threshold=0.9)
    np.testing.assert_array_equal(segmenter.masks(torch.tensor([[[[2.0, 2.5, -1.0]]]]))[0, 0], [False, True, False])


# -- activation, decided once -------------------------------------------------------------------------


def test_probabilities_once_are_probabilities_for_good():
    segmenter = hw.Segmenter(lambda images: images[:, 0])
    segmenter.masks(torch.tensor([[[[0.0, 1.0]]]]))
    np.testing.assert_allclose(segmenter.probabilities(torch.tensor([[[[0.6, 1.5]]]])), [[[0.6, 1.5]]])


def test_logits_once_are_logits_for_good():
    segmenter = hw.Segmenter(lambda images: images[:, 0])
    segmenter.masks(torch.tensor([[[[-3.0, 4.0]]]]))
    np.testing.assert_array_equal(segmenter.masks(torch.tensor([[[[0.2, 0.9]]]])), [[[True, True]]])


@pytest.mark.parametrize(
    ("activation", "expected"), [("none", [0.2, 0.7]), ("sigmoid", [0.549834, 0.668188]), ("auto", [0.2, 0.7])]
)
def test_activation_as_told(activation, expected):
    segmenter = hw.Segmenter(lambda images: images[:, 0], activation=activation)
    np.testing.assert_allclose(segmenter.probabilities(torch.tensor([[[[0.2, 0.7]]]]))[0, 0], expected, atol=1e-6)


# -- images in --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_a_module_gets_the_precision_of_its_weights(dtype):
    model = Pass().to(dtype)
    seen = []
    model.register_forward_pre_hook(lambda module, args: seen.append(args[0].dtype))
    segmenter = hw.Segmenter(model, batch_size=2)
    probabilities = segmenter.probabilities(IMAGES)
    assert set(seen) == {dtype}
    note = f"Images are given to the model in {str(dtype).removeprefix('torch.')}, like its weights."
    assert (note in str(segmenter.reading)) == (dtype != torch.float64)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities, IMAGES[:, 0], atol=4e-3)


@pytest.mark.parametrize(
    "images",
    [
        IMAGES.numpy()[..., ::-1],
        IMAGES.numpy().astype(">f4"),
        np.broadcast_to(IMAGES.numpy()[:1], (2, 1, 1, 3)),
    ],
    ids=["flipped view", "big endian", "read-only"],
)
@pytest.mark.usefixtures("every_torch_warning")
def test_numpy_images_need_no_special_layout(images):
    masks = hw.Segmenter(lambda images: images[:, 0]).masks(images)
    np.testing.assert_array_equal(masks, images[:, 0] > 0.5)


@pytest.mark.parametrize(("height", "width", "mode"), [(5, 7, "reflect"), (8, 8, None), (3, 9, "edge"), (1, 1, "edge")])
def test_padding_by_reflection_is_cropped_back(height, width, mode):
    seen = []

    def model(images):
        seen.append(images)
        return images[:, 0]

    images = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0))
    probabilities = hw.Segmenter(model, pad_to=8).probabilities(images)
    np.testing.assert_array_equal(probabilities, images[:, 0])
    if mode is None:
        expected = images.numpy()
    else:
        # Reflection needs an image larger than what it adds; a smaller one repeats its edge.
        room = ((0, 0), (0, 0), (0, -height % 8), (0, -width % 8))
        expected = np.pad(images.numpy(), room, mode=mode)
    np.testing.assert_array_equal(torch.cat(seen), expected)


def test_padding_serves_a_small_output_too():
    # 6 px padded to 8, output 2 px: the crop comes after the resize.
    segmenter = hw.Segmenter(lambda images: torch.tensor([[[-2.0, 2.0]] * 2]), pad_to=8)
    row = -2 + 4 * np.array([0, 0, 0.125, 0.375, 0.625, 0.875])
    expected = np.broadcast_to(1 / (1 + np.exp(-row)), (1, 6, 6))
    np.testing.assert_allclose(segmenter.probabilities(torch.zeros(1, 1, 6, 6)), expected, atol=1e-6)


def test_a_network_that_no_padding_helps_is_said_so():
    for pad_to in (None, 2):
        with pytest.raises(
            ModelError, match=r"Sizes of tensors.*padding the sides to multiples of 2 to 64 does not help"
        ):
            hw.Segmenter(Refuses(), pad_to=pad_to).masks(torch.zeros(1, 1, 5, 5))


@pytest.mark.parametrize(
    ("classes", "settings"),
    [
        (1, {"activation": "sigmoid", "threshold": 0.3}),
        (1, {"activation": "none", "threshold": 0.7}),
        (2, {}),
        (3, {"target": 1}),
        (3, {"target": 1, "classes": "independent", "threshold": 0.9}),
    ],
)
def test_the_margin_is_what_the_target_may_lose(classes, settings):
    raw = torch.from_numpy(np.random.default_rng(classes).normal(size=(2, classes, 6, 7))).float()
    raw = raw.sigmoid() if settings.get("activation") == "none" else raw
    segmenter = hw.Segmenter(lambda images: raw, **settings)
    raw = segmenter.raw(torch.zeros(2, 1, 6, 7))
    margin = segmenter.margin(raw)
    assert margin.shape == (2, 6, 7)
    for by in (-0.4, -0.1, 0.0, 0.1, 0.4):
        moved = raw.clone()
        segmenter.target_map(moved).add_(by)
        assert torch.equal(segmenter.binarize(moved), margin + by > 0)


# -- errors -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ({"aux": torch.zeros(2, 1, 3)}, r"mapping without 'out' or 'logits'; it has \['aux'\]"),
        ([], "empty list"),
        ("mask", "expected a tensor or an array of maps from the model, got str"),
        (None, "got NoneType"),
        (torch.zeros(2, 1, 3, dtype=torch.complex64), "expected real numbers from the model, got torch.complex64"),
        (torch.zeros(1, 1, 3), r"with N = 2 from the model, got shape \(1, 1, 3\)"),
        (torch.zeros(2, 3), r"got shape \(2, 3\)"),
        (torch.zeros(2, 1, 1, 1, 3), r"got shape \(2, 1, 1, 1, 3\)"),
        (torch.zeros(2, 0, 1, 3), r"got shape \(2, 0, 1, 3\)"),
        (torch.zeros(2, 2, 3), "maps of 2 x 3 px for images of 1 x 3 px"),
        (torch.zeros(2, 4, 1, 3), "returned 4 classes; say which one is the segment with target="),
        (torch.full((2, 1, 3), torch.nan), "NaN or infinity"),
        (torch.full((2, 1, 3), -torch.inf), "NaN or infinity"),
    ],
)
def test_output_that_is_no_segmentation(output, message):
    segmenter = hw.Segmenter(lambda images: output)
    with pytest.raises(ModelOutputError, match=message) as error:
        segmenter.binarize(segmenter.raw(IMAGES))
    assert isinstance(error.value, ValueError)
    assert isinstance(error.value, ModelError)


@pytest.mark.parametrize("batch_size", [None, 1, 2, 5])
def test_the_first_image_with_nan_is_named(batch_size):
    images = IMAGES[[0, 0, 1, 0, 1]]

    def model(batch):
        return batch[:, 0].where(batch[:, 0] != 0.6, torch.nan)

    for run in (hw.Segmenter(model, batch_size=batch_size).masks, hw.Segmenter(model).raw):
        with pytest.raises(ModelOutputError, match="NaN or infinity") as error:
            run(images)
        assert error.value.image_index == 2
    with pytest.warns(DeprecationWarning, match="called image_index now"):
        assert error.value.picture == 2


def test_large_numbers_are_no_infinity():
    # Their sum overflows, each of them is finite.
    masks = hw.Segmenter(lambda images: torch.full_like(images[:, 0], 3e38)).masks(IMAGES)
    assert masks.all()


def test_target_beyond_the_classes():
    with pytest.raises(ModelOutputError, match=r"target is class 2, but the model returned 2 class"):
        hw.Segmenter(two_classes, target=2).masks(IMAGES)


def test_an_error_of_the_model_is_told_with_its_cause():
    model = Pass()
    model.register_forward_pre_hook(lambda *_: 1 / 0)
    with pytest.raises(
        ModelError, match=r"ZeroDivisionError: division by zero for an input of shape \(2, 1, 1, 3\)"
    ) as error:
        hw.Segmenter(model).raw(IMAGES)
    assert isinstance(error.value.__cause__, ZeroDivisionError)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"model": 3}, TypeError, "must be a torch.nn.Module or a callable, got int"),
        ({"model": Pass}, TypeError, "did you forget the parentheses"),
        ({"target": -1}, ValueError, "target must be the index of a class"),
        ({"target": 1.0}, ValueError, "target must be the index of a class"),
        ({"target": True}, ValueError, "target must be the index of a class"),
        ({"threshold": float("nan")}, ValueError, "threshold must be a finite number"),
        ({"threshold": "high"}, ValueError, "threshold must be a finite number"),
        (
            {"activation": "tanh"},
            ValueError,
            "activation must be one of 'auto', 'none', 'sigmoid', 'softmax', got 'tanh'",
        ),
        ({"batch_size": 0}, ValueError, "batch_size must be a whole number of at least 1"),
        ({"batch_size": 2.0}, ValueError, "batch_size must be a whole number of at least 1"),
        ({"pad_to": 0}, ValueError, "pad_to must be a whole number of at least 1"),
        ({"pad_to": True}, ValueError, "pad_to must be a whole number of at least 1"),
    ],
)
def test_bad_settings(options, error, message):
    with pytest.raises(error, match=message):
        hw.Segmenter(**{"model": len, **options})


@pytest.mark.parametrize(
    "options",
    [{"target": np.int64(1)}, {"threshold": np.float32(0.25)}, {"batch_size": np.int64(2)}, {"pad_to": np.int32(4)}],
)
def test_numbers_of_numpy_serve_as_settings(options):
    ((name, value),) = options.items()
    assert getattr(hw.Segmenter(two_classes, **options), name) == value


@pytest.mark.parametrize(("shape", "message"), [((1, 3, 3), "four dimensions"), ((0, 1, 3, 3), "there is no image")])
def test_bad_images(shape, message):
    with pytest.raises(ValueError, match=message):
        hw.Segmenter(lambda images: images[:, 0]).masks(torch.zeros(shape))


def test_of_keeps_a_segmenter_and_refuses_settings_beside_it():
    segmenter = hw.Segmenter(two_classes, threshold=0.25)
    assert hw.Segmenter.wrap(segmenter, target=None, device="cpu") is segmenter
    assert hw.Segmenter.wrap(two_classes, target=1, threshold=None).target == 1
    with pytest.raises(ValueError, match="target, threshold must be set on the Segmenter itself"):
        hw.Segmenter.wrap(segmenter, target=1, threshold=0.5)
