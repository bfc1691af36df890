"""
Executables survive whatever they are given, say what is wrong with it, and go on.
"""

import ctypes
import json
import math
import shutil
import subprocess
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from compiler.targets import machines, toolchain
from tests.targets import executables, fuzz_exe
from tests.targets.executables import NAME, built, parts_in_c, sanitized
from tests.targets.fuzz_exe import PARTS, REQUESTS, STATE, WORDS
from tests.thorough import chosen

BAD, NOT_FINITE, OVERFLOW, OUT_OF_RANGE = -1, -2, -3, -4
GOOD = json.dumps({"observation": [1.0, 2.0, 3.0, 4.0]}).encode()
RARELY = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
UNHURRIED = settings(deadline=None)
needs_clang = pytest.mark.skipif(bool(executables.clang_lacks()), reason=executables.clang_lacks())


def dict_with(key, value):
    return {"observation": {**PARTS, key: value}}


NO_NUMBERS = (b"01", b"1.", b".5", b"+1", b"1e", b"1e+", b"--1", b"0x10", b"1_0", b"1f", b"nan", b"inf", b"-")


def seen(text):
    """
    A request with an observation.
    """
    return b'{"observation": %s}' % text


REFUSED = {
    "cartpole": [
        (b"nonsense", BAD, "the request: expected {, found nonsense"),
        (b"[1, 2, 3, 4]", BAD, "the request: expected {, found an array"),
        (b"\xef\xbb\xbf" + GOOD, BAD, "the request: expected {, found the byte 0xef"),
        (b"{}", BAD, "the request: expected the key observation, found none"),
        (b"{", BAD, "the request: expected a key in quotes, found the end of the line"),
        (b'{"observation": [1, 2, 3, 4],}', BAD, "the request: expected a key in quotes, found }"),
        (b'{"observation": [1, 2, 3, 4] "scores": true}', BAD, "the request: expected , or }, found a text"),
        (GOOD + b" {}", BAD, "the request: expected the end of the line, found an object"),
        (GOOD + b"\x00", BAD, "the request: expected the end of the line, found the byte 0x00"),
        (b'{"scores": 2}', BAD, "scores: expected true or false, found 2"),
        (b'{"scores": nullify}', BAD, "scores: expected true or false, found nullify"),
        (b'{"scores": 1, "scores": 1}', BAD, "the request: expected scores once, found it again"),
        (b'{"state": null}', BAD, 'the request: expected the keys observation, scores, found "state"'),
        (b'{"observation\\u0000": 1}', BAD, 'the request: expected the keys observation, scores, found "observation?"'),
        (b'{"obs\xff": 1}', BAD, "the request: expected a character of a key, in UTF-8, found the byte 0xff"),
        (b'{"\xed\xa0\x80": 1}', BAD, "the request: expected a character of a key, in UTF-8, found the byte 0xed"),
        (b'{"\xc0\x80": 1}', BAD, "the request: expected a character of a key, in UTF-8, found the byte 0xc0"),
        (b'{"a\tb": 1}', BAD, "the request: expected a character of a key, in UTF-8, found the byte 0x09"),
        (b'{"\\ud800": 1}', BAD, "the request: expected an escape sequence of JSON, found another one"),
        (b'{"\\x41": 1}', BAD, "the request: expected an escape sequence of JSON, found another one"),
        (b'{"observation', BAD, "the request: expected the quotes that end a key, found the end of the line"),
        (b'{"observation"', BAD, "the request: expected :, found the end of the line"),
        (seen(b"null"), BAD, "observation: expected an array of 4 values, found null"),
        (seen(b"[1, 2, 3]"), BAD, "observation: expected 4 values, found 3"),
        (seen(b"[]"), BAD, "observation: expected 4 values, found 0"),
        (seen(b"[1, 2, 3, 4, 5]"), BAD, "observation: expected 4 values, found more"),
        (b'{"observation": [1, 2, 3, 4', BAD, "observation: expected ], found the end of the line"),
        (seen(b"[[1, 2, 3, 4]]"), BAD, "observation[0]: expected a number, found an array"),
        (seen(b'[1, "2", 3, 4]'), BAD, "observation[1]: expected a number, found a text"),
        (seen(b"[1, true, 3, 4]"), BAD, "observation[1]: expected a number, found true"),
        *(
            (seen(b"[1, %s, 3]" % text), BAD, f"observation[1]: expected a number, found {text.decode()}")
            for text in NO_NUMBERS
        ),
        (seen(b"[1, NaN, 3, 4]"), NOT_FINITE, "observation[1]: expected a finite number, found NaN"),
        (seen(b"[-Infinity]"), NOT_FINITE, "observation[0]: expected a finite number, found -Infinity"),
        (seen(b"[1, 2, 1e39]"), NOT_FINITE, "observation[2]: expected a number that float32 can hold, found 1e39"),
    ],
    "normalised": [
        (seen(b"[-1e309]"), NOT_FINITE, "observation[0]: expected a number that float64 can hold, found -1e309"),
    ],
    "recurrent": [
        (seen(b"[3e38, 3e38, 3e38, 3e38]"), OVERFLOW, "the network's output is not finite"),
        (b'{"state": 1}', BAD, "state: expected {, found 1"),
        (b'{"state": {}}', BAD, "state: expected the keys hidden and cell, found none"),
        (b'{"state": {"h": 1}}', BAD, 'state: expected the keys hidden and cell, found "h"'),
        (b'{"state": {"cell": [[1]]}}', BAD, "state.cell[0]: expected 6 values, found 1"),
        (b'{"state": {"hidden": [NaN]}}', NOT_FINITE, "state.hidden[0]: expected a finite number, found NaN"),
    ],
    "masked": [
        (b'{"action_masks": [1, 0, 2]}', BAD, "action_masks[2]: expected true or false, found 2"),
    ],
    "dict": [
        (seen(b'{"gear": 1, "gear": 1}'), BAD, 'observation: expected observation["gear"] once, found it again'),
        (seen(b'{"gear": 1}'), BAD, 'observation: expected observation["camera"], found none'),
        (seen(b'{"gear": 1.0}'), BAD, 'observation["gear"]: expected an integer from 0 to 4, found 1.0'),
        (seen(b'{"gear": [1]}'), BAD, 'observation["gear"]: expected an integer from 0 to 4, found an array'),
        (seen(b'{"gear": 5}'), OUT_OF_RANGE, 'observation["gear"]: expected an integer from 0 to 4, found 5'),
        (seen(b'{"gear": -1}'), OUT_OF_RANGE, 'observation["gear"]: expected an integer from 0 to 4, found -1'),
        (
            seen(b'{"gear": 99999999999999999999999}'),
            OUT_OF_RANGE,
            'observation["gear"]: expected an integer from 0 to 4, found 99999999999999999999999',
        ),
        (seen(b'{"dials": [2, 4]}'), OUT_OF_RANGE, 'observation["dials"][1]: expected an integer from 0 to 3, found 4'),
        (
            seen(b'{"camera": [256]}'),
            OUT_OF_RANGE,
            'observation["camera"][0]: expected an integer from 0 to 255, found 256',
        ),
        (seen(b'{"camera": [[[0, 1]]]}'), BAD, 'observation["camera"][0][0]: expected 9 values, found 2'),
        (seen(b'{"switches": [[0, 1], 1]}'), BAD, 'observation["switches"][1]: expected an array of 2 values, found 1'),
        (seen(b'{"switches": [0, 1, [1]]}'), BAD, 'observation["switches"][2]: expected a number, found an array'),
        (seen(b'{"\\u00e9\\ud83d\\ude00": 1}'), BAD, "�"),
    ],
}
"""By kind: lines, the status that each is refused with, and what the message says."""


