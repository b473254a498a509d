"""What the README says is so: its cell runs, its words exist, its links lead somewhere."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from platform_kit import Deck, Platform
from platform_kit.workers.scaffold import new_worker

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


CELLS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_the_first_cell_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT / "notebooks")
    names: dict[str, Any] = {}
    try:
        exec(compile(CELLS[0], "README.md", "exec"), names)
        assert names["run"].requested == names["run"].rendered > 60
    finally:
        names["platform"].stop()


def test_the_cells_on_workers_and_art_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    new_worker("appraiser")
    Path("art").mkdir()
    pictures = sorted((ROOT / "notebooks" / "data" / "art").glob("*.svg"))[:2]
    for picture in pictures:
        shutil.copy(picture, "art")
    deck = Deck([{"id": file.stem, "name": file.stem, "art": f"art/{file.name}"} for file in pictures])
    with Platform() as platform:
        names: dict[str, Any] = {"platform": platform, "deck": deck}
        for cell in CELLS[1:]:
            exec(compile(cell, "README.md", "exec"), names)
        assert names["workers"].count == 2
        assert len(platform.workers()) == 2 + 4 + 1  # the appraisers, the renderers, and the one for art
        assert names["watch"].counts["prepared"] == 2 and names["watch"].cards[-1].rendered == 2


def test_every_command_it_names_exists_and_none_is_left_out() -> None:
    table = README.split("| `platform-kit` | |")[1].split("\n\n")[0]
    named = set(re.findall(r"`([a-z]+)(?: [A-Z]+)?`", table))
    done = subprocess.run(
        [sys.executable, "-m", "platform_kit", "--help"], capture_output=True, text=True, check=True
    )
    commands = set(re.findall(r"^  ([a-z]+)  ", done.stdout.partition("Commands:")[2], re.MULTILINE))
    assert commands and commands == named


def test_every_link_and_picture_is_there() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert "://" in target or (ROOT / target).exists(), target


def test_every_benchmark_it_names_is_there() -> None:
    named = set(re.findall(r"benchmarks/\w+\.py", README))
    assert named and all((ROOT / path).exists() for path in named)
    assert named == {str(path.relative_to(ROOT)) for path in (ROOT / "benchmarks").glob("*.py")}
