"""`model.yaml`, the options, and where a model's file is found."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipway_serving.config import parse_config
from slipway_serving.cpus import available_cpus
from slipway_serving.errors import ModelLoadError
from slipway_serving.options import parse
from slipway_serving.sources import Settings, find_directories, find_versions


def find_model(path, name=""):
    """The only version of the only model."""
    settings = Settings(name)
    ((found, directory),) = find_directories(path, settings).items()
    (source,) = find_versions(directory, found, settings)
    return source


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"batchng": {}}, "unknown key 'batchng'; did you mean 'batching'?"),
        ({"batching": {"maxsize": 3}}, "unknown key 'batching.maxsize'; did you mean 'maxSize'?"),
        ({"batching": {"maxSize": 0}}, "batching.maxSize must be a whole number from 1"),
        ({"inputs": [{"nam": "x"}]}, "unknown key 'inputs[0].nam'; did you mean 'name'?"),
        ({"inputs": [{}]}, "inputs[0].name is missing"),
        ({"inputs": [{"name": "x", "datatype": "FLOAT32"}]}, "inputs[0].datatype: unknown datatype 'FLOAT32'"),
        ({"inputs": [{"name": "x", "shape": [0.5]}]}, "inputs[0].shape must be a list of lengths"),
        ({"batching": {"maxDelay": 5}}, "batching.maxDelay must be a time like 5ms"),
        ({"batching": {"maxDelay": "5 weeks"}}, "batching.maxDelay: '5 weeks' is not a time"),
        ({"batching": {"preferredSizes": [4]}}, "batching.preferredSizes has 4, but maxSize is 1"),
        ({"batching": {"preferredSizes": [0]}}, "batching.preferredSizes[0] must be a whole number"),
        ({"execution": "fork"}, "execution must be thread or process, got 'fork'"),
        ({"versionPolicy": "newest"}, "versionPolicy must be latest, all, {latest: COUNT} or {specific: [VERSION, …]}"),
        ({"versionPolicy": {"last": 1}}, "unknown key 'versionPolicy.last'"),
        ({"outputs": [{"name": "x"}, {"name": "x"}]}, "outputs has 'x' twice"),
        ({"name": "a/b"}, "name must be letters"),
        ({"warmUp": "no"}, "warmUp must be true or false"),
        ([], "the document must be a mapping"),
    ],
)
def test_a_wrong_setting_is_refused_with_its_path(document, message):
    with pytest.raises(ValueError, match=r".+") as caught:
        parse_config(document)
    assert str(caught.value).startswith(message)


def test_settings_are_read_and_the_rest_has_defaults():
    config = parse_config({"version": 2, "batching": {"maxSize": 8}, "inputs": [{"name": "x", "datatype": "FP32"}]})
    assert (config.version, config.batching.max_size, config.batching.queue_size, config.warm_up) == (
        "2",
        8,
        1000,
        True,
    )
    assert config.inputs[0].datatype is not None


def test_a_broken_file_is_a_sentence(tmp_path):
    (tmp_path / "model.yaml").write_text("a: [")
    with pytest.raises(ModelLoadError, match=r"model.yaml is not valid YAML"):
        find_model(tmp_path)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["model.onnx", "train.py"], "model.onnx"),
        (["iris.onnx"], "iris.onnx"),
        (["model.py", "helper.py"], "model.py"),
        (["model.skops", "other.onnx"], "model.skops"),
    ],
)
def test_the_model_in_a_directory_is_found(tmp_path, files, expected):
    for name in files:
        (tmp_path / name).touch()
    assert find_model(tmp_path).path.name == expected


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], "holds no model"),
        (["train.py"], "holds no model"),
        (["a.onnx", "b.onnx"], "holds several model files: a.onnx, b.onnx"),
    ],
)
def test_no_model_or_several_are_a_sentence(tmp_path, files, message):
    for name in files:
        (tmp_path / name).touch()
    with pytest.raises(ModelLoadError, match=message):
        find_model(tmp_path)


def test_names_come_from_the_option_the_settings_or_the_path(tmp_path):
    directory = tmp_path / "flowers"
    directory.mkdir()
    (directory / "model.onnx").touch()
    assert find_model(directory).name == "flowers"
    assert find_model(directory / "model.onnx").name == "model"
    (directory / "model.yaml").write_text("name: iris")
    assert find_model(directory).name == "iris"
    assert find_model(directory, "other").name == "other"


@pytest.mark.parametrize("file", ["../secret.onnx", "/etc/passwd", "missing.onnx"])
def test_a_file_outside_the_directory_is_refused(tmp_path, file):
    (tmp_path / "secret.onnx").touch()
    directory = tmp_path / "model"
    directory.mkdir()
    (directory / "model.yaml").write_text(f"file: {file}")
    with pytest.raises(ModelLoadError, match="which is not in"):
        find_model(directory)


def test_options_come_from_the_command_line_else_from_the_environment():
    environment = {
        "SLIPWAY_SERVE_PATH": "/models/iris",
        "SLIPWAY_SERVE_MAX_BODY": "1Mi",
        "SLIPWAY_SERVE_DRAIN_WINDOW": "500ms",
        "SLIPWAY_SERVE_ALLOW_PICKLE": "true",
        "SLIPWAY_SERVE_HTTP_PORT": "1",
    }
    options = parse(["--http-port", "9000"], environment)
    assert options.path == Path("/models/iris")
    assert (options.http_port, options.max_body, options.drain_window) == (9000, 1 << 20, 0.5)
    assert options.allow_pickle is True


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        ([], {}, "PATH is missing"),
        (["m", "--http-port", "99999"], {}, "'99999' is not a port"),
        (["m", "--max-body", "lots"], {}, "'lots' is not a size"),
        (["m"], {"SLIPWAY_SERVE_DRAIN_WINDOW": "3 weeks"}, "SLIPWAY_SERVE_DRAIN_WINDOW: '3 weeks' is not a time"),
        (["m"], {"SLIPWAY_SERVE_ALLOW_PICKLE": "maybe"}, "SLIPWAY_SERVE_ALLOW_PICKLE: must be true or false"),
        (["m"], {"SLIPWAY_SERVE_LOG_LEVEL": "loud"}, "SLIPWAY_SERVE_LOG_LEVEL: must be one of"),
    ],
)
def test_a_wrong_option_is_a_sentence(arguments, environment, message, capsys):
    with pytest.raises(SystemExit) as caught:
        parse(arguments, environment)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_help_explains_every_option_and_its_variable(capsys):
    with pytest.raises(SystemExit):
        parse(["--help"], {})
    text = capsys.readouterr().out
    for name in (
        "name",
        "host",
        "http-port",
        "max-body",
        "drain-window",
        "drain-timeout",
        "keep-alive",
        "allow-pickle",
    ):
        assert f"--{name}" in text
        assert f"SLIPWAY_SERVE_{name.upper().replace('-', '_')}" in text


def test_a_container_limit_counts_more_than_the_machine(tmp_path):
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    assert available_cpus(tmp_path) == 1
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert available_cpus(tmp_path) == available_cpus(tmp_path / "nothing")
    v1 = tmp_path / "v1" / "cpu"
    v1.mkdir(parents=True)
    (v1 / "cpu.cfs_quota_us").write_text("100000")
    (v1 / "cpu.cfs_period_us").write_text("100000")
    assert available_cpus(tmp_path / "v1") == 1
