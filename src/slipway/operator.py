"""The operator process: `slipway-operator`, and `slipway-operator selftest`, which is in `selftest.py`.

Every flag can be given as an environment variable: `--serving-image` as `SLIPWAY_SERVING_IMAGE`. It ends with 0 when it
is told to stop, and with 1 when it must be started again: the Lease is lost, or a part of it died.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import logging
import os
import re
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from slipway import selftest
from slipway.controllers.modelservice.controller import add_controller
from slipway.controllers.modelservice.resolve import RegistryResolver
from slipway.controllers.modelservice.settings import Settings
from slipway.kit.client import ApiError, Client, Unreachable
from slipway.kit.lease import LeaseConfig, LeaseLost
from slipway.kit.manager import Manager
from slipway.kit.metrics import Metrics
from slipway.kit.objects import Manifest
from slipway.kit.rest import RestClient
from slipway.oci import OciError, RegistryClient
from slipway.oci.authorities import KEY as CA_CERTIFICATES
from slipway.oci.authorities import trusting
from slipway.oci.login import RegistryLogin, login_in
from slipway.oci.registry import registry_url

LEASE = "slipway-operator"
IMAGE_VOLUMES_SINCE = (1, 35)

log = logging.getLogger("slipway.operator")


@dataclass(frozen=True, slots=True)
class Options:
    """What the process was told. `metrics_address` is host and port; `lease_namespace` is None for a single process."""

    settings: Settings
    lease_namespace: str | None
    metrics_address: tuple[str, int]
    kubeconfig: Path | None
    registries: Path | None = None


class JsonFormatter(logging.Formatter):
    """One JSON object a line: `time`, `level`, `logger`, `message`, and `error` with the trace of an exception."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def read_options(arguments: Sequence[str], environment: Mapping[str, str]) -> Options:
    """The options of a command line. Exits with status 2 and a sentence when it is wrong."""
    parser = argparse.ArgumentParser(prog="slipway-operator", description="Turns ModelServices into what serves them.")

    def option(name: str, *, help: str, default: str = "") -> None:  # noqa: A002  # argparse's word
        variable = f"SLIPWAY_{name.upper().replace('-', '_')}"
        parser.add_argument(f"--{name}", default=environment.get(variable, default), help=f"{help} [{variable}]")

    option("serving-image", help="image of the model server, where a ModelService names none")
    option("gateway", help="NAMESPACE/NAME of the Gateway that routes requests; without it there are no routes")
    option("proxy-namespace", help="namespace of the gateway's proxies, where they are not beside it")
    option("ingress-class", help="class of the Ingresses that route requests, where there is no gateway")
    option("fetcher-image", help="image that downloads models")
    option("node-cache", help="directory of the nodes that keeps downloaded models")
    option("gateway-url", help="URL of the gateway, where its own status does not say what clients reach")
    option("namespace", help="namespace of the Lease", default="slipway-system")
    option("leader-elect", help="true: of several replicas one acts, by a Lease", default="true")
    option("metrics-address", help="HOST:PORT of metrics and probes", default="0.0.0.0:8080")
    option("registry-certificates", help="directory with ca.crt, client.cert and client.key below HOST:PORT")
    option("kubeconfig", help="a kubeconfig, outside of a cluster")
    found = parser.parse_args(arguments)
    if not found.serving_image:
        parser.error("--serving-image is missing: REGISTRY/slipway/serving:VERSION")
    if found.gateway and not re.fullmatch("[^/]+/[^/]+", found.gateway):
        parser.error(f"--gateway {found.gateway!r} is not NAMESPACE/NAME")
    if found.gateway_url and not re.fullmatch("https?://[^/]+/?", found.gateway_url):
        parser.error(f"--gateway-url {found.gateway_url!r} is not http://HOST[:PORT]")
    if found.gateway and found.ingress_class:
        parser.error("--gateway and --ingress-class exclude each other: routes are of one kind")
    if found.node_cache and not re.fullmatch("(/[A-Za-z0-9._-]+)+", found.node_cache):
        parser.error(f"--node-cache {found.node_cache!r} is not an absolute path")
    if found.leader_elect not in {"true", "false"}:
        parser.error(f"--leader-elect {found.leader_elect!r} is neither true nor false")
    host, _, port = found.metrics_address.rpartition(":")
    if not port.isdecimal() or int(port) > 65535:  # noqa: PLR2004  # the largest port
        parser.error(f"--metrics-address {found.metrics_address!r} is not HOST:PORT")
    namespace, _, gateway = found.gateway.partition("/")
    return Options(
        settings=Settings(
            serving_image=found.serving_image,
            gateway=(namespace, gateway) if gateway else None,
            gateway_url=found.gateway_url.rstrip("/") or None,
            proxy_namespace=found.proxy_namespace or None,
            ingress_class=found.ingress_class or None,
            fetcher_image=found.fetcher_image,
            node_cache=found.node_cache or None,
        ),
        lease_namespace=found.namespace if found.leader_elect == "true" else None,
        metrics_address=(host or "0.0.0.0", int(port)),  # noqa: S104  # probes come from the kubelet
        kubeconfig=Path(found.kubeconfig) if found.kubeconfig else None,
        registries=Path(found.registry_certificates) if found.registry_certificates else None,
    )


