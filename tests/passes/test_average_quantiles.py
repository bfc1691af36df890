"""
Means of quantiles become part of the layer that computes the quantiles.
"""

import numpy as np

from compiler.ops.reference import evaluate
from compiler.passes.average_quantiles import average_quantiles
from tests.passes.graphs import PROPAGATE, Graph, apply, graph_of


def graph(quantiles: int = 3) -> Graph:
    found = Graph()
    found.add("quantile_mean", [found.linear("x", "quantile_net", 6)], "q_values", quantiles=quantiles)
    return found


def test_text():
    model = graph().model(("q_values", "scores"))
    assert (
        graph_of(apply(average_quantiles, model))
        == """\
input 'x': float32[batch, 4]
constant 'quantile_net.weight': float32[2, 4]
constant 'quantile_net.bias': float32[2]
'q_values': float32[batch, 2] = linear('x', 'quantile_net.weight', 'quantile_net.bias')  # 'quantile_net'
output 'scores' = 'q_values' (scores)"""
    )


def test_weights_are_rounded_once():
    model = graph().model(("q_values", "scores"))
    weight, after = (graph.tensors["quantile_net.weight"].data for graph in (model, apply(average_quantiles, model)))
    assert weight is not None
    assert after is not None
    mean = weight.astype(np.float64).reshape(3, 2, 4).mean(axis=0)
    assert np.array_equal(after, mean.astype(np.float32))


def test_answers_stay():
    for quantiles in (1, 2, 6):
        model = graph(quantiles).model(("q_values", "scores"))
        inputs = {"x": np.random.default_rng(0).normal(size=(20, 4))}
        one, other = (evaluate(graph, inputs)["q_values"] for graph in (model, apply(average_quantiles, model)))
        assert np.allclose(one, other, rtol=1e-6, atol=1e-6)


def test_what_is_left_alone():
    model = graph().model(("q_values", "scores"))
    assert apply(average_quantiles, model, PROPAGATE) is model
    asked_for = graph().model(("q_values", "scores"), ("quantile_net", "output"))
    assert apply(average_quantiles, asked_for) == asked_for

    found = graph()
    twice = found.model((found.add("tanh", ["quantile_net"], "tanh"), "output"), ("q_values", "scores"))
    assert apply(average_quantiles, twice) == twice

    found = Graph()
    no_layer = found.model((found.add("quantile_mean", ["x"], "mean", quantiles=2), "scores"))
    assert apply(average_quantiles, no_layer) == no_layer


def test_a_weight_that_others_read_too_stays():
    found = graph()
    found.add("linear", ["x", "quantile_net.weight", found.bias("other", 6)], "beside")
    model = found.model(("q_values", "scores"), ("beside", "output"))
    after = apply(average_quantiles, model)
    assert after.tensors["quantile_net.weight"] == model.tensors["quantile_net.weight"]
    assert after.nodes[0].inputs[1:] == ("quantile_net.weight:mean", "quantile_net.bias")
