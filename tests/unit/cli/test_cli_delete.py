"""Deleting several model services, or all of a namespace: confirmed, and all or none for a wrong name."""

import json
import os
import pty
import signal
import subprocess
import sys

import pytest

from slipway.kit.objects import MODEL_SERVICE


@pytest.fixture
def three(cluster):
    for name, namespace in (("iris", "ml"), ("rose", "ml"), ("other", "default")):
        metadata = {"name": name, "namespace": namespace}
        spec = {"model": {"uri": "oci://r/iris:1"}}
        cluster.put(
            MODEL_SERVICE,
            {"apiVersion": "slipway.dev/v1alpha1", "kind": "ModelService", "metadata": metadata, "spec": spec},
        )
    return cluster


def left(cluster):
    return {key.name for key in cluster.do(cluster.server.objects, MODEL_SERVICE)}


def test_several_names(slipway, three):
    result = slipway("delete", "iris", "rose", "iris", "-o", "name")
    assert (result.exit_code, result.stdout) == (0, "modelservice/iris\nmodelservice/rose\n")
    assert left(three) == {"other"}


def test_one_wrong_name_deletes_nothing(slipway, three):
    result = slipway("delete", "iris", "ros")
    assert result.exit_code == 4
    assert "did you mean rose?" in result.stderr
    assert left(three) == {"iris", "rose", "other"}


def test_all_needs_a_yes_where_nobody_can_be_asked(slipway, three):
    result = slipway("delete", "--all")
    assert result.exit_code == 2
    assert "Add --yes." in result.stderr
    assert left(three) == {"iris", "rose", "other"}
    assert slipway("delete", "--all", "--yes").exit_code == 0
    assert left(three) == {"other"}
    assert "There is no model service" in slipway("delete", "--all", "--yes").stderr


def test_names_or_all_but_not_both_and_not_none(slipway, three):
    assert slipway("delete").exit_code == 2
    assert slipway("delete", "iris", "--all").exit_code == 2


def on_a_terminal(answer, *arguments):
    """Runs a command whose standard input is a terminal where somebody types."""
    ours, theirs = pty.openpty()
    os.write(ours, f"{answer}\n".encode())
    done = subprocess.run(
        [sys.executable, "-m", "slipway", *arguments], stdin=theirs, capture_output=True, text=True, check=False
    )
    os.close(ours)
    os.close(theirs)
    return done


def test_a_person_types_the_namespace(three):
    done = on_a_terminal("nope", "delete", "iris", "rose")
    assert done.returncode == 1
    assert "This deletes 2 model services of prod: iris, rose." in done.stderr
    assert "Nothing was changed." in done.stderr
    assert left(three) == {"iris", "rose", "other"}
    assert on_a_terminal("ml", "delete", "--all").returncode == 0
    assert left(three) == {"other"}


def test_programs_get_the_objects_that_were_deleted(slipway, three):
    result = slipway("delete", "iris", "rose", "-o", "json")
    document = json.loads(result.stdout)
    assert (document["kind"], [item["metadata"]["name"] for item in document["items"]]) == (
        "ModelServiceList",
        ["iris", "rose"],
    )
    assert left(three) == {"other"}


@pytest.mark.parametrize("out", ["table", "wide"])
def test_people_are_told_what_went_and_programs_nothing(slipway, three, out):
    result = slipway("delete", "iris", "rose", "-o", out)
    assert result.stdout == ""
    assert "Deleted rose." in result.stderr
    assert left(three) == {"other"}


def test_the_first_interrupt_ends_the_question(three):
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "slipway", "delete", "iris", "rose"]
    with subprocess.Popen(command, stdin=theirs, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("Type the namespace"):
                break
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
    os.close(ours)
    os.close(theirs)
    assert left(three) == {"iris", "rose", "other"}
