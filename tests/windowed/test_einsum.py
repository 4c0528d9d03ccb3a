"""Sums of products that are matrix products are traced as these."""

import pytest
import torch
from test_trace import assert_the_trace_computes_what_the_network_does
from torch import nn
from window_checks import random_image

from hdm_widgets.windowed.einsum import as_product

SIZES = {"b": 2, "h": 3, "g": 2, "i": 4, "j": 5, "d": 6, "e": 7}
# And how they are multiplied.
PRODUCTS = {
    "bhid,bhjd->bhij": "matmul",
    "bhij,bhjd->bhid": "matmul",
    "bihd,bjhd->bhij": "matmul",
    "bhij,bjhd->bihd": "matmul",
    "bhij,bjhd->dhbi": "matmul",
    "hbid,hdbj->bhij": "matmul",
    "bid,bjd->bji": "matmul",
    " b i d , b j d -> b i j ": "matmul",
    "...id,...jd->...ij": "matmul",
    "bid,de->bie": "linear",
    "bhid,ed->ebhi": "linear",
    "bid,d...->": None,
    "id,dj->ij": "linear",
    "bid,jd": None,
    "bid,bid->bid": None,
    "bid,bid->bi": None,
    "bhid,bhjd->bij": None,
    "bid,bjd->bijd": None,
    "bid,bje->bij": None,
    "bii,bij->bij": None,
    "bid,bd->bi": None,
    "bghd,bjd->bghj": None,
    "bid->bdi": None,
    "bid,bjd,be->bije": None,
}


def _sizes(equation):
    terms = equation.replace(" ", "").replace("...", "bh").partition("->")[0].split(",")
    return [[SIZES[letter] for letter in term] for term in terms]


def _random(sizes):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(each, generator=generator, dtype=torch.float64) for each in sizes]


@pytest.mark.parametrize("equation", PRODUCTS)
def test_matrix_products(equation):
    product = as_product(equation, *_sizes(equation))
    assert (product and ("linear" if product.linear else "matmul")) == PRODUCTS[equation]
    if product:
        tensors = _random(_sizes(equation))
        left, right = (each.permute(order) for each, order in zip(tensors, product[1:3], strict=True))
        found = nn.functional.linear(left, right) if product.linear else left @ right
        torch.testing.assert_close(found.permute(product.result), torch.einsum(equation, *tensors))


@pytest.mark.parametrize("sizes", [((2, 1, 4), (2, 5, 4)), ((1, 3, 4), (2, 5, 4)), ((2, 3, 1), (2, 5, 4))])
def test_dimensions_that_are_repeated_are_no_product(sizes):
    # Only the second one of these pairs is: its first matrix has one row.
    assert (as_product("bid,bjd->bij", *sizes) is None) is (sizes[0] != (2, 1, 4))


def test_ellipses_for_different_dimensions_are_no_product():
    assert as_product("...id,...jd->...ij", (2, 3, 4, 5), (3, 6, 5)) is None


class _Summed(nn.Module):
    def __init__(self, equation):
        super().__init__()
        self.equation, self.weight = equation, nn.Parameter(torch.linspace(-1, 1, 12).view(3, 4))

    def forward(self, x):
        return torch.einsum(self.equation, *((x, self.weight) if "e" in self.equation else (x, x)))


@pytest.mark.parametrize(
    ("equation", "product"),
    [
        ("bcij,bckj->bcik", "matmul"),
        ("bijc,bkjc->bikj", "matmul"),
        ("bchw,ce->behw", "linear"),
        ("bcij,bcij->bcij", "einsum"),
    ],
)
def test_a_trace_has_the_product(equation, product):
    traced = assert_the_trace_computes_what_the_network_does(_Summed(equation), random_image(3, 4, 5))
    operations = [call.operation for call in traced.calls]
    assert product in operations
    assert ("einsum" in operations) is (product == "einsum")
