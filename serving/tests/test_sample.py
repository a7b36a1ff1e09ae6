"""Placing the example model, as the Job of the plain manifests does."""

import pytest

from slipway_serving import sample


def names(directory):
    return sorted(entry.name for entry in directory.iterdir())


async def test_what_is_placed_answers(serving, tmp_path, capsys):
    (tmp_path / "lost+found").mkdir()
    assert sample.main([str(tmp_path)]) == 0
    assert "is in" in capsys.readouterr().out
    async with serving(tmp_path) as client:
        shown = (await client.get("/predict")).json()
        assert shown["response"] == {"model": "example", "outputs": {"sum": [6.0]}}


@pytest.mark.parametrize("name", ["model.onnx", "notes.txt"])
def test_a_directory_with_something_else_is_left_as_it_is(name, tmp_path, capsys):
    (tmp_path / name).write_text("mine")
    assert sample.main([str(tmp_path)]) == 0
    assert names(tmp_path) == [name]
    assert "left as it is" in capsys.readouterr().out


def test_an_interrupted_run_is_completed_and_a_changed_file_stays(tmp_path):
    (tmp_path / "model.yaml").write_text("name: mine\n")
    (tmp_path / "model.py.new").write_text("half")
    assert sample.place(tmp_path)
    assert names(tmp_path) == ["model.py", "model.yaml"]
    assert (tmp_path / "model.yaml").read_text() == "name: mine\n"
    assert (tmp_path / "model.py").read_text() == (sample.EXAMPLE / "model.py").read_text()


def test_the_model_comes_last():
    assert sample.FILES[-1] == "model.py"
    assert set(sample.FILES) == set(names(sample.EXAMPLE)) - {"__pycache__"}


def test_a_directory_that_cannot_be_written_is_said(tmp_path, capsys):
    assert sample.main([str(tmp_path / "absent")]) == 1
    said = capsys.readouterr().err
    assert "cannot be written" in said
    assert "No such file or directory" in said
