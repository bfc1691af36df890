"""
Which options, targets and triples go together, and what a target's model lacks.
"""

import pytest

from compiler.errors import BuildError
from compiler.options import BuildOptions
from compiler.products import reduced, resolve, targets_of
from compiler.targets.machines import TRIPLES, find, host
from tests import models, policies


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"triple": "wasm32"}, "triple goes with a target that is compiled ahead of time, not with numba"),
        ({"cpu": "native"}, "cpu goes with a target that is compiled ahead of time"),
        ({"single_file": True}, "single_file goes with a target that is compiled ahead of time"),
        ({"target": "exe", "single_file": True}, "single_file goes with the target c, not with exe"),
        ({"target": "c", "lanes": 8}, "lanes goes with the target numba"),
        ({"target": "c", "with_value": True}, "the target c gives actions and scores"),
        ({"target": "c", "triple": "sparc-sun"}, "'sparc-sun' is none that policyc knows; there are x86_64-linux-gnu"),
        ({"target": "exe", "triple": "wasm32"}, "exe can't be made for wasm32; --target wasm can"),
        ({"target": "native", "triple": "thumbv7em-none-eabihf"}, "native can't be made for .*; --target c can"),
        ({"target": "c", "cpu": "pentium-pro-max"}, "pentium-pro-max"),
        (
            {"target": "c", "triple": "riscv64-linux-gnu", "cpu": "native"},
            "native can only be had for the machine",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(choices, message):
    with pytest.raises(BuildError, match=message):
        resolve(BuildOptions(**choices))


def test_numba_has_no_triple_and_keeps_its_lanes():
    options, triple = resolve(BuildOptions(lanes=8))
    assert (options.lanes, triple) == (8, None)


@pytest.mark.parametrize("target", ["native", "c", "exe"])
def test_this_machine_is_meant_unless_another_is_named(target):
    options, triple = resolve(BuildOptions(target=target))
    assert triple is not None
    assert triple.name == host()
    assert options.lanes == triple.lanes


def test_wasm_needs_no_triple():
    _, triple = resolve(BuildOptions(target="wasm"))
    assert triple == find("wasm32")


@pytest.mark.parametrize("triple", [triple.name for triple in TRIPLES])
def test_something_can_be_made_for_every_triple(triple):
    for target in targets_of(find(triple)):
        options, found = resolve(BuildOptions(target=target, triple=triple))
        assert found is not None
        assert options.lanes == max(level.lanes for level in found.levels)


def test_only_packages_draw_and_estimate():
    model = policies.normalised()
    assert reduced(model, BuildOptions()) is model
    assert reduced(model, BuildOptions(target="native")) is model
    for target in ("c", "wasm", "exe"):
        found = reduced(model, BuildOptions(target=target))
        assert {output.role for output in found.outputs} == {"action", "scores"}
        assert found.policy is not None
        assert found.policy.sampling is None
        assert models.sources(found, BuildOptions())["predictor.py"]
