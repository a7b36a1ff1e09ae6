"""Runs cases one after the other, and prints what came of each as one line of JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np

LIMITS = {
    f"{sign}{bits}": np.array([[np.iinfo(kind).min, 0], [1, np.iinfo(kind).max]], dtype=kind)
    for sign, letters in (("UINT", "u"), ("INT", "i"))
    for bits, kind in ((8, f"{letters}1"), (16, f"{letters}2"), (32, f"{letters}4"), (64, f"{letters}8"))
}
ARRAYS: dict[str, Any] = {
    "BOOL": np.array([[True, False], [False, True]]),
    **LIMITS,
    "FP16": np.array([[0.5, -2.0], [65504.0, 0.0]], dtype=np.float16),
    "FP32": np.array([[0.5, -3.4028235e38], [1e-45, 0.1]], dtype=np.float32),
    "FP64": np.array([[0.1, -1.7976931348623157e308], [5e-324, 3.141592653589793]]),
    "BYTES": np.array([[b"", b"a"], ["größe".encode(), b"\xff\x00"]], dtype=np.object_),
}
TEXTS = np.array([["", 'a"\\\n'], ["größe", "😀"]], dtype=np.object_)


class Cases:
    """Named cases; a decorator adds one."""

    def __init__(self) -> None:
        self._cases: dict[str, Callable[[], Any]] = {}

    def __call__(self, name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        def add(case: Callable[..., Any]) -> Callable[..., Any]:
            self._cases[name] = case
            return case

        return add

    def add(self, name: str, case: Callable[[], Any]) -> None:
        self._cases[name] = case

    def run(self) -> None:
        print(json.dumps({name: _outcome(case) for name, case in self._cases.items()}))


def _outcome(case: Callable[[], Any]) -> str:
    try:
        case()
    except Exception as error:  # noqa: BLE001  # whatever it is, the test shows it
        return f"{type(error).__name__}: {error}"[:500] or "failed"
    return "ok"


def same(sent: Any, got: Any) -> None:
    """Fails unless two arrays are of one datatype and shape, and equal."""
    assert got is not None, "no such output"
    assert got.shape == sent.shape, f"shape {got.shape}, not {sent.shape}"
    assert got.dtype == sent.dtype, f"dtype {got.dtype}, not {sent.dtype}"
    assert got.tolist() == sent.tolist(), f"got {got.tolist()!r}"


def refused(error: type[Exception], text: str, call: Callable[[], Any]) -> None:
    """Fails unless a call raises, with a text."""
    try:
        result = call()
    except error as raised:
        if text.lower() not in str(raised).lower():
            raise AssertionError(f"the message is {raised}") from None
    else:
        raise AssertionError(f"it was answered: {result!r:.200}")
