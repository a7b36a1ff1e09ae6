"""`k8s/` on a cluster, without the platform: every command as `docs/plain-manifests.md` has it, and no option more."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from slipway.cluster import binaries, images
from slipway.progress import LineProgress

from .tools import PATIENCE, kubectl, until
from .traffic import ask

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "plain-manifests.md").read_text(encoding="utf-8")
NAMESPACE, CLAIM = "model-serving", "model-serving"


def volume(directory):
    """A volume on the node's disk for the claim, as the page says: local clusters have no StorageClass."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": f"{NAMESPACE}-{CLAIM}"},
        "spec": {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "claimRef": {"namespace": NAMESPACE, "name": CLAIM},
            "hostPath": {"path": str(directory)},
        },
    }


class Terminal:
    """A person's terminal in the repository, with a kubeconfig of its own."""

    def __init__(self, kubeconfig):
        self._environment = os.environ | {"KUBECONFIG": str(kubeconfig)}
        self._kubectl = binaries.directory(LineProgress()) / "kubectl"

    def start(self, line):
        assert f"$ {line}\n" in PAGE, f"the page has no command {line}"
        program, *words = shlex.split(line)
        assert program == "kubectl"
        return subprocess.Popen(
            [self._kubectl, *words],
            cwd=ROOT,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def type(self, line):
        with self.start(line) as process:
            said, _ = process.communicate(timeout=PATIENCE * 3)
        assert process.returncode == 0, said
        return said

    def first_line(self, process, *words):
        """The first line that has all the words, of a command that goes on."""
        for line in process.stdout:
            if all(word in line for word in words):
                return line
        raise AssertionError(f"{process.args} ended with {process.wait()}")


@pytest.fixture
def terminal(cluster, home, tmp_path):
    images.push_all(cluster.registry, LineProgress(), [images.SERVING])
    directory = home / "volume"
    directory.mkdir()
    directory.chmod(0o777)  # as provisioners make them
    kubectl(cluster, "apply", "-f", "-", stdin=json.dumps(volume(directory)))
    shutil.copyfile(cluster.kubeconfig, tmp_path / "config")
    yield Terminal(tmp_path / "config")
    kubectl(cluster, "delete", "namespace", NAMESPACE, "--ignore-not-found", "--timeout=120s")
    kubectl(cluster, "delete", "persistentvolume", f"{NAMESPACE}-{CLAIM}")
    shutil.rmtree(directory)


def deployment(cluster):
    found = kubectl(cluster, "get", "deployment", "model-serving", "-n", NAMESPACE, "-o", "json")
    return json.loads(found)


def predicts(terminal):
    """Asks through the forwarded port, with and without a body."""
    with terminal.start("kubectl port-forward svc/model-serving 8000:80") as forward:
        try:
            terminal.first_line(forward, "Forwarding from 127.0.0.1:8000")
            example = ask("http://localhost:8000/predict")
            own = ask("http://localhost:8000/predict", {"x": [[1, 2, 3], [4, 5, 6]]})
        finally:
            forward.terminate()
    assert example[0] == 200, example
    assert example[1]["response"]["outputs"] == {"sum": [6.0]}
    assert own == (200, {"model": "model-serving", "outputs": {"sum": [6.0, 15.0]}})


def test_the_commands_of_the_page_work_as_typed(cluster, terminal):
    terminal.type("kubectl apply -f k8s/namespace/")
    terminal.type("kubectl config set-context --current --namespace=model-serving")
    assert "deployment.apps/model-serving created" in terminal.type("kubectl apply -f k8s/")
    terminal.type("kubectl rollout status deployment model-serving")
    until(lambda: deployment(cluster)["status"].get("readyReplicas", 0) >= 2, what="the autoscaler's least replicas")
    predicts(terminal)
    with terminal.start("kubectl get hpa -w") as watch:
        try:
            assert "Deployment/model-serving" in terminal.first_line(watch, "model-serving")
            terminal.type("kubectl scale deployment model-serving --replicas=5")
            until(lambda: deployment(cluster)["status"].get("replicas") == 5, pause=0.05)
        finally:
            watch.terminate()
    until(lambda: deployment(cluster)["spec"]["replicas"] < 5, timeout=PATIENCE * 3, what="the autoscaler takes over")
    predicts(terminal)
    again = terminal.type("kubectl apply -f k8s/")
    # kubectl replaces the selector of a budget as a whole, and calls that a change, each time
    changed = [line for line in again.splitlines() if not line.endswith("unchanged")]
    assert changed in ([], ["poddisruptionbudget.policy/model-serving configured"])
    terminal.type("kubectl delete -f k8s/")
    left = kubectl(cluster, "get", "deployments,services,pvc,hpa,pdb,ingresses,networkpolicies", "-n", NAMESPACE)
    assert "model-serving" not in left


def test_a_model_of_ones_own_is_left_alone(cluster, terminal, home):
    """The page's way: the model is on the volume before the Job, which then does nothing."""
    example = ROOT / "examples" / "iris"
    for name in ("model.onnx", "model.yaml"):
        shutil.copyfile(example / name, home / "volume" / name)
        (home / "volume" / name).chmod(0o644)
    terminal.type("kubectl apply -f k8s/namespace/")
    terminal.type("kubectl config set-context --current --namespace=model-serving")
    terminal.type("kubectl apply -f k8s/")
    terminal.type("kubectl rollout status deployment model-serving")
    said = until(
        lambda: kubectl(cluster, "logs", "job/model-serving-example", "-n", NAMESPACE, check=False).strip() or None
    )
    assert "left as it is" in said
    with terminal.start("kubectl port-forward svc/model-serving 8000:80") as forward:
        try:
            terminal.first_line(forward, "Forwarding from 127.0.0.1:8000")
            status, answer = ask("http://localhost:8000/predict", {"x": [[5.1, 3.5, 1.4, 0.2]]})
        finally:
            forward.terminate()
    assert status == 200, answer
