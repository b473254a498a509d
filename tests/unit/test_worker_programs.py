"""From a path to a worker: modules built with the kit's toolchain, and programs asked who they are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tracemalloc
import zipfile
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from commands import command
from support import wait_for

from platform_kit.binaries import GO_MODULE, SPECS
from platform_kit.binaries.build import go_environment
from platform_kit.binaries.keys import Toolchain
from platform_kit.errors import BinaryError, BuildError, SettingsError, UsageError
from platform_kit.pipelines import Pipeline
from platform_kit.settings import Settings
from platform_kit.workers.gomodule import build_module
from platform_kit.workers.join import join_command
from platform_kit.workers.program import Program, describe, find_program, kit_workers, worker_kind
from platform_kit.workers.scaffold import new_worker

SETTINGS = Settings.load()
FAR = "example.invalid/far"


@pytest.fixture(autouse=True)
def _cache_of_the_tests(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the tests build does not stay in the user's cache."""
    cache = tmp_path_factory.getbasetemp() / "worker-cache"
    monkeypatch.setitem(globals(), "SETTINGS", replace(Settings.load(), cache_dir=cache))


def script(folder: Path, body: str) -> Path:
    path = folder / "program"
    path.write_text(f"#!{sys.executable}\nimport json, sys, time\n{body}\n")
    path.chmod(0o755)
    return path


def said(binary: Path, word: str = "describe") -> dict[str, object]:
    done = subprocess.run([binary, word], capture_output=True, check=True, text=True)
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


@pytest.fixture
def module(tmp_path: Path) -> Path:
    return new_worker("weigher", tmp_path)


# ------------------------------------------------------------------------------ modules


def test_a_new_worker_builds_once_and_knows_its_build(module: Path) -> None:
    first = find_program(module, SETTINGS)
    assert (first.name, first.version, first.source) == ("weigher", "0.1.0", module)
    assert first.transports == ("serve", "subprocess", "command") and first.max_request_bytes == 1024 * 1024
    assert len(first.build) == 64 and first.binary.parent.name.endswith(first.build[:20])
    built = first.binary.stat().st_mtime_ns
    # By another way to the same sources it is the same binary.
    assert find_program(module / "main.go", SETTINGS).binary == first.binary
    assert first.binary.stat().st_mtime_ns == built
    # A source counts, also one of another package of the module; a test and a note do not.
    (module / "handler_test.go").write_text("package main\n")
    (module / "NOTES.md").write_text("weigh twice")
    assert find_program(module, SETTINGS).build == first.build
    (module / "scale").mkdir()
    (module / "scale" / "scale.go").write_text("package scale\n\nconst Grams = 1\n")
    main = (module / "main.go").read_text().replace("import", 'import _ "workers/weigher/scale"\nimport')
    (module / "main.go").write_text(main)
    second = find_program(module, SETTINGS)
    (module / "scale" / "scale.go").write_text("package scale\n\nconst Grams = 2\n")
    third = find_program(module, SETTINGS)
    assert len({first.build, second.build, third.build}) == 3


def test_the_kits_own_workers_know_their_build() -> None:
    assert {"card-renderer", "echo-worker"} <= set(kit_workers())
    program = find_program("echo-worker", Settings.load())
    assert len(program.build) == 64 and program.binary.parent.name.endswith(program.build[:20])
    assert all(not getattr(SPECS[name], "full_tags", "") for name in kit_workers())


def test_its_own_tests_pass_as_written(module: Path) -> None:
    env = go_environment(SETTINGS.cache_dir)
    del env["GOWORK"]  # the go.work beside it is found, as by an editor
    go = Toolchain.find().go
    tested = subprocess.run(
        [go, "test", "./..."], cwd=module, env=env, capture_output=True, text=True, check=False
    )
    assert tested.returncode == 0 and tested.stdout.startswith("ok"), tested.stdout + tested.stderr
    vetted = subprocess.run(
        [go, "vet", "./..."], cwd=module, env=env, capture_output=True, text=True, check=False
    )
    assert vetted.returncode == 0, vetted.stderr
    formatted = subprocess.run(
        [go.with_name("gofmt"), "-l", "."], cwd=module, capture_output=True, text=True, check=True
    )
    assert formatted.stdout == ""
    assert Pipeline.read(module / "weigher.yaml").test().count == 3


