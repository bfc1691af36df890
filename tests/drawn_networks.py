"""
Random networks for the tests of passes, made of parts that one pass or another has something to do for.

Any part can follow any other: what it reads is what one of the last nodes gave, in the shape that it needs. So values
have several readers, and any of them may be an output as well.
"""

import math

import numpy as np
from hypothesis import strategies as st

from compiler.ir import DType, Model, State
from tests.drawn import Drawn
from tests.drawn_images import convolved, convolved_alike, convolved_one, one_image, pooled, wide

EPSILON = 2.0**-10


def linear(g: Drawn, x: str, outputs: int = 0) -> str:
    row, outputs = g.shaped(x, 1), outputs or g.size()
    return g.node("linear", row, g.weight(outputs, *g.dims(row)), g.weight(outputs))


def normalised(g: Drawn, x: str) -> str:
    """
    A batch norm of a policy: behind a layer, before one or two, or alone.
    """
    x = linear(g, x) if g.pick(True, False) else g.shaped(x, 1)
    (size,) = g.dims(x)
    statistics = (g.weight(size), g.variance(size, EPSILON), g.scale(size), g.weight(size))
    x = g.node("batch_norm", x, *statistics, epsilon=EPSILON)
    return [x, *(linear(g, x) for _ in range(g.pick(0, 1, 2)))][-1]


def averaged(g: Drawn, x: str) -> str:
    quantiles, actions = g.pick(2, 1, 4), g.size(3)
    return g.node("quantile_mean", linear(g, x, quantiles * actions), quantiles=quantiles)


def by_feature(g: Drawn, x: str) -> str:
    row = g.shaped(x, 1)
    (size,) = g.dims(row)
    kind = g.pick("affine", "prelu", "add", "concat")
    if kind == "affine":
        return g.node(kind, row, g.weight(size), g.scale(size), g.weight(size))
    return g.node(kind, row, g.weight(g.pick(1, size)) if kind == "prelu" else row)


def looked_up(g: Drawn, x: str) -> str:
    """
    Layers of one-hot vectors, which stand beside other features or alone.
    """
    sizes = tuple(g.size(4) for _ in range(g.size(3)))
    several = (len(sizes),) if len(sizes) > 1 or g.pick(False, True) else ()
    bits = g.node("one_hot", g.given(*several, dtype=DType.INT64), sizes=sizes)
    if g.pick(False, True):
        bits = g.node("flatten", bits)
    if g.pick(True, False):
        row = g.shaped(x, 1)
        more = g.pick([], [bits], [row], [g.activation(row)])
        bits = g.node("concat", *g.shuffled([bits, row, *more]))
    return [linear(g, bits) for _ in range(g.pick(1, 2))][-1]


def chosen(g: Drawn, x: str) -> str:
    """
    The best of the choices by their probabilities, of which masks may forbid some.
    """
    logits = linear(g, x)
    (features,) = g.dims(logits)
    sizes = g.pick((), (features,), (1,) * features, (1, features - 1) if features > 1 else ())
    if g.pick(False, False, True):
        masks = g.given(features, dtype=DType.BOOL)
        scores = g.node("mask", g.node("log_softmax", logits, sizes=sizes), masks)
    else:
        scores = g.node("softmax", logits, sizes=sizes, scale=g.pick(1.0, 1.0, -1.0))
    g.node("argmax", scores, sizes=g.pick(sizes, sizes, (), (features,)))
    return scores


def bounded(g: Drawn, x: str) -> str:
    """
    Actions, with bounds of the dtypes of spaces.
    """
    row, dtype = g.shaped(x, 1), g.pick(DType.INT8, DType.FLOAT16, DType.FLOAT32, DType.FLOAT64, DType.UINT8)
    low, high = np.sort(g.rng.integers(0 if dtype is DType.UINT8 else -100, 100, (2, *g.dims(row))), axis=0)
    bounds = [g.constant(g.name(), bound.astype(dtype.numpy)) for bound in (low, high)]
    return g.node(g.pick("clip", "rescale"), row, *bounds)


