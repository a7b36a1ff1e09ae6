"""The models of a server by name and version: what is served now, and how that changes while requests come."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from slipway_serving.errors import (
    ForbiddenError,
    InvalidInputError,
    ModelLoadError,
    NotFoundError,
    UnavailableError,
    did_you_mean,
)
from slipway_serving.metrics import Metrics
from slipway_serving.models import ServedModel, State, Tracing
from slipway_serving.sources import Fingerprint, Settings, find_directories, find_versions, fingerprint

log = logging.getLogger("slipway_serving")
_RETIRE_SECONDS = 3600.0
_TRITON_STATES = {
    State.LOADING: "LOADING",
    State.READY: "READY",
    State.UNLOADING: "UNLOADING",
    State.FAILED: "UNAVAILABLE",
    State.UNLOADED: "UNAVAILABLE",
}


class Repository:
    """Each name's versions, lowest first. A change of a model never takes one away that works before another does."""

    def __init__(
        self, path: Path, settings: Settings, metrics: Metrics, mode: str = "none", tracing: Tracing | None = None
    ) -> None:
        self._path = path
        self._settings = settings
        self.metrics = metrics
        self._tracing = tracing
        self.mode = mode
        self._models: dict[str, list[ServedModel]] = {}
        self._failures: dict[str, str] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._seen: dict[str, Fingerprint] = {}
        self._told: set[str] = set()
        self.generation = 0
        """Counts the changes, for what is derived from the models."""

    def __iter__(self) -> Iterator[ServedModel]:
        """The version of each model that a request without one gets."""
        return (self._default(versions) for versions in self._models.values())

    def __len__(self) -> int:
        return len(self._models)

    def find(self, name: str, version: str = "") -> ServedModel:
        """Raises NotFoundError for a model or version that this server does not have."""
        versions = self._models.get(name)
        if versions is None:
            raise NotFoundError(f"model '{name:.80}' is not served here; {did_you_mean(name, self._models)}")
        if not version:
            return versions[0] if len(versions) == 1 else self._default(versions)
        for model in versions:
            if model.version == version:
                return model
        have = [model.version for model in versions if model.version]
        said = f"it has {', '.join(have)}" if have else "it has no versions"
        raise NotFoundError(f"model '{name}' has no version '{version:.80}'; {said}")

    @staticmethod
    def _default(versions: list[ServedModel]) -> ServedModel:
        """The highest that is ready, else the highest."""
        return next((model for model in reversed(versions) if model.is_ready), versions[-1])

    def all(self) -> list[ServedModel]:
        """Every version of every model."""
        return [model for versions in self._models.values() for model in versions]

    def versions(self, name: str) -> list[str]:
        """The versions of a model that are served; empty where it has none."""
        return [model.version for model in self._models.get(name, ()) if model.version]

    def require_ready(self) -> None:
        """Raises UnavailableError unless every model is ready; what was unloaded on request does not count."""
        wanted = [model for model in self.all() if model.state not in (State.UNLOADED, State.UNLOADING)]
        if not wanted:
            raise UnavailableError("no model is loaded")
        for model in wanted:
            model.require_ready()

    # Loading

    def discover(self) -> None:
        """Looks what there is; every model is then known as loading. Raises ModelLoadError."""
        for name, directory in find_directories(self._path, self._settings).items():
            sources = find_versions(directory, name, self._settings)
            self._models[name] = [ServedModel(source, self.metrics, self._tracing) for source in sources]
            self._seen[name] = fingerprint(directory)

    async def load_all(self) -> None:
        """Loads what was discovered, one after the other. Raises ModelLoadError at the first that fails."""
        for versions in list(self._models.values()):
            for model in versions:
                await model.load()
                self.generation += 1

    async def load(self, name: str) -> None:
        """Loads a model (again) from its files and changes over to it. Raises NotFoundError and InvalidInputError."""
        self._require_explicit()
        try:
            await self._load(name)
        except ModelLoadError as error:
            hint = f" ({error.hint})" if error.hint else ""
            raise InvalidInputError(f"model '{name}' failed to load: {error.message}{hint}") from error

    async def _load(self, name: str) -> None:
        async with self._locks.setdefault(name, asyncio.Lock()):
            directories = await asyncio.to_thread(find_directories, self._path, self._settings, [])
            if name not in directories:
                raise NotFoundError(f"the repository has no model '{name:.80}'; {did_you_mean(name, directories)}")
            self._seen[name] = await asyncio.to_thread(fingerprint, directories[name])
            try:
                new = await self._load_versions(directories[name], name)
            except ModelLoadError as error:
                self._failures[name] = error.message
                raise
            self._failures.pop(name, None)
            self._change_over(name, new)

    async def _load_versions(self, directory: Path, name: str) -> list[ServedModel]:
        """All of them or, where one fails, none."""
        sources = await asyncio.to_thread(find_versions, directory, name, self._settings)
        models = [ServedModel(source, self.metrics, self._tracing) for source in sources]
        try:
            for model in models:
                seconds = await model.load()
                log.info("model '%s' version '%s' loaded in %.2f s", name, model.version, seconds)
        except BaseException:
            for model in models:
                model.unload()
            raise
        return models

    def _change_over(self, name: str, new: list[ServedModel]) -> None:
        old = self._models.get(name, [])
        self._models[name] = new
        self.generation += 1
        for model in old:
            self._spawn(model.retire(_RETIRE_SECONDS))

    async def unload(self, name: str) -> None:
        """Refuses further requests for a model; those that it has are answered. Raises NotFoundError."""
        self._require_explicit()
        self.find(name)
        async with self._locks.setdefault(name, asyncio.Lock()):
            models = self._models[name]
            for model in models:
                if model.state is not State.UNLOADED:
                    model.state = State.UNLOADING
            self.generation += 1
            for model in models:
                if model.state is not State.UNLOADED:
                    await model.retire(_RETIRE_SECONDS)
                    model.reason = "unloaded"

    def _require_explicit(self) -> None:
        if self.mode != "explicit":
            raise ForbiddenError(
                f"this server does not load or unload models on request (--model-control-mode {self.mode}); "
                "start it with --model-control-mode explicit"
            )

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # Following the files

    async def poll(self, seconds: float) -> None:
        """Looks every so many seconds, and loads what has changed and stayed the same for one look. Runs for ever."""
        pending: dict[str, Fingerprint] = {}
        told = ""
        while True:
            await asyncio.sleep(seconds)
            try:
                pending = await self.look(pending)
                told = ""
            except ModelLoadError as error:
                if error.message != told:
                    log.warning("the models cannot be looked through: %s", error.message)
                told = error.message
            except Exception:
                log.exception("a bug of the server, while looking for changed models")

    async def look(self, pending: dict[str, Fingerprint]) -> dict[str, Fingerprint]:
        """One look: `pending` is what the last one found changed; returns what this one did."""
        problems: list[ModelLoadError] = []
        directories = await asyncio.to_thread(find_directories, self._path, self._settings, problems)
        self._tell({error.message for error in problems})
        changed = {}
        for name, directory in directories.items():
            now = await asyncio.to_thread(fingerprint, directory)
            if now == self._seen.get(name):
                continue
            if pending.get(name) != now:
                changed[name] = now  # somebody may still be writing
                continue
            try:
                await self._load(name)
            except ModelLoadError as error:
                kept = "; the old one goes on" if name in self._models else ""
                log.error(  # noqa: TRY400  # the sentence says all, a traceback would hide it
                    "model '%s' has changed and does not load%s: %s", name, kept, error.message
                )
        for name in [known for known in self._models if known not in directories]:
            log.info("model '%s' is gone from the repository", name)
            self._seen.pop(name, None)
            self._failures.pop(name, None)
            for model in self._models.pop(name):
                self._spawn(model.retire(_RETIRE_SECONDS))
            self.generation += 1
        return changed

    def _tell(self, problems: set[str]) -> None:
        """Each once, and again when it comes back."""
        for message in sorted(problems - self._told):
            log.warning("a directory of the repository is left out: %s", message)
        self._told = problems

    def index(self, *, ready: bool = False) -> list[dict[str, str]]:
        """Triton's repository index: name, version, state, reason; `ready` leaves out what does not answer."""
        entries = [
            {
                "name": model.name,
                "version": model.version,
                "state": _TRITON_STATES[model.state],
                "reason": model.reason or self._failures.get(model.name, ""),
            }
            for versions in self._models.values()
            for model in versions
        ]
        entries += [
            {"name": name, "version": "", "state": "UNAVAILABLE", "reason": reason}
            for name, reason in self._failures.items()
            if name not in self._models
        ]
        return [entry for entry in entries if entry["state"] == "READY" or not ready]

    def close(self) -> list[Future[None]]:
        """Lets go of every model; for the end of the process. Returns what takes a while of it."""
        return [end for model in self.all() if (end := model.unload()) is not None]
