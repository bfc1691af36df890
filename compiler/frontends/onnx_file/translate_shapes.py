"""
Ops that move elements and compute none, and those that make or read shapes.
"""

import math
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from compiler.frontends.computed import Computed
from compiler.frontends.onnx_file.graph import Given, Graph, Has, Value, at, dims_of, kind_of
from compiler.frontends.onnx_file.translate_elementwise import Translation
from compiler.ir import DType


def cut(g: Graph, x: Value, axis: int, start: int, stop: int, step: int = 1) -> Value:
    """
    x[start:stop:step] along an axis, the bounds resolved.
    """
    if (start, stop, step) == (0, dims_of(x)[axis], 1):
        return x
    if isinstance(x, Computed):
        return g.add("slice", [x], axis=axis, start=start, stop=stop, step=step)
    return x[(slice(None),) * axis + (slice(start, stop, step),)]


def permute(g: Graph, x: Value, order: Sequence[int]) -> Value:
    """
    The axes in another order.
    """
    if tuple(order) == tuple(range(len(dims_of(x)))):
        return x
    return g.add("permute", [x], order=tuple(order)) if isinstance(x, Computed) else x.transpose(order)


def expand(g: Graph, x: Value, dims: Sequence[int]) -> Value:
    """
    Repeats dims of size 1, and adds dims in front.
    """
    if len(dims) < len(dims_of(x)):
        g.refuse(f"can't make dims {tuple(dims)} of {dims_of(x)}")
    x = g.reshape(x, (1,) * (len(dims) - len(dims_of(x))) + dims_of(x))
    return x if dims_of(x) == tuple(dims) else g.add("expand", [x], shape=tuple(dims))


def join(g: Graph, parts: Sequence[Value], axis: int) -> Value:
    """
    Tensors one after the other; those without elements are left out.
    """
    if not any(isinstance(part, Computed) for part in parts):
        return np.concatenate(parts, axis)
    kept = [part for part in parts if math.prod(dims_of(part))]
    return kept[0] if len(kept) == 1 else g.add("join", kept, axis=axis)


def flip(g: Graph, x: Value, axis: int) -> Value:
    """
    An axis from the last to the first.
    """
    return g.add("flip", [x], axes=(axis,)) if isinstance(x, Computed) else np.flip(x, axis)


def _reshape(g: Graph, given: Given, has: Has) -> Value:
    before, asked = dims_of(given[0]), g.integers(given[1], "the shape")
    dims = list(asked)
    if not has.get("allowzero", 0):
        if any(size == 0 and axis >= len(before) for axis, size in enumerate(asked)):
            g.refuse(f"the shape {asked} keeps a dimension that {before} does not have")
        dims = [before[axis] if size == 0 else size for axis, size in enumerate(asked)]
    if -1 in dims:
        rest = math.prod(size for size in dims if size != -1)
        dims[dims.index(-1)] = math.prod(before) // rest if rest else 0
    if any(size < 0 for size in dims):
        g.refuse(f"the shape {asked} has a negative size")
    return g.reshape(given[0], dims)


def _flatten(g: Graph, given: Given, has: Has) -> Value:
    dims = dims_of(given[0])
    axis = has.get("axis", 1)
    axis = axis + len(dims) if axis < 0 else axis
    return g.reshape(given[0], (math.prod(dims[:axis]), math.prod(dims[axis:])))


def _squeeze(g: Graph, given: Given, has: Has) -> Value:
    dims = dims_of(given[0])
    if at(given, 1) is None:
        return g.reshape(given[0], [size for size in dims if size != 1])
    axes = g.axes(g.integers(given[1], "the axes"), len(dims))
    return g.reshape(given[0], [size for axis, size in enumerate(dims) if axis not in axes])


def _unsqueeze(g: Graph, given: Given, has: Has) -> Value:
    dims, asked = list(dims_of(given[0])), g.integers(given[1], "the axes")
    for axis in g.axes(asked, len(dims) + len(asked)):
        dims.insert(axis, 1)
    return g.reshape(given[0], dims)


def _transpose(g: Graph, given: Given, has: Has) -> Value:
    order = has.get("perm", tuple(reversed(range(len(dims_of(given[0]))))))
    if sorted(order) != list(range(len(dims_of(given[0])))):
        g.refuse(f"perm {order} does not name each of {len(dims_of(given[0]))} axes once")
    return permute(g, given[0], order)


