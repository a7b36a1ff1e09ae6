import os
from pathlib import Path
from typing import get_args

import onnx
import pytest
from onnx import TensorProto, helper

from slipway.api import modelservice
from slipway.client.errors import InvalidInputError
from slipway.client.model import FORMATS, check_model
from slipway.client.onnxfile import check_onnx
from slipway.oci import OciError, model_image


@pytest.fixture(scope="module")
def model_bytes():
    shape = [None, 4]
    node = helper.make_node("Identity", ["x"], ["y"])
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)
    graph = helper.make_graph([node], "identity", [x], [y])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString()


@pytest.fixture
def model(tmp_path, model_bytes):
    file = tmp_path / "model.onnx"
    file.write_bytes(model_bytes)
    return file


def refusal(path: Path, *args, **kwargs) -> InvalidInputError:
    with pytest.raises(InvalidInputError) as refused:
        check_model(path, *args, **kwargs)
    assert refused.value.hint
    return refused.value


def test_formats_are_those_of_the_api():
    assert get_args(modelservice.Format) == FORMATS


def test_onnx_file_and_directory(model, model_bytes):
    assert check_model(model).format == "onnx"
    assert check_model(model.parent).size == len(model_bytes)


@pytest.mark.usefixtures("model")
def test_python_model_is_its_entry_file(tmp_path):
    (tmp_path / "model.onnx").rename(tmp_path / "weights.onnx")
    (tmp_path / "model.py").write_text("class Model: ...")
    assert check_model(tmp_path).format == "python"


def test_missing_file_names_the_neighbour(model):
    assert "no such file or directory; did you mean model.onnx?" in refusal(model.with_name("modle.onnx")).message


def test_empty_directory(tmp_path):
    assert "the directory is empty" in refusal(tmp_path).message


def test_neither_file_nor_directory(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert "neither a file nor a directory" in refusal(tmp_path / "pipe").message


@pytest.mark.usefixtures("model")
def test_link_to_nothing(tmp_path):
    (tmp_path / "weights.bin").symlink_to(tmp_path / "gone")
    assert "weights.bin: a symbolic link to nothing" in refusal(tmp_path).message


def test_unknown_format_names_the_known_and_the_near(model):
    error = refusal(model, "onxx")
    assert error.message == "There is no model format onxx; did you mean onnx?"
    assert "sklearn" in error.hint


def test_unrecognised_files_ask_for_the_format(tmp_path):
    (tmp_path / "weights.bin").write_bytes(b"x")
    error = refusal(tmp_path)
    assert "holds no model: weights.bin" in error.message
    assert "--format" in error.hint
    assert check_model(tmp_path, "custom").format == "custom"


@pytest.mark.usefixtures("model")
def test_two_models_of_one_name(tmp_path):
    (tmp_path / "model.skops").write_bytes(b"x")
    assert "several files could be the model: model.onnx, model.skops" in refusal(tmp_path).message


@pytest.mark.usefixtures("model")
def test_the_file_called_model_is_the_model(tmp_path):
    (tmp_path / "scaler.skops").write_bytes(b"x")
    assert check_model(tmp_path).format == "onnx"


def test_settings_of_the_model_tell_its_format(tmp_path):
    (tmp_path / "model.yaml").write_text("file: weights/iris.onnx")
    assert check_model(tmp_path).format is None
    (tmp_path / "iris.onnx").write_bytes(b"")
    assert "the file is empty" in refusal(tmp_path).message


@pytest.mark.parametrize("name", ["model.pkl", "model.joblib", "model.pickle"])
def test_pickle_needs_permission(tmp_path, name):
    (tmp_path / name).write_bytes(b"x")
    assert "runs any code" in refusal(tmp_path).message
    assert check_model(tmp_path, allow_pickle=True).format == "sklearn"


def test_onnx_without_a_file_of_that_kind(tmp_path):
    (tmp_path / "model.skops").write_bytes(b"x")
    assert "no file ends with .onnx" in refusal(tmp_path, "onnx").message


def test_empty_onnx_file(model):
    model.write_bytes(b"")
    assert "the file is empty" in refusal(model).message


def test_git_lfs_pointer(model):
    model.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    assert refusal(model).hint == "Fetch it with `git lfs pull`."


def test_text_is_no_onnx(model):
    model.write_bytes(b"<!DOCTYPE html><html>404</html>")
    assert "not a complete ONNX model" in refusal(model).message


def test_every_truncation_is_refused(model, model_bytes):
    for length in range(1, len(model_bytes)):
        model.write_bytes(model_bytes[:length])
        assert "not a complete ONNX model" in refusal(model).message


def test_truncation_names_field_and_bytes(tmp_path):
    file = tmp_path / "cut.onnx"
    file.write_bytes(b"\x08\x08\x3a\x7f" + b"\x00" * 10)
    assert "field graph ends at byte 131, but the file has 14 bytes" in refusal(file).message


def test_library_finds_what_the_outline_hides(model):
    broken = onnx.load(str(model))
    broken.graph.node[0].input[0] = "absent"
    model.write_bytes(broken.SerializeToString())
    with pytest.raises(InvalidInputError, match=r"onnx\.checker refuses"):
        check_onnx(model)


def test_a_directory_that_cannot_be_read_is_not_left_out(tmp_path, monkeypatch):
    (tmp_path / "model.py").write_text("class Model: ...")
    (tmp_path / "weights").mkdir()
    real = os.scandir

    def scandir(path):
        if str(path).endswith("weights"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(InvalidInputError, match="weights: cannot be read: Permission denied"):
        check_model(tmp_path, "python")
    with pytest.raises(OciError, match="weights cannot be read: Permission denied"):
        model_image(tmp_path)


@pytest.mark.parametrize(
    ("name", "format"),
    [("a.ubj", "xgboost"), ("model.json", "xgboost"), ("a.lgb", "lightgbm"), ("model.txt", "lightgbm")],
)
def test_boosted_trees_are_known_by_their_files(tmp_path, name, format):  # noqa: A002  # the field's name
    (tmp_path / name).write_bytes(b"x")
    (tmp_path / "README.txt").write_bytes(b"x")
    (tmp_path / "config.json").write_bytes(b"{}")
    assert check_model(tmp_path).format == format
