from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from slipway.cluster.errors import ClusterError
from slipway.cluster.rootfs import Interpreter, base_layer, kept
from slipway.progress import Step


@pytest.fixture
def step() -> Step:
    class Silent:
        def detail(self, text: str) -> None:
            """Nobody looks."""

    return Silent()


@pytest.mark.parametrize(
    "name",
    [
        "lib/x86_64-linux-gnu/libc.so.6",
        "lib64/ld-linux-x86-64.so.2",
        "lib/ld-linux-aarch64.so.1",
        "usr/lib/aarch64-linux-gnu/libssl.so.3",
        "usr/lib/python3.11/json/__init__.py",
        "usr/bin/python3.11",
        "usr/share/ca-certificates/mozilla/A.crt",
        "usr/share/doc/libssl3/copyright",
        "etc/os-release",
    ],
)
def test_the_base_has_what_python_needs(name: str) -> None:
    assert kept(name)


@pytest.mark.parametrize(
    "name",
    [
        "etc/hostname",
        "etc/resolv.conf",
        "etc/apt/sources.list",
        "dev/null",
        "bin/tar",
        "usr/bin/dpkg",
        "usr/bin/openssl",
        "usr/bin/python3.11-config",
        "usr/lib/python3.11/test/support/__init__.py",
        "usr/lib/x86_64-linux-gnu/perl-base/POSIX.pm",
        "usr/share/doc/libssl3/changelog.Debian.gz",
        "usr/share/man/man1/python3.11.1.gz",
        "var/lib/dpkg/status",
    ],
)
def test_the_base_has_no_tools_and_nothing_of_the_machine_that_built_it(name: str) -> None:
    assert not kept(name)


def test_a_machine_without_mmdebstrap_is_told_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: Step
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ClusterError, match="lacks") as failed:
        base_layer(tmp_path, step)
    assert failed.value.hint == "Install it: apt-get install -y mmdebstrap"


def fake_mmdebstrap(directory: Path, packages: Path) -> None:
    """A program that puts a ready archive where `mmdebstrap` would put its own: the last argument."""
    program = directory / "mmdebstrap"
    program.write_text(f'#!/bin/sh\nfor last; do :; done\necho "I: fetching"\nexec /bin/cp {packages} "$last"\n')
    program.chmod(0o755)


def test_what_a_failing_mmdebstrap_said_last_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: Step
) -> None:
    fake_mmdebstrap(tmp_path, tmp_path / "nothing.tar")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ClusterError, match=r"could not fetch[^\n]*\nI: fetching\n.*nothi") as failed:
        base_layer(tmp_path, step)
    assert "apt-get update" in failed.value.hint


def test_packages_without_certificates_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: Step) -> None:
    with tarfile.open(tmp_path / "packages", "w") as archive:
        archive.add(__file__, "./usr/lib/python3.11/x.py")
    fake_mmdebstrap(tmp_path, tmp_path / "packages")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ClusterError, match="no certificates"):
        base_layer(tmp_path, step)


def test_a_base_without_a_loader_is_refused(tmp_path: Path, step: Step) -> None:
    with pytest.raises(ClusterError, match="no program loader"):
        Interpreter(tmp_path).compile(tmp_path, ["usr"], step)
