"""Options of the command line, the environment and a file, and which of them counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipway_serving.options import Options, _parser, parse


@pytest.fixture
def file(tmp_path):
    def write(text: str) -> str:
        path = tmp_path / "server.yaml"
        path.write_text(text)
        return str(path)

    return write


def test_the_command_line_counts_more_than_the_environment_and_that_more_than_the_file(file):
    path = file("path: /models/a\nhttpPort: 1\nmaxBody: 1Mi\nkeepAlive: 5\naccessLog: true\npayloadLogUrl: http://s/\n")
    environment = {"SLIPWAY_SERVE_HTTP_PORT": "2", "SLIPWAY_SERVE_MAX_BODY": "2Mi", "SLIPWAY_SERVE_CONFIG": path}
    options = parse(["--http-port", "3"], environment)
    assert (options.path, options.http_port, options.max_body, options.keep_alive) == (Path("/models/a"), 3, 2 << 20, 5)
    assert (options.access_log, options.payload_log_url, options.log_level) == (True, "http://s/", "info")
    assert parse(["m", "--config", path], {}).http_port == 1


def test_a_false_of_the_environment_switches_off_what_the_file_switches_on(file):
    path = file("accessLog: true")
    assert parse(["m", "--config", path], {}).access_log is True
    assert parse(["m", "--config", path], {"SLIPWAY_SERVE_ACCESS_LOG": "false"}).access_log is False


def test_an_empty_file_decides_nothing(file):
    assert parse(["m", "--config", file("")], {}) == Options(Path("m"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("httpPrt: 1", "server.yaml: unknown key 'httpPrt'; did you mean 'httpPort'?"),
        ("http-port: 1", "server.yaml: unknown key 'http-port'; did you mean 'httpPort'?"),
        ("config: x", "server.yaml: unknown key 'config'"),
        ("1: x", "server.yaml: unknown key '1'"),
        ("httpPort: 99999", "server.yaml: httpPort: '99999' is not a port"),
        ("httpPort: [1]", "server.yaml: httpPort must be one value"),
        ("httpPort: true", "server.yaml: httpPort must be one value"),
        ("httpPort:", "server.yaml: httpPort must be one value"),
        ("accessLog: maybe", "server.yaml: accessLog: must be true or false, got 'maybe'"),
        ("accessLog: {}", "server.yaml: accessLog must be true or false"),
        ("logLevel: loud", "server.yaml: logLevel: must be one of debug, info"),
        ("payloadLogSample: 2", "server.yaml: payloadLogSample: '2' is not a share from 0 to 1"),
        ("- httpPort", "server.yaml must be a mapping"),
        ("a: [", "server.yaml is not valid YAML"),
        ("maxConnections: -1", "server.yaml: maxConnections: '-1' is not a number"),
    ],
)
def test_what_is_wrong_in_a_file_is_a_sentence_with_file_and_key(file, text, message, capsys):
    with pytest.raises(SystemExit) as caught:
        parse(["m", "--config", file(text)], {})
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_a_wrong_value_in_a_file_is_refused_even_where_another_counts(file, capsys):
    with pytest.raises(SystemExit):
        parse(["m", "--config", file("httpPort: none"), "--http-port", "1"], {})
    assert "httpPort: 'none' is not a port" in capsys.readouterr().err


def test_a_file_that_is_not_there_is_a_sentence(tmp_path, capsys):
    with pytest.raises(SystemExit):
        parse(["m", "--config", str(tmp_path / "nothing")], {})
    assert "nothing cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--payload-log-url", "ftp://sink/"], "'ftp://sink/' is not an http:// or https:// URL"),
        (["--payload-log-url", "http://"], "is not an http:// or https:// URL"),
        (["--payload-log-url", "http://a:b@sink/"], "a URL here has no user, no password"),
        (["--payload-log-url", "http://sink:99999/"], "ort out of range"),
        (["--otlp-endpoint", "collector:4317"], "'collector:4317' is not an http:// or https:// URL"),
        (["--payload-log-sample", "nan"], "'nan' is not a share"),
        (["--payload-log-sample", "0.1"], "--payload-log-sample means nothing without --payload-log-url"),
        (["--jwt-audience", "iris"], "--jwt-audience means nothing without --jwt-jwks-file"),
    ],
)
def test_a_wrong_option_is_a_sentence(arguments, message, capsys):
    with pytest.raises(SystemExit):
        parse(["m", *arguments], {})
    assert message in capsys.readouterr().err


def test_help_has_every_option_in_a_group_with_its_variable(capsys):
    with pytest.raises(SystemExit):
        parse(["--help"], {})
    text = " ".join(capsys.readouterr().out.split())
    for title in ("models:", "listening and limits:", "stopping:", "authentication", "logs and traces"):
        assert title in text
    options = [action.dest for action in _parser()._actions if action.dest not in ("help", "version")]
    assert {name for name in options if name != "config"} == set(Options.__slots__)
    for name in options:
        assert f"SLIPWAY_SERVE_{name.upper()}]" in text
