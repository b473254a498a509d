"""What the README says is so: its cell runs, its words exist, its links lead somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_first_cell_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    (cell,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    monkeypatch.chdir(ROOT / "notebooks")
    names: dict[str, Any] = {}
    try:
        exec(compile(cell, "README.md", "exec"), names)
        assert names["run"].requested == names["run"].rendered > 60
    finally:
        names["platform"].stop()


def test_every_command_it_names_exists_and_none_is_left_out() -> None:
    table = README.split("| `platform-kit` | |")[1].split("\n\n")[0]
    named = set(re.findall(r"`([a-z]+)(?: [A-Z]+)?`", table.replace("--", "")))
    done = subprocess.run(
        [sys.executable, "-m", "platform_kit", "--help"], capture_output=True, text=True, check=True
    )
    commands = set(re.findall(r"^  ([a-z]+)  ", done.stdout.partition("Commands:")[2], re.MULTILINE))
    assert commands and commands == named - {"template", "out", "workers", "seed", "json"}


def test_every_link_and_picture_is_there() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert "://" in target or (ROOT / target).exists(), target


def test_every_benchmark_it_names_is_there() -> None:
    named = set(re.findall(r"benchmarks/\w+\.py", README))
    assert named and all((ROOT / path).exists() for path in named)
    assert named == {str(path.relative_to(ROOT)) for path in (ROOT / "benchmarks").glob("*.py")}
