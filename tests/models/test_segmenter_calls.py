"""How a segmenter calls a model: with tensors or arrays, in batches of which size, in which thread."""

import contextlib
import io
import re
import sys
import threading
import warnings

import numpy as np
import pytest
import torch
from torch import nn

import hdm_widgets as hw
from hdm_widgets.models.segmenter import ModelError, ModelOutputError

# Two images of one channel whose values are the probabilities that most models here return.
IMAGES = torch.tensor([[[[0.1, 0.9, 0.5]]], [[[0.6, 0.4, 0.0]]]])
MASKS = [[[False, True, False]], [[True, False, False]]]

NETWORK = nn.Conv2d(1, 1, 1, bias=False)
NETWORK.requires_grad_(False).weight.fill_(1.0)


# -- tensors or arrays --------------------------------------------------------------------------------


class Session:
    """Takes arrays in a dict, as ONNX Runtime does, and nothing else."""

    def run(self, names, feeds):
        (images,) = feeds.values()
        if not isinstance(images, np.ndarray):
            raise TypeError(f"expected an array, got {type(images)}")
        return [images[:, 0]]


def numpy_only(images):
    if not isinstance(images, np.ndarray):
        raise TypeError("numpy arrays, please")
    return images[:, 0]


def writes_then_converts(images):
    images.sub_(1.0)
    return np.asarray(NETWORK(images + 1.0)[:, 0])


