"""
Those who run a network from C give the policy's actions before anything is measured, or are not measured.
"""

import ctypes
import shutil
import sys
from importlib.util import find_spec

import numpy as np
import pytest

from benchmarks import c_code, c_peers
from benchmarks.contest import Contestant, Missing
from benchmarks.network import network_of
from benchmarks.plain_c import plain_c
from tests.images import Layer, image_policy
from tests.models import observations, policy
from tests.policies import masked

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc")

SOURCES = {
    "argmax": lambda: policy((5,), (16, 8), 3, head="argmax", activations="tanh"),
    "rescale": lambda: policy((5,), (16, 8), 3, head="rescale", activations="relu"),
    "clip": lambda: policy((5,), (16, 8), 3, head="clip"),
}
PEERS = {
    "plain": lambda task: c_peers.plain(task),
    "plain, fast": lambda task: c_peers.plain(task, "-ffast-math"),
    "emlearn": lambda task: c_peers.emlearn(task),
    "onnxruntime": lambda task: c_peers.onnxruntime(task),
}


def task_for(source, folder):
    network = network_of(SOURCES[source]())
    rows = observations(SOURCES[source](), 40)
    return c_peers.Task(network, rows, [network.run(row[np.newaxis]) for row in rows], folder)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("name", PEERS)
def test_peers_in_c_agree(name, source, tmp_path):
    task = task_for(source, tmp_path)
    assert len(np.unique(np.array(task.expected))) > 1
    found = c_code.entered(name, lambda: PEERS[name](task), task.expected)
    if isinstance(found, Missing) and found.reason.startswith("not installed"):
        pytest.skip(found.reason)
    assert isinstance(found, Contestant), found
    assert found.work >= len(task.observations)
    for value in found.inputs:
        found.call(value)


def test_who_disagrees_is_not_measured(tmp_path):
    task = task_for("argmax", tmp_path)
    others = [(action + 1) % 3 if number in (4, 7) else action for number, action in enumerate(task.expected)]
    assert c_code.entered("plain", lambda: c_peers.plain(task), others) == Missing(
        "plain", "DISAGREES on 2 of 40 observations"
    )


def test_the_loop_asks_for_every_observation(tmp_path):
    seen = []

    @ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p)
    def answer(observation, action):
        seen.append(ctypes.cast(observation, ctypes.POINTER(ctypes.c_float))[1])
        return 0

    rows = np.arange(10, dtype=np.float32).reshape(5, 2)
    address = ctypes.cast(answer, ctypes.c_void_p).value or 0
    answers = c_code.Answers(address, rows, np.zeros(1, np.int64), passes=3)
    contestant = answers.contestant("who")
    contestant.call(contestant.inputs[0])
    assert seen == [1, 3, 5, 7, 9] * 3
    assert contestant.work == 15


def test_refusals_are_not_measured():
    @ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p)
    def refuse(observation, action):
        return -2

    address = ctypes.cast(refuse, ctypes.c_void_p).value or 0
    answers = c_code.Answers(address, np.zeros((3, 2), np.float32), np.zeros(1, np.int64), passes=2)
    with pytest.raises(RuntimeError, match="-12: the sum"):
        answers.all(None)
    found = c_code.entered("who", lambda: answers, [np.zeros(1)] * 3)
    assert found == Missing("who", "failed: RuntimeError: status -2")


def test_denormal_numbers_stay_what_they_are(tmp_path):
    c_peers.plain(task_for("argmax", tmp_path), "-ffast-math")
    assert np.float32(1e-40) * np.float32(0.5) > 0


def test_emlearn_leaves_numpy_as_it_was(tmp_path, monkeypatch):
    if find_spec("emlearn") is None:
        pytest.skip("no emlearn")
    before = np.geterr()
    for name in [name for name in sys.modules if name.split(".")[0] == "emlearn"]:
        monkeypatch.delitem(sys.modules, name)  # so that it is executed again
    c_peers.emlearn(task_for("argmax", tmp_path))
    assert np.geterr() == before


def test_what_gcc_refuses(tmp_path):
    source = tmp_path / "wrong.c"
    source.write_text("int answer(void) { return nothing; }")
    with pytest.raises(RuntimeError, match=r"(?s)gcc failed: .*nothing"):
        c_code.compiled(tmp_path, "wrong", source)
    with pytest.raises(ImportError, match="no such-compiler"):
        c_code.compiled(tmp_path, "wrong", source, compiler="such-compiler")


def test_networks_that_are_not_written_in_plain_c(tmp_path):
    image = network_of(image_policy((3, 13, 16), [Layer(4, (4, 3), (2, 2))]))
    choices = network_of(masked())
    for network in (image, choices):
        with pytest.raises(ValueError, match="fully connected layers"):
            plain_c(network)
        with pytest.raises(ValueError, match="fully connected layers"):
            c_peers.emlearn(c_peers.Task(network, np.zeros((1, 4), np.float32), [], tmp_path))


def test_plain_c_reads_as_what_it_is():
    text = plain_c(network_of(SOURCES["argmax"]()))
    assert text.count("static void layer") == 3
    assert "static const float weight1[8][16] = {" in text
    assert text.count("tanhf(sum)") == 2
    assert "    layer0(observation, y0);\n    layer1(y0, y1);\n    layer2(y1, y2);\n" in text
