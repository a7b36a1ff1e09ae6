"""Defaults of the command line, completion, and versions."""

import json
import os
import shlex
import subprocess
import sys

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.cli.app import COMMANDS
from slipway.client import settings as defaults
from slipway.client.errors import InvalidInputError
from slipway.client.platform import skew
from slipway.kit.objects import DEPLOYMENT, MODEL_SERVICE, NAMESPACE
from slipway.views.managers import applied


def test_nothing_is_set(slipway):
    result = slipway("config", "view")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "slipway config set" in result.stderr


def test_set_view_and_unset(slipway, home):
    assert slipway("config", "set", "namespace", "ml").exit_code == 0
    assert slipway("config", "set", "output", "wide").exit_code == 0
    file = home / "home" / ".config" / "slipway" / "config.yaml"
    assert yaml.safe_load(file.read_text()) == {"namespace": "ml", "output": "wide"}
    found = json.loads(slipway("config", "view", "-o", "json").stdout)
    assert (found["apiVersion"], found["kind"], found["file"]) == ("cli.slipway.dev/v1", "Config", str(file))
    assert found["settings"][0] == {"key": "namespace", "value": "ml", "source": str(file)}
    assert slipway("config", "view").stdout.splitlines()[0].split() == ["KEY", "VALUE", "SOURCE"]
    assert slipway("config", "unset", "namespace").exit_code == 0
    assert slipway("config", "unset", "namespace").exit_code == 4
    assert yaml.safe_load(file.read_text()) == {"output": "wide"}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["set", "namespce", "ml"], "There is no setting namespce; did you mean namespace?"),
        (["unset", "colour"], "There is no setting colour."),
        (["set", "output", "jsn"], "output cannot be 'jsn'."),
        (["set", "namespace", "No Namespace"], "namespace cannot be 'No Namespace'."),
        (["set", "registry", "a b"], "registry cannot be 'a b'."),
        (["set", "context", ""], "context cannot be ''."),
    ],
)
def test_what_cannot_be_set_is_refused_and_nothing_is_written(slipway, home, arguments, says):
    result = slipway("config", *arguments)
    assert result.exit_code == 2
    assert says in result.stderr
    assert not (home / "home" / ".config").exists()


@pytest.mark.parametrize("content", ["namespce: ml", "- a", "output: jsn", "a: [", "output: 3"])
def test_a_file_that_is_wrong_is_named(slipway, home, content):
    file = home / "home" / ".config" / "slipway" / "config.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(content)
    result = slipway("list")
    assert result.exit_code == 2
    assert str(file) in result.stderr


@settings(deadline=None)  # how fast the machine is, is not what is tested
@given(st.sampled_from(defaults.KEYS), st.text(max_size=20))
def test_no_value_is_taken_that_is_refused_later(tmp_path_factory, key, text):
    directory = tmp_path_factory.mktemp("config")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLIPWAY_CONFIG", str(directory))
        try:
            defaults.put(key, text)
        except InvalidInputError:
            assert defaults.read() == {}
        else:
            assert defaults.read() == {key: text}


def test_flag_then_environment_then_file(slipway, cluster, monkeypatch):
    for namespace in ("flag", "environment", "file", "ml"):
        cluster.put(MODEL_SERVICE, service(f"in-{namespace}", namespace))
    assert slipway("list", "-o", "name").stdout == "modelservice/in-ml\n"
    slipway("config", "set", "namespace", "file")
    slipway("config", "set", "output", "name")
    assert slipway("list").stdout == "modelservice/in-file\n"
    monkeypatch.setenv("SLIPWAY_NAMESPACE", "environment")
    assert slipway("list").stdout == "modelservice/in-environment\n"
    assert slipway("list", "-n", "flag").stdout == "modelservice/in-flag\n"
    monkeypatch.setenv("SLIPWAY_OUTPUT", "json")
    assert json.loads(slipway("list").stdout)["kind"] == "ModelServiceList"
    monkeypatch.setenv("SLIPWAY_OUTPUT", "jsn")
    assert slipway("list").exit_code == 2


def test_the_registry_may_be_a_default(slipway, home, api):
    (home / "model.skops").write_bytes(b"x")
    slipway("config", "set", "registry", f"{api.url}/team")
    result = slipway("push", home / "model.skops", "iris")
    assert result.exit_code == 0, result.stderr
    assert "/team/iris@sha256:" in result.stdout


def test_the_context_may_be_a_default(slipway, home, write_kubeconfig, monkeypatch):
    write_kubeconfig(home / "home" / ".kube" / "config", "https://127.0.0.1:1", "prod", "staging")
    slipway("config", "set", "context", "staging")
    assert "Cannot reach staging" in slipway("list").stderr
    monkeypatch.setenv("SLIPWAY_CONTEXT", "prod")
    assert "Cannot reach prod" in slipway("list").stderr
    assert "Cannot reach staging" in slipway("list", "--context", "staging").stderr


