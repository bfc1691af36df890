"""
The op Attention of opset 23 and newer: heads apart, keys and values repeated for groups of queries, masks as numbers.
"""

import math

from compiler.frontends.onnx_file.graph import Given, Graph, Has, Value, at, dims_of, kind_of
from compiler.frontends.onnx_file.translate_elementwise import Translation
from compiler.frontends.onnx_file.translate_shapes import expand, permute
from compiler.ir import DType

KNOWN = frozenset({"is_causal", "kv_num_heads", "q_num_heads", "qk_matmul_output_mode", "scale", "softcap"})
KNOWN |= {"softmax_precision"}
"""Attributes that are read, or that say nothing of the first result."""


def _apart(g: Graph, x: Value, heads: int) -> Value:
    """
    (B, T, H * D) as (B, H, T, D); what has four dims stays.
    """
    dims = dims_of(x)
    if len(dims) == 4:
        return x
    if len(dims) != 3 or heads < 1 or dims[2] % heads:
        g.refuse(f"takes three dims with a number of heads, or four dims, found {dims} and {heads} heads")
    return permute(g, g.reshape(x, (*dims[:2], heads, dims[2] // heads)), (0, 2, 1, 3))


def _repeated(g: Graph, x: Value, heads: int) -> Value:
    """
    Each head so often that there are as many as those of the queries.
    """
    count, own, length, width = dims_of(x)
    if own == heads:
        return x
    if heads % own:
        g.refuse(f"has {heads} heads of queries for {own} of keys and values")
    return g.reshape(
        expand(g, g.reshape(x, (count, own, 1, length, width)), (count, own, heads // own, length, width)),
        (count, heads, length, width),
    )


def _attention(g: Graph, given: Given, has: Has) -> Value:
    if any(at(given, place) is not None for place in (4, 5, 6)):
        g.refuse("is compiled without past keys and values, and without lengths of its own")
    if unknown := set(has) - KNOWN:
        g.refuse(f"is compiled without {', '.join(sorted(unknown))}")
    if has.get("softcap", 0.0):
        g.refuse("is compiled without softcap")
    queries = _apart(g, given[0], has.get("q_num_heads", 0))
    heads = dims_of(queries)[1]
    keys, values = (_repeated(g, _apart(g, x, has.get("kv_num_heads", 0)), heads) for x in given[1:3])
    inputs = [queries, keys, values]
    mask = at(given, 3)
    if mask is not None:
        if kind_of(mask) is DType.BOOL:
            number = [g.number(value, DType.FLOAT32, len(dims_of(mask))) for value in (0.0, -math.inf)]
            mask = g.broadcast("where", mask, *number)
        dims = dims_of(mask)
        if dims and dims[-1] not in (1, dims_of(keys)[2]):
            g.refuse(f"is compiled with a mask for all {dims_of(keys)[2]} keys, found {dims}")
        inputs.append(g.reshape(mask, (1,) * (4 - len(dims)) + dims))
    scale = float(has.get("scale", 1 / math.sqrt(dims_of(queries)[3])))
    found = g.add("attention", inputs, scale=scale, causal=bool(has.get("is_causal", 0)))
    if len(dims_of(given[0])) == 4:
        return [found]
    count, _, length, width = dims_of(found)
    return [g.reshape(permute(g, found, (0, 2, 1, 3)), (count, length, heads * width))]


TRANSLATIONS: dict[str, Translation] = {"Attention": _attention}
