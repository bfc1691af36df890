"""
Peers run the network that we run, or the table says that they don't.
"""

import sys
from collections.abc import Sequence

import numpy as np
import pytest

from benchmarks import peers
from benchmarks.contest import Contestant, Missing
from benchmarks.network import network_of, recurrent_of
from benchmarks.peers import Work
from compiler.ir import ACTION_MASKS, EPISODE_STARTS, Discrete, Model
from compiler.ops.reference import evaluate
from tests.images import Layer, image_policy
from tests.models import observations, policy
from tests.policies import UNITS, masked, recurrent

BARE = {
    "onnxruntime": peers.onnxruntime,
    "openvino": peers.openvino,
    "torch": peers.torch_eager,
    "torch script": peers.torch_script,
    "numpy": peers.numpy,
}
IMAGE = (3, 13, 16)
CONVOLUTIONS = [Layer(4, (4, 3), (2, 2)), Layer(5, (2, 2), activation="")]
SOURCES = {
    "argmax": lambda: policy((5,), (16, 8), 3, head="argmax", activations="tanh"),
    "rescale": lambda: policy((5,), (16, 8), 3, head="rescale", activations="relu"),
    "clip": lambda: policy((5,), (16, 8), 3, head="clip"),
    "image": lambda: image_policy(IMAGE, CONVOLUTIONS),
}


def scaled(model: Model, rows: np.ndarray) -> np.ndarray:
    """
    What the bare network gets: pixels between 0 and 1.
    """
    return rows / np.float32(255) if rows.ndim > 2 else rows


def work_for(model: Model, single: bool = True) -> Work:
    rows = observations(model, 8)
    forms = [scaled(model, rows), rows]
    batches, given = ([*np.split(form, 8)] if single else [form, form[::-1].copy()] for form in forms)
    return Work(network_of(model), tuple(batches), tuple(given))


@pytest.mark.parametrize("name", SOURCES)
def test_the_network_is_that_of_the_model(name):
    model = SOURCES[name]()
    rows = observations(model, 50)
    action = next(output.tensor for output in model.outputs if output.role == "action")
    expected = evaluate(model, {model.inputs[0]: rows})[action]
    assert len(np.unique(expected)) > 1
    assert np.allclose(network_of(model).run(scaled(model, rows)), expected, atol=1e-4)


def test_the_work_of_a_network():
    assert network_of(SOURCES["argmax"]()).multiply_adds == 5 * 16 + 16 * 8 + 8 * 3


def test_a_policy_that_peers_can_not_run():
    with pytest.raises(ValueError, match="the peers have no reset"):
        network_of(recurrent())


@pytest.mark.parametrize("layer", [Layer(4, (3, 3), padding=(1, 1)), Layer(4, (3, 3), (1, 2))])
def test_convolutions_that_peers_can_not_run(layer):
    with pytest.raises(ValueError, match="the peers have no convolution with"):
        network_of(image_policy(IMAGE, [layer]))


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("single", [True, False])
@pytest.mark.parametrize("name", BARE)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_peers_agree(name, single, source):
    (found,) = peers.enter(work_for(SOURCES[source](), single), {name: BARE[name]})
    if isinstance(found, Missing) and found.reason.startswith("not installed"):
        pytest.skip(found.reason)
    assert isinstance(found, Contestant), found
    assert found.note == ""


def test_predictors_get_what_environments_give():
    work = work_for(SOURCES["image"]())
    assert [row.shape for row in work.rows] == [IMAGE] * 8
    assert max(float(row.max()) for row in work.rows) > 1 >= max(float(batch.max()) for batch in work.batches)


def test_a_peer_that_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    (found,) = peers.enter(work_for(SOURCES["argmax"]()), {"ONNX Runtime": peers.onnxruntime})
    assert isinstance(found, Missing)
    assert found.name == "ONNX Runtime"
    assert "onnxruntime" in found.reason


def test_a_peer_that_fails():
    def broken(work):
        raise RuntimeError("of another version\nand more")

    (found,) = peers.enter(work_for(SOURCES["argmax"]()), {"broken": broken})
    assert found == Missing("broken", "failed: RuntimeError: of another version")


def test_a_peer_that_disagrees():
    def other(work):
        return Contestant("other", lambda batch: work.network.run(batch) + (batch is work.batches[3]), work.batches)

    (found,) = peers.enter(work_for(SOURCES["rescale"]()), {"other": other})
    assert isinstance(found, Contestant)
    assert found.note == "DISAGREES on 1 of 8 observations"


CHOICES = 5


def questions_for(model: Model, count: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """
    Observations, and masks that allow something.
    """
    masks = np.random.default_rng(0).random((count, CHOICES)) < 0.4
    masks[:, 2] |= ~masks.any(axis=1)
    return observations(model, count), masks


def test_masks_count_for_onnxruntime():
    pytest.importorskip("onnxruntime")
    model = masked(Discrete(CHOICES))
    network, (rows, masks) = network_of(model), questions_for(model)
    action = next(output.tensor for output in model.outputs if output.role == "action")
    expected = evaluate(model, {model.inputs[0]: rows, ACTION_MASKS: masks})[action]
    assert network.masked
    assert np.array_equal(network.run(rows, masks), expected)
    assert (network.run(rows) != expected).any()
    runtime = peers.masked_onnxruntime(network, list(zip(rows, masks, strict=True)))
    assert [runtime.call(feed) for feed in runtime.inputs] == expected.tolist()


def episode_of(model: Model, rows: Sequence[np.ndarray]) -> list[np.ndarray]:
    """
    The actions of an episode by the reference, (1, ...) each.
    """
    states = {state.input: np.zeros((1, UNITS), np.float32) for state in model.states}
    actions = []
    for number, row in enumerate(rows):
        given = {model.inputs[0]: row[np.newaxis], EPISODE_STARTS: np.full(1, number == 0, np.float32)}
        found = evaluate(model, {**given, **states})
        states = {state.input: found[state.output].astype(np.float32) for state in model.states}
        actions.append(next(found[output.tensor] for output in model.outputs if output.role == "action"))
    return actions


@pytest.mark.parametrize("action", [{}, {"action": lambda: Discrete(3)}], ids=["box", "discrete"])
def test_onnxruntime_keeps_the_state_of_an_lstm(action):
    pytest.importorskip("onnxruntime")
    model = recurrent(1, **action)
    rows = list(np.random.default_rng(0).normal(0, 4, (30, 4)).astype(np.float32))
    expected = episode_of(model, rows)
    found = peers.entered("both", lambda: peers.recurrent_onnxruntime(recurrent_of(model), rows), expected)
    assert isinstance(found, Contestant), found
    assert found.note == ""
    # Without a memory the same observations have other actions.
    afresh = [episode_of(model, row[np.newaxis])[0] for row in rows]
    runtime = peers.recurrent_onnxruntime(recurrent_of(model), rows)
    assert "DISAGREES" in peers.checked(runtime, afresh).note


def test_recurrent_policies_that_peers_can_not_run():
    with pytest.raises(ValueError, match="the peers have no reset"):
        recurrent_of(recurrent(2))
    with pytest.raises(ValueError, match="the peers begin with an LSTM layer, agent has flatten linear"):
        recurrent_of(SOURCES["argmax"]())
