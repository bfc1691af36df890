"""
The tables of supported operations: made of the translations and of what these say when they refuse.
"""

import re

import pytest

from compiler.frontends.onnx_file import translations as onnx_translations
from compiler.frontends.torch_export import translations as torch_translations
from compiler.frontends.torch_export.translate_reductions import MOST_STEPS
from docs import operations
from tests.test_docs import generate  # noqa: F401 (a fixture)


def cells(rows: operations.Rows) -> set[str]:
    return {name for _, names, _ in rows for name in re.findall(r"`(\w+)`", names)}


def test_all_operators_are_listed():
    known = {str(op).removeprefix("aten.").partition(".")[0] for op in torch_translations.TRANSLATIONS}
    assert cells(operations.torch_rows()) == known
    assert cells(operations.onnx_rows()) == set(onnx_translations.TRANSLATIONS)


def test_refusals_are_found_in_what_a_translation_calls():
    table = {str(op): made for op, made in torch_translations.TRANSLATIONS.items()}
    assert operations.refusals(table["aten.conv1d.padding"]) == operations.refusals(table["aten.conv2d.default"])
    text = f"takes one or two spatial dims, found an input of dims {operations.PLACEHOLDER}"
    assert text in operations.refusals(table["aten.conv1d.default"])
    (text,) = operations.refusals(table["aten.cumprod.default"])
    assert text == f"is compiled for {MOST_STEPS} elements at most, found {operations.PLACEHOLDER}"
    assert operations.refusals(table["aten.exp.default"]) == []


def test_a_table_whose_library_is_missing_stays_as_it_is(generate, monkeypatch, capsys):  # noqa: F811
    def missing() -> str:
        raise ImportError("No module named 'torch'")

    monkeypatch.setitem(generate.GENERATORS, "ops", missing)
    text = "<!-- generated: ops -->\nas it was\n<!-- end of generated -->\n"
    assert generate.renewed(text, "some.md") == text
    assert "some.md: ops is not checked: No module named 'torch'" in capsys.readouterr().out


def test_an_unknown_table_is_still_refused(generate):  # noqa: F811
    with pytest.raises(ValueError, match="nothing generates 'magic'"):
        generate.renewed("<!-- generated: magic -->\n<!-- end of generated -->\n", "some.md")
