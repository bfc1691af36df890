"""
Policies answer with actions; other models are none of this pass's business.
"""

import pytest

from compiler.errors import BuildError
from compiler.options import BuildOptions
from compiler.passes.keep_action import keep_action
from tests.passes.graphs import Graph, apply, graph_of


def graph() -> tuple[Graph, tuple[tuple[str, str], ...]]:
    found = Graph()
    logits = found.linear("x", "action_net", 2)
    action = found.add("argmax", [logits], "mode")
    return found, ((action, "action"), (logits, "scores"), (found.linear("x", "value_net", 1), "value"))


def test_the_value_of_a_policy_is_no_output():
    found, outputs = graph()
    assert (
        graph_of(apply(keep_action, found.model(*outputs)))
        == """\
input 'x': float32[batch, 4]
constant 'action_net.weight': float32[2, 4]
constant 'action_net.bias': float32[2]
constant 'value_net.weight': float32[1, 4]
constant 'value_net.bias': float32[1]
'action_net': float32[batch, 2] = linear('x', 'action_net.weight', 'action_net.bias')  # 'action_net'
'mode': int64[batch] = argmax('action_net', sizes=())  # 'mode'
'value_net': float32[batch, 1] = linear('x', 'value_net.weight', 'value_net.bias')  # 'value_net'
output 'action' = 'mode' (action)
output 'scores' = 'action_net' (scores)"""
    )


def test_what_is_left_alone():
    found, outputs = graph()
    no_policy = found.model(*outputs, policy=False)
    assert apply(keep_action, no_policy) is no_policy
    no_value = found.model(*outputs[:2])
    assert apply(keep_action, no_value) == no_value


def test_a_value_that_is_asked_for_stays_or_is_missed():
    found, outputs = graph()
    model, options = found.model(*outputs), BuildOptions(with_value=True)
    assert keep_action(model, options) is model
    with pytest.raises(BuildError, match="has no value network"):
        keep_action(found.model(*outputs[:2]), options)
