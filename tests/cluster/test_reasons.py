"""What the kubelet says arrives where people look: conditions, and the command line."""

from __future__ import annotations

import pytest

from .services import apply, service, until_condition, until_ready
from .tools import kubectl, slipway, until
from .traffic import FLOWER, ask


def test_an_image_that_is_not_there(platform, namespace, pushed):
    apply(platform, namespace, "iris", pushed, server={"image": "registry.slipway-system.svc:5000/slipway/absent:1"})
    shown = until_condition(platform, namespace, "iris", "Ready", status="False", reason="ImagePullBackOff")
    assert "absent:1" in shown["message"]
    assert "absent:1" in slipway("describe", "iris", "-n", namespace).stdout
    assert "ImagePull" in slipway("list", "-n", namespace, "-o", "wide").stdout


def test_a_model_that_is_not_there(platform, namespace, pushed):
    apply(platform, namespace, "iris", "oci://registry.slipway-system.svc:5000/models/absent:1")
    until_condition(platform, namespace, "iris", "Ready", status="False")
    shown = until_condition(platform, namespace, "iris", "ModelLoaded", status="False")
    until(lambda: "models/absent:1" in repr(service(platform, namespace, "iris")["status"]["conditions"]))
    assert shown["reason"]


def test_a_container_that_ends_shows_its_exit_code_and_last_line(platform, namespace, broken):
    apply(platform, namespace, "broken", broken)
    shown = until_condition(platform, namespace, "broken", "Ready", status="False", reason="CrashLoopBackOff")
    assert "exit code" in shown["message"] or "exited" in shown["message"]
    assert "broken" in slipway("logs", "broken", "-n", namespace).stdout.lower()


def test_memory_that_does_not_suffice(platform, namespace, pushed):
    resources = {"requests": {"cpu": "50m", "memory": "24Mi"}, "limits": {"memory": "24Mi"}}
    apply(platform, namespace, "iris", pushed, server={"resources": resources})
    shown = until_condition(platform, namespace, "iris", "Ready", status="False", reason="OOMKilled")
    assert "24Mi" in shown["message"] or "memory" in shown["message"]
    assert "OOMKilled" in slipway("describe", "iris", "-n", namespace).stdout


def test_a_node_without_room(platform, namespace, pushed):
    resources = {"requests": {"cpu": "900"}}
    apply(platform, namespace, "iris", pushed, server={"resources": resources})
    shown = until_condition(platform, namespace, "iris", "Ready", status="False", reason="Unschedulable")
    assert "Insufficient cpu" in shown["message"]


def test_a_bad_change_keeps_the_old_revision_serving(platform, namespace, pushed):
    apply(platform, namespace, "iris", pushed)
    url = until_ready(platform, namespace, "iris")
    apply(platform, namespace, "iris", pushed, server={"image": "registry.slipway-system.svc:5000/slipway/absent:2"})
    shown = until_condition(platform, namespace, "iris", "Progressing", reason="ImagePullBackOff")
    assert "absent:2" in shown["message"]
    assert until_condition(platform, namespace, "iris", "Ready", status="True")
    assert ask(f"{url}/predict", FLOWER)[0] == 200


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ('{"model": {"uri": "oci://r/m:1"}, "scalling": {}}', "scalling"),
        ('{"model": {"uri": "oci://r/m:1"}, "scaling": {"min": 0}}', "spec.scaling.min"),
        ('{"model": {"uri": "oci://r/m:1", "format": "onx"}}', "spec.model.format"),
        ('{"model": {"uri": "ftp://r/m"}}', "spec.model.uri"),
        ('{"model": {"uri": "oci://r/m:1"}, "scaling": {"min": 5, "max": 2}}', "spec.scaling"),
        ("{}", "spec.model"),
    ],
)
def test_the_api_server_refuses_what_is_wrong_with_its_path(platform, namespace, spec, says):
    manifest = (
        '{"apiVersion": "slipway.dev/v1alpha1", "kind": "ModelService", '
        f'"metadata": {{"name": "bad", "namespace": "{namespace}"}}, "spec": {spec}}}'
    )
    said = kubectl(platform, "apply", "--validate=strict", "-f", "-", stdin=manifest, check=False)
    assert says in said
    assert "bad" not in kubectl(platform, "get", "modelservices", "-n", namespace, "-o", "name")


MISTAKES = [
    (("deploy", "iris", "absent.onnx"), 2, "absent.onnx"),
    (("deploy", "Iris_1", "MODEL"), 2, "DNS label"),
    (("deploy", "iris", "MODEL", "--format", "onx"), 2, "onnx"),
    (("deploy", "iris", "BROKEN"), 2, "ONNX"),
    (("predict", "absent"), 4, "absent"),
    (("describe", "absent"), 4, "absent"),
]


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: " ".join(mistake[0]))
def test_the_command_line_refuses_what_is_wrong_and_leaves_nothing(platform, namespace, iris, tmp_path, mistake):
    words, code, says = mistake
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"\x08\x07not a model")
    places = {"MODEL": str(iris), "BROKEN": str(broken)}
    done = slipway(*[places.get(word, word) for word in words], "-n", namespace, check=False)
    assert done.returncode == code, done.stderr
    assert says in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 6
    assert "Traceback" not in done.stderr
    assert not kubectl(platform, "get", "modelservices", "-n", namespace, "-o", "name").strip()


def test_a_cluster_that_does_not_answer_is_said_so(platform, tmp_path):
    text = platform.kubeconfig.read_text().replace(":6443", ":1")
    (tmp_path / "config").write_text(text)
    done = slipway("list", "--kubeconfig", str(tmp_path / "config"), check=False)
    assert done.returncode == 7
    assert ":1" in done.stderr
