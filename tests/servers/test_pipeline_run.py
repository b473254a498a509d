"""A pipeline run alone: Wombat without a platform, to its end, whatever the end is."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from conftest import LEAK_WAIT_S
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support import wait_for

from platform_kit import Pipeline
from platform_kit.errors import LintError, PipelineError, PipelineRunError, UsageError
from platform_kit.pipelines import PipelineRun
from platform_kit.reprs import Shown

ROOT = Path(__file__).parents[2]
SORT = ROOT / "notebooks" / "data" / "sort_cards.yaml"
COUNT = "input: { label: count, generate: { count: 5, interval: '', mapping: 'root.n = counter()' } }\n"
ENDLESS = "input: { generate: { interval: 5ms, mapping: 'root.n = counter()' } }\n"
PRINT = "output: { label: print, stdout: {} }\n"


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def wombats(folder: Path) -> list[psutil.Process]:
    """The Wombat processes that work in a folder."""
    found = []
    for process in psutil.process_iter(["cwd", "cmdline", "status"]):
        if process.info["cwd"] == str(folder) and "run" in (process.info["cmdline"] or []):
            found.append(process)
    return found


def failing(text: str, **options: Any) -> PipelineRunError:
    with pytest.raises(PipelineRunError) as caught:
        Pipeline("failing", text).run(**options)
    assert isinstance(caught.value.run, PipelineRun)
    return caught.value


# ------------------------------------------------------------------------------ to its end


def test_a_deck_is_sorted_into_files_and_every_row_is_in_one(tmp_path: Path) -> None:
    run = Pipeline.read(SORT).run(cwd=ROOT / "notebooks", variables={"OUT": tmp_path / "sorted"})
    files = {path.stem: lines(path) for path in (tmp_path / "sorted").rglob("*.jsonl")}
    assert set(files) == {"common", "uncommon", "rare", "mythic", "rejected"}
    assert (run.state, run.exit_code, run.failed) == ("finished", 0, 0)
    assert run.received == run.sent == sum(map(len, files.values())) == 75
    counts = {part.label: (part.kind, part.received, part.sent) for part in run.parts}
    assert counts["deck"] == ("input", 75, None)
    assert counts["rules"] == ("processor", 75, 75)
    assert counts["rejected"] == ("output", None, len(files["rejected"]))
    assert [part.label for part in run.parts] == ["deck", "clean", "rules", "rejected", "why", "accepted"]
    (maren,) = [card for card in files["mythic"] if card["id"] == "lampwright-maren"]
    assert (maren["type"], maren["cost"], maren["total"]) == ("Legend", "2WW", 4)
    assert all(row["reason"] for row in files["rejected"])


def test_a_broken_deck_is_sorted_too(tmp_path: Path) -> None:
    deck = ROOT / "notebooks" / "data" / "broken.csv"
    run = Pipeline.read(SORT).run(cwd=tmp_path, variables={"DECK": deck, "OUT": "sorted"})
    rejected = {row["row"]: row["reason"] for row in lines(tmp_path / "sorted" / "rejected.jsonl")}
    assert run.received == run.sent and run.failed == 0
    assert rejected[5] == "the card has no name" and rejected[20].endswith("wrong number of fields")
    # The rarity names a file: whatever it is, the file is in the folder.
    hostile = tmp_path / "hostile.csv"
    hostile.write_text("id,name,type,cost,rarity,text\n1,A,B,1,../../up,t\n2,A,B,1,/etc/x,t\n3,A,B,1,,t\n")
    Pipeline.read(SORT).run(cwd=tmp_path, variables={"DECK": hostile, "OUT": "out"})
    found = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.jsonl")}
    assert found == {"cards/-up.jsonl", "cards/-etc-x.jsonl", "rejected.jsonl"}


def test_what_it_prints_is_kept_apart_from_its_log() -> None:
    run = Pipeline("print", COUNT + PRINT).run()
    assert [json.loads(line)["n"] for line in run.output.splitlines()] == [1, 2, 3, 4, 5]
    assert "count: Input type generate is now active" in run.log and "Input" not in run.output
    assert run.seconds > 0


def test_a_message_a_processor_fails_on_is_counted_and_logged() -> None:
    rule = "mapping: 'root = if this.n % 2 == 1 { throw(\"odd\") }'"
    text = f"pipeline: {{ processors: [ {{ label: odd, {rule} }} ] }}\n"
    run = Pipeline("odd", COUNT + text + PRINT).run()
    assert (run.received, run.sent, run.failed) == (5, 5, 3)
    assert "error odd: failed assignment (line 1): odd" in run.log


def test_an_error_that_no_count_has_is_shown() -> None:
    told = "pipeline: { processors: [ { label: told, log: { level: ERROR, message: no ink left } } ] }\n"
    run = Pipeline("told", COUNT + told + PRINT).run()
    assert run.failed == 0 and run.text().startswith("◐ told: finished, with errors")
    assert "error told: no ink left (5 times)" in run.text() and "no ink left" in run.html()


def test_failed_messages_are_no_green_end_and_the_reason_is_shown_with_it() -> None:
    text = "pipeline: { processors: [ { label: odd, mapping: 'root = throw(\"<odd>\")' } ] }\n"
    run = Pipeline("odd", COUNT + text + PRINT).run()
    assert run.state == "finished" and run.text().startswith("◐ odd: finished, 5 failed")
    assert "error odd: failed assignment (line 1): <odd> (5 times)" in run.text()
    assert "finished, 5 failed" in run.html() and "&lt;odd&gt; (5 times)" in run.html()
    assert "<odd>" not in run.html()


def test_an_input_that_could_not_be_read_is_said_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "deck.gz").write_text("not packed\n")
    scanner = "{ decompress: { algorithm: gzip, into: { lines: {} } } }"
    deck = f"{{ label: deck, file: {{ paths: [ deck.gz ], scanner: {scanner} }} }}"
    text = f"input: {{ read_until: {{ idle_timeout: 300ms, input: {deck} }} }}\n"
    run = Pipeline("packed", text + PRINT).run(cwd=tmp_path)
    assert run.received == 0 and run.text().startswith("◐ packed: finished, read nothing")
    for shown in (run.text(), run.html()):
        assert "error deck: Failed to read message" in shown
    nothing = Pipeline("none", "input: { file: { paths: [ 'none*.csv' ] } }\n" + PRINT).run(cwd=tmp_path)
    assert nothing.text().startswith("◐ none: finished, read nothing")


def test_it_shows_itself_as_text_and_html_and_as_a_frame() -> None:
    run = Pipeline("a-run", COUNT + PRINT).run()
    assert isinstance(run, Shown)
    assert str(run).startswith("● a-run: finished\n")
    for words in ("a-run", "finished", "received", "count", "print"):
        assert words in str(run) and words in run._repr_html_()
    frame = run.frame
    assert list(frame["label"]) == ["count", "print"]
    assert frame["received"].sum() == frame["sent"].sum() == 5 and (frame["seconds"] >= 0).all()


def test_a_pipeline_shows_its_lines_by_number_and_escaped() -> None:
    shown = Pipeline("x", "input: {}\n# <script>alert(1)</script>\n")._repr_html_()
    assert "2  </span># &lt;script&gt;" in shown and "<script>" not in shown


def test_metrics_of_its_own_stay_and_then_the_counts_are_not_known() -> None:
    run = Pipeline("own", "metrics: { none: {} }\n" + COUNT + PRINT).run()
    assert (run.received, run.sent, run.failed, list(run.parts)) == (None, None, None, [])
    assert run.output.count("\n") == 5 and "not known" in str(run)
    renamed = Pipeline("own", "metrics: { prometheus: {} }\n" + COUNT + PRINT).run()
    assert renamed.received == 5


def test_it_listens_nowhere(tmp_path: Path) -> None:
    # Where its HTTP interface would be, somebody else already is: Wombat would not start if it listened.
    text = "http: { enabled: true, address: 0.0.0.0:4195 }\n" + ENDLESS + PRINT
    found: list[Any] = []

    def look() -> None:
        wait_for(lambda: bool(wombats(tmp_path)), "the start of Wombat")
        (wombat,) = wombats(tmp_path)
        while wombat.is_running() and not found:
            found.extend(one for one in wombat.net_connections() if one.status == psutil.CONN_LISTEN)
            threading.Event().wait(0.05)
            if wombat.status() == psutil.STATUS_ZOMBIE:
                break

    thread = threading.Thread(target=_quietly(look))
    thread.start()
    error = failing(text, cwd=tmp_path, timeout_s=1.0)
    thread.join()
    assert not found and isinstance(error.run, PipelineRun) and error.run.received


def _quietly(look: Any) -> Any:
    def guarded() -> None:
        try:
            look()
        except psutil.Error:
            pass  # it has ended in between

    return guarded


# ------------------------------------------------------------------------------ variables and paths


def test_variables_fill_the_config_and_nothing_else_of_the_environment_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SOME_SECRET", "hidden")
    text = (
        "input: { generate: { count: ${COUNT}, interval: '', mapping: "
        '\'root.v = "${WORD}" + env("SOME_SECRET").or("-")\' } }\n' + PRINT
    )
    run = Pipeline("filled", text).run(variables={"COUNT": 2, "WORD": "a: b # c"})
    assert [json.loads(line)["v"] for line in run.output.splitlines()] == ["a: b # c-"] * 2


def test_a_variable_without_a_value_is_named_where_it_stands() -> None:
    with pytest.raises(LintError, match="DECK") as caught:
        Pipeline("x", "input:\n  file:\n    paths: [ '${DECK}' ]\n" + PRINT).run(variables={"OTHER": 1})
    (problem,) = caught.value.problems
    assert (problem.line, problem.column) == (3, 15)  # type: ignore[attr-defined]
    assert "variables={'DECK': ...}" in str(caught.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"variables": ["NOPE"]}, r"variables=\['NOPE'\] are no names with values"),
        ({"variables": {"A-B": 1}}, "cannot be the name of a variable"),
        ({"variables": {"A": None}}, "The variable A is None"),
        ({"variables": {"A": "x\0y"}}, "The variable A is"),
        ({"timeout_s": 0}, "timeout_s=0"),
        ({"timeout_s": True}, "timeout_s=True"),
        ({"cwd": "no/such/folder"}, "is no folder"),
    ],
)
def test_what_cannot_be_meant_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Pipeline("x", COUNT + PRINT).run(**options)


@settings(deadline=None, max_examples=40)
@example(value='" }')
@example(value="a\nb")
@example(value="\\")
@given(value=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30))
def test_any_text_can_be_a_value_and_none_breaks_out_unseen(value: str) -> None:
    """In double quotes of YAML a value arrives as it is, or the linter says that the config is no config."""
    text = "input: { generate: { count: 1, interval: '', mapping: 'root = 1' } }\nmeta: \"${WORD}\"\n" + PRINT
    pipeline = Pipeline("x", text)
    try:
        pipeline.run(variables={"WORD": value})
    except LintError as error:
        assert error.problems


@pytest.mark.parametrize("folder", ["a [1]", "übung", "a*b?", "a b"])
def test_any_folder_will_do(tmp_path: Path, folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    here = tmp_path / folder
    here.mkdir()
    (here / "rule.blobl").write_text("root.n = this.n * 2")
    text = COUNT + "pipeline: { processors: [ { mapping: 'from \"rule.blobl\"' } ] }\n"
    text += "output: { file: { path: out.jsonl } }\n"
    (here / "double.yaml").write_text(text)
    run = Pipeline.read(here / "double.yaml").run(cwd=here)
    assert sorted(line["n"] for line in lines(here / "out.jsonl")) == [2, 4, 6, 8, 10] and run.sent == 5
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LintError, match=r"rule\.blobl"):
        Pipeline.read(here / "double.yaml").run()


# ------------------------------------------------------------------------------ not to its end


def test_a_mistake_is_shown_at_its_line_and_nothing_is_written(tmp_path: Path) -> None:
    broken = Pipeline.read(SORT).text.replace("> $highest_cost =>", "> $highest_cost) =>")
    with pytest.raises(LintError) as caught:
        Pipeline("broken", broken).run(cwd=tmp_path, variables={"OUT": tmp_path / "sorted"})
    (problem,) = caught.value.problems
    wrong = next(number for number, line in enumerate(broken.splitlines(), 1) if "$highest_cost)" in line)
    column = broken.splitlines()[wrong - 1].index("cost)") + len("cost)")
    assert (problem.line, problem.column) == (wrong, column)  # type: ignore[attr-defined]
    assert list(tmp_path.iterdir()) == []


def test_one_that_never_ends_is_ended(tmp_path: Path) -> None:
    error = failing(ENDLESS + PRINT, timeout_s=0.5, cwd=tmp_path)
    assert "did not end within 0.5 s" in str(error) and "count or read_until" in error.hint
    assert isinstance(error, PipelineError) and isinstance(error.run, PipelineRun)
    assert error.run.state == "out of time" and error.run.received
    assert error.run.sent == len(error.run.output.splitlines())
    assert wombats(tmp_path) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "input: { label: deck, file: { paths: [ none.csv ] } }\n" + PRINT,
            "input deck .* open none.csv: no such",
        ),
        (COUNT + "output: { file: { path: taken/x } }\n", "output .* not a directory"),
    ],
    ids=["input", "output"],
)
def test_a_file_that_cannot_be_is_said_without_waiting_for_the_limit(
    tmp_path: Path, text: str, words: str
) -> None:
    (tmp_path / "taken").write_text("a file")
    error = failing(text, cwd=tmp_path, timeout_s=110)
    assert isinstance(error.run, PipelineRun) and error.run.state == "failed"
    with pytest.raises(PipelineRunError, match=words):
        raise error
    assert str(tmp_path) in error.hint and "times)" in error.log_tail
    assert "written 0" in str(error)


def test_a_failed_start_says_what_wombat_said(tmp_path: Path) -> None:
    # Fine for the linter, which does not look at the machine.
    child = "pipeline: { processors: [ { subprocess: { name: no-such-program } } ] }\n"
    error = failing(COUNT + child + PRINT, cwd=tmp_path)
    assert "Wombat ended with exit code 1" in str(error) and "no-such-program" in error.log_tail
    assert wombats(tmp_path) == []


RUN = """
import sys
from platform_kit import Pipeline
print("begin", flush=True)
Pipeline("endless", sys.argv[1]).run(timeout_s=100)
"""


def start(folder: Path, tmp: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "TMPDIR": str(tmp)}
    return subprocess.Popen(
        [sys.executable, "-c", RUN, ENDLESS + PRINT],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def folders(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    work, tmp = tmp_path / "work", tmp_path / "tmp"
    work.mkdir()
    tmp.mkdir()
    yield work, tmp


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["interrupt", "kill"])
def test_an_interrupt_or_a_kill_leaves_nothing(folders: tuple[Path, Path], number: int) -> None:
    work, tmp = folders
    with start(work, tmp) as process:
        wait_for(lambda: bool(wombats(work)), "the start of Wombat", 60)
        wait_for(lambda: any(tmp.glob("platform-kit-run-*/output")), "its first output")
        process.send_signal(number)
        _, stderr = process.communicate(timeout=30)
    ended = time.monotonic()
    assert ("KeyboardInterrupt" in stderr) == (number == signal.SIGINT)
    left = max(0.05, ended + LEAK_WAIT_S - time.monotonic())
    wait_for(lambda: not wombats(work) and not list(tmp.iterdir()), "the end of all that was started", left)
