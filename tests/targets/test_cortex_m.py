"""
Images for Cortex-M4F and -M7 microcontrollers, run on emulated boards, and what they need of the memory.
"""

from pathlib import Path

import numpy as np
import pytest

from compiler.targets import c, elf, memory, thumb, toolchain
from compiler.verify.cases import finite_cases
from compiler.verify.reference import known, model_inputs
from tests import policies
from tests.targets import board, replay
from tests.targets.goldens import golden, policy_of, program_named
from tests.targets.replay import Policy

pytestmark = pytest.mark.slow

TRIPLE, M4, M7 = "thumbv7em-none-eabihf", "cortex-m4", "cortex-m7"
MODELS = Path(__file__).parents[2] / "model"
GOLDEN = Path(__file__).parents[1] / "golden"
KIB = 1024
TESTS_OWN = 640
"""Bytes of flash, or of RAM besides the stack, for vectors, semihosting, question and answer."""
UNUSED = 64
"""Bytes of the stack that the figure may count too much: what is not written, or not on the way that was taken."""


def needs_of(policy: Policy) -> memory.Needs:
    found = memory.needs(policy.folder, policy.view.name, policy.objects, policy.sources.triple)
    assert found is not None
    return found


def fitting(policy: Policy, needs: memory.Needs) -> board.Image:
    """
    An image for a microcontroller with no more memory than the figures say, and what the test takes itself.
    """
    assert needs.stack is not None
    ram = needs.ram + board.OWN_STACK + policy.question.itemsize + policy.answer.itemsize + TESTS_OWN
    return board.image(policy, needs.flash + 2 * TESTS_OWN, ram, needs.stack)


def answered(made: board.Image, cpu: str, questions: np.ndarray, needs: memory.Needs) -> np.ndarray:
    """
    What the image answers, after a look at its stack.
    """
    program_named(board.EMULATOR)
    answers, depth = board.asked(made, cpu, questions)
    assert len(answers) == len(questions)
    assert needs.stack is not None
    assert depth <= needs.stack <= depth + UNUSED
    return answers


