"""
An ONNX model as its own runtime computes it: onnxruntime, or where that is not installed the reference of onnx.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import onnx
from onnx import ModelProto

from compiler.errors import UnsupportedError, quote
from compiler.frontends.onnx_file.batch import read_inputs
from compiler.frontends.source import Ask
from compiler.ops import Array

Run: TypeAlias = Callable[[Mapping[str, Array]], list[Any]]


def asking(data: bytes, model: ModelProto, where: str, outputs: Sequence[str]) -> Ask:
    """
    What the file answers for these outputs.

    A model of fixed sizes is asked sample by sample; the runtime is made when it is first asked.
    """
    inputs = read_inputs(model.graph, where)
    dtypes = [onnx.helper.tensor_dtype_to_np_dtype(each.type) for each in inputs.each]
    run = _running(data, model, where, outputs)

    def once(arrays: Sequence[Array]) -> list[Array]:
        pairs = zip(inputs.each, arrays, dtypes, strict=True)
        given = {each.name: np.ascontiguousarray(array, dtype).reshape(array.shape) for each, array, dtype in pairs}
        return [_plain(np.asarray(result)) for result in run(given)]

    def ask(arrays: Sequence[Array]) -> list[Array]:
        if inputs.batched:
            return once(arrays)
        answers = [once([array[row] for array in arrays]) for row in range(len(arrays[0]))]
        return [np.stack(each) for each in zip(*answers, strict=True)]

    return ask


def _running(data: bytes, model: ModelProto, where: str, outputs: Sequence[str]) -> Run:
    """
    The first runtime that is installed and computes the model; made when it is first asked.
    """
    left: list[Callable[[], Run]] = [lambda: _onnxruntime(data, outputs), lambda: _reference(model, outputs)]
    made: list[Run] = []

    def run(given: Mapping[str, Array]) -> list[Any]:
        while True:
            try:
                if not made:
                    made.append(left.pop(0)())
                return made[0](given)
            except Exception as error:  # not installed, or an op, or a form of one, that it does not know
                made.clear()
                if not left:
                    text = f"no runtime of ONNX computes it: {quote(str(error), 300)}"
                    raise UnsupportedError(where, text) from error

    return run


def _onnxruntime(data: bytes, outputs: Sequence[str]) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return lambda given: list(session.run(outputs, dict(given)))


def _reference(model: ModelProto, outputs: Sequence[str]) -> Run:
    from onnx.reference import ReferenceEvaluator

    evaluator = ReferenceEvaluator(model)
    return lambda given: list(evaluator.run(outputs, dict(given)))


def _plain(result: Array) -> Array:
    """
    Numbers as predictors give them: float32, int64 or bool.
    """
    if result.dtype.kind == "b":
        return result
    return result.astype(np.int64 if result.dtype.kind in "iu" else np.float32)
