"""
Model files from strangers: whatever a sealed file says, decode gives a model or a ModelFileError, soon and in bounds.
"""

import json
import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from compiler.errors import ModelFileError
from compiler.modelfile import decode, encode
from tests.hostile.model_demands import DEMANDING, survive
from tests.hostile.model_files import CASES, message, seal, sound
from tests.hostile.model_pointers import wire_cases
from tests.test_modelfile import sample

ROOT = Path(__file__).parents[2]
SECONDS, KIBIBYTES = 5, 512 * 1024


def test_the_helpers_make_what_the_compiler_makes():
    assert message(lambda fields: None) == sound()
    assert seal(sound()) == encode(sample()).data
    assert survive(seal(sound())) == "accepted"


@pytest.mark.parametrize("name", CASES)
def test_a_wrong_field_is_refused(name):
    data = seal(message(CASES[name].change))
    with pytest.raises(ModelFileError) as refused:
        decode(data, "policy.model")
    text = str(refused.value)
    assert re.search(CASES[name].words, text), text
    assert text.startswith("policy.model: ")
    assert text.isascii()
    assert len(text) < 2000


def test_bytes_after_the_blob_are_refused():
    longer = bytearray(sound() + bytes(64))
    longer[4:8] = (len(longer) // 8 - 1).to_bytes(4, "little")
    assert "the blob must be bytes at the end of the message" in survive(seal(bytes(longer)))


def test_wrong_pointers_are_refused():
    outcomes: Counter[str] = Counter()
    for name, data in wire_cases():
        started = time.process_time()
        outcome = survive(data)
        assert time.process_time() - started < SECONDS, name
        assert outcome.startswith("refused: "), f"{name}: {outcome}"
        outcomes[name.split(":")[0]] += 1
        kind = re.fullmatch(r"(\w+) of kind \d+", name)
        if kind:
            assert "is of an unknown kind" in outcome, f"{name}: {outcome}"
            assert kind[1] in outcome
    assert outcomes.total() > 250


def run(*arguments: str, data: bytes = b"") -> str:
    """
    What model_demands.py prints, in a process of its own: a crash of the C++ library would end this one.
    """
    command = [sys.executable, "-m", "tests.hostile.model_demands", *arguments]
    done = subprocess.run(command, cwd=ROOT, input=data, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode(errors="replace")[-2000:]
    return done.stdout.decode()


@pytest.mark.parametrize("name", DEMANDING)
def test_demanding_files_stay_in_bounds(name):
    outcome, seconds, kibibytes = json.loads(run("demand", data=DEMANDING[name].make()))
    assert re.match(DEMANDING[name].outcome, outcome), outcome
    assert seconds < SECONDS
    assert kibibytes < KIBIBYTES


@pytest.mark.parametrize("seed", [1, 2])
def test_random_changes_are_survived(seed):
    outcomes = Counter(line.partition(":")[0] for line in run("fuzz", str(seed), "2500").splitlines())
    assert set(outcomes) == {"refused", "accepted"}
    assert outcomes.total() == 2500
