"""The chart's life on a cluster: tested, upgraded, removed and installed again, while models go on serving."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from .chart import CHART, NAMESPACE, done, helm, program, upgrade, values_of
from .services import apply, service, until_ready
from .tools import get, kubectl, slipway, until
from .traffic import Load, answers

OPERATOR = "app.kubernetes.io/name=slipway-operator"
CRD = "modelservices.slipway.dev"
TWO = {"min": 2, "max": 2}
LEFTOVERS = "pods,serviceaccounts,roles,rolebindings"


@pytest.fixture
def release(platform):
    """The platform's values; it is put back as `slipway up` makes it, whatever the test did."""
    yield values_of(platform)
    slipway("up", "--name", platform.name, timeout=1200)


@pytest.fixture
def restricted(platform):
    """The platform's namespace admits nothing but what the restricted Pod Security Standard allows."""
    label = "pod-security.kubernetes.io/enforce"
    kubectl(platform, "label", "namespace", NAMESPACE, f"{label}=restricted")
    yield
    kubectl(platform, "label", "namespace", NAMESPACE, f"{label}-")


def rolled_out(cluster):
    kubectl(cluster, "rollout", "status", "deployment/slipway-operator", "-n", NAMESPACE, "--timeout=150s")


def kill_operators(cluster):
    """As when their nodes lose power: no time to give the lease back."""
    kubectl(cluster, "delete", "pods", "-n", NAMESPACE, "-l", OPERATOR, "--grace-period=0", "--force")


def selftests(cluster):
    found = get(cluster, LEFTOVERS, "-n", NAMESPACE)["items"] + get(cluster, "modelservices", "-n", NAMESPACE)["items"]
    return [one["kind"] for one in found if one["metadata"]["name"].startswith(("slipway-selftest", "slipway-test"))]


def test_the_release_tests_itself_under_the_restricted_standard_and_leaves_nothing(platform, restricted):
    kubectl(platform, "rollout", "restart", "deployment/slipway-operator", "-n", NAMESPACE)
    rolled_out(platform)
    said = done("test", "slipway", f"--namespace={NAMESPACE}", "--logs", cluster=platform)
    assert '"outputs":{"sum":[6.0]}' in re.sub(r"\s", "", said)
    assert "Passed." in said
    assert selftests(platform) == []


def test_a_selftest_that_fails_says_why_in_its_log_and_removes_its_model(platform, release):
    missing = "oci://registry.slipway-system.svc:5000/models/none:1"
    upgrade(platform, release | {"test": {"modelUri": missing, "timeoutSeconds": 120}})
    assert helm("test", "slipway", f"--namespace={NAMESPACE}", cluster=platform).returncode != 0
    log = kubectl(platform, "logs", "slipway-selftest", "-n", NAMESPACE)
    assert "Failed: The model cannot become ready. " in log
    assert "models/none" in log
    assert selftests(platform) == ["Pod"]
    kubectl(platform, "delete", "pod", "slipway-selftest", "-n", NAMESPACE)


def test_a_second_release_and_missing_apis_are_refused_before_anything_is_made(platform):
    def refused(*flags):
        ran = helm("install", "other", str(CHART), "--namespace=other", "--dry-run=server", *flags, cluster=platform)
        assert ran.returncode != 0
        return ran.stderr

    assert "belongs to the Helm release slipway in namespace slipway-system. One operator serves" in refused()
    said = refused(f"--values={CHART / 'values-prod.yaml'}")
    assert "Install the Prometheus Operator, or set monitoring.serviceMonitor.enabled" in said


def test_an_upgrade_under_load_fails_no_request_and_updates_the_definitions(
    platform, release, namespace, pushed, tmp_path
):
    apply(platform, namespace, "iris", pushed, scaling=TWO)
    url = until_ready(platform, namespace, "iris")
    before = get(platform, "deployment", "iris", "-n", namespace)["metadata"]["uid"]
    until(lambda: answers(url))
    with Load(url, most=40000) as load:
        upgrade(platform, release | {"podAnnotations": {"turn": "1"}}, chart=newer(tmp_path))
        kill_operators(platform)
        rolled_out(platform)
        assert "msv" in get(platform, "crd", CRD)["spec"]["names"]["shortNames"]
        change(platform, namespace, pushed, "1")
        upgrade(platform, release | {"podAnnotations": {"turn": "2"}})
        kill_operators(platform)
        rolled_out(platform)
        assert "msv" not in get(platform, "crd", CRD)["spec"]["names"]["shortNames"]
        change(platform, namespace, pushed, "2")
    assert load.sent > 200
    assert load.failures == []
    assert get(platform, "deployment", "iris", "-n", namespace)["metadata"]["uid"] == before


