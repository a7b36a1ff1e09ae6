import httpx2
import pytest

from slipway.client.errors import FailedError, InvalidInputError, UnreachableError, WaitTimeoutError
from slipway.client.predict import Question, ask_gateway, patience, question

V2 = '{"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [1.0]}]}'


def test_without_data_the_service_shows_an_example():
    assert question("iris", None) == Question("GET", "/predict")


def test_v2_goes_to_the_model():
    assert question("iris", V2) == Question("POST", "/v2/models/iris/infer", V2.encode())


@pytest.mark.parametrize("data", ["[[1, 2]]", '{"inputs": []}', '{"inputs": [[1]]}', '{"instances": [1]}', "3"])
def test_everything_else_goes_to_predict(data):
    assert question("iris", data) == Question("POST", "/predict", data.encode())


def test_data_from_a_file(tmp_path):
    (tmp_path / "x.json").write_text(V2)
    assert question("iris", f"@{tmp_path}/x.json").path == "/v2/models/iris/infer"


def test_refuses_what_is_not_json(tmp_path):
    (tmp_path / "x.bin").write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidInputError, match="--data: not JSON: Expecting"):
        question("iris", "[1,")
    with pytest.raises(InvalidInputError, match="not UTF-8"):
        question("iris", f"@{tmp_path}/x.bin")
    with pytest.raises(InvalidInputError, match="No such file"):
        question("iris", f"@{tmp_path}/none")


async def test_gateway_keeps_the_path_of_the_service():
    def answer(request: httpx2.Request) -> httpx2.Response:
        assert (request.method, str(request.url)) == ("POST", "http://10.0.0.1:30080/ml/iris/predict")
        assert request.headers["content-type"] == "application/json"
        return httpx2.Response(200, content=b"[1]")

    transport = httpx2.MockTransport(answer)
    assert await ask_gateway("http://10.0.0.1:30080/ml/iris/", question("iris", "[1]"), 65.0, transport) == b"[1]"


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (400, '{"error": "x has 4 columns, not 3"}', "answered 400: x has 4 columns, not 3."),
        (503, "no healthy upstream", "No replica is ready: no healthy upstream."),
        (500, "", "answered 500: no reason given."),
    ],
)
async def test_refusals_carry_the_reason_of_the_server(status, body, says):
    transport = httpx2.MockTransport(lambda _: httpx2.Response(status, text=body))
    with pytest.raises(FailedError) as refused:
        await ask_gateway("http://10.0.0.1/", question("iris", None), 65.0, transport)
    assert says in refused.value.message


async def test_gateway_that_does_not_answer(unused_tcp_port):
    with pytest.raises(UnreachableError, match="does not answer"):
        await ask_gateway(f"http://127.0.0.1:{unused_tcp_port}", question("iris", None), 65.0)


async def test_a_model_that_takes_too_long_is_not_asked_twice():
    def answer(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ReadTimeout("no answer", request=request)

    with pytest.raises(WaitTimeoutError, match="did not answer within 65 s"):
        await ask_gateway("http://10.0.0.1/", question("iris", None), 65.0, httpx2.MockTransport(answer))


@pytest.mark.parametrize(("routing", "seconds"), [({}, 65.0), ({"timeout": "2m"}, 125.0), ({"timeout": "0s"}, 3605.0)])
def test_an_answer_may_take_as_long_as_the_service_lets_it(routing, seconds):
    assert patience({"spec": {"routing": routing}}) == seconds


@pytest.mark.parametrize("data", ["[" * 30000, "\udcff"])
def test_odd_data_is_refused(data):
    with pytest.raises(InvalidInputError, match="not JSON"):
        question("iris", data)
