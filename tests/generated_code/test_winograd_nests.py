"""
The kernels of convolutions by Winograd's algorithm against the reference.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compiler.codegen import division, winograd_kernels
from compiler.codegen.winograd_kernels import plan_of
from compiler.ir import DType
from compiler.ops import winograd_plan
from compiler.ops.winograd import transformed
from tests.generated_code.cases import Case, model_of
from tests.generated_code.nests import nests, random_inputs
from tests.generated_code.test_nests import check_all, normal
from tests.thorough import THOROUGH, chosen

FLOAT = DType.FLOAT32


def case(image: tuple[int, int], size: int, channels: int, blocks: int, width: int, *, full: bool) -> Case:
    filters = blocks * width
    constants: list[Any] = [transformed(normal(filters, channels, 3, 3), size, width), normal(filters)]
    added = [(FLOAT, (image[0] - 2, image[1] - 2, filters))] if full else []
    return Case("winograd", [(FLOAT, (*image, channels)), *constants, *added], {"activation": "relu" if full else ""})


def cases() -> Iterator[Case]:
    """
    Tiles that fit the result and others, one block of filters and several, one register in a block and two.
    """
    yield case((6, 5), 4, 16, 1, 16, full=True)
    yield case((6, 7), 6, 16, 1, 16, full=False)
    yield case((8, 6), 4, 48, 2, 32, full=False)
    yield case((10, 16), 6, 32, 2, 16, full=True)
    yield case((9, 7), 6, 16, 1, 32, full=True)


FEW = list(cases())[:2]


@pytest.mark.parametrize("lanes", chosen((1, 4, 8, 16), 16))
def test_compiled_kernels_against_the_reference(lanes, tmp_path):
    with nests(list(cases())[:: 1 if THOROUGH else 2], lanes, tmp_path, f"compiled_winograd_{lanes}") as made:
        check_all(made, [random_inputs(one, np.random.default_rng(1), 2) for one in made.cases], tolerance=5e-6)


@pytest.mark.parametrize("lanes", chosen((1, 4, 8, 16), 4))
def test_kernels_in_plain_python(lanes, tmp_path):
    with nests(FEW, lanes, tmp_path, f"plain_winograd_{lanes}", plain=True) as made:
        check_all(made, [random_inputs(one, np.random.default_rng(2), 1) for one in made.cases], tolerance=5e-6)


def test_strips_of_tiles_and_weights_that_are_asked_for(tmp_path, monkeypatch):
    for name, value in {"LARGE": 1, "ARRIVAL": 0, "START": 0}.items():
        monkeypatch.setattr(winograd_plan, name, value)
    several = [case((10, 7), 4, 16, 2, 32, full=True), case((14, 6), 6, 16, 2, 16, full=False)]
    for one in several:
        model = model_of([one])
        plan = plan_of(model, model.nodes[0])
        assert 1 <= plan.rows < plan.down
    with nests(several, 16, tmp_path, "winograd_strips") as made:
        assert Path(str(made.module.__file__)).read_text().count("ahead = ") == len(several)
        check_all(made, [random_inputs(one, np.random.default_rng(3), 1) for one in made.cases], tolerance=5e-6)


def test_parts_together_give_the_same_bits(tmp_path, monkeypatch):
    """
    A layer of several strips, and one of a single strip and several blocks of filters.
    """
    monkeypatch.setattr(division, "PART_WORK", 1)
    monkeypatch.setattr(winograd_kernels, "MOST_ROOMS", 2)
    made_of = [case((26, 18), 6, 16, 1, 16, full=True), case((6, 7), 6, 16, 3, 16, full=False)]
    monkeypatch.setattr(winograd_plan, "START", 0)
    inputs = [random_inputs(one, np.random.default_rng(4), 1) for one in made_of]
    given = [[array[0] for array in arrays] for arrays in inputs]
    with (
        nests(made_of, 16, tmp_path, "winograd_whole", plain=True) as whole,
        nests(made_of, 16, tmp_path, "winograd_parts", plain=True, divided=True) as divided,
    ):
        expected = [results[0] for results in whole.run(given)]
        found, used = [], []
        for part in range(3):
            found.append(divided.run(given, part, 3))
            used.append({name: np.isfinite(room) for name, room in divided.in_rooms.items()})
        for room in used[0]:
            assert used[0][room].any()
            assert used[1][room].any()
            assert not (used[0][room] & used[1][room]).any()
        for number, right in enumerate(expected):
            parts = [results[number][0] for results in found]
            assert np.isnan(parts[2]).all()  # there is no room for it
            assert all(np.isfinite(part).any() for part in parts[:2])
            assert np.array_equal(np.where(np.isnan(parts[0]), parts[1], parts[0]), right)
            assert (np.isnan(parts[0]) ^ np.isnan(parts[1])).all()
