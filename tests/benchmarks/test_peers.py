"""
Peers run the network that we run, or the table says that they don't.
"""

import sys

import numpy as np
import pytest

from benchmarks import peers
from benchmarks.contest import Contestant, Missing
from benchmarks.network import Network, network_of
from benchmarks.peers import Work
from compiler.ir import Model
from compiler.ops.reference import evaluate
from tests.models import observations, policy

BARE = {
    "onnxruntime": peers.onnxruntime,
    "openvino": peers.openvino,
    "torch": peers.torch_eager,
    "torch script": peers.torch_script,
    "numpy": peers.numpy,
}
HEADS = {"argmax": "tanh", "rescale": "relu"}


def source(head: str) -> Model:
    return policy((5,), (16, 8), 3, head=head, activations=HEADS[head])


def work_for(network: Network, single: bool = True) -> Work:
    rows = np.random.default_rng(0).normal(0, 1, (8, 5)).astype(np.float32)
    return Work(network, tuple(rows[i : i + 1] for i in range(8)) if single else (rows, rows + 1))


@pytest.mark.parametrize("head", HEADS)
def test_the_network_is_that_of_the_model(head):
    model = source(head)
    network = network_of(model)
    rows = observations(model, 50)
    action = next(output.tensor for output in model.outputs if output.role == "action")
    expected = evaluate(model, {model.inputs[0]: rows})[action]
    assert np.allclose(network.run(rows), expected, atol=1e-4)
    assert network.multiply_adds == 5 * 16 + 16 * 8 + 8 * 3


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("single", [True, False])
@pytest.mark.parametrize("name", BARE)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_peers_agree(name, single, head):
    (found,) = peers.enter(work_for(network_of(source(head)), single), {name: BARE[name]})
    if isinstance(found, Missing) and found.reason.startswith("not installed"):
        pytest.skip(found.reason)
    assert isinstance(found, Contestant), found
    assert found.note == ""


def test_a_peer_that_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    (found,) = peers.enter(work_for(network_of(source("argmax"))), {"ONNX Runtime": peers.onnxruntime})
    assert isinstance(found, Missing)
    assert found.name == "ONNX Runtime"
    assert "onnxruntime" in found.reason


def test_a_peer_that_fails():
    def broken(work):
        raise RuntimeError("of another version\nand more")

    (found,) = peers.enter(work_for(network_of(source("argmax"))), {"broken": broken})
    assert found == Missing("broken", "failed: RuntimeError: of another version")


def test_a_peer_that_disagrees():
    def other(work):
        return Contestant("other", lambda batch: work.network.run(batch) + (batch is work.batches[3]), work.batches)

    (found,) = peers.enter(work_for(network_of(source("rescale"))), {"other": other})
    assert isinstance(found, Contestant)
    assert found.note == "DISAGREES on 1 of 8 observations"