def test_what_is_refused_is_named_and_the_next_line_answered():
    for kind, cases in REFUSED.items():
        made = built(kind)
        good = json.dumps(REQUESTS.get(kind, json.loads(GOOD))).encode()
        answers = made.answers(b"\n".join(part for line, _, _ in cases for part in (line, good)))
        (expected,) = made.answers(good)
        assert len(answers) == 2 * len(cases)
        for (line, status, text), error, answer in zip(cases, answers[::2], answers[1::2], strict=True):
            assert error["status"] == status, line
            assert text in error["error"], line
            assert answer == expected, line


ACCEPTED = [
    ("dict", {"observation": {**PARTS, "camera": [0] * 72, "switches": [0, 1, 1, 0]}}),
    ("dict", {"observation": dict(reversed(PARTS.items()))}),
    ("dict", {"scores": False, "observation": PARTS}),
    ("dict", dict_with("gear", -0)),
    ("recurrent", {"observation": [1.5, -2e-3, 0.25, 1e30], "state": {**STATE, "cell": [[1.5] * 6] * 2}}),
]


@pytest.mark.parametrize(("kind", "request_"), ACCEPTED)
def test_other_forms_of_a_request_are_answered_alike(kind, request_):
    expected, answer = built(kind).ask(REQUESTS[kind], request_)
    assert answer["action"] == expected["action"]


