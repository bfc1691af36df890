"""
Texts of a checkpoint on their way into a generated file.
"""

import ast
import builtins
import keyword
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler.codegen.naming import BLOCK, LONGEST, c_literal, comment, kernel_names, literal

HOSTILE = [
    "",
    " ",
    "'",
    '"',
    '"""',
    "'''\\",
    "\\",
    "a\\",
    "a\nb",
    "a\r\nimport os",
    "\0",
    "\u2028",
    "\u2029x",
    "{{ 7 * 7 }}",
    "{% include 'x' %}",
    "{# x #}",
    '"); import os; os.system("true"); ("',
    '"""\nimport os\n"""',
    "__import__('os').system('true')",
    "# type: ignore",
    "\N{CYRILLIC SMALL LETTER A}ction_net",
    "\N{KELVIN SIGN}",
    "\N{LATIN CAPITAL LETTER I WITH DOT ABOVE}",
    "\N{RIGHT-TO-LEFT OVERRIDE}abc",
    "\ud800",
    "\U0010ffff",
    "x" * 200_000,
    "\0" * 200_000,
    "class",
    "match",
    "None",
    "print",
    "__name__",
    "0",
    "7.weight",
    "-",
    "x_block",
]
SHORT = [text for text in HOSTILE if len(text) < 1000]
LONG = [text for text in HOSTILE if len(text) >= 1000]
TEXTS = st.sampled_from(SHORT) | st.text(max_size=30) | st.text("aB_0.- ", max_size=6)


@given(st.lists(TEXTS, max_size=12), st.sets(st.sampled_from(["tanh", "load", "np", "x_block"])))
def test_kernel_names_are_distinct_ascii_identifiers(texts, reserved):
    names = kernel_names(texts, reserved)
    assert len(names) == len(texts)
    with_blocks = [*names, *(name + BLOCK for name in names)]
    assert len(set(with_blocks)) == 2 * len(texts)
    taken = {*reserved, *keyword.kwlist, *keyword.softkwlist, *dir(builtins)}
    for name in with_blocks:
        assert re.fullmatch(r"[a-z][a-z0-9_]*", name, re.ASCII)
        assert name not in taken
        assert len(name) < LONGEST + 20


@pytest.mark.parametrize(
    ("texts", "names"),
    [
        (["mlp_extractor.policy_net.0"], ["mlp_extractor_policy_net_0"]),
        (["a.b", "a_b", "a/b", "A.B"], ["a_b", "a_b_2", "a_b_3", "a_b_4"]),
        (["0", "", "!", "0.weight"], ["layer_0", "layer", "layer_2", "layer_0_weight"]),
        (["x", "x_block"], ["x", "x_block_2"]),
        (["x_block", "x"], ["x_block", "x_2"]),
        (["x_2", "x", "x"], ["x_2", "x", "x_3"]),
        (["class", "print", "match", "tanh"], ["class_2", "print_2", "match_2", "tanh_2"]),
        (["\N{CYRILLIC SMALL LETTER A}ction", "ction"], ["ction", "ction_2"]),
    ],
)
def test_kernel_names(texts, names):
    assert kernel_names(texts, {"tanh"}) == names


@given(TEXTS)
def test_a_literal_is_the_text_and_nothing_else(text):
    found = literal(text)
    assert ast.literal_eval(found) == text
    assert re.fullmatch(r"[ -~]*", found)
    (statement,) = ast.parse(f"x = {found}").body
    assert isinstance(statement, ast.Assign)
    assert isinstance(statement.value, ast.Constant)
    assert "\\N" not in found


@pytest.mark.parametrize("text", LONG, ids=lambda text: ascii(text[0]))
def test_long_texts(text):
    assert ast.literal_eval(literal(text)) == text
    assert len(comment(text)) <= LONGEST
    assert all(len(name) < LONGEST + 20 for name in kernel_names([text, text, f"{text}."]))


@given(TEXTS)
def test_a_comment_can_end_nothing(text):
    found = comment(text)
    assert re.fullmatch(r"[A-Za-z0-9._:/ -]+", found, re.ASCII)
    assert found == found.strip()
    assert len(found) <= LONGEST
    assert ast.parse(f'"""\n{found}.\n"""  # {found}\n').body


def test_comments_keep_what_names_usually_are():
    for text in ("mlp_extractor.policy_net.0", "HalfCheetah-v3.zip", "runs/a b.zip"):
        assert comment(text) == text
    assert comment("") == comment(" ") == "unnamed"


@given(st.text() | st.sampled_from(HOSTILE))
def test_a_literal_of_c_is_printable_and_ends_where_the_text_does(text):
    found = c_literal(text)
    assert re.fullmatch(r'"([^"\\?\x00-\x1f\x7f-\U0010ffff]|\\["\\?]|\\[0-3][0-7][0-7])*"', found)
    inside = found[1:-1].replace("\\?", "?")
    assert ast.literal_eval(f'b"{inside}"') == text.encode("utf-8", "surrogatepass")
