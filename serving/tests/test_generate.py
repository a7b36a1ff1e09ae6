"""Triton's generate extension: values by name in, one answer or a stream of events out."""

from __future__ import annotations

import orjson
import pytest

TALKER = """
    import time
    from slipway_serving import InvalidInputError

    class Model:
        inputs = [
            {"name": "text_input", "datatype": "BYTES", "shape": [-1, 1]},
            {"name": "count", "datatype": "INT32", "shape": [1]},
        ]
        outputs = [{"name": "text_output", "datatype": "BYTES", "shape": [-1, 1]}]

        def predict(self, inputs, parameters):
            word = inputs["text_input"][0, 0]
            if word == b"refuse":
                raise InvalidInputError("not that word")
            for index in range(inputs["count"][0]):
                if word == b"break" and index:
                    raise ValueError("inside")
                yield {"text_output": [[word + str(parameters.get("mark", "")).encode()]]}
"""
ASKED = {"text_input": "hi", "count": 2, "parameters": {"mark": "!"}}
STREAM = "/v2/models/echo/generate_stream"


def events(answer):
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    *lines, last = answer.text.split("\n\n")
    assert last == ""
    return [orjson.loads(line.removeprefix("data: ")) for line in lines]


async def test_a_model_that_yields_is_a_stream_of_events(python_model, serving):
    async with serving(python_model(TALKER, "warmUp: false")) as client:
        assert events(await client.post(STREAM, json=ASKED)) == [{"model_name": "echo", "text_output": "hi!"}] * 2
        as_keys = {"text_input": "hi", "count": [1], "mark": 5, "id": "7"}
        assert events(await client.post(STREAM, json=as_keys)) == [{"model_name": "echo", "text_output": "hi5"}]
        assert events(await client.post(STREAM, json=ASKED | {"count": 0})) == []
        *_, last = events(await client.post(STREAM, json=ASKED | {"text_input": "break"}))
        assert "ValueError" in last["error"]
        metrics = (await client.get("/metrics")).text
        assert 'code="500"' in metrics
        assert 'requests_in_flight{model="echo",version=""} 0' in metrics


async def test_one_answer_where_there_is_one(python_model, serving):
    async with serving(python_model(TALKER, "warmUp: false")) as client:
        answer = await client.post("/v2/models/echo/generate", json=ASKED | {"count": 1})
        assert answer.json() == {"model_name": "echo", "text_output": "hi!"}
        answer = await client.post("/v2/models/echo/generate", json=ASKED)
        assert answer.status_code == 400
        assert "ask for a stream" in answer.json()["error"]


async def test_any_model_generates(iris, serving):
    async with serving(iris) as client:
        answer = await client.post("/v2/models/iris/generate", json={"x": [5.1, 3.5, 1.4, 0.2]})
        assert answer.json()["label"] == "setosa"
        assert len(answer.json()["probabilities"]) == 3
        (event,) = events(await client.post("/v2/models/iris/generate_stream", json={"x": [[5.1, 3.5, 1.4, 0.2]]}))
        assert event["label"] == "setosa"


@pytest.mark.parametrize("path", ["generate", "generate_stream"])
@pytest.mark.parametrize(
    ("body", "message"),
    [
        ([], "the request must be a JSON object with a value for each input"),
        ({}, "the request has no value for any input"),
        ({"text_input": "a"}, "missing input 'count'"),
        ({"text_input": 1, "count": 1}, "text_input: element 0 is 1, but BYTES takes strings"),
        ({"text_input": "a", "count": [1, 2]}, "input 'count' has shape [2], but the model takes [1]"),
        ({"text_input": "a", "count": 1, "parameters": 1}, "'parameters' must be an object"),
        ({"text_input": "a", "count": 1, "parameters": False}, "'parameters' must be an object"),
        ({"text_input": "a", "count": 1, "other": [1]}, "'other' is neither an input of the model nor"),
        ({"text_input": "refuse", "count": 1}, "not that word"),
    ],
)
async def test_what_cannot_be_generated_from(python_model, serving, path, body, message):
    async with serving(python_model(TALKER, "warmUp: false")) as client:
        answer = await client.post(f"/v2/models/echo/{path}", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith(message)