def test_spaces_and_escapes_change_nothing():
    made = built("dict")
    plain = json.dumps(REQUESTS["dict"], ensure_ascii=False).encode()
    spaced = json.dumps(REQUESTS["dict"], indent=1).replace("\n", " \t\r ").encode()
    escaped = plain.replace(b'"observation"', b'"\\u006fbserv\\u0061tion"')
    expected, *others = made.answers(b"\n".join([plain, spaced, escaped, plain + b"\r"]))
    assert "action" in expected
    assert others == [expected] * 3


def test_blank_lines_are_not_answered():
    assert built("cartpole").answers(b"\n \n\t\r\n\n") == []
    assert built("cartpole").answers(b"") == []
    assert len(built("cartpole").answers(b"\n" + GOOD + b"\n\n" + GOOD)) == 2


@pytest.mark.parametrize("length", [-1, 0, 1, 70_000, 1_000_000])
@pytest.mark.parametrize("end", [b"\n", b""])
def test_lines_that_are_too_long_are_skipped_to_their_end(length, end):
    made = built("cartpole")
    most = made.program.line_most
    long = GOOD.ljust(most + length)
    answers = made.answers(GOOD + b"\n" + long + end) + made.answers(long + b"\n" + GOOD + end)
    good = {"action": answers[0]["action"]}
    if length <= 0:
        assert answers == [good] * 4
        return
    assert [answers[0], answers[3]] == [good] * 2
    assert answers[1] == answers[2]
    assert answers[1]["error"] == f"the request: expected at most {most} bytes in a line, found more"


def test_the_longest_requests_fit_a_line():
    for kind in ("dict", "recurrent", "masked"):
        made = built(kind)
        text = json.dumps(REQUESTS[kind], indent=1).replace("\n", " ")
        assert len(text) + 24 * text.count(",") < made.program.line_most


lines = st.one_of(
    st.binary(max_size=60).map(lambda data: data.replace(b"\n", b"")),
    st.lists(st.sampled_from(WORDS) | st.text(max_size=3), max_size=12).map(
        lambda words: "".join(words).replace("\n", "").encode("utf-8", "replace")
    ),
    st.tuples(st.sampled_from(sorted(REQUESTS)), st.integers(0, 300), st.integers(0, 4), st.binary(max_size=3)).map(
        lambda change: mutated(*change)
    ),
    st.just(GOOD),
)


def mutated(kind, at, removed, added):
    """
    A good request with something put in the place of a few bytes.
    """
    text = json.dumps(REQUESTS[kind]).encode()
    at = at % len(text)
    return (text[:at] + added + text[at + removed :]).replace(b"\n", b"")


def blank(line):
    return not line.strip(b" \t\r")


@RARELY
@given(st.sampled_from(sorted(REQUESTS)), st.lists(lines, max_size=20), st.booleans())
@example("dict", [b"\x00", b"{", b'{"observation": ', b"\xff" * 50], True)
def test_each_line_gets_one_answer_and_good_ones_the_right_one(kind, given_lines, ended):
    made = built(kind)
    good = json.dumps(REQUESTS[kind]).encode()
    (expected,) = made.answers(good)
    sent = [part for line in given_lines for part in (line, good)]
    answers = made.answers(b"\n".join(sent) + (b"\n" if ended else b""))
    kept = [line for line in sent if not blank(line)]
    assert len(answers) == len(kept)
    for line, answer in zip(kept, answers, strict=True):
        assert len({"action", "outputs", "error"} & set(answer)) == 1
        assert line != good or answer == expected


