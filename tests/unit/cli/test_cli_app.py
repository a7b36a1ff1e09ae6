import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.cli.app import COMMANDS, hoist


def test_version(slipway):
    for arguments in (["--version"], ["--debug", "--version"]):
        result = slipway(*arguments)
        assert (result.exit_code, result.stdout) == (0, "slipway 0.1.0\n")


def test_version_imports_nothing_slow():
    code = (
        "import sys; sys.argv = ['slipway', '--version']; from slipway.cli.main import main; main();"
        "print(sorted({'typer', 'rich', 'pydantic', 'httpx2', 'asyncio', 'yaml'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "slipway 0.1.0\n[]\n"


def test_a_list_imports_only_what_it_needs(cluster):
    code = (
        "import sys; sys.argv = ['slipway', 'list', '-o', 'name']; from slipway.cli.main import main; main();"
        "slow = {'rich', 'wsproto', 'cryptography', 'slipway.client.sync', 'slipway.client.forward'};"
        "print(sorted(slow & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_help_lists_every_command_without_importing_them():
    code = (
        "import sys; from slipway.cli.app import run; run(['--help']);"
        "print([name for name in sys.modules if name.startswith('slipway.cli.commands.')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("\n[]\n")
    assert all(f"\n  {name} " in done.stdout for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(slipway, name):
    result = slipway(name, "--help")
    assert result.exit_code == 0
    assert f"Usage: slipway {name}" in result.stdout


def test_without_a_command(slipway):
    result = slipway()
    assert result.exit_code == 2
    assert "Usage: slipway" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["depoly"], "slipway: No such command depoly; did you mean deploy?"),
        (["xyzzy"], "slipway: No such command xyzzy."),
        (["cluster", "creat"], "Did you mean 'create'?"),
        (["list", "--otput", "json"], "No such option: --otput"),
        (["list", "-o", "jsn"], "'jsn'"),
        (["deploy"], "NAME"),
    ],
)
def test_wrong_command_line(slipway, arguments, says):
    result = slipway(*arguments)
    assert result.exit_code == 2
    assert says in result.stderr
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) <= 5


def test_options_may_come_before_the_command():
    assert hoist(["--context", "c", "-n", "ml", "list", "-A"]) == ["list", "--context", "c", "-n", "ml", "-A"]
    assert hoist(["-n", "ml", "rollout", "status", "iris"]) == ["rollout", "status", "-n", "ml", "iris"]
    assert hoist(["-o", "json", "cluster", "list"]) == ["cluster", "list", "-o", "json"]
    assert hoist(["--context=c", "list"]) == ["list", "--context=c"]
    assert hoist(["list", "--debug"]) == ["--debug", "list"]
    assert hoist(["list", "--plain", "--debug"]) == ["--debug", "--plain", "list"]
    assert hoist(["predict", "iris", "--", "--debug"]) == ["predict", "iris", "--", "--debug"]


@settings(deadline=None)  # how fast the machine is, is not what is tested
@given(st.lists(st.sampled_from(["-n", "ml", "--debug", "list", "--context=c", "--", "-o", "-A"])))
def test_hoisting_loses_no_word(words):
    assert sorted(set(hoist(words))) == sorted(set(words))
