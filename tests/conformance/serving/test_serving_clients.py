"""Clients that others wrote, with their defaults, against a real server process."""

from __future__ import annotations

import clients


def expect_all_well(results: dict[str, str]) -> None:
    wrong = [f"{name}: {outcome}" for name, outcome in results.items() if outcome != "ok"]
    assert not wrong, "\n".join(wrong)
    assert len(results) >= 10


def test_tritonclient_over_http(server):
    expect_all_well(clients.run("triton.py", "http", server.http))


def test_tritonclient_over_grpc(server):
    expect_all_well(clients.run("triton.py", "grpc", server.grpc))


def test_the_clients_of_kserve(server):
    expect_all_well(clients.run("kserve_clients.py", server.url, server.grpc))


def test_the_client_of_openai(server):
    expect_all_well(clients.run("openai_client.py", server.url))
