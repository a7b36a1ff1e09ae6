"""Manifests that together have every field of a kind: what the reference page shows, and what tests make wrong.

Fields that exclude each other are in different manifests, or in different entries of a list.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any, Final

import yaml

_MODEL_SERVICE: Final = """
apiVersion: slipway.dev/v1alpha1
kind: ModelService
metadata:
  name: iris
  namespace: default
  labels:
    team: vision
spec:
  model:
    uri: oci://registry.example.com/models/iris:1
    format: onnx
  server:
    image: registry.example.com/servers/iris:1
    resources:
      requests:
        cpu: 250m
        memory: 256Mi
      limits:
        memory: 1Gi
        nvidia.com/gpu: 1
    env:
    - name: LOG_LEVEL
      value: debug
    - name: DATABASE_PASSWORD
      valueFrom:
        secretKeyRef:
          name: database
          key: password
    - name: REGION
      valueFrom:
        configMapKeyRef:
          name: site
          key: region
    envFrom:
    - prefix: DB_
      secretRef:
        name: database
    - configMapRef:
        name: site
    gpu:
      count: 1
      resource: nvidia.com/gpu
      profile: mig-1g.10gb
    files:
      settings.yaml: |
        threads: 2
    probes:
      startup:
        timeout: 20m
      readiness:
        period: 2s
        timeout: 1s
        failureThreshold: 3
      liveness:
        period: 10s
        timeout: 5s
        failureThreshold: 3
    podTemplate:
      labels:
        team: vision
      annotations:
        example.com/owner: vision
      nodeSelector:
        accelerator: h100
      tolerations:
      - key: nvidia.com/gpu
        operator: Equal
        value: "present"
        effect: NoExecute
        tolerationSeconds: 60
      affinity:
        nodeAffinity: {}
      priorityClassName: production
      runtimeClassName: nvidia
      imagePullSecrets:
      - name: registry
      volumes:
      - name: shm
        emptyDir:
          medium: Memory
          sizeLimit: 1Gi
      - name: data
        persistentVolumeClaim:
          claimName: data
      - name: site
        configMap:
          name: site
      - name: database
        secret:
          secretName: database
      volumeMounts:
      - name: shm
        mountPath: /dev/shm
      - name: data
        mountPath: /data
        subPath: iris/v1
  scaling:
    min: 1
    max: 10
    target:
      metric: cpu
      value: 70
  rollout:
    historyLimit: 5
  routing:
    hostnames:
    - iris.example.com
    path: /v2
    timeout: 60s
    access: Namespace
    tls:
      secretRef:
        name: iris-tls
status:
  conditions:
  - type: Ready
    status: "True"
    reason: Serving
    message: 2 of 2 replicas are ready
    lastTransitionTime: "2026-01-31T12:00:00Z"
    observedGeneration: 3
  url: http://iris.example.com/v2
  revision: 5d4f8c7b9
  replicas: 2
  readyReplicas: 2
  model:
    uri: oci://registry.example.com/models/iris:1
    digest: sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
    loadTime: 12s
"""

_FETCHED: Final = """
apiVersion: slipway.dev/v1alpha1
kind: ModelService
metadata:
  name: iris
spec:
  model:
    uri: s3://models/iris/v3
    checksum: sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
    secretRef:
      name: s3
    fetchTimeout: 30m
"""

_SAMPLES: Final = {"ModelService": (_MODEL_SERVICE, _FETCHED)}

Step = str | int
_STEP: Final = re.compile(r'\["(.*?)"\]|\[(\d+)\]|([^.\[\]]+)')


def samples(kind: str) -> list[dict[str, Any]]:
    """The manifests of a kind, the most usual one first. Each call makes new ones."""
    return copy.deepcopy(_read(kind))


@cache
def _read(kind: str) -> list[dict[str, Any]]:
    return [yaml.safe_load(text) for text in _SAMPLES[kind]]


def steps(path: str) -> tuple[Step, ...]:
    """`spec.env[0].name` as `("spec", "env", 0, "name")`: what `path_of` wrote."""
    return tuple(int(index) if index else quoted or plain for quoted, index, plain in _STEP.findall(path))


def value_at(manifest: Any, path: Iterable[Step]) -> Any:
    """The value at a place of a manifest. Raises LookupError where there is none."""
    for step in path:
        if isinstance(manifest, Mapping) is isinstance(step, int):
            raise LookupError(step)
        manifest = manifest[step]
    return manifest


def concrete(kind: str, path: str) -> tuple[Step, ...]:
    """The first place of a sample that a path of the schema stands for: `spec.env[].value` as `spec.env[2].value`.

    Raises LookupError where no sample has one.
    """
    wanted = [step for step in path.replace("[]", ".[]").replace("{}", ".{}").split(".") if step]
    for manifest in samples(kind):
        found = next(_matches(manifest, wanted), None)
        if found is not None:
            return found
    raise LookupError(f"no sample has {path}: add it to slipway.api.samples")


def _matches(value: Any, wanted: list[str]) -> Iterator[tuple[Step, ...]]:
    if not wanted:
        yield ()
        return
    first, *rest = wanted
    keys: Iterable[Step] = [first] if isinstance(value, dict) and first in value else []
    if first == "[]" and isinstance(value, list):
        keys = range(len(value))
    elif first == "{}" and isinstance(value, dict):
        keys = value
    for key in keys:
        for below in _matches(value[key], rest):
            yield (key, *below)
