"""Layers of Python packages: other people's, pinned and hashed, from the package index; and our own sources."""

from __future__ import annotations

import hashlib
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from slipway.cluster.errors import ClusterError
from slipway.cluster.rootfs import Interpreter
from slipway.cluster.tools import run
from slipway.oci import Layer
from slipway.oci.image import architecture
from slipway.progress import Step

SITE = "usr/local/lib/python3.11/dist-packages"
PYTHON_VERSION = "3.11"
GLIBC = range(36, 4, -1)  # minor versions of glibc 2 that wheels may be built for; the base has 2.36
WHEEL_ARCHITECTURES = {"amd64": "x86_64", "arm64": "aarch64"}
PRUNED = re.compile(r"bin(/.*)?|(?!numpy/_core/tests/_natype\.py)(.*/)?tests/.*|.*\.(pyi|pyx|pxd|a)|.*/__pycache__/.*")
"""Left out: command wrappers, tests (but for a module that numpy.testing imports), and what only compilers read."""
IGNORED = {"__pycache__", "_data"}


@dataclass(frozen=True, slots=True)
class Command:
    """A command of ours, and the module whose `main()` it calls."""

    name: str
    module: str


OPERATOR = Command("slipway-operator", "slipway.operator")
SERVER = Command("slipway-serve", "slipway_serving.main")
FETCHER = Command("slipway-fetch", "slipway.fetch.main")


def requirements_layer(requirements: Path, interpreter: Interpreter, work: Path, step: Step) -> Layer:
    """The packages of a lock file with hashes, compiled. `work` is an empty directory that the layer reads from."""
    site = work / SITE
    install(requirements, site, step)
    prune(site)
    step.detail("compiling")
    interpreter.compile(work, [SITE], step)
    return Layer.of_directory(work)


def install(requirements: Path, target: Path, step: Step) -> None:
    """Unpacks the wheels of a lock file for the image's Python, whatever Python runs this. Nothing is executed."""
    machine = WHEEL_ARCHITECTURES.get(architecture(), architecture())
    platforms = [f"--platform=manylinux_2_{minor}_{machine}" for minor in GLIBC]
    options = ["--only-binary=:all:", f"--python-version={PYTHON_VERSION}", "--implementation=cp", *platforms]
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-compile", "--progress-bar=off"]
    run(
        [*command, *options, f"--target={target}", "--require-hashes", "-r", str(requirements)],
        step,
        f"The packages of {requirements.name} could not be installed:",
        "Check that pip works here: python -m pip download pip",
    )


def prune(site: Path) -> None:
    """Removes what no image needs."""
    for path in sorted(site.rglob("*"), reverse=True):
        if path.is_dir():
            if not any(path.iterdir()):
                path.rmdir()
        elif PRUNED.fullmatch(path.relative_to(site).as_posix()):
            path.unlink()


def source_layer(package: Path, command: Command, interpreter: Interpreter, work: Path, step: Step) -> Layer:
    """Our own package, compiled, and its command in `/usr/local/bin`."""
    for file in source_files(package):
        target = work / SITE / package.name / file.relative_to(package)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    interpreter.compile(work, [SITE], step)
    wrapper = work / "usr/local/bin" / command.name
    wrapper.parent.mkdir(parents=True)
    text = f"#!/usr/bin/python3.11 -s\nimport sys\n\nfrom {command.module} import main\n\nsys.exit(main())\n"
    wrapper.write_text(text, encoding="ascii")
    wrapper.chmod(0o755)
    return Layer.of_directory(work)


def source_files(package: Path) -> Iterator[Path]:
    """The files of a package of ours, sorted."""
    if not package.is_dir():
        raise ClusterError(f"The sources of {package.name} are not at {package}.", "Install the platform again.")
    for path in sorted(package.rglob("*")):
        if path.is_file() and not IGNORED & set(path.relative_to(package).parts):
            yield path


def source_key(package: Path) -> str:
    """A digest that changes with every byte and name of the package."""
    digest = hashlib.sha256()
    for file in source_files(package):
        name, content = file.relative_to(package).as_posix(), file.read_bytes()
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()
