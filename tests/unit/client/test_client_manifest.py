import pytest

from slipway.client.errors import InvalidInputError
from slipway.client.manifest import Wish, model_service, read_manifest, replica_range


def test_manifest_has_only_what_was_said():
    manifest = model_service(Wish("iris", "oci://r/models/iris:1"), "ml")
    assert manifest["metadata"] == {"name": "iris", "namespace": "ml"}
    assert manifest["spec"] == {"model": {"uri": "oci://r/models/iris:1"}}


def test_manifest_with_everything():
    spec = model_service(Wish("iris", "oci://r/i:1", "onnx", 1, 3), "ml")["spec"]
    assert spec == {"model": {"uri": "oci://r/i:1", "format": "onnx"}, "scaling": {"min": 1, "max": 3}}


def test_replicas_fix_both_ends():
    assert replica_range(3, None, None) == (3, 3)
    assert replica_range(None, 1, None) == (1, None)


@pytest.mark.parametrize("asked", [(3, 1, None), (3, None, 4), (None, 4, 2)])
def test_contradicting_replicas(asked):
    with pytest.raises(InvalidInputError):
        replica_range(*asked)


VALID = """
apiVersion: slipway.dev/v1alpha1
kind: ModelService
metadata: {name: iris}
spec:
  model:
    uri: oci://registry.local/models/iris:1
"""


def test_reads_one_model_service(tmp_path):
    file = tmp_path / "svc.yaml"
    file.write_text(f"---{VALID}---\n")
    assert read_manifest(file)["metadata"]["name"] == "iris"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: b: c", "svc.yaml:1:5: not YAML"),
        ("", "has 0 objects"),
        ("{}\n---\n{}", "has 2 objects"),
        ("- a", "must be an object"),
        ("a: \x00", "not YAML"),
        (VALID + "kind: ModelService\n", "svc.yaml:8:1: the field 'kind' is written twice; remove one of them."),
        ("a: &x [*x]", "svc.yaml:1:8: an alias refers to what it is a part of"),
        ("[" * 5000, "svc.yaml:1:65: is nested deeper than 64 levels"),
        ("a" * 2_000_000, "svc.yaml: is larger than the 1.5 MiB that the API server stores"),
        (VALID.replace("ModelService", "ModelServce"), "svc.yaml:3:1: kind: 'ModelServce'"),
        (VALID.replace("iris}", "Iris}"), "svc.yaml:4:12: metadata.name: 'Iris' cannot be the name"),
        (VALID.replace("uri:", "url:"), "svc.yaml:7:5: spec.model.url: unknown field; did you mean uri?"),
        (VALID + "  scaling: {min: 4, max: 2}\n", "svc.yaml:8:3: spec.scaling: min (4) exceeds max (2)"),
        (
            VALID + "  server: {env: [{name: A, value: 3}]}\n",
            "svc.yaml:8:28: spec.server.env[0].value: must be a string",
        ),
    ],
)
def test_refusals_name_file_line_field_and_problem(tmp_path, text, says):
    file = tmp_path / "svc.yaml"
    file.write_text(text)
    with pytest.raises(InvalidInputError) as refused:
        read_manifest(file)
    assert says in refused.value.message
    assert refused.value.hint


def test_many_problems_fit_on_a_few_lines(tmp_path):
    file = tmp_path / "svc.yaml"
    file.write_text(VALID + "".join(f"  field{number}: 1\n" for number in range(9)))
    with pytest.raises(InvalidInputError) as refused:
        read_manifest(file)
    assert len(refused.value.message.splitlines()) == 3
    assert refused.value.message.endswith("(6 more)")


def test_missing_file(tmp_path):
    with pytest.raises(InvalidInputError, match="No such file"):
        read_manifest(tmp_path / "none.yaml")
