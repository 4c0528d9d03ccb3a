"""Estimates of networks with global operations: exact where they can be, and close elsewhere."""

import numpy as np
import pytest
import torch
from architectures import LOCAL, ResNetUNet, conv_bn, made
from global_networks import ATTENTION, GLOBAL, WIDTH, Around
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from window_checks import (
    assert_close,
    assert_computed_together,
    boxes_everywhere,
    changed_images,
    outputs_from_windows,
    random_image,
    randomized,
)

from hdm_widgets.windowed import TracedModel, WindowedInference
from hdm_widgets.windowed.estimates import Mean, Moments

# What an estimate computes to first order; the others it takes for unchanged where they look at the whole image.
FOLLOWED = ["squeeze and excite", "squeeze and excite, linear", "instance norm", "group norm"]
MORE = {
    "no affine": lambda: nn.InstanceNorm2d(WIDTH),
    "mean kept": lambda: _Centered(),
    "several heads apart": lambda: _Heads(),
    **ATTENTION,
}


class _Centered(nn.Module):
    def forward(self, x):
        return x - 0.5 * x.mean((-1, -2), keepdim=True)


class _Heads(nn.Module):
    """Attention as SegFormer has it: keys and values from a coarser map, heads in a dimension of their own."""

    def __init__(self):
        super().__init__()
        self.reduce = nn.Conv2d(WIDTH, WIDTH, 4, 4)
        self.query, self.key, self.value = (nn.Linear(WIDTH, WIDTH) for _ in range(3))
        self.norm = nn.LayerNorm(WIDTH)

    def forward(self, x):
        count, channels, height, width = x.shape
        tokens = x.flatten(2).transpose(1, 2)
        coarse = self.reduce(tokens.permute(0, 2, 1).reshape(count, channels, height, width))
        coarse = self.norm(coarse.reshape(count, channels, -1).permute(0, 2, 1))
        given = [self.query(tokens), self.key(coarse), self.value(coarse)]
        heads = [each.view(count, -1, 2, channels // 2).transpose(1, 2) for each in given]
        seen = nn.functional.scaled_dot_product_attention(*heads).transpose(1, 2).reshape(count, -1, channels)
        return (tokens + seen).transpose(1, 2).view(count, channels, height, width)


def _weights(query, key):
    return (query @ key.transpose(-2, -1)).softmax(-1)


# Of queries, keys and values (N, heads, tokens, channels): what an estimate takes for unchanged.
NOT_FOLLOWED = {
    "causal": lambda query, key, value: nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True),
    "masked by the image": lambda query, key, value: nn.functional.scaled_dot_product_attention(
        query, key, value, attn_mask=query @ key.transpose(-2, -1)
    ),
    "biased by the image": lambda query, key, value: (
        (query @ key.transpose(-2, -1) + query[..., :1]).softmax(-1) @ value
    ),
    "added to weights": lambda query, key, value: (_weights(query, key) + torch.eye(42)) @ value / 42,
    "excluded by a number": lambda query, key, value: (
        (query @ key.transpose(-2, -1)).masked_fill(torch.eye(42) > 0, 0.5).softmax(-1) @ value
    ),
    "less a multiple": lambda query, key, value: (
        (query @ key.transpose(-2, -1)).add(torch.eye(42), alpha=2).softmax(-1) @ value
    ),
    "less than a number": lambda query, key, value: (
        (1 / (3 + (query @ key.transpose(-2, -1)).tanh())).softmax(-1) @ value
    ),
    "without softmax": lambda query, key, value: query @ key.transpose(-2, -1) @ value / 42,
    "normalized over queries": lambda query, key, value: (query @ key.transpose(-2, -1)).softmax(-2) @ value,
    "normalized twice": lambda query, key, value: _weights(query, key).softmax(-1) @ value,
    "swapped": lambda query, key, value: _weights(query, key).transpose(-2, -1) @ value,
    "other scores": lambda query, key, value: (query @ key.transpose(-2, -1)).relu().softmax(-1) @ value,
    "heads swapped": lambda query, key, value: _weights(query, key).flip(1) @ value,
    "one head for all": lambda query, key, value: _weights(query, key[:, :1]) @ value,
    "of channels": lambda query, key, value: value @ (query.transpose(-2, -1) @ key).softmax(-1) / 42,
    "with a constant": lambda query, key, value: _weights(query, key) @ torch.linspace(0, 1, 168).view(42, 4),
    "a constant matrix": lambda query, key, value: query @ torch.linspace(0, 1, 16).view(4, 4),
}


class _Attended(nn.Module):
    def __init__(self, attend):
        super().__init__()
        self.attend, self.linear = attend, nn.Linear(WIDTH, 3 * WIDTH)

    def forward(self, x):
        packed = self.linear(x.flatten(2).transpose(1, 2)).unflatten(-1, (3, 2, 4))
        return self.attend(*packed.permute(2, 0, 3, 1, 4)).permute(0, 1, 3, 2).reshape(x.shape)


class _Embedded(nn.Module):
    """Embeddings of 4 x 5 positions added, with the batch or the tokens first."""

    def __init__(self, batch_first):
        super().__init__()
        self.batch_first = batch_first
        self.embedding = nn.Parameter(torch.randn((1, 20, WIDTH) if batch_first else (20, 1, WIDTH)))

    def forward(self, x):
        order = (0, 2, 1) if self.batch_first else (2, 0, 1)
        tokens = (x.flatten(2).permute(order) + self.embedding).tanh()
        return tokens.permute([order.index(dim) for dim in range(3)]).reshape(x.shape)


class _Rearranged(nn.Module):
    """Every element by itself, with heads, channels, tokens and batch in any order and two of them merged."""

    def __init__(self, order, merged):
        super().__init__()
        self.order, self.merged = order, merged

    def forward(self, x):
        apart = x.reshape(x.shape[0], 2, WIDTH // 2, -1).permute(self.order)
        shape = apart.shape
        merged = apart.flatten(self.merged, self.merged + 1)
        back = [self.order.index(dim) for dim in range(4)]
        return (2 * merged.tanh() - merged).reshape(shape).permute(back).reshape(x.shape)


def _factory(name):
    return MORE[name] if name in MORE else GLOBAL[name][0]


@pytest.mark.parametrize("name", [*GLOBAL, *MORE, *LOCAL])
def test_an_unchanged_image_is_not_estimated(name):
    model = made(lambda: LOCAL[name](2)) if name in LOCAL else Around(_factory(name)())
    shape = (2, 48, 64) if name in LOCAL else (2, 33, 40)
    image = random_image(*shape)
    with torch.inference_mode():
        model.eval()(image[None].clone())
        model = randomized(model)
        whole = model(image[None].clone())
        if whole.ndim < 3:
            pytest.skip("no map")
        assert_close(TracedModel(model, image).estimate.full(image[None].clone()), whole)


@pytest.mark.parametrize("name", [*FOLLOWED, *MORE])
def test_where_all_of_the_image_changes_nothing_is_left_out(name):
    model, image = randomized(Around(_factory(name)())), random_image(2, 33, 40)
    box = np.array([[0, 0, 33, 40]])
    images = changed_images(image, box)
    base = WindowedInference(TracedModel(model, image).estimate, image)
    with torch.inference_mode():
        assert_close(outputs_from_windows(base, box, images), model(images))


@pytest.mark.parametrize("name", [*FOLLOWED, *MORE, "of the image itself"])
def test_one_global_operation_is_exact_within_the_window(name):
    first = [_Centered()] if name not in GLOBAL | MORE else [conv_bn(2, WIDTH), _factory(name)()]
    model = randomized(nn.Sequential(*first))
    image, boxes = random_image(2, 20, 24), boxes_everywhere(20, 24, 7)
    images = changed_images(image, boxes)
    engine = TracedModel(model, image)
    base = WindowedInference(engine.estimate, image)
    with torch.inference_mode():
        whole = torch.cat([model(changed[None]) for changed in images])
        found = outputs_from_windows(base, boxes, images)
        for item, (row0, col0, row1, col1) in enumerate(boxes.tolist()):
            inside = item, slice(None), slice(row0, row1), slice(col0, col1)
            assert_close(found[inside], whole[inside])
        # And it stays there: what the rest of the image would do is left out.
        (corner,) = list(base.run(boxes[:1], lambda items, grown: images[items][..., : grown[0, 2], : grown[0, 3]]))
    assert corner.values.shape[-2:] < image.shape[-2:]


@pytest.mark.parametrize("name", ATTENTION)
def test_attention_keeps_keys_and_values_of_other_tokens(name):
    parts = randomized(nn.Sequential(ATTENTION[name](), nn.Conv2d(WIDTH, WIDTH, 1), ATTENTION[name]())).eval()
    image, boxes = random_image(WIDTH, 6, 7), boxes_everywhere(6, 7, 3)
    images = changed_images(image, boxes)
    inside = torch.zeros(len(boxes), 1, 6, 7, dtype=torch.bool)
    for each, (row0, col0, row1, col1) in zip(inside, boxes.tolist(), strict=True):
        each[:, row0:row1, col0:col1] = True
    base = WindowedInference(TracedModel(parts, image).estimate, image)
    with torch.inference_mode():
        changed, unchanged = images, image[None]
        for part in parts:
            unchanged = part(unchanged)
            changed = torch.where(inside, part(changed), unchanged)
        # One by one: boxes near a border would grow to it together, and more tokens with them.
        found = torch.cat([outputs_from_windows(base, boxes[[each]], images[[each]]) for each in range(len(boxes))])
        assert_close(found, changed)
        # Which is not the network itself: the other tokens changed too.
        assert (found - parts(images)).abs().max() > 10 * (found - changed).abs().max()


@pytest.mark.parametrize("name", NOT_FOLLOWED)
def test_what_is_no_attention_is_not_taken_for_it(name):
    model = randomized(_Attended(NOT_FOLLOWED[name]))
    image, boxes = random_image(WIDTH, 6, 7), np.array([[0, 0, 6, 7], [1, 2, 3, 5]])
    base = WindowedInference(TracedModel(model, image).estimate, image)
    images = changed_images(image, boxes)
    with torch.inference_mode():
        assert_close(base.output, model(image[None]))
        found, whole = outputs_from_windows(base, boxes, images), model(images)
    assert_close(found, base.output.expand(whole.shape))


@pytest.mark.parametrize("batch_first", [True, False])
def test_embeddings_of_positions_stay_local(batch_first):
    model, image, boxes = _Embedded(batch_first).eval(), random_image(WIDTH, 4, 5), boxes_everywhere(4, 5, 2)
    images = changed_images(image, boxes)
    base = WindowedInference(TracedModel(model, image).estimate, image)
    with torch.inference_mode():
        assert_close(outputs_from_windows(base, boxes, images), model(images))


@given(order=st.permutations(range(4)), merged=st.integers(0, 2))
def test_tokens_in_any_order_stay_local(order, merged):
    model, image, boxes = _Rearranged(order, merged).eval(), random_image(WIDTH, 4, 5), np.array([[1, 2, 3, 4]])
    images = changed_images(image, boxes)
    base = WindowedInference(TracedModel(model, image).estimate, image)
    with torch.inference_mode():
        assert_close(outputs_from_windows(base, boxes, images), model(images))
    (window,) = base.run(boxes, lambda items, grown: images[items][..., 1:3, 2:4])
    assert window.values.shape[-2:] == (2, 2)


@pytest.mark.parametrize("name", FOLLOWED)
def test_an_estimate_is_closer_than_statistics_of_the_unchanged_image(name):
    model, image = randomized(Around(GLOBAL[name][0]())), random_image(2, 33, 40)
    boxes = np.array([[8, 8, 20, 22]])
    images = changed_images(image, boxes)
    base = WindowedInference(TracedModel(model, image).estimate, image)
    with torch.inference_mode():
        whole = model(images)
        error = (outputs_from_windows(base, boxes, images) - whole).abs().mean()
        change = (base.output - whole).abs().mean()
    assert error < change / 2


@pytest.mark.parametrize("name", FOLLOWED)
def test_changes_alike_are_estimated_together_wherever_they_lie(name):
    model, image = randomized(Around(GLOBAL[name][0]())), random_image(2, 48, 64)
    boxes = np.array([(row, col, row + 8, col + 8) for row in (16, 24) for col in (16, 24, 32, 40)])
    images = changed_images(image, boxes)
    base = WindowedInference(TracedModel(model, image).estimate, image)
    assert_computed_together(base, boxes, images)


@given(
    seed=st.integers(0, 1000), groups=st.sampled_from([1, 2, 4]), level=st.sampled_from([0.0, 3.0, 100.0]),
    row=st.integers(0, 5), col=st.integers(0, 6), height=st.integers(1, 4), width=st.integers(1, 3),
)  # fmt: skip
def test_summaries_of_changed_maps(seed, groups, level, row, col, height, width):
    generator = torch.Generator().manual_seed(seed)
    before = level + torch.randn(1, 4, 9, 9, generator=generator)
    after = before.repeat(3, 1, 1, 1)
    window = (..., slice(row, row + height), slice(col, col + width))
    after[window] += torch.randn(3, 4, height, width, generator=generator)
    mean, moments = Mean("m", "", ("x",), None, None), Moments("m", "", ("x",), None, None, groups=groups)
    for summary in (mean, moments):
        of_before, of_after = (summary.compute([values], None, None, {}) for values in (before, after))
        updated = summary.updated(of_before, before[window], after[window], 81)
        torch.testing.assert_close(updated, of_after, rtol=1e-4, atol=1e-4)
    expected = after.double().view(3, groups, -1)
    torch.testing.assert_close(updated[:, :groups, 0, 0].double(), expected.mean(-1), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(updated[:, groups:, 0, 0].double(), expected.var(-1, correction=0), rtol=1e-3, atol=1e-3)


def _spots(model, image, boxes):
    """A base, and images with one pixel changed in the middle of each box."""
    images = image.repeat(len(boxes), 1, 1, 1)
    for changed, (row0, col0, row1, col1) in zip(images, boxes.tolist(), strict=True):
        changed[:, (row0 + row1) // 2, (col0 + col1) // 2] += 1

    def content(items, grown):
        return torch.stack([images[i, :, a:c, b:d] for i, (a, b, c, d) in zip(items, grown.tolist(), strict=True)])

    return WindowedInference(TracedModel(model, image).network, image), images, content


def test_a_reach_found_without_tolerance_loses_nothing():
    model, image, boxes = randomized(made(ResNetUNet, 2)), random_image(2, 48, 64), boxes_everywhere(48, 64, 7)
    base, images, content = _spots(model, image, boxes)
    with torch.inference_mode():
        limited = base.limited(base.reach(boxes, content, 0.0))
        assert_close(outputs_from_windows(limited, boxes, images), outputs_from_windows(base, boxes, images))


def test_windows_end_where_the_reach_does():
    model = randomized(nn.Sequential(*(nn.Conv2d(1, 1, 3, padding=1) for _ in range(6)))).eval()
    image, boxes = random_image(1, 40, 40), np.array([[10, 12, 20, 22], [20, 12, 30, 22]])
    base, _, content = _spots(model, image, boxes)
    steps = base.network.program.steps

    def window(base):
        (found,) = list(base.run(boxes, content))
        return found.rows.tolist(), found.cols.tolist(), tuple(found.values.shape[-2:])

    assert window(base) == ([4, 14], [6, 6], (22, 22))
    # Two rows above and one below, three columns before and none after.
    limited = base.limited({steps[-1].name: ((2, 1), (3, 0))})
    assert window(limited) == ([8, 18], [9, 9], (13, 13))
    # What is left is what it was.
    (whole,), (part,) = (list(each.run(boxes, content)) for each in (base, limited))
    assert_close(part.values, whole.values[..., 4:17, 3:16])


def test_the_more_is_tolerated_the_less_is_computed():
    model, image, boxes = randomized(made(ResNetUNet, 1)), random_image(1, 64, 64), boxes_everywhere(64, 64, 9)[:9]
    base, _, content = _spots(model, image, boxes)
    with torch.inference_mode():
        found = [base.limited(base.reach(boxes, content, tolerance)) for tolerance in (0.0, 0.01, 0.1)]
    costs = [each.propagation.cost_fraction(boxes) for each in found]
    assert costs == sorted(costs, reverse=True)
    assert costs[0] > costs[-1]
