"""pyproject.toml, requirements.lock, environment.yml and `kit` agree, and `kit` does its set-up once."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import platform_kit

ROOT = Path(__file__).resolve().parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
LOCK = (ROOT / "requirements.lock").read_text("utf-8")
KIT = (ROOT / "kit").read_text("utf-8")


def parsed(lines: list[str]) -> dict[str, Requirement]:
    found = [Requirement(line) for line in lines]
    return {canonicalize_name(one.name): one for one in found}


DEPENDENCIES = parsed(PROJECT["project"]["dependencies"])
GROUPS = {name: parsed(lines) for name, lines in PROJECT["dependency-groups"].items()}


def locked() -> dict[str, list[Requirement]]:
    """Name to its locked versions; there are several where Python versions differ."""
    found: dict[str, list[Requirement]] = {}
    for line in LOCK.splitlines():
        if re.match(r"\w", line):
            one = Requirement(line.removesuffix("\\"))
            found.setdefault(canonicalize_name(one.name), []).append(one)
    return found


def version_of(one: Requirement) -> Version:
    (pin,) = one.specifier
    assert pin.operator == "=="
    return Version(pin.version)


def test_the_lock_satisfies_the_project() -> None:
    have = locked()
    for wanted in [DEPENDENCIES, *GROUPS.values()]:
        for name, requirement in wanted.items():
            assert name in have, f"{name} is not in requirements.lock; run ./kit lock"
            for one in have[name]:
                assert version_of(one) in requirement.specifier, (
                    f"{one} against {requirement}; run ./kit lock"
                )


def test_every_locked_file_has_its_hash_and_no_host() -> None:
    entries = re.split(r"(?m)^(?=\w)", LOCK)[1:]
    assert len(entries) > 100
    for entry in entries:
        first, *rest = entry.rstrip().splitlines()
        assert rest, f"{first} has no hash"
        assert all(re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}( \\)?", line) for line in rest), first
    assert "://" not in LOCK


def test_what_is_installed_is_what_is_locked() -> None:
    """What any of it requires is locked too. Conda's versions only have to fit."""
    have = locked()
    by_kit = Path(sys.prefix, "kit-stamp").exists()
    for one in distributions():
        name = canonicalize_name(one.name)
        if name in DEPENDENCIES:
            assert Version(one.version) in DEPENDENCIES[name].specifier, f"{one.name} {one.version}"
        if not by_kit or name in ("pip", "platform-kit"):
            continue
        versions = [
            version_of(pin) for pin in have.get(name, []) if pin.marker is None or pin.marker.evaluate()
        ]
        assert versions == [Version(one.version)], f"{one.name} {one.version}; run ./kit setup"
        for line in one.requires or []:
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                assert canonicalize_name(requirement.name) in have, f"{one.name} requires {line}"


def test_conda_users_get_the_same_list() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text("utf-8"))
    (pip,) = [item["pip"] for item in environment["dependencies"] if isinstance(item, dict)]
    conda = [item for item in environment["dependencies"] if isinstance(item, str)]
    listed = parsed([line for line in [*conda, *pip] if line not in ("pip", "-e .")])
    python = listed.pop("python")
    assert "-e ." in pip
    assert str(python.specifier) == PROJECT["project"]["requires-python"]
    # The group "setup" is what `kit` itself installs with; conda does that part.
    wanted = DEPENDENCIES | GROUPS["dev"]
    assert {name: (str(one.specifier), one.extras) for name, one in listed.items()} == {
        name: (str(one.specifier), one.extras) for name, one in wanted.items()
    }


def test_one_version_and_one_oldest_python() -> None:
    assert PROJECT["project"]["version"] == platform_kit.__version__
    oldest = PROJECT["project"]["requires-python"].removeprefix(">=")
    assert f"NEEDS = ({oldest.replace('.', ', ')})" in KIT
    assert PROJECT["tool"]["ruff"]["target-version"] == "py" + oldest.replace(".", "")
    assert PROJECT["tool"]["mypy"]["python_version"] == oldest


def test_kit_uses_only_the_standard_library() -> None:
    imported = set(re.findall(r"(?m)^\s*(?:import|from) (\w+)", KIT.split('"""', 2)[2]))
    assert imported <= set(sys.stdlib_module_names)