@pytest.mark.parametrize("cpu", [M4, M7])
def test_cartpole_fits_a_small_microcontroller(cpu, tmp_path):
    """
    The linker proves it: an image with 40 KiB of flash and 4 KiB of RAM, stack and test included.
    """
    policy = replay.compiled(tmp_path / "policy", MODELS / "cartpole.zip", TRIPLE, cpu)
    needs = needs_of(policy)
    made = board.image(policy, 40 * KIB, 4 * KIB, 2 * KIB)
    assert made.flash <= needs.flash + 2 * TESTS_OWN
    assert needs.flash < 24 * KIB
    assert needs.ram < KIB
    with np.load(GOLDEN / "cartpole.npz") as recorded:
        answers = answered(made, cpu, policy.questions([recorded["observations"]]), needs)
        np.testing.assert_array_equal(answers["action"], recorded["actions"])
        np.testing.assert_allclose(answers["scores"], recorded["scores"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("cpu", "name"),
    [
        (M4, "ppo_box"),
        (M4, "a2c_several_choices"),
        (M4, "maskable_several"),
        (M4, "ppo_float64_bounds"),
        (M7, "recurrent_discrete"),
        (M7, "ppo_image"),
    ],
)
def test_the_answers_are_those_of_sb3(cpu, name, tmp_path):
    policy, wanted = policy_of(tmp_path, name, TRIPLE, cpu), golden(name)
    needs = needs_of(policy)
    wanted.check(answered(fitting(policy, needs), cpu, wanted.questions(policy), needs))


def test_statistics_are_applied_in_float64_without_such_registers(tmp_path):
    model = policies.normalised()
    policy = replay.compiled(tmp_path / "policy", model, TRIPLE)
    needs = needs_of(policy)
    assert "__aeabi_ddiv" in needs.helpers
    cases = finite_cases(model, 300, seed=1)
    answers = answered(fitting(policy, needs), M4, policy.questions([cases.values["observation"]]), needs)
    wanted = known(model, model_inputs(model, cases), 0, ["action_net"])
    assert (np.abs(answers["scores"] - wanted.values["action_net"]) <= wanted.limit("action_net")).all()


def test_what_is_refused_leaves_the_action_as_it_was(tmp_path):
    policy = policy_of(tmp_path, "ppo_discrete_observation", TRIPLE, M7)
    needs = needs_of(policy)
    rows = np.array([6, 7, -1, 2**32, 2**63 - 1, 0], np.int64)
    answers = answered(fitting(policy, needs), M7, policy.questions([rows]), needs)
    assert answers["status"].tolist() == [0, -4, -4, -4, -4, 0]
    assert answers["action"][1:5].tolist() == [answers["action"][0]] * 4


def test_an_image_that_does_not_fit_is_not_linked(tmp_path):
    policy = replay.compiled(tmp_path / "policy", policies.observing(policies.WIDE), TRIPLE)
    needs = needs_of(policy)
    with pytest.raises(Exception, match="will not fit in region 'FLASH'"):
        board.image(policy, needs.flash - 16, 4 * KIB, 512)
    with pytest.raises(Exception, match="will not fit in region 'RAM'"):
        board.image(policy, 40 * KIB, needs.ram - 16, needs.stack or 0)


def test_a_single_file_brings_what_the_processor_lacks(tmp_path):
    """
    A program without any library links with it; one with a library of its own keeps that.
    """
    policy = replay.compiled(tmp_path / "policy", policies.normalised(), TRIPLE, single_file=True)
    for name in policy.objects:
        (policy.folder / name).unlink()
    (policy.folder / "made").mkdir()
    names = c.single_file(policy.folder / "made", policy.sources)
    assert names == ["policy.h", "policy.o"]
    joined = policy.folder / "made" / "policy.o"
    assert elf.read(joined.read_bytes()).undefined == []
    assert str(tmp_path).encode() not in joined.read_bytes()
    own = "double __aeabi_ddiv(double a, double b) { (void)b; return a; }\nvoid _start(void) {}\n"
    (policy.folder / "made" / "own.c").write_text(own)
    part = toolchain.compile_c(policy.folder / "made", "own.c", policy.sources.triple)
    toolchain.run(policy.folder / "made", "ld.lld", part, "policy.o", "-o", "own.elf")
    facts = c.facts(policy.folder / "made", policy.sources)["memory"]
    assert set(facts) == {"flash", "ram", "code", "weights", "data", "state", "stack", "helpers"}
    assert facts["flash"] == facts["code"] + facts["weights"]
    assert facts["ram"] == facts["data"] + facts["state"] + facts["stack"]


@pytest.mark.parametrize("cpu", [M4, M7])
def test_layers_are_nothing_but_products_and_what_they_are_made_of(cpu, tmp_path):
    """
    The loop of a dense layer: of each weight its load and its product, and four instructions around them.
    """
    policy = replay.compiled(tmp_path / "policy", MODELS / "cartpole.zip", TRIPLE, cpu)
    needs_of(policy)
    program = elf.read((policy.folder / "needs.elf").read_bytes())
    loops = [loop for loop in inner_loops(program, "policy__act") if sum(map(is_fused, loop)) == 8]
    assert [len(loop) for loop in loops] == [8 + 9 + 4]


def inner_loops(program: elf.File, name: str) -> list[list[int]]:
    """
    The instructions from where a conditional jump backwards goes to the jump, without loops that hold others.
    """
    function = program.symbol(name)
    words = list(thumb.instructions(program, function))
    jumps = [(to, place) for place, word in words if (to := back(place, word)) is not None]
    inner = [(to, at) for to, at in jumps if not any(to < first < last < at for first, last in jumps)]
    return [[word for place, word in words if to <= place <= at] for to, at in inner]


def back(place: int, word: int) -> int | None:
    """
    Where a conditional jump of 16 bits goes, if it goes back.
    """
    if word & 0xF000 != 0xD000 or word > 0xDDFF:
        return None
    offset = (word & 0xFF) - (word << 1 & 0x100)
    return place + 4 + 2 * offset if offset < 0 else None


def is_fused(word: int) -> bool:
    return word & 0xFFB00F50 == 0xEEA00A00
