"""
Recurrent layers over whole sequences, compared with torch, and what rows refuse.
"""

import numpy as np
import pytest
import torch

from compiler.ir import BATCH, DType, Shape, Tensor
from compiler.ops import OPS, sequence
from compiler.ops.builder import GraphBuilder
from compiler.ops.sequence import pack_recurrence
from tests.ops.rows import SAMPLES, Array, Constant, Input, normal, reference, refused, tensor

LENGTH, COUNT, FEATURES, UNITS = 5, 2, 3, 4


def layer(kind: str) -> torch.nn.Module:
    """
    One layer of two directions, in float64.
    """
    torch.manual_seed(0)
    options: dict[str, object] = {"bidirectional": True, "dtype": torch.float64}
    if kind == "lstm":
        return torch.nn.LSTM(FEATURES, UNITS, **options)
    if kind == "gru":
        return torch.nn.GRU(FEATURES, UNITS, **options)
    return torch.nn.RNN(FEATURES, UNITS, nonlinearity=kind, **options)


def weights(module: torch.nn.Module, reverse: bool, together: bool) -> list[Constant]:
    """
    The weights of one direction, with one bias or two.
    """
    ending = "_l0_reverse" if reverse else "_l0"
    parts = [getattr(module, f"{name}{ending}").detach().numpy() for name in ("weight_ih", "weight_hh")]
    biases = [getattr(module, f"{name}{ending}").detach().numpy() for name in ("bias_ih", "bias_hh")]
    return [Constant(part) for part in (*parts, *([sum(biases)] if together else biases))]


def by_torch(module: torch.nn.Module, x: Array, states: list[Array], reverse: bool) -> list[Array]:
    """
    Outputs and last states of one direction, sample by sample; both directions begin with the same states.
    """
    outputs, last = [], []
    for sample in range(SAMPLES):
        given = [torch.from_numpy(np.stack([state[sample]] * 2)) for state in states]
        with torch.no_grad():
            found, ending = module(torch.from_numpy(x[sample]), tuple(given) if len(given) > 1 else given[0])
        outputs.append(found[..., UNITS:].numpy() if reverse else found[..., :UNITS].numpy())
        last.append((ending[1] if len(given) > 1 else ending)[int(reverse)].numpy())
    return [np.stack(outputs), np.stack(last)]


def inputs() -> tuple[Array, list[Array]]:
    x = normal(LENGTH, COUNT, FEATURES)
    x[2, 3, 1, 0] = np.nan
    x[1, 2] *= 1e3
    return x, [normal(COUNT, UNITS, seed=1), normal(COUNT, UNITS, seed=2)]


