"""The program `slipway-fetch`: exit status 0 done, 1 not fetched (the last line says why), 2 wrong arguments."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from slipway.fetch.checksum import FORM, checksum
from slipway.fetch.errors import FetchError
from slipway.fetch.job import Job, Tools, fetch
from slipway.fetch.trust import trusting_more

DONE, FAILED, STOPPED = 0, 1, 128 + signal.SIGTERM
LONGEST = 7 * 24 * 3600
CACHE_BYTES = "SLIPWAY_FETCH_CACHE_BYTES"


def main(arguments: Sequence[str] | None = None) -> int:
    """Fetches a model, or prints the checksum of one that is there."""
    options = _options(sys.argv[1:] if arguments is None else arguments, os.environ)
    if isinstance(options, Path):
        return _print_checksum(options)
    status = asyncio.run(_run(options, Tools(os.environ)))
    # Threads of obstore call into an interpreter that is ending, now and then, and that aborts the process.
    os._exit(status)


async def _run(job: Job, tools: Tools) -> int:
    task = asyncio.ensure_future(_trusting(job, tools))
    # The first process of a container is not ended by a signal that it does not handle.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        await task
    except FetchError as error:
        print(error.sentence, file=tools.stream, flush=True)
        return FAILED
    except asyncio.CancelledError:
        print("The fetch was stopped by a signal; what has arrived is resumed.", file=tools.stream, flush=True)
        return STOPPED
    return DONE


async def _trusting(job: Job, tools: Tools) -> None:
    with trusting_more(os.environ):
        await fetch(job, tools)


def _print_checksum(path: Path) -> int:
    try:
        if not path.exists():
            raise FileNotFoundError(2, "No such file or directory", str(path))
        sys.stdout.write(f"{checksum(path)}\n")
    except OSError as error:
        sys.stderr.write(f"{error.filename or path} cannot be read: {error.strerror}.\n")
        return FAILED
    return DONE


def _options(arguments: Sequence[str], environment: Mapping[str, str]) -> Job | Path:
    """What the command line asks for. Exits with 2 and a sentence where it is wrong."""
    parser = argparse.ArgumentParser(
        "slipway-fetch", description="Fetches a model into a directory. Credentials come from the environment."
    )
    parser.add_argument("uri", metavar="URI", nargs="?", help="s3:// gs:// azure:// https:// hf:// oci://")
    parser.add_argument("directory", metavar="DIRECTORY", nargs="?", type=Path)
    parser.add_argument("--checksum", metavar="sha256:HEX", default="", help="what the model must have")
    parser.add_argument("--timeout", metavar="SECONDS", type=float, default=1800.0, help="for all of it; default 1800")
    parser.add_argument(
        "--cache", metavar="DIRECTORY", type=Path, help=f"shared by the pods of a node; bounded by {CACHE_BYTES}"
    )
    parser.add_argument("--print-checksum", metavar="PATH", type=Path, help="print the checksum of a model, and end")
    options = parser.parse_args(arguments)
    if options.print_checksum:
        return Path(options.print_checksum)
    if options.uri is None or options.directory is None:
        parser.error("name the URI of a model and the directory it goes to")
    if options.checksum and not FORM.fullmatch(options.checksum):
        parser.error("--checksum is sha256: and 64 lower-case hex digits, as --print-checksum prints it")
    if not 0 < options.timeout <= LONGEST:
        parser.error(f"--timeout is a number of seconds, more than 0 and at most {LONGEST}")
    limit = environment.get(CACHE_BYTES, "")
    if limit and not (limit.isascii() and limit.isdigit() and int(limit)):
        parser.error(f"{CACHE_BYTES} is a number of bytes, for example 107374182400")
    return Job(
        options.uri, options.directory, options.checksum, options.timeout, options.cache, int(limit) if limit else None
    )
