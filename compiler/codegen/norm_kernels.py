"""
The kernels of general models that normalise: softmax over an axis, and norms by mean and variance.
"""

from math import prod

from compiler.codegen.arranging_kernels import integer
from compiler.codegen.body import Body, Operand, Running, passes, product, sum_of
from compiler.codegen.reduction_kernels import around
from compiler.codegen.sums import begin_chains, chains_of, end_chains, run_chains
from compiler.ir import Node


def write_softmax(body: Body, node: Node, source: Operand) -> None:
    """
    Writes the kernel of a softmax, or of its logarithm.
    """
    outer, count, inner = around(node, source)
    logarithm = node.op == "log_softmax_over"
    with body.loop("i0", outer, shared=True) as before:
        if inner > 1:
            _softmax_of_columns(body, before, count, inner, logarithm)
        else:
            _softmax_of_row(body, sum_of((before, count)), count, logarithm)


def _softmax_of_row(body: Body, begin: str, count: int, logarithm: bool) -> None:
    def place(i: str) -> str:
        return sum_of((begin, 1), (i, 1))

    largest_value(body, begin, count)
    body.add("whole = splat(0.0)")
    for i, width in body.exact_pieces(count):
        raised = f"exp({body.load('source', place(i), width)} - largest)"
        if logarithm:
            body.add(f"whole = whole + {raised if width == body.lanes else f'head({raised}, {width})'}")
            continue
        body.add(f"raised = {raised}")
        body.store("target", place(i), width, "raised")
        body.add(f"whole = whole + {'raised' if width == body.lanes else f'head(raised, {width})'}")
    body.add("whole = splat(total(whole))")
    if logarithm:
        body.add("shift = logarithm(whole)")
    for i, width in body.exact_pieces(count):
        if logarithm:
            body.store("target", place(i), width, f"{body.load('source', place(i), width)} - largest - shift")
        else:
            body.store("target", place(i), width, f"{body.load('target', place(i), width)} / whole")


def largest_value(body: Body, begin: str, count: int) -> None:
    """
    Writes what finds the largest of a row of `source`, as a number; NaN is passed over.
    """
    body.add("top = splat(-np.inf)")
    for i, width in body.exact_pieces(count):
        x = body.load("source", sum_of((begin, 1), (i, 1)), width)
        body.add(f"x = {x if width == body.lanes else f'select(between(0, {width}), {x}, top)'}")
        body.add("top = select(x > top, x, top)")
    body.add("largest = highest(top)")


def _softmax_of_columns(body: Body, before: str, count: int, inner: int, logarithm: bool) -> None:
    # Registers that overlap would be read and written by two threads.
    for at, width in body.pieces(inner, shared=not isinstance(inner, Running)):
        place = sum_of((before, count * inner), ("k", inner), (at, 1))
        x = body.load("source", place, width)
        body.add("largest = splat(-np.inf)")
        with body.block(f"for k in range({passes(count)}):"):
            body.add(f"x = {x}", "largest = select(x > largest, x, largest)")
        body.add("whole = splat(0.0)")
        with body.block(f"for k in range({passes(count)}):"):
            body.add(f"raised = exp({x} - largest)", "whole = whole + raised")
            if not logarithm:
                body.store("target", place, width, "raised")
        if logarithm:
            body.add("shift = logarithm(whole)")
        with body.block(f"for k in range({passes(count)}):"):
            value = f"{x} - largest - shift" if logarithm else f"{body.load('target', place, width)} / whole"
            body.store("target", place, width, value)


def write_row_norm(body: Body, node: Node, source: Operand) -> None:
    """
    Writes the kernel of a layer norm, or of an RMS norm, which has no mean and no bias.
    """
    size = prod(source.dims[len(source.dims) - integer(node, "count") :])
    centred = node.op == "layer_norm"
    rows = product(source.dims[: len(source.dims) - integer(node, "count")])
    with body.loop("i0", rows, shared=True) as row:
        begin = sum_of((row, size))
        _statistics(body, begin, size, _epsilon(node), centred)
        for i, width in body.pieces(size):
            place = sum_of((begin, 1), (i, 1))
            x = body.load("source", place, width)
            weight = body.load("weight", i, width)
            body.add(f"x = {x} - mean" if centred else f"x = {x}")
            value = f"fma(x * scale, {weight}, {body.load('bias', i, width)})" if centred else f"x * scale * {weight}"
            body.store("target", place, width, value)


def write_group_norm(body: Body, node: Node, source: Operand) -> None:
    """
    Writes the kernel of a group norm: the channels of a group share mean and variance, a channel its weight and bias.
    """
    images, channels, *rest = source.dims
    groups, area = integer(node, "groups"), prod(rest)
    together = channels // groups
    size = together * area
    with body.loop("image", images, shared=True) as image, body.loop("group", groups, shared=True) as group:
        begin = sum_of((image, channels * area), (group, size))
        _statistics(body, begin, size, _epsilon(node), centred=True)
        if area == 1:
            for i, width in body.pieces(together):
                place, channel = sum_of((begin, 1), (i, 1)), sum_of((group, together), (i, 1))
                x = body.load("source", place, width)
                weight, bias = (body.load(name, channel, width) for name in ("weight", "bias"))
                body.add(f"x = {x} - mean")
                body.store("target", place, width, f"fma(x * scale, {weight}, {bias})")
            return
        with body.loop("k", together) as k:
            channel = sum_of((group, together), (k, 1))
            body.add(f"factor = scale * load_scalar(weight, {channel})", f"bias_ = splat(load_scalar(bias, {channel}))")
            for i, width in body.pieces(area):
                place = sum_of((begin, 1), (k, area), (i, 1))
                body.store("target", place, width, f"fma({body.load('source', place, width)} - mean, factor, bias_)")


def _statistics(body: Body, begin: str, size: int, epsilon: float, centred: bool) -> None:
    """
    Writes `mean`, and `scale`: 1 over the root of the variance, or of the mean square.
    """
    chains = chains_of(body, size)
    if centred:
        begin_chains(body, chains)
        run_chains(
            body,
            size,
            chains,
            lambda a, i, width: [f"{a} = {a} + {body.load('source', sum_of((begin, 1), (i, 1)), width)}"],
        )
        end_chains(body, chains)
        body.add(f"mean = splat(total(a0)) / {float(size)}")

    def square(a: str, i: str, width: int | str) -> list[str]:
        x = body.load("source", sum_of((begin, 1), (i, 1)), width)
        if centred:
            x = f"{x} - mean" if width == body.lanes else f"head({x} - mean, {width})"
        return [f"x = {x}", f"{a} = fma(x, x, {a})"]

    begin_chains(body, chains)
    run_chains(body, size, chains, square)
    end_chains(body, chains)
    body.add(f"scale = 1.0 / sqrt(splat(total(a0)) / {float(size)} + {epsilon!r})")


def _epsilon(node: Node) -> float:
    value = node.attributes["epsilon"]
    assert isinstance(value, float)
    return value