def divided(g: Drawn, x: str) -> str:
    """
    An image over the largest value of its pixels, and the layers that read it.
    """
    image = g.given(2, 4, 3) if g.pick(True, False) else g.shaped(x, 3)
    x = g.node("divide", image, divisor=g.pick(256.0, 2.0))
    return [g.pick(convolved_one, linear)(g, x) for _ in range(g.pick(1, 2))][-1]


def linear_over(g: Drawn, x: str, outputs: int = 0) -> str:
    x, outputs = g.shaped(x, max(1, len(g.dims(x)))), outputs or g.pick(4, 1, 3, 18)
    return g.node("linear_over", x, g.weight(outputs, g.dims(x)[-1]), g.weight(outputs))


def scaled(g: Drawn, x: str) -> str:
    """
    A layer, and a batch norm as general models have it; or constants of another shape.
    """
    layer = g.pick(convolved, linear_over)
    x = layer(g, x)
    dims = g.dims(x)
    channels = (dims[-3], 1, 1) if layer is convolved else dims[-1:]
    for op, constant in (("times", g.scale), ("plus", g.weight)):
        by = g.pick(channels, channels, channels, (), dims[-1:], dims, (1,) * (len(dims) - len(channels)) + channels)
        x = g.node(op, *g.shuffled([x, constant(*by)]))
    return x


def mean(g: Drawn, x: str) -> str:
    axes = range(len(g.dims(x)))
    if len(axes) == 4 and g.pick(True, False):
        return g.node("adaptive_avg_pool", x, size=(1, 1))
    return g.node("reduce_mean", x, axes=(g.pick(*axes),), keep=True)


def combined(g: Drawn, x: str) -> str:
    """
    Two layers' results, or one and what it is made of, together; the means of one may be spread over the other.
    """
    if g.pick(True, False):
        filters = g.pick(16, 4, 3)
        first = convolved_alike(g, one_image(g, x), filters)
        parts = [convolved_alike(g, first, filters), g.pick(first, convolved_alike(g, first, filters))]
    else:
        first = linear_over(g, x, g.pick(3, 1, 16))
        parts = [linear_over(g, first, g.dims(first)[-1]), first]
    parts = [g.activation(part) if g.pick(False, False, True) else part for part in parts]
    if g.pick(*[False] * 3, True):
        parts[1] = mean(g, parts[1])
    return g.node(g.pick("plus", "plus", "plus", "times", "minus"), *g.shuffled(parts))


def multiplied(g: Drawn, x: str) -> str:
    x = g.shaped(x, g.pick(2, 3))
    *outer, _, inner = g.dims(x)
    first = tuple(g.pick(1, size) for size in outer)
    return g.node("matmul", x, g.weight(*first, inner, g.pick(3, 1, 17)))


def embedded(g: Drawn, x: str) -> str:
    """
    The rows of a table, moved, and the matrix or two that they meet.
    """
    width = g.size(4)
    words = g.given(*g.pick((3,), (2, 3)), dtype=DType.INT64)
    count = g.pick(4, 1, 7)
    rows = [g.node("embedding", words, g.weight(count, width)) for _ in range(g.pick(1, 1, 2))][-1]
    for move in g.pick((), ("permute",), ("reshape",), ("permute", "reshape"), ("reshape", "permute")):
        *outer, last = g.dims(rows)
        if move == "permute":
            kept = (*reversed(range(len(outer))), len(outer))
            rows = g.node(move, rows, order=g.pick(kept, kept, kept[::-1]))
        else:
            rows = g.node(move, rows, shape=g.pick((math.prod(outer), last), (1, *outer, last)))
    rows = linear_over(g, rows, g.pick(count, width, 5))
    return linear_over(g, rows, g.pick(count, width, 3)) if g.pick(False, True) else rows


def stepped(g: Drawn, x: str) -> str:
    """
    A recurrent layer, in one direction or both.
    """
    steps, units = g.shaped(x, 3), g.size(5)
    _, count, features = g.dims(steps)
    gates = g.pick(4, 4, 3)
    found = []
    for reverse in g.pick((False,), (True,), (False, True)):
        states = [g.weight(count, units) for _ in range(gates - 2)]
        weights = [g.weight(gates * units, size) for size in (features, units)]
        biases = [g.weight(gates * units) for _ in range(5 - gates)]
        found.append(g.node({4: "lstm", 3: "gru"}[gates], steps, *states, *weights, *biases, reverse=reverse))
    return g.node("join", *found, axis=2) if len(found) > 1 else found[0]


