"""
The page at `/` in a browser: it shows what is served, asks it, plays it, and works for those without a mouse.
"""

import base64
import json
import re
import struct
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compiler.ir import Box, DType
from tests import general_models, policies
from tests.serve.packages import place_all
from tests.serve.serving import Running, serving

pytest.importorskip("granian", reason="the extra `serve` is not installed")
pytest.importorskip("wasmtime", reason="wasmtime is not installed")
pytest.importorskip("ziglang", reason="ziglang is not installed")
pytest.importorskip("playwright", reason="playwright is not installed")
from playwright.sync_api import (
    Browser,
    FilePayload,
    Page,
    Request,
    expect,
)

from tests.serve.browsing import asked, needs_browser, visit, watched


def vector(size: int) -> Box:
    return Box(DType.FLOAT32, np.full(size, -1, np.float32), np.full(size, 1, np.float32))


POLICIES = {
    "sees": policies.observing(policies.IMAGE),
    "parts": policies.observing(policies.PARTS),
    "remembers": policies.recurrent(),
    "restricted": policies.masked(),
    "sequences": general_models.sentences(),
    "long": policies.observing(vector(100)),
    "huge": policies.observing(vector(4100)),
}
CARTPOLE = ("cart position", "cart velocity", "pole angle", "pole angular velocity")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, wasm: Path) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("served")
    others = place_all(folder, POLICIES)
    with serving(folder, "generated/cartpole", "generated/pendulum", *others, "--wasm", wasm) as running:
        yield running


def body_of(request: Request) -> dict[str, Any]:
    return json.loads(request.post_data or "")


def predict(page: Page, model: str) -> dict[str, Any]:
    """
    What the page sends at the button.
    """
    with page.expect_request(f"**/models/{model}/predict") as request:
        page.get_by_role("button", name="Predict").click()
    return body_of(request.value)


def png(pixels: np.ndarray) -> bytes:
    """
    A real PNG of (height, width, 3) bytes.
    """
    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    chunks = {
        b"IHDR": struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0),
        b"IDAT": zlib.compress(rows),
        b"IEND": b"",
    }
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks.items()
    )


@needs_browser
def test_it_shows_what_the_model_is(page: Page, server: Running) -> None:
    visit(page, server, "cartpole")
    expect(page.locator("#kind")).to_have_text("ActorCriticPolicy from cartpole.zip")
    expect(page.locator("#facts")).to_contain_text("float32 [4]")
    expect(page.locator("#facts")).to_contain_text("4,610")
    expect(page.locator("#facts .good")).to_contain_text("1,068 observations")
    expect(page.locator("#about")).to_contain_text("1d31d2ca1cdded745582c1f23f37eb9be3259f3103f4d1bbd9442903d7f25edc")
    expect(page.locator("#about")).to_contain_text("actions are the same")
    picture = page.locator("svg.layers")
    assert picture.locator("text.op").all_text_contents() == ["input", "flatten", "dense", "dense", "dense", "argmax"]
    assert picture.locator("text.shape").all_text_contents() == ["4", "4", "64", "64", "2", "1"]
    assert picture.locator("path.edges").count() == 3
    assert "mlp_extractor.policy_net.0" in (page.locator("table").text_content() or "")


@needs_browser
def test_the_picture_shows_what_skips_layers(page: Page, server: Running) -> None:
    visit(page, server, "pendulum")
    assert page.locator("svg.layers path.around").count() == 1  # what the mean and the deviation are made of


