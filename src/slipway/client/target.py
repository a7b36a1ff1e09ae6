"""Which cluster a command, or a program, means.

In this order: `--kubeconfig` and `--context`; `$SLIPWAY_CONTEXT`; `$KUBECONFIG`; the `context` of `slipway config`; the
cluster of the last `slipway up`; a local cluster; the current context of `~/.kube/config`. Nothing here changes a
kubeconfig: the cluster of the last `slipway up` is noted in a file of our own.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from slipway.client import kubeconfig, settings
from slipway.client.errors import NotFoundError, SlipwayError, near
from slipway.client.home import clusters, home
from slipway.client.kubeconfig import Context

LOCAL_PREFIX = "slipway-"


@dataclass(frozen=True, slots=True)
class Where:
    """What the command line says about the cluster."""

    context: str | None = None
    kubeconfig: Path | None = None
    namespace: str | None = None
    all_namespaces: bool = False


@dataclass(frozen=True, slots=True)
class Target:
    """One context of one kubeconfig file, and the local cluster that it belongs to, if it does."""

    kubeconfig: Path
    context: str
    server: str
    namespace: str
    cluster: str | None = None


def resolve(where: Where) -> Target:
    """The cluster that a command means; `NotFoundError` when there is none, with what to do about it."""
    context = _choose(where)
    file = context.kubeconfig.resolve()
    cluster = next((name for name, local in local_kubeconfigs().items() if local.resolve() == file), None)
    namespace = where.namespace or settings.value("namespace") or context.namespace
    return Target(context.kubeconfig, context.name, context.server, namespace, cluster)


def record(target: Target) -> None:
    """Makes it the cluster of later commands."""
    file = _file()
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_suffix(".new")
    temporary.write_text(json.dumps({"kubeconfig": str(target.kubeconfig), "context": target.context}) + "\n")
    temporary.replace(file)


def forget(context: str) -> None:
    """Undoes `record` for this context."""
    recorded = _recorded()
    if recorded is not None and recorded.name == context:
        _file().unlink(missing_ok=True)


def known_contexts() -> list[str]:
    """The names of all contexts: of local clusters, and of the user's own files."""
    names = {LOCAL_PREFIX + name for name in local_kubeconfigs()}
    return sorted(names.union(*(config.contexts for config in _users())))


def _choose(where: Where) -> Context:
    named = where.context or settings.from_environment("context")
    if where.kubeconfig:
        return kubeconfig.read(where.kubeconfig).context(named)
    if named:
        return _named(named)
    if found := os.environ.get("KUBECONFIG"):
        return _current(_files(found), found)
    if chosen := settings.read().get("context"):
        return _named(chosen)
    return _recorded() or _default()


def _default() -> Context:
    locals_ = local_kubeconfigs()
    if locals_:
        name = _only(locals_)
        return kubeconfig.read(locals_[name]).context(LOCAL_PREFIX + name)
    default = Path.home() / ".kube" / "config"
    if default.is_file():
        return kubeconfig.read(default).context(None)
    raise NotFoundError(
        "There is no cluster yet.", "Start one here with `slipway up`, or name one with `--context NAME`."
    )


def local_kubeconfigs() -> dict[str, Path]:
    """The kubeconfig of each local cluster, by its name. Reads no more than a directory: every command waits for it."""
    return {file.parent.name: file for file in sorted(clusters().glob("*/kubeconfig"))}


def _named(name: str) -> Context:
    """A context by its name: a local cluster's, else one of the user's files."""
    locals_ = local_kubeconfigs()
    cluster = name.removeprefix(LOCAL_PREFIX)
    if name.startswith(LOCAL_PREFIX) and cluster in locals_:
        return kubeconfig.read(locals_[cluster]).context(name)
    known = [LOCAL_PREFIX + cluster for cluster in locals_]
    for config in _users():
        if name in config.contexts:
            return config.contexts[name]
        known += config.contexts
    hint = f"Known: {', '.join(sorted(known)[:6])}." if known else "Start a local cluster with `slipway up`."
    raise NotFoundError(f"There is no context {name}{near(name, known) or '.'}", hint)


def _users() -> list[kubeconfig.Kubeconfig]:
    """The user's own files that can be read, the file of the last `slipway up` last."""
    recorded = _recorded()
    files = _files(os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config"))
    files += [recorded.kubeconfig] if recorded else []
    return [kubeconfig.read(file) for file in files if file.is_file()]


def _files(variable: str) -> list[Path]:
    """The files of `$KUBECONFIG`, which is a list like `$PATH`."""
    return [Path(part) for part in variable.split(os.pathsep) if part]


def _current(files: list[Path], variable: str) -> Context:
    """The current context: of the first file that has one, as in kubectl. Missing files do not count."""
    configs = [kubeconfig.read(file) for file in files if file.is_file()]
    if not configs:
        raise NotFoundError(f"$KUBECONFIG names no file that exists: {variable}", "Name a file with `--kubeconfig`.")
    current = next((config.current for config in configs if config.current), None)
    holder = next((config for config in configs if current in config.contexts), configs[0])
    return holder.context(current)


def _only(locals_: dict[str, Path]) -> str:
    """The local cluster that is meant when none is named."""
    if "slipway" in locals_ or len(locals_) == 1:
        return "slipway" if "slipway" in locals_ else next(iter(locals_))
    names = ", ".join(f"--context {LOCAL_PREFIX}{name}" for name in locals_)
    raise NotFoundError(f"There are {len(locals_)} local clusters, and none is chosen.", f"Say which: {names}.")


def _file() -> Path:
    return home() / "target.json"


def _recorded() -> Context | None:
    """The cluster of the last `slipway up`, if it is still there."""
    try:
        data = json.loads(_file().read_text())
        return kubeconfig.read(Path(data["kubeconfig"])).context(data["context"])
    except (OSError, ValueError, TypeError, KeyError, SlipwayError):
        return None  # deleted since, or unreadable: as if it had never been
