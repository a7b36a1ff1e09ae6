"""One worker process as the server sees it: its start, its calls, and how it ended."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipway_serving import errors
from slipway_serving.cpus import SHARE
from slipway_serving.datatypes import Tensors
from slipway_serving.errors import ModelFailedError, ModelLoadError, RequestError, ServingError
from slipway_serving.runtimes.base import Inference
from slipway_serving.signature import Signature
from slipway_serving.workers.messages import (
    CLOSE,
    END,
    ERROR,
    FAILED,
    MORE,
    OPEN,
    OUTPUTS,
    PART,
    READY,
    REFUSED,
    TRACE,
    Channel,
    ChannelError,
    ClosedError,
    Message,
    ProtocolError,
    UnsentError,
    signature_from,
)
from slipway_serving.workers.worker import Task

_LOOK_MILLISECONDS = 500
_GONE_MILLISECONDS = 100
"""How soon a worker that waits hears that nobody reads its answer any more."""
_SEND_BUFFER = 1 << 22
_END_SECONDS = 1.0
"""How long a worker that has closed its socket may take to end by itself."""


class EndedError(ServingError):
    """The worker ended, or had to be ended; the message says how: "was ended by signal 9 (SIGKILL)"."""


class RemoteError(Exception):
    """An exception of the model, in its worker; raised as a class of the same name, its traceback a note."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a worker says of the model that it has loaded."""

    signature: Signature
    document: str
    """The signature and what the model can do as text, to be compared with another worker's."""
    is_async: bool
    streams: bool
    operations: frozenset[str]
    seconds: float


class WorkerProcess:
    """Starts when it is made. The thread that makes it has to live as long: the kernel ends the process with it."""

    def __init__(self, task: Task, cpus: int) -> None:
        self._task = task
        ours, theirs = socket_pair()
        self._channel = Channel(ours)
        try:
            with theirs:
                self._popen = _start(theirs.fileno(), cpus)
        except BaseException:
            ours.close()
            raise
        self.pid = self._popen.pid
        self._in_use = threading.Lock()
        self._reaping = threading.Lock()
        self._ended = threading.Event()
        self._reason = self._broken = ""
        self.usable = True
        """Until a call has shown that the worker is ending."""

    def load(self) -> Loaded:
        """Waits for the model; for the thread that made it. Raises ModelLoadError, RemoteError and EndedError."""
        try:
            self._channel.send(self._task.message())
            self._await_answer()
            answer = self._channel.receive()
            if answer.kind == READY:
                return _loaded(answer)
            error = _error_in(answer)
        except ChannelError as fault:
            self.kill(_broken(fault))
            raise EndedError(self.wait()) from fault
        raise error

    def _await_answer(self) -> None:
        """Until there is something to read; the end of the process does not show where its children hold the socket."""
        poll = select.poll()
        poll.register(self._channel.fileno(), select.POLLIN)
        while not poll.poll(_LOOK_MILLISECONDS):
            if self._has_died():
                self._channel.shutdown()

    def infer(self, message: Message) -> Tensors:
        """One call. Raises RequestError, RemoteError, UnsentError where it never began, EndedError where it may."""
        with self._in_use:
            try:
                self._channel.send(message)
                answer = self._channel.receive()
                if answer.kind == OUTPUTS:
                    return answer.tensors
                error = _error_in(answer)
            except UnsentError as fault:
                self._end(fault)
                raise
            except ChannelError as fault:
                raise EndedError(self._end(fault)) from fault
        raise error

    def answers(self, message: Message, gone: threading.Event) -> Iterator[Message]:
        """One call: its `end`, or `open`, each `part` once the one before has been taken, and the `end`.

        Once `gone` is set, or where this is closed early, what runs is ended. Raises what `infer` does.
        """
        with self._in_use:
            try:
                self._channel.send(message)
                yield from self._parts(gone)
            except UnsentError as fault:
                self._end(fault)
                raise
            except ChannelError as fault:
                raise EndedError(self._end(fault)) from fault

    def _parts(self, gone: threading.Event) -> Iterator[Message]:
        while (answer := self._next(gone)).kind in {OPEN, PART}:
            try:
                yield answer
            except GeneratorExit:
                self._leave()
                raise
            if answer.kind == PART:
                self._say(MORE)
        if answer.kind != END:
            raise _error_in(answer)
        yield answer

    def _next(self, gone: threading.Event) -> Message:
        poll = select.poll()
        poll.register(self._channel.fileno(), select.POLLIN)
        while not gone.is_set():
            if poll.poll(_GONE_MILLISECONDS):
                return self._channel.receive()
        self._say(CLOSE)
        return self._channel.receive()

    def _leave(self) -> None:
        self._say(CLOSE)
        while self._channel.receive().kind in {OPEN, PART}:
            pass

    def _say(self, kind: str) -> None:
        """A word while the worker has a call; where it is gone, `receive` will tell."""
        with contextlib.suppress(ClosedError):
            self._channel.send(Message(kind))

    def _end(self, fault: ChannelError) -> str:
        """Sees to it that the process ends, and says how it did; for any thread but the one that made it."""
        self.usable = False
        broken = _broken(fault)
        if broken or not self._ended.wait(_END_SECONDS):
            self.kill(broken or "closed its connection")
            self._ended.wait(_END_SECONDS)
        return self._reason or "does not end"

    def wait(self) -> str:
        """Waits for the end, takes the worker's own children along, and says how it ended."""
        if self._ended.is_set():
            return self._reason
        try:
            ending = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        except ChildProcessError:
            ending = None
        with self._reaping:
            _kill_group(self.pid)  # before it is reaped, so that the number is still its own
            self._popen.wait()
            self._reason = self._broken or _how(ending)
            self._ended.set()
        self._channel.shutdown()
        with self._in_use:
            self._channel.close()
        _reap_group(self.pid)
        return self._reason

    def retire(self) -> None:
        """Asks it to end after what it is doing now."""
        with self._reaping:
            if not self._ended.is_set():
                self._channel.finish()

    def kill(self, reason: str = "") -> None:
        """Ends it at once. A reason is told instead of the signal, unless it has died of something else already."""
        with self._reaping:
            if not self._ended.is_set():
                self._broken = self._broken or ("" if self._has_died() else reason)
                _kill_group(self.pid)

    def _has_died(self) -> bool:
        try:
            return bool(os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG))
        except ChildProcessError:
            return True


