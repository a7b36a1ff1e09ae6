from __future__ import annotations

from pathlib import Path

import pytest

from slipway.cluster.errors import ClusterError
from slipway.cluster.kubectl import Tools


def tools(directory: Path, script: str) -> Tools:
    for name in ("kubectl", "helm"):
        (directory / name).write_text(f"#!/bin/sh\n{script}\n")
        (directory / name).chmod(0o755)
    return Tools(directory, directory / "kubeconfig", "kind-dev")


def test_every_call_names_the_cluster_it_is_meant_for(tmp_path: Path) -> None:
    both = tools(tmp_path, 'echo "$@"')
    where = f"--kubeconfig={tmp_path}/kubeconfig"
    assert both.kubectl("get", "pods") == f"{where} --context=kind-dev get pods\n"
    assert both.helm("list") == f"list {where} --kube-context=kind-dev\n"


def test_values_reach_helm_on_its_standard_input_and_helms_own_environment_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HELM_NAMESPACE", "elsewhere")
    both = tools(tmp_path, 'cat; echo " $HELM_NAMESPACE"')
    assert both.helm("upgrade", values={"a": [1]}) == '{"a": [1]} \n'


def test_lists_and_single_objects_are_read_alike(tmp_path: Path) -> None:
    assert tools(tmp_path, """echo '{"items": [{"kind": "Pod"}]}'""").get("pods") == [{"kind": "Pod"}]
    assert tools(tmp_path, """echo '{"kind": "Pod"}'""").get("pods", "x") == [{"kind": "Pod"}]


def test_a_failure_is_the_last_line_that_was_said(tmp_path: Path) -> None:
    broken = tools(tmp_path, "echo warning >&2; echo 'Error: chart not found' >&2; exit 1")
    with pytest.raises(ClusterError, match=r"`helm upgrade slipway` failed on kind-dev: Error: chart not"):
        broken.helm("upgrade", "--install", "slipway")


def test_a_silent_failure_has_its_exit_code(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="exit code 3"):
        tools(tmp_path, "exit 3").kubectl("get", "pods")


@pytest.mark.parametrize("said", ["dial tcp 10.0.0.1:6443: connect: connection refused", "lookup x: no such host"])
def test_a_cluster_that_does_not_answer_is_said_to_be_out_of_reach(tmp_path: Path, said: str) -> None:
    with pytest.raises(ClusterError, match="Cannot reach kind-dev") as failed:
        tools(tmp_path, f"echo '{said}' >&2; exit 1").kubectl("get", "pods")
    assert "slipway cluster list" in failed.value.hint
