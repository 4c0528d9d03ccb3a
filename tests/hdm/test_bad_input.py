import matplotlib
import numpy as np
import pytest
import torch

import hdm_widgets as hw
from hdm_widgets import hdm

IMAGE = np.full((3, 16, 20), 0.5, np.float32)
SEGMENT = np.eye(16, 20, dtype=np.uint8)


class NeverCalled:
    """A model that must not run: bad input is said before any work."""

    calls = 0

    def __call__(self, images):
        self.calls += 1
        return images[:, 0]


def changed(array, index, value):
    array = array.copy()
    array[index] = value
    return array


def circle(size):
    return {"circle_size": size}


BAD = [
    # the device
    ({"device": "cuda:99"}, ValueError, "there is no device 'cuda:99': of CUDA devices, torch finds"),
    # the image
    ({"image": [[0.5] * 20] * 16}, TypeError, "the image must be a torch tensor or a numpy array, got list"),
    ({"image": IMAGE[None]}, ValueError, r"\(C, H, W\) or \(H, W\), got shape \(1, 3, 16, 20\); take one image"),
    ({"image": IMAGE[0, 0]}, ValueError, r"\(C, H, W\) or \(H, W\), got shape \(20,\)"),
    ({"image": IMAGE[:, :, :19]}, ValueError, r"20 px wide and 16 px high, \(C, 16, 20\), got shape \(3, 16, 19\)"),
    (
        {"image": IMAGE.swapaxes(1, 2)},
        ValueError,
        r"20 px wide and 16 px high.*got shape \(3, 20, 16\); width comes first: HausdorffDistanceMasks\(16, 20\)$",
    ),
    (
        {"image": IMAGE[0].T},
        ValueError,
        r"20 px wide.*got shape \(20, 16\); width comes first: HausdorffDistanceMasks\(16, 20\)$",
    ),
    ({"image": IMAGE.transpose(1, 2, 0)}, ValueError, r"channels come first: image.transpose\(2, 0, 1\)"),
    ({"image": IMAGE[:0]}, ValueError, r"the image has no channel, got shape \(0, 16, 20\)"),
    ({"image": IMAGE.astype(np.uint8)}, TypeError, r"of a floating type.*got uint8.*astype\('float32'\) / 255"),
    ({"image": torch.ones(3, 16, 20, dtype=torch.int64)}, TypeError, "of a floating type.*got torch.int64"),
    ({"image": IMAGE.astype(complex)}, TypeError, "of a floating type.*got complex128"),
    ({"image": IMAGE > 0}, TypeError, "of a floating type.*got bool"),
    ({"image": changed(IMAGE, (1, 2, 3), np.nan)}, ValueError, r"NaN or infinity, first at \(1, 2, 3\)"),
    ({"image": changed(IMAGE, (0, 15, 19), -np.inf)}, ValueError, r"NaN or infinity, first at \(0, 15, 19\)"),
    # the segment
    ({"segment": SEGMENT.tolist()}, TypeError, "the segment must be a torch tensor or a numpy array, got list"),
    ({"segment": SEGMENT[:, :-1]}, ValueError, r"segment of the image's size \(16, 20\), got shape \(16, 19\)"),
    (
        {"segment": SEGMENT.T},
        ValueError,
        r"segment of the image's size \(16, 20\), got shape \(20, 16\); its axes are swapped: segment.T has this size",
    ),
    ({"segment": SEGMENT[None]}, ValueError, r"got shape \(1, 16, 20\); take the mask out of its first axis"),
    ({"segment": SEGMENT.astype(complex)}, TypeError, "bool, whole or real numbers.*got complex128"),
    ({"segment": SEGMENT.astype(str)}, TypeError, "bool, whole or real numbers"),
    ({"segment": changed(SEGMENT.astype(float), (3, 3), np.nan)}, ValueError, "the segment has NaN or infinity"),
    # settings of the scan
    ({"channel": 3}, ValueError, r"channel must be -1 \(all\) or 0 to 2 for this image, got 3"),
    ({"channel": -2}, ValueError, r"channel must be -1 \(all\) or 0 to 2 for this image, got -2"),
    ({"channel": 1.0}, TypeError, "channel must be a whole number, got 1.0"),
    ({"channel": True}, TypeError, "channel must be a whole number, got True"),
    ({"distance": "euclid"}, ValueError, "distance must be one of 'hausdorff', 'hausdorff95', .*'rows', got 'euclid'"),
    ({"empty": "zero"}, ValueError, "empty must be one of 'diagonal', 'inf', 'nan', 'raise', got 'zero'"),
    ({"fill": "median"}, ValueError, "'noise', 'inpainted' or a finite number, got 'median'"),
    ({"threshold": np.nan}, ValueError, "threshold must be a finite number"),
    ({"target": -1}, ValueError, "target must be the index of a class"),
    ({"batch_size": 0}, ValueError, "batch_size must be a whole number of at least 1, got 0"),
    ({"batch_size": 2.5}, ValueError, r"batch_size must be a whole number of at least 1, got 2\.5"),
    ({"batchsize": 4}, TypeError, "no keyword 'batchsize'; did you mean 'batch_size'"),
    ({"colour": "red"}, TypeError, "no keyword 'colour'; known are model, image, segment"),
    # the model
    ({"model": "model.pt"}, TypeError, "model must be a torch.nn.Module or a callable, got str"),
    ({"model": hw.UNet}, TypeError, "got the class UNet; did you forget the parentheses"),
]
REGIONS = [
    ((0, 0, 17, 5), ValueError, r"0 <= row0 < row1 <= 16 and\s+0 <= col0 < col1 <= 20, got \(0, 0, 17, 5\)"),
    ((4, 0, 4, 5), ValueError, "0 <= row0 < row1 <= 16"),
    ((0, -1, 4, 5), ValueError, "0 <= col0 < col1 <= 20"),
    ((0, 0, 4), TypeError, r"region must be \(row0, col0, row1, col1\), got \(0, 0, 4\)"),
    ((0, 0, 4, 5.0), TypeError, "region must be four whole numbers"),
    ("all", TypeError, "region must be"),
]
GRIDS = [
    ({"circle_size": 0}, ValueError, "circle_size must be at least 1 px, got 0"),
    ({"circle_size": -3}, ValueError, "circle_size must be at least 1 px, got -3"),
    ({"circle_size": 17}, ValueError, "circle_size must not be larger than the image, got 17 px for an image 20 px"),
    ({"circle_size": 4.0}, TypeError, r"circle_size must be a whole number of pixels, got 4.0 \(float\)"),
    ({"circle_size": "4"}, TypeError, r"circle_size must be a whole number of pixels, got '4' \(str\)"),
    ({"circle_size": True}, TypeError, "circle_size must be a whole number of pixels, got True"),
    ({"offset": 0}, ValueError, "offset must be at least 1 px, got 0"),
    ({"offset": 17}, ValueError, "offset must not be larger than the image, got 17 px"),
    ({"offset": 2.5}, TypeError, r"offset must be a whole number of pixels, got 2.5 \(float\)"),
]


