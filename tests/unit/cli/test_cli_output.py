import io
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from slipway.cli import errors, output
from slipway.cli.terminal import TerminalProgress
from slipway.client import errors as client
from slipway.cluster.errors import ClusterError


class Terminal(io.StringIO):
    def isatty(self):
        return True


@settings(deadline=None)  # how fast the machine is, is not what is tested
@given(st.text())
def test_no_text_moves_the_cursor(text):
    assert all(char.isprintable() for char in output.plain(text))


def test_columns_are_aligned(capsys):
    output.table(["NAME", "READY"], [["iris", "True"], ["a-longer-name", "False"]])
    assert capsys.readouterr().out == "NAME           READY\niris           True\na-longer-name  False\n"


def test_colour_only_on_a_terminal(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stdout", Terminal())
    assert output.coloured()
    monkeypatch.setenv("NO_COLOR", "1")
    assert not output.coloured()
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setattr("sys.stdout", io.StringIO())
    assert not output.coloured()


def test_steps_on_a_terminal_end_with_what_they_took():
    stream = Terminal()
    progress = TerminalProgress(Console(file=stream, force_terminal=True, width=80, highlight=False))
    with progress.step("Pulling [bold]") as step:
        step.detail("1 of 2 MB")
    progress.note("[note]")
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue())
    assert "✓ Pulling [bold] 0." in plain
    assert "[note]" in plain


def test_a_failed_step_stays_visible_and_fails():
    stream = Terminal()
    progress = TerminalProgress(Console(file=stream, force_terminal=True, width=80, highlight=False))
    with pytest.raises(ValueError, match="no"), progress.step("Pulling"):
        raise ValueError("no")
    assert "✗" in stream.getvalue()


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (client.FailedError("x", "y"), 1),
        (client.RefusedError("x", "y"), 1),
        (client.InvalidInputError("x", "y"), 2),
        (client.WaitTimeoutError("x", "y"), 3),
        (client.NotFoundError("x", "y"), 4),
        (client.ForbiddenError("x", "y"), 5),
        (client.PausedError("x", "y"), 6),
        (client.UnreachableError("x", "y"), 7),
        (client.ConflictError("x", "y"), 8),
        (ClusterError("x", "y"), 1),
    ],
)
def test_every_error_has_a_sentence_a_hint_and_a_code(capsys, error, code):
    assert errors.present(error, debug=False) == code
    assert capsys.readouterr().err == "slipway: x\ny\n"


def test_a_bug_is_named_as_one_and_debug_shows_where(capsys):
    assert errors.present(KeyError("url"), debug=False) == 1
    said = capsys.readouterr().err
    assert "this is a bug in slipway: KeyError: 'url'" in said
    assert "Traceback" not in said
    errors.present(KeyError("url"), debug=True)
    assert "KeyError" in capsys.readouterr().err


def test_long_errors_are_cut_to_five_lines(capsys):
    errors.present(client.InvalidInputError("1\n2\n3\n4\n5\n6", "hint"), debug=False)
    assert len(capsys.readouterr().err.splitlines()) == 5


NAMELESS = [["status"], ["status", "-w"], ["version", "--client"], ["config", "view"], ["rollout", "diff", "iris"]]


@pytest.mark.parametrize("command", NAMELESS, ids=" ".join)
def test_what_shows_no_object_prints_no_name(slipway, command):
    result = slipway(*command, "-o", "name")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.splitlines() == [
        "slipway: -o name prints the names of objects, and there is no object here.",
        "Say -o table, json or yaml.",
    ]


def test_a_default_of_names_is_for_commands_that_have_them(slipway, monkeypatch):
    monkeypatch.setenv("SLIPWAY_OUTPUT", "name")
    assert slipway("version", "--client").stdout == "client:  0.1.0\n"
    assert slipway("config", "view").stdout.splitlines()[1].split() == ["output", "name", "$SLIPWAY_OUTPUT"]
