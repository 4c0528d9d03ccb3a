import threading

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from scipy.spatial.distance import directed_hausdorff
from torch import nn
from torch.nn import functional as F

import hdm_widgets as hw
from hdm_widgets import hdm
from hdm_widgets.metrics import hausdorff_distance

QUIET = {"progress": False}


def smooth(images):
    """A model whose mask depends on more than one pixel: the blurred mean of the channels."""
    return F.avg_pool2d(images.mean(1, keepdim=True), 5, stride=1, padding=2)


def first(images):
    return images[:, 0]


def scene(height=24, width=24, channels=1, seed=0):
    """A bright box on a dim ground, and the box as its segment."""
    rng = np.random.default_rng(seed)
    image = rng.uniform(0, 0.3, (channels, height, width)).astype(np.float32)
    segment = np.zeros((height, width), np.uint8)
    segment[height // 4 : 2 * height // 3, width // 3 : 2 * width // 3] = 1
    image[:, segment == 1] += 0.7
    return image, segment


def explainer_for(image, circle_size=6, offset=4, cls=hdm.HausdorffDistanceMasks, **options):
    explainer = cls(image.shape[-1], image.shape[-2])
    explainer.generate_masks(circle_size, offset, **options)
    return explainer


def published_loop(model, image, segment, circle_size, offset, channel, measure, normalize=False):
    """One image at a time, after the published description."""
    image = torch.as_tensor(image)
    height, width = image.shape[-2:]
    distances = np.zeros((height // offset, width // offset))
    for row in range(height // offset):
        for col in range(width // offset):
            mask = Image.new("F", (width, height), 1)
            x, y = col * offset, row * offset
            ImageDraw.Draw(mask).ellipse((x, y, x + circle_size, y + circle_size), fill=-1 if normalize else 0)
            mask = torch.from_numpy(np.array(mask))
            masked = image.clone()
            if channel == -1:
                masked = torch.min(masked, mask)
            else:
                masked[channel] = torch.min(masked[channel], mask)
            output = model(masked[None]).reshape(height, width).numpy()
            distances[row, col] = measure(output, segment)
    return distances


def by_pixels(output, segment):
    if not (output > 0.5).any():
        return np.hypot(*segment.shape)
    points, truth = np.argwhere(output > 0.5), np.argwhere(segment)
    return max(directed_hausdorff(points, truth)[0], directed_hausdorff(truth, points)[0])


def by_rows(output, segment):
    return max(directed_hausdorff(output, segment)[0], directed_hausdorff(segment, output)[0])


# Sizes of the batches that come before any disc: the image, the same again, and a variant of it alone and in a batch.
BEFORE = [1, 1, 1, 2]


class Counted:
    """A model that counts its images and can fail at one of its calls or at one image."""

    def __init__(self, model=first, fail=None, most=None):
        self.model, self.fail, self.most = model, fail, most
        self.sizes = []

    def __call__(self, images):
        self.sizes.append(len(images))
        if self.most is not None and len(images) > self.most:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return self.model(images) if self.fail is None else self.fail(images)


# -- the published method -----------------------------------------------------------------------------


@pytest.mark.parametrize(("distance", "measure"), [("hausdorff", by_pixels), ("rows", by_rows)])
@pytest.mark.parametrize(
    ("height", "width", "channels", "channel"),
    [(24, 24, 1, -1), (20, 29, 1, 0), (29, 20, 3, -1), (24, 24, 3, 1), (21, 21, 5, 4), (18, 30, 6, -1)],
)
def test_equals_a_loop_after_the_published_description(height, width, channels, channel, distance, measure):
    image, segment = scene(height, width, channels)
    result = explainer_for(image).explain(smooth, image, segment, "cpu", channel, distance=distance, **QUIET)
    expected = published_loop(smooth, image, segment, 6, 4, channel, measure)
    np.testing.assert_allclose(result.distances(hdm.RAW), expected, atol=1e-5)
    # Something was seen: not one and the same distance everywhere.
    assert len(np.unique(result.values)) >= 3
    assert result.values.dtype == np.float64
    assert result.complete
    assert result.baseline == pytest.approx(measure(smooth(torch.tensor(image)[None])[0, 0].numpy(), segment))


def test_images_from_minus_one_to_one():
    image, segment = scene(channels=2)
    image = 2 * image - 1
    model = lambda images: smooth(images) / 2 + 0.5  # noqa: E731
    result = explainer_for(image, normalize=True).explain(model, image, segment, **QUIET)
    np.testing.assert_allclose(
        result.values, published_loop(model, image, segment, 6, 4, -1, by_pixels, normalize=True), atol=1e-9
    )
    assert result.occluded(2, 2).min() == -1


@pytest.mark.parametrize("convert", [torch.as_tensor, np.asarray], ids=["torch", "numpy"])
@pytest.mark.parametrize("kind", ["bool", "uint8", "int64", "float64"])
def test_torch_or_numpy_whatever_the_type(convert, kind):
    image, segment = scene()
    expected = explainer_for(image).explain(smooth, image, segment, **QUIET).values
    given = explainer_for(image).explain(
        smooth, convert(image[0].astype(np.float64)), convert(segment.astype(kind)), torch.device("cpu"), **QUIET
    )
    np.testing.assert_array_equal(given.values, expected)


@pytest.mark.parametrize("view", ["flipped", "read-only"])
@pytest.mark.usefixtures("every_torch_warning")
def test_numpy_images_need_no_special_layout(view):
    image, segment = scene(channels=3)
    if view == "flipped":
        image, segment = image[..., ::-1], segment[..., ::-1]
    else:
        image.setflags(write=False)
        segment.setflags(write=False)
    result = explainer_for(image).explain(smooth, image, segment, **QUIET)
    plain = explainer_for(image).explain(smooth, image.copy(), segment.copy(), **QUIET)
    np.testing.assert_array_equal(result.values, plain.values)


def test_a_segmenter_serves_as_the_model():
    image, segment = scene()
    segmenter = hw.Segmenter(lambda images: 10 * smooth(images) - 5, threshold=0.6)
    result = explainer_for(image).explain(segmenter, image, segment, **QUIET)
    bare = explainer_for(image).explain(lambda images: 10 * smooth(images) - 5, image, segment, threshold=0.6, **QUIET)
    np.testing.assert_array_equal(result.values, bare.values)
    with pytest.raises(ValueError, match="threshold must be set on the Segmenter itself"):
        explainer_for(image).explain(segmenter, image, segment, threshold=0.5, **QUIET)


def test_target_chooses_the_class():
    image, segment = scene()

    def three(images):
        bright = images[:, 0] - 0.5
        return 9 * torch.stack([bright * 0 - 1, bright, -bright], dim=1)

    bright = explainer_for(image).explain(three, image, segment, target=1, **QUIET)
    dark = explainer_for(image).explain(three, image, 1 - segment, target=2, **QUIET)
    assert bright.baseline == dark.baseline == 0
    # Covering the ground darkens nothing that was bright; covering the box does.
    np.testing.assert_array_equal(bright.values > 0, dark.values > 0)
    assert bright.values.max() > 0


@pytest.mark.parametrize(("fill", "inside"), [("mean", None), (0.25, 0.25), ("minimum", 0.0)])
def test_fill_is_what_the_model_sees_in_the_disc(fill, inside):
    image, segment = scene(channels=2)
    result = explainer_for(image).explain(smooth, image, segment, channel=1, fill=fill, **QUIET)
    disc = result.grid.mask(2, 3)
    seen = result.occluded(2, 3)
    np.testing.assert_allclose(seen[1][disc], image[1].mean() if inside is None else inside, rtol=1e-6)
    np.testing.assert_array_equal(seen[0], image[0])
    np.testing.assert_array_equal(seen[1][~disc], image[1][~disc])
    mask = smooth(torch.tensor(seen)[None])[0, 0].numpy() > 0.5
    np.testing.assert_array_equal(result.output(2, 3), mask)
    assert result.values[2, 3] == pytest.approx(hausdorff_distance(mask, segment))


def test_blur_hides_less_than_black():
    image, segment = scene()
    black, blurred = (
        explainer_for(image).explain(smooth, image, segment, fill=fill, **QUIET) for fill in ("minimum", "blur")
    )
    assert blurred.values.sum() < black.values.sum()


@pytest.mark.parametrize("empty", ["diagonal", "inf", "nan"])
def test_losing_the_whole_segment_follows_the_policy(empty):
    image, segment = scene(12, 16)
    segment[:] = 0
    segment[2:4, 2:4] = 1
    image[:] = segment
    result = explainer_for(image, circle_size=8, offset=4).explain(first, image, segment, empty=empty, **QUIET)
    expected = {"diagonal": 20.0, "inf": np.inf, "nan": np.nan}[empty]
    np.testing.assert_equal(result.values[0, 0], expected)
    assert result.values[2, 3] == 0
    assert result.complete
    np.testing.assert_array_equal(result.output(0, 0), np.zeros((12, 16), bool))


def test_losing_the_whole_segment_can_be_an_error():
    image, segment = scene(12, 12)
    explainer = explainer_for(image, circle_size=12, offset=12)
    with pytest.raises(hdm.ModelError, match=r"at cell \(row 0, column 0\).*one of the two masks has no pixel"):
        explainer.explain(first, image * segment, segment, empty="raise", **QUIET)


def test_an_empty_segment_warns_and_follows_the_policy():
    image, segment = scene(12, 16)
    with pytest.warns(UserWarning, match="the segment is empty") as caught:
        result = explainer_for(image).explain(first, image, segment * 0, **QUIET)
    assert len(caught) == 1
    assert set(np.unique(result.values)) == {20.0}
    with pytest.warns(UserWarning, match="the segment is empty"):
        result = explainer_for(image).explain(first, image * 0, segment * 0, empty="raise", **QUIET)
    assert set(np.unique(result.values)) == {0.0}


# -- overriding ---------------------------------------------------------------------------------------


class OwnMask(hdm.HausdorffDistanceMasks):
    def apply_mask(self, image, mask):
        self.seen.append((tuple(image.shape), type(image), tuple(mask.shape), sorted(mask.unique().tolist())))
        return torch.where(mask < 1, torch.full_like(image, 0.9), image)


@pytest.mark.parametrize(("channel", "shape"), [(-1, (3, 24, 24)), (2, (24, 24))])
@pytest.mark.parametrize("normalize", [False, True])
def test_own_apply_mask(channel, shape, normalize):
    image, segment = scene(channels=3)
    explainer = explainer_for(image, cls=OwnMask, normalize=normalize)
    explainer.seen = []
    result = explainer.explain(smooth, image, segment, "cpu", channel, **QUIET)
    assert explainer.seen == [(shape, torch.Tensor, (24, 24), [-1.0 if normalize else 0.0, 1.0])] * 36
    for row, col in ((0, 0), (3, 2), (5, 5)):
        disc = result.grid.mask(row, col)
        covered = image.copy()
        covered[slice(None) if channel == -1 else channel, disc] = 0.9
        np.testing.assert_array_equal(result.occluded(row, col), covered)
        expected = by_pixels(smooth(torch.tensor(covered)[None])[0, 0].numpy(), segment)
        assert result.values[row, col] == pytest.approx(expected)


class OwnDistance(hdm.HausdorffDistanceMasks):
    def calculate_distance(self, output, segment):
        self.seen.append((output, segment))
        return float(np.abs(output - segment).sum())


def test_own_calculate_distance_gets_the_raw_output():
    image, segment = scene(20, 28)
    raw = lambda images: 20 * smooth(images) - 10  # noqa: E731
    explainer = explainer_for(image, cls=OwnDistance)
    explainer.seen = []
    result = explainer.explain(raw, image, segment, **QUIET)
    # Every cell, and the image without a disc.
    assert len(explainer.seen) == result.values.size + 1
    for output, truth in explainer.seen:
        assert isinstance(output, np.ndarray)
        assert output.shape == truth.shape == (20, 28)
        assert output.dtype == np.float32
        np.testing.assert_array_equal(truth, segment)
    np.testing.assert_allclose(explainer.seen[0][0], raw(torch.tensor(image)[None])[0, 0], rtol=1e-6)
    assert min(output.min() for output, _ in explainer.seen) < -1
    measure = lambda output, truth: np.abs(output - truth).sum()  # noqa: E731
    expected = published_loop(raw, image, segment, 6, 4, -1, measure)
    np.testing.assert_allclose(result.values, expected, rtol=1e-4)
    # The masks are kept all the same, with the sigmoid at one half.
    np.testing.assert_array_equal(result.output(0, 0), raw(torch.tensor(result.occluded(0, 0))[None])[0, 0].numpy() > 0)
    assert result.settings.distance == "custom"


def test_own_calculate_distance_gets_the_map_of_the_target():
    image, segment = scene()
    explainer = explainer_for(image, cls=OwnDistance)
    explainer.seen = []
    explainer.explain(lambda images: torch.cat([-images, 7 * images], 1), image, segment, target=1, **QUIET)
    np.testing.assert_allclose(explainer.seen[0][0], 7 * image[0], rtol=1e-6)


def test_a_function_put_on_the_instance_is_called_too():
    image, segment = scene()
    explainer = explainer_for(image)
    explainer.calculate_distance = lambda output, truth: 4.0
    assert set(explainer.explain(first, image, segment, **QUIET).values.ravel()) == {4.0}


def test_the_methods_themselves():
    explainer = hdm.HausdorffDistanceMasks(4, 1)
    image = torch.tensor([[[0.3, 0.9, 0.2, 0.8]]])
    masked = explainer.apply_mask(image, torch.tensor([[1.0, 0.0, 0.0, 1.0]]))
    np.testing.assert_allclose(masked, [[[0.3, 0, 0, 0.8]]])
    segment = np.array([[1, 0, 0, 0]])
    assert explainer.calculate_distance(np.array([[0.9, 0.1, 0.6, 0.0]]), segment) == 2.0
    assert explainer.calculate_distance(np.array([[3.0, -1, 0.1, -2]]), segment) == 2.0  # logits


def test_a_distance_must_be_a_number():
    image, segment = scene()
    explainer = explainer_for(image)
    explainer.calculate_distance = lambda output, truth: output
    with pytest.raises(hdm.ModelError, match="calculate_distance must return a number, got ndarray"):
        explainer.explain(first, image, segment, **QUIET)


# -- streaming ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [None, 7])
def test_updates_come_coarse_to_fine(batch_size):
    image, segment = scene(40, 60)
    explainer = explainer_for(image, circle_size=5, offset=2)
    whole = explainer_for(image, circle_size=5, offset=2).explain(smooth, image, segment, **QUIET)
    seen = np.zeros(whole.grid.shape, int)
    rows, cols = np.indices(seen.shape)
    stride, strides = None, []
    for update in explainer.stream(smooth, image, segment, "cpu", batch_size=batch_size):
        if stride is None:
            # The first news is the image without a disc.
            assert update.done == 0
            assert len(update.cells) == len(update.distances) == 0
            assert update.result.baseline == whole.baseline
            assert not update.result.measured.any()
            assert update.seconds_left == float("inf")
        elif update.stride != stride:
            np.testing.assert_array_equal(seen > 0, (rows % stride == 0) & (cols % stride == 0))
        if update.stride != stride:
            stride = update.stride
            strides.append(stride)
        seen[update.cells[:, 0], update.cells[:, 1]] += 1
        assert update.done == seen.sum()
        assert update.total == seen.size
        np.testing.assert_array_equal(update.distances, whole.values[update.cells[:, 0], update.cells[:, 1]])
        np.testing.assert_array_equal(update.result.measured, seen > 0)
        np.testing.assert_array_equal(np.isnan(update.result.values), seen == 0)
        assert update.result is explainer.result
    assert (seen == 1).all()
    # Once a regular grid of the image is there, what is next depends on the map.
    assert strides == [4, 1]
    assert update.seconds_left == 0
    np.testing.assert_array_equal(explainer.result.values, whole.values)


def test_an_earlier_update_keeps_its_own_values():
    image, segment = scene()
    updates = list(explainer_for(image).stream(first, image, segment, batch_size=6))
    assert [int(update.result.measured.sum()) for update in updates] == [0, 6, 12, 18, 24, 30, 36]


def test_leaving_the_loop_half_way():
    class Model(nn.Module):
        def forward(self, images):
            return first(images)

    image, segment = scene()
    model = Model().train()
    explainer = explainer_for(image)
    for update in explainer.stream(model, image, segment, batch_size=5):
        assert not model.training
        if update.done >= 10:
            break
    stream = explainer.stream(model, image, segment, batch_size=5)
    next(stream)
    assert not model.training
    del update
    stream.close()
    assert model.training
    assert explainer.result.measured.sum() == 0

    abandoned = explainer.stream(model, image, segment, batch_size=5)
    next(abandoned), next(abandoned)
    del abandoned
    assert model.training
    # What the first scan measured is known still.
    assert explainer.result.measured.sum() == 10
    assert not explainer.result.complete


def test_what_the_caller_changes_meanwhile_has_no_effect():
    image, segment = scene()
    expected = explainer_for(image).explain(smooth, image.copy(), segment.copy(), distance="rows", **QUIET)
    stream = explainer_for(image).stream(smooth, image, segment, distance="rows", batch_size=4)
    next(stream)
    before = segment.copy()
    image[:], segment[:] = 0, 1
    for update in stream:
        result = update.result
    np.testing.assert_array_equal(result.image, expected.image)
    np.testing.assert_array_equal(result.segment, before != 0)
    np.testing.assert_array_equal(result.values, expected.values)


def test_nothing_runs_before_the_first_news_is_asked_for():
    model = Counted()
    image, segment = scene()
    stream = explainer_for(image).stream(model, image, segment)
    assert model.sizes == []
    next(stream)
    assert model.sizes == BEFORE


# -- progress, region, outputs ------------------------------------------------------------------------


def test_progress_calls_a_function_with_every_update():
    image, segment = scene()
    updates = []
    result = explainer_for(image).explain(first, image, segment, batch_size=10, progress=updates.append)
    assert [update.done for update in updates] == [0, 10, 20, 30, 36]
    assert updates[-1].result is result


def test_progress_is_a_bar_by_default(capsys, monkeypatch):
    # The bar waits half a second so that short scans show none; here it does not wait.
    from hdm_widgets.hdm import explainer as module

    real = module.tqdm
    monkeypatch.setattr(module, "tqdm", lambda **options: real(**{**options, "delay": 0}))
    image, segment = scene()
    explainer_for(image).explain(first, image, segment)
    assert "36/36" in capsys.readouterr().err
    explainer_for(image).explain(first, image, segment, progress=False)
    assert capsys.readouterr().err == ""


def test_region_runs_only_the_discs_that_touch_it():
    image, segment = scene()
    whole = explainer_for(image).explain(smooth, image, segment, **QUIET)
    model = Counted(smooth)
    result = explainer_for(image).explain(model, image, segment, region=(8, 0, 13, 9), batch_size=3, **QUIET)
    inside = np.array([[whole.grid.mask(row, col)[8:13, 0:9].any() for col in range(6)] for row in range(6)])
    assert 0 < inside.sum() < 36
    assert sum(model.sizes) == inside.sum() + sum(BEFORE)
    np.testing.assert_array_equal(result.measured, inside)
    np.testing.assert_array_equal(result.values, np.where(inside, whole.values, whole.baseline))
    assert result.complete
    row, col = np.argwhere(inside)[0]
    np.testing.assert_array_equal(result.output(row, col), whole.output(row, col))
    # Nothing is painted where no disc was run.
    painted = ~np.isnan(result.painted_values())
    np.testing.assert_array_equal(painted, np.any([whole.grid.mask(*cell) for cell in np.argwhere(inside)], axis=0))
    outside = np.argwhere(~inside)[0]
    with pytest.raises(ValueError, match="was not measured"):
        result.output(*outside)


def test_a_region_between_the_discs_has_nothing_to_run():
    image, segment = scene()
    model = Counted()
    result = explainer_for(image, circle_size=2, offset=12).explain(model, image, segment, region=(6, 6, 9, 9), **QUIET)
    assert model.sizes == [1]
    assert (result.values == result.baseline).all()
    assert not np.array(result.circle_map()).any()


def test_masks_need_not_be_kept():
    image, segment = scene()
    kept = explainer_for(image).explain(smooth, image, segment, **QUIET)
    result = explainer_for(image).explain(smooth, image, segment, keep_outputs=False, **QUIET)
    np.testing.assert_array_equal(result.values, kept.values)
    with pytest.raises(ValueError, match=r"masks were not kept; explain\(\.\.\., keep_outputs=True\)"):
        result.output(0, 0)
    assert result.occluded(0, 0).shape == (1, 24, 24)


# -- batches and failures -----------------------------------------------------------------------------


def test_batch_size_as_given():
    image, segment = scene()
    model = Counted()
    explainer_for(image).explain(model, image, segment, batch_size=7, **QUIET)
    assert model.sizes == [*BEFORE, 7, 7, 7, 7, 7, 1]
    model = Counted()
    explainer_for(image).explain(hw.Segmenter(model, batch_size=9), image, segment, **QUIET)
    assert model.sizes == [*BEFORE, 9, 9, 9, 9]


@pytest.mark.parametrize("batch_size", [None, 16])
@pytest.mark.parametrize("most", [1, 3])
def test_out_of_memory_halves_the_batch(batch_size, most):
    image, segment = scene()
    model = Counted(smooth, most=most)
    result = explainer_for(image).explain(model, image, segment, batch_size=batch_size, **QUIET)
    np.testing.assert_array_equal(result.values, explainer_for(image).explain(smooth, image, segment, **QUIET).values)
    scan = model.sizes[len(BEFORE) :]
    if batch_size:
        halvings = scan[: 4 if most == 1 else 3]
        assert halvings == [16, 8, 4, 2][: len(halvings)]
    # Once it was too much, it is never tried again: 36 cells fit in the rest.
    too_many = [size for size in scan if size > most]
    assert len(set(too_many)) == len(too_many)
    assert sum(size for size in scan if size <= most) == 36


def test_out_of_memory_for_a_single_image():
    image, segment = scene()

    def fail(images):
        if (images[:, :, 18:22, 18:22] == 0).flatten(1).all(1).any():
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
        return first(images)

    with pytest.raises(hdm.ModelError, match=r"at cell \(row 4, column 4\): out of memory even for a single") as error:
        explainer_for(image, circle_size=8).explain(Counted(fail=fail), image, segment, batch_size=4, **QUIET)
    assert error.value.cell == (4, 4)


def test_a_model_that_takes_single_images_only():
    image, segment = scene()

    def fail(images):
        if len(images) > 1:
            raise ValueError("one at a time, please")
        return smooth(images)

    model = Counted(fail=fail)
    with pytest.warns(UserWarning, match=r"failed on a batch of 4 images .*one at a time, please.*batch_size=1 avoids"):
        result = explainer_for(image).explain(model, image, segment, batch_size=4, **QUIET)
    np.testing.assert_array_equal(result.values, explainer_for(image).explain(smooth, image, segment, **QUIET).values)
    assert sum(size > 1 for size in model.sizes[len(BEFORE) :]) == 1


def bad_exception(images, here):
    if here.any():
        raise KeyError("no such layer")
    return first(images)


def bad_nan(images, here):
    return torch.where(here[:, None, None], torch.nan, first(images))


def bad_shape(images, here):
    return images[0, 0] if here.any() else first(images)


@pytest.mark.parametrize("batch_size", [1, 5, None])
@pytest.mark.parametrize(
    ("bad", "kind", "message"),
    [
        (bad_exception, hdm.ModelError, "KeyError: 'no such layer'"),
        (bad_nan, hdm.ModelOutputError, "NaN or infinity"),
        (bad_shape, hdm.ModelOutputError, r"expected maps \(N, H, W\)"),
    ],
)
def test_a_failure_names_its_cell_and_keeps_what_was_measured(bad, kind, message, batch_size):
    # No other disc covers all pixels of this one.
    image, segment = scene(channels=2)
    explainer = explainer_for(image, circle_size=4, offset=4)
    disc = torch.from_numpy(explainer.grid.mask(3, 2))

    def model(images):
        return bad(images, (images[:, 1][:, disc] == 0).all(1))

    with pytest.raises(kind, match=rf"^at cell \(row 3, column 2\): .*{message}") as error:
        explainer.explain(model, image, segment, batch_size=batch_size, **QUIET)
    assert error.value.cell == (3, 2)
    result = error.value.result
    assert result is explainer.result
    # All that came before it in reading order was measured, and is right.
    expected = np.arange(36).reshape(6, 6) < 3 * 6 + 2
    np.testing.assert_array_equal(result.measured, expected)
    whole = explainer_for(image, circle_size=4, offset=4).explain(first, image, segment, **QUIET)
    np.testing.assert_array_equal(result.values, np.where(expected, whole.values, np.nan))
    np.testing.assert_array_equal(result.output(1, 3), whole.output(1, 3))
    assert not result.complete


def test_a_failure_without_a_disc_says_so():
    image, segment = scene()
    explainer = explainer_for(image)
    with pytest.raises(hdm.ModelError, match=r"^on the image without a disc: the model raised") as error:
        explainer.explain(Counted(fail=lambda images: 1 / 0), image, segment, **QUIET)
    assert error.value.cell is None
    assert error.value.result is None
    assert explainer.result is None


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_keeps_what_was_measured(stop):
    class Model(nn.Module):
        calls = 0

        def forward(self, images):
            self.calls += 1
            if self.calls == len(BEFORE) + 3:
                raise stop
            return first(images)

    image, segment = scene()
    model = Model().train()
    explainer = explainer_for(image)
    with pytest.raises(stop):
        explainer.explain(model, image, segment, batch_size=5, **QUIET)
    assert explainer.result.measured.sum() == 10
    assert model.training
    whole = explainer_for(image).explain(first, image, segment, **QUIET)
    measured = explainer.result.measured
    np.testing.assert_array_equal(explainer.result.values[measured], whole.values[measured])


def test_two_scans_of_one_model_in_two_threads():
    class Model(nn.Module):
        def forward(self, images):
            assert not self.training
            return smooth(images)

    image, segment = scene()
    model = Model().train()
    meet = threading.Barrier(2, timeout=30)
    results = {}

    def scan(name):
        explainer = explainer_for(image)
        for update in explainer.stream(model, image, segment, batch_size=12):
            meet.wait()  # after every batch, so that the two overlap to the end
            results[name] = update.result

    threads = [threading.Thread(target=scan, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    expected = explainer_for(image).explain(smooth, image, segment, **QUIET).values
    np.testing.assert_array_equal(results["a"].values, expected)
    np.testing.assert_array_equal(results["b"].values, expected)
    assert model.training
