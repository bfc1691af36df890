"""
The reference gives the tensors that are wanted, and what it gives is the same whichever these are.
"""

import numpy as np

from compiler.ops.reference import evaluate
from tests.general_models import inputs_of, mixed


def test_only_what_is_wanted_is_given():
    model = mixed()
    inputs = dict(zip(model.inputs, inputs_of(model, 3), strict=True))
    everything = evaluate(model, inputs)
    assert set(everything) == set(model.tensors)
    for wanted in ([output.tensor for output in model.outputs], [model.inputs[0], "table"], []):
        found = evaluate(model, inputs, wanted)
        assert set(found) == set(wanted)
        assert all(np.array_equal(found[name], everything[name]) for name in wanted)
