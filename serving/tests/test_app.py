"""Every path and status of the server, without a socket."""

from __future__ import annotations

import asyncio
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway_serving.app import App
from slipway_serving.http.messages import Pending, Request
from slipway_serving.metrics import Metrics
from slipway_serving.repository import Repository
from slipway_serving.sources import Settings

IRIS = Path(__file__).parents[2] / "examples" / "iris"

FLOWER = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [5.1, 3.5, 1.4, 0.2]}


@pytest.mark.parametrize("slash", ["", "/"])
async def test_metadata_and_health_in_both_slash_forms(iris, serving, slash):
    async with serving(iris) as client:
        server = (await client.get(f"/v2{slash}")).json()
        assert server["name"] == "slipway-serving"
        assert (await client.get(f"/v2/health/live{slash}")).json() == {"live": True}
        assert (await client.get(f"/v2/health/ready{slash}")).json() == {"ready": True}
        assert (await client.get(f"/v2/models/iris/ready{slash}")).json() == {"name": "iris", "ready": True}
        assert (await client.get(f"/v2/models/iris{slash}")).json() == {
            "name": "iris",
            "platform": "onnx",
            "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}],
            "outputs": [
                {"name": "label", "datatype": "BYTES", "shape": [-1]},
                {"name": "probabilities", "datatype": "FP32", "shape": [-1, 3]},
            ],
        }
        answer = await client.post(f"/v2/models/iris/infer{slash}", json={"inputs": [FLOWER], "id": "7"})
        assert answer.status_code == 200
        assert answer.json()["id"] == "7"


async def test_inference_with_chosen_outputs(iris, serving):
    async with serving(iris) as client:
        answer = await client.post("/v2/models/iris/infer", json={"inputs": [FLOWER], "outputs": [{"name": "label"}]})
    assert answer.json() == {
        "model_name": "iris",
        "outputs": [{"name": "label", "datatype": "BYTES", "shape": [1], "data": ["setosa"]}],
    }


async def test_the_example_can_be_sent_back_and_gets_the_same_answer(iris, serving):
    async with serving(iris) as client:
        example = (await client.get("/predict")).json()
        again = await client.post("/predict", json=example["request"])
    assert example["request"] == {"x": [[5.1, 3.5, 1.4, 0.2]]}
    assert again.json() == example["response"]
    assert again.json()["outputs"]["label"] == ["setosa"]


@pytest.mark.parametrize(
    ("method", "path", "status", "message"),
    [
        ("GET", "/nowhere", 404, "there is nothing at /nowhere"),
        ("GET", "/v2/models/irsi", 404, "model 'irsi' is not served here; did you mean 'iris'?"),
        ("POST", "/v2/models/irsi/infer", 404, "model 'irsi' is not served here"),
        ("GET", "/v2/models/iris/versions/3", 404, "model 'iris' has no version '3'; it has no versions"),
        ("GET", "/v2/models/iris/nothing", 404, "there is nothing at"),
        ("GET", "/v2/models/iris/infer", 405, "GET is not possible here; allowed: POST"),
        ("POST", "/v2/health/live", 405, "POST is not possible here; allowed: GET, HEAD"),
        ("DELETE", "/predict", 405, "DELETE is not possible here; allowed: GET, HEAD, POST"),
        ("POST", "/predict", 400, "the request body is empty"),
    ],
)
async def test_errors_are_json_with_the_right_status(iris, serving, method, path, status, message):  # noqa: PLR0917  # one row a case
    async with serving(iris) as client:
        answer = await client.request(method, path)
    assert answer.status_code == status
    assert answer.json()["error"].startswith(message)


async def test_a_version_has_its_own_paths(python_model, serving):
    directory = python_model(settings="version: 2")
    async with serving(directory) as client:
        assert (await client.get("/v2/models/echo/versions/2")).json()["versions"] == ["2"]
        assert (await client.get("/v2/models/echo/versions/2/ready")).status_code == 200
        answer = await client.post("/v2/models/echo/versions/2/infer", json={"inputs": [FLOWER]})
        assert answer.json()["model_version"] == "2"
        assert (await client.get("/v2/models/echo/versions/1")).status_code == 404


async def test_a_body_beyond_the_limit_is_413_declared_or_not(iris, serving):
    async def chunks():
        for _ in range(20):
            yield b" " * 100

    async with serving(iris, max_body=1000) as client:
        for body in (b" " * 2000, chunks()):
            answer = await client.post("/predict", content=body)
            assert answer.status_code == 413
            assert "larger than 1000 bytes" in answer.json()["error"]


async def test_encodings_and_lengths_that_cannot_be_are_400(iris, serving):
    async with serving(iris) as client:
        for headers in ({"content-encoding": "gzip"}, {"inference-header-content-length": "-1"}):
            answer = await client.post("/v2/models/iris/infer", content=b"{}", headers=headers)
            assert answer.status_code == 400


FAILING = """
    class Model:
        def predict(self, inputs):
            if "nan" in inputs:
                return {"y": [float("nan")]}
            if "object" in inputs:
                return {"y": [object()]}
            if "complex" in inputs:
                return {"y": [1j]}
            raise KeyError("secret of the model")
"""


