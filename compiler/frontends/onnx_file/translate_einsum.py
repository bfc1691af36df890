"""
Einsum of one or two tensors: sums, a product of matrices, and axes in another order.
"""

import math
from collections.abc import Iterable

from compiler.frontends.onnx_file.graph import Given, Graph, Has, Value, dims_of
from compiler.frontends.onnx_file.translate_elementwise import Translation
from compiler.frontends.onnx_file.translate_layers import matmul
from compiler.frontends.onnx_file.translate_shapes import permute


def _terms(g: Graph, equation: str, given: Given) -> tuple[list[str], str]:
    """
    The letters of each tensor, and of the result.
    """
    inputs, arrow, result = equation.replace(" ", "").partition("->")
    terms = inputs.split(",")
    letters = "".join(terms)
    if not arrow:
        result = "".join(letter for letter in sorted(set(letters)) if letters.count(letter) == 1)
    known = len(terms) == len(given) <= 2 and all(len(set(term)) == len(term) for term in (*terms, result))
    fits = known and [len(term) for term in terms] == [len(dims_of(value)) for value in given]
    if not fits or not letters.isalpha() or not set(result) <= set(letters):
        g.refuse(f"is compiled for one or two tensors, without dots and repeated letters, found {equation!a}")
    return terms, result


def _only(g: Graph, x: Value, term: str, kept: Iterable[str]) -> tuple[Value, str]:
    """
    The sum over all letters that are not kept.
    """
    gone = tuple(axis for axis, letter in enumerate(term) if letter not in kept)
    if not gone:
        return x, term
    return g.add("reduce_sum", [x], axes=gone), "".join(letter for letter in term if letter in kept)


def _einsum(g: Graph, given: Given, has: Has) -> Value:
    terms, result = _terms(g, has["equation"], given)
    if len(terms) == 1:
        found, term = _only(g, given[0], terms[0], set(result))
        return permute(g, found, [term.index(letter) for letter in result])
    left, first = _only(g, given[0], terms[0], {*result, *terms[1]})
    right, second = _only(g, given[1], terms[1], {*result, *terms[0]})
    sizes = dict(zip(first, dims_of(left), strict=True))
    for letter, size in zip(second, dims_of(right), strict=True):
        if sizes.setdefault(letter, size) != size:
            g.refuse(f"has {sizes[letter]} and {size} elements for {letter!a}")
    shared = [letter for letter in first if letter in second and letter in result]
    summed = [letter for letter in first if letter in second and letter not in result]
    rows = [letter for letter in first if letter not in second]
    columns = [letter for letter in second if letter not in first]
    batch, count, depth, width = ([sizes[letter] for letter in part] for part in (shared, rows, summed, columns))
    left = permute(g, left, [first.index(letter) for letter in (*shared, *rows, *summed)])
    right = permute(g, right, [second.index(letter) for letter in (*shared, *summed, *columns)])
    found = matmul(
        g,
        g.reshape(left, (*batch, math.prod(count), math.prod(depth))),
        g.reshape(right, (*batch, math.prod(depth), math.prod(width))),
    )
    order = [*shared, *rows, *columns]
    return permute(g, g.reshape(found, (*batch, *count, *width)), [order.index(letter) for letter in result])


TRANSLATIONS: dict[str, Translation] = {"Einsum": _einsum}
