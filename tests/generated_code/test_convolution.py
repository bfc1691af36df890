"""
Kernels on images against the reference: strides, paddings, dilations, odd numbers of channels, every register width.
"""

from typing import Any

import numpy as np
import pytest

from compiler.ir import BATCH, DType, Model
from compiler.ops import OPS
from compiler.ops.reference import evaluate
from compiler.options import LANES, BuildOptions
from compiler.pipeline import run_passes
from tests.images import ImageGraph, Layer, image_model, image_policy
from tests.models import predictor
from tests.thorough import chosen

FEW = (
    [Layer(33, (3, 3), (2, 2), (1, 1)), Layer(7, (2, 2), (1, 2), activation="leaky_relu")],
    [Layer(1, (1, 1)), Layer(17, (2, 3), (1, 1), (0, 2), (3, 2), "tanh")],
    [Layer(40, (13, 11), activation="")],
    [Layer(5, (8, 4), (3, 5), (2, 3)), Layer(50, (1, 1), activation="hardtanh"), Layer(3, (2, 1), (1, 1))],
)
"""Chains of convolutions of an image of 3 x 13 x 11."""
SHAPE = (3, 13, 11)


def random_layers(rng: np.random.Generator, count: int) -> list[list[Layer]]:
    """
    Chains of two convolutions that fit the image whatever they are.
    """
    found = []
    for _ in range(count):
        numbers = [[(int(low), int(high)) for low, high in rng.integers(1, 4, (3, 2))] for _ in range(2)]
        filters = [int(n) for n in rng.choice([1, 2, 3, 8, 15, 16, 20, 31, 32, 33, 48, 70], 2)]
        first, second = numbers
        one = Layer(filters[0], first[0], first[1], (first[2][0] - 1, 3), (first[2][1], 1))
        two = Layer(filters[1], (min(2, second[0][0]), 2), second[1], (2, 2), (second[2][0], second[2][1]), "tanh")
        found.append([one, two])
    return found


def branches(chains: list[list[Layer]], seed: int) -> Model:
    """
    All chains side by side; what they end in meets in one linear layer.
    """
    graph = ImageGraph(seed)
    observed = graph.input("observation", DType.FLOAT32, (BATCH, *SHAPE))
    scaled = graph.add("divide", [observed], "scaled", divisor=255.0)
    ends = []
    for number, chain in enumerate(chains):
        result = scaled
        for depth, layer in enumerate(chain):
            result = graph.convolution(result, layer, f"chain {number} layer {depth}")
        flat = graph.add("flatten", [result], f"flat {number}")
        # Every second chain in the order of PyTorch.
        ends.append(graph.linear(flat, f"end {number}", 3) if number % 2 else flat)
    return image_model(graph, graph.linear(graph.add("concat", ends, "all"), "q_net", 3), SHAPE)


def images(model: Model, count: int, seed: int = 1) -> np.ndarray:
    shape = model.tensors["observation"].fixed_shape
    return np.random.default_rng(seed).integers(0, 256, (count, *shape)).astype(np.uint8)


def check_layers(model: Model, image: np.ndarray, found: dict[str, np.ndarray]) -> set[str]:
    """
    Each layer alone: what it made of what the layer before it really gave. Returns the ops that were compared.
    """
    values = {tensor.name: np.asarray(tensor.data, np.float64) for tensor in model.constants()}
    values["observation"] = image[None].astype(np.float64)
    for node in model.nodes:
        right = OPS[node.op].reference(*(values[name] for name in node.inputs), **node.attributes)
        name = node.outputs[0]
        if node.op != "flatten":
            given = found[name].astype(np.float64).reshape(right.shape)
            assert np.abs(given - right).max() <= 1e-5 * max(1.0, np.abs(right).max()), (node.name, node.attributes)
            right = given
        values[name] = right
    return {node.op for node in model.nodes}


def from_poison(module: Any, image: np.ndarray) -> dict[str, np.ndarray]:
    """
    The values of all layers, computed in a workspace that holds nothing but NaN before.
    """
    module.layers(image)  # imports inspection
    work = np.full(module.kernels.WORKSPACE, np.nan, np.float32)
    assert module.inspection.fill(image.reshape(-1), module.predictor._address, work) == 0
    return {name: work[begin:].view(dtype)[:count] for name, begin, count, dtype in module.inspection.LAYERS}


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize(
    "seed", [None, 1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in chosen(range(2, 8)))]
)
def test_every_layer_in_plain_python(seed, lanes, tmp_path):
    chains = [*FEW] if seed is None else random_layers(np.random.default_rng([seed, lanes]), 4)
    source = branches(chains, lanes)
    model = run_passes(source, BuildOptions(lanes=lanes))
    with predictor(tmp_path / "plain", source, BuildOptions(lanes=lanes), plain=True) as module:
        (image,) = images(source, 1)
        seen = check_layers(model, image, from_poison(module, image))
    assert {"convolution", "channels_first"} <= seen
    assert "conv2d" not in seen


@pytest.mark.parametrize("lanes", [16, *(pytest.param(lanes, marks=pytest.mark.slow) for lanes in chosen((1, 4, 8)))])
def test_compiled_for_one_image_and_for_many(lanes, tmp_path):
    source = branches([*FEW], lanes)
    model = run_passes(source, BuildOptions(lanes=lanes))
    observations = images(source, 2 * max(lanes, 2) + 3)
    right = evaluate(source, {"observation": observations})["q_net"]
    with predictor(tmp_path / "compiled", source, BuildOptions(lanes=lanes)) as module:
        for image, scores in zip(observations[:3], right, strict=False):
            assert {"pad", "channels_first"} < check_layers(model, image, module.layers(image))
            assert np.allclose(module.scores(image), scores, rtol=1e-4, atol=1e-4)
            assert module.act(image) == scores.argmax()
        for count in (1, 2, lanes, lanes + 1, len(observations)):
            assert np.allclose(module.scores(observations[:count]), right[:count], rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("size", chosen((36, 84), 36))
def test_nature_cnn(size, tmp_path):
    source = image_policy((4, size, size), hidden=(64,), outputs=6)
    observations = images(source, 19)
    right = evaluate(source, {"observation": observations})["q_net"]
    with predictor(tmp_path / "nature", source) as module:
        assert np.allclose(module.scores(observations), right, rtol=1e-4, atol=1e-4)
        for image, scores in zip(observations[:3], right, strict=False):
            assert np.allclose(module.scores(image), scores, rtol=1e-4, atol=1e-4)
        last = observations[:3].transpose(0, 2, 3, 1)
        assert np.allclose(module.scores(last), right[:3], rtol=1e-4, atol=1e-4)