@pytest.mark.parametrize("reverse", [False, True])
def test_lstm(reverse):
    module, (x, states) = layer("lstm"), inputs()
    right = by_torch(module, x, states, reverse)
    found = reference("lstm", [x, *states, *weights(module, reverse, True)], reverse=reverse)
    for one, other in zip(found, right, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("width", [1, 3, 16])
def test_the_steps_of_an_lstm(reverse, width):
    module, (x, states) = layer("lstm"), inputs()
    weight_ih, weight_hh, bias = (constant.data for constant in weights(module, reverse, True))
    right = by_torch(module, x, states, reverse)
    packed = Constant(pack_recurrence(weight_hh, width))
    found = reference("lstm_steps", [x @ weight_ih.T + bias, *states, packed], reverse=reverse)
    for one, other in zip(found, right, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-14)


GATES, STEP, PACKED = (BATCH, 5, 2, 16), (BATCH, 2, 4), (2, 4, 4, 3)


@pytest.mark.parametrize(
    ("shapes", "said"),
    [
        ([GATES[1:], STEP, STEP, PACKED], r"must have shape \(batch, ...\)"),
        ([(BATCH, 5, 2, 15), STEP, STEP, PACKED], "do not fit"),
        ([(BATCH, 5, 3, 16), STEP, STEP, PACKED], "do not fit"),
        ([GATES, STEP, (BATCH, 2, 5), PACKED], "do not fit"),
        ([GATES, STEP, STEP, (1, 4, 4, 3)], r"the weight must be \(blocks, 4, 4, width\)"),
        ([GATES, STEP, STEP, (3, 4, 4, 3)], "the weight must be"),
        ([GATES, STEP, STEP, (2, 4, 3, 4)], "the weight must be"),
        ([GATES, STEP, STEP, (BATCH, *PACKED)], "must be a constant"),
    ],
)
def test_steps_that_do_not_fit(shapes, said):
    assert OPS["lstm_steps"].infer([tensor(shape) for shape in (GATES, STEP, STEP, PACKED)], {"reverse": False})
    refused("lstm_steps", shapes, said)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("kind", ["gru", "tanh", "relu"])
def test_layers_of_one_state(reverse, kind):
    module, (x, states) = layer(kind), inputs()
    right, last = by_torch(module, x, states[:1], reverse)
    op, attributes = ("gru", {}) if kind == "gru" else ("rnn", {"kind": kind})
    given: list[Input] = [x, states[0], *weights(module, reverse, kind != "gru")]
    (found,) = reference(op, given, reverse=reverse, **attributes)
    np.testing.assert_allclose(found, right, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(found[:, 0 if reverse else -1], last, rtol=1e-12, atol=1e-14)


def test_states_may_be_constants():
    zeros, x = Constant(np.zeros((COUNT, UNITS))), inputs()[0]
    whole = np.zeros((SAMPLES, COUNT, UNITS))
    for op, states in (("lstm", 2), ("gru", 1)):
        rest = weights(layer(op), False, op == "lstm")
        found, right = (reference(op, [x, *[state] * states, *rest]) for state in (zeros, whole))
        for one, other in zip(found, right, strict=True):
            np.testing.assert_array_equal(one, other)


def test_a_node_has_two_results():
    builder = GraphBuilder()
    given = [builder.input("x", DType.FLOAT32, (BATCH, 5, 2, 3))]
    for name, dims in (("h", (2, 4)), ("c", (2, 4)), ("ih", (16, 3)), ("hh", (16, 4)), ("bias", (16,))):
        given.append(builder.constant(name, np.zeros(dims, np.float32)))
    outputs, last = builder.add_all("lstm", given, "lstm")
    assert builder.tensors[outputs].shape == (BATCH, 5, 2, 4)
    assert builder.tensors[last].shape == (BATCH, 2, 4)
    assert builder.nodes[-1].outputs == (outputs, last)


X, H = (BATCH, 5, 2, 3), (BATCH, 2, 4)
INPUTS: dict[str, list[Shape]] = {
    "lstm": [X, H, H, (16, 3), (16, 4), (16,)],
    "gru": [X, H, (12, 3), (12, 4), (12,), (12,)],
    "rnn": [X, H, (4, 3), (4, 4), (4,)],
}


@pytest.mark.parametrize("op", INPUTS)
def test_multiply_adds_of_one_sample(op):
    (width,) = tensor(INPUTS[op][-1]).fixed_shape
    tensors = [Tensor("x", DType.FLOAT32, shape) for shape in INPUTS[op]]
    assert OPS[op].multiply_adds(tensors, OPS[op].complete({})) == 5 * 2 * width * (3 + 4)


@pytest.mark.parametrize("op", INPUTS)
def test_what_rows_refuse(op):
    good = INPUTS[op]
    assert OPS[op].infer([tensor(shape) for shape in good], OPS[op].complete({}))
    refused(op, good[:-1], "takes")
    refused(op, [X[1:], *good[1:]], r"must have shape \(batch, ...\)")
    refused(op, [X[:3], *good[1:]], "must have 3 dimensions")
    refused(op, [X, (BATCH, 3, 4), *good[2:]], r"must have dimensions \(2, units\)")
    refused(op, [X, (BATCH, 4), *good[2:]], "must have 2 dimensions")
    for place in range(len(good)):
        shape = good[place]
        other = (*shape[:-1], 9)
        refused(op, [*good[:place], other, *good[place + 1 :]], "must ")
        refused(op, [*good[:place], tensor(shape, DType.INT64), *good[place + 1 :]], "must be float32, found int64")
        if place > good.count(H):
            refused(op, [*good[:place], (BATCH, *shape), *good[place + 1 :]], "must be a constant")
    refused(op, good, "reverse must be bool", reverse=1)


def test_other_activations_are_refused():
    refused("rnn", INPUTS["rnn"], "kind must be tanh or relu, found 'gelu'", kind="gelu")


def test_every_row_is_compared():
    assert [*INPUTS, "lstm_steps"] == [*(row.name for row in sequence.ROWS if row.name != "lstm_steps"), "lstm_steps"]
