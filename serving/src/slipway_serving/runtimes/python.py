"""Python models: a class with `predict` and, where it needs one, `load`; each may be async, and `predict` may yield.

    class Model:
        inputs = [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}]     # optional, as in model.yaml
        outputs = [{"name": "y", "datatype": "FP32", "shape": [-1]}]       # optional

        def load(self, directory, parameters): ...                         # optional; takes 0, 1 or 2 arguments
        def predict(self, inputs, parameters): ...                         # takes 1 or 2 arguments

        def chat_completions(self, request): ...                           # these are optional, too; with one of them
        def completions(self, request): ...                                # predict is
        def embeddings(self, request): ...
        def explain(self, inputs): ...

`inputs` is a dict of numpy arrays by name (BYTES tensors: object arrays of `bytes`); `predict` returns such a dict, or
one array for the only output. Where it yields, each item is such an answer, and the request is answered with a stream.
It may raise `slipway_serving.InvalidInputError("…")` to refuse an input with a sentence.

`request` is the decoded body of OpenAI's API; what the method returns is the answer's body, and each item that it (or
the generator that it returns) yields is the body of a chunk.

`async` methods run side by side on an event loop of the model's own. Of the others at most `instances` run at once,
each in one thread from its beginning to its end.
"""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import itertools
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from slipway_serving.config import ModelConfig, parse_tensors
from slipway_serving.datatypes import Tensors
from slipway_serving.errors import InvalidInputError, ModelFailedError, ModelLoadError, did_you_mean
from slipway_serving.runtimes.base import OPERATIONS, Inference, Runtime, Stream
from slipway_serving.runtimes.operations import Calls
from slipway_serving.runtimes.tensors import conform, declared_specs, specs_from
from slipway_serving.signature import Signature

OUTPUT = "output"


class PythonRuntime:
    """A model whose `predict` is a plain function, or that has none."""

    def __init__(self, model: Any, signature: Signature, calls: Calls) -> None:
        self.signature = signature
        self.operations = frozenset(name for name in OPERATIONS if callable(getattr(model, name, None)))
        self._model = model
        self._calls = calls
        self._predict: Callable[..., Any] = getattr(model, "predict", self._no_predict)
        self._takes_parameters = _positional(self._predict) > 1

    def infer(self, request: Inference) -> Tensors:
        # Where other functions of the model run in threads, predict takes its turn among them: `instances` is for all.
        return self._calls.run(self._answer, request) if self.operations else self._answer(request)

    async def call(self, operation: str, payload: Any) -> Any | Stream[Any]:
        if operation not in self.operations:
            raise InvalidInputError(f"the model has no {operation:.40}; {self._offers()}")
        return await self._calls.call(getattr(self._model, operation), payload)

    def settle(self) -> None:
        """Waits, where there is one thread, until no plain function runs in it any more; blocks."""
        self._calls.run(lambda: None)

    def close(self) -> None:
        self._calls.close()
        del self._predict, self._model

    def _answer(self, request: Inference) -> Tensors:
        return named_outputs(self._predict(*self._arguments(request)), request, self.signature)

    def _arguments(self, request: Inference) -> tuple[Any, ...]:
        return (request.inputs, request.parameters) if self._takes_parameters else (request.inputs,)

    def _no_predict(self, _inputs: Tensors) -> Tensors:
        raise InvalidInputError(f"the model has no predict; {self._offers()}")

    def _offers(self) -> str:
        return f"it offers: {', '.join(sorted(self.operations))}" if self.operations else "it offers predict only"


class GeneratorRuntime(PythonRuntime):
    """A model whose `predict` yields: each item is an answer of its own."""

    def infer(self, request: Inference) -> Tensors:
        return self._calls.run(self._only, request)

    def stream(self, request: Inference) -> Stream[Tensors]:
        return self._calls.stream(self._items, request)

    def _items(self, request: Inference) -> Generator[Tensors, None, None]:
        with contextlib.closing(self._predict(*self._arguments(request))) as results:
            for result in results:
                yield named_outputs(result, request, self.signature)

    def _only(self, request: Inference) -> Tensors:
        with contextlib.closing(self._items(request)) as items:
            return _only_item(list(itertools.islice(items, 2)))


class AsyncPythonRuntime(PythonRuntime):
    """A model whose `predict` is a coroutine function: its calls share one event loop, in a thread of its own."""

    def start(self, request: Inference) -> Future[Tensors]:
        return self._calls.loop.submit(self._run(request))

    def infer(self, request: Inference) -> Tensors:
        return self.start(request).result()

    async def _run(self, request: Inference) -> Tensors:
        result = await self._predict(*self._arguments(request))
        return named_outputs(result, request, self.signature)


class AsyncGeneratorRuntime(AsyncPythonRuntime):
    """A model whose `predict` is an async generator."""

    def stream(self, request: Inference) -> Stream[Tensors]:
        return self._calls.stream(self._items, request)

    async def _items(self, request: Inference) -> AsyncGenerator[Tensors, None]:
        async with contextlib.aclosing(self._predict(*self._arguments(request))) as results:
            async for result in results:
                yield named_outputs(result, request, self.signature)

    async def _run(self, request: Inference) -> Tensors:
        found: list[Tensors] = []
        async with contextlib.aclosing(self._items(request)) as items:
            async for item in items:
                found.append(item)
                if len(found) > 1:
                    break
        return _only_item(found)


