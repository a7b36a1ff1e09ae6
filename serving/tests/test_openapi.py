"""The OpenAPI document: every path, the models' real tensors, and what it says of a request is what the server does."""

from __future__ import annotations

import pytest

from slipway_serving.apis.openai import PATHS
from slipway_serving.app import App
from slipway_serving.metrics import Metrics
from slipway_serving.openapi.document import document
from slipway_serving.repository import Repository
from slipway_serving.sources import Settings


async def described(path):
    repository = Repository(path, Settings(), Metrics())
    repository.discover()
    await repository.load_all()
    return document(repository), App(repository, Metrics())


async def test_the_inputs_and_outputs_of_a_model_are_its_own(iris):
    whole, _ = await described(iris)
    plain = whole["paths"]["/predict/iris"]["post"]
    body = plain["requestBody"]["content"]["application/json"]
    assert body["example"]["x"] == [pytest.approx([5.1, 3.5, 1.4, 0.2])]
    forms = body["schema"]["anyOf"]
    rows = forms[0]["properties"]["x"]["anyOf"][0]
    assert (rows["items"]["minItems"], rows["items"]["maxItems"], rows["items"]["items"]["type"]) == (4, 4, "number")
    records = [form for form in forms if "sepal_width" in form.get("properties", {})]
    assert records[0]["required"] == ["sepal_length", "sepal_width", "petal_length", "petal_width"]
    outputs = plain["responses"]["200"]["content"]["application/json"]["schema"]["properties"]["outputs"]
    assert outputs["required"] == ["label", "probabilities"]
    assert whole["paths"]["/predict"] == whole["paths"]["/predict/iris"]
    infer = whole["paths"]["/v2/models/iris/infer"]["post"]["requestBody"]["content"]["application/json"]
    assert infer["example"]["inputs"][0]["shape"] == [1, 4]


async def test_every_path_of_the_server_is_in_it(python_model, iris):
    for directory in (iris, python_model(settings="version: 7")):
        whole, app = await described(directory)
        unoffered = set() if any(path in whole["paths"] for path in PATHS) else set(PATHS)
        assert set(app._router._exact) - unoffered <= set(whole["paths"])
        prefixes = [path for path in app._router._prefixes if not any(each.startswith(path) for each in whole["paths"])]
        assert prefixes == []
    assert "/v2/models/echo/versions/7/infer" in whole["paths"]
    assert "/v2/models/echo/infer" in whole["paths"]


async def test_every_status_has_its_schema(iris):
    whole, _ = await described(iris)
    known = whole["components"]["responses"]
    for path, operations in whole["paths"].items():
        for operation in operations.values():
            for status, answer in operation["responses"].items():
                assert status == "200" or answer["$ref"].rpartition("/")[2] in known, path
    infer = whole["paths"]["/v2/models/iris/infer"]["post"]["responses"]
    assert {"400", "404", "405", "413", "415", "422", "429", "500", "503", "504"} <= infer.keys()


TALK = """
    class Model:
        def chat_completions(self, request):
            return "hello"

        def explain(self, inputs):
            return {}
"""


async def test_what_only_some_models_have_is_there_with_them(python_model, iris):
    whole, _ = await described(python_model(TALK))
    chat = whole["paths"]["/v1/chat/completions"]["post"]["requestBody"]["content"]["application/json"]
    assert chat["schema"]["properties"]["model"] == {"enum": ["echo"]}
    assert chat["schema"]["properties"]["temperature"]["anyOf"][0]["maximum"] == 2
    assert "/v1/models/echo:explain" in whole["paths"]
    assert "/v1/embeddings" not in whole["paths"]
    whole, _ = await described(iris)
    assert not {"/v1/models/iris:explain", *PATHS} & whole["paths"].keys()


async def test_it_is_made_anew_when_the_models_change(python_model, serving):
    directory = python_model(settings="inputs: [{name: x, datatype: FP32, shape: [-1]}]")
    async with serving(directory, mode="explicit") as client:
        before = (await client.get("/openapi.json")).json()
        assert (await client.get("/openapi.json")).json() == before
        python_model(settings="inputs: [{name: y, datatype: FP32, shape: [-1]}]")
        assert (await client.post("/v2/repository/models/echo/load")).status_code == 200
        after = (await client.get("/openapi.json")).json()
    first, second = (
        each["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]["example"]
        for each in (before, after)
    )
    assert (first, second) == ({"x": [1]}, {"y": [1]})
