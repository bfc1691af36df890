"""
The generated tables: checked, renewed, and refused where they are not well-formed.
"""

import importlib.util
import sys
from pathlib import Path

import pytest

from compiler.ops import OPS
from compiler.options import BuildOptions

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def generate():
    path = list(sys.path)
    specification = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    sys.path[:] = path
    return module


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    """
    A README with one table and a guide with two, none of them filled.
    """
    (tmp_path / "docs").mkdir()
    block = "<!-- generated: {} -->\n<!-- end of generated -->\n"
    (tmp_path / "README.md").write_text("# Title\n\n" + block.format("policies") + "\nThe end.\n")
    (tmp_path / "docs" / "guide.md").write_text(block.format("ops") + "between\n" + block.format("options"))
    return tmp_path


def test_the_documents_are_current(generate, capsys):
    assert generate.main(["--check"]) == 0, capsys.readouterr().out


def test_tables_are_written_and_then_current(generate, documents, capsys):
    assert generate.main(["--check"], documents) == 1
    shown = capsys.readouterr().out
    assert "--- README.md" in shown
    assert "+| `tanh` | nn.Tanh |  |" in shown
    assert shown.endswith(f"{generate.ACCEPT}\n")
    assert generate.main(["--write"], documents) == 0
    assert generate.main(["--check"], documents) == 0
    readme = (documents / "README.md").read_text()
    assert readme.startswith("# Title\n\n<!-- generated: policies -->\n| algorithms |")
    assert readme.endswith(".\n<!-- end of generated -->\n\nThe end.\n")
    guide = (documents / "docs" / "guide.md").read_text()
    assert all(f"\n| `{name}` |" in guide for name in OPS)
    assert all(f"\n| `--{name.replace('_', '-')}` |" in guide for name in vars(BuildOptions()))


def test_stale_rows_are_found(generate, documents, capsys):
    generate.main(["--write"], documents)
    readme = documents / "README.md"
    readme.write_text(readme.read_text().replace("PPO", "ppo"))
    capsys.readouterr()
    assert generate.main(["--check"], documents) == 1
    assert "-| ppo, A2C, TRPO | `ActorCriticPolicy` |" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<!-- generated: magic -->\n<!-- end of generated -->\n", "README.md: nothing generates 'magic'"),
        ("<!-- generated: ops -->\n", "README.md: a generated block has no end"),
        (
            "<!-- generated: ops -->\n<!-- generated: options -->\n<!-- end of generated -->\n",
            "README.md: the block 'ops' has no end",
        ),
    ],
)
def test_broken_blocks_are_refused(generate, tmp_path, capsys, text, message):
    (tmp_path / "README.md").write_text(text)
    assert generate.main(["--write"], tmp_path) == 1
    assert message in capsys.readouterr().out
    assert (tmp_path / "README.md").read_text() == text


def test_cells_are_escaped(generate):
    assert generate.table(["a"], [["x | y"]]) == "| a |\n| --- |\n| x \\| y |\n"
