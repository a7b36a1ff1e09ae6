"""`slipway cluster …`: local clusters."""

from __future__ import annotations

from collections import deque
from typing import Annotated

import typer

from slipway.cli import output
from slipway.cli.options import Format, Output
from slipway.cli.terminal import progress, say
from slipway.client import target
from slipway.client.errors import NotFoundError, near
from slipway.cluster import binaries, images, lifecycle
from slipway.cluster.paths import clusters as clusters_directory

app = typer.Typer(
    help="Local clusters: a real Kubernetes on this machine.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)
ClusterName = Annotated[str, typer.Argument(help="The cluster's name.", show_default=False)]


def find(name: str) -> lifecycle.Cluster:
    """A local cluster; `NotFoundError`, which is exit code 4, when there is none of this name."""
    found = {cluster.name: cluster for cluster in lifecycle.clusters()}
    if name in found:
        return found[name]
    known = f"There is: {', '.join(found)}." if found else f"Create it: slipway cluster create {name}"
    raise NotFoundError(f"There is no local cluster {name}{near(name, found) or '.'}", known)


@app.command()
def prepare() -> None:
    """Obtain the programs and images of local clusters ahead of the first one. Prints the programs' directory."""
    place = binaries.directory(progress())
    images.build_all(progress())
    output.line(str(place))


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="The cluster's name.")] = "slipway",
    nodes: Annotated[int, typer.Option("--nodes", min=1, max=lifecycle.MOST_NODES, help="How many nodes.")] = 1,
    *,
    audit: Annotated[
        bool, typer.Option("--audit", help="Write down what the platform's service accounts ask of the API server.")
    ] = False,
) -> None:
    """Create a cluster, or finish an interrupted creation."""
    cluster = lifecycle.create(name, nodes, progress(), audit=audit)
    for file in cluster.audit_logs:
        say(f"Audit log: {file}")
    say(f"Cluster {name} is ready. Install the platform on it: slipway up --name {name}")
    output.line(cluster.context)


@app.command("list")
def list_(out: Output) -> None:
    """List the clusters of this machine."""
    rows = [_summary(cluster) for cluster in lifecycle.clusters()]
    if out.structured:
        output.document({"apiVersion": output.API_VERSION, "kind": "ClusterList", "items": rows}, out)
    elif out is Format.NAME:
        for row in rows:
            output.line(f"cluster/{row['name']}")
    elif rows:
        fields = ("name", "state", "nodes", "api", "context")
        output.table([field.upper() for field in fields], [[row[field] for field in fields] for row in rows])
    else:
        say("There is no local cluster. Create one: slipway up")


def _summary(cluster: lifecycle.Cluster) -> dict[str, str]:
    return {
        "name": cluster.name,
        "state": "Running" if cluster.running() else "Stopped",
        "nodes": str(len(cluster.layout.nodes)),
        "api": cluster.layout.api_url,
        "context": cluster.context,
    }


@app.command()
def status(name: ClusterName, out: Output) -> None:
    """Show a cluster's nodes and components. Exit code 1 when something is not running."""
    find(name)
    facts = lifecycle.status(name)
    if out.structured:
        output.document({"apiVersion": output.API_VERSION, "kind": "Cluster", **as_document(facts)}, out)
    elif out is Format.NAME:
        output.line(f"cluster/{name}")
    else:
        show(facts)
    if not healthy(facts):
        raise typer.Exit(1)


def healthy(facts: lifecycle.ClusterStatus) -> bool:
    """Whether every node is Ready and every component runs."""
    return all(
        node.ready and all(component["state"] == "running" for component in node.components) for node in facts.nodes
    )


def as_document(facts: lifecycle.ClusterStatus) -> dict[str, object]:
    """The status as JSON."""
    return {
        "name": facts.name,
        "running": facts.running,
        "api": facts.api_url,
        "nodes": [
            {"name": node.name, "address": node.address, "ready": node.ready, "components": node.components}
            for node in facts.nodes
        ],
        "notes": list(facts.notes),
    }


def show(facts: lifecycle.ClusterStatus) -> None:
    """Prints nodes, components and notes."""
    rows = [
        [
            node.name,
            _state(node),
            node.address,
            *map(str, (component["name"], component["state"], component["restarts"])),
        ]
        for node in facts.nodes
        for component in node.components or [{"name": "-", "state": "stopped", "restarts": "-"}]
    ]
    output.table(["NODE", "STATE", "ADDRESS", "COMPONENT", "COMPONENT STATE", "RESTARTS"], rows)
    for note in facts.notes:
        output.line(f"Note: {note}")


def _state(node: lifecycle.NodeStatus) -> str:
    if not node.running:
        return "Stopped"
    return "Ready" if node.ready else "NotReady"


@app.command()
def start(name: ClusterName) -> None:
    """Start a stopped cluster with everything that it had."""
    find(name)
    lifecycle.start(name, progress())


@app.command()
def stop(name: ClusterName) -> None:
    """Stop a cluster; its objects, images and volumes stay."""
    find(name)
    lifecycle.stop(name, progress())


@app.command()
def delete(name: ClusterName) -> None:
    """Delete a cluster and everything that it had."""
    half_made = lifecycle.NAME.fullmatch(name) and (clusters_directory() / name).is_dir()
    if not half_made:
        find(name)
    lifecycle.delete(name, progress())
    target.forget(target.LOCAL_PREFIX + name)


@app.command()
def kubeconfig(name: ClusterName) -> None:
    """Print the path of its kubeconfig file."""
    output.line(str(find(name).kubeconfig))


@app.command()
def logs(
    name: ClusterName,
    component: Annotated[str | None, typer.Argument(help="For example kubelet.", show_default=False)] = None,
    tail: Annotated[int, typer.Option("--tail", min=1, help="How many lines of each component.")] = 50,
) -> None:
    """Print the last lines of its components' logs, or of one's."""
    find(name)
    for file in lifecycle.log_files(name, component):
        with file.open(encoding="utf-8", errors="replace") as stream:
            for text in deque(stream, tail):
                output.line(f"{file.stem}: {text.rstrip()}")
