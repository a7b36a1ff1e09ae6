"""What every runtime offers: the interface between the server and whatever runs a model.

A runtime has a `signature`, `infer` and `close` (`Runtime`). What it can do besides, it shows by having the methods;
the server asks with `isinstance`:

| protocol | has | for |
|---|---|---|
| `AsyncRuntime` | `start` | models that wait rather than compute: any number of calls side by side |
| `StreamingRuntime` | `stream` | models that answer one request with several items (Triton calls them decoupled) |
| `OperationsRuntime` | `operations`, `call` | chat_completions, completions, embeddings, explain |

Errors are the same everywhere: a RequestError goes to the client as it is, anything else is the model's failure (500).

How a streaming answer is read, always on the event loop that asked for it:

    async with contextlib.aclosing(runtime.stream(request)) as items:
        async for tensors in items:          # dicts of arrays, as `infer` returns them; errors are raised here
            ...

    answer = await runtime.call("chat_completions", request)
    if isinstance(answer, Stream):           # the model's method yields, or returned a generator
        async with contextlib.aclosing(answer) as chunks:
            async for chunk in chunks:       # whatever the model yielded
                ...
    else:
        ...                                  # whatever the model returned

Leaving the block early, or being cancelled in it, closes the model's generator: it sees GeneratorExit at its next
`yield` (an async one is cancelled where it waits). A generator runs a few items ahead of its reader, then waits for it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar, runtime_checkable

from slipway_serving.config import ModelConfig
from slipway_serving.datatypes import Tensors
from slipway_serving.errors import ModelLoadError
from slipway_serving.runtimes.formats import FORMATS, format_of, import_runtime, reason
from slipway_serving.signature import Signature

__all__ = [
    "FORMATS",
    "OPERATIONS",
    "AsyncRuntime",
    "Inference",
    "OperationsRuntime",
    "Runtime",
    "Stream",
    "StreamingRuntime",
    "format_of",
    "load_runtime",
    "warm_up",
]

T_co = TypeVar("T_co", covariant=True)

OPERATIONS: Final = ("chat_completions", "completions", "embeddings", "explain")
"""What a model may offer besides `predict`. The first three get the decoded body of OpenAI's request (a dict) and
answer with the body of its answer, or of its chunks, not yet encoded; `explain` gets the tensors (a dict of arrays)
that `predict` would get, and answers with anything that is JSON once its arrays are lists."""


@dataclass(frozen=True, slots=True)
class Inference:
    """One call of a model."""

    inputs: Tensors
    outputs: tuple[str, ...] = ()
    """Names asked for; empty means the default outputs."""
    parameters: dict[str, Any] = field(default_factory=dict)
    contexts: tuple[Any, ...] = ()
    """The OpenTelemetry contexts of the requests that share the call; empty where nobody traces."""


@runtime_checkable
class Runtime(Protocol):
    """A loaded model. `infer` blocks; it is called off the event loop, by several threads where `instances` says so."""

    signature: Signature

    def infer(self, request: Inference) -> Tensors:
        """Runs the model. A RequestError goes to the client as it is; anything else is the model's failure (500)."""

    def close(self) -> None:
        """Lets go of what the model holds; nothing runs any more."""


@runtime_checkable
class AsyncRuntime(Runtime, Protocol):
    """A model that waits rather than computes: requests run side by side on its own event loop."""

    def start(self, request: Inference) -> Future[Tensors]:
        """Begins a call and returns at once. Cancelling the future cancels the call."""


@runtime_checkable
class Stream(Protocol[T_co]):
    """Items one after another, and `aclose` for a reader that has enough. Every async generator is one."""

    def __aiter__(self) -> AsyncIterator[T_co]: ...

    def __anext__(self) -> Awaitable[T_co]: ...

    def aclose(self) -> Awaitable[None]: ...


@runtime_checkable
class StreamingRuntime(Runtime, Protocol):
    """A model that answers with any number of items.

    Its `infer` answers where the model yields exactly one item, as Triton's `generate` does, and raises
    InvalidInputError for any other number: nothing is lost silently.
    """

    def stream(self, request: Inference) -> Stream[Tensors]:
        """Begins a call and returns at once. Called on an event loop. Raises OverloadedError or UnavailableError."""


@runtime_checkable
class OperationsRuntime(Runtime, Protocol):
    """A model that may do more than `infer`."""

    operations: frozenset[str]
    """Those of OPERATIONS that this model has; it may be empty."""

    async def call(self, operation: str, payload: Any) -> Any | Stream[Any]:
        """Runs an operation and returns what the model returned, or a Stream where it yields.

        A Stream comes before the first line of the model's generator runs. Cancelling the
        call cancels a coroutine; a plain function runs to its end, unheard. Raises InvalidInputError for an operation
        that the model does not have, OverloadedError, UnavailableError, and what the model raises.
        """


def load_runtime(path: Path, config: ModelConfig) -> Runtime:
    """Loads a model file. Raises ModelLoadError with a sentence that says what to do."""
    kind = format_of(path, config.format)
    module = import_runtime(kind)
    if not kind.custom:
        runtime: Runtime = module.load(path, config)
        return runtime
    try:
        made = module.load(path, config)
    except ModelLoadError:
        raise
    except Exception as error:
        raise ModelLoadError(f"the runtime '{kind.name}' could not load {path}: {reason(error)}") from error
    if not isinstance(made, Runtime):
        raise ModelLoadError(
            f"load of the runtime '{kind.name}' returned {type(made).__name__}, which is no Runtime",
            "it needs a signature and the methods infer and close: slipway_serving.Runtime describes them",
        )
    return made


def warm_up(runtime: Runtime, request: Inference) -> None:
    """One call whose answer nobody needs; of a stream, the first item. Blocks; not for an event loop's thread."""
    if not isinstance(runtime, StreamingRuntime):
        runtime.infer(request)
        return
    streaming = runtime

    async def first() -> None:
        async with contextlib.aclosing(streaming.stream(request)) as items:
            async for _ in items:
                break

    asyncio.run(first())