REGISTRY_PATIENCE = 5.0  # seconds: a thread that waits for one registry is missing for the others


def open_registry(certificates: Path | None, image: str, secret: Manifest | None) -> RegistryClient:
    """The client of an image's registry, with certificates in Docker's layout, or what a Secret has, if any.

    Raises `OciError` for a Secret that cannot be read.
    """
    host = image.partition("/")[0]
    place = certificates / host if certificates else None
    if place and place.is_dir():
        return RegistryClient.mutual_tls(
            f"https://{host}", place / "ca.crt", place / "client.cert", place / "client.key"
        )
    data = {key: base64.b64decode(value) for key, value in ((secret or {}).get("data") or {}).items()}
    logins, authorities = data.get(".dockerconfigjson"), data.get(CA_CERTIFICATES)
    login = login_in(image, logins, "the Secret of the model") if logins else None
    try:
        trust = trusting(authorities.decode(errors="replace")) if authorities else None
    except ValueError as error:
        raise OciError(f"The Secret of the model: {error}.", "Give whole blocks of PEM.") from error
    return RegistryClient(
        registry_url(host), trust=trust, auth=RegistryLogin(login), attempts=1, timeout=REGISTRY_PATIENCE
    )


def make_manager(client: Client, options: Options, metrics: Metrics | None = None) -> Manager:
    """The manager with all controllers."""
    host, port = options.metrics_address
    lease = LeaseConfig(LEASE, options.lease_namespace) if options.lease_namespace else None
    manager = Manager(client, lease=lease, host=host, port=port, metrics=metrics)
    resolver = RegistryResolver(client, partial(open_registry, options.registries))
    add_controller(manager, options.settings, resolver=resolver)
    return manager


async def _told_by_cluster(client: Client, options: Options) -> Options:
    """The options, and what the version of Kubernetes decides: nodes mount images from 1.35 on (KEP-4639, beta)."""
    found = json.loads(await client.raw("GET", "/version"))
    version = tuple(int(re.sub(r"\D.*", "", found.get(part, "")) or 0) for part in ("major", "minor"))
    return replace(options, settings=replace(options.settings, image_volumes=version >= IMAGE_VOLUMES_SINCE))


async def run(options: Options) -> None:
    """Runs until SIGTERM or SIGINT; raises what the manager ends with."""
    metrics = Metrics()
    if options.kubeconfig:
        client = RestClient.from_kubeconfig(options.kubeconfig, metrics=metrics)
    else:
        client = RestClient.in_cluster(metrics=metrics)
    async with client:
        manager = make_manager(client, await _told_by_cluster(client, options), metrics)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, manager.stop)
        log.info("Runs with %s", options)
        await manager.run()


def main(arguments: Sequence[str] | None = None) -> int:
    """The process; its exit status."""
    words = sys.argv[1:] if arguments is None else arguments
    if words[:1] == ["selftest"]:
        return selftest.main(words[1:])
    options = read_options(words, os.environ)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    try:
        asyncio.run(run(options))
    except LeaseLost as error:
        log.error("%s Ends, to be started again.", error)  # noqa: TRY400  # the reason is known
        return 1
    except (ApiError, Unreachable, OSError, ValueError) as error:
        log.error("Cannot run: %s", error)  # noqa: TRY400  # the reason is known
        return 1
    except Exception:
        log.exception("Died")
        return 1
    log.info("Stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