TENSOR, ARRAY = torch.Tensor, np.ndarray
FUNCTIONS = {
    "torch": (lambda images: images[:, 0], [TENSOR, TENSOR]),
    "torch, returns .numpy()": (lambda images: NETWORK(images)[:, 0].numpy(), [TENSOR, TENSOR]),
    # A torch function that asks for an array is tried with one, and found to need tensors.
    "torch, returns asarray": (lambda images: np.asarray(NETWORK(images)[:, 0]), [TENSOR, ARRAY, TENSOR, TENSOR]),
    "torch, writes into its input": (writes_then_converts, [TENSOR, ARRAY, TENSOR, TENSOR]),
    "numpy": (numpy_only, [TENSOR, ARRAY, ARRAY]),
    # NumPy accepts a tensor here, and warns when it makes a tensor of the result.
    "numpy function": (lambda images: np.clip(images, 0, 1)[:, 0], [TENSOR, ARRAY, ARRAY]),
    "numpy operators": (lambda images: 1 - np.subtract(1, images[:, 0]), [TENSOR, ARRAY, ARRAY]),
    "numpy, converts": (lambda images: np.asarray(images)[:, 0], [TENSOR, ARRAY, ARRAY]),
    "numpy, by lists": (lambda images: np.stack([np.asarray(image)[0] for image in images]), [TENSOR, ARRAY, ARRAY]),
    "session": (lambda images: Session().run(None, {"images": images})[0], [TENSOR, ARRAY, ARRAY]),
    "session, converts": (lambda images: Session().run(None, {"i": np.asarray(images)})[0], [TENSOR, ARRAY, ARRAY]),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_is_found_to_take_tensors_or_arrays(name):
    function, expected = FUNCTIONS[name]
    kinds = []

    def model(images):
        kinds.append(type(images))
        assert str(images.dtype).endswith("float32")
        return function(images)

    segmenter = hw.Segmenter(model, batch_size=2)
    images = IMAGES.clone()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        np.testing.assert_allclose(segmenter.probabilities(images), IMAGES[:, 0], atol=1e-6)
        np.testing.assert_allclose(segmenter.probabilities(IMAGES.clone()), IMAGES[:, 0], atol=1e-6)
    # After the first batch, one image is run alone and beside another.
    assert kinds == expected + 2 * expected[-1:]
    assert [str(warning.message) for warning in caught] == []


@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_the_user_sets_meanwhile_stays(name, monkeypatch):
    """A filter for warnings, and another stderr, set in the main thread while a worker makes the first call."""
    function, _ = FUNCTIONS[name]
    calling, goes_on = threading.Event(), threading.Event()
    masks = []

    def model(images):
        calling.set()
        assert goes_on.wait(30)
        return function(images)

    worker = threading.Thread(target=lambda: masks.append(hw.Segmenter(model).masks(IMAGES)))
    filters = list(warnings.filters)
    try:
        worker.start()
        assert calling.wait(30)
        warnings.filterwarnings("ignore", message="set by the user")
        chosen = list(warnings.filters)
        assert chosen != filters
        with contextlib.redirect_stderr(io.StringIO()) as stream:
            goes_on.set()
            worker.join(30)
            assert sys.stderr is stream
            assert warnings.filters == chosen
    finally:
        goes_on.set()
        worker.join(30)
        warnings.filters[:] = filters
    np.testing.assert_array_equal(masks[0], MASKS)
    assert stream.getvalue() == ""


def test_a_function_that_fails_both_ways_tells_both():
    def model(images):
        raise KeyError("tensor" if isinstance(images, torch.Tensor) else "array")

    with pytest.raises(
        ModelError, match=r"KeyError: 'tensor' for a torch tensor .*KeyError: 'array' for the same numpy"
    ):
        hw.Segmenter(model).masks(IMAGES)


def test_a_function_that_fails_on_what_it_converts_tells_its_own_errors():
    def model(images):
        values = np.asarray(images)
        raise KeyError(f"{type(images).__name__} of {values.ndim}")

    with pytest.raises(
        ModelError, match=r"KeyError: 'Tensor of 4' for a torch tensor .*KeyError: 'ndarray of 4' for the same numpy"
    ):
        hw.Segmenter(model).masks(IMAGES)


@pytest.mark.parametrize("attempt", [1, 2, 3])
def test_memory_that_runs_out_in_any_attempt_is_no_answer(attempt):
    calls = []

    def model(images):
        calls.append(type(images))
        if len(calls) == attempt:
            raise MemoryError
        return np.asarray(NETWORK(images)[:, 0])

    segmenter = hw.Segmenter(model)
    with pytest.raises(MemoryError):
        segmenter.raw(IMAGES)
    assert len(calls) == attempt
    np.testing.assert_array_equal(segmenter.masks(IMAGES), MASKS)


@pytest.mark.parametrize("converts", [True, False])
def test_an_engine_for_images_of_one_size_says_so(converts):
    """ONNX Runtime's error, whose first line has no number."""

    def model(images):
        given = np.asarray(images) if converts else images
        if not isinstance(given, np.ndarray):
            raise TypeError("expected an array")
        raise RuntimeError(
            "[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : Got invalid dimensions for input: x for the "
            "following indices\n"
            " index: 3 Got: 3 Expected: 64\n Please fix either the inputs/outputs or the model."
        )

    with pytest.raises(
        ModelError,
        match=r"^the model takes inputs of another size than \(2, 1, 1, 3\) \(it expects 64 where it got 3\): cut ",
    ):
        hw.Segmenter(model, batch_size=2).raw(IMAGES)


# -- the wrong number of channels -----------------------------------------------------------------------

# What ONNX Runtime says; 1.23.
ONNX = "[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : Got invalid dimensions for input: x for the following indices\n"


def onnx(*axes):
    """A session that refuses its input: for each axis its index, what came and what it expects."""
    text = "\n".join(f" index: {axis} Got: {got} Expected: {expected}" for axis, got, expected in axes)

    def run(images):
        raise RuntimeError(ONNX + text)

    return run


@pytest.mark.parametrize("wrap", [nn.Sequential, lambda network: lambda images: network(images)])
@pytest.mark.parametrize("options", [{}, {"window": 64}, {"window": 16}])
@pytest.mark.parametrize(
    ("shape", "advice"),
    [
        ((18, 40, 3), r", got shape \(18, 40, 3\); channels come first: image.transpose\(2, 0, 1\)"),
        ((40, 18, 3), r", got shape \(40, 18, 3\); channels come first: image.transpose\(2, 0, 1\)"),
        ((4, 40, 18), r", not 4: image\[:3\] are its first channels$"),
        ((1, 18, 40), ", not 1: "),
    ],
)
def test_advice_about_channels_is_about_the_whole_image(wrap, options, shape, advice):
    segmenter = hw.Segmenter(wrap(nn.Conv2d(3, 1, 3, padding=1).requires_grad_(False)), **options)
    with pytest.raises(ModelError, match=rf"^the model raised .* with C = 3{advice}"):
        segmenter.masks(torch.zeros(1, *shape))


@pytest.mark.parametrize("value", [np.nan, -np.inf])
@pytest.mark.parametrize("options", [{}, {"window": 16}, {"window": 64}])
def test_nan_in_an_image_is_not_put_down_to_the_model(options, value):
    images = np.zeros((2, 3, 40, 18), np.float32)
    images[1, 2, 33, 7] = value
    segmenter = hw.Segmenter(nn.Conv2d(3, 1, 1).requires_grad_(False), **options)
    with pytest.raises(ModelOutputError, match=r"^the image has NaN or infinity, first at \(2, 33, 7\), and") as caught:
        segmenter.masks(images)
    assert caught.value.image_index == 1


def test_a_window_is_named_by_where_it_begins_in_the_image():
    def failing(given):
        raise KeyError("weights")

    with pytest.raises(ModelError, match=r"^in the window at row 0, column 0: the model raised KeyError"):
        hw.Segmenter(failing, window=(16, 64)).masks(torch.zeros(1, 3, 40, 18))


@pytest.mark.parametrize("wrap", [nn.Sequential, lambda network: lambda images: network(images)])
@pytest.mark.parametrize("sides", [(64, 128), (50, 70)])
@pytest.mark.parametrize(
    ("got", "expected", "advice"),
    [
        (1, 3, r"C = 3, not 1: image\[\[0\] \* 3\] repeats the channel of \(1, H, W\)$"),
        (4, 3, r"C = 3, not 4: image\[:3\] are its first channels$"),
        (3, 1, r"C = 1, not 3: image.mean\(0\) makes one channel of them$"),
        (3, 6, r"C = 6, not 3$"),
    ],
)
def test_a_wrong_number_of_channels_is_told_as_such(wrap, sides, got, expected, advice):
    """No word about padding, which would not help."""
    segmenter = hw.Segmenter(wrap(nn.Conv2d(expected, 1, 3, padding=1).requires_grad_(False)))
    with pytest.raises(ModelError, match=rf"; it expects images \(C, H, W\) with {advice}") as caught:
        segmenter.masks(torch.zeros(1, got, *sides))
    assert "pad" not in str(caught.value).split("; it expects")[1]
    # As the message says.
    right = {(1, 3): lambda i: i[[0] * 3], (4, 3): lambda i: i[:3], (3, 1): lambda i: i.mean(0)[None]}
    if (got, expected) in right:
        segmenter.masks(right[got, expected](torch.zeros(got, *sides))[None])


def test_a_wrong_number_of_channels_of_an_exported_model():
    with pytest.raises(
        ModelError, match=r"Got invalid dimensions.*expects images \(C, H, W\) with C = 3, not 1: image"
    ):
        hw.Segmenter(onnx((1, 1, 3))).masks(IMAGES)
    with pytest.raises(ModelError, match=r"takes inputs of another size than.*expects 512 where it got 1\)"):
        hw.Segmenter(onnx((2, 1, 512), (3, 3, 512))).masks(IMAGES)


@pytest.mark.parametrize(
    "network",
    [
        # The channels of a deeper layer are no matter of the image; nor is padding.
        nn.Sequential(nn.Conv2d(1, 4, 1), nn.Conv2d(8, 1, 1)),
        # Sides that 64 divides are not to be padded, whatever the error says of sizes.
        nn.Sequential(nn.Conv2d(1, 4, 1), nn.Unflatten(1, (3, 2))),
    ],
)
def test_no_advice_where_none_helps(network):
    with pytest.raises(ModelError, match=r"RuntimeError: .*size.*for an input of shape \(1, 1, 64, 128\)$"):
        hw.Segmenter(network.requires_grad_(False)).masks(torch.zeros(1, 1, 64, 128))


# -- batches ------------------------------------------------------------------------------------------


def test_batches_have_the_size_asked_for():
    sizes = []

    def model(images):
        sizes.append(len(images))
        return images[:, 0]

    images = torch.arange(5).reshape(5, 1, 1, 1) / 5
    masks = hw.Segmenter(model, batch_size=2).masks(images)
    checks = [1, 2]  # of one image alone, and beside another
    assert sizes == [2, 2, 1, *checks]
    np.testing.assert_array_equal(masks.ravel(), [False, False, False, True, True])
    sizes.clear()
    hw.Segmenter(model).masks(images.expand(5, 1, 3, 3))
    assert sum(sizes) == 5 + sum(checks)


def test_images_that_a_model_writes_into_are_the_callers_no_longer():
    """A batch that is run again, because it failed, has its values again."""

    def model(images):
        images.mul_(0.5)
        if len(images) > 2:
            raise MemoryError
        if (images[:, 0] < 0.1).any() and len(images) > 1:
            raise ValueError("one at a time, please")
        return images[:, 0]

    images = torch.linspace(0, 1, 10).reshape(10, 1, 1, 1)
    before = images.clone()
    segmenter = hw.Segmenter(model, batch_size=8)
    with pytest.warns(UserWarning, match="one at a time"):
        probabilities = segmenter.probabilities(images)
    np.testing.assert_allclose(probabilities.ravel(), np.linspace(0, 0.5, 10), atol=1e-6)
    assert torch.equal(images, before)


MANY = torch.arange(50).reshape(50, 1, 1, 1).expand(50, 1, 2, 2) / 50
CALLS = [hw.Segmenter.masks, hw.Segmenter.probabilities]


def expected_of(call):
    values = MANY[:, 0].numpy()
    return values > 0.5 if call is hw.Segmenter.masks else values


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(("batch_size", "most", "tried"), [(16, 5, [16, 8]), (16, 1, [16, 8, 4, 2]), (None, 3, None)])
@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"), MemoryError()])
def test_a_batch_that_runs_out_of_memory_is_halved(call, batch_size, most, tried, error):
    sizes = []

    def model(images):
        sizes.append(len(images))
        if len(images) > most:
            raise error
        return images[:, 0]

    segmenter = hw.Segmenter(model, batch_size=batch_size)
    for _ in range(2):
        np.testing.assert_array_equal(call(segmenter, MANY), expected_of(call))
    failed = [size for size in sizes if size > most]
    # What was too much once is never tried again, in later calls neither.
    assert failed == tried if tried else len(set(failed)) == len(failed)
    checked = 3 if most > 1 else 0  # one image alone and beside another
    assert sum(size for size in sizes if size <= most) == 100 + checked


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("batch_size", [None, 1, 8])
@pytest.mark.parametrize("error", [RuntimeError("CUDA out of memory. Tried to allocate"), MemoryError()])
def test_a_single_image_that_needs_too_much_memory(call, batch_size, error):
    def model(images):
        if (images == 0.5).any():
            raise error
        return images[:, 0]

    with pytest.raises(ModelError, match=r"^out of memory even for a single image: ") as caught:
        call(hw.Segmenter(model, batch_size=batch_size), MANY)
    assert caught.value.image_index == 25
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("call", CALLS)
def test_a_model_that_takes_single_images_only(call):
    sizes = []

    def model(images):
        sizes.append(len(images))
        if len(images) > 1:
            raise ValueError("one at a time, please")
        return images[:, 0]

    segmenter = hw.Segmenter(model, batch_size=4)
    with pytest.warns(UserWarning, match=r"failed on a batch of 4 images .*one at a time, please.*batch_size=1 avoids"):
        got = call(segmenter, MANY)
    np.testing.assert_array_equal(got, expected_of(call))
    np.testing.assert_array_equal(call(segmenter, MANY), expected_of(call))  # without another warning
    # The first call of a callable is tried with an array too.
    assert sizes == [4, 4] + [1] * 100


# -- batches of one size --


def onnx_session(number):
    """Takes batches of a number of images, and fails on others as ONNX Runtime does."""

    def run(images):
        if len(images) != number:
            raise RuntimeError(
                "Got invalid dimensions for input: images for the following indices\n"
                f" index: 0 Got: {len(images)} Expected: {number}\n Please fix either the inputs or the model."
            )
        return np.asarray(images)[:, 0]

    return run


def exported_program(number):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        return torch.export.export(NETWORK, (torch.zeros(number, 1, 1, 3),)).module()


@pytest.mark.filterwarnings("ignore:the model failed on a batch")
@pytest.mark.parametrize("options", [{}, {"batch_size": 4}])
@pytest.mark.parametrize("make", [onnx_session, exported_program])
def test_a_batch_of_one_size_is_told_from_images_of_one_size(make, options):
    model = make(4)
    with pytest.raises(ModelError, match=r"takes batches of 4 images only, it got [12]: fill its batches up") as caught:
        hw.Segmenter(model, **options).masks(IMAGES)
    code = re.search(r"fill its batches up, (Segmenter\(.*, batch_size=4\))", str(caught.value))[1]
    segmenter = eval(code, {"Segmenter": hw.Segmenter, "model": model})
    several = IMAGES.repeat(3, 1, 1, 1)
    np.testing.assert_allclose(segmenter.probabilities(several), several[:, 0], atol=1e-6)


@pytest.mark.parametrize("make", [onnx_session, exported_program])
def test_a_model_of_single_images_runs_one_at_a_time(make):
    np.testing.assert_array_equal(hw.Segmenter(make(1), batch_size=1).masks(IMAGES), MASKS)


def test_an_exported_program_says_which_size_it_takes():
    with pytest.raises(ModelError, match=r"inputs of another size than \(1, 1, 1, 2\) \(it expects 3 where it got 2\)"):
        hw.Segmenter(exported_program(1)).masks(IMAGES[..., :2])
