"""Which file of a directory is the model, which format it is of, and formats that installed packages bring."""

from __future__ import annotations

import itertools
import textwrap

import numpy as np
import pytest

import slipway_serving
from slipway_serving.config import ModelConfig, parse_config
from slipway_serving.errors import ModelLoadError
from slipway_serving.runtimes.base import Inference, load_runtime
from slipway_serving.runtimes.formats import Format, format_of, import_runtime, model_file

LEARNER = '{"learner":{"attributes":{}}}'
TREE = "tree\nversion=v4\n"
RUNTIME = """
    from slipway_serving import Inference, ModelConfig, ModelLoadError, Runtime, Signature, Tensors

    SUFFIXES = (".double",)

    class Doubling:
        signature = Signature()

        def __init__(self, factor):
            self.factor = factor

        def infer(self, request: Inference) -> Tensors:
            return {name: array * self.factor for name, array in request.inputs.items()}

        def close(self) -> None: ...

    def load(path, config: ModelConfig) -> Runtime:
        text = path.read_text() if path.is_file() else "2"
        if text == "refuse":
            raise ModelLoadError("not this one", "try another")
        return Doubling(float(text))
"""
_numbers = itertools.count()


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Installs a package with one runtime; returns its module's name."""

    def install(source: str = RUNTIME, name: str = "doubling", value: str = "") -> str:
        module = f"slipway_doubling_{next(_numbers)}"
        place = tmp_path / f"site_{module}"
        information = place / f"{module}-1.0.dist-info"
        information.mkdir(parents=True)
        (place / f"{module}.py").write_text(textwrap.dedent(source))
        (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
        (information / "entry_points.txt").write_text(f"[slipway_serving.runtimes]\n{name} = {value or module}\n")
        monkeypatch.syspath_prepend(str(place))
        return module

    return install


@pytest.fixture
def directory(tmp_path):
    made = tmp_path / "model"
    made.mkdir()
    return made


def write(directory, files):
    for name, content in files.items():
        (directory / name).write_text(content)


@pytest.mark.parametrize(
    ("files", "settings", "expected"),
    [
        ({"iris.onnx": "", "README.txt": "tree", "config.json": LEARNER}, {}, "iris.onnx"),
        ({"model.ubj": "", "model.py": ""}, {"format": "xgboost"}, "model.ubj"),
        ({"model.json": LEARNER, "config.json": LEARNER}, {}, "model.json"),
        ({"model.json": '{"version":[3,2,0],"learner":{}}'}, {}, "model.json"),
        ({"model.txt": TREE, "README.txt": "words"}, {}, "model.txt"),
        ({"iris.onnx": "", "model.json": '{"some": "metadata"}', "model.txt": "words"}, {}, "iris.onnx"),
        ({"trained.json": "{}", "README.txt": "words"}, {"format": "xgboost"}, "trained.json"),
        ({"trained.txt": TREE, "trained.json": "{}"}, {"format": "lightgbm"}, "trained.txt"),
        ({"trained.lgb": TREE, "README.txt": "words"}, {"format": "lightgbm"}, "trained.lgb"),
        ({"serve.py": "", "iris.onnx": ""}, {"format": "python"}, "serve.py"),
        ({"a.json": LEARNER, "b.json": LEARNER}, {"file": "b.json"}, "b.json"),
    ],
)
def test_the_model_among_other_files_is_found(directory, files, settings, expected):
    write(directory, files)
    assert model_file(directory, parse_config(settings)).name == expected


@pytest.mark.parametrize(
    ("files", "settings", "message"),
    [
        ({"README.txt": TREE, "config.json": LEARNER, "train.py": ""}, {}, "holds no model"),
        ({"model.txt": "a few words", "model.json": "{}"}, {}, "holds no model"),
        ({"iris.onnx": ""}, {"format": "lightgbm"}, "holds no model"),
        ({"a.json": "{}", "b.json": "{}"}, {"format": "xgboost"}, "holds several model files: a.json, b.json"),
        ({"a.lgb": "", "b.ubj": ""}, {}, "holds several model files: a.lgb, b.ubj"),
        ({}, {"file": "missing.ubj"}, "which is not in"),
    ],
)
def test_no_model_or_several_are_a_sentence(directory, files, settings, message):
    write(directory, files)
    with pytest.raises(ModelLoadError, match=message):
        model_file(directory, parse_config(settings))


@pytest.mark.parametrize(
    ("name", "expected"), [("iris.json", "xgboost"), ("iris.txt", "lightgbm"), ("serve.py", "python")]
)
def test_a_file_that_somebody_names_is_taken_at_its_ending(tmp_path, name, expected):
    assert format_of(tmp_path / name).name == expected


def test_a_package_brings_a_format(package, directory):
    package()
    (directory / "model.double").write_text("3")
    path = model_file(directory, ModelConfig())
    runtime = load_runtime(path, ModelConfig())
    assert runtime.infer(Inference({"x": np.ones(2)}))["x"].tolist() == [3, 3]
    assert format_of(path).name == "doubling"


def test_a_format_without_endings_gets_the_directory(package, directory):
    package(RUNTIME.replace('SUFFIXES = (".double",)', ""))
    config = parse_config({"format": "doubling"})
    assert model_file(directory, config) == directory
    assert load_runtime(directory, config).infer(Inference({"x": np.ones(1)}))["x"].tolist() == [2]


def test_a_file_that_two_formats_know_is_the_built_in_ones(package, directory):
    package(RUNTIME.replace(".double", ".onnx"))
    (directory / "model.onnx").touch()
    assert format_of(model_file(directory, ModelConfig())).name == "onnx"


def test_an_unknown_format_is_refused_with_the_nearest_and_all_known_ones(package, tmp_path):
    package()
    with pytest.raises(ModelLoadError, match="unknown format 'dubling'; did you mean 'doubling'") as caught:
        format_of(tmp_path, "dubling")
    assert caught.value.hint.startswith("formats here: onnx, sklearn, xgboost, lightgbm, python, doubling; ")


@pytest.mark.parametrize(
    ("source", "value", "message"),
    [
        ("import nothing_of_that_name", "", "cannot be imported from .*ModuleNotFoundError: .*nothing_of_that_name"),
        ("1 / 0", "", "cannot be imported from .*ZeroDivisionError"),
        ("", "no_such_module_anywhere", "cannot be imported from 'no_such_module_anywhere'"),
        ("load = 3", "", r"has no function load\(path, config\)"),
        ("SUFFIXES = 'x'\ndef load(path, config): ...", "", "has SUFFIXES that are not endings"),
        ("SUFFIXES = ('x',)\ndef load(path, config): ...", "", "has SUFFIXES that are not endings"),
        ("def load(path, config): return 1 / 0", "", "the runtime 'doubling' could not load .*: ZeroDivisionError"),
        ("def load(path, config): return 7", "", "returned int, which is no Runtime"),
    ],
)
def test_a_broken_runtime_is_a_sentence(package, directory, source, value, message):
    package(source, value=value)
    with pytest.raises(ModelLoadError, match=message) as caught:
        load_runtime(directory, ModelConfig(format="doubling"))
    assert "Traceback" not in caught.value.message


def test_a_runtimes_own_refusal_is_left_as_it_is(package, directory):
    package()
    (directory / "model.double").write_text("refuse")
    with pytest.raises(ModelLoadError, match=r"^not this one$") as caught:
        load_runtime(directory / "model.double", ModelConfig())
    assert caught.value.hint == "try another"


def test_a_broken_runtime_does_not_hinder_others_but_is_named_where_nothing_is_found(package, directory):
    package("1 / 0", name="broken")
    package()
    (directory / "model.double").write_text("3")
    assert model_file(directory, ModelConfig()).name == "model.double"
    (directory / "model.double").unlink()
    with pytest.raises(ModelLoadError, match="holds no model") as caught:
        model_file(directory, ModelConfig())
    assert ".double" in caught.value.hint
    assert "the runtime 'broken' cannot be imported" in caught.value.hint


def test_a_missing_library_is_named_with_what_installs_it(package):
    missing = Format("lightgbm", (), "nothing_of_that_name", "lightgbm")
    with pytest.raises(ModelLoadError, match="needs the package 'nothing_of_that_name'") as caught:
        import_runtime(missing)
    assert caught.value.hint == "install it with: pip install 'slipway-serving[lightgbm]'"


@pytest.mark.parametrize(
    ("library", "hint"),
    [("libgomp.so.0", "apt-get install libgomp1"), ("libnone.so.7", "system's package that has libnone.so.7")],
)
def test_a_missing_shared_library_is_named_with_what_installs_it(package, library, hint):
    module = package(f"import ctypes\nctypes.CDLL('{library}')")
    with pytest.raises(
        ModelLoadError, match=f"library of format lightgbm cannot be used: OSError: {library}"
    ) as caught:
        import_runtime(Format("lightgbm", (), module, "lightgbm"))
    assert hint in caught.value.hint


def test_what_the_author_of_a_runtime_needs_can_be_imported():
    for name in slipway_serving.__all__:
        assert getattr(slipway_serving, name) is not None
    assert not hasattr(slipway_serving, "Nothing")
