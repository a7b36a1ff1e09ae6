"""Our own conformance suite against a real server process: here nothing may fail, however binding it is."""

from __future__ import annotations

import json
import subprocess
import sys

NOT_TESTED = {
    "errors.missing-input",  # the model `identity` declares no inputs; `sums` does
    "errors.unknown-input",
}


def suite(server, *options: str) -> dict[str, dict[str, str]]:
    command = [sys.executable, "-m", "slipway_serving", "conformance", server.url, "-o", "json", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.stdout, done.stderr
    return {check["id"]: check for check in json.loads(done.stdout)["checks"]}


def expect_all(results: tuple[str, ...], found: dict[str, dict[str, str]]) -> None:
    wrong = [
        f"{name}: {each['result']}: {each['seen']}" for name, each in found.items() if each["result"] not in results
    ]
    assert not wrong, "\n".join(wrong)


def test_every_check_of_http_passes(server):
    found = suite(server, "--unload")
    assert len(found) > 190
    expect_all(("pass",), {name: check for name, check in found.items() if name not in NOT_TESTED})


def test_every_check_of_grpc_passes(server):
    found = suite(server, "--grpc", server.grpc, "--only", "grpc.")
    assert len(found) > 60
    expect_all(("pass",), found)


def test_a_model_with_declared_tensors_fails_nothing(server):
    found = suite(server, "--model", "sums")
    expect_all(("pass", "not supported", "not tested"), found)
    expect_all(("pass",), {name: found[name] for name in ("errors.unknown-input", "v1.predict", "infer.fp32")})
