"""Imports of platform_kit modules point only upward in the list of docs/architecture.md."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "platform_kit"

# From the ground up: a part imports from itself and from those before it.
LAYERS = [
    "errors",
    "names",
    "settings",
    "reprs",
    "jobs",
    "binaries",
    "servers",
    "ping",
    "jetstream",
    "pipelines",
    "workers",
    "cards",
    "art",
    "backing",
    "verbs",
    "platform",
    "background",
    "lab",
    "display",
    "terminal",
    "cli",
]
# They stand above the list: the lazy surface, and `python -m platform_kit`.
ABOVE = {"__init__", "__main__"}


def part_of(path: Path) -> str:
    relative = path.relative_to(PACKAGE)
    return relative.parts[0].removesuffix(".py")


def imports_of(source: str, path: Path) -> Iterator[tuple[int, str, bool]]:
    """Line, imported platform_kit part, and whether the import stands inside a function."""
    package = ("platform_kit", *path.relative_to(PACKAGE).parts[:-1])

    def walk(node: ast.AST, inside: bool) -> Iterator[tuple[int, str, bool]]:
        for child in ast.iter_child_nodes(node):
            names: list[str] = []
            if isinstance(child, ast.Import):
                names = [alias.name for alias in child.names]
            elif isinstance(child, ast.ImportFrom):
                base = ".".join(package[: len(package) - child.level + 1]) if child.level else ""
                module = ".".join(part for part in (base, child.module or "") if part)
                names = [f"{module}.{alias.name}" for alias in child.names]
            elif isinstance(child, ast.Call) and isinstance(child.func, ast.Name | ast.Attribute):
                called = child.func.id if isinstance(child.func, ast.Name) else child.func.attr
                first = child.args[0] if child.args else None
                if called in ("import_module", "__import__") and isinstance(first, ast.Constant):
                    names = [str(first.value)]
            for name in names:
                top, _, rest = name.partition(".")
                if top == "platform_kit":
                    yield getattr(child, "lineno", 0), rest.partition(".")[0] or "__init__", inside
            function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from walk(child, inside or function)

    yield from walk(ast.parse(source), False)


def problems_of(source: str, path: Path) -> list[str]:
    part = part_of(path)
    if part in ABOVE:
        return []
    assert part in LAYERS, f"{part} has no place in LAYERS and in docs/architecture.md"
    found = []
    for line, imported, inside in imports_of(source, path):
        where = f"{path.relative_to(PACKAGE.parent)}:{line}"
        if imported == "__init__" or imported not in LAYERS:
            # `from platform_kit import Platform` is the lazy surface: for users, not for the inside.
            found.append(f"{where}: imports {imported} of the package's surface")
        elif LAYERS.index(imported) > LAYERS.index(part):
            found.append(f"{where}: {part} imports {imported}, which stands above it")
        elif inside:
            found.append(f"{where}: imports {imported} inside a function")
    return found


FILES = sorted(path for path in PACKAGE.rglob("*.py") if "go" not in path.relative_to(PACKAGE).parts)


def test_every_part_has_its_place() -> None:
    assert {part_of(path) for path in FILES} <= {*LAYERS, *ABOVE}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_upward(path: Path) -> None:
    assert problems_of(path.read_text("utf-8"), path) == []


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("from platform_kit.cards.deck import Deck", "servers imports cards, which stands above it"),
        ("import platform_kit.platform", "servers imports platform, which stands above it"),
        ("from platform_kit import display", "servers imports display, which stands above it"),
        ("from .. import cli", "servers imports cli, which stands above it"),
        ("from ..lab import bench", "servers imports lab, which stands above it"),
        ("from platform_kit import Platform", "imports Platform of the package's surface"),
        ("def f():\n    from platform_kit.errors import StopError", "imports errors inside a function"),
        ("def f():\n    import_module('platform_kit.cards')", "servers imports cards, which stands above it"),
        ("if True:\n    from platform_kit.cards import x", "servers imports cards, which stands above it"),
        ("from platform_kit.errors import StopError", None),
        ("from .process import Process", None),
        ("def f():\n    import pandas", None),
    ],
)
def test_the_rule_itself(source: str, problem: str | None) -> None:
    found = problems_of(source, PACKAGE / "servers" / "group.py")
    assert [text.partition(": ")[2] for text in found] == ([problem] if problem else [])


def modules_after(statement: str) -> set[str]:
    code = f"import sys, json; {statement}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


HEAVY = {
    "IPython",
    "PIL",
    "asyncio",
    "pikepdf",
    "ipywidgets",
    "jupyter_client",
    "matplotlib",
    "msgspec",
    "nats",
    "numpy",
} | {
    "openpyxl",
    "pandas",
    "papermill",
    "psutil",
    "pyarrow",
    "rich",
    "typer",
    "yaml",
}


def test_importing_the_package_imports_nothing_heavy() -> None:
    loaded = modules_after("import platform_kit") - modules_after("pass")
    assert not loaded & HEAVY
    # Count the package's own modules rather than seconds: a slow machine must not fail this.
    assert {name for name in loaded if name.startswith("platform_kit")} == {"platform_kit"}


def test_the_parts_of_the_start_import_no_pandas() -> None:
    loaded = modules_after("import platform_kit.binaries, platform_kit.settings")
    assert not loaded & (HEAVY - {"asyncio"})


def test_the_surface_names_what_it_has() -> None:
    import platform_kit

    assert set(platform_kit.__all__) <= set(dir(platform_kit))
    with pytest.raises(AttributeError, match=r"no 'Platfrom'; it has .*Platform"):
        _ = platform_kit.Platfrom
    for name in platform_kit.__all__:
        assert getattr(platform_kit, name).__name__ == name
