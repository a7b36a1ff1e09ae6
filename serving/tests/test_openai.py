"""OpenAI's API: what is asked is checked field by field, and whatever a model gives becomes a whole answer."""

from __future__ import annotations

import base64

import httpx2
import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway_serving.codec.openai_answers import KINDS, Answer, embeddings, join, usage_of
from slipway_serving.codec.openai_requests import CHAT, COMPLETIONS, EMBEDDINGS, FieldError, count_inputs, decode
from slipway_serving.errors import InvalidInputError, ModelFailedError, NotRepresentableError

HELLO = [{"role": "user", "content": "hello"}]
CHATS = "/v1/chat/completions"

MODEL = """
    import asyncio
    import numpy
    from slipway_serving import InvalidInputError

    class Model:
        def load(self, directory):
            self.directory = directory

        def chat_completions(self, request):
            text = request["messages"][-1]["content"]
            if text == "refuse":
                raise InvalidInputError("not that word")
            if text == "fail":
                raise ValueError("inside")
            if text == "whole":
                return "all at once"
            if text == "nan":
                return {"choices": [{"message": "a", "logprobs": {"content": [float("nan")]}}]}
            return self.words(text)

        def words(self, text):
            yield "you said "
            if text == "break":
                raise ValueError("in the middle")
            yield text

        async def completions(self, request):
            try:
                for index in range(10**9 if request["prompt"] == "forever" else 2):
                    yield f"{index}"
                    await asyncio.sleep(0.001)
            finally:
                (self.directory / "closed").touch()

        def embeddings(self, request):
            return numpy.arange(6, dtype=numpy.float32).reshape(2, 3)
"""


def chat(text="hello", **fields):
    return {"model": "echo", "messages": [{"role": "user", "content": text}], **fields}


def events(answer):
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    lines = answer.text.split("\n\n")
    assert lines.pop() == ""
    assert all(line.startswith("data: ") for line in lines)
    return [line[6:] if line == "data: [DONE]" else orjson.loads(line[6:]) for line in lines]


async def test_a_chat_as_one_answer(python_model, serving):
    async with serving(python_model(MODEL)) as client:
        answer = (await client.post(CHATS, json=chat())).json()
        whole = (await client.post(CHATS, json=chat("whole"))).json()
    assert answer.pop("id").startswith("chatcmpl-")
    assert answer.pop("created") > 1_700_000_000
    message = {"role": "assistant", "content": "you said hello"}
    assert answer == {
        "object": "chat.completion",
        "model": "echo",
        "choices": [{"index": 0, "logprobs": None, "finish_reason": "stop", "message": message}],
        "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
    }
    assert whole["choices"][0]["message"]["content"] == "all at once"


@pytest.mark.parametrize("text", ["hello", "whole"])
async def test_a_chat_as_events(python_model, serving, text):
    asked = chat(text, stream=True, stream_options={"include_usage": True})
    async with serving(python_model(MODEL)) as client:
        *chunks, done = events(await client.post(CHATS, json=asked))
    assert done == "[DONE]"
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    *parts, usage = chunks
    assert usage["choices"] == []
    assert usage["usage"]["total_tokens"] == 0
    assert all(chunk["usage"] is None for chunk in parts)
    deltas = [chunk["choices"][0]["delta"] for chunk in parts]
    assert deltas[0]["role"] == "assistant"
    assert all("role" not in delta for delta in deltas[1:])
    said = "".join(delta.get("content", "") for delta in deltas)
    assert said == ("you said hello" if text == "hello" else "all at once")
    reasons = [chunk["choices"][0]["finish_reason"] for chunk in parts]
    assert reasons[-1] == "stop"
    assert not any(reasons[:-1])