@needs_browser
def test_the_form_asks_for_an_action(page: Page, server: Running) -> None:
    visit(page, server, "cartpole")
    given = [0.5, -1.25, -0.05, 2.0]
    for name, value in zip(CARTPOLE, given, strict=True):
        page.get_by_role("spinbutton", name=name, exact=True).fill(str(value))
    sent = predict(page, "cartpole")
    assert sent == {"observation": given, "details": True}
    right = asked(server, "cartpole", sent)
    expect(page.locator("#answer .action")).to_contain_text(str(right["action"]))
    shares = [f"{share * 100:.1f} %" for share in right["probabilities"]]
    expect(page.locator("#answer .bars .value")).to_have_text(shares)
    expect(page.locator("#answer .bars li.chosen .label")).to_have_text(["push left", "push right"][right["action"]])
    expect(page.locator("#answer .time")).to_contain_text("in the predictor")
    page.get_by_text("The same with curl").click()
    expect(page.locator("pre.command")).to_contain_text(f"curl {server.url}/models/cartpole/predict")


@needs_browser
def test_a_slider_asks_as_it_moves_within_the_bounds_of_the_space(page: Page, server: Running) -> None:
    visit(page, server, "cartpole")
    slider = page.get_by_role("slider", name="cart position")
    assert float(slider.get_attribute("max") or "") == pytest.approx(4.8)
    assert float(page.get_by_role("slider", name="pole angle").get_attribute("min") or "") == pytest.approx(-0.41887903)
    expect(page.locator("#answer .action")).to_be_visible()
    with page.expect_request("**/predict") as request:
        slider.focus()
        page.keyboard.press("End")
    assert body_of(request.value)["observation"] == [4.8, 0, 0, 0]
    expect(page.get_by_role("spinbutton", name="cart position")).to_have_value("4.8")


@needs_browser
def test_the_best_action_or_one_that_is_drawn(page: Page, server: Running) -> None:
    visit(page, server, "pendulum")
    page.get_by_label("Draw the action").check()
    assert predict(page, "pendulum")["deterministic"] is False
    expect(page.locator("#answer")).to_contain_text("std")


@needs_browser
def test_an_address_that_names_no_model_shows_the_first(page: Page, server: Running) -> None:
    page.goto(f"{server.url}/#%zz")
    expect(page.locator("#name")).to_have_text("cartpole")


@needs_browser
def test_another_model_is_chosen(page: Page, server: Running) -> None:
    visit(page, server, "cartpole")
    page.get_by_label("Model", exact=True).select_option("pendulum")
    expect(page.locator("h1")).to_have_text("pendulum")
    expect(page.locator("#world")).to_have_text("Pendulum")
    page.get_by_label("Model", exact=True).select_option("restricted")
    expect(page.locator("#live")).to_be_hidden()
    page.go_back()
    expect(page.locator("h1")).to_have_text("pendulum")


@needs_browser
@pytest.mark.parametrize("by", ["drop", "choice"])
def test_a_picture_becomes_an_observation(page: Page, server: Running, by: str) -> None:
    visit(page, server, "sees")
    pixels = np.random.default_rng(3).integers(0, 256, (8, 9, 3), dtype=np.uint8)
    file: FilePayload = {"name": "frame.png", "mimeType": "image/png", "buffer": png(pixels)}
    if by == "choice":
        page.locator("input[type=file]").set_input_files([file])
    else:
        transfer = page.evaluate_handle(
            """data => {
                const transfer = new DataTransfer();
                const bytes = Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
                transfer.items.add(new File([bytes], "frame.png", { type: "image/png" }));
                return transfer;
            }""",
            base64.b64encode(png(pixels)).decode(),
        )
        page.locator(".zone").dispatch_event("drop", {"dataTransfer": transfer})
    expect(page.locator(".zone .hint").first).to_have_text(re.compile(r"^frame.png, 9 . 8\.$"))
    sent = predict(page, "sees")["observation"]
    grey = np.floor(pixels @ [0.299, 0.587, 0.114] + 0.5).astype(np.uint8)
    assert (sent["shape"], sent["dtype"]) == ([1, 8, 9], "uint8")
    assert base64.b64decode(sent["base64"]) == grey.tobytes()
    right = asked(server, "sees", {"observation": grey[None].tolist()})["action"]
    expect(page.locator("#answer .action")).to_have_text(str(right))


