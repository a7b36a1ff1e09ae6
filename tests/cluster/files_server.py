"""A web server with TLS that gives files only to who sends the right Authorization: ADDRESS PORT SECRETS FILES."""

from __future__ import annotations

import functools
import ssl
import sys
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ADDRESS, PORT, SECRETS, FILES = sys.argv[1:]
AUTHORIZATION = Path(SECRETS, "authorization").read_text()


class Guarded(SimpleHTTPRequestHandler):
    """Files behind a password."""

    def send_head(self):
        if self.headers.get("Authorization") != AUTHORIZATION:
            return self.send_error(HTTPStatus.UNAUTHORIZED)
        return super().send_head()


server = ThreadingHTTPServer((ADDRESS, int(PORT)), functools.partial(Guarded, directory=FILES))
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(f"{SECRETS}/server.crt", f"{SECRETS}/server.key")
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