async def test_completions_and_embeddings(python_model, serving):
    async with serving(python_model(MODEL)) as client:
        answer = (await client.post("/v1/completions", json={"model": "echo", "prompt": "count"})).json()
        assert answer["object"] == "text_completion"
        assert answer["choices"] == [{"index": 0, "logprobs": None, "finish_reason": "stop", "text": "01"}]
        asked = {"model": "echo", "input": ["a", "b"]}
        answer = (await client.post("/v1/embeddings", json=asked)).json()
        assert [entry["embedding"] for entry in answer["data"]] == [[0, 1, 2], [3, 4, 5]]
        assert answer["usage"] == {"prompt_tokens": 0, "total_tokens": 0}
        answer = (await client.post("/v1/embeddings", json={**asked, "encoding_format": "base64"})).json()
        packed = base64.b64decode(answer["data"][1]["embedding"])
        assert np.frombuffer(packed, "<f4").tolist() == [3, 4, 5]


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        (chat(model="ecco"), 404, {"param": "model", "code": "model_not_found", "type": "invalid_request_error"}),
        (chat("refuse"), 400, {"message": "not that word", "param": None, "type": "invalid_request_error"}),
        (chat("refuse", stream=True), 400, {"message": "not that word"}),
        (chat("fail"), 500, {"type": "server_error"}),
        (chat("fail", stream=True), 500, {"type": "server_error"}),
        (chat("nan"), 422, {"message": "the answer's choices[0].logprobs.content[0] is nan, which JSON cannot carry"}),
        (chat("break"), 500, {"type": "server_error"}),
        (chat(temperature=3), 400, {"param": "temperature"}),
        ([], 400, {"message": "the request must be a JSON object"}),
    ],
)
async def test_errors_are_objects_that_clients_of_openai_read(python_model, serving, body, status, error):
    async with serving(python_model(MODEL)) as client:
        answer = await client.post(CHATS, json=body)
    assert answer.status_code == status
    got = answer.json()["error"]
    assert got.keys() == {"message", "type", "param", "code"}
    assert got | error == got


async def test_a_model_without_the_operation(iris, serving):
    async with serving(iris) as client:
        answer = await client.post(CHATS, json={"model": "iris", "messages": HELLO})
    assert answer.status_code == 400
    assert answer.json()["error"]["message"] == "model 'iris' has no chat_completions; it offers: predict"


async def test_a_failure_in_the_middle_is_the_last_event(python_model, serving):
    async with serving(python_model(MODEL)) as client:
        *chunks, last = events(await client.post(CHATS, json=chat("break", stream=True)))
        assert chunks[0]["choices"][0]["delta"]["content"] == "you said "
        assert last["error"]["type"] == "server_error"
        assert "ValueError" in last["error"]["message"]
        assert 'code="500"' in (await client.get("/metrics")).text


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_leaves_closes_the_generator(python_model, serving, stream):
    directory = python_model(MODEL)
    asked = {"model": "echo", "prompt": "forever", "stream": stream}
    async with serving(directory) as client:
        if stream:
            async with client.stream("POST", "/v1/completions", json=asked) as answer:
                assert (await anext(answer.aiter_lines())).startswith("data: ")
        else:
            with pytest.raises(httpx2.ReadTimeout):
                await client.post("/v1/completions", json=asked, timeout=httpx2.Timeout(5, read=0.3))
        while not (directory / "closed").exists():  # the test's own timeout bounds both loops
            await client.get("/v2/health/live")
        while 'requests_in_flight{model="echo",version=""} 0' not in (await client.get("/metrics")).text:
            pass
        assert 'code="499"' in (await client.get("/metrics")).text


