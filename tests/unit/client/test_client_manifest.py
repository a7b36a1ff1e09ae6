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


def test_reads_one_model_service(tmp_path):
    file = tmp_path / "svc.yaml"
    file.write_text("---\nkind: ModelService\nmetadata: {name: iris}\n---\n")
    assert read_manifest(file)["metadata"]["name"] == "iris"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: b: c", "svc.yaml:1:5: not YAML"),
        ("", "has 0 objects"),
        ("{}\n---\n{}", "has 2 objects"),
        ("- a", "not an object, but a list"),
        ("kind: ModelServce", "did you mean ModelService?"),
        ("kind: ModelService", "metadata.name is missing"),
        ("{kind: ModelService, metadata: {name: Iris}}", "'Iris' cannot be the name"),
        ("a: \x00", "not YAML"),
    ],
)
def test_refusals_name_file_and_problem(tmp_path, text, says):
    file = tmp_path / "svc.yaml"
    file.write_text(text)
    with pytest.raises(InvalidInputError) as refused:
        read_manifest(file)
    assert says in refused.value.message
    assert refused.value.hint


def test_missing_file(tmp_path):
    with pytest.raises(InvalidInputError, match="no such file"):
        read_manifest(tmp_path / "none.yaml")
