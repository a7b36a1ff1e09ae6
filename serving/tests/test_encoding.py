"""Compressed bodies, both ways."""

from __future__ import annotations

import contextlib
import gzip
import tracemalloc
import zlib

import httpx2
import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway_serving.errors import BodyTooLargeError, InvalidInputError
from slipway_serving.http.encoding import chosen, decompress

PLAIN = {"accept-encoding": "identity"}


def raw_deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compressor.compress(data) + compressor.flush()


FORMS = [("gzip", gzip.compress), ("x-gzip", gzip.compress), ("GZip", gzip.compress)]
FORMS += [("deflate", zlib.compress), ("deflate", raw_deflate), ("identity", bytes)]


@pytest.mark.parametrize(("name", "compress"), FORMS)
@pytest.mark.parametrize("rows", [1, 20_000])
async def test_a_request_may_be_compressed(iris, serving, name, compress, rows):
    body = compress(orjson.dumps({"x": [[5.1, 3.5, 1.4, 0.2]] * rows}))
    async with serving(iris) as client:
        answer = await client.post("/predict", content=body, headers={"content-encoding": name})
    assert answer.status_code == 200
    assert answer.json()["outputs"]["label"] == ["setosa"] * rows


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_lengths_of_binary_tensors_count_what_is_not_compressed(python_model, serving, encoding):
    tensor = np.arange(100_000, dtype=np.float32)
    shape = {"name": "x", "datatype": "FP32", "shape": [100_000], "parameters": {"binary_data_size": tensor.nbytes}}
    header = orjson.dumps({"inputs": [shape], "parameters": {"binary_data_output": True}})
    compress = gzip.compress if encoding == "gzip" else zlib.compress
    headers = {
        "content-encoding": encoding,
        "accept-encoding": encoding,
        "inference-header-content-length": str(len(header)),
    }
    async with serving(python_model()) as client:
        body = compress(header + tensor.tobytes())
        answer = await client.post("/v2/models/echo/infer", content=body, headers=headers)
    assert answer.headers["content-encoding"] == encoding
    length = int(answer.headers["inference-header-content-length"])
    assert orjson.loads(answer.content[:length])["outputs"][0]["shape"] == [100_000]
    assert answer.content[length:] == tensor.tobytes()


async def test_an_answer_is_compressed_only_when_asked_and_worth_it(iris, serving):
    many, few = ({"x": [[5.1, 3.5, 1.4, 0.2]] * rows} for rows in (100, 1))
    async with serving(iris) as client:
        assert "content-encoding" not in (await client.post("/predict", json=many, headers=PLAIN)).headers
        assert "content-encoding" not in (await client.post("/predict", json=few)).headers
        assert "content-encoding" not in (await client.head("/metrics")).headers
        answer = await client.post("/predict", json=many, headers={"accept-encoding": "deflate"})
        assert (answer.headers["content-encoding"], answer.headers["vary"]) == ("deflate", "accept-encoding")
        assert len(answer.json()["outputs"]["label"]) == 100
        assert (await client.get("/metrics")).headers["content-encoding"] == "gzip"


@pytest.mark.parametrize(
    ("encoding", "body", "status", "message"),
    [
        ("br", b"{}", 415, "Content-Encoding 'br' is not possible; send the body as gzip, deflate or as it is"),
        ("gzip, gzip", b"{}", 415, "Content-Encoding 'gzip, gzip' is not possible"),
        ("gzip", b"{}", 400, "the request body is not valid gzip"),
        ("gzip", b"", 400, "the request body is empty"),
        ("gzip", gzip.compress(b"{}" * 50, mtime=0)[:-9], 400, "the compressed request body ends too early"),
        ("gzip", gzip.compress(b"{}", mtime=0) + b"more", 400, "the request body is not valid gzip"),
        ("deflate", zlib.compress(b"{}") + b"more", 400, "4 bytes follow the end of the deflate body"),
        ("deflate", b"\xff\xff", 400, "the request body is not valid deflate"),
        ("gzip", gzip.compress(bytes(10 << 20), mtime=0), 413, "larger than 1048576 bytes once decompressed"),
        ("deflate", zlib.compress(bytes(1 << 20) + b"1"), 413, "larger than 1048576 bytes once decompressed"),
    ],
)
async def test_what_cannot_be_decompressed(iris, serving, encoding, body, status, message):  # noqa: PLR0917  # one row a case
    async with serving(iris, max_body=1 << 20) as client:
        answer = await client.post("/predict", content=body, headers={"content-encoding": encoding})
        assert answer.status_code == status
        assert message in answer.json()["error"]
        assert (status == 415) == (answer.headers.get("accept-encoding") == "gzip, deflate")
        assert (await client.get("/v2/health/live")).status_code == 200


async def test_a_client_that_leaves_takes_its_compressed_request_back(python_model, serving):
    slow = """
        import asyncio

        class Model:
            async def predict(self, inputs):
                await asyncio.sleep(3600)
    """
    body = gzip.compress(orjson.dumps({"x": [1]}))
    async with serving(python_model(slow)) as client:
        with pytest.raises(httpx2.ReadTimeout):
            await client.post("/predict", content=body, headers={"content-encoding": "gzip"}, timeout=0.2)
        while True:  # the test's own timeout bounds it
            metrics = (await client.get("/metrics")).text
            if 'requests_in_flight{model="echo",version=""} 0' in metrics and 'code="499"' in metrics:
                return


def test_a_bomb_never_takes_more_memory_than_the_limit():
    bomb = gzip.compress(bytes(200 << 20))
    tracemalloc.start()
    try:
        with pytest.raises(BodyTooLargeError):
            decompress(bomb, b"gzip", 8 << 20)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 10 << 20


@given(parts=st.lists(st.binary(max_size=300_000), min_size=1, max_size=3))
def test_members_of_a_gzip_body_are_joined(parts):
    assert decompress(b"".join(map(gzip.compress, parts)), b"gzip", 1 << 20) == b"".join(parts)


@given(body=st.binary(min_size=1), encoding=st.sampled_from([b"gzip", b"deflate"]))
def test_arbitrary_bytes_are_refused_or_read(body, encoding):
    with contextlib.suppress(InvalidInputError):
        decompress(body, encoding, 1 << 20)


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [
        (b"gzip, deflate, br", b"gzip"),
        (b"br, deflate", b"deflate"),
        (b"gzip;q=0.2, Deflate;q=0.8", b"deflate"),
        (b"gzip;q=0", None),
        (b"gzip;q=much", None),
        (b"x-gzip", b"gzip"),
        (b"*", None),
        (b"", None),
    ],
)
def test_what_a_client_likes_best(accepted, encoding):
    assert chosen(accepted) == encoding
