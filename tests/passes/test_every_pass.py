"""
What holds for each pass and for all of them in order: the reference's answers stay, the model stays legal.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise

import numpy as np
from hypothesis import assume, given, note, settings
from hypothesis import strategies as st

from compiler.check import check
from compiler.ir import Model, Output
from compiler.ops import OPS, Array
from compiler.ops.reference import evaluate
from compiler.options import LANES, BuildOptions
from compiler.passes import PIPELINE
from compiler.passes.apply_winograd import apply_winograd
from compiler.pipeline import run_passes, stage_names, stages
from tests.drawn_networks import SEEDS, SOME, network
from tests.images import Layer, image_policy
from tests.models import observations, policy
from tests.strategies import inputs_of
from tests.thorough import THOROUGH

OPTIONS = st.builds(
    BuildOptions, lanes=st.sampled_from(LANES), nonfinite=st.sampled_from([*["raise"] * 3, "propagate"])
)


NETWORKS_TRIED = 2000 if THOROUGH else 120
ENOUGH = 0.1
"""The part of the networks that each pass must change at least."""


def answers(model: Model, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """
    What a model leaves: outputs, without those of critics that a policy needs no more, and states.
    """
    tensors = {f"output {output.name}": output.tensor for output in model.outputs if not _dropped(model, output)}
    tensors |= {f"state {state.name}": state.output for state in model.states}
    values = evaluate(model, inputs, {*tensors.values()})
    return {name: values[tensor] for name, tensor in tensors.items()}


def _dropped(model: Model, output: Output) -> bool:
    return model.policy is not None and output.role == "value"


def check_answers(expected: Mapping[str, Array], found: Mapping[str, Array]) -> None:
    """
    Whether two models leave the same but for what float64 rounds off.
    """
    assert expected.keys() == found.keys()
    for name, array in expected.items():
        assert array.shape == found[name].shape, name
        check_close(array, found[name], 1e-9, name)


def check_close(expected: Array, found: Array, tolerance: float, name: str) -> None:
    """
    Whether arrays differ by no more than a part of the largest value.
    """
    most = tolerance * max(1, np.abs(expected).max(initial=0))
    np.testing.assert_allclose(found, expected, rtol=0, atol=most, err_msg=name)


def check_layers(before: Model, after: Model, inputs: Mapping[str, Array]) -> None:
    """
    Whether each layer gives what it gave for the same input, but for what float32 rounds off: its constants are rounded
    to that. What follows may differ by more, a choice between two that are about as good.
    """
    values = evaluate(before, inputs)
    for node in after.nodes:
        constants = [after.tensors[name].data for name in node.inputs]
        arrays = [values[name] if data is None else data for name, data in zip(node.inputs, constants, strict=True)]
        for name, array in zip(node.outputs, OPS[node.op].evaluate(arrays, node.attributes), strict=True):
            check_close(values[name], array, 1e-5, name)


def check_outputs(before: Model, after: Model, inputs: Mapping[str, Array]) -> None:
    check_answers(answers(before, inputs), answers(after, inputs))


def all_moderate(model: Model, inputs: Mapping[str, Array]) -> bool:
    """
    Whether no value is larger than those that masks put in the place of others, beyond which these choose otherwise.
    """
    return all(np.abs(array).max(initial=0) <= 1e8 for array in evaluate(model, inputs).values())


@given(seed=SEEDS, which=SOME, options=OPTIONS, other=st.sampled_from(LANES))
@settings(max_examples=NETWORKS_TRIED, deadline=None)
def test_each_pass_keeps_what_is_computed(seed, which, options, other):
    """
    Each on what those before it have left, as in a build; and once more, of a model that was built for other registers.
    """
    note(f"network({seed}, {which}), {options.given()}, then {other} lanes")
    model = network(seed, which)
    inputs = inputs_of(model)
    assume(all_moderate(model, inputs))
    expected = answers(model, inputs)
    for again in (options, replace(options, lanes=other)):
        for transform in PIPELINE:
            before = str(model)
            after = transform(model, again)
            assert str(model) == before, transform
            if after == model:
                continue
            check(after, transform.__name__)
            found = answers(after, inputs)
            if transform is apply_winograd:
                check_layers(model, after, inputs)
            else:
                check_answers(expected, found)
            assert transform(after, again) == after, transform
            model, expected = after, found
        assert run_passes(model, again) == model
        assert not any(node.op in ("linear", "linear_over", "lstm", "conv2d", "batch_norm") for node in model.nodes)


def test_each_pass_has_something_to_do():
    acted: Counter[str] = Counter()
    tried = 100
    for seed in range(tried):
        model = network(seed)
        options = BuildOptions(lanes=LANES[seed % len(LANES)])
        for (_, before), (name, after) in pairwise(stages(model, options)):
            acted[name] += after != before
    few = {name: acted[name] for name in stage_names()[1:] if acted[name] < ENOUGH * tried}
    assert not few


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
