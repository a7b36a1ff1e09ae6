"""The payload log: what a sink gets, and that a request never notices a bad one."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from processes import until
from watched import BODY, INFER, collector, counted, watched

from slipway_serving.metrics import Metrics
from slipway_serving.middleware.events import Event, Sink, SinkError
from slipway_serving.middleware.exchange import Exchange
from slipway_serving.middleware.payload_log import PayloadLog

REQUEST, RESPONSE = "org.kubeflow.serving.inference.request", "org.kubeflow.serving.inference.response"


def results(metrics: str) -> dict[str, float]:
    name = "slipway_serving_payload_log_events_total"
    return {
        result: counted(metrics, f'{name}{{result="{result}"}}')
        for result in ("sent", "failed", "dropped", "too_large")
    }


async def have_failed(client, number: int) -> bool:
    return results((await client.get("/metrics")).text)["failed"] == number


async def test_both_sides_of_a_request_are_events_with_its_id(python_model):
    with collector() as sink:
        async with watched(python_model(settings="version: 2"), payload_log_url=f"{sink.url}/log?to=x") as client:
            answer = await client.post(INFER, json=BODY, headers={"x-request-id": "r-1"})
            await client.get("/v2/models/echo")
            await client.get("/predict")
            await client.post("/v2/repository/index")
    request, response = sink.received
    for event, kind in ((request, REQUEST), (response, RESPONSE)):
        assert event.path == "/log?to=x"
        ours = {name: value for name, value in event.headers.items() if name.startswith("ce-")}
        assert ours.pop("ce-source").endswith("/v2/models/echo")
        assert ours.pop("ce-time").endswith("+00:00")
        assert ours == {
            "ce-specversion": "1.0",
            "ce-id": "r-1",
            "ce-type": kind,
            "ce-inferenceservicename": "echo",
            "ce-modelversion": "2",
            "ce-component": "predictor",
            "ce-endpoint": "default",
        }
        assert event.headers["content-type"] == "application/json"
    assert request.body == answer.request.content
    assert response.body == answer.content


async def test_binary_tensors_say_how_much_of_them_is_json(python_model):
    head = b'{"inputs":[{"name":"x","shape":[2],"datatype":"INT64","parameters":{"binary_data_size":16}}],'
    head += b'"parameters":{"binary_data_output":true}}'
    body = head + np.array([1, 2]).tobytes()
    with collector() as sink:
        async with watched(python_model(), payload_log_url=sink.url) as client:
            answer = await client.post(INFER, content=body, headers={"inference-header-content-length": str(len(head))})
    request, response = sink.received
    assert request.headers["content-type"] == "application/octet-stream"
    assert request.headers["inference-header-content-length"] == str(len(head))
    assert request.body == body
    assert response.headers["inference-header-content-length"] == answer.headers["inference-header-content-length"]
    assert response.body == answer.content


async def test_a_model_that_writes_into_its_input_does_not_change_the_log(python_model):
    source = """
        class Model:
            def predict(self, inputs):
                x = inputs["x"]
                if x.flags.writeable:
                    x[:] = 0
                return {"x": x[:1]}
    """
    data = np.arange(10_000)
    head = b'{"inputs":[{"name":"x","shape":[10000],"datatype":"INT64","parameters":{"binary_data_size":80000}}]}'
    with collector() as sink:
        async with watched(python_model(source), payload_log_url=sink.url, payload_log_mode="request") as client:
            headers = {"inference-header-content-length": str(len(head))}
            assert (await client.post(INFER, content=head + data.tobytes(), headers=headers)).status_code == 200
    (request,) = sink.received
    assert request.body[len(head) :] == data.tobytes()


@pytest.mark.parametrize(("mode", "types"), [("request", [REQUEST, REQUEST]), ("response", [RESPONSE])])
async def test_one_side_alone_and_only_answers_that_are_predictions(python_model, mode, types):
    with collector() as sink:
        async with watched(python_model(), payload_log_url=sink.url, payload_log_mode=mode) as client:
            await client.post(INFER, json=BODY)
            await client.post(INFER, content=b"{")
    assert [event.headers["ce-type"] for event in sink.received] == types


async def test_what_is_too_large_is_counted_and_not_sent(python_model):
    body = {"inputs": [BODY["inputs"][0] | {"shape": [1000], "data": [123456] * 1000}]}
    with collector() as sink:
        async with watched(python_model(), payload_log_url=sink.url, payload_log_max_size=1000) as client:
            assert (await client.post(INFER, json=body)).status_code == 200
            assert results((await client.get("/metrics")).text)["too_large"] == 2
    assert sink.received == []


@pytest.mark.parametrize(("status", "location"), [(500, ""), (302, "/elsewhere"), (307, "/elsewhere")])
async def test_a_sink_that_refuses_or_sends_elsewhere_is_a_failure_that_no_request_sees(
    python_model, caplog, status, location
):
    with collector(status, location) as sink:
        async with watched(python_model(), payload_log_url=sink.url) as client:
            for _ in range(3):
                assert (await client.post(INFER, json=BODY)).status_code == 200
            await until(lambda: have_failed(client, 6))
    assert [event.path for event in sink.received] == ["/"] * 6
    assert caplog.text.count("a payload could not be logged") == 1


async def test_a_sink_that_hangs_holds_up_nobody(python_model):
    with collector(opened=False) as sink:
        async with watched(python_model(), payload_log_url=sink.url) as client:
            for _ in range(20):
                assert (await client.post(INFER, json=BODY)).status_code == 200
            sink.gate.set()
    assert len(sink.received) == 40


def events(number, **options):
    """What becomes of as many exchanges."""
    metrics = Metrics()
    log = PayloadLog(registry=metrics.registry, **options)
    model = type("Model", (), {"name": "m", "version": ""})()
    for index in range(number):
        exchange = Exchange("POST", "/predict", body=b"{}", model=model, status=200, answer=b"{}", id=str(index))
        log.begin(exchange)
        log.end(exchange)
    return log, metrics


def test_a_share_is_chosen_and_both_sides_of_the_same_requests():
    draws = iter([0.0, 0.5, 0.0099, 0.01])
    with collector() as sink:
        log, _ = events(4, url=sink.url, sample=0.01, choose=lambda: next(draws))
        log.close(10)
    assert [event.headers["ce-id"] for event in sink.received] == ["0", "0", "2", "2"]


def test_what_does_not_fit_is_dropped_and_what_is_left_at_the_end_too():
    with collector(opened=False) as sink:
        log, metrics = events(700, url=sink.url)
        before = results(metrics.render().decode())
        assert 398 <= before["dropped"] <= 400
        log.close(0.01)
        after = results(metrics.render().decode())
    assert 1398 <= after["dropped"] <= 1400
    assert after["sent"] == after["failed"] == 0


def test_a_connection_that_was_closed_meanwhile_is_opened_anew_and_a_dead_sink_is_an_error():
    event = Event({"id": "é\r\nx: y", "type": "t"}, "application/json", b"{}")
    with collector() as taken:
        sink = Sink(taken.url)
        sink.send(event)
        sink._connection.sock.shutdown(2)
        sink.send(event)
        sink.close()
    assert [each.headers["ce-id"] for each in taken.received] == ["%C3%A9%0D%0Ax:%20y"] * 2
    with contextlib.closing(sink), pytest.raises(SinkError, match="ConnectionRefusedError"):
        sink.send(event)
    with pytest.raises(SinkError, match="ValueError"):
        sink.send(Event({"id": "1"}, "text/plain\r\nx: y", b""))
