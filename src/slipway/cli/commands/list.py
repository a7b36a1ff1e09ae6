"""`slipway list`."""

from __future__ import annotations

import typer

from slipway.cli import output
from slipway.cli.listing import cells, table
from slipway.cli.options import AllNamespaces, ContextName, Format, KubeconfigFile, Namespace, Output, Watch
from slipway.cli.session import connected, run
from slipway.cli.terminal import say
from slipway.client.target import Target, Where, resolve
from slipway.kit.objects import Manifest, key_of

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def show(
    *,
    watching: Watch = False,
    out: Output,
    all_namespaces: AllNamespaces = False,
    context: ContextName = None,
    kubeconfig: KubeconfigFile = None,
    namespace: Namespace = None,
) -> None:
    """List the model services of a namespace, or of all."""
    target = resolve(Where(context, kubeconfig, namespace))
    if watching:
        run(_watch(target, out, all_namespaces=all_namespaces))
        return
    found = run(_list(target, all_namespaces=all_namespaces))
    place = "any namespace" if all_namespaces else f"namespace {target.namespace}"
    if out is Format.NAME:
        for item in found:
            output.line(f"modelservice/{item['metadata']['name']}")
    elif out.structured:
        output.document(output.object_list("slipway.dev/v1alpha1", "ModelServiceList", found), out)
    elif found:
        table(found, wide=out is Format.WIDE, namespaces=all_namespaces)
    else:
        say(f"There is no model service in {place} of {target.context}. Make one: slipway deploy NAME PATH")


async def _list(target: Target, *, all_namespaces: bool) -> list[Manifest]:
    async with connected(target) as client:
        return await client.list(all_namespaces=all_namespaces)


async def _watch(target: Target, out: Format, *, all_namespaces: bool) -> None:
    from slipway.cli import watching  # noqa: PLC0415  # a list alone does not need it

    wide = out is Format.WIDE

    def frame(found: list[Manifest]) -> watching.Frame:
        return watching.Frame(
            lambda: table(found, wide=wide, namespaces=all_namespaces),
            facts(found, wide=wide, namespaces=all_namespaces),
            {_place(item): output.without_managers(item) for item in found},
        )

    async with connected(target) as client:
        await watching.show(lambda: client.watch_all(all_namespaces=all_namespaces), frame, out)


def facts(found: list[Manifest], *, wide: bool = False, namespaces: bool = False) -> dict[str, str]:
    """A line for each service, without its age: time alone is no news."""
    headers, rows = cells(found, wide=wide, namespaces=namespaces)
    skip = headers.index("AGE")
    lines = ["  ".join(cell for index, cell in enumerate(row) if cell and index != skip) for row in rows]
    return dict(zip(map(_place, found), lines, strict=True))


def _place(item: Manifest) -> str:
    return f"modelservice/{key_of(item)}"