def _expand(g: Graph, given: Given, has: Has) -> Value:
    asked, before = g.integers(given[1], "the shape"), dims_of(given[0])
    rank = max(len(asked), len(before))
    pairs = zip((1,) * (rank - len(asked)) + asked, (1,) * (rank - len(before)) + before, strict=True)
    return expand(g, given[0], [old if new == 1 else new for new, old in pairs])


def _tile(g: Graph, given: Given, has: Has) -> Value:
    repeats, dims = g.integers(given[1], "the repeats"), dims_of(given[0])
    apart: list[int] = []
    together: list[int] = []
    for count, size in zip(repeats, dims, strict=True):
        apart += [1, size] if count != 1 else [size]
        together += [count, size] if count != 1 else [size]
    result = [count * size for count, size in zip(repeats, dims, strict=True)]
    return g.reshape(expand(g, g.reshape(given[0], apart), together), result)


def _shape(g: Graph, given: Given, has: Has) -> Value:
    dims = dims_of(given[0])
    return np.asarray(dims[has.get("start", 0) : has.get("end", len(dims))], np.int64)


def _size(g: Graph, given: Given, has: Has) -> Value:
    return np.asarray(math.prod(dims_of(given[0])), np.int64)


def _constant_of_shape(g: Graph, given: Given, has: Has) -> Value:
    dims = g.integers(given[0], "the shape")
    g.need_small(dims)
    value = has.get("value", np.zeros(1, np.float32))
    return np.full(dims, value.reshape(-1)[0])


def _range(g: Graph, given: Given, has: Has) -> Value:
    start, limit, step = (g.known(value, "a bound").reshape(-1)[0] for value in given)
    if not step:
        g.refuse("has the step 0")
    g.need_small((max(math.ceil((limit - start) / step), 0),))
    return np.arange(start, limit, step)


def _constant(g: Graph, given: Given, has: Has) -> Value:
    kinds = {"value_int": np.int64, "value_ints": np.int64, "value_float": np.float32, "value_floats": np.float32}
    ((name, value),) = has.items()
    if name != "value" and name not in kinds:
        g.refuse(f"holds {name}; compiled are numbers")
    return value if name == "value" else np.asarray(value, kinds[name])


def _identity(g: Graph, given: Given, has: Has) -> Value:
    return given[0]


def _concat(g: Graph, given: Given, has: Has) -> Value:
    return join(g, given, g.axis(has["axis"], len(dims_of(given[0]))))


