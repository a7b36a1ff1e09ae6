from __future__ import annotations

import asyncio
import re
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

from prometheus_client import CollectorRegistry

import slipway.kit
from slipway.kit.metrics import Metrics
from slipway.kit.objects import CONFIG_MAP, SERVICE_ACCOUNT, Key
from slipway.kit.testing import ApiServer, virtual_time

PAGE = Path(__file__).parents[3] / "docs" / "kit.md"


@virtual_time
async def test_the_example_of_the_page_works():
    source = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert source is not None
    names: dict[str, Any] = {}
    exec(compile(source[1], str(PAGE), "exec"), names)  # noqa: S102  # our own page
    server = ApiServer()
    manager = names["operator"](server)
    task = asyncio.create_task(manager.run())
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "ada", "namespace": "default"}}
    server.put(SERVICE_ACCOUNT, account)
    await asyncio.sleep(1)
    assert server.objects(CONFIG_MAP)[Key("default", "ada")]["data"] == {"greeting": "Hello, ada"}
    server.remove(SERVICE_ACCOUNT, Key("default", "ada"))
    await asyncio.sleep(1)
    assert server.objects(CONFIG_MAP) == {}
    manager.stop()
    await task


def test_the_page_names_every_metric():
    page = PAGE.read_text(encoding="utf-8")
    families = Metrics(CollectorRegistry()).registry.collect()
    names = {family.name + ("_total" if family.type == "counter" else "") for family in families}
    told = set(re.findall(r"`((?:controller_runtime|workqueue|leader_election|rest_client|slipway_kit)_\w+)`", page))
    assert told == names


def test_the_parts_that_the_page_promises_are_there():
    page = PAGE.read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`.*?) \|", page, re.MULTILINE)
    parts = {name for row in rows for name in re.findall(r"`(\w+)[`(]", row)}
    modules = [import_module(f"slipway.kit.{module.name}") for module in iter_modules(slipway.kit.__path__)]
    assert len(parts) > 10
    assert [name for name in parts if not any(hasattr(module, name) for module in modules)] == []
