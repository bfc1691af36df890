"""
Browsers for tests of the page: what they look at may fail nowhere, and ask no other server.
"""

import json
import os
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    expect,
    sync_playwright,
)

from tests.serve.serving import Running

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium in the path, and CHROMIUM is not set")

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]


@contextmanager
def launched() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


def watched(context: BrowserContext) -> Iterator[Page]:
    page = context.new_page()
    failures: list[str] = []
    said: list[ConsoleMessage] = []
    page.on("pageerror", lambda error: failures.append(str(error)))
    page.on("console", lambda message: said.append(message))
    hosts: set[str] = set()
    page.on("request", lambda request: hosts.add(request.url.split("/")[2].partition(":")[0]))
    yield page
    # A status of 4xx is an error of the console too: those that a test brings about are not the page's.
    failures += [message.text for message in said if message.type == "error" and "status of 4" not in message.text]
    assert failures == []
    assert hosts <= {"127.0.0.1", ""}


def visit(page: Page, server: Running, model: str) -> None:
    page.goto(f"{server.url}/#{model}")
    expect(page.locator("h1")).to_have_text(model)


def asked(server: Running, model: str, content: dict[str, Any]) -> dict[str, Any]:
    """
    What the server answers without any page.
    """
    data = json.dumps(content).encode()
    with urllib.request.urlopen(f"{server.url}/models/{model}/predict", data) as answer:
        return json.load(answer)
