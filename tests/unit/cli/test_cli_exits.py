"""Each exit code, from a process of its own as a script sees it; and what a terminal gets that a pipe does not."""

import asyncio
import os
import pty
import signal
import subprocess
import sys

import pytest

from slipway.kit.client import Forbidden
from slipway.kit.objects import MODEL_SERVICE

PROGRESS = {"Ready": ("True", "Serving"), "Progressing": ("False", "RolloutComplete")}
URI = "oci://registry.local/models/iris:1"


def service(name="iris", **conditions):
    """A model service; `paused` keeps the operator of the tests away from its status."""
    since = {"observedGeneration": 1000, "message": "says the cluster"}
    found = [
        {"type": kind, "status": status, "reason": reason, **since}
        for kind, (status, reason) in (PROGRESS | conditions).items()
    ]
    return {
        "apiVersion": "slipway.dev/v1alpha1",
        "kind": "ModelService",
        "metadata": {"name": name, "namespace": "ml", "labels": {"paused": ""}},
        "spec": {"model": {"uri": URI}},
        "status": {"conditions": found},
    }


@pytest.fixture
def services(cluster):
    """Model services in every state that a rollout can be in."""
    cluster.put(MODEL_SERVICE, service())
    cluster.put(MODEL_SERVICE, service("broken", Progressing=("False", "CrashLoopBackOff")))
    cluster.put(MODEL_SERVICE, service("waits", Progressing=("False", "Unschedulable")))
    cluster.put(MODEL_SERVICE, service("slow", Progressing=("True", "RollingOut")))
    return cluster


def run(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "slipway", *arguments], capture_output=True, text=True, check=False, **options
    )


EXITS = [
    (0, ["rollout", "status", "iris"], "is complete"),
    (1, ["rollout", "status", "broken"], "broken cannot become ready"),
    (2, ["scale", "iris"], "--replicas, --min or --max is missing"),
    (3, ["rollout", "status", "slow", "--timeout", "1s"], "slow is not ready after 1 s"),
    (4, ["describe", "irs"], "did you mean iris?"),
    (6, ["rollout", "status", "waits", "--patience", "0s"], "waits waits: Unschedulable"),
]


@pytest.mark.parametrize(("code", "words", "says"), EXITS)
def test_exit_codes(services, code, words, says):
    done = run(*words)
    assert (done.returncode, says in done.stderr) == (code, True), done.stderr
    assert "Traceback" not in done.stderr


def test_forbidden_is_5(services):
    def forbid(_):
        raise Forbidden(403, "Forbidden", 'User "u" cannot list resource "modelservices"')

    services.server.fault = forbid
    done = run("list")
    assert (done.returncode, 'User "u" cannot list' in done.stderr) == (5, True)


def test_unreachable_is_7(home, write_kubeconfig, monkeypatch, unused_tcp_port):
    monkeypatch.setenv("KUBECONFIG", str(write_kubeconfig(home / "c", f"http://127.0.0.1:{unused_tcp_port}", "prod")))
    done = run("list")
    assert (done.returncode, "Cannot reach prod" in done.stderr) == (7, True)


def test_a_conflict_is_8(services):
    theirs = {**service(), "spec": {"model": {"uri": URI}, "scaling": {"min": 1, "max": 1}}}

    async def apply():
        await services.server.apply(MODEL_SERVICE, theirs, manager="kubectl")

    asyncio.run_coroutine_threadsafe(apply(), services.loop).result()
    done = run("scale", "iris", "--replicas", "2")
    assert (done.returncode, "spec.scaling.min is managed by kubectl." in done.stderr) == (8, True), done.stderr


@pytest.mark.parametrize("words", [["rollout", "status", "slow"], ["scale", "slow", "--replicas", "2"]])
def test_ctrl_c_is_130(services, words):
    process = subprocess.Popen([sys.executable, "-m", "slipway", *words], stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if "RollingOut" in line or "Serving" in line:
            break
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 130
    assert "Traceback" not in process.stderr.read()
    process.stderr.close()


def on_a_terminal(*arguments, **environment):
    """What a command writes to a terminal."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "slipway", *arguments],
        stdout=theirs,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "TERM": "xterm", **environment},
    ):
        os.close(theirs)
        written = b""
        try:
            while part := os.read(ours, 4096):
                written += part
        except OSError:  # the other side is closed
            pass
    os.close(ours)
    return written.decode()


def test_colour_is_for_terminals_only(services):
    assert "\x1b[32mTrue" in on_a_terminal("list")
    assert "\x1b" not in on_a_terminal("list", "--plain")
    assert "\x1b" not in on_a_terminal("--plain", "list")
    assert "\x1b" not in on_a_terminal("list", NO_COLOR="1")
    assert "\x1b" not in run("list").stdout
