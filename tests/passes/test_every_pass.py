"""
What holds for each pass and for all of them in order: the reference's answers stay, the model stays legal.
"""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from compiler.check import check
from compiler.ir import Model
from compiler.ops.reference import evaluate
from compiler.options import LANES, BuildOptions
from compiler.passes import PIPELINE
from compiler.pipeline import run_passes
from tests.models import observations, policy
from tests.strategies import inputs_of, models

OPTIONS = st.builds(BuildOptions, lanes=st.sampled_from(LANES), nonfinite=st.sampled_from(["raise", "propagate"]))


def check_outputs(before: Model, after: Model, inputs) -> None:
    one, other = evaluate(before, inputs), evaluate(after, inputs)
    now = {output.name: output.tensor for output in after.outputs}
    assert all(output.name in now for output in before.outputs if before.policy is None or output.role != "value")
    for output in before.outputs:
        if output.name in now:
            expected, found = one[output.tensor], other[now[output.name]]
            assert expected.shape == found.shape
            assert np.allclose(expected, found, rtol=1e-9, atol=1e-12, equal_nan=True), output.name


@pytest.mark.parametrize("transform", PIPELINE, ids=lambda transform: transform.__name__)
@given(model=models(finite=True), options=OPTIONS)
@settings(max_examples=60, deadline=None)
def test_each_pass_keeps_what_is_computed(transform, model, options):
    assume(model.policy is None or any(output.role != "value" for output in model.outputs))
    before = str(model)
    after = check(transform(model, options), transform.__name__)
    assert str(model) == before
    check_outputs(model, after, inputs_of(model))
    assert transform(after, options) == after


@given(model=models(finite=True), options=OPTIONS)
@settings(max_examples=100, deadline=None)
def test_all_passes_keep_what_is_computed(model, options):
    assume(model.policy is None or any(output.role != "value" for output in model.outputs))
    after = run_passes(model, options)
    check_outputs(model, after, inputs_of(model))
    assert not any(node.op == "linear" for node in after.nodes)
    assert run_passes(after, options) == after


@given(
    sizes=st.lists(st.integers(1, 70), max_size=4),
    inputs=st.lists(st.integers(1, 40), min_size=1, max_size=2),
    outputs=st.integers(1, 20),
    activation=st.sampled_from(["", "tanh", "relu", "softmax"]),
    head=st.sampled_from(["argmax", "softmax", "clip", "rescale"]),
    bounds=st.sampled_from(["float32", "float64"]),
    options=OPTIONS,
)
@settings(max_examples=60, deadline=None)
def test_all_passes_keep_what_policies_compute(sizes, inputs, outputs, activation, head, bounds, options):
    model = policy(inputs, sizes, outputs, activations=activation, head=head, bounds=bounds)
    after = run_passes(model, options)
    check_outputs(model, after, {"observation": observations(model, 3)})
    assert len(after.nodes) <= len(model.nodes)
