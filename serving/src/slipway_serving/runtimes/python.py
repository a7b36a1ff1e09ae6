"""Python models: a class with `predict` and, where it needs one, `load`; either may be async.

    class Model:
        inputs = [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}]     # optional, as in model.yaml
        outputs = [{"name": "y", "datatype": "FP32", "shape": [-1]}]       # optional

        def load(self, directory, parameters): ...                         # optional; takes 0, 1 or 2 arguments
        def predict(self, inputs, parameters): ...                         # takes 1 or 2 arguments

`inputs` is a dict of numpy arrays by name (BYTES tensors: object arrays of `bytes`); `predict` returns such a dict, or
one array for the only output. It may raise `slipway_serving.InvalidInputError("…")` to refuse an input with a sentence.
"""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
import sys
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from slipway_serving.config import ModelConfig, parse_tensors
from slipway_serving.datatypes import Tensors
from slipway_serving.errors import InvalidInputError, ModelFailedError, ModelLoadError, did_you_mean
from slipway_serving.runtimes.base import Inference, Runtime, conform, declared_specs, specs_from
from slipway_serving.signature import Signature

OUTPUT = "output"


class PythonRuntime:
    """A model whose `predict` is a plain function."""

    def __init__(self, model: Any, signature: Signature) -> None:
        self.signature = signature
        self._predict = model.predict
        self._takes_parameters = _positional(model.predict) > 1

    def infer(self, request: Inference) -> Tensors:
        result = self._predict(*self._arguments(request))
        return named_outputs(result, request, self.signature)

    def _arguments(self, request: Inference) -> tuple[Any, ...]:
        return (request.inputs, request.parameters) if self._takes_parameters else (request.inputs,)

    def close(self) -> None:
        del self._predict


class AsyncPythonRuntime(PythonRuntime):
    """A model whose `predict` is a coroutine function: its calls share one event loop, in a thread of its own."""

    def __init__(self, model: Any, signature: Signature, loop: LoopThread) -> None:
        super().__init__(model, signature)
        self._loop = loop

    def start(self, request: Inference) -> Future[Tensors]:
        return self._loop.submit(self._run(request))

    def infer(self, request: Inference) -> Tensors:
        return self.start(request).result()

    async def _run(self, request: Inference) -> Tensors:
        result = await self._predict(*self._arguments(request))
        return named_outputs(result, request, self.signature)

    def close(self) -> None:
        super().close()
        self._loop.close()


class LoopThread:
    """An event loop in a thread that does not keep the process alive."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="model-loop", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self._loop.run_forever()
        self._loop.close()

    def submit(self, coroutine: Coroutine[Any, Any, Any]) -> Future[Any]:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=5)


def load(path: Path, config: ModelConfig) -> Runtime:
    model = _construct(_import(path), path, config)
    is_async = inspect.iscoroutinefunction(model.predict)
    loop = LoopThread() if is_async else None
    load_model = getattr(model, "load", None)
    if load_model is not None:
        _run_load(load_model, (path.parent, dict(config.parameters))[: _positional(load_model)], path, loop)
    signature = _signature(model, config)
    return PythonRuntime(model, signature) if loop is None else AsyncPythonRuntime(model, signature, loop)


def named_outputs(result: Any, request: Inference, signature: Signature) -> Tensors:
    """What `predict` returned, as arrays by name, only those asked for. Raises ModelFailedError for anything else."""
    if not isinstance(result, dict):
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
    if not callable(getattr(model_class, "predict", None)):
        raise ModelLoadError(f"class {config.class_name} in {path} has no method predict(inputs)")
    try:
        return model_class()
    except Exception as error:
        raise _failed(f"{config.class_name}() in {path}", error) from error


def _run_load(load_model: Callable[..., Any], arguments: tuple[Any, ...], path: Path, loop: LoopThread | None) -> None:
    try:
        result = load_model(*arguments)
        if inspect.iscoroutine(result):
            if loop is None:
                asyncio.run(result)
            else:
                loop.submit(result).result()
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