# ── kit itself, in a small folder of its own with a uv that only notes how it is called ──

FAKE_UV = """#!/bin/sh
echo "$*" >> "{calls}"
case "$1 $2" in
  "venv "*) for venv; do :; done
            mkdir -p "$venv/bin"
            echo "home = x" > "$venv/pyvenv.cfg"
            ln -s "{python}" "$venv/bin/python" ;;
  "pip sync") {sync} ;;
esac
"""


class Checkout:
    """A folder with `kit`, a lock, a package that builds nothing, and a fake uv first on PATH."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "check out"
        self.calls_file = folder / "calls"
        self.tools = folder / "tools"
        package = self.root / "platform_kit" / "binaries"
        package.mkdir(parents=True)
        self.tools.mkdir()
        shutil.copy(ROOT / "kit", self.root / "kit")
        (self.root / "requirements.lock").write_text(
            "tqdm==4.0 \\\n    --hash=sha256:00\nuv==0.9 \\\n    --hash=sha256:11\n"
        )
        (self.root / "pyproject.toml").write_text("[project]\n")
        (self.root / "tests").mkdir()
        (self.root / "tests" / "run.py").write_text("import sys\nprint(*sys.argv[1:])\nsys.exit(7)\n")
        (package / "__init__.py").write_text("")
        (package / "__main__.py").write_text("")
        (package.parent / "__init__.py").write_text("")
        self.fake_uv()

    def fake_uv(self, sync: str = ":") -> None:
        uv = self.tools / "uv"
        uv.write_text(FAKE_UV.format(calls=self.calls_file, python=sys.executable, sync=sync))
        uv.chmod(0o755)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, self.root / "kit", *arguments],
            env=os.environ | {"PATH": f"{self.tools}{os.pathsep}{os.defpath}", "PYTHONPATH": "/nowhere"},
            cwd=self.tools,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def kit(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=60)
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def calls(self) -> list[str]:
        """The first two words of each call of uv since the last question."""
        if not self.calls_file.exists():
            return []
        lines = self.calls_file.read_text().splitlines()
        self.calls_file.unlink()
        return [" ".join(line.split()[:2]) for line in lines if line != "--version"]


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


FIRST = ["venv -q", "pip sync", "pip install"]


def test_the_second_call_sets_nothing_up(checkout: Checkout) -> None:
    first = checkout.kit("setup")
    assert first.returncode == 0, first.stderr
    assert "2 packages" in first.stderr
    assert checkout.calls() == FIRST
    second = checkout.kit("setup")
    assert (second.returncode, second.stdout, second.stderr) == (0, "", "")
    assert checkout.calls() == []


def test_the_packages_are_installed_by_hash_and_compiled(checkout: Checkout) -> None:
    checkout.kit("setup")
    sync = checkout.calls_file.read_text().splitlines()[-2]
    assert "--require-hashes" in sync
    assert "--compile-bytecode" in sync
    assert f"--build-constraints {checkout.root}/requirements.lock" in sync


def test_the_word_gets_its_arguments_and_gives_its_exit_code(checkout: Checkout) -> None:
    done = checkout.kit("test", "-k", "two words")
    assert (done.returncode, done.stdout) == (7, "-k two words\n")


@pytest.mark.parametrize("name", ["requirements.lock", "pyproject.toml"])
def test_an_edit_is_synced_into_the_same_environment(checkout: Checkout, name: str) -> None:
    checkout.kit("setup")
    checkout.calls()
    mark = checkout.root / ".venv" / "mark"
    mark.touch()
    with (checkout.root / name).open("a") as file:
        file.write("# more\n")
    assert checkout.kit("setup").returncode == 0
    assert checkout.calls() == ["pip sync", "pip install"]
    assert mark.exists()


def test_a_failed_set_up_says_so_and_is_begun_again(checkout: Checkout) -> None:
    checkout.fake_uv(sync="echo no route to anything >&2; exit 3")
    failed = checkout.kit("setup")
    assert failed.returncode == 1
    assert "Installing the packages failed (exit code 3)" in failed.stderr
    assert "no route" in failed.stderr
    assert "Traceback" not in failed.stderr
    checkout.calls()
    checkout.fake_uv()
    again = checkout.kit("setup")
    assert again.returncode == 0
    assert ".venv is not whole" in again.stderr
    assert checkout.calls() == FIRST


def test_a_failed_sync_is_not_forgotten_when_the_lock_goes_back(checkout: Checkout) -> None:
    """The environment is then neither the old nor the new one."""
    checkout.kit("setup")
    lock = checkout.root / "requirements.lock"
    before = lock.read_text()
    lock.write_text(before + "# more\n")
    checkout.fake_uv(sync="exit 3")
    assert checkout.kit("setup").returncode == 1
    checkout.calls()
    lock.write_text(before)
    checkout.fake_uv()
    assert checkout.kit("setup").returncode == 0
    assert checkout.calls() == FIRST


def test_an_interrupted_set_up_is_begun_again(checkout: Checkout) -> None:
    started = checkout.tools / "started"
    os.mkfifo(started)
    checkout.fake_uv(sync=f'echo > "{started}"; exec sleep 60')
    process = checkout.start("setup")
    started.read_text()  # returns when the sync is under way
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in err
    checkout.calls()
    checkout.fake_uv()
    assert checkout.kit("setup").returncode == 0
    assert checkout.calls() == FIRST


def test_an_environment_whose_python_is_gone_is_made_again(checkout: Checkout) -> None:
    checkout.kit("setup")
    checkout.calls()
    python = checkout.root / ".venv" / "bin" / "python"
    python.unlink()
    python.symlink_to("/nowhere/python3")
    assert checkout.kit("setup").returncode == 0
    assert checkout.calls() == FIRST


def test_a_moved_checkout_is_set_up_again(checkout: Checkout) -> None:
    checkout.kit("setup")
    checkout.calls()
    checkout.root = checkout.root.rename(checkout.root.with_name("moved"))
    assert checkout.kit("setup").returncode == 0
    assert "pip sync" in checkout.calls()


def test_somebody_elses_folder_is_left_alone(checkout: Checkout) -> None:
    (checkout.root / ".venv").mkdir()
    (checkout.root / ".venv" / "thesis.txt").write_text("")
    done = checkout.kit("setup")
    assert done.returncode == 1
    assert "left alone" in done.stderr
    assert (checkout.root / ".venv" / "thesis.txt").exists()


def test_of_two_at_once_one_sets_up(checkout: Checkout) -> None:
    started, go_on = checkout.tools / "started", checkout.tools / "go-on"
    os.mkfifo(started)
    os.mkfifo(go_on)
    checkout.fake_uv(sync=f'echo > "{started}"; read x < "{go_on}"')
    first = checkout.start("setup")
    started.read_text()
    second = checkout.start("setup")
    assert second.stderr is not None
    assert "waiting for another set-up" in second.stderr.readline()
    go_on.write_text("x\n")
    for process in (first, second):
        process.communicate(timeout=30)
        assert process.returncode == 0
    assert checkout.calls() == FIRST


def test_a_failed_binary_stops_the_word(checkout: Checkout) -> None:
    (checkout.root / "platform_kit" / "binaries" / "__main__.py").write_text(
        "import sys; sys.exit('no compiler')"
    )
    done = checkout.kit("test")
    assert done.returncode == 1
    assert "no compiler" in done.stderr
    assert done.stdout == ""


def test_unknown_word_and_help(checkout: Checkout) -> None:
    wrong = checkout.kit("launch")
    assert wrong.returncode == 2
    assert "run, lab, test" in wrong.stderr
    for arguments in ([], ["--help"]):
        shown = checkout.kit(*arguments)
        assert shown.returncode == 0
        assert "./kit lab" in shown.stdout
    assert checkout.calls() == []


def test_the_environment_is_shielded_from_pythonpath(checkout: Checkout) -> None:
    (checkout.root / "tests" / "run.py").write_text("import os; print(os.environ.get('PYTHONPATH'))")
    assert checkout.kit("test").stdout == "None\n"


def test_uv_is_found_in_the_lock_for_those_who_have_none() -> None:
    """`kit` hands this part of the lock to pip."""
    found = re.search(r"(?ms)^uv==.*?(?=^\S|\Z)", LOCK)
    assert found
    assert "uv==.*?" in KIT
    assert set(re.findall(r"(?m)^[\w-]+", found[0])) == {"uv"}
    assert found[0].count("--hash=sha256:") >= 10
