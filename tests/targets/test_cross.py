"""
Programs for other processors, run by emulators, against SB3's answers.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from compiler.verify.cases import finite_cases
from compiler.verify.reference import known, model_inputs
from tests import policies
from tests.targets import replay
from tests.targets.goldens import golden, policy_of, program_named
from tests.targets.replay import Policy
from tests.thorough import chosen

pytestmark = pytest.mark.slow

AARCH64, ARMV7, RISCV64 = "aarch64-linux-musl", "armv7-linux-musleabihf", "riscv64-linux-musl"
EMULATORS = {AARCH64: "qemu-aarch64", ARMV7: "qemu-arm", RISCV64: "qemu-riscv64"}
KINDS = {
    AARCH64: ("ppo_default", "ppo_dict", "maskable_several", "recurrent_two_layers"),
    ARMV7: ("ppo_default", "a2c_several_choices", "recurrent_discrete", "sac_float64"),
    RISCV64: ("ppo_default", "ppo_discrete_observation", "ppo_image", "maskable_bits"),
}
"""Of every kind of observation, action and memory at least one, and one everywhere."""

ALWAYS = ("ppo_dict", "recurrent_two_layers", "a2c_several_choices", "sac_float64", "ppo_image", "maskable_bits")
NOT_FINITE, OVERFLOW, OUT_OF_RANGE = -2, -3, -4

Compile = Callable[[str, str], Policy]


@pytest.fixture(scope="module")
def compile_for(tmp_path_factory: pytest.TempPathFactory) -> Compile:
    """
    Compiles the agent of a recipe for a triple, once.
    """
    folder = tmp_path_factory.mktemp("cross")
    return cache(lambda name, triple: policy_of(folder, name, triple))


def emulated(policy: Policy) -> list[str]:
    """
    The command that answers questions.
    """
    emulator = EMULATORS[policy.sources.triple.name]
    return [program_named(f"{emulator}-static", emulator), str(program(policy))]


@cache
def program(policy: Policy) -> Path:
    return replay.program(policy)


@pytest.mark.parametrize(
    ("triple", "name"),
    [(triple, name) for triple, names in KINDS.items() for name in chosen(names, *ALWAYS)],
)
def test_the_answers_are_those_of_sb3(triple, name, compile_for):
    policy, wanted = compile_for(name, triple), golden(name)
    answers = replay.asked(policy, emulated(policy), wanted.questions(policy))
    assert len(answers) == (1 if policy.view.recurrent else 2)
    for part in answers:
        wanted.check(part)


@pytest.mark.parametrize("triple", EMULATORS)
def test_what_is_no_number_is_refused(triple, compile_for):
    policy = compile_for("ppo_default", triple)
    rows = np.array([[0, 0, np.nan, 0], [np.inf, 0, 0, 0], [0, 0, 0, -np.inf], [1, 2, 3, 4]], np.float32)
    singles, batch = replay.asked(policy, emulated(policy), policy.questions([rows]))
    assert singles["status"].tolist() == [NOT_FINITE] * 3 + [0]
    assert set(batch["status"]) == {NOT_FINITE}


@pytest.mark.parametrize("triple", [ARMV7, RISCV64])
def test_values_that_are_too_large_are_refused(triple, tmp_path):
    policy = replay.compiled(tmp_path / "policy", policies.observing(policies.WIDE, activation="relu"), triple)
    largest = np.finfo(np.float32).max
    singles, _ = replay.asked(policy, emulated(policy), policy.questions([np.array([[largest] * 4, [1] * 4], "f")]))
    assert singles["status"].tolist() == [OVERFLOW, 0]


@pytest.mark.parametrize(
    ("triple", "name", "choices"),
    [(ARMV7, "a2c_several_choices", (2, 1, 3)), (RISCV64, "ppo_discrete_observation", (6,))],
)
def test_choices_that_there_are_not_are_refused(triple, name, choices, compile_for):
    """
    Those among them whose lower 32 bits are a choice.
    """
    policy = compile_for(name, triple)
    wrong = [choices[-1] + 1, -1, 2**31, 2**32, 2**63 - 1, -(2**63), choices[-1]]
    rows = [(*choices[:-1], last) for last in wrong]
    singles, batch = replay.asked(policy, emulated(policy), policy.questions([np.array(rows, np.int64)]))
    assert singles["status"].tolist() == [OUT_OF_RANGE] * 6 + [0]
    assert set(batch["status"]) == {OUT_OF_RANGE}


@pytest.mark.parametrize("triple", EMULATORS)
def test_statistics_are_applied_in_float64(triple, tmp_path):
    model = policies.normalised()
    policy = replay.compiled(tmp_path / "policy", model, triple)
    cases = finite_cases(model, replay.ROWS // 2, seed=1)
    questions = policy.questions([cases.values["observation"]])
    wanted = known(model, model_inputs(model, cases), 0, ["action_net"])
    for answers in replay.asked(policy, emulated(policy), questions):
        assert (np.abs(answers["scores"] - wanted.values["action_net"]) <= wanted.limit("action_net")).all()


def test_registers_of_armv7_take_denormal_numbers_for_zero(compile_for):
    """
    NEON has no others: it moves the scores by less than float32 can tell from their rounding.
    """
    rows = np.array([[3e-39, -1e-40, 1e-45, 8e-39], [0, 0, 0, 0]], np.float32)
    scores = {}
    for triple in (AARCH64, ARMV7):
        policy = compile_for("ppo_default", triple)
        singles, batch = replay.asked(policy, emulated(policy), policy.questions([rows]))
        assert (singles["status"] == 0).all()
        scores[triple] = np.concatenate([singles["scores"], batch["scores"]])
        np.testing.assert_array_equal(scores[triple][::2], scores[triple][1::2])
    np.testing.assert_allclose(scores[ARMV7], scores[AARCH64], rtol=2e-6)
