from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from slipway.fetch import FetchError, Job, Tools, fetch

from .server import Web, serving


@pytest.fixture
def web() -> Iterator[Web]:
    with serving() as running:
        yield running


@dataclass
class Fetcher:
    """Runs fetches against one server. Pauses are noted and not waited for."""

    web: Web
    directory: Path
    environment: dict[str, str] = field(default_factory=dict)
    pauses: list[float] = field(default_factory=list)
    stream: io.StringIO = field(default_factory=io.StringIO)

    async def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        await (
            asyncio.Event().wait() if seconds == 5.0 else asyncio.sleep(0)
        )  # the meter's lines have tests of their own

    def tools(self, **options: Any) -> Tools:
        known = {"environment": self.environment, "transport": self.web.transport, "stream": self.stream}
        return Tools(**{**known, "pause": self.pause, "chance": lambda: 1.0, "clock": time.monotonic, **options})

    def run(self, uri: str, tools: Tools | None = None, **options: Any) -> None:
        asyncio.run(fetch(Job(uri, self.directory, **options), tools or self.tools()))

    def fails(self, uri: str, **options: Any) -> str:
        """The sentence with which it fails; one line, as a person sees it."""
        with pytest.raises(FetchError) as failed:
            self.run(uri, **options)
        assert "\n" not in failed.value.sentence
        assert failed.value.sentence.endswith(".")
        return failed.value.sentence

    @property
    def files(self) -> dict[str, bytes]:
        """All that is in the directory, hidden files too."""
        found = {str(p.relative_to(self.directory)): p.read_bytes() for p in self.directory.rglob("*") if p.is_file()}
        return dict(sorted(found.items()))

    @property
    def said(self) -> list[str]:
        return [line.removeprefix("slipway-fetch: ") for line in self.stream.getvalue().splitlines()]


@pytest.fixture
def fetcher(web: Web, tmp_path: Path) -> Fetcher:
    return Fetcher(web, tmp_path / "model")
