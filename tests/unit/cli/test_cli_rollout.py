"""Scaling and rollouts against an API server that behaves as a real one, conflicts and field managers included."""

import asyncio
import json

import pytest
import yaml

from slipway.kit.objects import CONTROLLER_REVISION, MODEL_SERVICE, Key

URI = "oci://registry.local/models/iris"
IRIS = Key("ml", "iris")
SPEC = {"model": {"uri": f"{URI}:2"}, "server": {"env": [{"name": "A", "value": "2"}, {"name": "B", "value": "b"}]}}


def service(name="iris", **spec):
    return {
        "apiVersion": "slipway.dev/v1alpha1",
        "kind": "ModelService",
        "metadata": {"name": name, "namespace": "ml"},
        "spec": {**SPEC, **spec},
    }


def revision(number, spec, **data):
    name = f"r{number}"
    labels = {"slipway.dev/modelservice": "iris", "slipway.dev/revision": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {"name": f"iris-{name}", "namespace": "ml", "labels": labels},
        "revision": number,
        "data": {"spec": spec, **data},
    }


OLD = {"model": {"uri": f"{URI}:1", "format": "onnx"}, "server": {"env": [{"name": "A", "value": "1"}]}}


async def applied(server, manifest, manager):
    await server.apply(MODEL_SERVICE, manifest, manager=manager, force=True)


@pytest.fixture
def iris(cluster):
    """A model service that the command line has made, with three revisions, of which the newest is the current one."""
    by(cluster, service(scaling={"min": 2, "max": 2}))
    for number, spec in enumerate([OLD, {"model": {"uri": f"{URI}:1"}}, SPEC], 1):
        cluster.put(CONTROLLER_REVISION, revision(number, spec))
    return cluster


def by(cluster, manifest, manager="slipway-cli"):
    """Applies as somebody does."""
    asyncio.run_coroutine_threadsafe(applied(cluster.server, manifest, manager), cluster.loop).result()


def spec_of(cluster):
    return cluster.do(cluster.server.objects, MODEL_SERVICE)[IRIS]["spec"]


def test_scale_changes_the_replicas_and_nothing_else(slipway, iris):
    result = slipway("scale", "iris", "--replicas", 3)
    assert result.exit_code == 0, result.stderr
    assert "Scaling iris in namespace ml of prod" in result.stderr
    assert spec_of(iris) == {**SPEC, "scaling": {"min": 3, "max": 3}}
    assert "3/3" in result.stdout


def test_scale_says_what_becomes_of_the_autoscaler(slipway, iris):
    said = slipway("scale", "iris", "--min", 2, "--max", 8).stderr
    assert "An HPA keeps iris between 2 and 8 replicas, cpu at 80 %." in said
    said = slipway("scale", "iris", "--replicas", 4).stderr
    assert "iris was autoscaled between 2 and 8; now 4 is fixed, and its HPA goes." in said


def test_scale_of_one_end_must_fit_the_other(slipway, iris):
    result = slipway("scale", "iris", "--min", 5)
    assert result.exit_code == 2
    assert "--min 5 is more than spec.scaling.max, 2" in result.stderr
    assert slipway("scale", "iris").exit_code == 2


def test_scale_of_what_another_manages_is_a_conflict(slipway, cluster):
    by(cluster, service(scaling={"min": 1, "max": 1}), "kubectl")
    result = slipway("scale", "iris", "--replicas", 3)
    assert result.exit_code == 8
    assert "spec.scaling.min is managed by kubectl." in result.stderr
    assert "Nothing was changed" in result.stderr
    assert spec_of(cluster)["scaling"] == {"min": 1, "max": 1}
    assert slipway("scale", "iris", "--replicas", 3, "--force-conflicts").exit_code == 0
    assert spec_of(cluster) == {**SPEC, "scaling": {"min": 3, "max": 3}}


def test_dry_runs_change_nothing(slipway, iris):
    before = spec_of(iris)
    commands = (["scale", "iris", "--replicas", 5], ["rollout", "undo", "iris"], ["rollout", "restart", "iris"])
    for words in (*commands, ["delete", "iris"], ["delete", "--all"]):
        result = slipway(*words, "--dry-run")
        assert result.exit_code == 0, result.stderr
        assert "Nothing was changed" in result.stderr
    assert spec_of(iris) == before
    tried = json.loads(slipway("scale", "iris", "--replicas", 5, "--dry-run", "-o", "json").stdout)
    assert tried["spec"]["scaling"] == {"min": 5, "max": 5}


def test_a_gitops_tool_is_named(slipway, cluster):
    manifest = service(scaling={"min": 1, "max": 1})
    manifest["metadata"]["annotations"] = {"argocd.argoproj.io/tracking-id": "x"}
    by(cluster, manifest, "argocd-controller")
    said = slipway("scale", "iris", "--replicas", 3).stderr
    assert "Argo CD keeps iris equal to a repository and will revert this" in said


def test_history(slipway, iris):
    lines = slipway("rollout", "history", "iris").stdout.splitlines()
    assert lines[0].split() == ["REVISION", "HASH", "AGE", "MODEL", "IMAGE", "CHANGE"]
    assert "the oldest that is kept" in lines[1]
    assert lines[2].endswith("spec.model.format, spec.server.env[A].name, spec.server.env[A].value")
    assert lines[3].startswith("3 (current)")
    assert slipway("rollout", "history", "iris", "-o", "name").stdout.splitlines()[0] == "controllerrevision/iris-r1"


