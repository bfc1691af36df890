"""
Where a predictor goes wrong: the first layer whose value is not that of the reference.
"""

import numpy as np

from compiler.errors import quote
from compiler.ir import Model, Node
from compiler.ops import OPS, Array
from compiler.verify.asking import Predictor, show, single_of
from compiler.verify.cases import Cases
from compiler.verify.reference import Known, known, model_inputs


def first_wrong_layer(source: Model, compiled: Model, predictor: Predictor, case: Cases, seed: int) -> str:
    """
    Compares what the predictor computes on the way, layer by layer, for one case.

    Args:
        source: the model as it was read.
        compiled: the model after the passes, whose tensors the predictor names.
        predictor: what answered wrongly.
        case: one observation, with what goes with it.
        seed: of the perturbations that show the conditioning.

    Returns:
        A sentence that names the first layer that differs, or says that none does.
    """
    before = known(source, model_inputs(source, case), seed)
    after = known(compiled, model_inputs(compiled, case), seed)
    question = single_of(source, case, 0)
    found = predictor.layers(question.observation, **question.others)
    for node in compiled.nodes:
        for name in node.outputs:
            # A pass may change what a tensor means only if it also renames it.
            right = before if name in before.values else after
            text = _wrong(node, name, right, after, found)
            if text:
                return text
    return (
        "every layer is right for this observation alone: what differs is the code around the layers, "
        "or the kernels for batches"
    )


def _wrong(node: Node, name: str, right: Known, after: Known, found: dict[str, Array]) -> str:
    where = f"first layer that differs: {quote(node.name)} ({node.op})"
    expected, limit = right.values[name].reshape(-1), right.limit(name).reshape(-1)
    passed = after.values[name].reshape(-1)
    if passed.shape != expected.shape or not _near(passed, expected, limit).all():
        return f"{where}: a pass has changed it from {show(expected)} to {show(passed)}"
    if name not in found:  # an op that only rearranges has no code and leaves nothing to see
        return f"{where}: the predictor's layers() lack it" if OPS[node.op].template else ""
    actual = np.asarray(found[name]).reshape(-1)
    if actual.shape != expected.shape:
        return f"{where}: {actual.size} values, expected {expected.size}"
    near = _near(actual, expected, limit)
    if near.all():
        return ""
    index = int(np.argmin(near))
    return (
        f"{where}: element {index} is {show(actual[index])}, expected {show(expected[index])}; "
        f"{int((~near).sum())} of {near.size} elements differ"
    )


def _near(actual: Array, expected: Array, limit: Array) -> Array:
    with np.errstate(all="ignore"):
        same = (actual == expected) | (np.isnan(actual.astype(np.float64)) & np.isnan(expected.astype(np.float64)))
        near: Array = same | (np.abs(actual.astype(np.float64) - expected) <= limit)
    return near