def newer(directory):
    """A chart of a later version, whose definition has one more short name."""
    chart = directory / "slipway"
    shutil.copytree(CHART, chart)
    file = chart / "files" / "crds" / f"{CRD}.yaml"
    definition = yaml.safe_load(file.read_text())
    definition["spec"]["names"]["shortNames"].append("msv")
    file.write_text(yaml.safe_dump(definition))
    description = (chart / "Chart.yaml").read_text()
    (chart / "Chart.yaml").write_text(re.sub("(?m)^version: .*$", "version: 99.0.0", description))
    return chart


def change(cluster, namespace, pushed, turn):
    """A change of the model service is carried out: an operator acts."""
    before = service(cluster, namespace, "iris")["status"]["revision"]
    apply(cluster, namespace, "iris", pushed, scaling=TWO, server={"env": [{"name": "TURN", "value": turn}]})
    until(lambda: service(cluster, namespace, "iris")["status"]["revision"] != before)
    until_ready(cluster, namespace, "iris")


def test_models_serve_on_without_the_platform_and_the_next_one_from_a_registry_takes_over(
    platform, release, namespace, pushed, tmp_path
):
    apply(platform, namespace, "iris", pushed, scaling=TWO)
    until_ready(platform, namespace, "iris")
    uid = service(platform, namespace, "iris")["metadata"]["uid"]
    url = door(platform, namespace)
    until(lambda: answers(url))
    with Load(url, most=40000) as load:
        remove_the_platform(platform)
        kept = service(platform, namespace, "iris")
        assert (kept["metadata"]["uid"], "deletionTimestamp" in kept["metadata"]) == (uid, False)
        another_release_is_helped(platform)
        install_from_registry(platform, release, tmp_path)
        change(platform, namespace, pushed, "1")
        kubectl(platform, "delete", "service", "iris", "-n", namespace)
        until(lambda: "iris" in kubectl(platform, "get", "service", "-n", namespace, "-o", "name"))
    assert load.sent > 200
    assert load.failures == []
    assert service(platform, namespace, "iris")["metadata"]["uid"] == uid


def door(cluster, namespace):
    """A way to the pods that is none of the platform's: a port of the node. Returns its URL."""
    kubectl(cluster, "create", "service", "nodeport", "door", "-n", namespace, "--tcp=80:8080")
    selector = '{"spec": {"selector": {"app": null, "slipway.dev/modelservice": "iris"}}}'
    kubectl(cluster, "patch", "service", "door", "-n", namespace, "--type=merge", f"--patch={selector}")
    port = get(cluster, "service", "door", "-n", namespace)["spec"]["ports"][0]["nodePort"]
    return f"http://{cluster.node_ips[0]}:{port}"


def remove_the_platform(cluster):
    """Uninstalls while the operators are killed; what Envoy Gateway made for it goes, too."""
    kill_operators(cluster)
    done("uninstall", "slipway", f"--namespace={NAMESPACE}", "--wait", cluster=cluster)
    until(lambda: not get(cluster, "pods", "-n", NAMESPACE, "-l", OPERATOR)["items"])
    owned = "gateway.envoyproxy.io/owning-gateway-name=slipway"
    until(lambda: not get(cluster, "deployments,services", "-A", "-l", owned)["items"])


def another_release_is_helped(cluster):
    """The definitions are marked as the first release's; what the refusal says to do is what helps."""
    words = ("install", "other", str(CHART), "--namespace=other", "--dry-run=server")
    ran = helm(*words, cluster=cluster)
    assert ran.returncode != 0
    assert f"{CRD} belongs to the Helm release slipway in namespace slipway-system. Hand it over" in ran.stderr
    remedy = re.search(r"kubectl (annotate .*)", ran.stderr)
    assert remedy, ran.stderr
    kubectl(cluster, *shlex.split(remedy[1]))
    done(*words, cluster=cluster)
    marks = ("meta.helm.sh/release-name=slipway", f"meta.helm.sh/release-namespace={NAMESPACE}")
    kubectl(cluster, "annotate", "--overwrite", "crd", CRD, *marks)


def install_from_registry(cluster, values, directory):
    """Packed and pushed by the script, installed by its address and version."""
    access = cluster.registry
    trust = (f"--ca-file={access.ca}", f"--cert-file={access.cert}", f"--key-file={access.key}")
    place = f"oci://{access.url.removeprefix('https://')}/charts"
    script = CHART.parents[1] / "scripts" / "pack-chart"
    packed = subprocess.run(
        [script, directory, place, *trust],
        env=os.environ | {"HELM": str(program())},
        capture_output=True,
        text=True,
        check=False,
    )
    assert packed.returncode == 0, packed.stderr
    version = Path(packed.stdout.strip()).name.removeprefix("slipway-").removesuffix(".tgz")
    where = (f"--version={version}", f"--namespace={NAMESPACE}", *trust)
    done("install", "slipway", f"{place}/slipway", *where, cluster=cluster, values=values)
    rolled_out(cluster)
