"""PID 1: what it starts when, and how it waits after a failure."""

import signal
from pathlib import Path

import pytest

from slipway.cluster.components import After, components
from slipway.cluster.layout import NodePaths, plan
from slipway.cluster.node import FIRST_DELAY, LAST_DELAY, STABLE_AFTER, Process, Supervisor

LAYOUT = plan("dev", [1, 2], "172.30.0.0/24")
KILLED = signal.SIGKILL.value
EXIT_ONE = 1 << 8


class Api:
    """An API server that is ready when told so."""

    def __init__(self, *, ready=False, applies=True):
        self.is_ready, self.applies = ready, applies

    def ready(self):
        return self.is_ready

    def apply_addons(self, node):
        assert node.control_plane
        return self.applies


def supervisor(tmp_path, api, number=0):
    node = LAYOUT.nodes[number]
    processes = [Process(component) for component in components(LAYOUT, node, Path("/etc"))]
    return Supervisor(LAYOUT, node, NodePaths(tmp_path), api, processes)


def test_a_process_that_ends_says_how():
    process = Process(components(LAYOUT, LAYOUT.nodes[0], Path("/etc"))[0], pid=7)
    process.ended(KILLED, now=1.0)
    assert process.last_exit == "killed by SIGKILL"
    process.ended(EXIT_ONE, now=2.0)
    assert process.last_exit == "exit code 1"


def test_pauses_grow_to_a_bound_and_are_forgotten_after_a_stable_run():
    process = Process(components(LAYOUT, LAYOUT.nodes[0], Path("/etc"))[0])
    pauses = []
    for now in range(12):
        process.started = float(now)
        process.ended(EXIT_ONE, float(now))
        pauses.append(process.due - now)
    assert pauses == sorted(pauses)
    assert pauses[-1] == LAST_DELAY
    process.started = 100.0
    process.ended(EXIT_ONE, 100.0 + STABLE_AFTER + 1)
    assert process.delay == FIRST_DELAY


def test_stages_follow_the_api_server(tmp_path):
    api = Api(ready=False, applies=False)
    started = supervisor(tmp_path, api)
    started._probe(0.0)
    assert started.reached == {After.NODE}
    api.is_ready = True
    started._probe(1.0)
    assert started.reached == {After.NODE, After.API}
    started._probe(2.0)
    assert After.ADDONS not in started.reached
    api.applies = True
    started._probe(3.0)
    assert After.ADDONS in started.reached


def test_a_worker_applies_no_addons(tmp_path):
    started = supervisor(tmp_path, Api(ready=True), number=1)
    started._probe(0.0)
    assert After.ADDONS in started.reached


def test_what_is_shown_names_what_a_component_waits_for(tmp_path):
    started = supervisor(tmp_path, Api())
    started._report()
    shown = NodePaths(tmp_path).state.read_text()
    assert "an API server that answers" in shown
    assert '"state": "restarting"' in shown


@pytest.mark.parametrize("due", [0.0, 0.4])
def test_it_sleeps_no_longer_than_until_the_next_start(tmp_path, due):
    started = supervisor(tmp_path, Api(ready=True))
    for process in started.processes:
        process.due = due
    started.reached = set(After)
    assert started._pause(0.0) == due
