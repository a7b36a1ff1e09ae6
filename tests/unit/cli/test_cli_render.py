"""`slipway render`: what it prints and writes, what it refuses; and `k8s/`, which is made with it."""

import json
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[3]
PLAIN = ROOT / "k8s"
IMAGE = "registry.slipway-system.svc:5000/slipway/serving:0.1.0"
MADE = ("-f", ROOT / "examples/model-serving/service.yaml", "--ingress-class", "nginx", "--image", IMAGE)
WRITTEN = {"01-settings.yaml", "02-claim.yaml", "03-example.yaml"}
"""What of `k8s/` people write: the rest is rendered."""
MODEL = "oci://registry.example.com/iris:1"


def plain(pattern="*.yaml"):
    return [
        manifest
        for path in sorted(PLAIN.glob(pattern))
        for manifest in yaml.safe_load_all(path.read_text(encoding="utf-8"))
    ]


def one(kind, name="model-serving"):
    (found,) = [item for item in plain() if (item["kind"], item["metadata"]["name"]) == (kind, name)]
    return found


def kinds(result):
    assert result.exit_code == 0, result.stderr
    return [manifest["kind"] for manifest in yaml.safe_load_all(result.stdout)]


def test_k8s_is_what_render_makes(slipway, tmp_path):
    made = tmp_path / "made"
    result = slipway("render", *MADE, "--output-dir", made)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines() == [str(path) for path in sorted(made.iterdir())]
    rendered = {path.name: path.read_text(encoding="utf-8") for path in made.iterdir()}
    there = {path.name: path.read_text(encoding="utf-8") for path in PLAIN.glob("*.yaml") if path.name not in WRITTEN}
    how = "run: slipway render -f examples/model-serving/service.yaml …, as that file says"
    assert there.keys() == rendered.keys(), how
    assert there == rendered, how


def test_the_example_says_how_k8s_is_made():
    text = (ROOT / "examples/model-serving/service.yaml").read_text(encoding="utf-8")
    comment = " ".join(line.strip("# \\") for line in text.splitlines() if line.startswith("#"))
    assert (
        "slipway render -f examples/model-serving/service.yaml --ingress-class nginx --output-dir k8s "
        f"--image {IMAGE}" in comment
    )


def test_k8s_has_what_a_model_in_production_needs():
    found = {item["kind"] for item in plain()}
    assert found == {
        "ConfigMap",
        "Deployment",
        "HorizontalPodAutoscaler",
        "Ingress",
        "Job",
        "NetworkPolicy",
        "PersistentVolumeClaim",
        "PodDisruptionBudget",
        "Service",
        "ServiceAccount",
    }
    assert [item["kind"] for item in plain("namespace/*.yaml")] == ["Namespace"]
    (container,) = one("Deployment")["spec"]["template"]["spec"]["containers"]
    assert {"startupProbe", "readinessProbe", "livenessProbe"} <= container.keys()
    assert {"cpu", "memory"} <= container["resources"]["limits"].keys()
    assert one("Ingress")["spec"]["tls"][0]["secretName"]
    assert one("HorizontalPodAutoscaler")["spec"]["minReplicas"] >= 2
    assert "replicas" not in one("Deployment")["spec"]


def test_what_the_pods_of_k8s_refer_to_is_there_or_may_be_absent():
    pod = one("Deployment")["spec"]["template"]["spec"]
    (source,) = pod["containers"][0]["envFrom"]
    assert one("ConfigMap", source["configMapRef"]["name"])
    (claim,) = [volume["persistentVolumeClaim"] for volume in pod["volumes"] if "persistentVolumeClaim" in volume]
    assert one("PersistentVolumeClaim", claim["claimName"])
    assert pod["imagePullSecrets"]  # the kubelet pulls without, where there is none
    filler = one("Job", "model-serving-example")["spec"]["template"]["spec"]
    assert filler["volumes"] == [{"name": "model", "persistentVolumeClaim": {"claimName": claim["claimName"]}}]
    assert filler["containers"][0]["image"] == pod["containers"][0]["image"] == IMAGE
    assert filler["affinity"] == pod["affinity"]  # the claim is for one node


def test_the_service_does_not_reach_the_job():
    selector = one("Service")["spec"]["selector"].items()
    assert selector <= one("Deployment")["spec"]["template"]["metadata"]["labels"].items()
    assert not selector <= one("Job", "model-serving-example")["spec"]["template"]["metadata"]["labels"].items()


def test_a_model_in_a_registry(slipway):
    result = slipway("render", "iris", MODEL, "--replicas", 3, "--image", IMAGE)
    assert kinds(result) == ["ServiceAccount", "NetworkPolicy", "Service", "Deployment", "PodDisruptionBudget"]
    assert result.stderr == ""


