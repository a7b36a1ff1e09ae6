"""XGBoost and LightGBM: the answers of the libraries' own interfaces, and files that are refused with a sentence."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import lightgbm
import numpy as np
import pytest
import xgboost
from hypothesis import given
from hypothesis import strategies as st

from slipway_serving.config import ModelConfig, parse_config
from slipway_serving.datatypes import DATATYPES
from slipway_serving.errors import InvalidInputError, ModelLoadError
from slipway_serving.runtimes.base import Inference, load_runtime
from slipway_serving.runtimes.ubjson import check_ubjson

RANDOM = np.random.default_rng(7)
X = RANDOM.normal(size=(120, 4)).astype(np.float32)
UBJSON = bytes(xgboost.train({"max_depth": 2}, xgboost.DMatrix(X, X[:, 0]), 2).save_raw("ubj"))
THREE = RANDOM.integers(0, 3, 120)
TWO = (X[:, 0] > 0).astype(int)
BOTH = ("predict", "predict_proba")


def described(specs):
    return [(spec.name, spec.datatype.name, spec.shape) for spec in specs]


def load(path, **settings):
    return load_runtime(path, parse_config(settings))


def ask(runtime, rows, *outputs):
    return runtime.infer(Inference({runtime.signature.inputs[0].name: rows}, outputs))


def boosted(path, objective, target, **parameters):
    data = xgboost.DMatrix(X, target, feature_names=["a", "b", "c", "d"])
    model = xgboost.train({"objective": objective, **parameters}, data, 3)
    model.save_model(path)
    return model


@pytest.mark.parametrize("name", ["model.ubj", "model.json"])
@pytest.mark.parametrize(("target", "classes"), [(TWO, 2), (THREE, 3)])
def test_an_xgboost_classifier_answers_as_its_scikit_learn_interface(tmp_path, name, target, classes):
    model = xgboost.XGBClassifier(n_estimators=3, max_depth=2).fit(X, target)
    model.save_model(tmp_path / name)
    runtime = load(tmp_path / name)
    assert described(runtime.signature.inputs) == [("x", "FP32", (-1, 4))]
    assert described(runtime.signature.outputs) == [("predict", "INT64", (-1,))]
    assert described(runtime.signature.optional_outputs) == [("predict_proba", "FP32", (-1, classes))]
    answer = ask(runtime, X, *BOTH)
    np.testing.assert_array_equal(answer["predict"], model.predict(X))
    np.testing.assert_array_equal(answer["predict_proba"], model.predict_proba(X))
    assert list(ask(runtime, X)) == ["predict"]
    assert runtime.signature.is_batch


def test_early_stopping_counts_as_in_the_interface_that_saved_the_model(tmp_path):
    options = {"n_estimators": 20, "early_stopping_rounds": 2}
    model = xgboost.XGBClassifier(**options).fit(X[:60], THREE[:60], eval_set=[(X[60:], THREE[60:])], verbose=False)
    assert model.best_iteration + 1 < model.get_booster().num_boosted_rounds()
    model.save_model(tmp_path / "model.ubj")
    np.testing.assert_array_equal(ask(load(tmp_path / "model.ubj"), X, *BOTH)["predict_proba"], model.predict_proba(X))
    model.get_booster().set_attr(scikit_learn=None)
    model.get_booster().save_model(tmp_path / "booster.ubj")
    np.testing.assert_array_equal(
        ask(load(tmp_path / "booster.ubj"), X, *BOTH)["predict_proba"], model.get_booster().inplace_predict(X)
    )


@pytest.mark.parametrize(
    ("objective", "target", "parameters", "answers"),
    [
        ("reg:squarederror", X[:, 1], {}, ("FP32",)),
        ("reg:squarederror", X[:, :2], {}, ("FP32", 2)),
        ("reg:quantileerror", X[:, 1], {"quantile_alpha": [0.1, 0.9]}, ("FP32", 2)),
        ("reg:squarederror", X[:, 1], {"booster": "dart"}, ("FP32",)),
        ("reg:squarederror", X[:, 1], {"booster": "gblinear"}, ("FP32",)),
        ("count:poisson", THREE, {}, ("FP32",)),
        ("rank:ndcg", TWO, {}, ("FP32",)),
        ("binary:logitraw", TWO, {}, ("FP32",)),
        ("binary:hinge", TWO, {}, ("INT64",)),
        ("multi:softmax", THREE, {"num_class": 3}, ("INT64",)),
        ("binary:logistic", np.stack([TWO, 1 - TWO], axis=1), {}, ("INT64", 2)),
    ],
)
def test_every_xgboost_objective_says_what_it_answers(tmp_path, objective, target, parameters, answers):
    datatype, *tail = answers
    data = xgboost.DMatrix(X, target, feature_names=["a", "b", "c", "d"])
    model = xgboost.train({"objective": objective, **parameters}, data, 3)
    model.save_model(tmp_path / "model.ubj")
    runtime = load(tmp_path / "model.ubj")
    assert runtime.signature.inputs[0].columns == ("a", "b", "c", "d")
    assert described(runtime.signature.outputs) == [("predict", datatype, (-1, *tail))]
    answer = ask(runtime, X)["predict"]
    assert answer.dtype == DATATYPES[datatype].dtype
    assert answer.shape == (120, *tail)
    own = model.predict(data)
    expected = own > 0.5 if objective == "binary:logistic" else own
    np.testing.assert_allclose(answer, expected, rtol=1e-6)
    assert ask(runtime, X[:0])["predict"].shape == (0, *tail)


def test_a_class_without_probabilities_gets_them(tmp_path):
    boosted(tmp_path / "model.json", "multi:softmax", THREE, num_class=3)
    answer = ask(load(tmp_path / "model.json"), X, *BOTH)
    np.testing.assert_allclose(answer["predict_proba"].sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(answer["predict_proba"].argmax(axis=1), answer["predict"])


def test_the_file_of_an_old_ending_is_read_where_its_content_is_known(tmp_path):
    raw = boosted(tmp_path / "model.ubj", "reg:squarederror", X[:, 0]).save_raw("ubj")
    (tmp_path / "model.bst").write_bytes(raw)
    assert ask(load(tmp_path / "model.bst"), X[:1])["predict"].shape == (1,)


def test_json_that_was_written_anew_is_read(tmp_path):
    model = boosted(tmp_path / "model.json", "reg:squarederror", X[:, 0])
    document = json.loads((tmp_path / "model.json").read_text())
    (tmp_path / "model.json").write_text(json.dumps(dict(reversed(document.items())), indent=2))
    np.testing.assert_array_equal(
        ask(load(tmp_path / "model.json"), X)["predict"], model.inplace_predict(X, validate_features=False)
    )


def saved(path, objective, target, **parameters):
    data = lightgbm.Dataset(X, np.ascontiguousarray(target), feature_name=["a", "b", "c", "d"])
    model = lightgbm.train({"objective": objective, "verbosity": -1, **parameters}, data, 3)
    model.save_model(path)
    return model


@pytest.mark.parametrize(("target", "classes"), [(TWO, 2), (THREE, 3)])
def test_a_lightgbm_classifier_answers_as_its_scikit_learn_interface(tmp_path, target, classes):
    model = lightgbm.LGBMClassifier(n_estimators=3, verbosity=-1).fit(X, target)
    model.booster_.save_model(tmp_path / "model.txt")
    runtime = load(tmp_path / "model.txt")
    assert described(runtime.signature.inputs) == [("x", "FP64", (-1, 4))]
    assert runtime.signature.inputs[0].columns == ()
    assert described(runtime.signature.outputs) == [("predict", "INT64", (-1,))]
    assert described(runtime.signature.optional_outputs) == [("predict_proba", "FP64", (-1, classes))]
    raw = model.booster_.predict(X)
    answer = ask(runtime, X, *BOTH)
    np.testing.assert_array_equal(answer["predict"], raw.argmax(axis=1) if classes > 2 else raw > 0.5)
    np.testing.assert_array_equal(answer["predict_proba"][:, -1], raw[:, -1] if classes > 2 else raw)


@pytest.mark.parametrize(
    ("objective", "target", "parameters", "names"),
    [
        ("regression", X[:, 1], {}, ["predict"]),
        ("quantile", X[:, 1], {}, ["predict"]),
        ("cross_entropy", TWO, {}, ["predict"]),
        ("multiclassova", THREE, {"num_class": 3}, list(BOTH)),
    ],
)
def test_every_lightgbm_objective_says_what_it_answers(tmp_path, objective, target, parameters, names):
    model = saved(tmp_path / "model.lgb", objective, target, **parameters)
    runtime = load(tmp_path / "model.lgb")
    assert [spec.name for spec in runtime.signature.all_outputs] == names
    assert runtime.signature.inputs[0].columns == ("a", "b", "c", "d")
    answer = ask(runtime, X, *names)
    np.testing.assert_array_equal(answer[names[-1]], model.predict(X))
    assert ask(runtime, X[:0])["predict"].shape == (0,)


def test_a_loss_of_ones_own_gives_values(tmp_path):
    def squared(predictions, data):
        return predictions - data.get_label(), np.ones_like(predictions)

    model = lightgbm.train({"objective": squared, "verbosity": -1}, lightgbm.Dataset(X, X[:, 0].copy()), 3)
    model.save_model(tmp_path / "model.txt")
    np.testing.assert_array_equal(ask(load(tmp_path / "model.txt"), X)["predict"], model.predict(X))


@pytest.mark.parametrize("name", ["model.ubj", "model.txt"])
def test_any_numbers_are_taken_missing_ones_too_and_settings_complete_the_model(tmp_path, name):
    make, objective = (boosted, "reg:squarederror") if name == "model.ubj" else (saved, "regression")
    make(tmp_path / name, objective, X[:, 0])
    runtime = load(tmp_path / name, inputs=[{"name": "rows", "datatype": "INT32", "example": [[1, 2, 3, 4]]}])
    assert described(runtime.signature.inputs) == [("rows", "INT32", (-1, 4))]
    for array in (X[:2].astype(np.float16), X[:2] > 0, np.full((1, 4), np.nan), np.full((1, 4), 1e300)):
        assert ask(runtime, array)["predict"].shape == array.shape[:1]


def test_what_xgboost_cannot_use_is_the_clients_mistake(tmp_path):
    boosted(tmp_path / "model.ubj", "reg:squarederror", X[:, 0], booster="gblinear")
    with pytest.raises(InvalidInputError, match=r"the model refused the input: .*inf"):
        ask(load(tmp_path / "model.ubj"), np.full((1, 4), np.inf))


@pytest.mark.parametrize("name", ["model.ubj", "model.lgb"])
def test_several_threads_get_their_own_answers(tmp_path, name):
    make, objective = (boosted, "binary:logistic") if name == "model.ubj" else (saved, "binary")
    make(tmp_path / name, objective, TWO)
    runtime = load(tmp_path / name)
    expected = ask(runtime, X, *BOTH)["predict_proba"]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda index: ask(runtime, X[index : index + 1], *BOTH)["predict_proba"], range(120)))
    np.testing.assert_array_equal(np.concatenate(answers), expected)


@pytest.mark.parametrize("content", [b"", b"{", b"{}", b"[]", b"not a model", b"binf" + bytes(200), b'{"learner": {}}'])
@pytest.mark.parametrize("name", ["model.ubj", "model.json", "model.bst"])
def test_what_is_no_xgboost_model_is_a_sentence(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelLoadError, match=f"{name} is not a model that XGBoost .* reads: ") as caught:
        load_runtime(tmp_path / name, ModelConfig())
    assert "save_model('model.ubj')" in caught.value.hint


@pytest.mark.parametrize("name", ["model.ubj", "model.json"])
def test_an_xgboost_model_that_is_cut_off_anywhere_does_not_end_the_process(tmp_path, name):
    boosted(tmp_path / name, "reg:squarederror", X[:, 0])
    content = (tmp_path / name).read_bytes()
    for length in {*range(0, len(content), 97), len(content) - 1}:
        (tmp_path / name).write_bytes(content[:length])
        with pytest.raises(ModelLoadError, match="is not a model that XGBoost"):
            load_runtime(tmp_path / name, ModelConfig())


@given(position=st.integers(0, 10_000), cut=st.booleans(), byte=st.integers(0, 255))
def test_ubjson_is_whole_or_refused(position, cut, byte):
    check_ubjson(UBJSON)
    position %= len(UBJSON)
    if cut:
        with pytest.raises(ValueError, match=r"."):
            check_ubjson(UBJSON[:position])
    else:
        with contextlib.suppress(ValueError):
            check_ubjson(UBJSON[:position] + bytes([byte]) + UBJSON[position + 1 :])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{" * 100, "no length"),
        (b"[" * 100, "unknown marker"),
        (b"[$Z#L" + b"\x7f" * 8 + b"!", "something follows its end"),
        (b"[$d#L" + b"\x7f" * 8, "it is cut off"),
        (b"Si\xff", "it is cut off"),
        (b"?", "unknown marker"),
    ],
)
def test_ubjson_that_means_harm_is_refused_at_once(content, message):
    with pytest.raises(ValueError, match=message):
        check_ubjson(content)


@given(st.binary(max_size=200))
def test_any_bytes_are_whole_or_refused(content):
    with contextlib.suppress(ValueError):
        check_ubjson(content)


def test_a_lightgbm_model_that_is_cut_off_anywhere_does_not_end_the_process(tmp_path):
    saved(tmp_path / "model.txt", "regression", X[:, 0])
    content = (tmp_path / "model.txt").read_bytes()
    end = content.index(b"end of trees")
    for length in {*range(0, end, 97), end - 1, end}:
        (tmp_path / "model.txt").write_bytes(content[:length])
        with pytest.raises(ModelLoadError, match="is not a model that LightGBM"):
            load_runtime(tmp_path / "model.txt", ModelConfig())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda _: b"# My model\n", "does not begin with a line 'tree'"),
        (lambda _: b"\xff\xfe\x00", "it is not text"),
        (lambda content: content.replace(b"\n", b"\r\n"), "does not begin with a line 'tree'"),
        (lambda content: content.replace(b"Tree=1", b"Tree=9"), "tree 1 is not where its header says"),
        (lambda content: content.replace(b"leaf_value", b"leaf_walue", 1), "tree 0 is not where"),
        (lambda content: content.replace(b"end of trees", b"end of words"), "its trees do not end where"),
        (lambda content: content.replace(b"num_class=1\n", b""), "number of classes"),
    ],
)
def test_a_changed_lightgbm_model_is_a_sentence(tmp_path, change, message):
    saved(tmp_path / "model.txt", "regression", X[:, 0])
    (tmp_path / "model.txt").write_bytes(change((tmp_path / "model.txt").read_bytes()))
    with pytest.raises(ModelLoadError, match=message):
        load_runtime(tmp_path / "model.txt", ModelConfig())


def test_neither_library_writes_to_the_terminal(tmp_path):
    boosted(tmp_path / "model.ubj", "binary:logistic", TWO)
    saved(tmp_path / "model.lgb", "binary", TWO)
    program = (
        "import sys; from pathlib import Path; import numpy as np; from slipway_serving.config import ModelConfig; "
        "from slipway_serving.runtimes.base import Inference, load_runtime\n"
        "for path in sys.argv[1:]:\n"
        "    load_runtime(Path(path), ModelConfig()).infer(Inference({'x': np.zeros((1, 4))}))\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "model.ubj"), str(tmp_path / "model.lgb")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
