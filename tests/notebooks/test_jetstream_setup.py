"""The notebook on streams with other parameters than its own, executed as papermill does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nbformat
import pytest

from platform_kit.lab.notebook import execute_notebook

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "02_jetstream_setup.ipynb"


@pytest.mark.parametrize(
    "parameters",
    [
        {"orders": 3000, "cards": 20, "kept": 500, "seed": 1},
        {"orders": 20, "cards": 1, "kept": 1000, "seed": 2},
    ],
    ids=["ten times the size", "next to nothing"],
)
def test_its_claims_hold_at_other_sizes(tmp_path: Path, parameters: dict[str, Any]) -> None:
    executed = execute_notebook(NOTEBOOK, tmp_path / "executed.ipynb", parameters, progress=False)
    cells = nbformat.read(executed, as_version=4).cells  # type: ignore[no-untyped-call]
    shown = json.dumps(cells)
    assert f"{parameters['orders']:,} messages" in shown and "refused: the price has changed since" in shown
    pictures = [
        output
        for cell in cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    assert len(pictures) == 3
    assert "platform: stopped" in shown