@needs_browser
def test_a_file_that_is_no_picture_is_refused(page: Page, server: Running) -> None:
    visit(page, server, "sees")
    file: FilePayload = {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"nothing to see"}
    page.locator("input[type=file]").set_input_files([file])
    expect(page.locator(".zone .hint").first).to_contain_text("notes.txt is no picture")


@needs_browser
def test_pictures_are_laid_out_as_models_take_them(page: Page, server: Running) -> None:
    visit(page, server, "sees")
    pixels = np.random.default_rng(4).integers(0, 256, (6, 5, 4), dtype=np.uint8)
    script = """async ([pixels, shape]) => {
        const { pictureOf, valuesOf } = await import("/static/images.js");
        return [...valuesOf(Uint8ClampedArray.from(pixels), pictureOf(shape))];
    }"""
    grey = np.floor(pixels[..., :3] @ [0.299, 0.587, 0.114] + 0.5).astype(int)
    expected = {
        (6, 5, 3): pixels[..., :3],
        (3, 6, 5): pixels[..., :3].transpose(2, 0, 1),
        (6, 5, 4): np.repeat(grey[..., None], 4, axis=2),
        (4, 6, 5): np.repeat(grey[None], 4, axis=0),
    }
    # The smallest picture that is taken for one is 5 x 5; its channels are fewer.
    for shape, right in expected.items():
        assert page.evaluate(script, [pixels.ravel().tolist(), shape]) == right.ravel().tolist(), shape


@needs_browser
def test_parts_of_a_dict_have_controls_of_their_own(page: Page, server: Running) -> None:
    visit(page, server, "parts")
    page.get_by_label("gear").select_option("3")
    page.get_by_label("1, 0", exact=True).check()
    page.locator("fieldset", has_text="dials").get_by_label("1", exact=True).select_option("2")
    page.locator("fieldset", has_text="speed").get_by_role("spinbutton").nth(2).fill("1.5")
    sent = predict(page, "parts")["observation"]
    assert (sent["gear"], sent["dials"], sent["speed"]) == (3, [0, 2], [0, 0, 1.5, 0])
    assert sent["switches"] == [[False, False], [True, False]]
    assert base64.b64decode(sent["camera"]["base64"]) == bytes(72)
    right = asked(server, "parts", {"observation": sent})["action"]
    expect(page.locator("#answer .action")).to_have_text(str(right))


@needs_browser
def test_choices_can_be_forbidden(page: Page, server: Running) -> None:
    visit(page, server, "restricted")
    boxes = page.locator("fieldset", has_text="Allowed choices").get_by_role("checkbox")
    assert boxes.count() == 9
    boxes.first.uncheck()
    expect(page.get_by_label("2: 3", exact=True)).to_be_checked()
    sent = predict(page, "restricted")
    assert sent["action_masks"] == [False, *[True] * 8]
    expect(page.locator("#answer .chip").first).to_have_text("1")


@needs_browser
def test_a_policy_remembers_until_it_is_told_not_to(page: Page, server: Running) -> None:
    visit(page, server, "remembers")
    page.get_by_role("spinbutton").first.fill("0.75")
    first = predict(page, "remembers")
    expect(page.locator("#ask [role=status]")).to_contain_text("Step 1 ")
    second = predict(page, "remembers")
    expect(page.locator("#ask [role=status]")).to_contain_text("Step 2 ")
    assert "state" not in first
    assert second["state"] == asked(server, "remembers", first)["state"]
    right = asked(server, "remembers", second)["action"]
    expect(page.locator("#answer .bars .value").first).to_have_text(f"{right[0]:.4g}")
    page.get_by_role("button", name="New episode").click()
    assert "state" not in predict(page, "remembers")


