"""The servers: how each is started, what it speaks, and how it lays out its models."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from install import CACHE, LISTS, python

MODELS = ("iris", "forest", "boost", "mlp", "sum")
BATCHED = ("iris", "forest")
BATCH_ROWS = 32
V2, PLAIN = "v2", "plain"


@dataclass(frozen=True, slots=True)
class Place:
    """Where one start of a server finds its models, keeps its files and listens."""

    models: Path
    work: Path
    http_port: int
    grpc_port: int
    spare_port: int
    batching: bool


@dataclass(frozen=True, slots=True)
class Contender:
    """A server in a configuration; `prepare` writes what it wants beside the models and returns its command."""

    name: str
    distribution: str
    prepare: Callable[[Place], list[str]]
    rest: str = V2
    protocols: frozenset[str] = frozenset({"json"})
    batches: bool = True

    def path(self, model: str) -> str:
        return f"/v2/models/{model}/infer" if self.rest == V2 else f"/{model}"


def environment(place: Place, distribution: str) -> dict[str, str]:
    """One thread for every library, no telemetry, nothing of the caller's Python."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "SLIPWAY_", "KSERVE_"))}
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "LOKY_MAX_CPU_COUNT"), "1")
    return kept | {
        **threads,
        "PATH": f"{CACHE / distribution / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": str(LISTS),
        "PYTHONWARNINGS": "ignore",
        "BENCHMARK_MODELS": str(place.models),
        "BENCHMARK_BATCHING": str(int(place.batching)),
        "BENTOML_DO_NOT_TRACK": "True",
        "BENTOML_HOME": str(place.work),
        "BENTOML_CONFIG_OPTIONS": "api_server.logging.access.enabled=false",
    }


def _repository(place: Place, name: str, settings: Callable[[str, Path], Any], write: Callable[[Any], str]) -> Path:
    """A directory for each model: the very file that all share, and the server's own settings beside it."""
    root = place.work / "repository"
    for model in MODELS:
        (file,) = (place.models / model).iterdir()
        directory = root / model
        directory.mkdir(parents=True)
        os.link(file, directory / file.name)
        (directory / name).write_text(write(settings(model, directory / file.name)), encoding="utf-8")
    return root


def _slipway(place: Place) -> list[str]:
    def settings(model: str, file: Path) -> dict[str, Any]:
        batching = {"batching": {"maxSize": BATCH_ROWS}} if place.batching and model in BATCHED else {}
        return {"name": model, "file": file.name, "allowPickle": True, **batching}

    root = _repository(place, "model.yaml", settings, json.dumps)  # JSON is YAML
    program = CACHE / "slipway" / "bin" / "slipway-serve"
    ports = ["--http-port", str(place.http_port), "--grpc-port", str(place.grpc_port)]
    return [str(program), str(root), "--host", "127.0.0.1", "--drain-window", "0s", *ports]


def _kserve(place: Place) -> list[str]:
    program = LISTS / "kserve_server.py"
    return [str(python("kserve")), str(program), str(place.http_port), str(place.grpc_port)]


def _mlserver(workers: int) -> Callable[[Place], list[str]]:
    def settings(model: str, file: Path, place: Place) -> dict[str, Any]:
        implementation = "mlserver_onnx.OnnxModel" if file.suffix == ".onnx" else "mlserver_sklearn.SKLearnModel"
        document = {"name": model, "implementation": implementation, "parameters": {"uri": str(file)}}
        batching = {"max_batch_size": BATCH_ROWS, "max_batch_time": 0.005}
        return document | (batching if place.batching and model in BATCHED else {})

    def prepare(place: Place) -> list[str]:
        root = _repository(place, "model-settings.json", lambda model, file: settings(model, file, place), json.dumps)
        ports = {"http_port": place.http_port, "grpc_port": place.grpc_port, "metrics_port": place.spare_port}
        document = {"debug": False, "host": "127.0.0.1", "parallel_workers": workers, "gzip_enabled": False, **ports}
        (root / "settings.json").write_text(json.dumps(document), encoding="utf-8")
        return [str(CACHE / "mlserver" / "bin" / "mlserver"), "start", str(root)]

    return prepare


def _litserve(place: Place) -> list[str]:
    return [str(python("litserve")), str(LISTS / "litserve_server.py"), str(place.http_port)]


def _bentoml(place: Place) -> list[str]:
    program = CACHE / "bentoml" / "bin" / "bentoml"
    listen = ["--host", "127.0.0.1", "--port", str(place.http_port)]
    return [str(program), "serve", "bentoml_service:Models", "--working-dir", str(LISTS), *listen]


_BOTH = frozenset({"json", "grpc"})
_ALL = frozenset({"json", "binary", "grpc"})
CONTENDERS = {
    each.name: each
    for each in (
        Contender("slipway", "slipway", _slipway, protocols=_ALL),
        Contender("kserve", "kserve", _kserve, protocols=_ALL, batches=False),
        Contender("mlserver", "mlserver", _mlserver(1), protocols=_BOTH),
        Contender("mlserver-inprocess", "mlserver", _mlserver(0), protocols=_BOTH),
        Contender("litserve", "litserve", _litserve),
        Contender("bentoml", "bentoml", _bentoml, rest=PLAIN),
    )
}


def distributions(contenders: Iterable[Contender]) -> list[str]:
    """What has to be installed for these, and for the benchmark itself."""
    return ["tools", *dict.fromkeys(each.distribution for each in contenders)]