@pytest.mark.parametrize(
    ("name", "status", "message"),
    [
        ("boom", 500, "model 'echo' failed on this request (KeyError); the server's log has the details"),
        ("nan", 422, "output 'y': element 0 is nan, which JSON cannot carry"),
        ("complex", 500, "output 'y': numpy's complex128 has no datatype"),
    ],
)
async def test_a_model_that_fails_tells_no_secrets(python_model, serving, name, status, message):
    async with serving(python_model(FAILING)) as client:
        answer = await client.post("/v2/models/echo/infer", json={"inputs": [FLOWER | {"name": name}]})
    assert answer.status_code == status
    assert answer.json()["error"].startswith(message)
    assert "secret" not in answer.text


async def test_large_bodies_are_answered_too(python_model, serving):
    data = [0.5] * 200_000
    async with serving(python_model()) as client:
        answer = await client.post(
            "/v2/models/echo/infer", json={"inputs": [FLOWER | {"shape": [200_000], "data": data}]}
        )
    assert answer.json()["outputs"][0]["data"] == data


async def test_binary_tensors_both_ways(python_model, serving):
    head = b'{"inputs":[{"name":"x","shape":[2],"datatype":"FP16","parameters":{"binary_data_size":4}}],'
    head += b'"parameters":{"binary_data_output":true}}'
    async with serving(python_model()) as client:
        headers = {"inference-header-content-length": str(len(head))}
        answer = await client.post("/v2/models/echo/infer", content=head + b"\x00\x3c\x00\x40", headers=headers)
    length = int(answer.headers["inference-header-content-length"])
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.content[length:] == b"\x00\x3c\x00\x40"


async def test_metrics_count_requests_by_status_and_rows(iris, serving):
    async with serving(iris) as client:
        await client.post("/v2/models/iris/infer", json={"inputs": [FLOWER]})
        await client.post("/v2/models/iris/infer", content=b"{")
        text = (await client.get("/metrics")).text
    assert 'slipway_serving_requests_total{code="200",model="iris",version=""} 1.0' in text
    assert 'slipway_serving_requests_total{code="400",model="iris",version=""} 1.0' in text
    assert 'slipway_serving_batch_rows_sum{model="iris",version=""} 1.0' in text
    assert 'slipway_serving_requests_in_flight{model="iris",version=""} 0.0' in text
    assert 'slipway_serving_model_ready{model="iris",version=""} 1.0' in text


def application(path):
    metrics = Metrics()
    repository = Repository(path, Settings(), metrics)
    repository.discover()
    return App(repository, metrics)


async def answered(app, method, path, body=b""):
    request = Request(method, path.encode(), {}, body)
    answer = app.handle(request)
    if isinstance(answer, Pending):
        await asyncio.wait([answer.future])
        return app.finish(request, answer)
    return answer


async def test_loading_draining_and_unloading_are_503_but_alive(iris):
    app = application(iris)
    body = orjson.dumps({"inputs": [FLOWER]})

    async def statuses():
        wanted = [("POST", "/v2/models/iris/infer", body), ("GET", "/predict", b"")]
        wanted += [("GET", path, b"") for path in ("/v2/health/ready", "/v2/models/iris/ready", "/v2/health/live")]
        return [(await answered(app, *each)).status for each in wanted]

    assert await statuses() == [503, 503, 503, 503, 200]
    await app.repository.load_all()
    assert await statuses() == [200, 200, 200, 200, 200]
    app.draining = True
    assert await statuses() == [200, 200, 503, 503, 200]
    app.draining = False
    app.repository.close()
    assert await statuses() == [503, 503, 503, 503, 200]
    assert (b"retry-after", b"1") in (await answered(app, "GET", "/predict")).headers


VALUES = (
    st.integers(-(2**40), 2**40) | st.floats(allow_nan=False, allow_infinity=False) | st.none() | st.text(max_size=3)
)
ROWS = st.lists(st.lists(VALUES, max_size=5), max_size=3) | st.lists(st.lists(st.floats(-9, 9), min_size=4, max_size=4))
BODIES = (
    st.binary(max_size=80)
    | ROWS.map(lambda rows: orjson.dumps({"x": rows}))
    | st.builds(
        lambda rows, shape: orjson.dumps({"inputs": [FLOWER | {"data": rows, "shape": shape}]}),
        ROWS,
        st.lists(st.integers(0, 4), max_size=3) | st.just([1, 4]) | st.just([0, 4]),
    )
)


@pytest.fixture(scope="module")
def post():
    """Posts to one application that all examples share."""
    with asyncio.Runner() as runner:
        app = application(IRIS)
        runner.run(app.repository.load_all())

        def send(path, body):
            response = runner.run(answered(app, "POST", path, body))
            return response.status, orjson.loads(response.body)

        yield send
        app.repository.close()


@given(body=BODIES, path=st.sampled_from(["/predict", "/v2/models/iris/infer"]))
def test_no_body_whatsoever_makes_the_server_fail(post, body, path):
    status, document = post(path, body)
    assert status in (200, 400)
    assert ("error" in document) == (status == 400)
