"""What each method of the service answers. Raises RequestError; the server turns it into a status."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Callable
from typing import Any

from slipway_serving import __version__
from slipway_serving.apis import operations
from slipway_serving.apis.generate import items
from slipway_serving.apis.inference import Call, cause_of, off_loop
from slipway_serving.apis.v2 import EXTENSIONS, SERVER_NAME
from slipway_serving.codec.v2 import InferRequest
from slipway_serving.description import config, statistics
from slipway_serving.errors import InvalidInputError, NotFoundError, UnavailableError
from slipway_serving.grpc import codec, messages
from slipway_serving.grpc.calls import Message
from slipway_serving.http.messages import Request
from slipway_serving.models import ServedModel
from slipway_serving.repository import Repository
from slipway_serving.runtimes.base import Inference, StreamingRuntime

_OK = 200


class Service:
    """The methods, by the name that the protocol gives them."""

    def __init__(self, repository: Repository, is_draining: Callable[[], bool]) -> None:
        self._repository = repository
        self._is_draining = is_draining

    def refused(self, error: BaseException) -> None:
        """Counts the error of a request that got to no model."""
        self._repository.metrics.refused(cause_of(error))

    # Health and metadata

    async def ServerLive(self, _request: Any) -> Any:  # noqa: N802  # the protocol's names
        return messages.ServerLiveResponse(live=True)

    async def ServerReady(self, _request: Any) -> Any:  # noqa: N802
        return messages.ServerReadyResponse(ready=self.is_ready())

    def is_ready(self) -> bool:
        with contextlib.suppress(UnavailableError):
            self._repository.require_ready()
            return not self._is_draining()
        return False

    async def ModelReady(self, request: Any) -> Any:  # noqa: N802
        """As Triton's: a model that is not there is not ready, which is no error."""
        with contextlib.suppress(NotFoundError):
            model = self._repository.find(request.name, request.version)
            return messages.ModelReadyResponse(ready=model.is_ready and not self._is_draining())
        return messages.ModelReadyResponse(ready=False)

    async def ServerMetadata(self, _request: Any) -> Any:  # noqa: N802
        return messages.ServerMetadataResponse(name=SERVER_NAME, version=__version__, extensions=EXTENSIONS)

    async def ModelMetadata(self, request: Any) -> Any:  # noqa: N802
        model = self._ready(request.name, request.version)
        return messages.ModelMetadataResponse(**model.metadata(self._repository.versions(model.name)))

    async def ModelConfig(self, request: Any) -> Any:  # noqa: N802
        return messages.ModelConfigResponse(config=config(self._ready(request.name, request.version)))

    async def ModelStatistics(self, request: Any) -> Any:  # noqa: N802
        found = [self._repository.find(request.name, request.version)] if request.name else self._repository.all()
        return messages.ModelStatisticsResponse(model_stats=[statistics(model) for model in found])

    def _ready(self, name: str, version: str) -> ServedModel:
        model = self._repository.find(name, version)
        model.require_ready()
        return model

    # Repository

    async def RepositoryIndex(self, request: Any) -> Any:  # noqa: N802
        _check_repository(request)
        return messages.RepositoryIndexResponse(models=self._repository.index(ready=request.ready))

    async def RepositoryModelLoad(self, request: Any) -> Any:  # noqa: N802
        _check_repository(request)
        _check_parameters(request)
        await self._repository.load(request.model_name)
        return messages.RepositoryModelLoadResponse()

    async def RepositoryModelUnload(self, request: Any) -> Any:  # noqa: N802
        _check_repository(request)
        _check_parameters(request)
        await self._repository.unload(request.model_name)
        return messages.RepositoryModelUnloadResponse()

    # Inference

    async def infer(self, data: Message, request: Request) -> bytes:
        """A ModelInferResponse for a ModelInferRequest, both as they are on the wire."""
        model, call, decoded = await self._begin(data, request)
        try:
            outputs = await model.submit(Inference(decoded.inputs, decoded.outputs, decoded.parameters))
            answer = await off_loop(
                lambda: codec.encode(decoded, outputs, model.name, model.version), codec.writing(decoded, outputs)
            )
        except BaseException as error:
            call.fail(error)
            raise
        call.end(_OK)
        return answer

    async def stream(self, data: Message, request: Request) -> AsyncGenerator[bytes, None]:
        """The ModelInferResponses to one ModelInferRequest: one, or as many as a model yields.

        The last one says that it is. Of a model that yields any number that is an empty one, for those who ask for it.
        """
        model, call, decoded = await self._begin(data, request)
        try:
            ends_empty = _wants_empty_final(decoded)
            yields = isinstance(model.runtime, StreamingRuntime)
            source = items(model, Inference(decoded.inputs, decoded.outputs, decoded.parameters))
            async with contextlib.aclosing(source):
                while (outputs := await operations.next_item(source, model)) is not operations.END:
                    yield codec.encode(decoded, outputs, model.name, model.version, final=not yields)
            if yields and ends_empty:
                yield codec.encode(decoded, {}, model.name, model.version, final=True)
        except BaseException as error:
            call.fail(error)
            raise
        call.end(_OK)

    async def _begin(self, data: Message, request: Request) -> tuple[ServedModel, Call, InferRequest]:
        message, raw = codec.parse(data)
        model = self._repository.find(message.model_name, message.model_version)
        call = Call(model, request)
        try:
            model.require_ready()
            size = codec.reading(message, raw, len(data) - sum(map(len, raw)))
            return model, call, await off_loop(lambda: codec.decode(message, raw, model.signature), size)
        except BaseException as error:
            call.fail(error)
            raise


def _wants_empty_final(decoded: InferRequest) -> bool:
    value = decoded.parameters.pop(codec.WANTS_EMPTY_FINAL, False)
    if type(value) is not bool:
        raise InvalidInputError(f"parameters['{codec.WANTS_EMPTY_FINAL}'] must be a bool_param")
    return value


def _check_repository(request: Any) -> None:
    if request.repository_name:
        raise NotFoundError(f"there is no repository '{request.repository_name:.80}'; leave repository_name empty")


def _check_parameters(request: Any) -> None:
    unknown = sorted(key for key in request.parameters if key != "unload_dependents")
    if unknown:
        raise InvalidInputError(
            f"parameters['{unknown[0]:.80}'] is not possible: models are loaded as their files and model.yaml say"
        )