@pytest.mark.parametrize("workspace", ["", "off"])
def test_tidying_looks_for_the_kit_nowhere_and_asks_for_it_in_no_file(module: Path, workspace: str) -> None:
    # No network: what is looked for there is an error.
    env = go_environment(SETTINGS.cache_dir) | {"GOPROXY": "off", "GOFLAGS": "", "GOWORK": workspace}
    before = (module / "go.mod").read_text()
    done = subprocess.run(
        [Toolchain.find().go, "mod", "tidy"], cwd=module, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (module / "go.mod").read_text() == before


def test_what_is_written_names_the_worker_and_nothing_of_the_model(module: Path) -> None:
    files = sorted(path.name for path in module.iterdir())
    expected = [".gitignore", "README.md", "go.mod", "go.work", "handler.go", "handler_test.go", "main.go"]
    assert files == [*expected, "weigher.yaml"]
    for path in module.iterdir():
        assert "starter" not in path.read_text(), path
    assert str(GO_MODULE) in (module / "go.work").read_text()
    assert "go.work" in (module / ".gitignore").read_text().splitlines()


def test_nothing_is_overwritten(module: Path) -> None:
    before = {path: path.read_bytes() for path in module.iterdir()}
    with pytest.raises(UsageError, match="is there already"):
        new_worker("weigher", module.parent)
    assert {path: path.read_bytes() for path in module.iterdir()} == before
    assert [path.name for path in module.parent.iterdir()] == ["weigher"]


@pytest.mark.parametrize(
    "name", ["", "Weigher", "we.igher", "we igher", "-weigher", "a/b", "../up", "x" * 65, "wéigher"]
)
def test_a_name_that_is_no_token_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="cannot be the name"):
        new_worker(name, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_name_of_the_kit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a worker of the kit"):
        new_worker("card-renderer", tmp_path)


def test_the_command_writes_one(tmp_path: Path) -> None:
    done = command(tmp_path, "new", "worker", "counter", "--into", "workers")
    assert done.returncode == 0 and (tmp_path / "workers" / "counter" / "handler.go").is_file()
    assert "handler.go" in done.stdout
    again = command(tmp_path, "new", "worker", "counter", "--into", "workers")
    assert again.returncode == 2 and "is there already" in again.stderr


def proxy_with(folder: Path, module: str, version: str, source: str) -> Path:
    """A module proxy on disk that serves one module."""
    files = folder / module / "@v"
    files.mkdir(parents=True)
    mod = f"module {module}\n\ngo 1.26\n"
    (files / f"{version}.info").write_text(json.dumps({"Version": version, "Time": "2026-01-01T00:00:00Z"}))
    (files / f"{version}.mod").write_text(mod)
    (files / "list").write_text(version + "\n")
    with zipfile.ZipFile(files / f"{version}.zip", "w") as archive:
        for name, text in (("go.mod", mod), ("far.go", source)):
            archive.writestr(f"{module}@{version}/{name}", text)
    return folder


def test_a_library_of_the_users_own_needs_no_more_than_its_requirement(
    module: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = proxy_with(tmp_path / "proxy", FAR, "v1.2.3", 'package far\n\nconst Word = "far"\n')
    cache = subprocess.run(
        [Toolchain.find().go, "env", "GOMODCACHE"], capture_output=True, text=True, check=True
    ).stdout.strip()
    # What the kit requires is there already; only the library has to be fetched.
    monkeypatch.setenv("GOPROXY", f"file://{cache}/cache/download,file://{proxy}")
    monkeypatch.setenv("GOMODCACHE", str(tmp_path / "modules"))
    monkeypatch.setenv("GONOSUMDB", "*")
    with (module / "go.mod").open("a") as file:
        file.write(f"\nrequire {FAR} v1.2.3\n")
    main = (module / "main.go").read_text().replace("import", f'import "{FAR}"\nimport')
    (module / "main.go").write_text(main.replace('"0.1.0"', '"0.1.0+" + far.Word'))
    settings = Settings.load(environ={**os.environ, "PLATFORM_KIT_CACHE": str(tmp_path / "cache")})
    binary = build_module(module, settings)
    assert said(binary)["version"] == "0.1.0+far"
    # Its checksum is kept beside the generated workspace; the user's folder is left as it was.
    assert not (module / "go.sum").exists() and not (module / "go.work.sum").exists()
    sums = next((settings.cache_dir / "workspaces").glob("*/go.work.sum")).read_text()
    assert f"{FAR} v1.2.3 h1:" in sums
    subprocess.run(["chmod", "-R", "u+w", str(tmp_path / "modules")], check=True)


def test_a_replaced_module_counts_among_the_sources(module: Path) -> None:
    near = module.parent / "near"
    near.mkdir()
    (near / "go.mod").write_text("module example.invalid/near\n\ngo 1.26\n")
    (near / "near.go").write_text('package near\n\nconst Word = "one"\n')
    with (module / "go.mod").open("a") as file:
        file.write("\nrequire example.invalid/near v0.0.0\nreplace example.invalid/near => ../near\n")
    main = (module / "main.go").read_text().replace("import", 'import "example.invalid/near"\nimport')
    (module / "main.go").write_text(main.replace('"0.1.0"', '"0.1.0+" + near.Word'))
    assert find_program(module, SETTINGS).version == "0.1.0+one"
    (near / "near.go").write_text('package near\n\nconst Word = "two"\n')
    assert find_program(module, SETTINGS).version == "0.1.0+two"


def test_modules_of_the_users_own_workspace_are_found(module: Path) -> None:
    near = module.parent / "near"
    near.mkdir()
    (near / "go.mod").write_text("module example.invalid/near\n\ngo 1.26\n")
    (near / "near.go").write_text('package near\n\nconst Word = "near"\n')
    # Another checkout's kit, or one that is gone, gives way to this one.
    (module / "go.work").write_text("go 1.26\n\nuse (\n\t.\n\t../near\n\t/no/such/checkout/go\n)\n")
    main = (module / "main.go").read_text().replace("import", 'import "example.invalid/near"\nimport')
    (module / "main.go").write_text(main.replace('"0.1.0"', '"0.1.0+" + near.Word'))
    assert find_program(module, SETTINGS).version == "0.1.0+near"


def test_what_does_not_compile_shows_the_compilers_lines(module: Path) -> None:
    (module / "handler.go").write_text("package main\n\nfunc handle() { return 1 }\n")
    with pytest.raises(BuildError, match=r"handler\.go:3:\d+: too many return values") as caught:
        find_program(module, SETTINGS)
    assert str(module) in caught.value.hint


def test_an_import_nobody_has_is_said(module: Path) -> None:
    (module / "more.go").write_text('package main\n\nimport _ "platform-kit/wroker"\n')
    with pytest.raises(BuildError, match=r"platform-kit/wroker"):
        find_program(module, SETTINGS)


def test_a_module_that_is_missing_is_named_in_the_hint(module: Path) -> None:
    (module / "more.go").write_text('package main\n\nimport _ "example.invalid/far/away"\n')
    with pytest.raises(BuildError, match=r"example\.invalid/far/away") as caught:
        find_program(module, SETTINGS)
    assert f"`go get example.invalid/far/away` in {module}" in caught.value.hint


def test_a_go_line_above_the_kits_is_to_be_lowered(module: Path) -> None:
    (module / "go.mod").write_text((module / "go.mod").read_text().replace("go 1.26", "go 1.99"))
    with pytest.raises(BuildError, match=r"requires go >= 1\.99") as caught:
        find_program(module, SETTINGS)
    assert f"Lower `go 1.99` in {module / 'go.mod'}" in caught.value.hint


def test_a_folder_without_a_program_is_said(module: Path, tmp_path: Path) -> None:
    (module / "empty").mkdir()
    with pytest.raises(UsageError, match="no Go file") as caught:
        find_program(module / "empty", SETTINGS)
    assert str(module) in caught.value.hint
    (module / "scale").mkdir()
    (module / "scale" / "scale.go").write_text("package scale\n")
    with pytest.raises(UsageError, match="its package is scale, not main"):
        find_program(module / "scale", SETTINGS)
    (tmp_path / "elsewhere").mkdir()
    with pytest.raises(UsageError, match=r"no go\.mod"):
        find_program(tmp_path / "elsewhere", SETTINGS)
    with pytest.raises(UsageError, match="There is no worker") as caught:
        find_program(tmp_path / "nowhere", SETTINGS)
    assert "echo-worker" in caught.value.hint


# ------------------------------------------------------------------------------ programs


GOOD = '{"name": "a", "version": "1.0.0", "protocol": 1, "transports": ["serve"], "max_request_bytes": 5}'


def test_what_a_program_says_of_itself_is_taken(tmp_path: Path) -> None:
    path = script(tmp_path, f"print({GOOD!r})")
    expected = Program(path, path, "a", "1.0.0", "", ("serve",), 5)
    assert describe(path) == find_program(path, SETTINGS) == expected


@pytest.mark.parametrize(
    ("body", "seen"),
    [
        ("print('hello')", "is not JSON: 'hello'"),
        ("print('[1]')", "no JSON object"),
        (f"print({GOOD!r}.replace('\"a\"', '\"a.b\"'))", "no name that could be part of a subject"),
        (f"print({GOOD!r}.replace(' 1,', ' 2,'))", "names the protocol 2, not 1"),
        (f"print({GOOD!r}.replace('[\"serve\"]', '3'))", "no list of transports"),
        ("sys.exit('unknown word: describe')", "exit code 1. It said: unknown word: describe"),
        ("print('\\x1b[2J' * 500)", "is not JSON"),
        ("print('[' * 60_000)", "is not JSON"),
        (
            "sys.exit('loading\\npanic: no model\\n\\ngoroutine 1 [running]:\\n\\tmain.go:7 +0x25')",
            "It said: panic: no model",
        ),
    ],
)
def test_a_program_that_is_no_worker_is_said(tmp_path: Path, body: str, seen: str) -> None:
    with pytest.raises(BinaryError) as caught:
        describe(script(tmp_path, body))
    assert seen in caught.value.what and "describe" in caught.value.hint
    assert "\x1b" not in str(caught.value) and len(caught.value.what) < 600


def test_a_program_that_does_not_answer_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform_kit.workers.program.DESCRIBE_TIMEOUT_S", 0.3)
    with pytest.raises(BinaryError, match=r"within 0\.3 s"):
        describe(script(tmp_path, "time.sleep(60)"))


def test_a_program_that_writes_for_ever_is_read_to_a_limit(tmp_path: Path) -> None:
    for stream in ("stdout", "stderr"):
        endless = f"line = 'x' * 99\nfor _ in range(10_000): print(line, file=sys.{stream})\nsys.exit(3)"
        tracemalloc.start()
        try:
            with pytest.raises(BinaryError, match="above 64 KiB" if stream == "stdout" else "exit code 3"):
                describe(script(tmp_path, endless))
            assert tracemalloc.get_traced_memory()[1] < 800_000
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize("ending", ["wait", "exit 0"])
def test_what_a_program_started_ends_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    # It holds the pipes of its parent open, whether that waits for it or not.
    monkeypatch.setattr("platform_kit.workers.program.DESCRIBE_TIMEOUT_S", 1.0 if ending == "wait" else 60.0)
    path = tmp_path / "program"
    path.write_text(f"#!/bin/sh\nsleep 77 &\necho $! > {tmp_path}/pid\necho '{GOOD}'\n{ending}\n")
    path.chmod(0o755)
    if ending == "wait":
        with pytest.raises(BinaryError, match="within 1 s"):
            describe(path)
    else:
        assert describe(path).name == "a"
    pid = int((tmp_path / "pid").read_text())
    wait_for(
        lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == "zombie", "its child's end"
    )


def test_a_file_that_cannot_be_executed_is_said(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("no program")
    with pytest.raises(UsageError, match="cannot be executed"):
        find_program(path, SETTINGS)
    path.chmod(0o755)
    with pytest.raises(BinaryError, match="cannot be run"):
        find_program(path, SETTINGS)


def test_the_variables_of_the_platform_are_its_own(tmp_path: Path) -> None:
    program = Program(tmp_path, tmp_path, "a", "", "", ("serve",), None)
    assert worker_kind(program, name=None, env={"MODEL": "small"}).env == {"MODEL": "small"}
    with pytest.raises(UsageError, match="PLATFORM_NATS_URL"):
        worker_kind(program, name=None, env={"PLATFORM_NATS_URL": "nats://127.0.0.1"})
    with pytest.raises(UsageError, match="env has 'MODEL': 1"):
        worker_kind(program, name=None, env={"MODEL": 1})  # type: ignore[dict-item]
    with pytest.raises(UsageError, match=r"name='a\.b'"):
        worker_kind(program, name="a.b", env={})
    with pytest.raises(UsageError, match=r"env=\['a'\] are no names with values"):
        worker_kind(program, name=None, env=["a"])  # type: ignore[arg-type]
    deaf = Program(tmp_path, tmp_path, "a", "", "", ("command",), None)
    with pytest.raises(UsageError, match="does not serve on NATS, only as command"):
        worker_kind(deaf, name=None, env={})


@pytest.mark.parametrize("server", ["nats-server", "wombat"])
def test_no_worker_takes_the_name_of_a_server(tmp_path: Path, server: str) -> None:
    named = Program(tmp_path, tmp_path, server, "", "", ("serve",), None)
    for program, name in ((replace(named, name="a"), server), (named, None)):
        with pytest.raises(UsageError, match=f"'{server}' is a server of the platform") as caught:
            worker_kind(program, name=name, env={})
        assert "name=" in caught.value.hint
    assert worker_kind(named, name="mine", env={}).service == server


@pytest.mark.parametrize(("transports", "seen"), [((), "names no transport"), (("http",), "names only http")])
def test_a_worker_without_a_known_transport_is_told_them(
    tmp_path: Path, transports: tuple[str, ...], seen: str
) -> None:
    with pytest.raises(UsageError, match=f"{seen}; the kit knows serve, subprocess, command"):
        worker_kind(Program(tmp_path, tmp_path, "a", "", "", transports, None), name=None, env={})


# ------------------------------------------------------------------------------ joining


def test_a_worker_that_joins_is_told_files_and_no_secrets(tmp_path: Path) -> None:
    program = Program(Path("/bin/worker"), Path("/bin/worker"), "a", "", "", ("serve",), None)
    creds, seed = tmp_path / "user.creds", tmp_path / "user.nk"
    creds.write_text("-----BEGIN NATS USER JWT-----\nSECRET\n")
    seed.write_text("SUSECRET")
    environ = {"PATH": "/bin", "PLATFORM_NKEY_FILE": "/another", "PLATFORM_INSTANCE": "other"}
    line, env = join_command(
        program, "tls://nats.example.com:4222", credentials=creds, concurrency=3, environ=environ
    )
    assert line == ["/bin/worker", "serve", "--concurrency", "3"]
    assert env == {
        "PATH": "/bin",
        "PLATFORM_NATS_URL": "tls://nats.example.com:4222",
        "PLATFORM_CREDS_FILE": str(creds),
    }
    line, env = join_command(
        program, "nats://127.0.0.1:4222", credentials=seed, instance="mine", environ=environ
    )
    assert line == ["/bin/worker", "serve"]
    assert env["PLATFORM_NKEY_FILE"] == str(seed) and env["PLATFORM_INSTANCE"] == "mine"
    assert "SECRET" not in json.dumps([line, env])


def test_what_cannot_join_is_said(tmp_path: Path) -> None:
    program = Program(Path("/bin/worker"), Path("/bin/worker"), "a", "", "", ("serve",), None)
    with pytest.raises(UsageError, match="not encrypted"):
        join_command(program, "nats://nats.example.com:4222", credentials=None)
    with pytest.raises(SettingsError, match=r"missing\.creds"):
        join_command(program, "nats://127.0.0.1", credentials=tmp_path / "missing.creds")
    with pytest.raises(UsageError, match="--concurrency 0"):
        join_command(program, "nats://127.0.0.1", credentials=None, concurrency=0)
    with pytest.raises(UsageError, match="--instance"):
        join_command(program, "nats://127.0.0.1", credentials=None, instance="../../etc/passwd")
