"""The quickstart notebook with other parameters than its own, executed as papermill does."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import nbformat
import pytest
from PIL import Image

from platform_kit.errors import RunError, UsageError
from platform_kit.lab.notebook import execute_notebook

QUICKSTART = Path(__file__).parents[2] / "notebooks" / "01_quickstart.ipynb"


def runs(out: Path) -> list[dict[str, int]]:
    return [json.loads(line) for line in (out / "runs.jsonl").read_text(encoding="utf-8").splitlines()]


def test_it_takes_other_parameters_and_renders_nothing_twice(tmp_path: Path) -> None:
    out = tmp_path / "out"
    parameters = {"template": "minimal", "count": 3, "seed": 1, "out": str(out)}
    executed = execute_notebook(QUICKSTART, tmp_path / "first.ipynb", parameters, progress=False)
    assert executed == tmp_path / "first.ipynb"
    cards = sorted((out / "cards").iterdir())
    assert len(cards) == 3
    for card in cards:
        with Image.open(io.BytesIO(card.read_bytes())) as image:
            assert image.size == (750, 1050)
    assert {path.name for path in out.iterdir()} >= {"contact-sheet.png", "cards-a4.pdf", "report.html"}
    counts = [(run["requested"], run["rendered"], run["unchanged"]) for run in runs(out)]
    assert counts == [(3, 3, 0), (3, 1, 2), (3, 1, 2)]

    before = {card.name: card.read_bytes() for card in cards}
    execute_notebook(QUICKSTART, tmp_path / "second.ipynb", parameters, progress=False)
    counts = [(run["requested"], run["rendered"], run["unchanged"]) for run in runs(out)[3:]]
    assert counts == [(3, 0, 3), (3, 1, 2), (3, 1, 2)]
    assert {card.name: card.read_bytes() for card in (out / "cards").iterdir()} == before

    notebook = nbformat.read(executed, as_version=4)  # type: ignore[no-untyped-call]
    injected = next(c for c in notebook.cells if "injected-parameters" in c.metadata.get("tags", []))
    assert 'template = "minimal"' in injected.source
    shown = json.dumps(notebook.cells)
    assert not re.search(r"\bS[UAO][A-Z2-7]{56}\b", shown)
    assert "platform: running" in shown and "platform: stopped" in shown


def test_a_parameter_it_does_not_have_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no parameter colour, size") as caught:
        execute_notebook(QUICKSTART, tmp_path / "out.ipynb", {"size": 1, "colour": "red", "seed": 1})
    assert "count, deck, out, seed, template" in caught.value.hint
    assert not (tmp_path / "out.ipynb").exists()


def test_a_cell_that_fails_is_named_with_its_error(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"cell \d+: TemplateError: There is no template 'baroque'") as caught:
        execute_notebook(
            QUICKSTART, tmp_path / "failed.ipynb", {"template": "baroque", "count": 1}, progress=False
        )
    assert "\x1b" not in str(caught.value) and str(tmp_path / "failed.ipynb") in caught.value.hint
    assert (tmp_path / "failed.ipynb").exists()


def test_a_notebook_that_is_not_there_is_said(tmp_path: Path) -> None:
    (tmp_path / "torn.ipynb").write_text('{"cells": [')
    for name in ("missing.ipynb", "torn.ipynb"):
        with pytest.raises(UsageError, match=name):
            execute_notebook(tmp_path / name, tmp_path / "out.ipynb", {})
