"""What one replica may use, with what the owner left out filled in."""

from __future__ import annotations

from slipway.api.quantity import canonical_quantity, parse_quantity
from slipway.api.server import DEFAULT_CPU_REQUEST, DEFAULT_MEMORY_LIMIT, DEFAULT_MEMORY_REQUEST, Gpu, Resources


def effective_resources(wanted: Resources, gpu: Gpu | None = None) -> dict[str, dict[str, str]]:
    """Requests and limits of the model's container.

    A default never contradicts what was written: it gives way to a lower limit, or to a higher request.
    """
    requests = {
        "cpu": _lower(DEFAULT_CPU_REQUEST, wanted.limits.get("cpu")),
        "memory": _lower(DEFAULT_MEMORY_REQUEST, wanted.limits.get("memory")),
    } | wanted.requests
    limits = {"memory": _higher(DEFAULT_MEMORY_LIMIT, requests["memory"])} | wanted.limits
    if gpu is not None:
        limits[device_of(gpu)] = str(gpu.count)
    return {
        kind: {name: canonical_quantity(amount) for name, amount in amounts.items()}
        for kind, amounts in (("requests", requests), ("limits", limits))
    }


def device_of(gpu: Gpu) -> str:
    """The resource that the device plugin offers: with a profile, the slice's own (NVIDIA's strategy "mixed")."""
    return f"{gpu.resource.partition('/')[0]}/{gpu.profile}" if gpu.profile else gpu.resource


def _lower(default: str, written: str | None) -> str:
    return written if written is not None and parse_quantity(written) < parse_quantity(default) else default


def _higher(default: str, written: str) -> str:
    return written if parse_quantity(written) > parse_quantity(default) else default
