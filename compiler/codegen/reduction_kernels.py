"""
The kernels of general models that reduce axes: sums, extremes and their places, running sums.
"""

from math import prod

from compiler.codegen.arranging_kernels import integer, integers
from compiler.codegen.body import Body, Operand, Running, passes, place_of, product, strides_of, sum_of
from compiler.codegen.nests import Access, collapsed
from compiler.codegen.sums import (
    ALL,
    ANY,
    LARGEST,
    LEAST,
    PRODUCT,
    SUM,
    begin_chains,
    chains_of,
    end_chains,
    fold_lanes,
    fold_values,
)
from compiler.ir import Node

FOLDS = {
    "reduce_sum": SUM,
    "reduce_mean": SUM,
    "reduce_max": LARGEST,
    "reduce_min": LEAST,
    "reduce_product": PRODUCT,
    "reduce_any": ANY,
    "reduce_all": ALL,
}


def write_reduction(body: Body, node: Node, source: Operand, result: Operand) -> None:
    """
    Writes a kernel that folds all values of some axes into one.

    Where the last axis is among them, registers hold values that meet; else values of different results.
    """
    fold, axes = FOLDS[node.op], integers(node, "axes")
    kept = [axis for axis in range(len(source.dims)) if axis not in axes]
    kept_dims = [source.dims[axis] for axis in kept]
    targets = Access(result, strides_of(kept_dims))
    outer, (target, given) = collapsed(kept_dims, [targets, Access(source, tuple(source.strides[k] for k in kept))])
    reduced = sorted(axes)
    inner, (met,) = collapsed(
        [source.dims[axis] for axis in reduced], [Access(source, tuple(source.strides[axis] for axis in reduced))]
    )
    over = f" / {_float([source.dims[axis] for axis in axes])}" if node.op == "reduce_mean" else ""
    if given.strides[-1] == 1 and outer[-1] > 1:
        *outer, width = outer
        with body.loops("i", outer, shared=True) as variables:
            for at, count in body.pieces(width, shared=True):
                here = [*variables, at]
                body.add(f"a = splat({fold.start})")
                with body.loops("k", inner) as steps:
                    begin = sum_of((place_of(here, given.strides), 1), (place_of(steps, met.strides), 1))
                    body.add(f"a = {fold.of('a', body.load(source.name, begin, count))}")
                body.store(result.name, place_of(here, target.strides), count, f"a{over}")
        return
    *before, width = inner
    with body.loops("i", outer, shared=True) as variables:
        chains = chains_of(body, width)
        begin_chains(body, chains, fold)
        with body.loops("k", before) as steps:
            begin = sum_of((place_of(variables, given.strides), 1), (place_of(steps, met.strides[:-1]), 1))
            fold_values(body, source.name, begin, width, chains, fold)
        end_chains(body, chains, fold)
        fold_lanes(body, fold)
        body.store(result.name, place_of(variables, target.strides), 1, f"a0{over}")


def _float(dims: list[int]) -> str:
    """
    How many values there are, as a number of kernels.
    """
    if not any(isinstance(size, Running) for size in dims):
        return str(float(prod(dims)))
    texts = [passes(size) for size in dims if size != 1]
    return f"np.float32({' * '.join(f'({text})' if ' ' in text and len(texts) > 1 else text for text in texts)})"


def write_place_of_extreme(body: Body, node: Node, source: Operand) -> None:
    """
    Writes a kernel that finds the first largest or smallest value along an axis, NaN before all others.
    """
    sign = ">" if node.op == "index_of_max" else "<"
    outer, count, inner = around(node, source)
    with body.loop("i0", outer, shared=True) as before, body.loop("i1", inner, shared=True) as after:
        begin = sum_of((before, count * inner), (after, 1))
        body.add(f"best = load_scalar(source, {begin})", "index = 0")
        with body.block(f"for k in range(1, {passes(count)}):"):
            body.add(f"x = load_scalar(source, {sum_of((begin, 1), ('k', inner))})")
            with body.block(f"if x {sign} best or (x != x and best == best):"):
                body.add("best = x", "index = k")
        body.add(f"store_scalar(target, {sum_of((before, inner), (after, 1))}, np.float32(index))")


def write_running_sum(body: Body, node: Node, source: Operand) -> None:
    """
    Writes a kernel that adds values up along an axis.
    """
    outer, count, inner = around(node, source)
    with body.loop("i0", outer, shared=True) as before:
        if inner == 1:
            body.add("whole = np.float32(0)")
            with body.loop("k", count) as k:
                place = sum_of((before, count), (k, 1))
                body.add(f"whole += load_scalar(source, {place})", f"store_scalar(target, {place}, whole)")
            return
        for at, width in body.pieces(inner, shared=True):
            body.add("whole = splat(0.0)")
            with body.loop("k", count) as k:
                place = sum_of((before, count * inner), (k, inner), (at, 1))
                body.add(f"whole = whole + {body.load('source', place, width)}")
                body.store("target", place, width, "whole")


def around(node: Node, source: Operand) -> tuple[int, int, int]:
    """
    The elements before the node's axis, along it, and after it.
    """
    axis = integer(node, "axis")
    return product(source.dims[:axis]), source.dims[axis], product(source.dims[axis + 1 :])