@pytest.mark.parametrize(
    ("operation", "fields", "param"),
    [
        (CHAT, {"messages": HELLO}, "model"),
        (CHAT, {"model": 1, "messages": HELLO}, "model"),
        (CHAT, {"model": "m"}, "messages"),
        (CHAT, {"model": "m", "messages": []}, "messages"),
        (CHAT, {"model": "m", "messages": [1]}, "messages[0]"),
        (CHAT, {"model": "m", "messages": [{"content": "a"}]}, "messages[0].role"),
        (CHAT, {"model": "m", "messages": [{"role": "king", "content": "a"}]}, "messages[0].role"),
        (CHAT, {"model": "m", "messages": [{"role": ["user"], "content": "a"}]}, "messages[0].role"),
        (CHAT, {"model": "m", "messages": [{"role": "user"}]}, "messages[0].content"),
        (CHAT, {"model": "m", "messages": [{"role": "user", "content": 1}]}, "messages[0].content"),
        (CHAT, {"model": "m", "messages": [{"role": "user", "content": [{}]}]}, "messages[0].content[0].type"),
        (
            CHAT,
            {"model": "m", "messages": [{"role": "user", "content": [{"type": "text"}]}]},
            "messages[0].content[0].text",
        ),
        (CHAT, {"model": "m", "messages": [{"role": "tool", "content": "a"}]}, "messages[0].tool_call_id"),
        (CHAT, {"model": "m", "messages": HELLO, "temperature": True}, "temperature"),
        (CHAT, {"model": "m", "messages": HELLO, "top_p": "1"}, "top_p"),
        (CHAT, {"model": "m", "messages": HELLO, "max_tokens": 0}, "max_tokens"),
        (CHAT, {"model": "m", "messages": HELLO, "max_tokens": 1.5}, "max_tokens"),
        (CHAT, {"model": "m", "messages": HELLO, "n": 1000}, "n"),
        (CHAT, {"model": "m", "messages": HELLO, "stop": [1]}, "stop[0]"),
        (CHAT, {"model": "m", "messages": HELLO, "stop": 1}, "stop"),
        (CHAT, {"model": "m", "messages": HELLO, "logit_bias": {"5": 101}}, "logit_bias.5"),
        (CHAT, {"model": "m", "messages": HELLO, "stream": "yes"}, "stream"),
        (CHAT, {"model": "m", "messages": HELLO, "stream_options": {}}, "stream_options"),
        (
            CHAT,
            {"model": "m", "messages": HELLO, "stream": True, "stream_options": {"include_usage": 1}},
            "stream_options.include_usage",
        ),
        (CHAT, {"model": "m", "messages": HELLO, "tools": [{}]}, "tools[0].type"),
        (COMPLETIONS, {"model": "m"}, "prompt"),
        (COMPLETIONS, {"model": "m", "prompt": []}, "prompt"),
        (COMPLETIONS, {"model": "m", "prompt": ["a", 1]}, "prompt[1]"),
        (COMPLETIONS, {"model": "m", "prompt": [1, -1]}, "prompt[1]"),
        (EMBEDDINGS, {"model": "m", "input": [[1], ["a"]]}, "input[1][0]"),
        (EMBEDDINGS, {"model": "m", "input": "a", "encoding_format": "int8"}, "encoding_format"),
        (EMBEDDINGS, {"model": "m", "input": "a", "dimensions": 0}, "dimensions"),
    ],
)
def test_the_field_that_is_wrong_is_named(operation, fields, param):
    with pytest.raises(FieldError) as raised:
        decode(orjson.dumps(fields), operation)
    assert raised.value.param == param
    assert f"'{param}'" in str(raised.value)


def test_what_is_not_known_here_reaches_the_model_and_null_is_not_there():
    fields = {"model": "m", "messages": HELLO, "top_k": 5, "temperature": None}
    assert decode(orjson.dumps(fields), CHAT) == {"model": "m", "messages": HELLO, "top_k": 5}


json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
names = st.sampled_from(["model", "messages", "prompt", "input", "stop", "tools", "logit_bias", "stream_options", "n"])


@given(fields=st.dictionaries(names, json), operation=st.sampled_from([CHAT, COMPLETIONS, EMBEDDINGS]))
def test_any_document_is_read_or_refused(fields, operation):
    try:
        request = decode(orjson.dumps(fields), operation)
    except InvalidInputError:
        return
    assert type(request["model"]) is str


def test_inputs_are_counted():
    assert [count_inputs(each) for each in ("a", ["a"], ["a", "b"], [1, 2, 3], [[1], [2, 3]])] == [1, 1, 2, 1, 2]


def answer(kind=CHAT):
    return Answer(KINDS[kind], "m")


@pytest.mark.parametrize(
    ("value", "contents"),
    [
        ("a", ["a"]),
        (["a", "b"], ["a", "b"]),
        ({"role": "assistant", "content": "a"}, ["a"]),
        ({"choices": ["a"]}, ["a"]),
        ({"choices": [{"message": {"content": "a"}}, {"message": "b", "index": 1}]}, ["a", "b"]),
    ],
)
def test_whatever_a_model_returns_is_a_chat(value, contents):
    choices = answer().whole(value)["choices"]
    assert [choice["message"]["content"] for choice in choices] == contents
    assert [choice["index"] for choice in choices] == list(range(len(contents)))
    assert all(choice["message"]["role"] == "assistant" for choice in choices)
    assert all(choice["finish_reason"] == "stop" for choice in choices)


