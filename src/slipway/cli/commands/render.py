"""`slipway render`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from slipway.cli import output
from slipway.cli.options import (
    AllowPickle,
    Maximum,
    Minimum,
    ModelFormat,
    ModelSource,
    NewName,
    RegistryAddress,
    Replicas,
    ServiceFile,
)
from slipway.cli.registry import named_registry
from slipway.cli.terminal import say
from slipway.client.errors import InvalidInputError
from slipway.client.manifest import Wish, check_manifest, model_service, read_manifest, replica_range, service_said
from slipway.client.model import check_format, check_model
from slipway.client.push import prepare
from slipway.controllers.modelservice.render import (
    DEFAULT_NAMESPACE,
    CannotRenderError,
    as_json,
    as_yaml,
    file_name,
    render,
)
from slipway.controllers.modelservice.settings import Settings
from slipway.kit.objects import Manifest

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_LABEL = "[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_NAME = "[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?"
_IMAGE = "[a-zA-Z0-9][a-zA-Z0-9._:/@-]{0,511}"
_IMAGE_EXAMPLE = "REGISTRY/NAME:TAG: registry.example.com/slipway/serving:0.1.0"


class Written(StrEnum):
    """How objects are written."""

    YAML = "yaml"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class _Told:
    """What the operator would have been told."""

    image: str
    gateway: str | None
    ingress_class: str | None
    fetcher_image: str

    def settings(self, *, image_volumes: bool) -> Settings:
        """As the operator has it."""
        if self.gateway and self.ingress_class:
            problem = "--gateway and --ingress-class exclude each other: routes are of one kind."
            raise InvalidInputError(problem, "Leave out one of them.")
        _check("--image", self.image, _IMAGE, _IMAGE_EXAMPLE)
        _check("--fetcher-image", self.fetcher_image, _IMAGE, _IMAGE_EXAMPLE)
        _check("--gateway", self.gateway, f"{_LABEL}/{_NAME}", "NAMESPACE/NAME: slipway-system/slipway")
        _check("--ingress-class", self.ingress_class, _NAME, "the name of an IngressClass: nginx")
        namespace, _, name = (self.gateway or "").partition("/")
        return Settings(
            serving_image=self.image,
            gateway=(namespace, name) if self.gateway else None,
            ingress_class=self.ingress_class,
            fetcher_image=self.fetcher_image,
            image_volumes=image_volumes,
        )


@app.command()
def show(
    name: NewName = None,
    source: ModelSource = None,
    *,
    file: ServiceFile = None,
    replicas: Replicas = None,
    minimum: Minimum = None,
    maximum: Maximum = None,
    model_format: ModelFormat = None,
    allow_pickle: AllowPickle = False,
    registry: RegistryAddress = None,
    image: Annotated[str, typer.Option(help="The model server, where the ModelService names no image.")] = "",
    fetcher_image: Annotated[str, typer.Option(help="What fetches models (s3, https, hf, …).")] = "",
    gateway: Annotated[
        str | None, typer.Option(help="NAMESPACE/NAME of the Gateway that an HTTPRoute belongs to.", show_default=False)
    ] = None,
    ingress_class: Annotated[
        str | None, typer.Option(help="The class of the Ingress, where there is no Gateway.", show_default=False)
    ] = None,
    image_volumes: Annotated[
        bool, typer.Option(help="Nodes can mount models as images: Kubernetes 1.35 and newer.")
    ] = True,
    namespace: Annotated[
        str | None,
        typer.Option(
            "--namespace",
            "-n",
            help="The namespace. Default: none, so that `kubectl apply` decides.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[Written, typer.Option("--output", "-o", help="How to write them.")] = Written.YAML,
    directory: Annotated[
        Path | None,
        typer.Option("--output-dir", help="Write a file for each object there instead.", show_default=False),
    ] = None,
) -> None:
    """Print plain Kubernetes manifests of what the platform would make. No cluster is asked.

    slipway render -f service.yaml --image REGISTRY/slipway/serving:VERSION | kubectl apply -f -
    """
    settings = _Told(image, gateway, ingress_class, fetcher_image).settings(image_volumes=image_volumes)
    low, high = replica_range(replicas, minimum, maximum)
    said = service_said(
        file,
        name,
        source,
        low,
        high,
        model_format,
        registry,
        allow_pickle or None,
        example="slipway render iris oci://REGISTRY/iris:1",
    )
    if isinstance(said, Path):
        service = read_manifest(said)
    else:
        service = _described(Wish(*said, model_format, low, high, allow_pickle), registry)
    objects = _rendered(_placed(service, namespace), settings)
    if ingress_class and not any(item["kind"] == "Ingress" for item in objects):
        say("There is no Ingress: it routes by host names, and spec.routing.hostnames has none.")
    _print(objects, out, directory)


def _described(wish: Wish, registry: str | None) -> Manifest:
    """The ModelService of a command line. A local model is named by the digest that it will have once it is pushed."""
    uri, kind = wish.uri, wish.format
    if "://" in uri:
        check_format(kind)
    else:
        model = check_model(Path(uri), kind, allow_pickle=wish.allow_pickle)
        chosen = named_registry(registry)
        if chosen is None:
            raise InvalidInputError(
                f"{uri} is here, and pods pull it from a registry.",
                "Name it: --registry HOST/PATH, or $SLIPWAY_REGISTRY. Or name what `slipway push` printed.",
            )
        upload = prepare(model, chosen, wish.name)
        uri, kind = upload.uri, model.format
        place = f"{chosen.name}/{chosen.prefix}".rstrip("/")
        say(f"Store the model before the pods start: slipway push {wish.uri} {wish.name} --registry {place}")
    wanted = Wish(wish.name, uri, kind, wish.minimum, wish.maximum, wish.allow_pickle)
    service = model_service(wanted, "")
    del service["metadata"]["namespace"]
    return check_manifest(service, wish.name)


def _placed(service: Manifest, namespace: str | None) -> Manifest:
    """The service in the namespace that file and command line agree on, in none where neither says one."""
    said = service["metadata"].get("namespace")
    if said and namespace and said != namespace:
        raise InvalidInputError(
            f"metadata.namespace is {said}, but the command line says {namespace}.", "Leave out one of them."
        )
    _check("--namespace", namespace, _LABEL, "lower-case letters, digits and '-': team-a")
    return service | {"metadata": service["metadata"] | {"namespace": said or namespace}}


def _check(option: str, value: str | None, pattern: str, example: str) -> None:
    """Refuses what no cluster would take; an option that is not said is right."""
    if value and not re.fullmatch(pattern, value):
        raise InvalidInputError(f"{option} {value!r} cannot be.", f"Write {example}")


def _rendered(service: Manifest, settings: Settings) -> list[Manifest]:
    try:
        return render(service, settings)
    except CannotRenderError as error:
        example = f"-n {DEFAULT_NAMESPACE}" if error.option == "--namespace" else f"{error.option} REGISTRY/NAME:TAG"
        raise InvalidInputError(str(error), f"Say it: {example}") from error


def _print(objects: list[Manifest], out: Written, directory: Path | None) -> None:
    write = as_yaml if out is Written.YAML else as_json
    if directory is None:
        output.line(write(objects).rstrip("\n"))
        return
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for item in objects:
            path = directory / file_name(item, out.value)
            path.write_text(write([item]), encoding="utf-8")
            output.line(str(path))
    except OSError as error:
        raise InvalidInputError(
            f"{directory} cannot be written: {error.strerror}.", "Name a directory of yours."
        ) from error
