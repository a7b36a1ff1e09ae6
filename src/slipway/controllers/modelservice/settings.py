"""What the operator is told at its start."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Settings:
    """`gateway` is namespace and name of the Gateway that routes belong to, None without one.

    `gateway_url` replaces the URL that the Gateway's status says, `proxy_namespace` is where the gateway's proxies run
    if not beside it. Without a gateway, routes are Ingresses of `ingress_class`, if that is set. `fetcher_image`
    downloads models; with `node_cache`, a directory of the nodes, each node downloads a model once. `image_volumes`
    says whether nodes can mount images.
    """

    serving_image: str
    gateway: tuple[str, str] | None = None
    gateway_url: str | None = None
    proxy_namespace: str | None = None
    ingress_class: str | None = None
    fetcher_image: str = ""
    node_cache: str | None = None
    image_volumes: bool = True