@pytest.mark.parametrize(
    "value", [None, 1, [], [1], {"choices": "a"}, {"choices": [1]}, {"choices": [{"message": 1, "delta": 1}]}]
)
def test_what_is_no_chat_is_the_models_failure(value):
    with pytest.raises(ModelFailedError):
        answer().whole(value)
    with pytest.raises(ModelFailedError):
        answer().chunk(value)


def test_what_the_model_says_itself_stays():
    given = {"id": "own", "system_fingerprint": "f", "usage": {"prompt_tokens": 2, "completion_tokens": 3}}
    whole = answer().whole({**given, "choices": [{"message": {"content": "a"}, "finish_reason": "length"}]})
    assert (whole["id"], whole["system_fingerprint"]) == ("own", "f")
    assert whole["usage"]["total_tokens"] == 5
    assert whole["choices"][0]["finish_reason"] == "length"


def test_chunks_of_tools_and_of_several_choices_are_joined():
    def call(arguments, **rest):
        return {"tool_calls": [{"index": 0, "function": {"arguments": arguments, **rest}}]}

    one = answer()
    items = [
        {"choices": [{"index": 1, "delta": "b"}, {"index": 0, "delta": call("{", name="f")}]},
        {"choices": [{"index": 1, "delta": {"content": "c"}, "finish_reason": "length"}]},
        call("}"),
        {"choices": [{"delta": {}, "finish_reason": "tool_calls"}], "usage": {"prompt_tokens": 1}},
    ]
    whole = join(one, [one.chunk(item) for item in items])
    first, second = whole["choices"]
    assert first["message"]["tool_calls"] == [{"function": {"arguments": "{}", "name": "f"}}]
    assert (first["finish_reason"], second["finish_reason"]) == ("tool_calls", "length")
    assert second["message"]["content"] == "bc"
    assert whole["usage"] == {"prompt_tokens": 1, "completion_tokens": 0, "total_tokens": 1}
    assert one.last() == []


def test_a_choice_that_calls_a_tool_ends_with_that():
    called = {"tool_calls": [{"index": 0, "id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]}
    assert answer().whole(called)["choices"][0]["finish_reason"] == "tool_calls"
    one = answer()
    assert join(one, [one.chunk(called)])["choices"][0]["finish_reason"] == "tool_calls"
    assert one.last()[0]["choices"][0]["finish_reason"] == "tool_calls"


def test_nothing_yielded_is_an_empty_answer():
    assert join(answer(), [])["choices"][0]["message"]["content"] == ""
    (last,) = answer().last()
    assert last["choices"][0]["finish_reason"] == "stop"
    assert last["choices"][0]["delta"]["role"] == "assistant"


@given(parts=st.lists(st.text(), max_size=5), kind=st.sampled_from([CHAT, COMPLETIONS]))
def test_texts_are_joined_in_order(parts, kind):
    one = answer(kind)
    (choice,) = join(one, [one.chunk(part) for part in parts])["choices"]
    assert (choice["text"] if kind == COMPLETIONS else choice["message"]["content"]) == "".join(parts)


@pytest.mark.parametrize(
    "value", [[[1, 2], [3, 4]], np.array([[1, 2], [3, 4]]), {"data": [{"embedding": [1, 2]}, [3, 4]]}]
)
def test_vectors_come_in_many_forms(value):
    data = embeddings(value, "m", 2, "float")["data"]
    assert [entry["embedding"].tolist() for entry in data] == [[1, 2], [3, 4]]
    assert embeddings([1, 2], "m", 1, "float")["data"][0]["embedding"].tolist() == [1, 2]


@pytest.mark.parametrize(
    "value", [None, "a", [[1]], [[1], "a"], [[1], [[2]]], {"data": {}}, 5, [], [[1], {"vector": 1}]]
)
def test_what_are_no_vectors_is_the_models_failure(value):
    with pytest.raises(ModelFailedError):
        embeddings(value, "m", 2, "float")


def test_nan_is_no_embedding():
    with pytest.raises(NotRepresentableError, match=r"data\[0\].embedding has NaN"):
        embeddings([float("nan")], "m", 1, "base64")


def test_usage_is_completed():
    assert usage_of({"prompt_tokens": 1, "total_tokens": 7, "completion_tokens": None}) == {
        "prompt_tokens": 1,
        "total_tokens": 7,
        "completion_tokens": 0,
    }
