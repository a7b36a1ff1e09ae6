"""The page of the command line has every command, and its examples are command lines."""

import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

from slipway.cli import errors
from slipway.cli.app import COMMANDS, app

TEXT = (Path(__file__).parents[3] / "docs" / "cli.md").read_text(encoding="utf-8")
NAMES = ["OK", "FAILED", "USAGE", "TIMEOUT", "ABSENT", "FORBIDDEN", "PAUSED", "UNREACHABLE", "CONFLICT", "INTERRUPTED"]
EXAMPLES = re.findall(r"^\$ slipway (.*)$", TEXT, re.MULTILINE)


def parsed(words):
    """Parses a command line without running it; fails where it is none."""
    command, context = get_command(app), None
    words = ["slipway", *words]
    while words:
        context = command.make_context(words[0], words[1:], context)
        words = [*context._protected_args, *context.args]
        command = command.get_command(context, words[0]) if words else None
    return context


@pytest.mark.parametrize("example", EXAMPLES)
def test_each_example_is_a_command_line(home, example):
    assert parsed(shlex.split(example)).params


def test_each_command_is_in_the_table_and_has_an_example():
    table = "\n".join(line for line in TEXT.splitlines() if line.startswith("| `"))
    for name in COMMANDS:
        assert re.search(rf"`{name}[ `]", table), name
        assert any(example.split()[0] == name or f"slipway {name} " in example for example in [*EXAMPLES, TEXT]), name


def test_each_exit_code_is_explained():
    codes = {value for name, value in vars(errors).items() if name in NAMES}
    explained = {int(code) for code in re.findall(r"^\| (\d+) \|", TEXT, re.MULTILINE)}
    assert explained == codes
    assert {int(code) for code in re.findall(r"^\| (\d+) ", errors.__doc__, re.MULTILINE)} == explained
