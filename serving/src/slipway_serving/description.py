"""What Triton's clients ask about a model beyond the protocol: its configuration and its statistics."""

from __future__ import annotations

from typing import Any

from slipway_serving.datatypes import Datatype
from slipway_serving.models import ServedModel
from slipway_serving.signature import TensorSpec

_NANOSECONDS = 1e9
_TRITON_TYPES = {"BYTES": "TYPE_STRING"}


def config(model: ServedModel) -> dict[str, Any]:
    """The model's configuration in the form of Triton's `model_config.proto`, as far as there is something to say."""
    settings = model.source.config
    batching = settings.batching
    # Triton leaves the batch dimension out of `dims` where a model batches, and perf_analyzer adds it again.
    batch = batching.max_size if batching.max_size > 1 and model.signature.is_batch else 0
    document: dict[str, Any] = {
        "name": model.name,
        "platform": model.platform,
        "backend": model.platform,
        "max_batch_size": batch,
        "input": [_tensor(spec, batched=bool(batch)) for spec in model.signature.inputs],
        "output": [_tensor(spec, batched=bool(batch)) for spec in model.signature.all_outputs],
        "instance_group": [{"name": model.name, "kind": "KIND_CPU", "count": settings.instances}],
        "parameters": {key: {"string_value": str(value)} for key, value in settings.parameters.items()},
    }
    if batch:
        document["dynamic_batching"] = {
            "preferred_batch_size": list(batching.preferred_sizes),
            "max_queue_delay_microseconds": round(batching.max_delay * 1e6),
            "priority_levels": batching.priority_levels,
        }
    return document


def _tensor(spec: TensorSpec, *, batched: bool) -> dict[str, Any]:
    shape = [-1] if spec.shape is None else list(spec.shape)
    return {"name": spec.name, "data_type": triton_type(spec.datatype), "dims": shape[1:] if batched else shape}


def triton_type(datatype: Datatype) -> str:
    return _TRITON_TYPES.get(datatype.name, f"TYPE_{datatype.name}")


def statistics(model: ServedModel) -> dict[str, Any]:
    """Counts and times since the model was loaded, in the form of Triton's statistics extension; times in ns."""
    seen = model.metrics.totals

    def duration(count: int, seconds: float) -> dict[str, int]:
        return {"count": count, "ns": round(seconds * _NANOSECONDS)}

    return {
        "name": model.name,
        "version": model.version or "1",
        "last_inference": seen.last_milliseconds,
        "inference_count": seen.rows,
        "execution_count": seen.calls,
        "inference_stats": {
            "success": duration(seen.succeeded, seen.success_seconds),
            "fail": duration(seen.failed, seen.failure_seconds),
            "queue": duration(seen.calls, seen.queue_seconds),
            "compute_input": duration(seen.calls, 0),
            "compute_infer": duration(seen.calls, seen.compute_seconds),
            "compute_output": duration(seen.calls, 0),
        },
        "batch_stats": [
            {
                "batch_size": size,
                "compute_input": duration(calls, 0),
                "compute_infer": duration(calls, seconds),
                "compute_output": duration(calls, 0),
            }
            for size, (calls, seconds) in sorted(seen.batches.items())
        ],
    }
