"""
The agents that are measured are what the titles of their tables say, and none of their parameters is trivial.
"""

import numpy as np
import pytest

from benchmarks import agents
from benchmarks.network import network_of, recurrent_of
from compiler.frontends import read
from compiler.options import BuildOptions

pytest.importorskip("stable_baselines3")
pytest.importorskip("sb3_contrib")

LAYERS = {
    "actor": [(256, 17), (256, 256), (6, 256)],
    "images": [(32, 4, 8, 8), (64, 32, 4, 4), (64, 64, 3, 3), (512, 3136), (6, 512)],
    "sac": [(256, 17), (256, 256), (6, 256)],
    "masked": [(64, 8), (64, 64), (6, 64)],
}


@pytest.mark.parametrize("name", LAYERS)
def test_the_networks_that_peers_run(name, tmp_path):
    model = read(getattr(agents, name)(tmp_path), BuildOptions())
    network = network_of(model)
    assert [layer.weight.shape for layer in network.layers] == LAYERS[name]
    assert all(layer.bias.std() > 0.1 and layer.weight.std() > 0.01 for layer in network.layers)
    assert (network.low is None) == (name in ("images", "masked"))
    assert network.masked == (name == "masked")
    if network.low is not None:
        assert list(network.low) == [-agents.BOUND] * agents.ACTIONS


def test_the_lstm_that_peers_run(tmp_path):
    found = recurrent_of(read(agents.recurrent(tmp_path), BuildOptions()))
    layers = [found.entering, found.feedback, *found.network.layers]
    assert [layer.weight.shape for layer in layers] == [(1024, 17), (1024, 256), (64, 256), (64, 64), (6, 64)]
    assert all(layer.bias.std() > 0.1 and layer.weight.std() > 0.01 for layer in layers)
    assert found.network.clipped
    assert found.units == 256


@pytest.mark.parametrize(
    ("name", "algorithm", "sizes"),
    [
        ("recurrent", "RecurrentPPO", {(1024, 256), (1024, 17), (64, 256)}),
        ("masked", "MaskablePPO", {(64, 8), (6, 64)}),
    ],
)
def test_agents_of_other_kinds(name, algorithm, sizes, tmp_path):
    file = getattr(agents, name)(tmp_path)
    model = read(file, BuildOptions())
    constants = [tensor.data for tensor in model.constants() if tensor.data is not None]
    assert sizes <= {data.shape for data in constants}
    agent = agents.load(algorithm, file)
    assert type(agent).__name__ == algorithm
    assert all(float(np.abs(parameter.detach().numpy()).max()) > 0 for parameter in agent.policy.parameters())
