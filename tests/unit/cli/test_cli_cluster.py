import json

import pytest

from slipway.cluster.layout import plan


@pytest.fixture
def dev(home, write_kubeconfig):
    """A stopped local cluster called dev."""
    directory = home / "slipway" / "clusters" / "dev"
    write_kubeconfig(directory / "kubeconfig", "https://172.30.0.11:6443", "slipway-dev")
    layout = plan("dev", [239], "172.30.250.0/24")
    (directory / "cluster.json").write_text(json.dumps(layout.to_json()))
    return directory


def test_no_clusters(slipway):
    result = slipway("cluster", "list")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "slipway up" in result.stderr
    assert json.loads(slipway("cluster", "list", "-o", "json").stdout)["items"] == []


def test_list(slipway, dev):
    assert slipway("cluster", "list").stdout.splitlines()[1].split()[:3] == ["dev", "Stopped", "1"]
    found = json.loads(slipway("cluster", "list", "-o", "json").stdout)
    assert (found["apiVersion"], found["kind"]) == ("cli.slipway.dev/v1", "ClusterList")
    assert [(item["name"], item["state"]) for item in found["items"]] == [("dev", "Stopped")]


@pytest.mark.parametrize("command", [["list"], ["status", "dev"]])
def test_names_of_clusters(slipway, dev, command):
    assert slipway("cluster", *command, "-o", "name").stdout == "cluster/dev\n"


@pytest.mark.parametrize("command", ["status", "start", "stop", "delete", "kubeconfig", "logs"])
def test_absent_cluster(slipway, dev, command):
    result = slipway("cluster", command, "def")
    assert result.exit_code == 4
    assert "There is no local cluster def; did you mean dev?" in result.stderr


@pytest.mark.parametrize("name", ["..", ".", "../..", "dev/nodes", ""])
def test_delete_leaves_other_directories_alone(slipway, dev, name):
    (dev / "nodes").mkdir()
    assert slipway("cluster", "delete", name).exit_code == 4
    assert (dev / "cluster.json").exists()


def test_kubeconfig_is_a_path_for_kubectl(slipway, dev):
    assert slipway("cluster", "kubeconfig", "dev").stdout == f"{dev}/kubeconfig\n"


def test_status_of_a_stopped_cluster(slipway, dev):
    result = slipway("cluster", "status", "dev")
    assert result.exit_code == 1
    assert "NetworkPolicy is not enforced" in result.stdout
    found = json.loads(slipway("cluster", "status", "dev", "-o", "json").stdout)
    assert (found["apiVersion"], found["kind"], found["name"]) == ("cli.slipway.dev/v1", "Cluster", "dev")
    result = slipway("status")
    assert result.exit_code == 1
    assert "Start it: slipway cluster start dev" in result.stdout
    found = json.loads(slipway("status", "-o", "json").stdout)
    assert (found["cluster"]["running"], found["platform"]["installed"]) == (False, False)


def test_prepare_says_what_is_missing(slipway, tmp_path, monkeypatch):
    monkeypatch.setenv("SLIPWAY_NODE_BINARIES", str(tmp_path))
    result = slipway("cluster", "prepare")
    assert result.exit_code == 1
    assert f"SLIPWAY_NODE_BINARIES={tmp_path} lacks etcd" in result.stderr


def test_impossible_requests(slipway):
    assert slipway("cluster", "create", "--nodes", 0).exit_code == 2
    result = slipway("cluster", "create", "No Cluster")
    assert result.exit_code == 1
    assert "cannot name a cluster" in result.stderr


def test_down_of_a_stopped_cluster(slipway, dev):
    result = slipway("down")
    assert result.exit_code == 0
    assert "dev is stopped already" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["down"], "The cluster in use is prod, which is not a local one."),
        (["down", "--name", "dev", "--context", "prod"], "--name is for local clusters"),
        (["up", "--context", "prod", "--nodes", "2"], "--name and --nodes are for local clusters"),
        (["up", "--create-gateway"], "are for clusters of others"),
    ],
)
def test_local_and_other_clusters_are_not_mixed_up(slipway, home, write_kubeconfig, arguments, says):
    write_kubeconfig(home / "home" / ".kube" / "config", "https://10.0.0.4:6443", "prod")
    result = slipway(*arguments)
    assert result.exit_code == 2
    assert says in result.stderr
