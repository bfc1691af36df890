"""
Folders that are served: what is imported of them, what is told of them, which are refused; compiled ones answer too.
"""

import hashlib
import json
import sys
from pathlib import Path

import msgspec
import pytest

import compiler
from compiler.errors import BuildError
from compiler.options import BuildOptions
from compiler.serve.models import open_model, stamp_of
from compiler.serve.programs import Program
from compiler.serve.sessions import Sessions
from tests.models import write
from tests.policies import WIDE
from tests.serve.endpoints import POLICIES, PROGRAMS, ask, encoded, given_of, plain, right_of, row_of, sample
from tests.thorough import chosen

ROOT = Path(__file__).parents[2]
FIELDS = ("a", "b", "c", "d")
KINDS = {**POLICIES, **PROGRAMS}
ALWAYS = (
    "sees image",
    "sees parts with odd names",
    "does numbers",
    "draws masked choices",
    "draws recurrent",
    "camera",
    "sentences",
    "counter",
)


@pytest.fixture
def sessions(tmp_path):
    return Sessions(tmp_path / "sessions", 60, 10)


def package(folder, model, **manifest):
    """
    A package that is not compiled, with what a build records of it.
    """
    write(folder, model, plain=True)
    sha256 = hashlib.sha256((folder / "model.bin").read_bytes()).hexdigest()
    content = {"files": {"model.bin": sha256}, "versions": {"policyc": "1.2.3"}, **manifest}
    (folder / "manifest.json").write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize("name", chosen(KINDS, *ALWAYS))
def test_every_kind_is_opened_and_told_of(name, tmp_path, sessions):
    kind = "policy" if name in POLICIES else "program"
    folder = package(tmp_path / "agent", KINDS[name](), verification={"observations": 7})
    served = open_model(folder, sessions)
    try:
        assert served.seconds > 0
        told = json.loads(msgspec.json.encode(served.described()))
        assert told["name"] == served.name == served.package.SPEC["name"]
        assert told["url"] == f"/models/{served.name}/predict"
        assert told["kind"] == kind
        assert told["sha256"] == hashlib.sha256((folder / "model.bin").read_bytes()).hexdigest()
        assert told["verification"] == {"observations": 7}
        assert told["versions"]["policyc"] == "1.2.3"
        assert told["spec"].keys() == served.package.SPEC.keys()
        schema = msgspec.json.schema(served.endpoint.request_type)
        json.dumps(schema)
    finally:
        served.close()
    assert served.package.__name__ not in sys.modules


def test_fields_are_told_of(tmp_path, sessions):
    served = open_model(package(tmp_path / "agent", POLICIES["does choice"]()), sessions, FIELDS)
    assert served.described()["fields"] == FIELDS
    assert ask(served.endpoint, dict(zip(FIELDS, [1, 2, 3, 4], strict=True))).keys() == {"action"}
    served.close()


def test_two_of_one_folder_are_two(tmp_path, sessions):
    folder = package(tmp_path / "agent", POLICIES["does choice"]())
    one, other = open_model(folder, sessions), open_model(folder, sessions)
    assert one.package is not other.package
    one.close()
    assert ask(other.endpoint, {"observation": [1, 2, 3, 4]}) == ask(one.endpoint, {"observation": [1, 2, 3, 4]})
    other.close()


def test_another_build_has_another_stamp(tmp_path, sessions):
    folder = package(tmp_path / "agent", POLICIES["does choice"]())
    stamp = stamp_of(folder)
    served = open_model(folder, sessions)
    assert served.stamp == stamp
    served.close()
    package(tmp_path / "other", POLICIES["does choice"]())
    assert stamp_of(tmp_path / "other") == stamp
    package(tmp_path / "third", POLICIES["does numbers"]())
    assert stamp_of(tmp_path / "third") != stamp


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("does choice", ("a", "b"), "--fields names 2 numbers, its observation is of shape \\(4,\\)"),
        ("sees 2 dimensions", FIELDS, "--fields names 4 numbers, its observation is of shape \\(2, 1\\)"),
        ("sees choice", ("a",), "--fields names 1 numbers, its observation is a Discrete"),
        ("sees parts", ("a",), "--fields names 1 numbers, its observation is a Dict"),
        ("mixed", ("a",), "--fields is for policies"),
        ("does choice", ("a", "b", "c", "a"), "names can't be keys .* must be unique"),
        ("does choice", ("a", "b", "c", "details"), "names can't be keys .* must be unique"),
        ("does choice", ("a", "b", "c", 'd"'), "names can't be keys .* must not contain"),
        ("does choice", ("a", "b", "c", "\udcff"), "names can't be keys "),
    ],
)
def test_fields_that_can_not_be(name, fields, message, tmp_path, sessions):
    folder = package(tmp_path / "agent", KINDS[name]())
    before = set(sys.modules)
    with pytest.raises(BuildError, match=message):
        open_model(folder, sessions, fields)
    assert set(sys.modules) - before <= {"numpy.random"}


