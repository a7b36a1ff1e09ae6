"""Clients that others wrote, with their defaults, against a real server process."""

from __future__ import annotations

import clients


def wrong(results: dict[str, str]) -> dict[str, str]:
    assert len(results) >= 10
    return {name: outcome for name, outcome in results.items() if outcome != "ok"}


def test_tritonclient_over_http(server):
    assert wrong(clients.run("triton.py", "http", server.http)) == {}


def test_tritonclient_over_grpc(server):
    assert wrong(clients.run("triton.py", "grpc", server.grpc)) == {}


def test_the_clients_of_kserve(server):
    assert wrong(clients.run("kserve_clients.py", server.url, server.grpc)) == {}


def test_the_client_of_openai(server):
    assert wrong(clients.run("openai_client.py", server.url)) == {}
