"""The text of manifests, read as kubectl reads it: YAML or JSON, one or several documents.

What a lenient reader would let pass is refused: a field that is written twice, a document that is nested too deep,
too large, or made large by aliases, and tags of other programs. Dates stay text. Nothing here is faster than YAML in
Python, so the bounds also bound the time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite, nan
from typing import Any, Final

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

MOST_CHARACTERS: Final = 1_572_864
"""What etcd stores of one object: 1.5 MiB."""
MOST_DEPTH: Final = 64
MOST_VALUES: Final = 10_000
"""Fields, entries and texts of one document, those behind aliases counted each time."""

_CORE: Final = "tag:yaml.org,2002:"
_MERGE: Final = f"{_CORE}merge"
_NOT_TEXT: Final = {f"{_CORE}timestamp", f"{_CORE}value"}
"""What PyYAML makes of `2026-01-31` and `=`; for kubectl they are text."""
_TAGS: Final = {f"{_CORE}{name}" for name in ("str", "int", "float", "bool", "null", "seq", "map", "merge")}


class Unreadable(ValueError):  # noqa: N818  # it is a sentence for a person, not a failure of ours
    """Text that is no manifest: what is wrong, what to do, and where (from 1; 0 where no place is known)."""

    def __init__(self, message: str, hint: str = "", line: int = 0, column: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.line = line
        self.column = column


@dataclass(frozen=True, slots=True)
class Document:
    """One document: its value, and its nodes, which know lines and columns."""

    value: Any
    node: Node


def read(text: str) -> list[Document]:
    """The documents of a text, without empty ones. Raises `Unreadable`."""
    if len(text) > MOST_CHARACTERS:
        raise Unreadable("is larger than the 1.5 MiB that the API server stores", "put files on a volume")
    try:
        return list(_Loader(text).documents())
    except _Refused as error:
        raise _unreadable(error, error.problem or "", error.note or "") from error
    except yaml.MarkedYAMLError as error:
        twice = error.context if (error.context or "").startswith("found duplicate") else None
        raise _unreadable(error, f"not YAML: {twice or error.problem}", "correct the file") from error
    except yaml.reader.ReaderError as error:
        raise Unreadable(f"not YAML: {error.reason}", "correct the file") from error


def _unreadable(error: yaml.MarkedYAMLError, message: str, hint: str) -> Unreadable:
    mark = error.problem_mark
    return Unreadable(message, hint, mark.line + 1 if mark else 0, mark.column + 1 if mark else 0)


class _Refused(yaml.MarkedYAMLError):
    """Valid YAML that is no manifest; `note` is the hint."""


class _Loader(yaml.SafeLoader):
    """A loader that keeps count of what it builds while it builds it."""

    yaml_implicit_resolvers = {  # noqa: RUF012  # PyYAML's own attribute
        first: [(tag, pattern) for tag, pattern in resolvers if tag not in _NOT_TEXT]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0
        self._values = 0
        self._sizes: dict[int, tuple[int, int]] = {}  # by id of a finished node: how many values, how deep

    def documents(self) -> Iterator[Document]:
        """Each document that is not empty."""
        while self.check_node():
            node = self.get_node()
            value = self.construct_document(node) if node else None
            if node and value is not None:
                yield Document(value, node)
            self._values = 0

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        """As its base, within the bounds."""
        event = self.peek_event()  # type: ignore[no-untyped-call]  # PyYAML's types leave it out
        self._depth, self._values = self._depth + 1, self._values + 1
        self._check(self._values, self._depth, event.start_mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        if isinstance(event, yaml.AliasEvent):
            if id(node) not in self._sizes:
                raise _refused("an alias refers to what it is a part of", "write it out", event.start_mark)
        elif node is not None:
            if node.tag not in _TAGS:
                tag = node.tag.replace(_CORE, "!!")
                raise _refused(f"the tag {tag[:60]} is not for manifests", "remove it", event.start_mark)
            self._sizes[id(node)] = self._measure(node)
        return node

    def compose_mapping_node(self, anchor: Any) -> MappingNode:
        """As its base; keys are scalars, and each is written once."""
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, ScalarNode):
                raise _refused("a key is a list or an object", "write a string", key.start_mark)
            if (key.tag, key.value) in seen:
                raise _refused(f"the field {key.value[:60]!r} is written twice", "remove one of them", key.start_mark)
            seen.add((key.tag, key.value))
        return node

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        """As its base; a scalar that is not what its tag says is refused, and so is what JSON has no number for."""
        try:
            value = super().construct_object(node, deep)
        except (ValueError, KeyError):
            value = nan
        if isinstance(value, float) and not isfinite(value):
            kind = node.tag.removeprefix(_CORE)
            raise _refused(f"{node.value[:60]!r} is no {kind}", "put it in quotes", node.start_mark)
        return value

    def construct_scalar(self, node: Any) -> Any:
        """As its base; halves of a character, as JSON writes them, become one."""
        value = super().construct_scalar(node)
        if not isinstance(value, str) or value.isascii():
            return value
        try:
            return value.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            raise _refused("has half of a character", "write it in UTF-8", node.start_mark) from None

    def _measure(self, node: Node) -> tuple[int, int]:
        """How many values a finished node has, and how deep it is, aliases written out."""
        below: list[Node] = []
        if isinstance(node, SequenceNode):
            below = node.value
        elif isinstance(node, MappingNode):
            below = [part for pair in node.value for part in pair]
        sizes = [self._sizes[id(part)] for part in below]
        values, depth = 1 + sum(size[0] for size in sizes), 1 + max((size[1] for size in sizes), default=0)
        self._check(values, depth, node.start_mark)
        return values, depth

    def _check(self, values: int, depth: int, mark: yaml.Mark) -> None:
        if depth > MOST_DEPTH:
            raise _refused(f"is nested deeper than {MOST_DEPTH} levels", "write it flatter", mark)
        if values > MOST_VALUES:
            raise _refused(f"has more than {MOST_VALUES} values", "make it smaller", mark)


def _refused(problem: str, hint: str, mark: Any) -> _Refused:
    return _Refused(problem=problem, problem_mark=mark, note=hint)
