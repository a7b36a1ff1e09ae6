"""The base of the platform's images: Debian's Python and C libraries, and nothing that could be run beside them.

`mmdebstrap` resolves, downloads and verifies the packages; they are unpacked and not installed, so there is no shell,
no package manager and no setuid program in the result, and no right is needed to make it.
"""

from __future__ import annotations

import re
import shutil
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from slipway.cluster.errors import ClusterError
from slipway.cluster.tools import run
from slipway.oci import Entry, Layer, entries_of
from slipway.progress import Step

SUITE = "bookworm"
PACKAGES = ("base-files", "ca-certificates", "libgomp1", "libstdc++6", "python3.11")
PYTHON = "usr/bin/python3.11"
STANDARD_LIBRARY = "usr/lib/python3.11"
CERTIFICATES = "etc/ssl/certs/ca-certificates.crt"
USER = "65532"
KEPT = re.compile(
    r"(lib|lib64|usr/lib/[a-z0-9_]+-linux-gnu|usr/lib/python3(\.11)?|usr/lib/ssl)(/.*)?"
    r"|usr/bin/python3\.11|usr/lib/os-release|etc/os-release|etc/(ssl/openssl\.cnf|mime\.types|netconfig)"
    r"|usr/share/ca-certificates/mozilla/.*|usr/share/doc/[^/]+/copyright"
)
DROPPED = re.compile(
    r"lib/systemd.*|usr/lib/[^/]+/(gconv|perl.*|krb5)(/.*)?|usr/lib/ssl/misc.*"
    r"|usr/lib/python3\.11/(test|pydoc_data|ensurepip|idlelib|unittest/test)(/.*)?"
)
FILES = {
    "etc/passwd": f"root:x:0:0:root:/root:/sbin/nologin\nslipway:x:{USER}:{USER}:slipway:/tmp:/sbin/nologin\n",
    "etc/group": f"root:x:0:\nslipway:x:{USER}:\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}
RECIPE = repr((SUITE, PACKAGES, KEPT.pattern, DROPPED.pattern, FILES))
"""Everything but the mirror's state of the day that decides what the base is."""


def base_layer(work: Path, step: Step) -> Layer:
    """Makes the base in an empty directory, which the layer reads from. Raises `ClusterError`."""
    archive, root = work / "packages.tar", work / "base"
    _bootstrap(archive, step)
    step.detail("unpacking")
    _unpack(archive, root)
    archive.unlink()
    _certificates(root)
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="ascii")
    step.detail("compiling the standard library")
    Interpreter(root).compile(root, [STANDARD_LIBRARY], step)
    return Layer.of([*entries_of(root), Entry("tmp", mode=0o1777)])


def _bootstrap(archive: Path, step: Step) -> None:
    if shutil.which("mmdebstrap") is None:
        raise ClusterError(
            "Building images needs mmdebstrap, which this machine lacks.",
            "Install it: apt-get install -y mmdebstrap",
        )
    command = ["mmdebstrap", "--variant=extract", f"--include={','.join(PACKAGES)}", SUITE, str(archive)]
    run(command, step, "mmdebstrap could not fetch Debian's packages:", "Check that `apt-get update` works here.")


def _unpack(archive: Path, root: Path) -> None:
    """Only what the base needs: what mmdebstrap takes over from this machine, like its host name, is left out."""
    with tarfile.open(archive) as content:
        members = [member for member in content if kept(member.name.removeprefix("./"))]
        files = [member for member in members if not member.isdir()]
        content.extractall(root, files, filter="tar")


def kept(name: str) -> bool:
    """Whether a path of Debian's packages is part of the base."""
    return bool(KEPT.fullmatch(name)) and not DROPPED.fullmatch(name)


def _certificates(root: Path) -> None:
    """One bundle of all authorities, as `update-ca-certificates` would make it."""
    single = root / "usr/share/ca-certificates"
    texts = [file.read_text(encoding="ascii").strip() + "\n" for file in sorted(single.rglob("*.crt"))]
    if not texts:
        raise ClusterError("Debian's ca-certificates package has no certificates.", "Check the apt sources.")
    (root / CERTIFICATES).parent.mkdir(parents=True, exist_ok=True)
    (root / CERTIFICATES).write_text("".join(texts), encoding="ascii")
    shutil.rmtree(single)


@dataclass(frozen=True, slots=True)
class Interpreter:
    """The Python of a base below a directory: bytecode is that of the image whatever Python the machine has."""

    root: Path

    def compile(self, directory: Path, names: list[str], step: Step) -> None:
        """Compiles what lies below these names of a directory that is the image's root.

        The bytecode is never compared with its source again, and a function of it alone.
        """
        targets = [str(directory / name) for name in names]
        options = ["-q", "-j0", "--invalidation-mode", "unchecked-hash", "-s", str(directory), "-p", "/"]
        run(
            [*self._command(), "-s", "-m", "compileall", *options, *targets],
            step,
            "Python's bytecode could not be made:",
            "Delete the image cache and try again.",
            environment={"PYTHONHOME": str(self.root / "usr"), "PYTHONHASHSEED": "0", "PYTHONPATH": ""},
        )

    def _command(self) -> Iterator[str]:
        """Started through the base's own loader: this machine's C library may be another."""
        loader = next(self.root.glob("lib*/ld-linux-*.so.*"), None)
        if loader is None:
            raise ClusterError("The base file system has no program loader.", "Delete the image cache and try again.")
        libraries = [str(path) for path in (*self.root.glob("lib/*-linux-gnu"), *self.root.glob("usr/lib/*-linux-gnu"))]
        yield from (str(loader), "--library-path", ":".join(libraries), str(self.root / PYTHON))


def unpacked(layer: Path, directory: Path) -> Interpreter:
    """The interpreter of a base layer's file, unpacked into a directory."""
    with tarfile.open(layer) as content:
        content.extractall(directory, filter="tar")
    return Interpreter(directory)
