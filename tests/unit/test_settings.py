from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from platform_kit import settings as module
from platform_kit.errors import SettingsError
from platform_kit.settings import FILE, MIB, Settings


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / ".config" / "pipelines").mkdir(parents=True)
    return tmp_path.resolve()


def load(checkout: Path, **environ: str) -> Settings:
    return Settings.load(environ={"HOME": "/home/ada"} | environ, cwd=checkout)


def test_defaults(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    found = load(checkout)
    assert found.root == checkout
    assert found.config_dir == checkout / ".config"
    assert found.bin_dir == checkout / ".bin"
    assert found.cache_dir == Path("/home/ada/.cache/platform_kit")
    assert found.max_payload_bytes == 8 * MIB


def test_cache_folder_on_macos(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert load(checkout).cache_dir == Path("/home/ada/Library/Caches/platform_kit")


def test_xdg_cache_home_counts_only_if_absolute(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    assert load(checkout, XDG_CACHE_HOME="/var/c").cache_dir == Path("/var/c/platform_kit")
    assert load(checkout, XDG_CACHE_HOME="c").cache_dir == Path("/home/ada/.cache/platform_kit")


def test_root_is_found_from_a_folder_below(checkout: Path) -> None:
    below = checkout / "notebooks" / "deep"
    below.mkdir(parents=True)
    assert load(below).root == checkout


def test_root_falls_back_to_the_project_itself(tmp_path: Path) -> None:
    assert load(tmp_path).root == Path(module.__file__).resolve().parent.parent


def test_root_variable_wins(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other").resolve()
    assert load(checkout, PLATFORM_KIT_ROOT=str(other)).root == other
    with pytest.raises(SettingsError, match="is no folder"):
        load(checkout, PLATFORM_KIT_ROOT=str(other / "missing"))


def test_variables_win_over_the_file(checkout: Path) -> None:
    (checkout / FILE).write_text('stall_timeout_s = 5\nlog_tail_lines = 3\ncache_dir = "there"\n')
    found = load(checkout, PLATFORM_KIT_STALL_TIMEOUT_S="7.5", PLATFORM_KIT_CACHE="/elsewhere")
    assert (found.stall_timeout_s, found.log_tail_lines, found.cache_dir) == (7.5, 3, Path("/elsewhere"))
    assert load(checkout).cache_dir == checkout / "there"


@pytest.mark.parametrize(
    ("line", "named", "allowed"),
    [
        ("stall_timeout = 5", "'stall_timeout'", "stall_timeout_s"),
        ("root = '/'", "'root'", "cache_dir"),
        ("stall_timeout_s = 'soon'", "'soon'", "number of seconds"),
        ("stall_timeout_s = true", "True", "number of seconds"),
        ("stall_timeout_s = -1", "-1", "above 0"),
        ("startup_timeout_s = nan", "nan", "above 0"),
        ("max_payload_bytes = 8.5", "8.5", "whole number"),
        ("max_payload_bytes = 0", "0", "from 1024 to"),
        ("log_tail_lines = true", "True", "whole number"),
        ("cache_dir = 3", "3", "a path"),
        ("cache_dir = ''", "''", "a path"),
        ("not toml", "platform.toml", "key = value"),
    ],
)
def test_file_with_a_mistake(checkout: Path, line: str, named: str, allowed: str) -> None:
    (checkout / FILE).write_text(line + "\n")
    with pytest.raises(SettingsError) as caught:
        load(checkout)
    assert named in caught.value.what
    assert "platform.toml" in caught.value.what
    assert allowed in caught.value.hint


@pytest.mark.parametrize(
    ("variable", "text", "allowed"),
    [
        ("PLATFORM_KIT_STALL_TIMEOUT", "5", "PLATFORM_KIT_STALL_TIMEOUT_S"),
        ("PLATFORM_KIT_CACHE_DIR", "/x", "PLATFORM_KIT_CACHE"),
        ("PLATFORM_KIT_LOG_TAIL_LINES", "many", "whole number"),
        ("PLATFORM_KIT_LOG_TAIL_LINES", "2.5", "whole number"),
        ("PLATFORM_KIT_STOP_TIMEOUT_S", "inf", "at most"),
    ],
)
def test_variable_with_a_mistake(checkout: Path, variable: str, text: str, allowed: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(checkout, **{variable: text})
    assert variable in caught.value.what
    assert allowed in caught.value.hint


def test_variables_of_the_servers_are_not_ours(checkout: Path) -> None:
    assert load(checkout, PLATFORM_NATS_URL="nats://127.0.0.1:1") == load(checkout)


def test_the_shipped_file_documents_every_key_with_its_default(checkout: Path) -> None:
    shipped = (Path(module.__file__).resolve().parent.parent / FILE).read_text()
    lines = [line[2:] for line in shipped.splitlines() if line.startswith("# ") and " = " in line]
    (checkout / FILE).write_text("\n".join(lines))
    assert sorted(line.split(" = ")[0] for line in lines) == sorted(module._KEYS)
    found, default = load(checkout), load(checkout.parent)
    for key in (*module._SECONDS, *module._COUNTS):
        assert getattr(found, key) == getattr(default, key), key
    assert found.bin_dir == checkout / ".bin"


def test_importing_reads_nothing(tmp_path: Path) -> None:
    code = (
        "import platform_kit.settings as s; print([v for v in vars(s).values() if isinstance(v, s.Settings)])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PLATFORM_KIT_NONSENSE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"
