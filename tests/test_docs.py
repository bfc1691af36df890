"""
The generated tables: checked, renewed, and refused where they are not well-formed. The examples: run.
"""

import importlib
import importlib.util
import io
import re
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from compiler.cli import cli
from compiler.cli.common import REFUSED
from compiler.frontends.sb3.families import POLICIES
from compiler.ops import OPS
from compiler.options import BuildOptions
from tests.thorough import chosen

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "docs" / f"{name}.md" for name in ("from-sb3", "from-pytorch", "kernels")]
ALGORITHMS = {
    "stable_baselines3": ("A2C", "DDPG", "DQN", "PPO", "SAC", "TD3"),
    "sb3_contrib": ("ARS", "CrossQ", "MaskablePPO", "QRDQN", "RecurrentPPO", "TQC", "TRPO"),
}
NUMBER = re.compile(r"[-+]?\d[\d,]*(\.\d+)?(e[-+]\d+)?")
RARE = re.compile(r"; \d+ (near ties|ill-conditioned|beyond float32)[^;]*?(?=;| speed:|$)")
"""What may differ from what the page shows of a command: times, errors, counts; and what depends on rounding."""


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
    assert readme.endswith("|\n<!-- end of generated -->\n\nThe end.\n")
    guide = (documents / "docs" / "guide.md").read_text()
    assert all(f"\n| `{name}` |" in guide for name in OPS)
    assert all(f"\n| `--{name.replace('_', '-')}` |" in guide for name in vars(BuildOptions()))


def test_stale_rows_are_found(generate, documents, capsys):
    generate.main(["--write"], documents)
    readme = documents / "README.md"
    readme.write_text(readme.read_text().replace("PPO", "ppo"))
    capsys.readouterr()
    assert generate.main(["--check"], documents) == 1
    assert "-| ppo, A2C, TRPO | `MlpPolicy`," in capsys.readouterr().out


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


def test_a_row_is_a_line(generate):
    assert generate.table(["a"], [["of two\nlines"]]) == "| a |\n| --- |\n| of two lines |\n"


def test_the_table_has_every_policy_of_sb3_by_its_own_name(generate):
    pytest.importorskip("stable_baselines3")
    theirs: dict[tuple[str, str], str] = {}
    for package, names in ALGORITHMS.items():
        for name in names:
            for alias, policy in getattr(importlib.import_module(package), name).policy_aliases.items():
                theirs[name, alias] = f"{policy.__module__}.{policy.__name__}"
    ours = {
        (name, generate.alias(path)): path for path, policy in POLICIES.items() for name in policy.family.algorithms
    }
    assert ours == theirs


@dataclass(frozen=True)
class Block:
    """
    A fenced block of a page.
    """

    language: str
    text: str
    line: int
    """Where the page has its first line."""
    page: Path


def sections(page: Path) -> dict[str, list[Block]]:
    """
    The blocks by the second-level title that they stand below.
    """
    found: dict[str, list[Block]] = {}
    title, language, first, lines = "", "", 0, list[str]()
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        if language and line == "```":
            found.setdefault(title, []).append(Block(language, "\n".join([*lines, ""]), first, page))
            language = ""
        elif language:
            lines.append(line)
        elif line.startswith("```"):
            language, first, lines = line.removeprefix("```"), number + 1, []
        elif line.startswith("## "):
            title = line.removeprefix("## ")
    return found


EXAMPLES = {f"{page.stem}: {title}": blocks for page in PAGES for title, blocks in sections(page).items()}
LONG = "from-pytorch: A large network"
"""It takes a minute."""


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """
    An empty working directory, from which packages can be imported.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.partition(".")[0] == "generated":
            del sys.modules[name]


@pytest.mark.slow
@pytest.mark.parametrize("title", chosen(EXAMPLES, *(title for title in EXAMPLES if title != LONG)))
def test_the_examples_run_and_print_what_the_page_shows(elsewhere, title):
    pytest.importorskip("stable_baselines3")
    blocks = EXAMPLES[title]
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for block, following in zip(blocks, [*blocks[1:], None], strict=True):
        if block.language == "python":
            printed = run_python(block, namespace)
            shown = following.text if following is not None and following.language == "text" else ""
            assert printed == shown, f"{block.page}:{block.line}"
        elif block.language == "console":
            run_console(block)


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))], ids=lambda path: path.name
)
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\((?!https?:)([^)]+)\)", page.read_text(encoding="utf-8")):
        name, _, title = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        assert not title or title in titles(target), link


def titles(page: Path) -> list[str]:
    """
    The titles of a page as GitHub makes them the ends of links.
    """
    found = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return [re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in found]


def test_every_block_of_the_page_is_run_or_compared():
    assert {block.language for blocks in EXAMPLES.values() for block in blocks} == {"python", "text", "console"}


def run_python(block: Block, namespace: dict[str, Any]) -> str:
    """
    What a block prints. Tracebacks have the lines of the page.
    """
    code = compile("\n" * (block.line - 1) + block.text, str(block.page), "exec")
    with redirect_stdout(io.StringIO()) as printed:
        exec(code, namespace)
    return printed.getvalue()


def run_console(block: Block) -> None:
    """
    Runs the commands of a block; what they print must be what the page shows, but for its numbers.
    """
    for part in block.text.split("$ policyc ")[1:]:
        command, _, shown = part.partition("\n")
        result = CliRunner().invoke(cli, command.split())
        assert unnumbered(result.output) == unnumbered(shown), command
        assert result.exit_code == (REFUSED if shown.startswith("policyc: ") else 0), command


def unnumbered(text: str) -> str:
    """
    A text without its numbers, however it is folded.
    """
    return NUMBER.sub("#", RARE.sub("", " ".join(text.split())))
