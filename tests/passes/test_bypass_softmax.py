"""
The largest probability is that of the largest logit.
"""

from dataclasses import replace

import numpy as np
import pytest

from compiler.ir import Tensor
from compiler.ops.reference import evaluate
from compiler.passes.bypass_softmax import bypass_softmax
from tests.passes.graphs import PROPAGATE, Graph, apply, graph_of

BIAS = np.array([1, np.nan], np.float32)


def graph(scale: float = 1.0) -> Graph:
    found = Graph()
    found.add("softmax", [found.linear("x", "logits", 2)], "probabilities", scale=scale)
    found.add("argmax", ["probabilities"], "mode")
    return found


def test_argmax_of_softmax_is_argmax():
    model = apply(bypass_softmax, graph().model(("mode", "action")))
    assert graph_of(model).splitlines()[3:] == [
        "'logits': float32[batch, 2] = linear('x', 'logits.weight', 'logits.bias')  # 'logits'",
        "'probabilities': float32[batch, 2] = softmax('logits', scale=1.0, sizes=())  # 'probabilities'",
        "'mode': int64[batch] = argmax('logits', sizes=())  # 'mode'",
        "output 'action' = 'mode' (action)",
    ]


def test_probabilities_that_are_asked_for_stay():
    model = apply(bypass_softmax, graph().model(("mode", "action"), ("probabilities", "scores")))
    assert model.outputs[1].tensor == "probabilities"
    assert model.producer("probabilities") is not None
    assert model.nodes[-1].inputs == ("logits",)


@pytest.mark.parametrize("scale", [-1.0, 0.0, 2.0])
def test_other_scales_are_left_alone(scale):
    model = graph(scale).model(("mode", "action"))
    assert apply(bypass_softmax, model) == model


def test_other_argmaxes_are_left_alone():
    found = Graph()
    found.add("argmax", [found.add("log_softmax", [found.linear("x", "logits", 2)], "log_probabilities")], "mode")
    model = found.model(("mode", "action"))
    assert apply(bypass_softmax, model) == model


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [((2, 3), (2, 3), True), ((5,), (), True), ((), (5,), True), ((2, 3), (3, 2), False), ((), (2, 3), False)],
)
def test_both_must_mean_the_same_choices(one, other, same):
    found = Graph()
    found.add("softmax", [found.linear("x", "logits", 5)], "probabilities", sizes=one)
    model = found.model((found.add("argmax", ["probabilities"], "mode", sizes=other), "action"))
    bypassed = apply(bypass_softmax, model)
    assert bypassed.nodes[-1].inputs == (("logits",) if same else ("probabilities",))


def test_nothing_is_bypassed_where_nan_is_answered():
    model = graph().model(("mode", "action"))
    assert apply(bypass_softmax, model, PROPAGATE) is model
    # One logit that is NaN makes all probabilities NaN, of which the first is taken.
    model = replace(model, tensors={**model.tensors, "logits.bias": Tensor.constant("logits.bias", BIAS)})
    values = evaluate(model, {"x": np.zeros((1, 4))})
    assert np.isnan(values["logits"]).tolist() == [[False, True]]
    assert np.isnan(values["probabilities"]).all()
    assert values["mode"][0] == 0
