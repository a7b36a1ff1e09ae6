"""`slipway-operator selftest`: a model is deployed, asked and removed again, which shows that the platform serves.

`helm test` runs it in a pod of the operator's image, with the right to create one ModelService in the release's
namespace and to read and delete that one. The pod is its owner: where this is killed, the garbage collector removes it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import httpx2

from slipway.api.names import GROUP
from slipway.kit.client import ApiError, Client, NotFound, Unreachable
from slipway.kit.objects import MODEL_SERVICE, POD, Manifest
from slipway.kit.rest import RestClient
from slipway.views.modelservice import outcome, why

LABEL = f"{GROUP}/selftest"
"""On the ModelService of a test: nothing else is ever deleted."""

_PAUSE = 1.0  # seconds
_REMOVAL = 120.0  # seconds; pods finish what is in flight first
_ASK = httpx2.Timeout(10.0)

Report = Callable[[str], None]


class SelftestFailed(Exception):  # noqa: N818  # what it says: the platform was tried and does not serve
    """Why the platform does not serve, in sentences."""


@dataclass(frozen=True, slots=True)
class Options:
    """What is deployed, and how many seconds it may take to answer. `owner` goes together with it."""

    name: str
    namespace: str
    spec: Manifest
    timeout: float
    owner: Manifest | None = field(default=None)

    @property
    def url(self) -> str:
        """Where the example of its model is answered, inside of the cluster."""
        return f"http://{self.name}.{self.namespace}.svc/predict"

    def manifest(self) -> Manifest:
        metadata = {"name": self.name, "namespace": self.namespace, "labels": {LABEL: "true"}}
        owners = {"ownerReferences": [self.owner]} if self.owner else {}
        return {
            "apiVersion": MODEL_SERVICE.api_version,
            "kind": MODEL_SERVICE.kind,
            "metadata": metadata | owners,
            "spec": self.spec,
        }


def read_options(arguments: Sequence[str], environment: Mapping[str, str]) -> Options:
    """The options of a command line; the owner is the pod of `$POD_NAME` and `$POD_UID`. Exits with 2 when wrong."""
    parser = argparse.ArgumentParser(prog="slipway-operator selftest", description="Deploys a model and asks it.")
    parser.add_argument("--name", required=True, help="name of the ModelService")
    parser.add_argument("--namespace", required=True, help="its namespace")
    parser.add_argument("--spec", required=True, help="its spec, as JSON")
    parser.add_argument("--timeout", type=int, default=180, help="seconds until it has to answer (default: 180)")
    found = parser.parse_args(arguments)
    try:
        spec = json.loads(found.spec)
    except ValueError as error:
        parser.error(f"--spec is not JSON: {error}")
    if not isinstance(spec, dict):
        parser.error("--spec is not a JSON object")
    name, uid = environment.get("POD_NAME"), environment.get("POD_UID")
    owner = {"apiVersion": POD.api_version, "kind": POD.kind, "name": name, "uid": uid} if name and uid else None
    return Options(found.name, found.namespace, spec, float(found.timeout), owner)


async def selftest(client: Client, http: httpx2.AsyncClient, options: Options, report: Report) -> None:
    """Deploys, waits, asks, removes. Raises `SelftestFailed`, and the client's errors."""
    await _remove_last(client, options)
    await client.create(MODEL_SERVICE, options.manifest())
    report(f"ModelService {options.namespace}/{options.name} is created.")
    try:
        await _ready(client, options, report)
        answer = await _answer(http, options)
        report(f"GET {options.url} answered: {answer[:500]}")
    finally:
        await _remove(client, options)
    report("It is removed again.")


async def _remove_last(client: Client, options: Options) -> None:
    """What an earlier test has left is removed; an object of somebody else stops this one."""
    found = await _find(client, options)
    if found is None:
        return
    if LABEL not in found["metadata"].get("labels", {}):
        raise SelftestFailed(
            f"There is a ModelService {options.namespace}/{options.name} which is not a test's. Choose another name: "
            "helm upgrade … --set test.name=NAME"
        )
    await _remove(client, options)


async def _ready(client: Client, options: Options, report: Report) -> None:
    said = ""
    try:
        async with asyncio.timeout(options.timeout):
            while (service := await _find(client, options)) is not None:
                if why(service) != said:
                    said = why(service)
                    report(said)
                match outcome(service):
                    case "ready":
                        return
                    case "failed":
                        raise SelftestFailed(f"The model cannot become ready. {said}")
                await asyncio.sleep(_PAUSE)
    except TimeoutError:
        raise SelftestFailed(f"The model is not ready after {options.timeout:.0f} s. {said}") from None
    raise SelftestFailed("The ModelService is gone: somebody deleted it during the test.")


async def _answer(http: httpx2.AsyncClient, options: Options) -> str:
    """The answer to one request: Ready says that it succeeds, so it is not sent twice."""
    try:
        answer = await http.get(options.url)
    except httpx2.HTTPError as error:
        raise SelftestFailed(
            f"The model is Ready, but {options.url} does not answer from this pod: {error or type(error).__name__}. "
            "Look for a NetworkPolicy that keeps pods of this namespace apart, and at the cluster's DNS."
        ) from error
    if not answer.is_success:
        raise SelftestFailed(
            f"The model is Ready, but {options.url} answered {answer.status_code}: {answer.text[:500]}"
        )
    return answer.text.strip()


async def _remove(client: Client, options: Options) -> None:
    """Deletes the ModelService and waits until all that was made for it is gone, too."""
    try:
        async with asyncio.timeout(_REMOVAL):
            await client.delete(MODEL_SERVICE, options.name, options.namespace, propagation="Foreground")
            while await _find(client, options) is not None:  # noqa: ASYNC110  # it asks another machine
                await asyncio.sleep(_PAUSE)
    except NotFound:
        return
    except TimeoutError:
        raise SelftestFailed(
            f"ModelService {options.namespace}/{options.name} is still being deleted after {_REMOVAL:.0f} s."
        ) from None


async def _find(client: Client, options: Options) -> Manifest | None:
    try:
        return await client.get(MODEL_SERVICE, options.name, options.namespace)
    except NotFound:
        return None


async def run(options: Options) -> None:
    """As `selftest`, on the cluster that this pod runs in."""
    async with RestClient.in_cluster(user_agent="slipway-selftest") as client, _http() as http:
        await selftest(client, http, options, _say)


def _http() -> httpx2.AsyncClient:
    return httpx2.AsyncClient(timeout=_ASK, trust_env=False)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main(arguments: Sequence[str]) -> int:
    """The process; its exit status."""
    try:
        asyncio.run(run(read_options(arguments, os.environ)))
    except SelftestFailed as error:
        _say(f"Failed: {error}")
        return 1
    except (ApiError, Unreachable) as error:
        _say(f"Failed: the API server did not do it: {error}")
        return 1
    _say("Passed.")
    return 0