def test_what_is_no_package(tmp_path, sessions):
    def refused(message):
        with pytest.raises(BuildError, match=message):
            open_model(tmp_path / "agent", sessions)

    refused("there is no such folder")
    (tmp_path / "agent").write_bytes(b"PK")
    refused("it is a file; name the folder that policyc build makes of it")
    (tmp_path / "agent").unlink()
    (tmp_path / "agent" / "walker").mkdir(parents=True)
    refused(r"there is no manifest\.json$")
    (tmp_path / "agent" / "walker" / "manifest.json").touch()
    refused(r"there is no manifest\.json in it, but in '")
    (tmp_path / "agent" / "manifest.json").write_text('{"files": {"model.bin": ""}}')
    refused("is not built for Python")
    (tmp_path / "agent" / "__init__.py").write_text("import nothing_of_this_name")
    refused("can't be imported: ModuleNotFoundError")


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "{}", '{"files": 1}', '{"files": {}}', "\xff", '{"files": {"model.bin": 1}}']
)
def test_a_manifest_that_is_none(content, tmp_path, sessions):
    folder = package(tmp_path / "agent", POLICIES["does choice"]())
    (folder / "manifest.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(BuildError, match=r"manifest\.json is damaged"):
        open_model(folder, sessions)


def test_what_is_compiled_by_numba_answers(sessions):
    served = open_model(ROOT / "generated" / "cartpole", sessions)
    compare(served.endpoint, WIDE)
    served.close()


COMPILED = [
    (target, name)
    for target in ("numba", "native")
    for name in ("draws dict", "draws masked", "draws recurrent", "sees image", "mixed", "sentences", "counter")
]


@pytest.mark.parametrize(("target", "name"), chosen(COMPILED, ("native", "draws dict")))
def test_what_is_compiled_answers(target, name, tmp_path, sessions):
    options = BuildOptions(target=target, verify_observations=20)
    build = compiler.build(KINDS[name](), out=tmp_path, name="compiled", options=options)
    served = open_model(build.path, sessions)
    if isinstance(served.endpoint, Program):
        compare_program(served.endpoint, given_of(name, 2))
    else:
        policy = KINDS[name]().policy
        assert policy is not None
        compare(served.endpoint, policy.observation_space)
    served.close()


def compare(endpoint, space):
    """
    Asks alone, in a batch and with encoded arrays, whose bytes are read-only and of any alignment.
    """
    given = sample(space, 5)
    rows = [row_of(given, row) for row in range(5)]
    # In the last bits, an answer in a batch may be another than alone.
    right, alone = endpoint.package.predict(given)[0], [endpoint.package.predict(row)[0] for row in rows]
    for form in (plain, encoded):
        assert ask(endpoint, {"observations": [form(row) for row in rows]})["actions"] == right.tolist()
        assert [ask(endpoint, {"observation": form(row)})["action"] for row in rows] == [one.tolist() for one in alone]
    if endpoint.size and not endpoint.recurrent:
        assert endpoint.answer_in_bytes(given.astype("<f4").tobytes())[2] == right.tobytes()
        found = [endpoint.answer_in_bytes(row.astype("<f4").tobytes())[2] for row in rows]
        assert found == [one.tobytes() for one in alone]


def compare_program(endpoint, given):
    alone = {key: array[0] for key, array in given.items()}
    for inputs in (given, alone) if endpoint.batched else (alone,):
        for form in (plain, encoded):
            assert ask(endpoint, {"inputs": form(inputs)})["outputs"] == right_of(endpoint, inputs)["outputs"]
