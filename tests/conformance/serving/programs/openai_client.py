"""OpenAI's client against the model `chat`. Argument: the server's URL."""

from __future__ import annotations

import sys

from cases import Cases, refused
from openai import APIStatusError, BadRequestError, NotFoundError, OpenAI

client = OpenAI(base_url=f"{sys.argv[1]}/v1", api_key="none", max_retries=0, timeout=20)
case = Cases()
HELLO = [{"role": "user", "content": "größe"}]


@case("models")
def models():
    assert "chat" in [model.id for model in client.models.list()]


@case("chat")
def chat():
    answer = client.chat.completions.create(model="chat", messages=HELLO, temperature=0.5, max_tokens=7)
    (choice,) = answer.choices
    assert (choice.message.role, choice.message.content) == ("assistant", "you said größe")
    assert choice.finish_reason == "stop"
    assert (answer.object, answer.model) == ("chat.completion", "chat")
    assert answer.id
    assert answer.created > 0


@case("chat as a stream")
def chat_stream():
    pieces, reasons = [], []
    for chunk in client.chat.completions.create(model="chat", messages=HELLO, stream=True):
        assert chunk.object == "chat.completion.chunk"
        pieces += [choice.delta.content or "" for choice in chunk.choices]
        reasons += [choice.finish_reason for choice in chunk.choices if choice.finish_reason]
    assert "".join(pieces) == "you said größe", pieces
    assert len([piece for piece in pieces if piece]) > 1, "it came in one piece"
    assert reasons == ["stop"]


@case("completion")
def completion():
    answer = client.completions.create(model="chat", prompt="abc")
    assert answer.choices[0].text == "abc, continued"
    assert answer.object == "text_completion"


@case("completion as a stream")
def completion_stream():
    chunks = client.completions.create(model="chat", prompt="abc", stream=True)
    assert "".join(choice.text for chunk in chunks for choice in chunk.choices) == "abc, continued"


@case("embeddings, which the client asks for in base64")
def embeddings():
    answer = client.embeddings.create(model="chat", input=["a", "bcd"])
    assert [entry.embedding for entry in answer.data] == [[1.0, 0.5], [3.0, 0.5]]
    assert [entry.index for entry in answer.data] == [0, 1]


@case("embeddings as numbers")
def plain_embeddings():
    answer = client.embeddings.create(model="chat", input="ab", encoding_format="float")
    assert answer.data[0].embedding == [2.0, 0.5]


@case("a model that is not there")
def unknown_model():
    refused(NotFoundError, "nothing", lambda: client.chat.completions.create(model="nothing", messages=HELLO))


@case("a model without chat")
def no_chat():
    refused(APIStatusError, "sums", lambda: client.chat.completions.create(model="sums", messages=HELLO))


@case("a refusal of the model's own, in its words")
def own_refusal():
    messages = [{"role": "user", "content": "refuse"}]
    refused(BadRequestError, "not that word", lambda: client.chat.completions.create(model="chat", messages=messages))


@case("no messages")
def no_messages():
    refused(BadRequestError, "messages", lambda: client.chat.completions.create(model="chat", messages=[]))


case.run()
