"""
The guide to serving: its files are written and its commands are run, in order, in one folder, against real servers.
"""

import shutil
from collections.abc import Callable, Iterator

import pytest

from tests.serving_place import Place, copy_agents, environment_of
from tests.test_docs import ROOT, sections

pytest.importorskip("granian", reason="the extra `serve` is not installed")

PAGE = ROOT / "docs" / "serving.md"
EXAMPLES = sections(PAGE)
BEFORE = ("The first minute", "Agents of other kinds")
"""Sections that build what all others serve."""
TOOLS = ("node", "openssl")
"""Programs that a section needs if it names them."""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Iterator[Place]:
    """
    A working directory with the agents.
    """
    pytest.importorskip("ziglang", reason="ziglang is not installed")
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    folder = tmp_path_factory.mktemp("work")
    copy_agents(folder)
    place = Place(folder, environment_of(tmp_path_factory.mktemp("programs") / "bin"))
    yield place
    place.stop()


@pytest.fixture(scope="module")
def performed(place) -> Callable[[str], None]:
    """
    Performs a section, unless that was done.
    """
    done: set[str] = set()

    def perform(title: str) -> None:
        if title not in done:
            done.add(title)
            for block in EXAMPLES[title]:
                place.perform(block)
            place.stop()

    return perform


@pytest.mark.parametrize("title", EXAMPLES)
def test_the_examples_print_what_the_page_shows(performed, title):
    pytest.importorskip("stable_baselines3", reason="Stable-Baselines3 is not installed")
    text = "".join(block.text for block in EXAMPLES[title])
    for tool in TOOLS:
        if f"$ {tool} " in text and shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    if "tritonclient" in text:
        pytest.importorskip("tritonclient", reason="tritonclient is not installed")
    for before in BEFORE:
        performed(before)
    performed(title)


def test_the_readme_shows_what_is_answered(performed, place):
    performed(BEFORE[0])
    (block,) = sections(ROOT / "README.md")["Serve it"]
    place.serve("policyc serve agents/cartpole &", "", "README.md")
    place.perform(block)
    place.stop()


def test_every_block_of_the_page_is_a_file_or_is_run():
    blocks = [block for section in EXAMPLES.values() for block in section]
    assert {block.language for block in blocks} == {"python", "js", "yaml", "console"}
