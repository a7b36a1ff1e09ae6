"""What all models of the API have in common: names in camelCase, nothing unknown, nothing converted."""

from __future__ import annotations

import re
from dataclasses import KW_ONLY, dataclass
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    WithJsonSchema,
)
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema
from pydantic_core.core_schema import no_info_after_validator_function


class Refusal(ValueError):  # noqa: N818  # it is a sentence for a person, not a failure of ours
    """A value that is refused: what is wrong with it, and what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class ApiModel(BaseModel):
    """A part of an object. Unknown fields are refused; a number in quotes is not a number."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        alias_generator=to_camel,
        validate_by_alias=True,
        validate_by_name=True,
        serialize_by_alias=True,
    )


def rules(*pairs: tuple[str, str]) -> dict[str, Any]:
    """The schema extension for CEL rules: pairs of expression and the sentence that a person reads when it is false."""
    return {"x-kubernetes-validations": [{"rule": rule, "message": message} for rule, message in pairs]}


@dataclass(frozen=True, slots=True)
class Text:
    """The annotation of a string of `least` to `most` characters, all of which match `pattern`.

    People cannot read patterns: client and API server (through a CEL rule) answer with `says` and `hint`.
    """

    pattern: str = ""
    says: str = ""
    _: KW_ONLY
    most: int
    hint: str = ""
    least: int = 1

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, _schema: CoreSchema, _handler: GetJsonSchemaHandler) -> dict[str, Any]:
        schema: dict[str, Any] = {"type": "string", "maxLength": self.most}
        if self.least:
            schema["minLength"] = self.least
        if self.pattern:
            sentence = "; ".join(filter(None, (self.says, self.hint)))
            schema |= rules((f'self.matches("^{self.pattern}$")', sentence))
        return schema

    def _check(self, value: str) -> str:
        if not self.least <= len(value) <= self.most:
            raise Refusal(f"must have {self.least} to {self.most} characters, not {len(value)}", self.hint)
        if self.pattern and not re.fullmatch(self.pattern, value):
            raise Refusal(f"{value!r} {self.says}", self.hint)
        return value


def _quantity_text(value: Any) -> Any:
    if isinstance(value, float):
        raise Refusal(f"{value} is a fraction without a unit", f'write "{round(value * 1000)}m", or put it in quotes')
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


_QUANTITY = re.compile("[0-9]+([.][0-9]+)?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?")


def _check_quantity(value: str) -> str:
    if len(value) > 32 or not _QUANTITY.fullmatch(value):  # noqa: PLR2004  # the schema's maxLength, said below
        raise Refusal(f"{value!r} is not a quantity", "examples: 250m, 2, 512Mi, 1.5Gi")
    return value


Quantity = Annotated[
    str,
    BeforeValidator(_quantity_text),
    AfterValidator(_check_quantity),
    WithJsonSchema(
        {
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "x-kubernetes-int-or-string": True,
            "pattern": f"^{_QUANTITY.pattern}$",
            "maxLength": 32,
        }
    ),
]
"""A Kubernetes quantity: a whole number, or a number with a unit in quotes."""

Duration = Annotated[
    str,
    Text(
        "([0-9]{1,5}(h|m|s|ms)){1,4}",
        "is not a duration",
        most=32,
        hint="examples: 500ms, 60s, 1h30m (a unit is needed)",
    ),
]
"""A duration with units, as Gateway API writes it (GEP-2257)."""

DnsName = Annotated[
    str,
    Text(
        "[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*",
        "is not a DNS name",
        most=253,
        hint="use lower-case letters, digits, '-' and '.'",
    ),
]
"""The name of most objects, such as Secrets and ConfigMaps."""
