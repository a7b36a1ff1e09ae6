"""Every wrong manifest of the table of refusals, sent to a real API server: it refuses the same, at the same field.

Sent as `kubectl apply --dry-run=server` sends a new object (a dry run with strict field validation), over one
connection: nothing is kept. A status is sent to the status of an object that exists, as the operator does.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Sequence
from typing import Any

import pytest

from slipway.api.lint import STATUS
from slipway.api.modelservice import RESOURCE
from slipway.api.samples import samples, steps
from slipway.cluster.lifecycle import Cluster
from slipway.kit.client import Invalid
from slipway.kit.objects import MODEL_SERVICE as KIND
from slipway.kit.rest import RestClient
from unit.api.refusals import ANY, MODEL_SERVICE, NULLS, TAKEN, UNSENT, Wrong, misspelled

from .services import apply
from .tools import kubectl

DRY = "dryRun=All&fieldValidation=Strict"
ALL = [wrong for wrong in [*MODEL_SERVICE, *misspelled(RESOURCE)] if wrong.server is not UNSENT]
SPECS = [wrong for wrong in ALL if steps(wrong.path)[0] != STATUS]
STATUSES = [wrong for wrong in ALL if steps(wrong.path)[0] == STATUS]

Answer = Invalid | None


async def _send(client: RestClient, method: str, path: str, body: Any, content_type: str) -> Answer:
    headers = {"Content-Type": content_type}
    try:
        await client.raw(method, f"{path}?{DRY}", body=json.dumps(body).encode(), headers=headers)
    except Invalid as refused:
        return refused
    return None


async def _created(cluster: Cluster, manifests: Sequence[Any]) -> list[Answer]:
    path = KIND.url("default")  # the namespace of the samples
    async with RestClient.from_kubeconfig(cluster.kubeconfig) as client:
        return [await _send(client, "POST", path, manifest, "application/json") for manifest in manifests]


async def _patched(cluster: Cluster, namespace: str, name: str, bodies: Sequence[Any]) -> list[Answer]:
    path = KIND.url(namespace, name, "status")
    async with RestClient.from_kubeconfig(cluster.kubeconfig) as client:
        return [await _send(client, "PATCH", path, body, "application/merge-patch+json") for body in bodies]


def faults(wrongs: Sequence[Wrong], answers: Sequence[Answer]) -> list[str]:
    """Where an answer is not what the table says, with the answer."""
    found = []
    for wrong, answer in zip(wrongs, answers, strict=True):
        if (answer is None) != (wrong.server is TAKEN):
            found.append(f"{wrong.sentence}\n  the API server: {answer.message if answer else 'accepted'}")
        elif answer and wrong.named not in {ANY, TAKEN} and not _names(answer, wrong.named):
            found.append(f"{wrong.sentence}\n  the API server does not name {wrong.named}: {answer.message}")
    return found


def _names(answer: Invalid, named: str) -> bool:
    """Whether a path is one of the causes, or stands in the message, not as a part of a longer one."""
    in_message = re.search(rf"(?<!\w){re.escape(named)}(?![\w\[])", answer.message)
    return named in {field for field, _ in answer.causes} or in_message is not None


def test_the_api_server_refuses_what_the_table_refuses(platform: Cluster) -> None:
    answers = asyncio.run(_created(platform, [wrong.manifest for wrong in SPECS]))
    assert faults(SPECS, answers) == []


def test_the_api_server_refuses_a_wrong_status(platform: Cluster, namespace: str) -> None:
    apply(platform, namespace, "refusals", "pvc://none")
    bodies = [{STATUS: wrong.manifest[STATUS]} for wrong in STATUSES]
    answers = asyncio.run(_patched(platform, namespace, "refusals", bodies))
    assert faults(STATUSES, answers) == []


def test_the_api_server_accepts_the_samples_and_nulls(platform: Cluster) -> None:
    manifests = samples("ModelService")
    nulls = [manifests[0] | {"spec": manifests[0]["spec"] | change} for change in NULLS]
    answers = asyncio.run(_created(platform, [*manifests, *nulls]))
    assert [answer.message for answer in answers if answer] == []


@pytest.mark.parametrize("verb", ["apply", "create"])
def test_kubectl_shows_the_field(platform: Cluster, verb: str) -> None:
    manifest = samples("ModelService")[0]
    manifest["spec"]["sever"] = {}
    shown = kubectl(platform, verb, "--dry-run=server", "-f", "-", check=False, stdin=json.dumps(manifest))
    assert 'unknown field "spec.sever"' in shown
