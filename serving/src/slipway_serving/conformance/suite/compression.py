"""Compressed bodies (RFC 9110, 8.4), which tritonclient offers as request_compression_algorithm."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Mapping

from slipway_serving.conformance.checks import Group, NotSupported, expect
from slipway_serving.conformance.client import Answer
from slipway_serving.conformance.suite.inference import expect_outputs
from slipway_serving.conformance.suite.metadata import expect_error
from slipway_serving.conformance.target import Target

COMPRESSION = Group("compression", "RFC 9110, 8.4")


def _request(target: Target) -> bytes:
    return json.dumps({"inputs": target.example()}).encode()


def _post(target: Target, body: bytes, headers: Mapping[str, str]) -> Answer:
    return target.infer(body, headers)


def _compressed(target: Target, coding: str) -> str:
    body = _request(target)
    packed = gzip.compress(body) if coding == "gzip" else zlib.compress(body)
    answer = _post(target, packed, {"content-encoding": coding})
    if 400 <= answer.status < 500:
        raise NotSupported(answer.seen)
    expect_outputs(answer)
    return answer.seen


@COMPRESSION.extension("gzip-request", "a request in gzip is read, or refused as a 4xx (415)")
def gzip_request(target: Target) -> str:
    return _compressed(target, "gzip")


@COMPRESSION.extension("deflate-request", "a request in deflate (zlib's format) is read, or refused as a 4xx (415)")
def deflate_request(target: Target) -> str:
    return _compressed(target, "deflate")


def _accept(target: Target, coding: str) -> str:
    tensor = target.tensor("INT32", shape=[2000], data=[7] * 2000)
    body = json.dumps({"inputs": [tensor]}).encode()
    answer = _post(target, body, {"accept-encoding": coding})
    used = answer.headers.get("content-encoding", "identity")
    if used == "identity":
        expect_outputs(answer)
        raise NotSupported("the answer is not compressed")
    expect(used == coding, f"content-encoding: {used}")
    unpacked = gzip.decompress(answer.body) if coding == "gzip" else zlib.decompress(answer.body)
    expect_outputs(Answer(answer.status, answer.headers, unpacked))
    return f"{len(answer.body)} bytes for {len(unpacked)}"


@COMPRESSION.extension("gzip-response", "an answer is in gzip where Accept-Encoding asks for it")
def gzip_response(target: Target) -> str:
    return _accept(target, "gzip")


@COMPRESSION.extension("deflate-response", "an answer is in deflate where Accept-Encoding asks for it")
def deflate_response(target: Target) -> str:
    return _accept(target, "deflate")


@COMPRESSION.robust("broken", 'a body that is not the gzip it claims to be is a 4xx with {"error": …}')
def broken(target: Target) -> str:
    answer = _post(target, b"\x1f\x8b" + b"no gzip at all", {"content-encoding": "gzip"})
    expect(400 <= answer.status < 500, answer.seen)
    return expect_error(answer)


@COMPRESSION.robust("unknown", 'a coding that nobody knows is a 4xx with {"error": …}')
def unknown(target: Target) -> str:
    answer = _post(target, _request(target), {"content-encoding": "rot13"})
    expect(400 <= answer.status < 500, answer.seen)
    return expect_error(answer)