def inference(kind: str, request: Inference, trace: Mapping[str, str]) -> Message:
    """A request for outputs, whole or in parts."""
    fields: dict[str, Any] = {"outputs": request.outputs, "parameters": request.parameters}
    if trace:
        fields[TRACE] = trace
    return Message(kind, fields, request.inputs)


def socket_pair() -> tuple[socket.socket, socket.socket]:
    """Two connected sockets that hold as much as the kernel lets them: a large tensor then crosses in fewer turns."""
    pair = socket.socketpair()
    for each in pair:
        each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
    return pair


def _start(descriptor: int, cpus: int) -> subprocess.Popen[bytes]:
    # The worker finds its modules where the server does: in the working directory only where the server looks there.
    options = [] if sys.path[:1] in ([""], [str(Path.cwd())]) else ["-P"]
    command = [sys.executable, *options, "-m", "slipway_serving.workers", str(descriptor), str(os.getpid())]
    environment = {"OMP_NUM_THREADS": str(cpus), **os.environ, SHARE: str(cpus)}
    return subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, pass_fds=(descriptor,), process_group=0)


def _kill_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def _reap_group(pid: int) -> None:
    """Where the server is process 1, the worker's children have become its own."""
    try:
        while True:
            os.waitpid(-pid, 0)
    except ChildProcessError:
        return


def _how(ending: Any) -> str:
    if ending is None:
        return "ended"
    if ending.si_code == os.CLD_EXITED:
        return f"exited with status {ending.si_status}"
    number = ending.si_status
    name = signal.Signals(number).name if number in set(signal.Signals) else "unknown"
    return f"was ended by signal {number} ({name})"


def _broken(fault: ChannelError) -> str:
    return f"sent {fault}" if isinstance(fault, ProtocolError) else ""


def _loaded(answer: Message) -> Loaded:
    try:
        fields = answer.fields
        document, streams, operations = fields["signature"], fields["streams"], fields["operations"]
        return Loaded(
            signature_from(document),
            repr((document, streams, operations)),
            fields["is_async"],
            streams,
            frozenset(operations),
            fields["seconds"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ProtocolError("what is no answer") from error


def _error_in(answer: Message) -> Exception:
    """The exception that an answer tells of. Raises ProtocolError where it is none."""
    try:
        return _ERRORS[answer.kind](answer.fields)
    except (KeyError, TypeError, ValueError) as error:
        raise ProtocolError("what is no answer") from error


def _refused(fields: Mapping[str, Any]) -> Exception:
    error = ModelLoadError(fields["message"], fields["hint"])
    error.add_note(fields["traceback"])
    return error


def _failed(fields: Mapping[str, Any]) -> Exception:
    error: Exception = type(fields["class"], (RemoteError,), {})(fields["message"])
    error.add_note(fields["traceback"])
    return error


def _request_error(fields: Mapping[str, Any]) -> Exception:
    found = getattr(errors, fields["class"], None)
    if not (isinstance(found, type) and issubclass(found, RequestError)):
        return ModelFailedError(fields["message"])
    return found.__new__(found, fields["message"])  # some take more arguments, which the model has not told


_ERRORS: dict[str, Callable[[Mapping[str, Any]], Exception]] = {
    REFUSED: _refused,
    FAILED: _failed,
    ERROR: _request_error,
}
