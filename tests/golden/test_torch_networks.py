"""
Whole architectures: their predictors give what torch gives, for weights as they are made and for random ones.

The build itself compares both, with inputs of its own; here biases and statistics are random too, which are zero and
one in a module that was just made and would hide errors.
"""

import zlib

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

import compiler
from compiler.check import check
from compiler.frontends.torch_export.modules import exported
from compiler.frontends.torch_export.program import translate
from compiler.ir import Origin
from compiler.ops.reference import evaluate
from tests.golden.test_torch_predictors import inputs_like
from tests.networks.control import CONTROL
from tests.networks.parts import Network
from tests.networks.sequences import SEQUENCES
from tests.networks.vision import VISION
from tests.thorough import THOROUGH, chosen

RELATIVE = 1e-4
ABSOLUTE = 1e-5
NETWORKS = VISION | SEQUENCES | CONTROL
COMPILED = ("given_cache", "cached_step")
"""What is compiled in every run: the build of each takes seconds."""
TRANSLATED = ("mobilenet_v3", "densenet121", "convnext_tiny", "bert_pre", "td_mpc", "dreamer")
"""What else is translated, and computed by the reference."""
STEPS = 8


def randomised(module: nn.Module, seed: int) -> nn.Module:
    """
    The module with all of its parameters and statistics drawn anew, at the scale at which signals keep their size.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in (*module.named_parameters(), *module.named_buffers()):
            drawn = torch.randn(value.shape, generator=generator)
            if name.endswith("running_var"):
                value.copy_(0.5 + drawn.abs())
            elif name.endswith("running_mean"):
                value.copy_(0.3 * drawn)
            elif isinstance(value, nn.Parameter):
                one = value.ndim < 2 and name.endswith("weight")
                fan = value[0].numel() if value.ndim > 1 else 1
                value.copy_(1 + 0.2 * drawn if one else drawn / fan**0.5 if value.ndim > 1 else 0.2 * drawn)
    return module.eval()


def made(network: Network, seed: int) -> tuple[nn.Module, tuple[Tensor, ...]]:
    torch.manual_seed(seed)
    return (network.real if THOROUGH else network.narrow)()


def compare(found: np.ndarray, right: Tensor) -> None:
    """
    One output: wrong by a ten-thousandth of its largest value at most, or by 1e-5.
    """
    assert found.shape == tuple(right.shape)
    assert str(found.dtype) == str(right.dtype).removeprefix("torch.")
    limit = max(RELATIVE * float(right.abs().max()), ABSOLUTE)
    np.testing.assert_allclose(found, right.numpy(), rtol=0, atol=limit)


@pytest.mark.parametrize("name", chosen(sorted(name for name in NETWORKS if NETWORKS[name].batched), *TRANSLATED))
def test_the_reference_gives_what_torch_gives(name):
    module, examples = NETWORKS[name].narrow()
    randomised(module, zlib.crc32(name.encode()))
    model = check(translate(exported(module, examples), "module", Origin("module", "", "torch-module")), "module")
    inputs = inputs_like(examples, 3, 0)
    values = evaluate(model, dict(zip(model.inputs, (value.numpy() for value in inputs), strict=True)))
    with torch.no_grad():
        expected = tree_leaves(module(*inputs))
    for output, right in zip(model.outputs, expected, strict=True):
        np.testing.assert_allclose(
            values[output.tensor], right.numpy(), rtol=0, atol=max(RELATIVE * float(right.abs().max()), ABSOLUTE)
        )


@pytest.mark.slow
@pytest.mark.parametrize("fresh", chosen((False, True), False))
@pytest.mark.parametrize("name", chosen(sorted(NETWORKS), *COMPILED))
def test_the_predictor_gives_what_torch_gives(name, fresh, tmp_path):
    network = NETWORKS[name]
    module, examples = made(network, 1)
    module = module.eval() if fresh else randomised(module, 2)
    build = compiler.build(module, example_inputs=examples, out=tmp_path, name=name, dynamic=network.batched)
    predictor = build.load()
    if not network.batched:
        follow(predictor, module, examples)
        return
    for seed, size in enumerate((1, 2, 5)):
        inputs = inputs_like(examples, size, seed)
        with torch.no_grad():
            expected = tree_leaves(module(*inputs))
        arrays = [value.numpy() for value in inputs]
        for found, right in zip(tree_leaves(predictor.predict(*arrays)), expected, strict=True):
            compare(found, right)
        for found, right in zip(tree_leaves(predictor.predict(*(a[-1] for a in arrays))), expected, strict=True):
            compare(found, right[-1])


def follow(predictor, module: nn.Module, examples: tuple[Tensor, ...]) -> None:
    """
    An episode step by step, with the module's own buffers beside the predictor's state.
    """
    episode = predictor.Episode()
    for step in range(STEPS):
        inputs = [value[0] for value in inputs_like([example.unsqueeze(0) for example in examples], 1, step)]
        with torch.no_grad():
            right = module(*inputs)
        compare(episode.predict(*(value.numpy() for value in inputs)), right)
