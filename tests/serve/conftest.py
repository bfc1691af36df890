"""
What tests of the page need: a browser, a build for it, and a server of two games.

playwright is imported where a browser is wanted: other tests of this folder do without.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import compiler
from tests.serve.serving import Running, serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page


@pytest.fixture(scope="module")
def wasm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("web")
    return compiler.build("model/cartpole.zip", out=out, target="wasm", verify_observations=5).path


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, wasm: Path) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("served")
    with serving(folder, "generated/cartpole", "generated/pendulum", "--wasm", wasm) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    from tests.serve.browsing import launched

    with launched() as browser:
        yield browser


@pytest.fixture
def context(browser: "Browser") -> "Iterator[BrowserContext]":
    """
    Of someone who asked for less motion: nothing plays by itself.
    """
    with browser.new_context(reduced_motion="reduce") as context:
        yield context


@pytest.fixture
def page(context: "BrowserContext") -> "Iterator[Page]":
    """
    A page whose scripts may fail nowhere, and which may ask no other server.
    """
    from tests.serve.browsing import watched

    yield from watched(context)