def _only_item(found: list[Tensors]) -> Tensors:
    if len(found) != 1:
        count = "several items" if found else "no item"
        raise InvalidInputError(
            f"the model streams, and yielded {count} for this request where exactly one can be answered here; "
            "ask for a stream"
        )
    return found[0]


def load(path: Path, config: ModelConfig) -> Runtime:
    model = _construct(_import(path), path, config)
    predict = getattr(model, "predict", None)
    runtime = _runtime_class(predict)
    if issubclass(runtime, (GeneratorRuntime, AsyncGeneratorRuntime)) and config.batching.max_size > 1:
        raise ModelLoadError(
            f"class {config.class_name} in {path} cannot batch: its predict yields", "remove 'batching' from model.yaml"
        )
    calls = Calls(config.instances, config.batching.queue_size)
    load_model = getattr(model, "load", None)
    try:
        if load_model is not None:
            arguments = (path.parent, dict(config.parameters))[: _positional(load_model)]
            _run_load(load_model, arguments, path, calls)
        return runtime(model, _signature(model, config), calls)
    except BaseException:
        calls.close()
        raise


def _runtime_class(predict: Any) -> type[PythonRuntime]:
    if inspect.isasyncgenfunction(predict):
        return AsyncGeneratorRuntime
    if inspect.iscoroutinefunction(predict):
        return AsyncPythonRuntime
    return GeneratorRuntime if inspect.isgeneratorfunction(predict) else PythonRuntime


def named_outputs(result: Any, request: Inference, signature: Signature) -> Tensors:
    """What `predict` returned, as arrays by name, only those asked for. Raises ModelFailedError for anything else."""
    if not isinstance(result, dict):
        if isinstance(result, (Iterator, AsyncIterator, Awaitable)):
            raise ModelFailedError(
                f"predict returned a {type(result).__name__}; write predict itself with yield, or with async"
            )
        names = [spec.name for spec in signature.all_outputs] or [OUTPUT]
        if len(names) != 1:
            raise ModelFailedError(
                f"the model has {len(names)} outputs, so predict must return a dict of arrays by name"
            )
        result = {names[0]: result}
    specs = {spec.name: spec for spec in signature.all_outputs}
    outputs = {str(name): conform(value, specs.get(str(name))) for name, value in result.items()}
    wanted = request.outputs or tuple(specs) or tuple(outputs)
    for name in wanted:
        if name not in outputs and specs:
            raise ModelFailedError(f"predict did not return output '{name}'")
        if name not in outputs:
            raise InvalidInputError(f"the model has no output '{name:.80}'; {did_you_mean(name, outputs)}")
    return {name: outputs[name] for name in wanted}


def _import(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(f"slipway_model_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ModelLoadError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise _failed(f"importing {path}", error) from error
    return module


def _construct(module: Any, path: Path, config: ModelConfig) -> Any:
    model_class = getattr(module, config.class_name, None)
    if not inspect.isclass(model_class):
        classes = [name for name, item in vars(module).items() if inspect.isclass(item) and hasattr(item, "predict")]
        raise ModelLoadError(
            f"{path} has no class '{config.class_name}'",
            did_you_mean(config.class_name, classes) or "add one with predict",
        )
    if not any(callable(getattr(model_class, name, None)) for name in ("predict", *OPERATIONS)):
        raise ModelLoadError(
            f"class {config.class_name} in {path} has no method predict(inputs)", f"nor {', '.join(OPERATIONS)}"
        )
    try:
        return model_class()
    except Exception as error:
        raise _failed(f"{config.class_name}() in {path}", error) from error


def _run_load(load_model: Callable[..., Any], arguments: tuple[Any, ...], path: Path, calls: Calls) -> None:
    try:
        result = load_model(*arguments)
        if inspect.iscoroutine(result):
            calls.loop.submit(result).result()
    except Exception as error:
        raise _failed(f"load() of {path}", error) from error


def _failed(what: str, error: Exception) -> ModelLoadError:
    """The sentence with the line of the model that raised; the traceback stays in the exception's cause."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f" ({Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno})" if trace else ""
    return ModelLoadError(f"{what} raised {type(error).__name__}: {str(error)[:300]}{place}")


def _signature(model: Any, config: ModelConfig) -> Signature:
    try:
        own_inputs = parse_tensors(getattr(model, "inputs", ()), "inputs")
        own_outputs = parse_tensors(getattr(model, "outputs", ()), "outputs")
    except ValueError as error:
        raise ModelLoadError(f"class {type(model).__name__}: {error}") from None
    inputs = declared_specs(tuple(specs_from(own_inputs, "input")), config.inputs, "input")
    outputs = declared_specs(tuple(specs_from(own_outputs, "output")), config.outputs, "output")
    return Signature(inputs, outputs)


def _positional(function: Callable[..., Any]) -> int:
    """How many arguments a bound method takes by position."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(parameter.kind in kinds for parameter in inspect.signature(function).parameters.values())
