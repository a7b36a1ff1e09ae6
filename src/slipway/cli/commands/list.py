"""`slipway list`."""

from __future__ import annotations

from datetime import UTC, datetime

import typer

from slipway.cli import output
from slipway.cli.options import AllNamespaces, ContextName, Format, KubeconfigFile, Namespace, Output
from slipway.cli.session import connected, run
from slipway.cli.target import Target, Where, resolve
from slipway.cli.terminal import say
from slipway.kit.objects import Manifest
from slipway.views.modelservice import row, why

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def show(
    *,
    out: Output = Format.TABLE,
    all_namespaces: AllNamespaces = False,
    context: ContextName = None,
    kubeconfig: KubeconfigFile = None,
    namespace: Namespace = None,
) -> None:
    """List the model services: whether they are ready, why, how many replicas, where."""
    target = resolve(Where(context, kubeconfig, namespace))
    found = run(_list(target, all_namespaces=all_namespaces))
    place = "any namespace" if all_namespaces else f"namespace {target.namespace}"
    if out is Format.NAME:
        for item in found:
            output.line(f"modelservice/{item['metadata']['name']}")
    elif out in {Format.JSON, Format.YAML}:
        output.document(output.object_list("slipway.dev/v1alpha1", "ModelServiceList", found), out)
    elif found:
        table(found, wide=out is Format.WIDE, namespaces=all_namespaces)
    else:
        say(f"There is no model service in {place} of {target.context}. Make one: slipway deploy NAME PATH")


async def _list(target: Target, *, all_namespaces: bool) -> list[Manifest]:
    async with connected(target) as client:
        return await client.list(all_namespaces=all_namespaces)


def table(found: list[Manifest], *, wide: bool = False, namespaces: bool = False) -> None:
    """Prints one line a service."""
    now = datetime.now(UTC)
    headers = ["NAME", "READY", "REASON", "REPLICAS", "URL", "AGE", *(["REVISION", "WHY"] if wide else [])]
    rows = []
    for item in found:
        view = row(item, now=now)
        cells = [view.name, view.ready, view.reason, view.replicas, view.url, view.age]
        cells += [view.revision, why(item)] if wide else []
        rows.append([view.namespace, *cells] if namespaces else cells)
    output.table(["NAMESPACE", *headers] if namespaces else headers, rows)
