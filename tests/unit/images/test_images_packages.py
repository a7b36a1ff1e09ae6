from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.cluster.errors import ClusterError
from slipway.cluster.packages import PRUNED, prune, source_files, source_key

NAMES = st.text("abc.", min_size=1, max_size=5).filter(lambda name: name.strip("."))


def write(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)


def test_pruning_removes_tests_and_what_only_compilers_read_and_empty_directories(tmp_path: Path) -> None:
    keep = [
        "numpy/_core/tests/_natype.py",
        "numpy/testing/__init__.py",
        "scipy/_lib/libm.so",
        "pkg-1.0.dist-info/METADATA",
        "pkg/latests/x.py",
    ]
    write(
        tmp_path,
        *keep,
        "bin/f2py",
        "scipy/linalg/tests/test_a.py",
        "sklearn/tests/data/x.csv",
        "pkg/types.pyi",
        "pkg/__pycache__/x.pyc",
    )
    prune(tmp_path)
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()) == sorted(
        keep
    )
    assert not [path for path in tmp_path.rglob("*") if path.is_dir() and not any(path.iterdir())]


@given(st.lists(NAMES, min_size=1, max_size=4))
def test_pruning_takes_no_plain_module(parts: list[str]) -> None:
    assert not PRUNED.fullmatch("/".join(f"x{part}" for part in parts) + ".py")


def test_the_key_of_sources_changes_with_names_and_contents_only(tmp_path: Path) -> None:
    package = tmp_path / "pkg"
    write(package, "__init__.py", "sub/a.py")
    first = source_key(package)
    write(package, "__pycache__/a.pyc", "_data/x.yaml")
    (package / "sub" / "a.py").touch()
    assert source_key(package) == first
    (package / "sub" / "a.py").rename(package / "sub" / "b.py")
    renamed = source_key(package)
    (package / "sub" / "b.py").write_text("other")
    assert len({first, renamed, source_key(package)}) == 3


def test_sources_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match=r"slipway_serving are not at"):
        list(source_files(tmp_path / "slipway_serving"))
