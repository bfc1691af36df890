"""
The soak test, for six seconds; and that it sees what it looks for.
"""

import subprocess
import sys
from collections import Counter

import numpy as np
import pytest

from tests.serve.builds import Doubles
from tests.serve.serving import Answer
from tests.serve.soak import Found, Memory, report


def test_nothing_is_lost_or_wrong():
    command = [sys.executable, "-m", "tests.serve.soak", "--standin", "--minutes", "0.1"]
    found = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (found.returncode, found.stderr) == (0, ""), found.stdout
    assert found.stdout.endswith("no failures\n")
    counts = {
        line.split(maxsplit=1)[1]: int(line.split()[0].replace(",", "")) for line in found.stdout.splitlines()[:6]
    }
    assert counts.keys() >= {"asked", "refused", "slow", "vanished", "connections of floods", "saw a new build"}


def failures(found=None, kills=(), memory=None, log=(), end=(0, 1.0)):
    return report([("lasting", found or Found())], list(kills), 100.0, memory or Memory(), list(log), end)


def test_an_end_without_an_answer_is_excused_by_a_killed_worker_alone():
    found = Found(Counter(), [50.0], [])
    assert failures(found, kills=[49.5]) == []
    assert failures(found, kills=[40.0, 50.5]) == ["lost: a request of a client that is lasting"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"end": (1, 1.0)}, "SIGTERM"),
        ({"end": (0, 11.0)}, "SIGTERM"),
        ({"log": ["policyc: looking for changed packages", "Traceback"]}, "log: Traceback"),
        ({"memory": Memory({}, {7: (2**20, 0)}, {7: (2**26, 2)})}, "process 7 has grown by 63.0 MiB"),
    ],
)
def test_what_else_is_a_failure(wrong, said):
    (text,) = failures(**wrong)
    assert said in text


def test_statuses_are_compared():
    found = Found()
    found.expect("asked", Answer(500, {}, b""), 200)
    assert len(failures(found)) == 1


def test_a_build_is_known_by_its_answers(tmp_path):
    builds = Doubles(tmp_path)
    observations = np.array([[3, 0, 0, 0], [5, 0, 0, 0]], np.float32)

    def answered(*actions, seen=1, newest=2):
        return builds.answered(observations, np.array(actions), seen, newest)

    assert answered(8, 12) == 2
    assert answered(7, 11) == 1
    assert answered(6, 10) is None  # a former build
    assert answered(10, 14) is None  # one that there is not yet
    assert answered(8, 11) is None  # two at a time
    assert answered(11, 7) is None  # the other's answer
