"""
`/openapi.json` says what the server does: schemathesis asks a running one for what is in it, right and wrong.
"""

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from compiler.serve.application import Application
from compiler.serve.models import open_model
from compiler.serve.openapi import document
from compiler.serve.sessions import Sessions
from compiler.serve.settings import Settings
from tests import general_models
from tests.generated_code.sampled import POLICIES as DRAWING
from tests.generated_code.test_every_input import MODELS as SEEING
from tests.serve.packages import place_all
from tests.serve.serving import serving
from tests.thorough import THOROUGH, chosen

KINDS = {
    "discrete": DRAWING["discrete"],
    "dict": SEEING["dict"],
    "masked": SEEING["masked"],
    "recurrent": SEEING["recurrent"],
    "counter": general_models.counter(),
}
FIELDS = "position,velocity,angle,turning"
ASKED = chosen(KINDS, "discrete", "dict", "recurrent", "counter")
EXAMPLES = 100 if THOROUGH else 3


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return place_all(tmp_path_factory.mktemp("served"), KINDS)


@pytest.fixture(scope="module")
def url(folders: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    asked = [folder for folder in folders if folder.name in ASKED]
    with serving(tmp_path_factory.mktemp("log"), *asked, "--fields", FIELDS) as found:
        yield found.url


def checked(url: str, folder: Path, *arguments: str) -> None:
    """
    Runs schemathesis with all of its checks.
    """
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{url}/openapi.json", "--no-color"]
    command += ["--checks", "all", "--mode", "all", "--seed", "1", "--max-examples", str(EXAMPLES), *arguments]
    path = os.pathsep.join(filter(None, [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": "tests.serve.schemathesis_hooks", "PYTHONPATH": path}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr
    assert "Schema validation skipped" not in done.stdout
    assert " passed" in done.stdout


def test_schemathesis_finds_nothing(url: str, tmp_path: Path) -> None:
    checked(url, tmp_path)


def test_schemathesis_finds_nothing_where_a_token_is_needed(folders: list[Path], tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("a secret\n")
    with serving(tmp_path, folders[0], "--token-file", token) as server:
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"{server.url}/openapi.json")
        refused.value.close()
        assert refused.value.code == 401
        few = [] if THOROUGH else ["--include-path-regex", "^/(predict|models)$"]
        checked(server.url, tmp_path, "-H", "Authorization: Bearer a secret", "--phases", "examples,coverage", *few)


@pytest.fixture(scope="module")
def application(folders: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    sessions, fields = Sessions(tmp_path_factory.mktemp("kept") / "sessions", 1, 1), tuple(FIELDS.split(","))
    models = [open_model(folder, sessions, () if number else fields) for number, folder in enumerate(folders)]
    yield Application(Settings(), {model.name: model for model in models})
    for model in models:
        model.close()


@pytest.fixture(scope="module")
def described(application: Application) -> dict[str, Any]:
    return document(application.models.values(), application.routes, secured=False)


def test_every_address_is_in_the_document(application: Application, described: dict[str, Any]) -> None:
    for path, route in application.routes.items():
        if not path.startswith("/static/"):
            methods = {method.lower() for method in route.handlers} - {"head"}
            assert set(described["paths"][path]) == methods, path
    assert set(described["paths"]) <= set(application.routes)


def test_the_server_gives_the_document(url: str) -> None:
    with urllib.request.urlopen(f"{url}/openapi.json") as answer:
        assert json.load(answer)["openapi"] == "3.1.0"


def test_schemas_are_schemas_and_examples_fit_them(described: dict[str, Any]) -> None:
    draft = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    for schema in described["components"]["schemas"].values():
        jsonschema_rs.meta.validate({**schema, **draft})
    fitting = 0
    for item in described["paths"].values():
        for content in item.get("post", {}).get("requestBody", {}).get("content", {}).values():
            for example in content.get("examples", {}).values():
                schema = {**content["schema"], "components": described["components"], **draft}
                jsonschema_rs.validate(schema, example["value"])
                fitting += 1
    assert fitting > 3 * len(KINDS)


def test_what_only_a_token_opens_says_so(application: Application) -> None:
    described = document(application.models.values(), application.routes, secured=True)
    assert described["security"] == [{"token": []}]
    assert described["components"]["securitySchemes"]["token"] == {"type": "http", "scheme": "bearer"}
    for path, item in described["paths"].items():
        for operation in item.values():
            public = application.routes[path].public
            assert (operation.get("security") == []) == public, path
            assert ("401" in operation["responses"]) != public, path


def test_the_forms_of_a_request_are_those_of_the_model(described: dict[str, Any]) -> None:
    schemas = described["components"]["schemas"]
    observation, batch, fields = schemas["discrete.Predict"]["anyOf"]
    assert observation["required"] == ["observation"]
    assert batch["required"] == ["observations"]
    assert fields["required"] == FIELDS.split(",")
    vector = observation["properties"]["observation"]["anyOf"][0]
    assert (vector["minItems"], vector["maxItems"], vector["items"]["type"]) == (4, 4, "number")
    assert set(schemas["dict.Observation"]["properties"]) == {"camera", "gear", "switches", "dials", "speed"}
    dials, camera = (schemas["dict.Observation"]["properties"][key]["anyOf"] for key in ("dials", "camera"))
    assert [limit["exclusiveMaximum"] for limit in dials[0]["prefixItems"]] == [3, 4]
    assert [(form["maxItems"], form["items"]["items"]["maxItems"]) for form in camera[:2]] == [(1, 9), (8, 1)]
    masks = [form["properties"]["action_masks"] for form in schemas["masked.Predict"]["anyOf"]]
    assert masks[0]["maxItems"] == 9
    assert masks[1]["items"] == masks[0]
    recurrent = schemas["recurrent.Predict"]["anyOf"]
    for form in recurrent:
        assert {"state", "session", "episode_start"} <= set(form["properties"])
        assert form["not"] == {"required": ["state", "session"]}
    for name in KINDS:
        answers = described["paths"][f"/models/{name}/predict"]["post"]["responses"]
        assert ({"404", "409"} <= set(answers)) == (name in ("recurrent", "counter"))
    inputs = schemas["counter.InferenceRequest"]["properties"]["inputs"]["items"]["anyOf"]
    assert [tensor["properties"]["name"]["const"] for tensor in inputs] == ["x", "total"]