@needs_browser
def test_arrays_of_a_program_are_typed_as_json(page: Page, server: Running) -> None:
    visit(page, server, "sequences")
    assert np.shape(predict(page, "sequences")["inputs"]["length"]) == (20, 3)
    # The length varies: two steps are as good.
    given: dict[str, Any] = {"length": [[0.5, 0, 0]] * 2, "words": [1, 0], "flags": [True, False, True]}
    for name, label in (
        ("length", "20 \N{MULTIPLICATION SIGN} 3 float32"),
        ("words", "20 int64"),
        ("flags", "21 bool"),
    ):
        page.get_by_label(f"JSON, at most {label}").fill(json.dumps(given[name]))
    assert predict(page, "sequences")["inputs"] == given
    expect(page.locator("#answer")).to_contain_text("scores")


@needs_browser
def test_a_long_vector_is_typed_as_json(page: Page, server: Running) -> None:
    visit(page, server, "long")
    area = page.get_by_label("JSON, 100 float32")
    assert json.loads(area.input_value()) == [0] * 100
    area.fill(json.dumps([0.5] * 100))
    sent = predict(page, "long")
    assert sent["observation"] == [0.5] * 100
    expect(page.locator("#answer .action")).to_have_text(str(asked(server, "long", sent)["action"]))
    area.fill("[0.5, ")
    page.get_by_role("button", name="Predict").click()
    expect(page.locator("#answer [role=alert]")).to_contain_text("Observation: expected JSON")
    area.fill("[0.5]")
    page.get_by_role("button", name="Predict").click()
    expect(page.locator("#answer [role=alert]")).to_contain_text("expected an array of length 100")


@needs_browser
def test_a_huge_array_goes_as_bytes(page: Page, server: Running) -> None:
    visit(page, server, "huge")
    expect(page.locator("#ask .hint").first).to_contain_text("All 4,100 values are zeros")
    page.get_by_role("button", name="Random").click()
    expect(page.locator("#ask .hint").first).to_contain_text("All 4,100 values are random")
    sent = predict(page, "huge")["observation"]
    values = np.frombuffer(base64.b64decode(sent["base64"]), "<f4")
    assert (sent["shape"], sent["dtype"], values.shape) == ([4100], "float32", (4100,))
    assert -1 <= values.min() < -0.9 < 0.9 < values.max() <= 1
    right = asked(server, "huge", {"observation": values.tolist()})["action"]
    expect(page.locator("#answer .action")).to_have_text(str(right))


@needs_browser
def test_an_error_is_shown_as_text(page: Page, server: Running) -> None:
    visit(page, server, "cartpole")
    expect(page.locator("#answer .action")).to_be_visible()
    alert = page.locator("#answer [role=alert]")
    page.get_by_role("spinbutton", name="pole angle", exact=True).fill("")
    page.get_by_role("button", name="Predict").click()
    expect(alert).to_be_visible()
    expect(alert).to_have_text("pole angle: expected a number.")
    page.get_by_role("spinbutton", name="pole angle", exact=True).fill("1e39")
    page.get_by_role("button", name="Predict").click()
    expect(alert).to_contain_text("$.observation[2]")
    page.get_by_role("button", name="Reset").click()
    expect(alert).to_be_hidden()


@needs_browser
def test_names_from_files_stay_text(page: Page, server: Running) -> None:
    visit(page, server, "cartpole")
    page.route(
        "**/models",
        lambda route: route.fulfill(
            json={
                "models": [
                    {
                        "name": "x",
                        "sha256": "",
                        "spec": {
                            "observation": {"kind": "Box", "shape": [1], "dtype": "float32"},
                            "action": {"kind": "Discrete", "n": 2},
                            "source": {"file": "<img src=x onerror=alert(1)>", "sha256": "", "format": ""},
                            "assumed": ["<script>alert(2)</script>"],
                        },
                    }
                ]
            }
        ),
    )
    page.reload()
    expect(page.locator("#about")).to_contain_text("<script>alert(2)</script>")
    assert page.locator("main img, main script").count() == 0