def service(name, namespace="ml"):
    return {
        "apiVersion": "slipway.dev/v1alpha1",
        "kind": "ModelService",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"model": {"uri": "oci://r/iris:1"}},
    }


@pytest.fixture
def completed(home):
    """What bash would be told that could follow the words so far; fails when anything else is said."""

    def complete(line):
        words = shlex.split(line) + ([""] if line.endswith(" ") else [])
        environment = {
            **os.environ,
            "_SLIPWAY_COMPLETE": "complete_bash",
            "SLIPWAY_COMPLETION_TIMEOUT": "60",  # how fast the machine is, is not what is tested
            "COMP_WORDS": "\n".join(words),
            "COMP_CWORD": str(len(words) - 1),
        }
        done = subprocess.run(
            [sys.executable, "-m", "slipway"], env=environment, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.split()

    return complete


def test_commands_are_completed(completed):
    assert completed("slipway ") == list(COMMANDS)
    assert completed("slipway de") == ["deploy", "describe", "delete"]
    assert completed("slipway rollout ") == ["status", "history", "diff", "undo", "restart"]
    assert "--plain" in completed("slipway --")
    assert "--replicas" in completed("slipway scale iris --")
    assert completed("slipway config set na") == ["namespace"]


def test_names_namespaces_and_contexts_are_completed(completed, cluster):
    for name, namespace in (("iris", "ml"), ("rose", "ml"), ("other", "default")):
        cluster.put(MODEL_SERVICE, service(name, namespace))
        cluster.put(NAMESPACE, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    assert completed("slipway describe ") == ["iris", "rose"]
    assert completed("slipway scale i") == ["iris"]
    assert completed("slipway rollout undo -n default ") == ["other"]
    assert completed("slipway list -n ") == ["default", "ml"]
    assert completed("slipway list --context p") == ["prod"]


def test_completion_is_silent_when_it_fails(completed, home, write_kubeconfig, monkeypatch, unused_tcp_port):
    assert completed("slipway describe ") == []
    assert completed("slipway nope ") == []
    monkeypatch.setenv("KUBECONFIG", str(write_kubeconfig(home / "c", f"http://127.0.0.1:{unused_tcp_port}", "p")))
    assert completed("slipway describe ") == []
    monkeypatch.setenv("KUBECONFIG", str(home / "none"))
    assert completed("slipway list --context ") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts_for_shells(slipway, shell):
    result = slipway("completion", shell)
    assert result.exit_code == 0
    assert f"_SLIPWAY_COMPLETE=complete_{shell}" in result.stdout


def test_bash_takes_its_script(slipway):
    script = slipway("completion", "bash").stdout
    done = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_versions(slipway, cluster):
    cluster.others["GET", "/version"] = (200, b'{"gitVersion": "v1.37.1"}')
    labels = {"app.kubernetes.io/version": "0.9.0"}
    metadata = {"name": "slipway-operator", "namespace": "slipway-system", "labels": labels}
    cluster.put(DEPLOYMENT, {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": {}})
    result = slipway("version", "-o", "json")
    assert json.loads(result.stdout) == {
        "apiVersion": "cli.slipway.dev/v1",
        "kind": "Version",
        "client": "0.1.0",
        "kubernetes": "v1.37.1",
        "operator": "0.9.0",
    }
    assert "The command, 0.1.0, is older than the operator, 0.9.0" in result.stderr
    assert slipway("version").stdout.splitlines() == [
        "client:      0.1.0",
        "kubernetes:  v1.37.1",
        "operator:    0.9.0",
    ]


def test_the_version_of_the_command_needs_no_cluster(slipway):
    assert slipway("version", "--client").stdout == "client:  0.1.0\n"
    result = slipway("version")
    assert result.exit_code == 4
    assert result.stdout == "client:  0.1.0\n"


@pytest.mark.parametrize(
    ("command", "operator", "says"),
    [
        ("0.2.0", "0.1.3", "Run `slipway up`"),
        ("0.2.0", "0.3.0", "Install 0.3.0"),
        ("0.2.0", "0.2.9", ""),
        ("0.2.0", "", ""),
        ("0.2.0", "latest", ""),
        ("v0.10.0", "v0.9.0", "is older"),
    ],
)
def test_skew(command, operator, says):
    assert (says in skew(command, operator)) if says else skew(command, operator) == ""


def test_fields_of_a_manager_of_a_broken_list_are_none():
    manifest = {"metadata": {"managedFields": [{"manager": "m", "operation": "Apply"}, {"fieldsV1": 3}]}}
    assert applied(manifest, "m") == {}
