"""The checks, a module for each subject."""

from __future__ import annotations

from slipway_serving.conformance.checks import Check
from slipway_serving.conformance.suite.binary import BINARY
from slipway_serving.conformance.suite.compression import COMPRESSION
from slipway_serving.conformance.suite.errors import CLIENT_ERRORS, ERRORS
from slipway_serving.conformance.suite.health import HEALTH
from slipway_serving.conformance.suite.inference import INFER
from slipway_serving.conformance.suite.metadata import METADATA
from slipway_serving.conformance.suite.numbers import NUMBERS
from slipway_serving.conformance.suite.repository import INTROSPECTION, LOADING, REPOSITORY
from slipway_serving.conformance.suite.v1 import V1
from slipway_serving.conformance.suite.versions import VERSIONS
from slipway_serving.conformance.suite.wire import HTTP

_GROUPS = (
    HEALTH,
    METADATA,
    INFER,
    ERRORS,
    VERSIONS,
    BINARY,
    CLIENT_ERRORS,
    NUMBERS,
    HTTP,
    COMPRESSION,
    REPOSITORY,
    INTROSPECTION,
    V1,
)


def checks(*, grpc: bool) -> list[Check]:
    """All checks, in the order of the table. Raises ModuleNotFoundError where gRPC is asked for without grpcio."""
    found = [check for group in _GROUPS for check in group.checks]
    if grpc:
        from slipway_serving.conformance.suite.grpc_api import GRPC  # noqa: PLC0415  # only then is grpcio needed

        found += GRPC.checks
    return found + LOADING.checks