@needs_browser
def test_it_is_used_by_keyboard_alone(page: Page, server: Running) -> None:
    visit(page, server, "cartpole")
    expect(page.locator("#answer .action")).to_be_visible()
    unlabelled = page.evaluate(
        """[...document.querySelectorAll("main input, main select, main textarea, main button")]
            .filter((control) => !control.labels?.length && !control.textContent)
            .filter((control) => !document.getElementById(control.getAttribute("aria-labelledby"))?.textContent)
            .map((control) => control.outerHTML)"""
    )
    assert unlabelled == []
    reached = []
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate("(document.activeElement.labels?.[0] ?? document.activeElement).textContent.trim()")
        )
    for name in ("Skip to the content", "Play", "← Push", "Wind", "Predict", "The same with curl"):
        assert name in reached
    page.get_by_role("spinbutton", name="cart velocity").focus()
    page.keyboard.type("3")
    with page.expect_request("**/predict"):
        page.keyboard.press("Enter")


@needs_browser
@pytest.mark.parametrize("model", ["cartpole", "parts", "sequences"])
def test_a_phone_has_no_sideways_scroll(browser: Browser, server: Running, model: str) -> None:
    with browser.new_context(viewport={"width": 360, "height": 740}, reduced_motion="reduce") as context:
        for page in watched(context):
            visit(page, server, model)
            page.get_by_role("button", name="Predict").click()
            expect(page.locator("#answer .time")).to_be_visible()
            wide = page.evaluate(
                """[...document.querySelectorAll("main :not(.scroller *)")]
                    .filter((each) => each.getBoundingClientRect().right > 360)
                    .map((each) => each.outerHTML.slice(0, 80))"""
            )
            assert wide == []
            assert page.evaluate("document.documentElement.scrollWidth") == 360


@needs_browser
def test_a_token_is_asked_for(browser: Browser, wasm: Path, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("open sesame\n")
    arguments = ("generated/cartpole", "--wasm", wasm, "--token-file", tmp_path / "token")
    with serving(tmp_path, *arguments) as server, browser.new_context(reduced_motion="reduce") as context:
        for page in watched(context):
            page.goto(server.url)
            for token, wrong in (("sesame", True), ("open sesame", False)):
                page.get_by_label("Bearer token").fill(token)
                page.get_by_role("button", name="Continue").click()
                expect(page.locator("#wrong")).to_be_visible(visible=wrong)
            expect(page.locator("#answer .action")).to_be_visible()
            expect(page.locator(".way")).to_have_attribute("data-way", "wasm")  # its module needed the token too
            page.reload()
            expect(page.locator("#answer .action")).to_be_visible()
            assert page.evaluate("[sessionStorage.length, localStorage.length, document.cookie]") == [1, 0, ""]


@needs_browser
def test_the_documentation_is_drawn_from_openapi(page: Page, server: Running) -> None:
    page.goto(f"{server.url}/docs")
    with urllib.request.urlopen(f"{server.url}/openapi.json") as answer:
        paths = json.load(answer)["paths"]
    shown = page.locator(".operation > summary > code").all_text_contents()
    assert sorted(shown) == sorted(path for path, item in paths.items() for _ in item)
    operation = page.locator("#post-models-cartpole-predict")
    expect(page.locator("#contents a")).to_have_count(len(POLICIES) + 4)
    page.get_by_role("link", name="cartpole").click()
    operation.locator("summary code").first.click()
    expect(operation.get_by_text("observations").first).to_be_visible()
    area = operation.locator("textarea")
    assert "observation" in area.input_value()  # an example
    area.fill('{"observation": [0, 0, 0.1, 0.5]}')
    operation.get_by_role("button", name="Send").click()
    expect(operation.locator("form [role=status]")).to_contain_text("200")
    expect(operation.locator("form pre")).to_have_text('{"action": 1}')
    area.fill('{"observation": [0, 0, 0.1]}')
    operation.get_by_role("button", name="Send").click()
    expect(operation.locator("form [role=status]")).to_contain_text("422")
    expect(operation.locator("form pre")).to_contain_text("$.observation")
