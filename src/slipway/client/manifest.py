"""The ModelService that a command line describes."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slipway.client.errors import InvalidInputError
from slipway.client.names import check_name

if TYPE_CHECKING:
    from yaml.nodes import Node

API_VERSION = "slipway.dev/v1alpha1"
_ALLOW_PICKLE = "SLIPWAY_SERVE_ALLOW_PICKLE"  # an option of `slipway-serve`
_MOST_PROBLEMS = 3
_STEP = re.compile(r'\["([^"]*)"\]|\[(\d+)\]|([^.\[\]]+)')


@dataclass(frozen=True, slots=True)
class Wish:
    """What the command line says about a model service; None is unsaid, and left to others and to defaults."""

    name: str
    uri: str
    format: str | None = None
    minimum: int | None = None
    maximum: int | None = None
    allow_pickle: bool = False


def model_service(wish: Wish, namespace: str) -> dict[str, Any]:
    """The manifest to apply: only what was said, so that server-side apply takes no other field."""
    model = {"uri": wish.uri} | ({"format": wish.format} if wish.format else {})
    scaling = {key: value for key, value in (("min", wish.minimum), ("max", wish.maximum)) if value is not None}
    server = {"env": [{"name": _ALLOW_PICKLE, "value": "true"}]} if wish.allow_pickle else {}
    parts = {"model": model, "server": server, "scaling": scaling}
    return {
        "apiVersion": API_VERSION,
        "kind": "ModelService",
        "metadata": {"name": check_name(wish.name), "namespace": namespace},
        "spec": {name: part for name, part in parts.items() if part},
    }


def keep(wish: Wish, existing: dict[str, Any] | None) -> Wish:
    """The wish with what it leaves unsaid as it is: applying less than before would take it away."""
    scaling = (existing or {}).get("spec", {}).get("scaling", {})
    return replace(
        wish,
        minimum=scaling.get("min") if wish.minimum is None else wish.minimum,
        maximum=scaling.get("max") if wish.maximum is None else wish.maximum,
    )


def service_said(
    file: Path | None, name: str | None, source: str | None, *others: object, example: str
) -> Path | tuple[str, str]:
    """The file that says all of a service, else its name and model; `InvalidInputError` for both and for neither."""
    if file is not None:
        if any(said is not None for said in (name, source, *others)):
            raise InvalidInputError(f"-f {file} says it all: leave out NAME, PATH and the rest.", "Or change the file.")
        return file
    if name is None or source is None:
        missing = "NAME" if name is None else "PATH or URI"
        raise InvalidInputError(f"{missing} is missing.", f"For example: {example}")
    return check_name(name), source


def replica_range(replicas: int | None, minimum: int | None, maximum: int | None) -> tuple[int | None, int | None]:
    """`spec.scaling` min and max from the options; `--replicas N` is both."""
    if replicas is not None:
        if minimum is not None or maximum is not None:
            raise InvalidInputError(
                "--replicas fixes the number that --min and --max would leave open.",
                "Say --replicas, or --min and --max.",
            )
        return replicas, replicas
    if minimum is not None and maximum is not None and minimum > maximum:
        raise InvalidInputError(f"--min {minimum} is more than --max {maximum}.", "Say them the other way round.")
    return minimum, maximum


def read_manifest(path: Path) -> dict[str, Any]:
    """The one valid ModelService of a YAML or JSON file; `InvalidInputError` says line and field of what is wrong."""
    from slipway.api.document import MOST_CHARACTERS, Unreadable, read  # noqa: PLC0415  # most commands need no YAML

    try:
        with path.open(encoding="utf-8") as file:
            documents = read(file.read(MOST_CHARACTERS + 1))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InvalidInputError(f"{path}: cannot be read: {reason}.", "Name a file with a ModelService.") from error
    except Unreadable as error:
        where = f":{error.line}:{error.column}" if error.line else ""
        raise InvalidInputError(f"{path}{where}: {error.message}; {error.hint}.", "Nothing was sent.") from error
    if len(documents) != 1:
        raise InvalidInputError(
            f"{path}: has {len(documents)} objects; one ModelService is expected.",
            "Apply several with `kubectl apply -f`.",
        )
    return check_manifest(documents[0].value, str(path), documents[0].node)


def check_manifest(manifest: Any, source: str, node: Node | None = None) -> dict[str, Any]:
    """Returns the manifest; `InvalidInputError` names the wrong fields, with their lines when there is a `node`."""
    from slipway.api.validation import validate  # noqa: PLC0415  # as above

    problems = validate(manifest)
    if not problems:
        return dict(manifest)
    more = f" ({len(problems) - _MOST_PROBLEMS} more)" if len(problems) > _MOST_PROBLEMS else ""
    lines = [f"{source}{_position(node, problem.path)}: {problem}" for problem in problems[:_MOST_PROBLEMS]]
    raise InvalidInputError("\n".join(lines) + more, "Nothing was sent.")


def _position(node: Node | None, path: str) -> str:
    """`:LINE:COLUMN` of a field, or of the nearest thing around it that is there."""
    if node is None:
        return ""
    mark = node.start_mark
    for name, index, plain in _STEP.findall(path):
        found = _child(node, name or plain, int(index) if index else None)
        if found is None:
            break
        node, mark = found
    return f":{mark.line + 1}:{mark.column + 1}"


def _child(node: Node, name: str, index: int | None) -> tuple[Node, Any] | None:
    """The node of one step of a path, and where it begins: a field begins with its key."""
    parts = node.value if isinstance(node.value, list) else []  # nodes of a sequence, pairs of a mapping
    if index is not None:
        item = parts[index] if index < len(parts) else None
        return None if item is None or isinstance(item, tuple) else (item, item.start_mark)
    pairs = [part for part in parts if isinstance(part, tuple)]
    return next(((value, key.start_mark) for key, value in pairs if key.value == name), None)