def attended(g: Drawn, x: str) -> str:
    """
    Attention of heads that a permutation divides, or of rows; keys may be values too, or known.
    """
    heads, width = g.pick(1, 2), g.size(3)
    rows = linear_over(g, g.shaped(x, 2), heads * width)
    length = g.dims(rows)[0]
    divided = g.node("reshape", rows, shape=(length, heads, width))
    queries = g.node("permute", divided, order=(1, 0, 2))
    other = g.node("permute", divided, order=(1, 0, 2))
    keys = g.pick(other, other, queries, g.weight(heads, length, width))
    values = g.pick(other, keys, queries)
    masks = [g.weight(*g.pick((1, 1, length), (heads, length, length)))] * g.pick(0, 1)
    return g.node("attention", queries, keys, values, *masks, scale=0.5, causal=g.pick(False, True))


def arranged(g: Drawn, x: str) -> str:
    rank = max(1, len(g.dims(x)))
    x = g.shaped(x, rank)
    dims, axis = g.dims(x), g.pick(*range(rank))
    match g.pick("permute", "reshape", "softmax_over", "layer_norm", "slice", "reduce_mean"):
        case "permute":
            return g.node("permute", x, order=tuple(g.shuffled(range(rank))))
        case "reshape":
            x = g.node("reshape", x, shape=g.pick(dims[::-1], (math.prod(dims),), (1, *dims), dims))
            return g.node("reshape", x, shape=dims) if g.pick(True, False) else x
        case "layer_norm":
            return g.node("layer_norm", x, g.scale(*dims[axis:]), g.weight(*dims[axis:]), count=rank - axis)
        case "slice":
            return g.node("slice", x, axis=axis, start=dims[axis] // 2, stop=dims[axis])
        case "reduce_mean":
            return g.node("reduce_mean", x, axes=(axis,), keep=rank == 1 or g.pick(True, False))
        case op:
            return g.node(op, x, axis=axis)


def remembered(g: Drawn, x: str) -> str:
    """
    A recurrent state of a policy.
    """
    size = g.size(3)
    before = g.given(size)
    after = g.node("add", linear(g, before, size), linear(g, x, size))
    after = g.activation(after) if g.pick(True, False) else g.node("reshape", after, shape=(size,))
    g.states.append(State(g.name(), before, after, g.weight(size)))
    return after


PARTS = (
    *(linear, normalised, averaged, by_feature, looked_up, *[chosen] * 3, *[bounded] * 2, *[divided] * 2),
    *(convolved_one, convolved, *[wide] * 3, pooled, linear_over, *[scaled] * 2, *[combined] * 3, multiplied),
    *(embedded, stepped, attended, *[arranged] * 2, remembered),
)
"""Those stand several times that would do nothing for their pass too often."""
MOST = 8
"""Parts of a network."""
ALL = (1 << MOST) - 1


def network(seed: int, which: int = ALL, *, policy: bool | None = None) -> Model:
    """
    A legal model, which `compiler.ops.reference.evaluate` can run on `inputs_of`.

    Args:
        seed: what it is drawn from.
        which: its parts, as bits: one that is left out leaves the others as they are, so that Hypothesis finds the few
            that a fault needs.
        policy: whether it is one; drawn unless given.
    """
    g = Drawn(seed)
    for dims in g.pick(((4,), (5, 2, 3)), ((1, 3, 7, 6),), ((2, 4), ()), ((2, 2, 5, 4),)):
        g.given(*dims)
    for place in range(MOST):
        g.rng = np.random.default_rng((seed, place))
        if which >> place & 1:
            result = g.pick(*PARTS)(g, g.values[-min(g.pick(1, 1, 2, 4, 99), len(g.values))])
            if result in g.values and g.pick(False, True):
                g.activation(result)
    return g.model(g.pick(False, False, True) if policy is None else policy)


SEEDS = st.integers(0, 1 << 32)
SOME = st.integers(1, 2 * ALL).map(lambda which: min(which, ALL))
"""All parts half of the time; Hypothesis looks for small numbers, which are few parts."""