def test_history_for_programs(slipway, iris):
    found = json.loads(slipway("rollout", "history", "iris", "-o", "json").stdout)
    assert (found["apiVersion"], found["kind"]) == ("cli.slipway.dev/v1", "RevisionList")
    assert [item["current"] for item in found["items"]] == [False, False, True]
    assert found["items"][0]["spec"] == OLD
    assert yaml.safe_load(slipway("rollout", "history", "iris", "-o", "yaml").stdout) == found


def test_history_before_there_is_any(slipway, cluster):
    by(cluster, service())
    result = slipway("rollout", "history", "iris")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "iris has no revision yet" in result.stderr
    assert slipway("rollout", "undo", "iris").exit_code == 4


def test_diff(slipway, iris):
    out = slipway("rollout", "diff", "iris", "--revision", 1).stdout
    assert out.startswith("--- iris revision 1\n+++ iris revision 3 (current)\n")
    assert f"  spec.model.uri\n-   {URI}:1\n+   {URI}:2\n" in out
    assert "  spec.model.format\n-   onnx\n" in out
    changes = json.loads(slipway("rollout", "diff", "iris", "-o", "json").stdout)["changes"]
    assert {"path": "spec.server.env[A].value", "old": None, "new": "2"} in changes
    assert "are the same" in slipway("rollout", "diff", "iris", "--revision", 3).stderr


def test_undo_writes_model_and_server_back_and_keeps_the_rest(slipway, iris):
    result = slipway("rollout", "undo", "iris", "--to-revision", 1)
    assert result.exit_code == 0, result.stderr
    assert "Going back to revision 1 of iris in namespace ml of prod" in result.stderr
    assert spec_of(iris) == {**OLD, "scaling": {"min": 2, "max": 2}}


def test_undo_goes_to_the_one_before(slipway, iris):
    assert slipway("rollout", "undo", "iris").exit_code == 0
    assert spec_of(iris) == {"model": {"uri": f"{URI}:1"}, "scaling": {"min": 2, "max": 2}}


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--to-revision", 9], 4, "iris has no revision 9."),
        (["--to-revision", 3], 2, "is the one that it has"),
        (["--to-revision", 0], 2, "--to-revision"),
    ],
)
def test_undo_of_what_cannot_be(slipway, iris, arguments, code, says):
    result = slipway("rollout", "undo", "iris", *arguments)
    assert result.exit_code == code
    assert says in result.stderr
    assert spec_of(iris)["model"] == SPEC["model"]


def test_undo_does_not_leave_half_of_what_another_manages(slipway, iris):
    theirs = {"server": {"env": [{"name": "THEIRS", "value": "x"}]}}
    by(iris, {**service(), "spec": theirs}, "kubectl")
    result = slipway("rollout", "undo", "iris", "--to-revision", 1)
    assert result.exit_code == 8
    assert "spec.server.env[THEIRS] is managed by kubectl" in result.stderr
    assert spec_of(iris)["model"] == SPEC["model"]
    assert slipway("rollout", "undo", "iris", "--to-revision", 1, "--force-conflicts").exit_code == 0
    assert spec_of(iris) == {**OLD, "scaling": {"min": 2, "max": 2}}


def test_restart_sets_the_annotation_and_keeps_all_else(slipway, iris):
    before = spec_of(iris)
    result = slipway("rollout", "restart", "iris")
    assert result.exit_code == 0, result.stderr
    found = iris.do(iris.server.objects, MODEL_SERVICE)[IRIS]
    assert found["metadata"]["annotations"]["slipway.dev/restarted-at"].endswith("Z")
    assert found["spec"] == before


def test_deploying_again_keeps_what_it_does_not_say(slipway, iris):
    by(iris, service(scaling={"min": 2, "max": 2}, routing={"timeout": "90s"}))
    assert slipway("deploy", "iris", f"{URI}:3").exit_code == 0
    assert spec_of(iris) == {
        "model": {"uri": f"{URI}:3"},
        "server": SPEC["server"],
        "scaling": {"min": 2, "max": 2},
        "routing": {"timeout": "90s"},
    }


def with_status(cluster, progressing, message, ready="True"):
    manifest = service()
    manifest["metadata"]["labels"] = {"paused": ""}
    since = {"observedGeneration": 1000, "message": message}
    manifest["status"] = {
        "conditions": [
            {"type": "Ready", "status": ready, "reason": "Serving", **since},
            {"type": "Progressing", "status": "False", "reason": progressing, **since},
        ]
    }
    cluster.put(MODEL_SERVICE, manifest)


def test_rollout_status_of_one_that_is_complete(slipway, iris):
    result = slipway("rollout", "status", "iris", "-o", "name")
    assert (result.exit_code, result.stdout) == (0, "modelservice/iris\n")
    assert "The rollout of iris is complete: revision " in result.stderr


def test_rollout_status_of_one_that_failed(slipway, cluster):
    with_status(cluster, "ImagePullBackOff", "manifest unknown")
    result = slipway("rollout", "status", "iris")
    assert result.exit_code == 1
    assert "iris cannot become ready" in result.stderr
    assert "ImagePullBackOff: manifest unknown" in result.stderr


def test_rollout_status_that_takes_too_long(slipway, cluster):
    with_status(cluster, "Unschedulable", "no room")
    result = slipway("rollout", "status", "iris", "--timeout", "100ms")
    assert result.exit_code == 3
    assert "is not ready after" in result.stderr


def test_absent_service(slipway, iris):
    for command in (["scale", "irs", "--replicas", 2], *(["rollout", verb, "irs"] for verb in ROLLOUT)):
        result = slipway(*command)
        assert result.exit_code == 4
        assert "did you mean iris?" in result.stderr


ROLLOUT = ("status", "history", "diff", "undo", "restart")
