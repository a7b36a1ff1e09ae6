"""`slipway predict`."""

from __future__ import annotations

import json
import time
from typing import Annotated

import typer

from slipway.cli import output
from slipway.cli.options import ContextName, KubeconfigFile, Name, Namespace
from slipway.cli.session import connected, run
from slipway.cli.terminal import say
from slipway.client.client import AsyncClient
from slipway.client.errors import FailedError, UnreachableError
from slipway.client.predict import Question, Via, ask_api, ask_gateway, patience, question
from slipway.client.target import Target, Where, resolve

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def predict(
    name: Name,
    *,
    data: Annotated[
        str | None,
        typer.Option("--data", "-d", help="JSON, @FILE or @- for standard input. Without it: show an example."),
    ] = None,
    via: Annotated[
        Via | None, typer.Option("--via", help="The way. Default: the gateway if it answers, else the API server.")
    ] = None,
    context: ContextName = None,
    kubeconfig: KubeconfigFile = None,
    namespace: Namespace = None,
) -> None:
    """Ask a model service, or show how to ask it.

    A request of the Open Inference Protocol V2 goes to /v2/models/NAME/infer, everything else to /predict.
    """
    ask = question(name, data)
    body = run(_ask(resolve(Where(context, kubeconfig, namespace)), name, ask, via))
    output.line(_pretty(body))
    if data is None:
        say(f"Ask it with: slipway predict {name} --data '[[...]]'")


async def _ask(target: Target, name: str, ask: Question, via: Via | None) -> bytes:
    async with connected(target) as client:
        service = await client.get(name)
        url = service.get("status", {}).get("url")
        if via is not Via.API:
            try:
                return await _through_gateway(name, url, ask, patience(service))
            except UnreachableError as error:
                if via is Via.GATEWAY:
                    raise
                say(f"{error.message} Asking through the API server instead.")
        return await _through_api(client, name, ask, patience(service))


async def _through_gateway(name: str, url: str | None, ask: Question, seconds: float) -> bytes:
    if not url:
        raise UnreachableError(f"{name} has no address at the gateway yet.", f"See why: slipway describe {name}")
    started = time.monotonic()
    body = await ask_gateway(url, ask, seconds)
    say(f"{ask.method} {url.rstrip('/')}{ask.path} took {(time.monotonic() - started) * 1000:.0f} ms")
    return body


async def _through_api(client: AsyncClient, name: str, ask: Question, seconds: float) -> bytes:
    started = time.monotonic()
    try:
        with client.errors():
            body = await ask_api(client.api, client.namespace, name, ask, seconds)
    except FailedError as error:
        raise FailedError(error.message, error.hint.replace("slipway describe", f"slipway describe {name}")) from error
    say(f"{ask.method} {ask.path} through the API server took {(time.monotonic() - started) * 1000:.0f} ms")
    return body


def _pretty(body: bytes) -> str:
    """JSON over several lines, anything else as it is."""
    text = body.decode("utf-8", "replace")
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except ValueError:
        return text.rstrip()
