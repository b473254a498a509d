"""The notebook without servers, with other parameters than its own, executed as papermill does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nbformat
import pytest

from platform_kit.errors import RunError
from platform_kit.lab.notebook import execute_notebook

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "00_file_pipeline.ipynb"
HEADER = "id,name,type,cost,rarity,text\n"


def execute(tmp_path: Path, **parameters: Any) -> str:
    executed = execute_notebook(NOTEBOOK, tmp_path / "executed.ipynb", parameters, progress=False)
    return json.dumps(nbformat.read(executed, as_version=4).cells)  # type: ignore[no-untyped-call]


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_another_rule_lets_others_in_and_the_files_stay(tmp_path: Path) -> None:
    out = tmp_path / "out"
    shown = execute(tmp_path, longest_text=1000, out=str(out))
    for run, longest in (("first", 120), ("changed", 1000)):
        cards = [card for path in (out / run / "cards").iterdir() for card in lines(path)]
        rejected = lines(out / run / "rejected.jsonl")
        assert len(cards) + len(rejected) == 75
        assert all(len(card["text"]) <= longest and card["total"] <= 5 for card in cards)
        assert all(("characters" in row["reason"]) <= (longest == 120) for row in rejected)
    # The wrong rule is shown at its place, and was not run.
    assert "required: expected =>, got: )" in shown and not (out / "broken").exists()
    assert "image/png" in shown and "finished" in shown


def test_a_deck_full_of_mistakes_is_accounted_for(tmp_path: Path) -> None:
    shown = execute(tmp_path, deck="data/broken.csv", longest_text=80)
    assert "wrong number of fields" in shown and "the card has no name" in shown


def test_a_deck_without_a_single_rejected_row(tmp_path: Path) -> None:
    deck = tmp_path / "small.csv"
    deck.write_text(HEADER + "1,One,Spell,1,common,Short.\n2,Two,Spell,2,rare,Short.\n")
    execute(tmp_path, deck=str(deck), out=str(tmp_path / "out"))
    assert not (tmp_path / "out" / "first" / "rejected.jsonl").exists()


def test_a_folder_that_is_used_already_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "out" / "first").mkdir(parents=True)
    with pytest.raises(RunError, match="FileExistsError"):
        execute(tmp_path, out=str(tmp_path / "out"))
    assert list((tmp_path / "out" / "first").iterdir()) == []


def test_a_deck_that_is_not_there_is_said_with_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"no-deck\.csv: no such file or directory") as caught:
        execute(tmp_path, deck="data/no-deck.csv")
    assert f"Relative paths start in {NOTEBOOK.parent}" in str(caught.value)
