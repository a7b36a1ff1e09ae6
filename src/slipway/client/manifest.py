"""The ModelService that a command line describes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipway.client.errors import InvalidInputError, near
from slipway.client.names import check_name

API_VERSION = "slipway.dev/v1alpha1"


@dataclass(frozen=True, slots=True)
class Wish:
    """What the command line says about a model service; None is unsaid, and left to others and to defaults."""

    name: str
    uri: str
    format: str | None = None
    minimum: int | None = None
    maximum: int | None = None


def model_service(wish: Wish, namespace: str) -> dict[str, Any]:
    """The manifest to apply: only what was said, so that server-side apply takes no other field."""
    model = {"uri": wish.uri} | ({"format": wish.format} if wish.format else {})
    scaling = {key: value for key, value in (("min", wish.minimum), ("max", wish.maximum)) if value is not None}
    return {
        "apiVersion": API_VERSION,
        "kind": "ModelService",
        "metadata": {"name": check_name(wish.name), "namespace": namespace},
        "spec": {"model": model} | ({"scaling": scaling} if scaling else {}),
    }


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
    """The one ModelService of a YAML or JSON file; its fields are not looked at yet."""
    documents = [document for document in _documents(path) if document is not None]
    if len(documents) != 1:
        raise InvalidInputError(
            f"{path}: has {len(documents)} objects; one ModelService is expected.",
            "Apply several with `kubectl apply -f`.",
        )
    manifest = documents[0]
    if not isinstance(manifest, dict):
        raise InvalidInputError(
            f"{path}: not an object, but a {type(manifest).__name__}.", "See `slipway deploy --help`."
        )
    kind = manifest.get("kind")
    if kind != "ModelService":
        hint = near(str(kind), ["ModelService"]) or "; a ModelService is expected."
        raise InvalidInputError(
            f"{path}: kind {kind}: not one that can be deployed{hint}", "Apply it with `kubectl apply -f`."
        )
    metadata = manifest.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str):
        raise InvalidInputError(
            f"{path}: metadata.name is missing.", "Give the model service a name, for example iris."
        )
    check_name(metadata["name"])
    return manifest


def _documents(path: Path) -> list[Any]:
    import yaml  # noqa: PLC0415  # a tenth of a second that most commands do not need

    try:
        return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise InvalidInputError(f"{path}: no such file.", "Name a file with a ModelService.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"{path}: cannot be read: {error}.", "Name a file with a ModelService.") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise InvalidInputError(f"{path}{where}: not YAML: {error.problem}.", "Correct the file.") from error
    except yaml.YAMLError as error:
        raise InvalidInputError(f"{path}: not YAML: {' '.join(str(error).split())}.", "Correct the file.") from error