@RARELY
@given(st.lists(st.integers(1, 400), min_size=1, max_size=8))
def test_the_pieces_that_input_comes_in_do_not_matter(pieces):
    made = built("cartpole")
    text = (GOOD + b"\nnonsense\n\n") * 10
    whole = made.answers(text)
    process: Any = subprocess.Popen([made.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
    at = 0
    for piece in pieces:
        process.stdin.write(text[at : at + piece])
        at += piece
    found, _ = process.communicate(text[at:])
    assert [json.loads(line) for line in found.splitlines()] == whole


@cache
def numbers():
    """
    The program's functions that read and write numbers, as a library.
    """
    made = built("cartpole")
    folder = made.work / "numbers"
    folder.mkdir()
    parts = parts_in_c("main", "answer", "bench")
    for name in (*parts, f"{NAME}_json.h"):
        shutil.copy(made.work / name, folder)
    shutil.copy(Path(__file__).with_name("numbers.c"), folder)
    here = machines.find(None)
    objects = [toolchain.compile_c(folder, str(part), here, "-fvisibility=default") for part in ("numbers.c", *parts)]
    toolchain.link(folder, "numbers.so", objects, here, "-shared")
    library = ctypes.CDLL(str(folder / "numbers.so"))
    library.read_float.restype, library.read_double.restype = ctypes.c_float, ctypes.c_double
    library.written.argtypes = (ctypes.c_double, ctypes.c_int, ctypes.c_char_p)
    return library


def written(value, digits):
    text = ctypes.create_string_buffer(64)
    numbers().written(value, digits, text)
    return text.value.decode("ascii")


doubles = st.floats(allow_nan=False, allow_infinity=False)
singles = st.floats(allow_nan=False, allow_infinity=False, width=32)
numerals = st.from_regex(r"-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,2})?", fullmatch=True)


@UNHURRIED
@given(doubles)
@example(5e-324)
@example(-1.7976931348623157e308)
@example(2.2250738585072011e-308)
@example(9.5)
@example(0.1)
@example(-0.0)
def test_numbers_are_written_as_printf_does_and_as_json_has_them(value):
    for digits in (9, 17):
        text = written(value, digits)
        assert float(text) == float(f"{value:.{digits}g}")
        assert len(text) <= 25
        assert math.copysign(1, float(text)) == math.copysign(1, value)
        assert isinstance(json.loads(text), float)
    assert float(written(value, 17)) == value


@UNHURRIED
@given(singles)
@example(1.401298464324817e-45)
@example(3.4028234663852886e38)
@example(16777216.0)
def test_what_is_written_is_read_as_the_same_float(value):
    text = written(value, 9)
    assert np.float32(text) == np.float32(value)
    assert numbers().read_float(text.encode() + b"\n", len(text)) == value


@UNHURRIED
@given(numerals)
@example("1.00000005960464477540")  # just above the middle of two float32, and not of two that were float64 before
@example("0.500000000000000166533453693773481063544750213623046875")
@example("2.2250738585072011e-308")
@example("1" + "0" * 38)
def test_numbers_are_read_as_the_nearest_there_is(text):
    exact = Fraction(text)
    assert numbers().read_double(text.encode() + b"\n", len(text)) == float(text)
    found = numbers().read_float(text.encode() + b"\n", len(text))
    if math.isnan(found):
        assert abs(exact) > Fraction(3.4028234e38)
        return
    error = abs(Fraction(found) - exact)
    for neighbour in (np.nextafter(np.float32(found), np.float32(side)) for side in (-np.inf, np.inf)):
        assert not np.isfinite(neighbour) or error <= abs(Fraction(float(neighbour)) - exact)


@needs_clang
@pytest.mark.parametrize("kind", ["dict", "recurrent"])
def test_the_program_is_sound_under_sanitizers(kind):
    made = built(kind)
    target = made.work / "sanitized"
    sanitized(made, target, parts_in_c(), "address", "undefined", "float-cast-overflow")
    good = json.dumps(REQUESTS[kind]).encode()
    given_lines = [line for line, _, _ in REFUSED[kind]] + [
        good.ljust(200_000),
        b"x" * 200_000,
        b"\xff\x00",
    ]
    text = b"\n".join(part for line in given_lines for part in (line, good))
    done = subprocess.run([target], input=text, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == made.run(text).stdout
    for arguments in (["--bench", "10"], ["--help"], ["--version"]):
        done = subprocess.run([target, *arguments], capture_output=True, timeout=60, check=False)
        assert (done.returncode, done.stderr) == (0, b"")


@needs_clang
@pytest.mark.slow
@pytest.mark.parametrize("kind", chosen(fuzz_exe.KINDS, "dict", "recurrent"))
def test_a_fuzzer_finds_nothing(kind, tmp_path):
    found = fuzz_exe.fuzz(kind, fuzz_exe.SECONDS, tmp_path / "corpus")
    assert not found.finding
    assert found.executions > 500
    assert found.covered > 200
