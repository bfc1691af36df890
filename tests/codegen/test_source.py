"""
Plain values as source, laid out as a formatter does.
"""

import ast
import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from compiler.codegen.source import WIDTH, call, python

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=9)
        | st.lists(inner, max_size=9).map(tuple)
        | st.dictionaries(st.text(max_size=20), inner, max_size=6)
    ),
    max_leaves=25,
)


def same(one: object, other: object) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return repr(one) == repr(other)
    if isinstance(one, dict) and isinstance(other, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and type(one) is type(other):
        assert isinstance(other, list | tuple)
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and one == other


@given(VALUES)
def test_a_value_is_what_its_source_says(value):
    source = python(value, before=len("SPEC: Final = "))
    assert source.isascii()
    ast.parse(f"SPEC: Final = {source}\n")
    found = eval(source, {"__builtins__": {"float": float}})  # of `python`'s own making
    assert same(found, value)


def test_the_layout_is_the_formatters():
    values = [
        {"name": "x" * number, "shape": (number,), "low": [-1.5] * number, "nested": {"a": [], "b": {"c": [0.1] * 30}}}
        for number in range(1, 90)
    ]
    lines = [f"VALUE_{number}: Final = " for number in range(len(values))]
    source = "".join(f"{line}{python(value, before=len(line))}\n" for line, value in zip(lines, values, strict=True))
    assert max(map(len, source.splitlines())) <= WIDTH
    assert formatted(source) == source


def test_calls_are_laid_out_as_the_formatter_does():
    calls = [call("f" * 20, ["a" * number] * arguments) for number in range(1, 40) for arguments in range(1, 9)]
    source = "def calls() -> None:\n" + "".join(f"    {one}\n" for one in calls)
    assert formatted(source) == source


def formatted(source: str) -> str:
    command = [sys.executable, "-m", "ruff", "format", "--isolated", "--line-length", str(WIDTH), "-"]
    return subprocess.run(command, input=source, capture_output=True, text=True, check=True).stdout
