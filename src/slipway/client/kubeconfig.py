"""Reading kubeconfig files: which contexts there are. They are never written.

Format: Kubernetes documentation, "kubeconfig (v1)".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipway.client.errors import InvalidInputError, NotFoundError, near


@dataclass(frozen=True, slots=True)
class Context:
    """One context of one kubeconfig file."""

    kubeconfig: Path
    name: str
    server: str
    namespace: str = "default"


@dataclass(frozen=True, slots=True)
class Kubeconfig:
    """One file."""

    path: Path
    current: str | None
    contexts: Mapping[str, Context]

    def context(self, name: str | None) -> Context:
        """The named context, or the current one; `NotFoundError` when there is no such context, or none is current."""
        chosen = name or self.current
        if not chosen:
            raise NotFoundError(f"{self.path} has no current context.", _choices(self))
        if chosen not in self.contexts:
            raise NotFoundError(
                f"{self.path} has no context {chosen}{near(chosen, self.contexts) or '.'}", _choices(self)
            )
        return self.contexts[chosen]


def read(path: Path) -> Kubeconfig:
    """Reads one file. `NotFoundError` when it is not there, `InvalidInputError` when it is not a kubeconfig."""
    import yaml  # noqa: PLC0415  # a tenth of a second that not every command needs

    try:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # a tenth of the time, where it is compiled
        document = yaml.load(path.read_text(encoding="utf-8"), loader)  # noqa: S506  # both are safe loaders
    except FileNotFoundError:
        raise NotFoundError(
            f"{path}: no such kubeconfig file.", "Name another with `--kubeconfig` or `--context`."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"{path}: cannot be read: {error}.", "Name another with `--kubeconfig`.") from error
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f":{where.line + 1}" if where else ""
        raise InvalidInputError(f"{path}{line}: not YAML.", "Name a kubeconfig file with `--kubeconfig`.") from error
    return _parse(path, document)


def _parse(path: Path, document: Any) -> Kubeconfig:
    if not isinstance(document, dict):
        raise InvalidInputError(
            f"{path}: not a kubeconfig: a mapping is expected.", "Name another with `--kubeconfig`."
        )
    servers = {name: str(body.get("server", "")) for name, body in _named(document, "clusters", "cluster")}
    contexts = {
        name: Context(
            kubeconfig=path,
            name=name,
            server=servers.get(str(body.get("cluster")), ""),
            namespace=str(body.get("namespace") or "default"),
        )
        for name, body in _named(document, "contexts", "context")
    }
    current = document.get("current-context")
    return Kubeconfig(path, current if isinstance(current, str) and current else None, contexts)


def _named(document: dict[str, Any], section: str, entry: str) -> list[tuple[str, dict[str, Any]]]:
    """The well-formed entries of a section: what another tool wrote badly is no reason to refuse the others."""
    items = document.get(section)
    entries = [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []
    return [
        (item["name"], item[entry])
        for item in entries
        if isinstance(item.get("name"), str) and isinstance(item.get(entry), dict)
    ]


def _choices(config: Kubeconfig) -> str:
    if not config.contexts:
        return "It has no contexts: name another file with `--kubeconfig`, or start a local cluster with `slipway up`."
    names = sorted(config.contexts)
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""  # noqa: PLR2004  # as many as fit on a line
    return f"Name one with `--context`: {', '.join(names[:5])}{more}."
