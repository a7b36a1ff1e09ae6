"""The operator process: `slipway-operator`.

Every flag can be given as an environment variable: `--serving-image` as `SLIPWAY_SERVING_IMAGE`. It ends with 0 when it
is told to stop, and with 1 when it must be started again: the Lease is lost, or a part of it died.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import re
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from slipway.controllers.modelservice.controller import add_controller
from slipway.controllers.modelservice.settings import Settings
from slipway.kit.client import ApiError, Client, Unreachable
from slipway.kit.lease import LeaseConfig, LeaseLost
from slipway.kit.manager import Manager
from slipway.kit.rest import RestClient

LEASE = "slipway-operator"

log = logging.getLogger("slipway.operator")


@dataclass(frozen=True, slots=True)
class Options:
    """What the process was told. `metrics_address` is host and port; `lease_namespace` is None for a single process."""

    settings: Settings
    lease_namespace: str | None
    metrics_address: tuple[str, int]
    kubeconfig: Path | None


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
    option("gateway-url", help="URL of the gateway, where its own status does not say what clients reach")
    option("namespace", help="namespace of the Lease", default="slipway-system")
    option("leader-elect", help="true: of several replicas one acts, by a Lease", default="true")
    option("metrics-address", help="HOST:PORT of metrics and probes", default="0.0.0.0:8080")
    option("kubeconfig", help="a kubeconfig, outside of a cluster")
    found = parser.parse_args(arguments)
    if not found.serving_image:
        parser.error("--serving-image is missing: REGISTRY/slipway/serving:VERSION")
    if found.gateway and not re.fullmatch("[^/]+/[^/]+", found.gateway):
        parser.error(f"--gateway {found.gateway!r} is not NAMESPACE/NAME")
    if found.gateway_url and not re.fullmatch("https?://[^/]+/?", found.gateway_url):
        parser.error(f"--gateway-url {found.gateway_url!r} is not http://HOST[:PORT]")
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
        ),
        lease_namespace=found.namespace if found.leader_elect == "true" else None,
        metrics_address=(host or "0.0.0.0", int(port)),  # noqa: S104  # probes come from the kubelet
        kubeconfig=Path(found.kubeconfig) if found.kubeconfig else None,
    )


def make_manager(client: Client, options: Options) -> Manager:
    """The manager with all controllers."""
    host, port = options.metrics_address
    lease = LeaseConfig(LEASE, options.lease_namespace) if options.lease_namespace else None
    manager = Manager(client, lease=lease, host=host, port=port)
    add_controller(manager, options.settings)
    return manager


async def run(options: Options) -> None:
    """Runs until SIGTERM or SIGINT; raises what the manager ends with."""
    client = RestClient.from_kubeconfig(options.kubeconfig) if options.kubeconfig else RestClient.in_cluster()
    async with client:
        manager = make_manager(client, options)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, manager.stop)
        log.info("Runs with %s", options)
        await manager.run()


def main(arguments: Sequence[str] | None = None) -> int:
    """The process; its exit status."""
    options = read_options(sys.argv[1:] if arguments is None else arguments, os.environ)
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
