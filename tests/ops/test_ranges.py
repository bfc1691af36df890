"""
How large whole numbers get, and up to which inputs they stay exact.
"""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import compiler
from compiler.errors import UnsupportedError
from compiler.frontends.torch_export import from_module
from compiler.ir import DType, Model
from compiler.ops.indices import whole_numbers
from compiler.ops.ranges import LARGEST, exact_inputs
from tests.frontends.test_torch_export_errors import Applied

N = torch.full((2, 4, 6), 9)
TABLE = torch.arange(40).reshape(10, 4)


def model(function) -> Model:
    return from_module(Applied(function), (N,), name="whole").model


@pytest.mark.parametrize(
    ("function", "most"),
    [
        (lambda n: n, LARGEST),
        (lambda n: -n.flip(1).transpose(1, 2), LARGEST),
        (lambda n: n + 1, LARGEST // 2),
        (lambda n: n * 31 % 1000, LARGEST // 32),
        (lambda n: n - n.amax(1, keepdim=True), LARGEST // 2),
        (lambda n: n.sum(-1), LARGEST // 8),
        (lambda n: n.cumsum(1), LARGEST // 4),
        (lambda n: n.square(), 2**12),
        (lambda n: n**3, 2**8),
        (lambda n: n.clamp(0, 100) * 100000, LARGEST),
        (lambda n: n % 8 + 5, LARGEST),
        (lambda n: n // 3 + n.argmax(-1, keepdim=True), LARGEST // 2),
        (lambda n: torch.where(n > 0, n * 4, n), LARGEST // 4),
        (lambda n: (n > 3).long().sum(-1) + (n > 3).sum(1, keepdim=True)[..., 0], LARGEST),
        (lambda n: n.float() * 1e9, LARGEST),
        (lambda n: (n.float() * 0.1).long() + 5, LARGEST),
        (lambda n: nn.functional.pad(n, (1, 1), value=2) * 2, LARGEST // 2),
    ],
)
def test_how_large_an_input_may_be(function, most):
    # clamp's own bound of 100 times 100,000 is 10 ** 7
    assert exact_inputs(model(function), {}) == most


def test_rows_of_a_table_bound_what_is_made_of_them():
    found = model(lambda n: n * 1_000_000)
    assert exact_inputs(found, {found.inputs[0]: 10}) == LARGEST
    with pytest.raises(UnsupportedError, match="beyond 16,777,216"):
        exact_inputs(found, {found.inputs[0]: 100})


@pytest.mark.parametrize("function", [lambda n: n * 16_000_000 * 3, lambda n: (n + 16_000_000).sum(-1)])
def test_what_is_never_exact_is_refused(function):
    with pytest.raises(UnsupportedError, match="beyond 16,777,216"):
        exact_inputs(model(function), {})


def test_bytes_are_exact_or_refused_when_they_are_read():
    image = torch.zeros(1, 65793, dtype=torch.uint8)  # 255 of each is 2 ** 24 - 1
    for extra, works in ((0, True), (1, False)):
        module = Applied(lambda n, extra=extra: n.sum(1) + 1 + extra)
        found = from_module(module, (image,), name="bytes").model
        assert found.tensors[found.inputs[0]].dtype is DType.UINT8
        if works:
            assert whole_numbers(found, found.inputs[0]) == (0, 255)
            continue
        with pytest.raises(UnsupportedError, match=r"beyond 16,777,216 of small inputs, or of bytes"):
            whole_numbers(found, found.inputs[0])


@pytest.mark.slow
def test_a_predictor_is_exact_or_refuses(tmp_path):
    class Hash(nn.Module):  # type: ignore[misc]
        def forward(self, n: Tensor) -> Tensor:
            return n * 31 % 1000

    predictor = compiler.build(Hash(), example_inputs=(N,), out=tmp_path, name="hashed").load()
    random = np.random.default_rng(0).integers(-(2**19), 2**19 + 1, (5, 4, 6))
    np.testing.assert_array_equal(predictor.predict(random), random * 31 % 1000)
    for wrong in (2**19 + 1, 2**24 + 1, 2**40 + 1):
        random[2, 1, 3] = wrong
        with pytest.raises(ValueError, match=str(wrong)):
            predictor.predict(random)
    with pytest.raises(ValueError, match=str(2**63 - 1)):
        predictor.predict(np.full((4, 6), 2**64 - 1, np.uint64))
