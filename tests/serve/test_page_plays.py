"""
The page plays games of its own: the policy balances and swings up, and is pushed.
"""

import json
import re

import numpy as np
import pytest

from tests.serve.serving import Running

pytest.importorskip("granian", reason="the extra `serve` is not installed")
pytest.importorskip("wasmtime", reason="wasmtime is not installed")
pytest.importorskip("ziglang", reason="ziglang is not installed")
pytest.importorskip("playwright", reason="playwright is not installed")
from playwright.sync_api import (
    Browser,
    Page,
    expect,
)

from tests.serve.browsing import needs_browser, visit, watched

TEN_SECONDS = re.compile(r"^[1-9]\d+\.\d s$")


@needs_browser
@pytest.mark.parametrize("way", ["wasm", "predict"])
def test_the_policy_balances_for_ten_seconds(page: Page, server: Running, way: str) -> None:
    visit(page, server, "cartpole")
    expect(page.locator(".way")).to_have_attribute("data-way", "wasm")
    assert page.locator(".readings [data-name=time] dd").text_content() == "0.0 s"  # less motion was asked for
    steps: list[str] = []
    page.on("request", lambda request: steps.append(request.url) if request.url.endswith("/predict") else None)
    page.get_by_label("Speed").select_option(index=3)
    if way == "predict":
        page.get_by_label("Played", exact=True).select_option("by the server")
        expect(page.locator(".way")).to_have_attribute("data-way", "predict")
    page.get_by_role("button", name="Play").click()
    expect(page.locator(".readings [data-name=time] dd")).to_have_text(TEN_SECONDS, timeout=20_000)
    page.get_by_role("button", name="Pause").click()
    assert page.locator(".readings [data-name=falls] dd").text_content() == "0"
    expect(page.locator(".told")).to_contain_text("500 steps")
    expect(page.locator(".way")).to_contain_text("s for one action")
    expect(page.locator(".way")).to_contain_text("WebAssembly" if way == "wasm" else "/predict")
    assert (len(steps) < 10) if way == "wasm" else (len(steps) > 490)


@needs_browser
def test_a_pendulum_swings_up_through_the_server(page: Page, server: Running) -> None:
    visit(page, server, "pendulum")
    expect(page.locator(".way")).to_have_attribute("data-way", "predict")
    page.get_by_label("Speed").select_option(index=3)
    page.get_by_role("button", name="Play").click()
    expect(page.locator(".readings [data-name=time] dd")).to_have_text(TEN_SECONDS, timeout=20_000)
    page.get_by_role("button", name="Pause").click()
    angle = page.locator(".readings [data-name='from upright'] dd").text_content() or ""
    assert abs(float(angle.rstrip("°"))) < 15


@needs_browser
@pytest.mark.parametrize(("key", "sign", "said"), [("ArrowLeft", -1, "left"), ("ArrowRight", 1, "right")])
def test_arrow_keys_push(page: Page, server: Running, key: str, sign: int, said: str) -> None:
    visit(page, server, "cartpole")
    expect(page.locator(".way")).to_have_attribute("data-way", "wasm")
    page.get_by_label("Strength of a push").focus()
    page.keyboard.press("End")
    for _ in range(2):
        page.locator("canvas.stage").focus()
        page.keyboard.press(key)
        expect(page.locator(".told")).to_have_text(f"Pushed to the {said}.")
        for _ in range(5):
            page.get_by_role("button", name="Step").click()
    expect(page.locator(".readings [data-name=time] dd")).to_have_text("0.2 s")
    place = page.locator(".readings [data-name=position] dd").text_content() or ""
    assert sign * float(place.removesuffix(" m")) > 0.06  # where it began it was 0.05 away at most


@needs_browser
def test_a_strong_wind_makes_it_fall(page: Page, server: Running) -> None:
    visit(page, server, "cartpole")
    page.get_by_label("Gusts").focus()
    page.keyboard.press("End")
    page.get_by_label("Wind").focus()
    page.keyboard.press("End")
    page.get_by_label("Strength of a push").focus()
    page.keyboard.press("End")
    page.get_by_label("Speed").select_option(index=3)
    page.locator("canvas.stage").focus()
    page.keyboard.press(" ")
    for _ in range(200):
        page.keyboard.press("ArrowRight")
        if page.locator(".readings [data-name=falls] dd").text_content() != "0":
            break
    expect(page.locator(".readings [data-name=falls] dd")).not_to_have_text("0")
    expect(page.locator(".told")).to_contain_text("fell after")


@needs_browser
def test_the_dynamics_are_those_of_gymnasium(page: Page, server: Running) -> None:
    gymnasium = pytest.importorskip("gymnasium")
    visit(page, server, "cartpole")
    script = """async ([title, state, actions]) => {
        const { worlds } = await import("/static/worlds.js");
        const world = worlds[title];
        return actions.map((action) => {
            state = world.step(state, action);
            return [state, world.observe(state), world.fell?.(state) ?? false];
        });
    }"""
    rng = np.random.default_rng(5)
    for title, actions in {
        "CartPole": rng.integers(0, 2, 60).tolist(),
        "Pendulum": rng.uniform(-3, 3, (200, 1)).tolist(),
    }.items():
        world = gymnasium.make({"CartPole": "CartPole-v1", "Pendulum": "Pendulum-v1"}[title]).unwrapped
        world.reset(seed=7)
        found = page.evaluate(script, [title, list(map(float, world.state)), actions])
        fallen = 0
        for action, (state, observation, fell) in zip(actions, found, strict=True):
            right, _, terminated, _, _ = world.step(action if title == "CartPole" else np.array(action))
            np.testing.assert_allclose(state, world.state, rtol=1e-12, atol=1e-12)
            np.testing.assert_allclose(observation, right, rtol=1e-6, atol=1e-7)
            assert terminated == fell
            fallen += fell
            if fell:
                break
        assert fallen == (title == "CartPole")


@needs_browser
def test_it_plays_by_itself_in_the_dark(browser: Browser, server: Running) -> None:
    with browser.new_context(color_scheme="dark", reduced_motion="no-preference") as context:
        for page in watched(context):
            visit(page, server, "cartpole")
            red, green, blue = json.loads(
                "[" + page.evaluate("getComputedStyle(document.body).backgroundColor").strip("rgb()") + "]"
            )
            assert max(red, green, blue) < 40
            assert page.evaluate("getComputedStyle(document.body).color") == "rgb(236, 238, 250)"
            expect(page.locator(".readings [data-name=time] dd")).to_have_text(re.compile(r"^([1-9]|0\.[5-9])"))