def _split(g: Graph, given: Given, has: Has) -> Value:
    axis = g.axis(has.get("axis", 0), len(dims_of(given[0])))
    length = dims_of(given[0])[axis]
    if at(given, 1) is not None:
        sizes = list(g.integers(given[1], "the sizes"))
    else:
        count = len(g.place.results) if g.place else 1
        part = -(-length // has.get("num_outputs", count))
        sizes = [min(part, length - start) for start in range(0, length, part)]
    if sum(sizes) != length or min(sizes, default=0) < 0:
        g.refuse(f"the sizes {sizes} are not those of parts of {length}")
    ends = list(accumulate(sizes))
    return [cut(g, given[0], axis, end - size, end) for size, end in zip(sizes, ends, strict=True)]


def _slice(g: Graph, given: Given, has: Has) -> Value:
    x = given[0]
    starts, ends = g.integers(given[1], "the starts"), g.integers(given[2], "the ends")
    axes = range(len(starts)) if at(given, 3) is None else g.integers(given[3], "the axes")
    steps = (1,) * len(starts) if at(given, 4) is None else g.integers(given[4], "the steps")
    for start, end, given_axis, step in zip(starts, ends, axes, steps, strict=True):
        axis = g.axis(given_axis, len(dims_of(x)))
        size = dims_of(x)[axis]
        first, last, _ = slice(start, end, step or 1).indices(size)
        if step < 0:
            x, first, last, step = flip(g, x, axis), size - 1 - first, size - 1 - last, -step
        x = cut(g, x, axis, first, max(first, last), step or 1)
    return x


def surround(g: Graph, x: Value, before: Sequence[int], after: Sequence[int], value: float = 0.0) -> Value:
    """
    So many elements of a value around, axis by axis; fewer where the number is negative.
    """
    for axis, (front, back) in enumerate(zip(before, after, strict=True)):
        size = dims_of(x)[axis]
        x = cut(g, x, axis, min(max(-front, 0), size), max(size + min(back, 0), 0))
    if not any(size > 0 for size in (*before, *after)):
        return x
    more = [tuple(max(size, 0) for size in sizes) for sizes in (before, after)]
    return g.add("surround", [x], before=more[0], after=more[1], value=float(value))


def _pad(g: Graph, given: Given, has: Has) -> Value:
    dims, pads = dims_of(given[0]), g.integers(given[1], "the pads")
    axes = range(len(dims)) if at(given, 3) is None else g.integers(given[3], "the axes")
    before, after = [0] * len(dims), [0] * len(dims)
    for place, axis in enumerate(axes):
        before[g.axis(axis, len(dims))] = pads[place]
        after[g.axis(axis, len(dims))] = pads[place + len(pads) // 2]
    mode = has.get("mode", "constant")
    if mode == "constant":
        value = 0.0 if at(given, 2) is None else float(g.known(given[2], "the value").reshape(-1)[0])
        return surround(g, given[0], before, after, value)
    x = given[0]
    modes = {"reflect": "reflect", "edge": "edge", "wrap": "wrap"}
    for axis, (front, back) in enumerate(zip(before, after, strict=True)):
        if front or back:
            if mode not in modes or min(front, back) < 0:
                g.refuse(f"pads in the mode {mode!a} by {front} and {back}, which is not compiled")
            g.need_small((dims[axis], front + back + 1))
            places: Any = np.pad(np.arange(dims[axis]), (front, back), mode=modes[mode])  # type: ignore[call-overload]
            x = g.add("take", [x, places], axis=axis)
    return x


def _trilu(g: Graph, given: Given, has: Has) -> Value:
    rows, columns = dims_of(given[0])[-2:]
    offset = 0 if at(given, 1) is None else g.integers(given[1], "k")[0]
    g.need_small((rows, columns))
    upper = np.arange(columns) - np.arange(rows)[:, None]
    mask = upper >= offset if has.get("upper", 1) else upper <= offset
    zero = 0.0 if kind_of(given[0]) is DType.FLOAT32 else 0
    if kind_of(given[0]) is DType.BOOL:
        return g.broadcast("both", given[0], mask)
    return g.broadcast("where", mask, given[0], zero)


def _depth_to_space(g: Graph, given: Given, has: Has) -> Value:
    count, channels, height, width = dims_of(given[0])
    block = has["blocksize"]
    rest = channels // (block * block)
    if has.get("mode", "DCR") == "DCR":
        apart = g.reshape(given[0], (count, block, block, rest, height, width))
        order = (0, 3, 4, 1, 5, 2)
    else:
        apart = g.reshape(given[0], (count, rest, block, block, height, width))
        order = (0, 1, 4, 2, 5, 3)
    return g.reshape(permute(g, apart, order), (count, rest, height * block, width * block))


def _space_to_depth(g: Graph, given: Given, has: Has) -> Value:
    count, channels, height, width = dims_of(given[0])
    block = has["blocksize"]
    sizes = (count, channels, height // block, block, width // block, block)
    order = (0, 3, 5, 1, 2, 4) if has.get("mode", "DCR") == "DCR" else (0, 1, 3, 5, 2, 4)
    found = permute(g, g.reshape(given[0], sizes), order)
    return g.reshape(found, (count, channels * block * block, height // block, width // block))


TRANSLATIONS: dict[str, Translation] = {
    "Concat": _concat,
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "DepthToSpace": _depth_to_space,
    "Expand": _expand,
    "Flatten": _flatten,
    "Identity": _identity,
    "Pad": _pad,
    "Range": _range,
    "Reshape": _reshape,
    "Shape": _shape,
    "Size": _size,
    "Slice": _slice,
    "SpaceToDepth": _space_to_depth,
    "Split": _split,
    "Squeeze": _squeeze,
    "Tile": _tile,
    "Transpose": _transpose,
    "Trilu": _trilu,
    "Unsqueeze": _unsqueeze,
}