def name_of(value):
    return "-".join(value) if isinstance(value, dict) else ""


@pytest.fixture
def explainer():
    explainer = hdm.HausdorffDistanceMasks(20, 16)
    explainer.generate_masks(4, 4)
    return explainer


@pytest.mark.parametrize("method", ["explain", "stream"])
@pytest.mark.parametrize(("wrong", "error", "message"), BAD, ids=name_of)
def test_said_at_the_call(explainer, method, wrong, error, message):
    model = NeverCalled()
    with pytest.raises(error, match=message):
        getattr(explainer, method)(**{"model": model, "image": IMAGE, "segment": SEGMENT, **wrong})
    assert model.calls == 0
    assert explainer.result is None


@pytest.mark.parametrize("method", ["explain", "stream"])
@pytest.mark.parametrize(("region", "error", "message"), REGIONS)
def test_regions(explainer, method, region, error, message):
    model = NeverCalled()
    with pytest.raises(error, match=message):
        getattr(explainer, method)(model, IMAGE, SEGMENT, region=region)
    assert model.calls == 0


@pytest.mark.parametrize(("wrong", "error", "message"), GRIDS)
def test_grids(explainer, wrong, error, message):
    before = explainer.grid
    with pytest.raises(error, match=message):
        explainer.generate_masks(**{"circle_size": 4, "offset": 4, **wrong})
    assert explainer.grid is before


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    # A region is for scans in code; the explorer takes the image's size from the image.
    [(wrong, error, message) for wrong, error, message in BAD if "20 px wide" not in message] + GRIDS,
    ids=name_of,
)
def test_the_explorer_says_the_same(wrong, error, message):
    model = NeverCalled()
    if "take one image" in message or "known are" in message:
        message = message.split(";")[0]
    with pytest.raises(error, match=message):
        hw.HDMExplorer(**{"model": model, "image": IMAGE, "segment": SEGMENT, **wrong})
    assert model.calls == 0


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"color_map": "Blue"}, ValueError, "unknown color map 'Blue'"),
        ({"result_type": "best"}, ValueError, "unknown result type 'best'; use hdm.RAW, hdm.BETTER_ONLY"),
        *(
            ({"threshold": threshold}, ValueError, f"threshold must be a probability between 0 and 1, got {threshold}")
            for threshold in (0, 1, 1.5, -0.2, 127)
        ),
        ({"circlesize": 5}, TypeError, "no keyword 'circlesize'; did you mean 'circle_size'"),
        (
            {"explainer": hdm.HausdorffDistanceMasks(5, 5)},
            ValueError,
            r"explainer is for images of 5 x 5 px \(rows x columns\), this one has 16 x 20$",
        ),
        (
            {"explainer": hdm.HausdorffDistanceMasks(16, 20)},
            ValueError,
            r"images of 20 x 16 px \(rows x columns\), this one has 16 x 20; width comes first: H.*Masks\(20, 16\)$",
        ),
    ],
)
def test_what_only_the_explorer_takes(wrong, error, message):
    model = NeverCalled()
    with pytest.raises(error, match=message):
        hw.HDMExplorer(**{"model": model, "image": IMAGE, "segment": SEGMENT, **wrong})
    assert model.calls == 0


