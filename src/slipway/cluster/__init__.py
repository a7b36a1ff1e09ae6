"""Local clusters: a real upstream Kubernetes on a bare Linux machine, and what an installation on any cluster needs.

Read `lifecycle` for what happens, `host` for what it does to the machine, `node` for what runs as PID 1 of a node.
"""
