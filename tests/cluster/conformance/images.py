"""Makes the images that upstream's conformance suite asks for, out of Debian packages and agnhost, and pushes them.

    python images.py CLUSTER WORK

The suite looks for them in the cluster's registry, by WORK/repositories.yaml. What is not made here, it cannot run.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from slipway.cluster import binaries, lifecycle
from slipway.oci import Entry, Image, Layer, RegistryClient, entries_of
from slipway.progress import LineProgress

TOOLS = "bash,bind9-dnsutils,bsdextrautils,busybox-static,curl,iproute2,iptables,netcat-openbsd,socat,util-linux"
REGISTRIES = (
    "promoterE2eRegistry",
    "gcRegistry",
    "gcEtcdRegistry",
    "buildImageRegistry",
    "dockerLibraryRegistry",
    "sigStorageRegistry",
)
FOLDER = "e2e-test-images"
PATH = {"PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/"}
HTDOCS = "usr/local/apache2/htdocs"
SERVE = ("/bin/busybox", "httpd", "-f", "-p", "80", "-h", f"/{HTDOCS}")


def debian(work: Path) -> Path:
    """A Debian with the tools that tests call inside containers."""
    root = work / "debian"
    if not (root / "done").exists():
        options = ["--quiet", "--variant=minbase", f"--include={TOOLS}", "--aptopt=APT::Install-Recommends false"]
        subprocess.run(["mmdebstrap", *options, "bookworm", root], check=True)
        (root / "done").touch()
    return root


def images(work: Path) -> dict[str, Image]:
    """The images that can be made here, by the name that the suite gives them."""
    root = debian(work)
    unneeded = re.compile(r"(dev|proc|sys|var/cache|var/lib/apt)/")
    kept = [entry for entry in entries_of(root) if not unneeded.match(entry.name)]
    base = Layer.of(kept)
    sources = upstream(work)
    nnp = Layer.of([setuid(work / "nonewprivs", "usr/local/bin/nnp")])
    keys = [Entry.file(name, sources / "agnhost" / "porter" / name) for name in ("localhost.crt", "localhost.key")]
    names = ("agnhost", "agnhost-2")  # a test overrides the entrypoint by the second name
    agnhost = Layer.of([*[Entry.file(name, work / "agnhost", executable=True) for name in names], *keys])
    page = Layer.of([Entry.file(f"{HTDOCS}/index.html", b"<html><body><h1>It works!</h1></body></html>\n")])
    # a test reads the name of upstream's base out of an image that is mounted as a volume
    release = Layer.of([Entry.file("etc/os-release", b'NAME="Alpine Linux"\n')])
    return {
        "agnhost": tool(["pause"], base, agnhost),
        "busybox": command(["sh"], Image.of(busybox(work / "busybox"), env={"PATH": "/bin"})),
        "etcd": program(programs() / "etcd", "usr/local/bin/etcd"),
        "glibc-dns-testing": Image.of(base, env=PATH),
        "kitten": tool(["test-webserver"], base, agnhost, release, pages(sources / "kitten" / "html")),
        "nautilus": tool(["test-webserver"], base, agnhost, pages(sources / "nautilus" / "html")),
        "nginx": Image.of(base, page, entrypoint=SERVE),
        "nonewprivs": command(["nnp"], Image.of(base, nnp, env=PATH)),
        "nonroot": Image.of(base, entrypoint=("/bin/sleep", "infinity"), user="1234"),
        "pause": program(programs() / "pause", "pause"),
        "sample-apiserver": program(work / "sample-apiserver", "sample-apiserver"),
    }


def busybox(program: Path) -> Layer:
    """Busybox under all its names: a test may type any."""
    listed = subprocess.run([program, "--list"], check=True, capture_output=True, text=True).stdout.split()
    entries = [Entry.file(f"bin/{name}", program, executable=True) for name in {"busybox", *listed}]
    accounts = [
        Entry.file("etc/passwd", b"root:x:0:0::/root:/bin/sh\n"),
        Entry.file("etc/group", b"root:x:0:\n"),
    ]
    return Layer.of([*entries, *accounts, Entry("tmp", mode=0o1777)])


def program(file: Path, name: str) -> Image:
    """An image with one static program, which it runs."""
    return Image.of(Layer.of([Entry.file(name, file, executable=True)]), entrypoint=(f"/{name}",))


def setuid(file: Path, name: str) -> Entry:
    """A program that runs as its owner, root."""
    return Entry(name, file, file.stat().st_size, mode=0o6755)


def tool(arguments: list[str], *layers: Layer) -> Image:
    """An image that runs agnhost with these arguments, unless a pod gives others."""
    return command(arguments, Image.of(*layers, entrypoint=("/agnhost",), env=PATH))


def command(words: list[str], image: Image) -> Image:
    """The image with what it runs unless a pod says otherwise."""
    image.config["config"]["Cmd"] = words
    return image


def pages(directory: Path) -> Layer:
    """The files of a directory, at the root."""
    return Layer.of([Entry.file(path.name, path) for path in sorted(directory.iterdir())])


def upstream(work: Path) -> Path:
    """Where upstream keeps what its test images are made of."""
    words = ["go", "list", "-m", "-f", "{{.Dir}}", "k8s.io/kubernetes"]
    found = subprocess.run(words, cwd=work / "module", check=True, capture_output=True, text=True).stdout
    return Path(found.strip()) / "test" / "images"


def programs() -> Path:
    """Where the cluster's own programs are."""
    return binaries.directory(LineProgress())


def wanted(work: Path) -> list[tuple[str, str]]:
    """Name and tag of every image in the suite's own list."""
    listed = subprocess.run([work / "e2e.test", "--list-images"], check=True, capture_output=True, text=True).stdout
    return [
        (line.rpartition("/")[2].partition(":")[0], line.rpartition(":")[2]) for line in listed.split() if ":" in line
    ]


def main() -> None:
    cluster, work = lifecycle.find(sys.argv[1]), Path(sys.argv[2])
    access = cluster.registry
    here = f"{access.name}/{FOLDER}"
    (work / "repositories.yaml").write_text("".join(f"{key}: {here}\n" for key in REGISTRIES), encoding="utf-8")
    made = images(work)
    with RegistryClient.mutual_tls(access.url, access.ca, access.cert, access.key) as client:
        for name, tag in wanted(work):
            if name in made:
                client.upload(made[name], f"{FOLDER}/{name}", tag)
            else:
                print(f"not made here: {name}:{tag}", file=sys.stderr)


if __name__ == "__main__":
    main()