@pytest.mark.parametrize("name", ["image_width", "image_height"])
@pytest.mark.parametrize(("value", "error"), [(0, ValueError), (-5, ValueError), (4.0, TypeError), ("4", TypeError)])
def test_size_of_the_images(name, value, error):
    with pytest.raises(error, match=f"{name} must be"):
        hdm.HausdorffDistanceMasks(**{"image_width": 20, "image_height": 16, name: value})


def test_masks_come_first():
    model = NeverCalled()
    with pytest.raises(ValueError, match=r"call generate_masks\(circle_size, offset\) first"):
        hdm.HausdorffDistanceMasks(20, 16).explain(model, IMAGE, SEGMENT)
    assert model.calls == 0


def test_unknown_keyword_of_generate_masks(explainer):
    with pytest.raises(TypeError, match=r"generate_masks\(\) has no keyword 'normalise'; did you mean 'normalize'"):
        explainer.generate_masks(4, 4, normalise=True)


@pytest.mark.parametrize("method", ["circle_map", "overlay"])
def test_unknown_colour_maps_and_result_types(explainer, method):
    result = explainer.explain(lambda images: images[:, 0], IMAGE, SEGMENT, progress=False)
    with pytest.raises(ValueError, match=r"unknown color map 'Bleus'; any name in matplotlib.colormaps serves"):
        getattr(result, method)(color_map="Bleus")
    with pytest.raises(TypeError, match="must be the name of a matplotlib color map or a Colormap, got 3"):
        getattr(result, method)(color_map=3)
    with pytest.raises(ValueError, match=r"unknown result type 'worst'; use hdm.RAW"):
        getattr(result, method)("worst")
    with pytest.raises(ValueError, match="unknown result type None"):
        result.distances(None)
    assert result.circle_map(color_map=matplotlib.colormaps["Blues"]).size == (20, 16)


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (lambda images: images[:, 0, :, 0], r"on the image without a disc: for 1 image\(s\) expected maps"),
        (lambda images: images[:0, 0], r"with N = 1 from the model, got shape \(0, 16, 20\)"),
        (lambda images: images.repeat(1, 1, 2, 1)[:, :1], "maps of 32 x 20 px for images of 16 x 20 px"),
        (lambda images: images, "3 classes; say which one is the segment with target="),
        (lambda images: None, "got NoneType"),
        (lambda images: {"masks": images}, r"mapping without 'out' or 'logits'; it has \['masks'\]"),
    ],
)
def test_models_that_return_something_else(explainer, output, message):
    with pytest.raises(hdm.ModelOutputError, match=message):
        explainer.explain(output, IMAGE, SEGMENT, progress=False)


def test_a_label_map_is_warned_of_at_the_callers_line():
    explainer = hdm.HausdorffDistanceMasks(8, 8)
    explainer.generate_masks(3, 4)
    labels = np.arange(64).reshape(8, 8) % 3
    image = np.zeros((1, 8, 8), np.float32)
    with pytest.warns(UserWarning, match="2 different values besides 0.*segment == 1") as caught:
        explainer.explain(lambda images: images[:, 0], image, labels, progress=False)
    assert caught[0].filename == __file__
    # 0 and 255, as mask files have them, are one segment.
    explainer.explain(lambda images: images[:, 0], image, (labels > 0) * 255, progress=False)
