"""
Products of matrices and attention, compared with torch, and what rows refuse.
"""

import numpy as np
import pytest
import torch
from torch.nn import functional

from compiler.ir import BATCH, Attribute, DType, Tensor
from compiler.ops import OPS, contraction
from tests.ops.rows import SPECIAL, Constant, compare, constant, normal, refused, specials, tensor


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (normal(3, 4), normal(4, 5)),
        (normal(1, 4), constant(4, 1)),
        (constant(3, 4), normal(4, 5)),
        (normal(2, 1, 3, 4), normal(1, 6, 4, 5)),
        (normal(2, 1, 3, 4), constant(1, 6, 4, 5)),
        (constant(2, 1, 3, 4), normal(1, 6, 4, 5)),
        (specials(3, 5), normal(5, 2)),
    ],
)
def test_products_of_matrices(left, right):
    compare("matmul", [left, right], torch.matmul)


@pytest.mark.parametrize("dims", [(5,), (1, 5), (2, 3, 5)])
def test_layers_over_the_last_dimension(dims):
    weight, bias = constant(7, 5), constant(7)
    compare("linear_over", [normal(*dims), weight, bias], functional.linear)
    compare("linear_over", [specials(*dims), weight, bias], functional.linear)


def packed(weight: Constant, bias: Constant, width: int) -> list[Constant]:
    """
    Weight and bias in blocks of so many outputs.
    """
    room = -len(bias.data) % width
    blocks = np.pad(weight.data, ((0, room), (0, 0))).reshape(-1, width, weight.data.shape[1])
    return [Constant(blocks.transpose(0, 2, 1)), Constant(np.pad(bias.data, (0, room)))]


@pytest.mark.parametrize(("dims", "outputs", "width"), [((5,), 7, 4), ((2, 3, 5), 8, 8), ((1, 1), 1, 16)])
def test_packed_layers_over_the_last_dimension(dims, outputs, width):
    weight, bias, added = constant(outputs, dims[-1]), constant(outputs), normal(*dims[:-1], outputs, seed=2)
    constants = packed(weight, bias, width)

    def layer(x: torch.Tensor, *given: torch.Tensor) -> torch.Tensor:
        return functional.linear(x, torch.tensor(weight.data), torch.tensor(bias.data)) + sum(given[2:])

    compare("dense_over", [normal(*dims), *constants], layer, outputs=outputs)
    compare("dense_over", [specials(*dims), *constants, added], layer, outputs=outputs)
    compare(
        "dense_over",
        [normal(*dims), *constants, added],
        lambda *given: functional.leaky_relu(layer(*given), 0.25),
        outputs=outputs,
        activation="leaky_relu",
        negative_slope=0.25,
    )


def masked(*dims: int) -> np.ndarray:
    mask = normal(*dims, seed=7)
    mask[mask < 0] = -np.inf
    mask[1] = -np.inf
    return mask


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("lead", [(), (2,), (2, 3)])
@pytest.mark.parametrize(("queries", "keys"), [(4, 4), (3, 6), (6, 3), (1, 1)])
def test_attention(causal, lead, queries, keys):
    inputs = [normal(*lead, queries, 8), normal(*lead, keys, 8, seed=1), normal(*lead, keys, 5, seed=2)]

    def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return functional.scaled_dot_product_attention(q, k, v, is_causal=causal, scale=0.3)

    compare("attention", inputs, attend, scale=0.3, causal=causal)
    columns = np.ascontiguousarray(inputs[1].swapaxes(-1, -2))
    turned = [inputs[0], columns, inputs[2]]
    compare("attention", turned, lambda q, k, v: attend(q, k.mT, v), scale=0.3, causal=causal, turned=True)
    compare("attention", [constant(*lead, queries, 8), *inputs[1:]], attend, scale=0.3, causal=causal)
    compare("attention", [inputs[0] * 300, *inputs[1:]], attend, scale=0.3, causal=causal)


