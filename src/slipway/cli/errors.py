"""What a command says when it fails, and its exit code: the only place where errors meet the terminal.

| code | meaning                                                             |
|------|---------------------------------------------------------------------|
| 0    | done                                                                |
| 1    | failed: the cluster refused it, or it cannot succeed by waiting     |
| 2    | the command line, or a file it names, is wrong; nothing was sent    |
| 3    | the time to wait is over; the work goes on                          |
| 4    | what was named does not exist                                       |
| 5    | not allowed                                                         |
| 6    | it waits for something, such as room on a node, and goes on then    |
| 7    | no API server answered                                              |
| 8    | conflict: another manager owns a field, or the object changed       |
| 130  | interrupted                                                         |
"""

from __future__ import annotations

import traceback
from typing import Any

from slipway.cli.output import plain
from slipway.cli.terminal import say
from slipway.client import errors as client
from slipway.cluster.errors import ClusterError

MOST_LINES = 5
OK, FAILED, USAGE, TIMEOUT, ABSENT, FORBIDDEN = 0, 1, 2, 3, 4, 5
PAUSED, UNREACHABLE, CONFLICT, INTERRUPTED = 6, 7, 8, 130

_CODES: dict[type[client.SlipwayError], int] = {
    client.InvalidInputError: USAGE,
    client.WaitTimeoutError: TIMEOUT,
    client.NotFoundError: ABSENT,
    client.ForbiddenError: FORBIDDEN,
    client.PausedError: PAUSED,
    client.UnreachableError: UNREACHABLE,
    client.ConflictError: CONFLICT,
}


def present(error: Exception, *, debug: bool) -> int:
    """Tells a person what happened, on standard error, in five lines at most; returns the exit code."""
    if debug:
        traceback.print_exception(error)
    message, hint, code = _describe(error)
    for line in [*message.splitlines()[: MOST_LINES - 1], hint]:
        if line:
            say(plain(line))
    return code


def _describe(error: Exception) -> tuple[str, str, int]:
    """What happened, what to do, and the exit code."""
    if isinstance(error, client.SlipwayError):
        return f"slipway: {error.message}", error.hint, _CODES.get(type(error), FAILED)
    if hasattr(error, "format_message"):  # Typer's: the command line itself is wrong
        return _usage(error)
    if isinstance(error, ClusterError):
        return f"slipway: {error.message}", error.hint, FAILED
    reason = " ".join(str(error).split()) or "no message"
    said = f"slipway: this is a bug in slipway: {type(error).__name__}: {reason}"
    return said, "Run the command again with --debug to see where, and report it.", FAILED


def _usage(error: Any) -> tuple[str, str, int]:
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":
        say(error.format_message())
        return "", "", int(error.exit_code)
    path = context.command_path if context else "slipway"
    return f"slipway: {' '.join(error.format_message().split())}", f"See `{path} --help`.", int(error.exit_code)
