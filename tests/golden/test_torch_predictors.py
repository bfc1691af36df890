"""
Predictors of PyTorch modules give what the modules give.
"""

import numpy as np
import pytest
import torch
from torch.utils._pytree import tree_leaves

import compiler
from tests.frontends.torch_modules import ARCHITECTURES
from tests.frontends.torch_modules_more import MORE
from tests.thorough import chosen

pytestmark = pytest.mark.slow
SIZES = (1, 3, 7)
MODULES = ARCHITECTURES | MORE
DIFFERENT = ("resnet", "lstm_deep", "encoder_pre")
"""Each op's kernel has tests of its own, compiled and not: tests/generated_code."""


def inputs_like(examples, size: int, seed: int):
    """
    Random inputs of the kinds of the examples, which hold the whole numbers that their tables have rows for.
    """
    generator = torch.Generator().manual_seed(seed)
    found = []
    for example in examples:
        shape = (size, *example.shape[1:])
        if example.is_floating_point():
            found.append(torch.randn(shape, generator=generator))
        elif example.dtype is torch.bool:
            found.append(torch.rand(shape, generator=generator) < 0.5)
        else:
            found.append(torch.randint(0, int(example.max()) + 1, shape, generator=generator))
    return found


def listed(found):
    return tree_leaves(found)


@pytest.mark.parametrize("name", chosen(MODULES, *DIFFERENT))
def test_the_predictor_answers_as_the_module_does(name, tmp_path):
    module, examples = MODULES[name]()
    module.eval()
    predictor = compiler.build(module, example_inputs=examples, out=tmp_path, name=name).load()
    for seed, size in enumerate(SIZES):
        inputs = inputs_like(examples, size, seed)
        with torch.no_grad():
            expected = listed(module(*inputs))
        arrays = [value.numpy() for value in inputs]
        together = listed(predictor.predict(*arrays))
        alone = listed(predictor.predict(*(array[0] for array in arrays)))
        for right, found, first in zip(expected, together, alone, strict=True):
            scale = max(0.1, float(right.abs().max()))
            assert found.shape == tuple(right.shape)
            assert str(found.dtype) == str(right.dtype).removeprefix("torch.")
            np.testing.assert_allclose(found, right.numpy(), rtol=0, atol=1e-4 * scale)
            np.testing.assert_allclose(first, right.numpy()[0], rtol=0, atol=1e-4 * scale)
