import json
import os

import pytest

from slipway.client.errors import NotFoundError
from slipway.client.target import Target, Where, forget, record, resolve

LOCAL = "https://172.30.0.11:6443"
REMOTE = "https://10.0.0.4:6443"


@pytest.fixture
def local(home, write_kubeconfig):
    """Makes local clusters of the given names."""

    def make(*names):
        for name in names:
            write_kubeconfig(home / "slipway" / "clusters" / name / "kubeconfig", LOCAL, f"slipway-{name}")

    return make


@pytest.fixture
def remote(home, write_kubeconfig):
    return write_kubeconfig(home / "home" / ".kube" / "config", REMOTE, "prod", "staging", namespace="ml")


@pytest.mark.usefixtures("home")
def test_nothing_there():
    with pytest.raises(NotFoundError) as error:
        resolve(Where())
    assert "`slipway up`" in error.value.hint


def test_current_context_of_the_users_kubeconfig(remote):
    assert resolve(Where()) == Target(remote, "prod", REMOTE, "ml")


@pytest.mark.usefixtures("remote")
def test_namespace_of_the_command_line_wins():
    assert resolve(Where(namespace="x")).namespace == "x"


@pytest.mark.usefixtures("remote")
def test_a_local_cluster_comes_before_the_users_kubeconfig(local):
    local("dev")
    assert resolve(Where()).cluster == "dev"


def test_of_several_local_clusters_the_default_one(local):
    local("dev", "slipway")
    assert resolve(Where()).cluster == "slipway"


def test_of_several_local_clusters_without_the_default_one_must_be_named(local):
    local("dev", "lab")
    with pytest.raises(NotFoundError) as error:
        resolve(Where())
    assert "--context slipway-dev, --context slipway-lab" in error.value.hint


@pytest.mark.usefixtures("remote")
def test_recorded_cluster_comes_before_local_ones(local):
    local("dev")
    record(resolve(Where(context="staging")))
    assert resolve(Where()).context == "staging"
    forget("staging")
    assert resolve(Where()).context == "slipway-dev"


def test_recorded_local_cluster_is_known_as_one(local):
    local("dev", "lab")
    record(resolve(Where(context="slipway-lab")))
    assert resolve(Where()).cluster == "lab"


@pytest.mark.usefixtures("remote")
def test_forgetting_another_context_changes_nothing():
    record(resolve(Where(context="staging")))
    forget("prod")
    assert resolve(Where()).context == "staging"


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"kubeconfig": "/x", "context": "x"}', '{"kubeconfig": 3, "context": 3}']
)
@pytest.mark.usefixtures("remote")
def test_unusable_record_is_as_if_it_had_never_been(home, content):
    (home / "slipway").mkdir(exist_ok=True)
    (home / "slipway" / "target.json").write_text(content)
    assert resolve(Where()).context == "prod"


def test_record_names_no_credential(home, remote):
    record(resolve(Where()))
    assert json.loads((home / "slipway" / "target.json").read_text()) == {"kubeconfig": str(remote), "context": "prod"}


@pytest.mark.usefixtures("remote")
def test_variable_comes_before_the_record(home, monkeypatch, write_kubeconfig):
    record(resolve(Where()))
    other = write_kubeconfig(home / "other", REMOTE, "other")
    monkeypatch.setenv("KUBECONFIG", f"{home}/none{os.pathsep}{other}")
    assert resolve(Where()).context == "other"


def test_variable_with_no_file(home, monkeypatch):
    monkeypatch.setenv("KUBECONFIG", str(home / "none"))
    with pytest.raises(NotFoundError, match="names no file that exists"):
        resolve(Where())


def test_context_of_a_local_cluster_needs_no_kubeconfig(home, local, monkeypatch):
    local("dev")
    monkeypatch.setenv("KUBECONFIG", str(home / "none"))
    assert resolve(Where(context="slipway-dev")).cluster == "dev"


def test_context_is_looked_up_in_all_files_of_the_variable(home, remote, monkeypatch, write_kubeconfig):
    other = write_kubeconfig(home / "other", REMOTE, "other")
    monkeypatch.setenv("KUBECONFIG", f"{remote}{os.pathsep}{other}")
    assert resolve(Where(context="other")).kubeconfig == other


@pytest.mark.usefixtures("remote")
def test_unknown_context_names_the_near_one(local):
    local("dev")
    with pytest.raises(NotFoundError) as error:
        resolve(Where(context="slipway-def"))
    assert error.value.message == "There is no context slipway-def; did you mean slipway-dev?"
    assert "prod, slipway-dev, staging" in error.value.hint


def test_explicit_file_wins_over_everything(home, remote, local, monkeypatch):
    local("dev")
    monkeypatch.setenv("KUBECONFIG", str(home / "none"))
    assert resolve(Where(kubeconfig=remote, context="staging")) == Target(remote, "staging", REMOTE, "ml")
