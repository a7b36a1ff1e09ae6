"""`slipway deploy`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import typer

from slipway.cli.options import (
    AllowPickle,
    ContextName,
    DryRun,
    Force,
    KubeconfigFile,
    Maximum,
    Minimum,
    ModelFormat,
    ModelSource,
    Namespace,
    NewName,
    Output,
    RegistryAddress,
    Replicas,
    ServiceFile,
    Timeout,
    Wait,
)
from slipway.cli.registry import registry_of
from slipway.cli.session import announce, connected, run
from slipway.cli.terminal import progress, say
from slipway.cli.writing import How, finish, seconds, show, warn
from slipway.client.change import deployed
from slipway.client.errors import InvalidInputError
from slipway.client.manifest import (
    Wish,
    check_manifest,
    keep,
    model_service,
    read_manifest,
    replica_range,
    service_said,
)
from slipway.client.model import check_format, check_model
from slipway.client.push import Upload, prepare
from slipway.client.target import Target, Where, resolve
from slipway.kit.objects import Manifest

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def deploy(
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
    wait: Wait = True,
    timeout: Timeout = "5m",
    dry_run: DryRun = False,
    force: Force = False,
    out: Output,
    context: ContextName = None,
    kubeconfig: KubeconfigFile = None,
    namespace: Namespace = None,
) -> None:
    """Serve a model: check it, push it, apply a ModelService, wait until it answers.

    slipway deploy iris ./model.onnx --replicas 3, or slipway deploy -f service.yaml
    """
    low, high = replica_range(replicas, minimum, maximum)
    how = How(seconds(timeout) if wait else None, dry_run, force)
    where = Where(context, kubeconfig, namespace)
    said = service_said(
        file,
        name,
        source,
        low,
        high,
        model_format,
        registry,
        allow_pickle or None,
        example="slipway deploy iris ./model.onnx",
    )
    if isinstance(said, Path):
        applied = _deploy_file(said, where, how)
    else:
        applied = _deploy_model(Wish(*said, model_format, low, high, allow_pickle), where, registry, how)
    show(applied, out)


def _deploy_file(file: Path, where: Where, how: How) -> Manifest:
    """Applies a file's ModelService, in the namespace that the file and the command line agree on."""
    manifest = read_manifest(file)
    said = manifest["metadata"].get("namespace")
    if said and where.namespace and said != where.namespace:
        problem = f"{file}: metadata.namespace is {said}, but the command line says {where.namespace}."
        raise InvalidInputError(problem, "Leave out one of them.")
    target = resolve(Where(where.context, where.kubeconfig, said or where.namespace))
    manifest["metadata"]["namespace"] = target.namespace
    return _carry_out(target, manifest["metadata"]["name"], lambda _: manifest, how)


def _deploy_model(wish: Wish, where: Where, registry: str | None, how: How) -> Manifest:
    """From a model to its service."""
    if "://" in wish.uri:
        check_format(wish.format)
        target, upload = resolve(where), None
    else:
        model = check_model(Path(wish.uri), wish.format, allow_pickle=wish.allow_pickle)
        target = resolve(where)
        upload = prepare(model, registry_of(target, registry), wish.name)
        wish = replace(wish, uri=upload.uri, format=model.format)

    def build(existing: Manifest | None) -> Manifest:
        said = model_service(keep(wish, existing), target.namespace)
        return check_manifest(deployed(existing, said), wish.name)

    build(None)  # what is wrong with it is said before the cluster is asked
    return _carry_out(target, wish.name, build, how, upload)


Build = Callable[[Manifest | None], Manifest]
"""The manifest to apply, given the service that exists."""


def _carry_out(target: Target, name: str, build: Build, how: How, upload: Upload | None = None) -> Manifest:
    """Has the API server check it, stores the model, applies, waits: so a refusal leaves nothing behind."""
    announce(target, "Deploying", name)
    manifest, checked = run(_check(target, name, build, how))
    if how.dry_run:
        say(f"{target.context} would accept {name}. Nothing was stored or changed.")
        return checked
    if upload:
        upload.send(progress())
    return run(_apply(target, manifest, how))


async def _check(target: Target, name: str, build: Build, how: How) -> tuple[Manifest, Manifest]:
    """The manifest, and what the API server would make of it."""
    async with connected(target) as client:
        existing = await client.find(name)
        if existing:
            warn(existing)
        manifest = build(existing)
        return manifest, await client.apply(manifest, force=how.force, dry_run=True)


async def _apply(target: Target, manifest: Manifest, how: How) -> Manifest:
    async with connected(target) as client:
        return await finish(client, await client.apply(manifest, force=how.force), how)
