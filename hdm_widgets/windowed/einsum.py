"""Sums of products, as `torch.einsum` writes them, that are matrix products."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["Product", "as_product"]


class Product(NamedTuple):
    """A product of two tensors, each with its dimensions in another order.

    Attributes
    ----------
    linear : bool
        Whether the second is the weight of a linear layer, (outputs, inputs); else it is multiplied as a matrix, or as
        one matrix for each of those of the first.
    left, right, result : list of int
        Orders, as for `permute`, of the first, of the second and of their product.
    """

    linear: bool
    left: list[int]
    right: list[int]
    result: list[int]


def as_product(equation: str, *shapes: Sequence[int]) -> Product | None:
    """The matrix product that a sum of products is; None if it is none.

    Parameters
    ----------
    equation : str
        Of `torch.einsum`.
    *shapes : sequence of int
        Of its tensors.
    """
    given, arrow, result = equation.replace(" ", "").partition("->")
    terms = given.split(",")
    if not arrow or len(terms) != 2 or len(shapes) != 2:
        return None
    if "..." in given:
        counts = {len(shape) - len(term.replace("...", "")) for term, shape in zip(terms, shapes, strict=True)}
        if len(counts) != 1 or not all("..." in term for term in (*terms, result)):
            return None
        others = "".join(map(str, range(counts.pop())))
        terms, result = [term.replace("...", others) for term in terms], result.replace("...", others)
    left, right = terms
    if any(len(set(term)) != len(term) for term in (left, right, result)):
        return None
    sizes = [dict(zip(term, shape, strict=True)) for term, shape in zip(terms, shapes, strict=True)]
    # A dimension of size 1 would be repeated.
    if any(size != sizes[1].get(letter, size) for letter, size in sizes[0].items()):
        return None
    alone = [[each for each in term if each not in other] for term, other in ((left, right), (right, left))]
    both = [each for each in left if each in right]
    # In the order of one that is not permuted then, such as attention's weights.
    kept = {*both} & {*result}
    in_order = next((term for term in (result, left) if kept.isdisjoint(term[-2:])), left)
    each_matrix = [letter for letter in in_order if letter in kept]
    summed = [letter for letter in both if letter not in result]
    if len(summed) != 1 or len(alone[1]) != 1 or set(result) != {*each_matrix, *alone[0], *alone[1]}:
        return None
    linear = not each_matrix
    if not linear and len(alone[0]) != 1:
        return None
    first = [*each_matrix, *alone[0], *summed]
    second = [*alone[1], *summed] if linear else [*each_matrix, *summed, *alone[1]]
    product = [*each_matrix, *alone[0], *alone[1]]
    orders = (left, first), (right, second), (product, result)
    of_left, of_right, of_result = ([term.index(each) for each in order] for term, order in orders)
    return Product(linear, of_left, of_right, of_result)
