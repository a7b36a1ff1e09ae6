"""Watch mode: what is printed when, on a terminal and elsewhere, and what a lost connection does."""

import asyncio
import contextlib
import io
import itertools
import json
import signal
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from terminals import Screen

from slipway.cli import watching
from slipway.cli.options import Format
from slipway.client.errors import UnreachableError
from slipway.kit.objects import MODEL_SERVICE, Key
from slipway.kit.testing import virtual_time


def frame(**facts):
    def draw():
        for name, fact in facts.items():
            sys.stdout.write(f"{name} {fact}\n")

    return watching.Frame(draw, facts, {name: {"is": fact} for name, fact in facts.items()})


async def played(*steps):
    """Frames, and pauses in seconds between them."""
    for step in steps:
        if isinstance(step, watching.Frame):
            yield step
        else:
            await asyncio.sleep(step)


async def shown(out, *steps):
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        await watching.show(lambda: played(*steps), lambda step: step, out)
    return printed.getvalue().splitlines()


@virtual_time
async def test_a_log_gets_what_changes_and_all_of_it_each_half_minute():
    steps = [frame(a="1", b="1"), 5, frame(a="2", b="1"), 5, frame(a="2"), 30, frame(a="2")]
    assert await shown(Format.TABLE, *steps) == ["1", "1", "2", "b is gone", "2"]


@virtual_time
async def test_programs_get_a_document_a_line():
    steps = [frame(a="1", b="1"), frame(a="1", b="1"), frame(a="2"), frame(a="2")]
    events = [json.loads(line) for line in await shown(Format.JSON, *steps)]
    assert {(event["apiVersion"], event["kind"]) for event in events} == {("cli.slipway.dev/v1", "WatchEvent")}
    assert [(event["type"], event["object"]["is"]) for event in events] == [
        ("ADDED", "1"),
        ("ADDED", "1"),
        ("MODIFIED", "2"),
        ("DELETED", "1"),
    ]
    assert await shown(Format.NAME, *steps) == ["a", "b", "a", "b"]
    assert (await shown(Format.YAML, frame(a="1")))[:3] == ["---", "apiVersion: cli.slipway.dev/v1", "kind: WatchEvent"]


@virtual_time
async def test_nothing_is_shown_more_than_four_times_a_second():
    times = []

    async def changing():
        for _ in range(20):
            times.append(asyncio.get_running_loop().time())
            yield frame(a="1")

    await watching.show(changing, lambda step: step, Format.TABLE)
    assert all(later - earlier >= 0.25 for earlier, later in itertools.pairwise(times))


LINES = st.lists(st.text(alphabet="ab \x1b[31m" + "xyz", max_size=30), max_size=12)


@settings(deadline=None)  # how fast the machine is, is not what is tested
@given(st.lists(LINES, min_size=1, max_size=5))
def test_a_terminal_shows_the_last_frame_and_nothing_else(frames):
    screen, height = Screen(columns=20, rows=10), 0
    for lines in frames:
        painted = ["".join(char for char in line if char.isprintable()) for line in lines]
        fitting = watching.fit(painted, 20, 9)
        screen.write(watching.redraw(fitting, height))
        height = len(fitting)
        assert screen.text() == [line.rstrip() for line in fitting]


def test_colour_takes_no_room():
    assert watching.fit(["\x1b[32mReady\x1b[0m and more"], 5, 3) == ["\x1b[32mReady\x1b[0m"]
    assert watching.fit(["a", "b", "c"], 20, 2) == ["a", "… 2 more lines"]


@virtual_time
async def test_a_watch_that_has_begun_outlives_a_lost_connection(capsys):
    tries = 0

    async def watch():
        nonlocal tries
        tries += 1
        yield tries
        raise UnreachableError("Cannot reach prod.")

    found = watching.steady(watch)
    assert [await anext(found) for _ in range(3)] == [1, 2, 3]
    assert capsys.readouterr().err == "Cannot reach prod. Still watching.\n" * 2
    await found.aclose()


@virtual_time
async def test_a_watch_that_never_began_fails():
    async def watch():
        raise UnreachableError("Cannot reach prod.")
        yield

    with pytest.raises(UnreachableError):
        await anext(watching.steady(watch))


def service(name, **labels):
    return {
        "apiVersion": "slipway.dev/v1alpha1",
        "kind": "ModelService",
        "metadata": {"name": name, "namespace": "ml", "labels": labels},
        "spec": {"model": {"uri": "oci://r/iris:1"}},
    }


@pytest.fixture
def started(cluster):
    """Starts a command that watches; the cluster has one model service."""
    cluster.put(MODEL_SERVICE, service("iris"))
    processes = []

    def start(*arguments):
        command = [sys.executable, "-m", "slipway", *arguments]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def end(process):
    process.send_signal(signal.SIGINT)
    code = process.wait(timeout=30)
    assert "Traceback" not in process.stderr.read()
    return code


def test_list_of_what_changes(started, cluster):
    process = started("list", "-w", "-o", "json")
    assert json.loads(process.stdout.readline())["type"] == "ADDED"
    cluster.put(MODEL_SERVICE, service("rose"))
    event = json.loads(process.stdout.readline())
    assert (event["type"], event["object"]["metadata"]["name"]) == ("ADDED", "rose")
    cluster.do(cluster.server.remove, MODEL_SERVICE, Key("ml", "iris"))
    assert json.loads(process.stdout.readline())["type"] == "DELETED"
    cluster.do(cluster.server.disconnect)
    cluster.put(MODEL_SERVICE, service("tulip"))
    assert json.loads(process.stdout.readline())["object"]["metadata"]["name"] == "tulip"
    assert end(process) == 130


@pytest.mark.parametrize(
    ("words", "first"),
    [
        (["list", "-w"], "iris  True  Serving"),
        (["describe", "iris", "-w"], "iris: Serving"),
        (["rollout", "status", "iris", "-w"], "iris: Serving"),
        (["status", "-w"], "ml  iris  True  Serving"),
    ],
)
def test_every_command_that_watches_begins_at_once_and_ends_with_ctrl_c(started, words, first):
    process = started(*words)
    assert process.stdout.readline().startswith(first)
    assert end(process) == 130


def test_watching_what_is_deleted_ends(started, cluster):
    process = started("describe", "iris", "-w")
    process.stdout.readline()
    cluster.do(cluster.server.remove, MODEL_SERVICE, Key("ml", "iris"))
    assert process.wait(timeout=30) == 4
