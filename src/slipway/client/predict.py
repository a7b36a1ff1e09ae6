"""Asking a model service: through the gateway, or through the API server's service proxy."""

from __future__ import annotations

import ipaddress
import json
import sys
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from slipway.api.duration import parse_duration
from slipway.client.errors import FailedError, InvalidInputError, UnreachableError, WaitTimeoutError
from slipway.kit.objects import SERVICE

if TYPE_CHECKING:
    import httpx2

    from slipway.kit.client import Client

_MARGIN = 5.0  # seconds that the gateway's own answer may take
_DEFAULT = "60s"  # of spec.routing.timeout
_LONGEST = 3600.0  # seconds, where the service sets no limit

_PORT = "http"
_UNAVAILABLE = 503


class Via(StrEnum):
    """The way to a model service."""

    GATEWAY = "gateway"
    API = "api"


@dataclass(frozen=True, slots=True)
class Question:
    """One request to a model server: `GET /predict` shows an example."""

    method: str
    path: str
    body: bytes | None = None


def question(name: str, data: str | None) -> Question:
    """The request for what the user typed: JSON, `@FILE`, or nothing. A V2 body goes to the V2 path of the model."""
    if data is None:
        return Question("GET", "/predict")
    text, source = _read(data)
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(
            f"{source}: not JSON: {error}.", "Without --data, the service shows an example."
        ) from None
    path = f"/v2/models/{name}/infer" if _is_v2(value) else "/predict"
    return Question("POST", path, text.encode(errors="surrogateescape"))


def _read(data: str) -> tuple[str, str]:
    """The text and where it came from."""
    if not data.startswith("@"):
        return data, "--data"
    path = Path(data[1:])
    try:
        if data == "@-":
            return sys.stdin.buffer.read().decode(), "standard input"
        return path.read_text(encoding="utf-8"), str(path)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InvalidInputError(f"--data {data}: cannot read the file: {reason}.", "Name a file with JSON.") from None


def _is_v2(value: Any) -> bool:
    """Whether it is a request of the Open Inference Protocol V2: an object with a list of named inputs."""
    inputs = value.get("inputs") if isinstance(value, dict) else None
    return (
        isinstance(inputs, list)
        and bool(inputs)
        and all(isinstance(item, dict) and "datatype" in item for item in inputs)
    )


def patience(service: dict[str, Any]) -> float:
    """How long an answer may take, in seconds: a little more than the gateway waits for it (`spec.routing.timeout`)."""
    wanted = service.get("spec", {}).get("routing", {}).get("timeout", _DEFAULT)
    return (parse_duration(wanted) or _LONGEST) + _MARGIN


async def ask_gateway(
    url: str, ask: Question, seconds: float, transport: httpx2.AsyncBaseTransport | None = None
) -> bytes:
    """The answer through the gateway at the service's URL. `UnreachableError` when nothing is there to answer.

    `WaitTimeoutError` after so many seconds without an answer: whether it was computed is not known then.
    """
    import httpx2  # noqa: PLC0415  # a quarter of a second that --via api does not need

    headers = {"content-type": "application/json"} if ask.body is not None else {}
    proxies = not _private(url)
    async with httpx2.AsyncClient(timeout=seconds, transport=transport, trust_env=proxies) as http:
        try:
            answer = await http.request(ask.method, url.rstrip("/") + ask.path, content=ask.body, headers=headers)
        except (httpx2.ReadTimeout, httpx2.WriteTimeout) as error:
            hint = "Give it more time: spec.routing.timeout. Or read `slipway logs`."
            raise WaitTimeoutError(f"The model service did not answer within {seconds:.0f} s.", hint) from error
        except httpx2.HTTPError as error:
            reason = str(error) or type(error).__name__
            raise UnreachableError(f"The gateway at {url} does not answer: {reason}.", "Try `--via api`.") from error
    if answer.is_success:
        return answer.content
    raise _refused(answer.status_code, answer.text)


def _private(url: str) -> bool:
    """Whether the host is an address of a private network, which a proxy of the environment cannot know."""
    try:
        return ipaddress.ip_address(urlsplit(url).hostname or "").is_private
    except ValueError:
        return False


async def ask_api(api: Client, namespace: str, name: str, ask: Question, seconds: float) -> bytes:
    """The answer through the API server's service proxy, which works on every cluster."""
    from slipway.kit.client import ApiError, Forbidden  # noqa: PLC0415  # as above

    path = SERVICE.url(namespace, f"http:{name}:{_PORT}", "proxy") + ask.path
    headers = {"content-type": "application/json"} if ask.body is not None else {}
    try:
        return await api.raw(ask.method, path, body=ask.body, headers=headers, patience=seconds)
    except Forbidden:
        raise
    except ApiError as error:
        raise _refused(error.status, error.message) from error


def _refused(status: int, text: str) -> FailedError:
    if status == _UNAVAILABLE:
        return FailedError(f"No replica is ready: {_reason(text)}", "See why with `slipway describe`.")
    hint = "Without --data, the service shows an example." if status < 500 else "Read `slipway logs`."  # noqa: PLR2004  # HTTP
    return FailedError(f"The model service answered {status}: {_reason(text)}", hint)


def _reason(text: str) -> str:
    """The sentence in an error's body (V2: an object with `error`)."""
    try:
        body = json.loads(text)
    except ValueError:
        body = text
    if isinstance(body, dict):
        body = body.get("error") or body.get("message") or text
    reason = " ".join(str(body).split())[:500] or "no reason given"
    return reason if reason.endswith((".", "!", "?")) else f"{reason}."
