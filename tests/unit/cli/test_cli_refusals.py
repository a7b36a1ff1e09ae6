"""What is refused before anything is sent: exit code 2, what, where, and what to do; no cluster is asked."""

import pytest


@pytest.fixture
def model(home):
    file = home / "model.onnx"
    file.write_bytes(b"\x08\x08\x3a\x7f" + b"\x00" * 10)
    return file


@pytest.fixture
def refused(slipway, api):
    def run(*arguments):
        result = slipway(*arguments)
        assert result.exit_code == 2
        assert result.stdout == ""
        assert 2 <= len(result.stderr.splitlines()) <= 5
        assert "Traceback" not in result.stderr
        assert api.asked == []
        return result.stderr

    return run


def test_name_that_is_no_dns_label(refused, model):
    said = refused("deploy", "Iris_v2", model)
    assert "'Iris_v2' cannot be the name of a model service" in said
    assert "For example: iris-v2." in said
    assert "cannot be the name of a model" in refused("push", model, "Iris")


def test_missing_file(refused, model):
    assert "did you mean model.onnx?" in refused("deploy", "iris", model.with_name("modle.onnx"))


def test_broken_onnx_file(refused, model):
    said = refused("deploy", "iris", model)
    assert f"{model}: not a complete ONNX model: field graph ends at byte 131, but the file has 14 bytes." in said


def test_empty_directory(refused, home):
    (home / "empty").mkdir()
    assert "the directory is empty" in refused("deploy", "iris", home / "empty")


def test_unknown_format(refused, model):
    said = refused("deploy", "iris", model, "--format", "onxx")
    assert "There is no model format onxx; did you mean onnx?" in said
    assert "Known formats: onnx, sklearn, xgboost, lightgbm, python, custom." in said
    assert "did you mean onnx?" in refused("deploy", "iris", "oci://r/iris:1", "--format", "onxx")


def test_pickle_without_permission(refused, home):
    (home / "model.pkl").write_bytes(b"x")
    assert "--allow-pickle" in refused("deploy", "iris", home / "model.pkl")


def test_unknown_uri(refused):
    assert "spec.model.uri" in refused("deploy", "iris", "ftp://host/model")


def test_no_registry_for_a_model(refused, home):
    (home / "model.skops").write_bytes(b"x")
    said = refused("deploy", "iris", home / "model.skops")
    assert "prod is no local cluster, so it has no registry of its own." in said
    assert "--registry HOST/PATH" in said
    assert "is not a registry" in refused("deploy", "iris", home / "model.skops", "--registry", "a b")


def test_contradictions(refused, home):
    assert "--replicas" in refused("deploy", "iris", "oci://r/iris:1", "--replicas", 2, "--max", 3)
    assert "--min 4 is more than --max 2" in refused("deploy", "iris", "oci://r/iris:1", "--min", 4, "--max", 2)
    assert "says it all" in refused("deploy", "iris", "-f", home / "svc.yaml")
    assert "PATH or URI is missing" in refused("deploy", "iris")


def test_namespaces_that_disagree(refused, home):
    file = home / "svc.yaml"
    file.write_text(
        "{apiVersion: slipway.dev/v1alpha1, kind: ModelService, metadata: {name: iris, namespace: a},"
        " spec: {model: {uri: 'oci://r/iris:1'}}}"
    )
    assert "metadata.namespace is a, but the command line says b" in refused("deploy", "-f", file, "-n", "b")


def test_file_with_an_unknown_field(refused, home):
    file = home / "svc.yaml"
    file.write_text(
        "apiVersion: slipway.dev/v1alpha1\nkind: ModelService\nmetadata: {name: iris}\n"
        "spec:\n  model: {uri: 'oci://r/iris:1'}\n  replica: 3\n"
    )
    assert f"{file}:6:3: spec.replica: unknown field" in refused("deploy", "-f", file)


def test_timeout_without_a_unit(refused):
    assert "Write it with a unit" in refused("deploy", "iris", "oci://r/iris:1", "--timeout", "90")


def test_data_that_is_not_json(refused):
    assert "--data: not JSON" in refused("predict", "iris", "--data", "[1,")


def test_count_below_one(refused):
    assert "--replicas" in refused("deploy", "iris", "oci://r/iris:1", "--replicas", 0)