@pytest.mark.parametrize("lead", [(), (2,), (2, 3)])
def test_attention_with_a_mask(lead):
    inputs = [normal(*lead, 4, 8), normal(*lead, 6, 8, seed=1), normal(*lead, 6, 8, seed=2)]

    def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, m: torch.Tensor) -> torch.Tensor:
        return functional.scaled_dot_product_attention(q, k, v, m, scale=0.3)

    ones = (1,) * len(lead)
    for mask in (normal(*lead, 4, 6), masked(*lead, 4, 6), masked(*ones, 1, 6), masked(*ones, 4, 1)):
        compare("attention", [*inputs, mask], attend, scale=0.3)
        compare("attention", [*inputs, Constant(mask[1])], attend, scale=0.3)


def test_a_mask_that_is_causal_too_hides_what_either_hides():
    inputs, mask = [normal(4, 8), normal(6, 8, seed=1), normal(6, 8, seed=2)], masked(4, 6)
    both = lambda q, k, v, m: functional.scaled_dot_product_attention(  # noqa: E731
        q, k, v, m.masked_fill(torch.ones(4, 6).tril() == 0, -np.inf)
    )
    compare("attention", [*inputs, mask], both, scale=8**-0.5, causal=True)


def test_attention_to_what_is_no_number():
    inputs = [normal(3, 4), normal(5, 4), np.resize(SPECIAL[:9], (3, 5, 4))]
    inputs[0][1, 0, 0] = np.nan

    def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return (q @ k.mT * 0.5).softmax(-1) @ v

    compare("attention", inputs, attend, scale=0.5)


def products(op, *shapes, **attributes):
    given = [Tensor("x", DType.FLOAT32, shape) for shape in shapes]
    return OPS[op].multiply_adds(given, OPS[op].complete(attributes))


def test_multiply_adds_of_one_sample():
    assert products("matmul", (BATCH, 2, 1, 3, 4), (BATCH, 1, 7, 4, 5)) == 2 * 7 * 3 * 4 * 5
    assert products("linear_over", (BATCH, 2, 3, 5), (7, 5), (7,)) == 2 * 3 * 5 * 7
    assert products("dense_over", (BATCH, 2, 3, 5), (2, 5, 4), (8,), outputs=7) == 2 * 3 * 5 * 7
    shapes = (BATCH, 2, 3, 8), (BATCH, 2, 6, 8), (BATCH, 2, 6, 5)
    assert products("attention", *shapes, scale=1.0) == 2 * 3 * 6 * (8 + 5)


X = (BATCH, 3, 4)
NEEDED: dict[str, dict[str, Attribute]] = {"attention": {"scale": 1.0}, "dense_over": {"outputs": 12}}
Q, K, V = (BATCH, 2, 4, 8), (BATCH, 2, 6, 8), (BATCH, 2, 6, 5)


