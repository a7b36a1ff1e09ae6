"""Ctrl-C, in a process of its own: it detaches, says how to return, and ends with 130."""

import os
import signal
import subprocess
import sys

import pytest

SERVICES = "/apis/slipway.dev/v1alpha1/namespaces/ml/modelservices"
SERVICE = {
    "kind": "ModelService",
    "metadata": {"name": "iris", "namespace": "ml", "uid": "u", "generation": 1},
    "spec": {},
}


@pytest.fixture
def started(api):
    """Starts a command line; the API server knows one model service, which never becomes ready."""
    api.on("GET", SERVICES, 200, {"metadata": {}, "items": [SERVICE]})
    api.on("GET", f"{SERVICES}/iris", 200, SERVICE)
    api.on("PATCH", f"{SERVICES}/iris", 200, SERVICE)
    for kind in ("pods", "events"):
        api.on("GET", f"/api/v1/namespaces/ml/{kind}", 200, {"metadata": {}, "items": []})
    processes = []

    def start(*arguments):
        # a test run in the background of a shell ignores SIGINT, and so would what it starts
        command = ["env", "--default-signal=INT", sys.executable, "-m", "slipway", *arguments]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=dict(os.environ))
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def interrupt(process, after):
    """Sends Ctrl-C once a line with this text was printed; returns the exit code and what was printed afterwards."""
    for line in process.stderr:
        if after in line:
            break
    process.send_signal(signal.SIGINT)
    return process.wait(timeout=30), process.stderr.read()


def test_deploy_detaches(started):
    code, said = interrupt(started("deploy", "iris", "oci://r/iris:1"), "has not looked at it yet")
    assert code == 130
    assert "Detached: iris goes on without us. Return with: slipway describe iris" in said
    assert "Traceback" not in said
