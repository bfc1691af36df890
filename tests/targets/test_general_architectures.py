"""
Programs of PyTorch of many architectures, compiled ahead of time: each build compares what it made with PyTorch.
"""

import pytest
import torch

import compiler
from compiler.options import BuildOptions
from tests.frontends.test_torch_export import randomised
from tests.frontends.torch_modules import ARCHITECTURES
from tests.frontends.torch_modules_more import MORE
from tests.thorough import chosen

pytestmark = pytest.mark.slow

ALL = ARCHITECTURES | MORE
TARGETS = ("native", "c", "exe", "wasm")
EACH = [(name, TARGETS[number % len(TARGETS)]) for number, name in enumerate(ALL)]


@pytest.mark.parametrize(("name", "target"), chosen(EACH, *[one for one in EACH if one[0] == "lstm"]))
def test_what_is_made_gives_what_pytorch_gives(tmp_path, name, target):
    torch.manual_seed(0)
    module, examples = ALL[name]()
    options = BuildOptions(target=target, cpu=None if target == "wasm" else "native")
    module = randomised(module, 1).eval()
    build = compiler.build(module, example_inputs=examples, out=tmp_path, name=name, options=options)
    assert build.report.verification.observations >= 2
