from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

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
