"""The operator process: what it is told, what it logs, how it ends."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path

import pytest

from slipway.controllers.modelservice.settings import Settings
from slipway.kit.objects import LEASE
from slipway.kit.testing import ApiServer, virtual_time
from slipway.operator import JsonFormatter, main, make_manager, read_options

IMAGE = "registry.example/slipway/serving:0.1.0"


def test_flags() -> None:
    options = read_options(
        [f"--serving-image={IMAGE}", "--gateway=slipway-system/slipway", "--gateway-url=http://h:30080/"], {}
    )
    assert options.settings == Settings(IMAGE, ("slipway-system", "slipway"), "http://h:30080")
    assert options.lease_namespace == "slipway-system"
    assert options.metrics_address == ("0.0.0.0", 8080)  # noqa: S104
    assert options.kubeconfig is None


def test_environment_and_flags_that_win_over_it() -> None:
    environment = {"SLIPWAY_SERVING_IMAGE": "old", "SLIPWAY_LEADER_ELECT": "false", "SLIPWAY_METRICS_ADDRESS": ":9090"}
    options = read_options([f"--serving-image={IMAGE}"], environment)
    assert options.settings == Settings(IMAGE)
    assert options.lease_namespace is None
    assert options.metrics_address[1] == 9090


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "--serving-image is missing: REGISTRY/slipway/serving:VERSION"),
        (["--serving-image=x", "--gateway=slipway"], "--gateway 'slipway' is not NAMESPACE/NAME"),
        (["--serving-image=x", "--gateway-url=h:30080"], "--gateway-url 'h:30080' is not http://HOST[:PORT]"),
        (["--serving-image=x", "--leader-elect=yes"], "--leader-elect 'yes' is neither true nor false"),
        (["--serving-image=x", "--metrics-address=h"], "--metrics-address 'h' is not HOST:PORT"),
        (["--serving-image=x", "--metrics-address=h:70000"], "--metrics-address 'h:70000' is not HOST:PORT"),
        (["--serving-imgae=x"], "unrecognized arguments: --serving-imgae=x"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        read_options(["--serving-image=x", *arguments] if "imgae" in sentence else arguments, {})
    assert ended.value.code == 2
    assert sentence in capsys.readouterr().err


def test_a_process_that_cannot_run_says_why_in_one_json_line_and_ends_with_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = logging.getLogger()
    before = (root.level, [*root.handlers])
    try:
        assert main([f"--serving-image={IMAGE}", f"--kubeconfig={tmp_path / 'none'}"]) == 1
    finally:
        root.setLevel(before[0])
        root.handlers[:] = before[1]
    (line,) = capsys.readouterr().err.splitlines()
    entry = json.loads(line)
    assert entry["level"] == "error"
    assert entry["message"].startswith("Cannot run: ")
    assert "no such kubeconfig file" in entry["message"]


def test_a_log_line_is_one_json_object_even_with_a_trace() -> None:
    with pytest.raises(ValueError, match="first") as raised:
        int("first\nsecond")
    trace = (raised.type, raised.value, raised.tb)
    record = logging.LogRecord("slipway", logging.ERROR, __file__, 1, "%s died", ("it",), trace)
    line = JsonFormatter().format(record)
    assert "\n" not in line
    entry = json.loads(line)
    assert (entry["level"], entry["logger"], entry["message"]) == ("error", "slipway", "it died")
    assert "ValueError" in entry["error"]


@virtual_time
async def test_the_manager_takes_the_lease_and_gives_it_back() -> None:
    server = ApiServer()
    options = read_options([f"--serving-image={IMAGE}", "--namespace=platform", "--metrics-address=127.0.0.1:0"], {})
    manager = make_manager(server, options)
    manager.port = None  # probes need a real clock
    task = asyncio.create_task(manager.run())
    await asyncio.sleep(30)
    (lease,) = server.objects(LEASE).values()
    assert lease["metadata"]["namespace"] == "platform"
    assert lease["spec"]["holderIdentity"]
    manager.stop()
    await task
    (lease,) = server.objects(LEASE).values()
    assert lease["spec"]["holderIdentity"] == ""