@pytest.mark.parametrize(
    ("op", "inputs", "attributes", "message"),
    [
        ("matmul", [(BATCH, 3, 4), (BATCH, 3, 4)], {}, r"needs matrices .* found \(3, 4\), \(3, 4\)"),
        ("matmul", [(BATCH, 3, 4), (BATCH, 2, 4, 5)], {}, "of the same rank"),
        ("matmul", [(BATCH, 4), (BATCH, 4)], {}, "needs matrices"),
        ("matmul", [(BATCH, 2, 3, 4), (BATCH, 3, 4, 5)], {}, "do not broadcast"),
        ("matmul", [(3, 4), (4, 5)], {}, "all inputs are constants"),
        ("matmul", [(BATCH, 3, 4), tensor((4, 5), DType.INT64)], {}, "must be float32"),
        ("linear_over", [(BATCH, 3, 4), (5, 3), (5,)], {}, r"must be a constant of shape \(5, 4\), found \(5, 3\)"),
        ("linear_over", [(BATCH, 3, 4), (5, 4), (4,)], {}, r"must be a constant of shape \(5,\), found \(4,\)"),
        ("linear_over", [(BATCH, 3, 4), (5, 4, 1), (5,)], {}, "must have 2 dimensions"),
        ("linear_over", [(BATCH, 3, 4), (BATCH, 5, 4), (5,)], {}, "must be a constant of shape"),
        ("linear_over", [(BATCH,), (5, 4), (5,)], {}, "needs one dimension or more"),
        ("linear_over", [(3, 4), (5, 4), (5,)], {}, r"must have shape \(batch, ...\)"),
        ("linear_over", [tensor((BATCH, 4), DType.INT64), (5, 4), (5,)], {}, "must be float32"),
        ("dense_over", [X, (2, 4, 8)], {}, "takes a source, a weight, a bias and what is added or nothing"),
        ("dense_over", [X, (2, 5, 8), (16,)], {}, r"must be a constant of shape \(2, 4, 8\), found \(2, 5, 8\)"),
        ("dense_over", [X, (2, 4, 8), (12,)], {}, r"must be a constant of shape \(16,\), found \(12,\)"),
        ("dense_over", [X, (3, 4, 8), (24,)], {}, "outputs must fit 3 blocks of 8, found 12"),
        ("dense_over", [X, (1, 4, 8), (8,)], {}, "outputs must fit 1 blocks of 8, found 12"),
        ("dense_over", [X, (2, 4, 8), (16,), (BATCH, 4, 12)], {}, r"what is added must be \(3, 12\), found \(4, 12\)"),
        ("dense_over", [X, (2, 4, 8), (16,), tensor((BATCH, 3, 12), DType.INT64)], {}, "must be float32"),
        ("dense_over", [X, (2, 4, 8), (16,)], {"activation": "softmax"}, "unknown activation"),
        ("dense_over", [X, (2, 4, 8), (16,)], {"slope": 1.0}, "unknown attributes"),
        ("dense_over", [(BATCH,), (2, 4, 8), (16,)], {}, "needs one dimension or more"),
        ("dense_over", [(3, 4), (2, 4, 8), (16,)], {}, r"must have shape \(batch, ...\)"),
        ("attention", [Q, K], {}, "takes queries, keys, values and a mask or none, found 2 inputs"),
        ("attention", [Q, K, V, Q, K], {}, "found 5 inputs"),
        ("attention", [Q[1:], K[1:], V[1:]], {}, "all inputs are constants"),
        ("attention", [Q, K, (BATCH, 6, 5)], {}, r"needs dimensions \(..., T, D\)"),
        ("attention", [Q, K, (BATCH, 1, 6, 5)], {}, r"needs dimensions \(..., T, D\)"),
        ("attention", [(BATCH, 8), (BATCH, 8), (BATCH, 8)], {}, r"needs dimensions \(..., T, D\)"),
        ("attention", [Q, V, V], {}, "do not fit"),
        ("attention", [Q, K, (BATCH, 2, 7, 5)], {}, "do not fit"),
        ("attention", [Q, K, V], {"turned": True}, "do not fit"),
        ("attention", [Q, K, V], {"turned": 1}, "turned must be bool"),
        ("attention", [Q, K, V, (BATCH, 4, 6)], {}, "must have 3 dimensions"),
        ("attention", [Q, K, V, (BATCH, 2, 4, 5)], {}, "do not broadcast"),
        ("attention", [(BATCH, 1, 4, 8), (BATCH, 1, 6, 8), (BATCH, 1, 6, 5), (2, 4, 6)], {}, "larger than the scores"),
        ("attention", [Q, K, V, tensor((4, 6), DType.BOOL)], {}, "must be float32"),
        ("attention", [Q, K, V], {"scale": np.inf}, "scale must be a finite number"),
        ("attention", [Q, K, V], {"causal": 1}, "causal must be bool"),
    ],
)
def test_what_rows_refuse(op, inputs, attributes, message):
    refused(op, inputs, message, **NEEDED.get(op, {}) | attributes)


def test_every_row_is_here():
    assert {"matmul", "linear_over", "dense_over", "attention"} == {row.name for row in contraction.ROWS}
