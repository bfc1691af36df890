"""
Looking up: rows of tables, elements at places, one-hot vectors, running sums.
"""

import math

import numpy as np

from compiler.frontends.onnx_file.graph import Given, Graph, Has, Value, dims_of
from compiler.frontends.onnx_file.translate_elementwise import Translation
from compiler.frontends.onnx_file.translate_shapes import cut, expand, flip, surround
from compiler.ir import DType
from compiler.ops import Array


def _counted(g: Graph, indices: Value, size: int) -> Value:
    """
    Indices counted from the front: negative ones count from the end.
    """
    if isinstance(indices, np.ndarray):
        if indices.size and not (-size <= indices.min() and indices.max() < size):
            g.refuse(f"looks up an index beyond the {size} elements there are")
        return np.where(indices < 0, indices + size, indices)
    if indices.name in g.builder.bytes:
        return indices
    behind = g.broadcast("plus", indices, size)
    return g.broadcast("where", g.broadcast("less", indices, 0), behind, indices)


def _gather(g: Graph, given: Given, has: Has) -> Value:
    x, indices = given
    axis = g.axis(has.get("axis", 0), len(dims_of(x)))
    places = _counted(g, indices, dims_of(x)[axis])
    dims = (*dims_of(x)[:axis], *dims_of(places), *dims_of(x)[axis + 1 :])
    if isinstance(places, np.ndarray):
        return _taken(g, x, places, axis, dims)
    if isinstance(x, np.ndarray):
        found = g.add("embedding", [places, x if axis == 0 else np.ascontiguousarray(np.moveaxis(x, axis, 0))])
        rank = len(dims_of(places))
        order = [*range(rank, rank + axis), *range(rank), *range(rank + axis, len(dims))]
        return found if axis == 0 else g.add("permute", [found], order=tuple(order))
    count = math.prod(dims_of(places))
    apart = [1] * len(dims_of(x))
    apart[axis] = count
    wanted = [count if at == axis else size for at, size in enumerate(dims_of(x))]
    return g.reshape(g.add("gather", [x, expand(g, g.reshape(places, apart), wanted)], axis=axis), dims)


def _taken(g: Graph, x: Value, places: Array, axis: int, dims: tuple[int, ...]) -> Value:
    """
    Elements at known places.
    """
    if isinstance(x, np.ndarray):
        g.need_small(dims)
        return np.asarray(np.take(x, places, axis))
    flat = places.reshape(-1)
    if not flat.size:
        g.refuse("looks nothing up")
    step = int(flat[1] - flat[0]) if flat.size > 1 else 1
    if step > 0 and np.array_equal(flat, flat[0] + step * np.arange(flat.size)):
        return g.reshape(cut(g, x, axis, int(flat[0]), int(flat[-1]) + 1, step), dims)
    return g.reshape(g.add("take", [x, flat], axis=axis), dims)


def _gather_elements(g: Graph, given: Given, has: Has) -> Value:
    x, indices = given
    axis = g.axis(has.get("axis", 0), len(dims_of(x)))
    return g.add("gather", [x, _counted(g, indices, dims_of(x)[axis])], axis=axis)


def _gather_nd(g: Graph, given: Given, has: Has) -> Value:
    """
    Known places in the first dims, as one index into all of them laid out in a row.
    """
    x, indices = given[0], g.known(given[1], "the indices")
    deep = indices.shape[-1] if indices.ndim else 0
    if has.get("batch_dims", 0) or not 0 < deep <= len(dims_of(x)):
        g.refuse("is compiled without batch_dims, for indices of the first dims")
    flat = np.zeros(indices.shape[:-1], np.int64)
    for axis, size in enumerate(dims_of(x)[:deep]):
        flat = flat * size + _counted(g, indices[..., axis], size)
    rest = dims_of(x)[deep:]
    rows = g.reshape(x, (math.prod(dims_of(x)[:deep]), *rest))
    return _taken(g, rows, flat, 0, (*flat.shape, *rest))


def _one_hot(g: Graph, given: Given, has: Has) -> Value:
    depth, values = g.integers(given[1], "the depth")[0], g.known(given[2], "the values").reshape(-1)
    indices = g.cast(given[0], DType.INT64)
    rank = len(dims_of(indices))
    axis = g.axis(has.get("axis", -1), rank + 1)
    g.need_small((depth,))
    behind = g.broadcast("plus", indices, depth)
    places = g.broadcast("where", g.broadcast("less", indices, 0), behind, indices)
    dims = (*dims_of(indices)[:axis], 1, *dims_of(indices)[axis:])
    line = np.arange(depth).reshape(depth, *(1,) * (rank - axis))
    hot = g.broadcast("equal", g.reshape(places, dims), line)
    return g.broadcast("where", hot, values[1:2], values[:1])


def _running_sum(g: Graph, given: Given, has: Has) -> Value:
    x = given[0]
    rank = len(dims_of(x))
    axis = g.axis(g.integers(given[1], "the axis")[0], rank)
    x = flip(g, x, axis) if has.get("reverse", 0) else x
    if has.get("exclusive", 0):
        ends = [0] * rank
        ends[axis] = 1
        x = surround(g, x, ends, [-size for size in ends]) if dims_of(x)[axis] > 1 else g.broadcast("times", x, 0)
    found = g.add("running_sum", [x], axis=axis)
    return flip(g, found, axis) if has.get("reverse", 0) else found


def _index(row: str) -> Translation:
    def translate(g: Graph, given: Given, has: Has) -> Value:
        x = given[0]
        axis, keep = g.axis(has.get("axis", 0), len(dims_of(x))), bool(has.get("keepdims", 1))
        if not has.get("select_last_index", 0):
            return g.add(row, [x], axis=axis, keep=keep)
        found = g.add(row, [flip(g, x, axis)], axis=axis, keep=keep)
        return g.broadcast("minus", g.number(dims_of(x)[axis] - 1, DType.INT64, len(dims_of(found))), found)

    return translate


def _hardmax(g: Graph, given: Given, has: Has) -> Value:
    x = given[0]
    axis = g.axis(has.get("axis", -1), len(dims_of(x)))
    place = g.add("index_of_max", [x], axis=axis, keep=True)
    line = np.arange(dims_of(x)[axis]).reshape(-1, *(1,) * (len(dims_of(x)) - axis - 1))
    return g.cast(g.broadcast("equal", place, line), DType.FLOAT32)


def _top(g: Graph, given: Given, has: Has) -> Value:
    """
    The first in order and their places; also where any order would do.
    """
    x, count = given[0], g.integers(given[1], "the number")[0]
    axis, largest = g.axis(has.get("axis", -1), len(dims_of(x))), bool(has.get("largest", 1))
    return g.add_all("top", [x], axis=axis, count=count, largest=largest)


TRANSLATIONS: dict[str, Translation] = {
    "ArgMax": _index("index_of_max"),
    "ArgMin": _index("index_of_min"),
    "CumSum": _running_sum,
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "GatherND": _gather_nd,
    "Hardmax": _hardmax,
    "OneHot": _one_hot,
    "TopK": _top,
}
