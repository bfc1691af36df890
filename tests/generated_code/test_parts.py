"""
Kernels whose results several threads compute: each part alone, and all of them together as one thread computes them.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from compiler.codegen import convolution
from compiler.ir import DType
from compiler.ops.convolution import CHANNELS_FIRST, CHANNELS_LAST
from tests.generated_code import test_folding_nests, test_image_nests, test_nests, test_sequence_nests
from tests.generated_code.cases import Case
from tests.generated_code.nests import POISON, compiled_of, nests, random_inputs
from tests.generated_code.test_image_nests import larger_than_weights
from tests.thorough import THOROUGH, chosen

PADS = (
    Case("pad", [(DType.FLOAT32, (6, 5, 3))], {"padding": (1, 1), "layout": CHANNELS_LAST}),
    Case("pad", [(DType.FLOAT32, (4, 4, 9))], {"padding": (1, 1), "layout": CHANNELS_FIRST}),
)
ALL = (*PADS, *test_nests.CASES, *test_folding_nests.CASES, *test_image_nests.CASES, *test_sequence_nests.CASES)
CASES = ALL if THOROUGH else (*PADS, *ALL[2::3])
WHOLE = {"channels_first", "gelu", "gru", "lstm", "rnn", "surround", "top"}
"""Ops whose kernels one thread computes."""
USUAL = {
    "attention",
    "conv",
    "convolution",
    "dense_over",
    "layer_norm",
    "lstm_steps",
    "matmul",
    "pool2d",
    "softmax_over",
}
"""Those of the others that are tested always."""
WAYS = [*(("plain", parts) for parts in chosen((2, 3, 5), 3)), *(("compiled", parts) for parts in chosen((2, 3, 5)))]


@pytest.mark.parametrize(("way", "parts"), WAYS)
def test_each_value_is_computed_by_one_part(way, parts, tmp_path):
    several = shared_among(parts, compiled_of(CASES, way), way, tmp_path)
    if way == "plain":
        assert several >= ({case.op for case in ALL} - WHOLE if THOROUGH else USUAL)


@pytest.mark.parametrize(("way", "parts"), WAYS)
def test_parts_of_images_that_are_gone_through_once(way, parts, tmp_path, monkeypatch):
    monkeypatch.setattr(convolution, "STREAMED", 700)
    for number, case in enumerate(larger_than_weights()):
        assert shared_among(parts, [case], way, tmp_path / str(number)) == {"convolution"}


def shared_among(parts: int, cases: Sequence[Case], way: str, folder: Path) -> set[str]:
    """
    Checks that each value of the cases is computed by one of so many parts, as one thread computes it.

    Returns:
        The ops of which several parts compute something.
    """
    plain = way == "plain"
    rng = np.random.default_rng(0)
    inputs = [[array[0] for array in random_inputs(case, rng, 1)] for case in cases]
    with nests(cases, 4, folder, "whole", plain=plain) as whole:
        expected = whole.run(inputs)
    with nests(cases, 4, folder, "parts", plain=plain, divided=True) as divided:
        found = [divided.run(inputs, part, parts) for part in range(parts)]
    several = set()
    for number, case in enumerate(cases):
        for place, result in enumerate(expected[number]):
            wanted = result.view(np.int32)
            each = np.stack([one[number][place] for one in found]).view(np.int32)
            written = each != POISON.view(np.int32)
            assert np.array_equal(written.sum(axis=0), wanted != POISON.view(np.int32)), case
            assert np.array_equal(np.where(written, each, 0).sum(axis=0), np.where(written.any(axis=0), wanted, 0)), (
                case
            )
            if written.any(axis=1).sum() > 1:
                several.add(case.op)
    return several