def test_a_model_on_this_machine_is_named_by_the_digest_that_it_will_have(slipway):
    model = ROOT / "examples" / "iris"
    result = slipway("render", "iris", model, "--registry", "registry.example.com/team", "--image", IMAGE)
    assert "oci://" not in result.stdout
    assert "reference: registry.example.com/team/iris@sha256:" in result.stdout
    assert f"slipway push {model} iris --registry registry.example.com/team" in result.stderr


def test_json_is_one_list(slipway):
    result = slipway("render", "iris", MODEL, "--image", IMAGE, "-o", "json", "-n", "ml")
    made = json.loads(result.stdout)
    assert made["kind"] == "List"
    assert {item["metadata"]["namespace"] for item in made["items"]} == {"ml"}


def test_files_of_json(slipway, tmp_path):
    result = slipway("render", "iris", MODEL, "--image", IMAGE, "-o", "json", "--output-dir", tmp_path / "new")
    assert Path(result.stdout.splitlines()[0]).name == "10-serviceaccount.json"
    assert json.loads((tmp_path / "new" / "40-service.json").read_text())["kind"] == "Service"


def test_routes(slipway):
    gateway = slipway("render", "iris", MODEL, "--image", IMAGE, "--gateway", "infra/public", "-n", "ml")
    assert kinds(gateway)[-1] == "HTTPRoute"
    assert "value: /ml/iris" in gateway.stdout
    ingress = slipway("render", "iris", MODEL, "--image", IMAGE, "--ingress-class", "nginx")
    assert "There is no Ingress: it routes by host names" in ingress.stderr


def test_fetching(slipway):
    arguments = ("render", "iris", "s3://models/iris/", "--image", IMAGE, "--fetcher-image", "registry.example.com/f:1")
    assert "name: fetch" in slipway(*arguments).stdout
    no_volumes = ("render", "iris", MODEL, "--image", IMAGE, "--no-image-volumes", "--fetcher-image", "f:1")
    assert "name: fetch" in slipway(*no_volumes).stdout


@pytest.fixture
def refused(slipway, api):
    def run(*arguments):
        result = slipway("render", *arguments)
        assert result.exit_code == 2
        assert result.stdout == ""
        assert 2 <= len(result.stderr.splitlines()) <= 5
        assert api.asked == []
        return result.stderr

    return run


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "NAME is missing."),
        (("iris",), "PATH or URI is missing."),
        (("iris", MODEL), "Say it: --image REGISTRY/NAME:TAG"),
        (("iris", "hf://org/repo", "--image", IMAGE), "Say it: --fetcher-image REGISTRY/NAME:TAG"),
        (("iris", MODEL, "--image", IMAGE, "--gateway", "a/b"), "Say it: -n default"),
        (("iris", MODEL, "--image", IMAGE, "--gateway", "public"), "Write NAMESPACE/NAME: "),
        (("iris", MODEL, "--gateway", "a/b", "--ingress-class", "c"), "exclude each other"),
        (("iris", MODEL, "--image", IMAGE, "-n", "Team_A"), "--namespace 'Team_A' cannot be."),
        (("iris", MODEL, "--image", "a b"), "--image 'a b' cannot be."),
        (("iris", MODEL, "--image", IMAGE, "--fetcher-image", "-"), "--fetcher-image '-' cannot be."),
        (("iris", MODEL, "--image", IMAGE, "--ingress-class", "a\nb"), "--ingress-class 'a\\nb' cannot be."),
        (("iris", "ftp://host/iris", "--image", IMAGE), "iris: spec.model.uri: 'ftp://host/iris' is not a model"),
        (("iris", ROOT / "examples" / "iris", "--image", IMAGE), "--registry HOST/PATH"),
        (("iris", "-f", "service.yaml"), "-f service.yaml says it all"),
        (("-f", "absent.yaml"), "absent.yaml: cannot be read"),
        (("iris", MODEL, "--image", IMAGE, "--replicas", "3", "--max", "5"), "--replicas fixes the number"),
    ],
)
def test_what_is_wrong_is_said(refused, arguments, said):
    assert said in refused(*arguments)


def test_a_file_of_another_namespace_and_an_unknown_field(refused, tmp_path):
    file = tmp_path / "service.yaml"
    text = "apiVersion: slipway.dev/v1alpha1\nkind: ModelService\nmetadata: {name: iris, namespace: ml}\n"
    file.write_text(f"{text}spec:\n  model: {{uri: '{MODEL}'}}\n")
    assert "metadata.namespace is ml, but the command line says prod." in refused("-f", file, "-n", "prod")
    file.write_text(f"{text}spec:\n  model: {{url: '{MODEL}'}}\n")
    assert f"{file}:5:" in refused("-f", file, "--image", IMAGE)


def test_a_directory_that_cannot_be_made(refused, tmp_path):
    (tmp_path / "file").write_text("")
    said = refused("iris", MODEL, "--image", IMAGE, "--output-dir", tmp_path / "file" / "below")
    assert "cannot be written" in said
