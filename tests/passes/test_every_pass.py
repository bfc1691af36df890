"""
What holds for each pass and for all of them in order: the reference's answers stay, the model stays legal.
"""

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from compiler.check import check
from compiler.ir import Model
from compiler.ops.reference import evaluate
from compiler.options import LANES, BuildOptions
from compiler.passes import PIPELINE
from compiler.pipeline import run_passes
from tests.images import Layer, image_policy
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


@given(model=models(finite=True), options=OPTIONS)
@settings(max_examples=150, deadline=None)
def test_each_pass_keeps_what_is_computed(model, options):
    """
    Each on what those before it have left, as in a build: of a model as it is drawn most have nothing to change.
    """
    assume(model.policy is None or any(output.role != "value" for output in model.outputs))
    inputs = inputs_of(model)
    for transform in PIPELINE:
        before = str(model)
        after = check(transform(model, options), transform.__name__)
        assert str(model) == before, transform
        check_outputs(model, after, inputs)
        assert transform(after, options) == after, transform
        model = after


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


@given(
    layers=st.lists(
        st.builds(
            Layer,
            filters=st.integers(1, 40),
            kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
            stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
            padding=st.tuples(st.integers(2, 3), st.integers(2, 3)),
            dilation=st.tuples(st.integers(1, 2), st.integers(1, 2)),
            activation=st.sampled_from(["", "relu", "tanh", "softplus"]),
        ),
        max_size=3,
    ),
    options=OPTIONS,
)
@settings(max_examples=40, deadline=None)
def test_all_passes_keep_what_policies_on_images_compute(layers, options):
    model = image_policy((2, 7, 6), layers)
    after = run_passes(model, options)
    assert run_passes(after, options) == after
    assert not any(node.op in ("conv2d", "linear", "divide", "channels_first") for node in after.nodes)
    inputs = {"observation": observations(model, 3)}
    # The weights are divided by 255 and rounded to float32 instead of the pixels.
    assert np.allclose(evaluate(model, inputs)["q_net"], evaluate(after, inputs)["q_net"], rtol=1e-5, atol=1e-6)
