"""
The ONNX project's own tests of nodes: what is translated gives what they expect, and never fewer of them.

Each test is a graph of a few nodes with inputs and the outputs that ONNX defines. They are models of fixed sizes here.
Each is read twice: as it is, and with all inputs but the first as constants, as files of trained models have weights.
"""

import re
import warnings
from collections import Counter
from functools import cache

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, numpy_helper
from onnx.backend.test.loader import load_model_tests

from compiler.check import check
from compiler.errors import PolicycError
from compiler.frontends.onnx_file.loading import load
from compiler.frontends.onnx_file.program import translate
from compiler.ir import Model, Origin
from compiler.ops.reference import evaluate

PASSING = {"given": 780, "known": 1039}
"""How many tests pass, by how their inputs are; may grow."""
DIFFERENT = {
    "test_resize_downsample_scales_linear_align_corners": "corners of a size that is no whole number; as onnxruntime",
    "test_resize_downsample_scales_cubic_align_corners": "corners of a size that is no whole number; as onnxruntime",
}
HALF = re.compile("b?f(loat)?16", re.IGNORECASE)
REASONS = (
    (
        r"(is not compiled|is not compiled; the nearest that is: \w+|runs a graph of its own.*|is of the domain .*"
        r"|is not compiled, as quantised.*)$",
        "op",
    ),
    (r": is compiled (with|for|where)|is not compiled with|pads in the mode|as in training", "a form of an op"),
    (r"of the type number|float64|casts to the type|is no tensor|must be float32", "type"),
    (r"is of opset", "older opset"),
    (r"must be a constant of the file", "a shape, axes or weights that are given"),
    (r"the same for every input|has no inputs", "nothing is computed"),
    (r"dimension \d+ is|is empty or beyond|looks nothing up|gives the sizes", "empty tensors"),
    (r"has no dynamic first dimension", "no single sample"),
    (r"result \d is used", "a result that is not compiled"),
)


@cache
def cases():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # onnx computes with NaN and infinity to make them
        return load_model_tests(kind="node")


def array(value):
    return numpy_helper.to_array(value) if isinstance(value, TensorProto) else np.asarray(value)


def with_known_inputs(case) -> ModelProto:
    """
    The model with all inputs but the first as constants.
    """
    model = ModelProto()
    model.CopyFrom(case.model)
    given = case.data_sets[0][0]
    for declared, value in list(zip(model.graph.input, given, strict=False))[1:]:
        if not isinstance(value, list | type(None)):
            tensor = TensorProto()
            tensor.CopyFrom(value if isinstance(value, TensorProto) else numpy_helper.from_array(np.asarray(value)))
            tensor.name = declared.name
            model.graph.initializer.append(tensor)
    return model


def typed(model: Model, name: str, value: np.ndarray) -> np.ndarray:
    """
    An input as callers give it: unsigned numbers as those of the model.
    """
    return value.astype(model.tensors[name].dtype.numpy) if value.dtype.kind == "u" else value


def outcome(case, proto: ModelProto) -> str:
    """
    "passes", "differs", or why the model is refused.
    """
    try:
        loaded = load(memoryview(proto.SerializeToString()), case.name)
        model = check(translate(loaded, case.name, Origin(case.name, "", "onnx"), allow_nonfinite=True), case.name)
    except PolicycError as error:
        return next((reason for text, reason in REASONS if re.search(text, error.findings[0])), "other")
    if model.batched:
        return "no single sample"
    inputs, expected = case.data_sets[0]
    given = {name: typed(model, name, array(value))[None] for name, value in zip(model.inputs, inputs, strict=False)}
    values = evaluate(model, given)
    relative = max(case.rtol, 1e-2 if HALF.search(case.name) else 1e-3)
    wanted_by_name = dict(zip((output.name for output in case.model.graph.output), map(array, expected), strict=True))
    for output in model.outputs:
        found, wanted = values[output.tensor][0], wanted_by_name[output.name]
        if found.shape != wanted.shape or not np.allclose(
            found.astype(np.float64), wanted.astype(np.float64), relative, 1e-5, equal_nan=True
        ):
            return "differs"
    return "passes"


@pytest.mark.parametrize("way", PASSING)
def test_what_is_translated_gives_what_onnx_defines(way):
    found: Counter[str] = Counter()
    different: list[str] = []
    for case in cases():
        result = outcome(case, case.model if way == "given" else with_known_inputs(case))
        found[result] += 1
        if result == "differs" and case.name not in DIFFERENT:
            different.append(case.name)
    print(f"\n{len(cases())} node tests of onnx {onnx.__version__}, other inputs {way}: {dict(found.most_common())}")
    assert different == []
    assert found["passes"] >= PASSING[way]
