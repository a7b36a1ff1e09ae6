"""Repositories: Triton's layout and policies, loading on request, following the files; nothing is ever dropped."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import numpy as np
import pytest

from slipway_serving.errors import ForbiddenError, InvalidInputError, ModelLoadError, NotFoundError, UnavailableError
from slipway_serving.metrics import Metrics
from slipway_serving.models import State
from slipway_serving.repository import Repository
from slipway_serving.runtimes.base import Inference
from slipway_serving.sources import Settings

ANSWER = """
class Model:
    def predict(self, inputs):
        return {"y": inputs["x"] + %d}
"""
BROKEN = "raise RuntimeError('not today')"


def write(directory: Path, text: str = ANSWER % 1, settings: str = "") -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    new = directory / ".new"
    new.write_text(text)
    new.replace(directory / "model.py")
    if settings:
        (directory / "model.yaml").write_text(settings)
    return directory


async def loaded(path: Path, mode: str = "explicit") -> Repository:
    repository = Repository(path, Settings(), Metrics(), mode)
    repository.discover()
    await repository.load_all()
    return repository


async def asked(repository: Repository, name: str, version: str = "") -> int:
    outputs = await repository.find(name, version).infer(Inference({"x": np.array([10])}))
    return int(outputs["y"][0])


async def test_a_directory_of_models_is_a_repository(tmp_path):
    write(tmp_path / "one")
    write(tmp_path / "two", ANSWER % 2, "name: zwei")
    (tmp_path / "lost+found").mkdir()
    repository = await loaded(tmp_path)
    assert [model.name for model in repository] == ["one", "zwei"]
    assert [await asked(repository, "one"), await asked(repository, "zwei")] == [11, 12]
    repository.close()


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("", ["10"]),
        ("latest", ["10"]),
        ("all", ["2", "9", "10"]),
        ("{latest: 2}", ["9", "10"]),
        ("{specific: [2, 9]}", ["2", "9"]),
    ],
)
async def test_numbered_versions_are_served_as_the_policy_says(tmp_path, policy, expected):
    for version in (2, 9, 10):
        write(tmp_path / "m" / str(version), ANSWER % version)
    (tmp_path / "m" / "model.yaml").write_text(f"versionPolicy: {policy}" if policy else "instances: 2")
    repository = await loaded(tmp_path)
    assert repository.versions("m") == expected
    assert await asked(repository, "m") == 10 + int(expected[-1])
    assert [await asked(repository, "m", version) for version in expected] == [10 + int(each) for each in expected]
    with pytest.raises(NotFoundError, match="it has " + ", ".join(expected)):
        repository.find("m", "77")
    repository.close()


async def test_a_policy_that_chooses_nothing_and_a_name_twice_are_sentences(tmp_path):
    write(tmp_path / "m" / "1")
    (tmp_path / "m" / "model.yaml").write_text("versionPolicy: {specific: [3]}")
    with pytest.raises(ModelLoadError, match=r"has versions 1, and versionPolicy in model\.yaml none of them"):
        await loaded(tmp_path)
    write(tmp_path / "m", settings="name: same")
    write(tmp_path / "n", settings="name: same")
    with pytest.raises(ModelLoadError, match="are both called 'same'"):
        await loaded(tmp_path)


async def test_load_changes_over_and_what_runs_on_the_old_is_answered(tmp_path):
    write(tmp_path / "m")
    repository = await loaded(tmp_path)
    old = repository.find("m")
    old.enter()
    write(tmp_path / "m", ANSWER % 5)
    await repository.load("m")
    assert await asked(repository, "m") == 15
    assert int((await old.infer(Inference({"x": np.array([10])})))["y"][0]) == 11
    old.leave()
    await asyncio.gather(*repository._tasks)
    assert old.state is State.UNLOADED
    repository.close()


async def test_a_new_version_that_does_not_load_leaves_the_old_one(tmp_path):
    write(tmp_path / "m")
    repository = await loaded(tmp_path)
    write(tmp_path / "m", BROKEN)
    with pytest.raises(InvalidInputError, match=r"model 'm' failed to load: importing .* RuntimeError: not today"):
        await repository.load("m")
    assert await asked(repository, "m") == 11
    (entry,) = repository.index()
    assert entry["state"] == "READY"
    assert "not today" in entry["reason"]
    repository.close()


async def test_unload_answers_503_and_load_brings_it_back(tmp_path):
    write(tmp_path / "m")
    write(tmp_path / "n")
    repository = await loaded(tmp_path)
    await repository.unload("m")
    with pytest.raises(UnavailableError, match="model 'm' is unloaded"):
        await asked(repository, "m")
    repository.require_ready()
    assert [entry["name"] for entry in repository.index(ready=True)] == ["n"]
    assert repository.index()[0] == {"name": "m", "version": "", "state": "UNAVAILABLE", "reason": "unloaded"}
    await repository.load("m")
    assert await asked(repository, "m") == 11
    for call in (repository.load, repository.unload):
        with pytest.raises(NotFoundError, match="did you mean"):
            await call("mm")
    repository.close()


@pytest.mark.parametrize("mode", ["none", "poll"])
async def test_requests_change_nothing_where_the_mode_does_not_say_so(tmp_path, mode):
    repository = await loaded(write(tmp_path / "m"), mode)
    for call in (repository.load, repository.unload):
        with pytest.raises(ForbiddenError, match="--model-control-mode explicit"):
            await call("m")
    repository.close()


async def test_a_changed_model_is_loaded_once_its_files_rest(tmp_path):
    write(tmp_path / "m")
    repository = await loaded(tmp_path, "poll")
    assert await repository.look({}) == {}
    write(tmp_path / "m", ANSWER % 2)
    pending = await repository.look({})
    assert list(pending) == ["m"]
    write(tmp_path / "m", ANSWER % 33)
    pending = await repository.look(pending)
    assert await asked(repository, "m") == 11
    assert await repository.look(pending) == {}
    assert await asked(repository, "m") == 43
    repository.close()


async def test_new_models_come_and_removed_ones_go_and_broken_ones_are_told_once(tmp_path, caplog):
    write(tmp_path / "m")
    repository = await loaded(tmp_path, "poll")
    write(tmp_path / "n", ANSWER % 2)
    write(tmp_path / "broken", BROKEN)
    write(tmp_path / "unset", settings="batchng: 1")
    await repository.look(await repository.look({}))
    assert await asked(repository, "n") == 12
    assert "model 'broken' has changed and does not load" in caplog.text
    assert "unknown key 'batchng'" in caplog.text
    caplog.clear()
    assert await repository.look({}) == {}
    assert not caplog.text
    shutil.rmtree(tmp_path / "m")
    await repository.look({})
    with pytest.raises(NotFoundError):
        repository.find("m")
    repository.close()


async def test_a_directory_that_cannot_be_a_model_stops_no_other(tmp_path, caplog):
    write(tmp_path / "one")
    repository = await loaded(tmp_path, "poll")
    write(tmp_path / "no name")
    write(tmp_path / "uno", settings="name: one")
    write(tmp_path / "two", ANSWER % 2)
    await repository.look(await repository.look({}))
    assert [await asked(repository, "one"), await asked(repository, "two")] == [11, 12]
    told = [record.getMessage() for record in caplog.records if "left out" in record.getMessage()]
    assert len(told) == 2
    assert "'no name' cannot be a model's name" in told[0] + told[1]
    assert "are both called 'one'" in told[0] + told[1]
    with pytest.raises(ModelLoadError, match="no name"):
        Repository(tmp_path, Settings(), Metrics(), "poll").discover()
    repository.close()


async def test_the_repository_over_http(tmp_path, serving):
    write(tmp_path / "m" / "3", ANSWER % 3)
    async with serving(tmp_path, mode="explicit") as client:
        index = [{"name": "m", "version": "3", "state": "READY", "reason": ""}]
        assert (await client.post("/v2/repository/index")).json() == index
        assert (await client.post("/v2/repository/index", json={"ready": True})).json() == index
        assert (await client.post("/v2/repository/models/m/unload", json={})).status_code == 200
        assert (await client.get("/v2/models/m/ready")).status_code == 503
        assert (await client.post("/v2/repository/models/m/load")).status_code == 200
        assert (await client.get("/v2/models/m/ready")).status_code == 200
        refused = await client.post("/v2/repository/models/m/load", json={"parameters": {"config": "{}"}})
        assert (refused.status_code, "parameters.config" in refused.json()["error"]) == (400, True)
        refused = await client.post("/v2/repository/models/m/load", json={"parameters": False})
        assert (refused.status_code, refused.json()) == (400, {"error": "'parameters' must be an object"})
        assert (await client.post("/v2/repository/models/x/load")).status_code == 404
        assert (await client.post("/v2/repository/index", content=b"[]")).status_code == 400


async def test_configuration_and_statistics_are_what_triton_s_clients_read(iris, serving):
    async with serving(iris) as client:
        body = {"inputs": [{"name": "x", "shape": [2, 4], "datatype": "FP32", "data": [1.0] * 8}]}
        await client.post("/v2/models/iris/infer", json=body)
        config = (await client.get("/v2/models/iris/config")).json()
        (stats,) = (await client.get("/v2/models/iris/stats")).json()["model_stats"]
        assert (await client.get("/v2/models/stats")).json()["model_stats"][0]["name"] == "iris"
    assert config["max_batch_size"] == 32
    assert config["input"] == [{"name": "x", "data_type": "TYPE_FP32", "dims": [4]}]
    assert config["output"][0] == {"name": "label", "data_type": "TYPE_STRING", "dims": []}
    assert (stats["inference_count"], stats["execution_count"]) == (2, 1)
    assert stats["inference_stats"]["success"]["count"] == 1
    assert stats["batch_stats"][0]["batch_size"] == 2
