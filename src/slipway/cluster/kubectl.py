"""`kubectl` and `helm` on one cluster: which cluster, and what they say when they fail."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipway.cluster.errors import ClusterError

UNREACHABLE = (
    "connection refused",
    "no such host",
    "i/o timeout",
    "was refused",
    "no route to host",
    "deadline exceeded",
)


@dataclass(frozen=True, slots=True)
class Tools:
    """The programs in a directory, meant for one context of one kubeconfig."""

    programs: Path
    kubeconfig: Path
    context: str

    def get(self, *arguments: str) -> list[dict[str, Any]]:
        """The objects of `kubectl get`; kinds that the cluster does not know are an error."""
        answer = json.loads(self.kubectl("get", *arguments, "--output=json") or '{"items": []}')  # empty: nothing found
        return list(answer["items"]) if "items" in answer else [answer]

    def kubectl(self, *arguments: str, manifest: dict[str, Any] | None = None) -> str:
        """What `kubectl` prints; a manifest goes to its standard input. Raises `ClusterError` with its last line."""
        where = (f"--kubeconfig={self.kubeconfig}", f"--context={self.context}")
        return self._run("kubectl", *where, *arguments, text=json.dumps(manifest) if manifest is not None else "")

    def helm(self, *arguments: str, values: dict[str, Any] | None = None) -> str:
        """What `helm` prints; `values` go to it by its standard input. Raises `ClusterError` with its last line."""
        where = (f"--kubeconfig={self.kubeconfig}", f"--kube-context={self.context}")
        given = ("--values=-",) if values is not None else ()
        return self._run("helm", *arguments, *where, *given, text=json.dumps(values) if values is not None else "")

    def _run(self, program: str, *arguments: str, text: str = "") -> str:
        done = subprocess.run(
            [str(self.programs / program), *arguments],
            input=text,
            capture_output=True,
            text=True,
            check=False,
            env={name: value for name, value in os.environ.items() if not name.startswith("HELM_")},
        )
        if done.returncode:
            words = [word for word in arguments if not word.startswith("-")]
            raise self._failed(f"{program} {' '.join(words[:2])}", done)
        return done.stdout

    def _failed(self, what: str, done: subprocess.CompletedProcess[str]) -> ClusterError:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        said = lines[-1][:400] if lines else f"exit code {done.returncode}"
        if any(word in said.lower() for word in UNREACHABLE):
            return ClusterError(f"Cannot reach {self.context}: {said}", "Is the cluster running? slipway cluster list")
        return ClusterError(f"`{what}` failed on {self.context}: {said}", "Nothing else was changed. Try again.")
