"""
The kernels of general ops on images, against the reference: convolutions, pooling, other sizes.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compiler.codegen import convolution
from compiler.ir import DType
from tests.generated_code.cases import Case
from tests.generated_code.nests import Nests, compiled_of, nests, random_inputs
from tests.generated_code.test_nests import WAYS, check_all, normal

FLOAT = DType.FLOAT32


def conv(dims: tuple[int, ...], filters: int, kernel: tuple[int, int], **attributes: Any) -> Case:
    groups = attributes.get("groups", 1)
    return Case("conv", [(FLOAT, dims), normal(filters, dims[1] // groups, *kernel), normal(filters)], attributes)


def transposed(dims: tuple[int, ...], filters: int, kernel: tuple[int, int], **attributes: Any) -> Case:
    groups = attributes.get("groups", 1)
    weight = normal(dims[1], filters // groups, *kernel)
    return Case("conv_transposed", [(FLOAT, dims), weight, normal(filters)], attributes)


def convolutions() -> Iterator[Case]:
    yield conv((1, 3, 6, 7), 5, (3, 3), padding=(1, 1))
    yield conv((1, 2, 9, 40), 13, (3, 3), padding=(1, 1), stride=(2, 2))
    yield conv((2, 3, 8, 70), 4, (3, 2))
    yield conv((1, 4, 5, 133), 2, (1, 5), padding=(0, 2))
    yield conv((1, 2, 11, 35), 3, (7, 7), padding=(3, 3), stride=(2, 2))
    yield conv((1, 2, 12, 60), 3, (5, 3), padding=(4, 2), dilation=(2, 3))
    yield conv((2, 6, 5, 5), 8, (1, 1))
    yield conv((1, 3, 9, 9), 17, (1, 1))
    yield conv((1, 3, 5, 8), 4, (1, 1), stride=(2, 2))
    yield conv((1, 6, 7, 18), 6, (3, 3), padding=(1, 1), groups=6)
    yield conv((1, 6, 7, 7), 9, (3, 3), padding=(1, 0), groups=3)
    yield conv((1, 1, 4, 4), 1, (4, 4))
    yield conv((1, 2, 1, 50), 3, (1, 9), padding=(0, 4), stride=(1, 3))
    yield transposed((1, 3, 5, 6), 4, (2, 2), stride=(2, 2))
    yield transposed((1, 4, 4, 20), 6, (3, 3), stride=(2, 2), padding=(1, 1), output_padding=(1, 1))
    yield transposed((2, 3, 4, 5), 2, (3, 4))
    yield transposed((1, 4, 4, 5), 6, (3, 3), stride=(3, 2), dilation=(2, 2), padding=(2, 0), groups=2)
    yield transposed((1, 2, 3, 3), 2, (1, 1), stride=(3, 3))
    yield transposed((1, 2, 3, 20), 2, (7, 5), stride=(1, 1), padding=(3, 2))


def pools() -> Iterator[Case]:
    for dims in ((1, 2, 7, 9), (2, 3, 12, 70)):
        for kernel, stride, padding in (((2, 2), (2, 2), (0, 0)), ((3, 3), (2, 2), (1, 1)), ((5, 6), (1, 3), (2, 3))):
            for ceil in (False, True):
                shared: dict[str, Any] = {"kernel": kernel, "stride": stride, "padding": padding, "ceil": ceil}
                yield Case("max_pool", [(FLOAT, dims)], shared, exact=True)
                yield Case("avg_pool", [(FLOAT, dims)], {**shared, "count_padding": True})
                yield Case("avg_pool", [(FLOAT, dims)], {**shared, "count_padding": False})
        dilated: dict[str, Any] = {
            "kernel": (2, 3),
            "stride": (1, 2),
            "padding": (1, 1),
            "dilation": (3, 2),
            "ceil": True,
        }
        yield Case("max_pool", [(FLOAT, dims)], dilated, exact=True)
    for dims, size in (((1, 3, 7, 7), (1, 1)), ((2, 3, 8, 6), (4, 2)), ((1, 2, 7, 10), (3, 4)), ((1, 2, 2, 3), (5, 5))):
        yield Case("adaptive_avg_pool", [(FLOAT, dims)], {"size": size})


def with_channels_last() -> Iterator[Case]:
    for dims in ((7, 9, 5), (12, 6, 70), (6, 8, 16)):
        for kernel, stride, padding in (((2, 2), (2, 2), (0, 0)), ((3, 3), (2, 2), (1, 1)), ((5, 6), (1, 3), (2, 3))):
            for ceil in (False, True):
                shared: dict[str, Any] = {"kernel": kernel, "stride": stride, "padding": padding, "ceil": ceil}
                for layout in ("channels_first", "channels_last") if dims[2] == 5 else ("channels_last",):
                    shared["layout"] = layout
                    yield Case("pool2d", [(FLOAT, dims)], {**shared, "kind": "max"}, exact=True)
                    yield Case("pool2d", [(FLOAT, dims)], {**shared, "kind": "mean", "count_padding": True})
                    yield Case("pool2d", [(FLOAT, dims)], {**shared, "kind": "mean", "count_padding": False})
    yield Case("channels_first", [(FLOAT, (5, 7, 9))], exact=True)
    yield Case("channels_first", [(FLOAT, (10, 13, 70))], exact=True)  # larger than what is copied at once
    for activation in ("", "relu"):
        attributes: dict[str, Any] = {
            "filters": 32,
            "layout": "channels_last",
            "stride": (1, 2),
            "activation": activation,
        }
        added = (FLOAT, (5, 3, 32))
        yield Case("convolution", [(FLOAT, (6, 7, 3)), normal(2, 2, 3, 3, 16), normal(32), added], attributes)


def sizes() -> Iterator[Case]:
    for dims, size, scales in (
        ((1, 3, 5, 7), (10, 14), (0.0, 0.0)),
        ((1, 2, 4, 20), (12, 60), (3.0, 3.0)),
        ((2, 1, 5, 7), (3, 20), (0.0, 0.0)),
        ((1, 2, 5, 5), (8, 7), (1.7, 1.5)),
        ((1, 2, 5, 6), (5, 6), (0.0, 0.0)),
        ((1, 2, 1, 1), (3, 4), (0.0, 0.0)),
        ((1, 2, 5, 6), (5, 12), (1.1, 2.05)),
        ((1, 2, 6, 5), (12, 5), (2.05, 1.1)),
    ):
        yield Case("upsample_nearest", [(FLOAT, dims)], {"size": size, "scales": scales}, exact=True)
        for corners in (False, True):
            attributes: dict[str, Any] = {"size": size, "align_corners": corners, "scales": scales}
            yield Case("upsample_bilinear", [(FLOAT, dims)], attributes)


CASES = (*convolutions(), *pools(), *with_channels_last(), *sizes())


@pytest.fixture(scope="module", params=WAYS, ids=lambda way: f"{way[0]}-{way[1]}")
def found(request, tmp_path_factory) -> Iterator[Nests]:
    way, lanes = request.param
    folder = tmp_path_factory.mktemp("images")
    with nests(compiled_of(CASES, way), lanes, folder, f"{way}_images_{lanes}", plain=way == "plain") as made:
        yield made


def test_every_kernel_against_the_reference(found):
    rng = np.random.default_rng(1)
    check_all(found, [random_inputs(case, rng, 1) for case in found.cases], tolerance=3e-6)


def test_maxima_of_what_is_not_finite(found):
    rng = np.random.default_rng(2)
    inputs = [random_inputs(case, rng, 1) for case in found.cases]
    for case, arrays in zip(found.cases, inputs, strict=True):
        if case.op in ("max_pool", "upsample_nearest") or case.attributes.get("kind") == "max":
            special = rng.choice([np.nan, np.inf, -np.inf], arrays[0].shape)
            arrays[0][...] = np.where(rng.random(arrays[0].shape) < 0.2, special, arrays[0])
    check_all(found, inputs, tolerance=3e-6)


def larger_than_weights() -> list[Case]:
    """
    Convolutions whose images have more than 700 values, and whose weights have fewer.
    """
    shared: dict[str, Any] = {"filters": 32, "layout": "channels_last", "stride": (1, 1)}
    added = (FLOAT, (5, 5, 32))
    return [
        Case("convolution", [(FLOAT, (5, 5, 8)), normal(2, 1, 1, 8, 16), normal(32), added], shared),
        Case("convolution", [(FLOAT, (7, 6, 2)), normal(2, 3, 3, 2, 16), normal(32)], shared),
        Case(
            "convolution",
            [(FLOAT, (2, 5, 6)), normal(2, 2, 1, 1, 16), normal(32)],
            {**shared, "layout": "channels_first"},
        ),
    ]


@pytest.mark.parametrize("way", ["plain", "compiled"])
def test_images_that_are_gone_through_once(way, tmp_path, monkeypatch):
    monkeypatch.setattr(convolution, "STREAMED", 700)
    cases = larger_than_weights()
    with nests(cases, 4, tmp_path, f"{way}_once", plain=way == "plain") as made:
        text = Path(str(made.module.__file__)).read_text()
        assert text.count("        for block in range(2):") >= len(cases)
        check_all(made, [random_inputs(case, np.random.default_rng(4), 1) for case in cases], tolerance=3e-6)


@pytest.mark.parametrize("way", ["plain", "compiled"])
def test_weights_that_are_asked_for_before_they_are_needed(way, tmp_path, monkeypatch):
    monkeypatch.setattr(convolution, "STREAMED", 1)
    cases = []
    for blocks in (2, 1):
        filters = 16 * blocks
        attributes: dict[str, Any] = {"filters": filters, "layout": "channels_last", "stride": (1, 1)}
        constants = [normal(blocks, 2, 3, 8, 16), normal(blocks * 16)]
        cases.append(Case("convolution", [(FLOAT, (3, 4, 8)), *constants], attributes))
    with nests(cases, 16, tmp_path, f"{way}_asking", plain=way == "plain") as made:
        assert Path(str(made.module.__file__)).read_text().count("ahead = ") == len(cases)
        check_all(made, [random_inputs(case, np.random.default_rng(3), 1) for case in cases], tolerance=3e-6)
