"""The OpenAPI document against a real server: requests made from it, right and wrong, never find a fault in either.

Schemathesis makes them: from the examples, for every keyword of every schema, and at random (always the same ones).
"""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

IRIS = Path(__file__).parents[2] / "examples" / "iris"
MODELS = {
    "pair": """
        class Model:
            inputs = [
                {"name": "number", "datatype": "FP64", "shape": [-1, 2]},
                {"name": "text", "datatype": "BYTES", "shape": [-1]},
            ]
            outputs = [
                {"name": "flag", "datatype": "BOOL", "shape": [-1]},
                {"name": "text", "datatype": "BYTES", "shape": [-1]},
            ]

            def predict(self, inputs):
                rows = min(len(inputs["number"]), len(inputs["text"]))
                return {"flag": inputs["number"][:rows, 0] > 0, "text": inputs["text"][:rows]}

            def explain(self, inputs):
                return {"number": inputs["number"]}
    """,
    "fixed": """
        class Model:
            inputs = [
                {"name": "k", "datatype": "UINT8", "shape": [2, 3]},
                {"name": "b", "datatype": "BOOL", "shape": []},
            ]
            outputs = [{"name": "k", "datatype": "UINT8", "shape": [2, 3]}]

            def predict(self, inputs):
                yield {"k": inputs["k"]}
    """,
    "any": """
        class Model:
            def predict(self, inputs):
                return inputs
    """,
    "talk": """
        class Model:
            inputs = [{"name": "text", "datatype": "BYTES", "shape": [1]}]

            def predict(self, inputs):
                return inputs["text"]

            def chat_completions(self, request):
                yield from ("one ", "two")

            async def completions(self, request):
                return {"choices": ["one"], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}

            def embeddings(self, request):
                given = request["input"]
                many = len(given) if isinstance(given, list) and not isinstance(given[0], int) else 1
                return [[0.5, 1.5]] * many
    """,
}
# A right request may have a wrong answer (422): NaN has no JSON form, whatever the request was.
SETTINGS = """
    [checks.positive_data_acceptance]
    expected-statuses = ["2xx", "403", "404", "422", "503"]

    # No schema can say that a tensor has as many elements as its shape, nor that 1.0 is not a whole number, which it is
    # for JSON Schema; and a model that declares nothing takes any lists, but not ragged ones.
    [[operations]]
    include-path-regex = "/infer$|/fixed|/any|^/v1/(chat/)?(completions|embeddings)$"
    checks.positive_data_acceptance.enabled = false
"""


@pytest.fixture
def address(tmp_path) -> Iterator[str]:
    """A server with models of every kind."""
    shutil.copytree(IRIS, tmp_path / "models" / "iris")
    for name, source in MODELS.items():
        (tmp_path / "models" / name).mkdir()
        (tmp_path / "models" / name / "model.py").write_text(textwrap.dedent(source))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "slipway_serving", str(tmp_path / "models"), "--host", "127.0.0.1"]
    command += ["--http-port", str(port), "--grpc-port", "off", "--model-control-mode", "none"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 30
    while not is_ready(address):
        assert time.monotonic() < deadline, "the server did not start"
        time.sleep(0.05)
    yield address
    process.kill()
    process.wait()


def is_ready(address: str) -> bool:
    try:
        return httpx2.get(f"{address}/v2/health/ready").is_success
    except httpx2.TransportError:
        return False


def test_the_document_and_the_server_agree(address, tmp_path):
    (tmp_path / "schemathesis.toml").write_text(textwrap.dedent(SETTINGS))
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(tmp_path / "schemathesis.toml")]
    command += ["run", f"{address}/openapi.json", "--max-examples", "10", "--generation-deterministic", "--no-color"]
    command += ["--phases", "examples,coverage,fuzzing"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    tested = re.search(r"Tested: +([0-9]+)", done.stdout)
    assert tested
    assert int(tested[1]) >= 60
