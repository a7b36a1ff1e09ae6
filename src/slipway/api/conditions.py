"""Conditions: what is true of an object, why, and since when."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import Field

from slipway.api.base import ApiModel, Text

Message = Annotated[str, Text(most=4096, least=0)]
Reason = Annotated[
    str,
    Text("[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?", "is not a reason", most=1024, hint="write one word in CamelCase"),
]
ConditionType = Annotated[
    str, Text("[A-Z][A-Za-z0-9]*", "is not a type of condition", most=316, hint="write one word in CamelCase")
]
Time = Annotated[
    str,
    Text(
        "[0-9]{4}(-[0-9]{2}){2}T[0-9]{2}(:[0-9]{2}){2}Z",
        "is not a time in UTC",
        most=64,
        hint="example: 2026-01-31T12:00:00Z",
    ),
]


class Condition(ApiModel):
    """One fact about an object, in the shape that all of Kubernetes uses."""

    type: ConditionType = Field(description="What the condition is about.")
    status: Literal["True", "False", "Unknown"] = Field(description="Whether it holds.")
    reason: Reason = Field(description="Why, in one word for programs.")
    message: Message | None = Field(default=None, description="Why, in a sentence for people.")
    last_transition_time: Time = Field(description="When `status` last changed.")
    observed_generation: int | None = Field(
        default=None, ge=0, description="The generation of the object that this is about."
    )


LIST_SET: Final[dict[str, Any]] = {"x-kubernetes-list-type": "set"}
LIST_ATOMIC: Final[dict[str, Any]] = {"x-kubernetes-list-type": "atomic"}


def list_map(*keys: str) -> dict[str, Any]:
    """The schema extension of a list whose items are told apart by `keys`, so that several writers can share it."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}


Conditions = Annotated[
    list[Condition],
    Field(max_length=16, description="What is true of the object now.", json_schema_extra=list_map("type")),
]
