"""Every notebook in notebooks/ looks alike: its cells in order, small, clean, its parameters explained."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
TAGS = {"parameters", "nbval-check-output", "nbval-ignore-output", "nbval-raises-exception"}
MOST_CELLS, MOST_LINES, MOST_FUNCTION_LINES = 25, 15, 5
PARAMETER = re.compile(r"^[a-z_]+: (str|int|float|bool) = (.+?)  # (\S.*)$")
# Each keeps a notebook from running elsewhere, or unattended, or gives something away.
LEFTOVERS = {
    "a shell command": re.compile(r"^\s*[!%]", re.MULTILINE),
    "an absolute path": re.compile(r"""["'(\s](/(home|root|tmp|Users|usr|var|work|opt)/|[A-Z]:\\)"""),
    "a fixed port": re.compile(r"(127\.0\.0\.1|localhost):\d+"),
    "a secret": re.compile(r"\bS[UAO][A-Z2-7]{56}\b|-----BEGIN|password\s*=\s*[\"'][^\"']"),
    "a note to oneself": re.compile(r"\b(TODO|FIXME|XXX|HACK)\b"),
    "a subprocess or a sleep": re.compile(r"\bimport subprocess\b|\bsubprocess\.|\bos\.system\b|\bsleep\("),
}


def read(path: Path) -> NotebookNode:
    notebook = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    assert isinstance(notebook, NotebookNode)
    return notebook


def tags(cell: NotebookNode) -> list[str]:
    return list(cell.metadata.get("tags", []))


def code(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def index(notebook: NotebookNode, wanted: str) -> int:
    """Where the first cell with this text is."""
    found = [number for number, cell in enumerate(notebook.cells) if re.search(wanted, cell.source)]
    assert found, f"no cell with {wanted!r}"
    return found[0]


def test_there_are_notebooks_and_they_are_numbered() -> None:
    assert NOTEBOOKS
    for path in NOTEBOOKS:
        assert re.fullmatch(r"[0-9]{2}(_[a-z0-9]+)+\.ipynb", path.name), path.name
    numbers = [path.name[:2] for path in NOTEBOOKS]
    assert numbers[:2] == ["00", "01"] and len(set(numbers)) == len(numbers)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
class TestNotebook:
    def test_it_is_valid_and_small(self, path: Path) -> None:
        notebook = read(path)
        nbformat.validate(notebook)
        assert len(notebook.cells) <= MOST_CELLS
        for cell in code(notebook):
            lines = cell.source.splitlines()
            assert 0 < len(lines) <= MOST_LINES, cell.source
            for node in ast.walk(ast.parse(cell.source, mode="exec", feature_version=(3, 11))):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    assert (node.end_lineno or 0) - node.lineno < MOST_FUNCTION_LINES, node.name

    def test_its_cells_come_in_order(self, path: Path) -> None:
        notebook = read(path)
        title, learn, imports, parameters = notebook.cells[:4]
        assert re.match(r"# \S.*\n\n\S.*\d+ (seconds|minutes)", title.source), "title, sentence, run time"
        assert learn.cell_type == "markdown" and "You will learn" in learn.source
        imported = ast.parse(imports.source).body
        assert imported and all(isinstance(node, ast.Import | ast.ImportFrom) for node in imported)
        assert tags(parameters) == ["parameters"]
        # Without a platform there is something else that is run, and its files that are removed.
        has_platform = "Platform" in imports.source
        start = r"Platform\(.*\)\.start\(\)|attach\(" if has_platform else r"= \w+\.run\("
        stop = r"^platform\.stop\(\)" if has_platform else r"\.cleanup\(\)"
        places = [index(notebook, text) for text in (start, r"(^|\n) *assert ", stop)]
        places.append(len(notebook.cells) - 1)
        assert places[0] > 3 and places == sorted(set(places)), "start, checks, stop, next"
        if not has_platform:
            assert not any("platform." in cell.source for cell in code(notebook)[1:])
        assert "Next" in notebook.cells[-1].source and notebook.cells[-1].cell_type == "markdown"
        after = [
            cell for cell in code(notebook)[2:] if re.search(r"^(import|from) ", cell.source, re.MULTILINE)
        ]
        assert not after, "imports belong into the one cell of imports"

    def test_prose_stands_before_code(self, path: Path) -> None:
        cells = read(path).cells
        runs = "".join("c" if cell.cell_type == "code" else "m" for cell in cells[4:])
        assert "ccccc" not in runs and all(cell.source.strip() for cell in cells)

    def test_its_parameters_are_literals_with_a_type_and_a_comment(self, path: Path) -> None:
        (cell,) = [cell for cell in code(read(path)) if "parameters" in tags(cell)]
        for line in cell.source.splitlines():
            match = PARAMETER.match(line)
            assert match, line
            assert type(ast.literal_eval(match[2])).__name__ == match[1], line

    def test_its_tags_are_known(self, path: Path) -> None:
        notebook = read(path)
        assert {tag for cell in notebook.cells for tag in tags(cell)} <= TAGS
        for cell in code(notebook):
            assert len([tag for tag in tags(cell) if tag.startswith("nbval-")]) <= 1
        assert sum("parameters" in tags(cell) for cell in notebook.cells) == 1

    def test_nothing_is_left_over_in_it(self, path: Path) -> None:
        notebook = read(path)
        for cell in notebook.cells:
            texts = [cell.source, *(str(output) for output in cell.get("outputs", []))]
            for what, pattern in LEFTOVERS.items():
                if cell.cell_type == "markdown" and what == "a shell command":
                    continue
                assert not any(pattern.search(text) for text in texts), f"{what} in {cell.id}"
        assert notebook.metadata.kernelspec.name == "python3"
        assert set(notebook.metadata) <= {"kernelspec", "language_info"}

    def test_what_is_checked_has_an_output_and_nothing_else_has(self, path: Path) -> None:
        for cell in code(read(path)):
            # nbval compares nothing with a cell that was not run when the notebook was saved.
            checked = "nbval-check-output" in tags(cell)
            assert (bool(cell.outputs), cell.execution_count is not None) == (checked, checked), cell.id
            assert not any(output.output_type == "error" for output in cell.outputs)
