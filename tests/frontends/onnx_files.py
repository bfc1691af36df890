"""
What tests of the ONNX frontend share: files made of nodes or of modules, and the comparison with a runtime.
"""

import contextlib
import io
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import ModelProto, TensorProto, helper, numpy_helper
from torch import Tensor, nn

from compiler.check import check
from compiler.frontends.onnx_file import read_onnx_with_source
from compiler.ir import Model
from compiler.ops import Array
from compiler.ops.reference import evaluate
from compiler.options import BuildOptions

RELATIVE, ABSOLUTE = 1e-4, 1e-5
BATCHES = (1, 2, 5)


def with_output_shapes(model: ModelProto) -> ModelProto:
    """
    The model with what onnx infers of its outputs' shapes; two unknown dimensions where that is nothing.
    """
    with contextlib.suppress(Exception):
        model = onnx.shape_inference.infer_shapes(model)
    del model.graph.value_info[:]
    for output in model.graph.output:
        if not output.type.tensor_type.HasField("shape"):
            kind = output.type.tensor_type.elem_type
            output.CopyFrom(helper.make_tensor_value_info(output.name, kind, [None, None]))
    return model


def one_node(
    op: str, inputs: dict[str, Any], shape: list[int | str | None], outputs: int = 1, **has: Any
) -> ModelProto:
    """
    A file of one node: its first input is given, of this shape, all others are constants; None leaves one out.
    """
    names = ["x", *(name if value is not None else "" for name, value in inputs.items())]
    results = [f"y{place}" for place in range(outputs)]
    constants = [numpy_helper.from_array(value, name) for name, value in inputs.items() if value is not None]
    given = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)]
    made = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in results]
    graph = helper.make_graph([helper.make_node(op, names, results, **has)], "graph", given, made, constants)
    return with_output_shapes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10))


def compare(data: bytes, examples: list[Array], name: str = "model.onnx") -> Model:
    """
    Compares the reference of a file's model with what its own runtime answers, at several sizes of the batch.

    Args:
        data: the file.
        examples: an array for each input: that of one sample, or of the batch, whose size does not matter.
        name: the file's name.
    """
    found = read_onnx_with_source(memoryview(data), Path(name), BuildOptions())
    model = check(found.model, name)
    for count in BATCHES:
        inputs = [_random(example, count, model.batched) for example in examples]
        values = evaluate(model, dict(zip(model.inputs, inputs, strict=True)))
        expected = found.ask(inputs)
        assert len(expected) == len(model.outputs)
        for output, wanted in zip(model.outputs, expected, strict=True):
            assert values[output.tensor].shape == wanted.shape
            np.testing.assert_allclose(values[output.tensor], wanted, RELATIVE, ABSOLUTE, err_msg=f"{count} samples")
    return model


def _random(example: Array, count: int, batched: bool) -> Array:
    random = np.random.default_rng(count)
    dims = (count, *(example.shape[1:] if batched else example.shape))
    if example.dtype.kind == "f":
        return random.standard_normal(dims, dtype=np.float32)
    if example.dtype.kind == "b":
        return random.random(dims) < 0.7
    return random.integers(0, int(example.max()) + 1, dims)


def exported(
    module: nn.Module, examples: tuple[Tensor, ...], path: Path, *, dynamo: bool, dynamic: bool = True
) -> bytes:
    """
    What torch.onnx.export writes, by its new way or the old one; with a dynamic batch, or of fixed sizes.
    """
    given = tuple(x.repeat(2, *(1,) * (x.ndim - 1)) if dynamic and x.shape[0] == 1 else x for x in examples)
    others: dict[str, Any] = {"external_data": False, "verbose": False} if dynamo else {"opset_version": 17}
    if dynamic and dynamo:
        batch = torch.export.Dim("batch")
        others["dynamic_shapes"] = tuple({0: batch} for _ in given)
    elif dynamic:
        names = [f"given.{place}" for place in range(len(given))]
        others |= {"input_names": names, "dynamic_axes": {name: {0: "batch"} for name in names}}
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            torch.onnx.export(module.eval(), given, str(path), dynamo=dynamo, **others)
        finally:
            logging.disable(logging.NOTSET)
    return path.read_bytes()
