"""Pipelines: read, linted to the column, tested, deployed, replaced, put back and removed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import wait_for

from platform_kit import Pipeline, Platform
from platform_kit.errors import DeployError, LintError, PipelineError, PipelineTestError, UsageError
from platform_kit.pipelines.deployment import Deployment
from platform_kit.pipelines.pipeline import LintProblem

IDLE = """
input:
  generate: { mapping: 'root = {}', interval: 1h }
output:
  drop: {}
"""
SHOUT = """
input:
  nats:
    urls: [ "${PLATFORM_NATS_URL}" ]
    subject: tests.said
    auth: { nkey_file: "${PLATFORM_NKEY_FILE}" }
pipeline:
  processors:
    - mapping: |
        root = content().uppercase() + "MARK"
output:
  nats:
    urls: [ "${PLATFORM_NATS_URL}" ]
    subject: tests.shouted
    auth: { nkey_file: "${PLATFORM_NKEY_FILE}" }
"""
NOBODY_THERE = """
input:
  nats: { urls: [ "nats://127.0.0.1:1" ], subject: nothing }
output:
  drop: {}
"""


def shout(mark: str) -> Pipeline:
    return Pipeline("shout", SHOUT.replace("MARK", mark))


@pytest.fixture
def clean(platform: Platform) -> Iterator[Platform]:
    """The module's platform without the pipelines of the test before."""
    yield platform
    for name in platform.wombat.streams():
        if name != "render_cards":
            platform.remove(name)


# ------------------------------------------------------------------------------ lint


@pytest.mark.parametrize(
    ("text", "line", "column", "what"),
    [
        ("input:\n  stdin: {}\n bad: [\n", 3, 2, "expected"),
        ("input:\n\tstdin: {}\n", 2, 1, r"'\t'"),
        ("input:\n  stdin: {}\n  colour: red\noutput:\n  drop: {}\n", 3, 1, "colour"),
        (IDLE.replace("interval", "intervall"), 3, 1, "intervall"),
        (IDLE.replace("'root = {}'", "'root = nope('"), 3, 37, "expected function argument"),
        (
            IDLE
            + "pipeline:\n  processors:\n    - mapping: |\n        root.a = this.a\n        root.b = nope(\n",
            11,
            17,
            "expected function argument",
        ),
        ("", 1, 1, "expected object"),
        ("- a\n- list\n", 1, 1, "expected object"),
        ("just text", 1, 1, "expected object"),
        ("input: " + "[" * 20_000, 1, 1, "nested"),
    ],
    ids=["yaml", "tab", "field", "inner field", "mapping", "later mapping", "empty", "list", "text", "deep"],
)
def test_a_mistake_is_found_with_its_line_and_column(text: str, line: int, column: int, what: str) -> None:
    pipeline = Pipeline("mistaken", text)
    with pytest.raises(LintError) as caught:
        pipeline.lint()
    (problem,) = caught.value.problems
    assert isinstance(problem, LintProblem)
    assert (problem.line, problem.column) == (line, column) and what in problem.what
    assert f"line {line}, column {column}" in str(caught.value)
    assert len(str(caught.value)) < 2000


def test_every_mistake_is_listed() -> None:
    text = IDLE + "colour: red\npipeline:\n  threadss: 1\n"
    with pytest.raises(LintError) as caught:
        Pipeline("mistaken", text).lint()
    assert len(caught.value.problems) == 2
    assert "colour" in str(caught.value) and "threadss" in str(caught.value)


def test_the_shipped_pipeline_has_no_problems_and_passes_its_tests() -> None:
    pipeline = Pipeline.read(Path(__file__).parents[2] / ".config" / "pipelines" / "render_cards.yaml")
    assert pipeline.lint() == [] and pipeline.problems() == []
    result = pipeline.test()
    assert result.passed and result.count > 20


@pytest.mark.parametrize("folder", ["a [1]", "a (2,3) b", "übung", "a*b?"])
def test_a_mistake_is_found_in_whatever_folder_the_file_is(tmp_path: Path, folder: str) -> None:
    path = tmp_path / folder / "mistaken.yaml"
    path.parent.mkdir()
    # Not a text that is known from elsewhere: what was linted once is remembered.
    path.write_text(IDLE + f"# {folder}\ncolour: red\n")
    with pytest.raises(LintError, match="colour") as caught:
        Pipeline.read(path).lint()
    assert str(path) in str(caught.value)
    path.write_text(IDLE + FAILING_TEST)
    with pytest.raises(PipelineTestError, match="it stays"):
        Pipeline.read(path).test()


FAILING_TEST = """
pipeline:
  processors:
    - mapping: root = content().uppercase()
tests:
  - name: it stays
    input_batch: [ { content: quiet } ]
    output_batches: [ [ { content_equals: quiet } ] ]
"""


def test_a_failing_unit_test_is_reported_with_what_came(tmp_path: Path) -> None:
    path = tmp_path / "loud.yaml"
    path.write_text(IDLE + FAILING_TEST)
    with pytest.raises(PipelineTestError) as caught:
        Pipeline.read(path).test()
    for words in ("it stays", "QUIET", "quiet", "loud.yaml"):
        assert words in str(caught.value)
    path.write_text(IDLE + FAILING_TEST.replace("content_equals: quiet", "content_equals: QUIET"))
    result = Pipeline.read(path).test()
    assert (result.count, result.passed) == (1, True)


def test_tests_in_the_file_beside_it_count(tmp_path: Path) -> None:
    (tmp_path / "loud.yaml").write_text((IDLE + FAILING_TEST).partition("tests:")[0])
    assert Pipeline.read(tmp_path / "loud.yaml").test().count == 0
    beside = tmp_path / "loud_benthos_test.yaml"
    beside.write_text("tests:" + FAILING_TEST.partition("tests:")[2])
    with pytest.raises(PipelineTestError, match="it stays"):
        Pipeline.read(tmp_path / "loud.yaml").test()
    beside.write_text("tests: [")
    with pytest.raises(LintError, match=r"loud_benthos_test\.yaml is not YAML: line 1, column 9"):
        Pipeline.read(tmp_path / "loud.yaml").test()


def test_a_file_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes("# Übung".encode("latin-1"))
    for path, words in (("missing.yaml", "No such file"), ("latin.yaml", "not UTF-8"), (".", "directory")):
        with pytest.raises(PipelineError, match=words):
            Pipeline.read(tmp_path / path, name="x")


@pytest.mark.parametrize("name", ["", ".", "../x", "a/b", "a b", "a\n", "über", "x" * 101])
def test_names_that_cannot_be_are_refused(platform: Platform, name: str) -> None:
    with pytest.raises(PipelineError, match="cannot be the name"):
        Pipeline(name, IDLE)
    if "/" in name:
        with pytest.raises(UsageError, match="cannot be the name"):
            platform.remove(name)


def test_yaml_means_what_it_means_to_wombat() -> None:
    text = "input: { generate: { mapping: 'root = {}' } }\nmeta: [ on, yes, off, 2026-01-31, true, 012 ]\n"
    assert Pipeline("typed", text).config["meta"][:5] == ["on", "yes", "off", "2026-01-31", True]


# ------------------------------------------------------------------------------ deploy


async def say(platform: Platform, text: str) -> str:
    client = await platform.connect()
    try:
        subscription = await client.subscribe("tests.shouted")
        await client.flush()
        await client.publish("tests.said", text.encode())
        message = await subscription.next_msg(timeout=10)
        return str(message.data.decode())
    finally:
        await client.close()


def test_a_deployed_pipeline_moves_messages_and_another_deploy_replaces_it(clean: Platform) -> None:
    deployment = clean.deploy(shout("!"))
    assert deployment.name == "shout" and deployment.done and 0 < deployment.seconds < 30
    assert asyncio.run(say(clean, "hello")) == "HELLO!"
    clean.deploy(shout("?"))
    assert asyncio.run(say(clean, "hello")) == "HELLO?"
    assert list(clean.wombat.streams()).count("shout") == 1
    assert "shout" in clean.status().pipelines
    assert clean.remove("shout") and not clean.remove("shout")
    assert "shout" not in clean.wombat.streams() and "shout" not in clean.status().pipelines


def test_what_cannot_connect_is_refused_with_wombats_reason_and_undone(clean: Platform) -> None:
    with pytest.raises(DeployError, match=r"did not connect within 0\.5 s") as caught:
        clean.deploy(Pipeline("nobody", NOBODY_THERE), timeout_s=0.5)
    assert "nats: no servers available" in str(caught.value)
    assert "nobody" not in clean.wombat.streams() and "nobody" not in clean.status().pipelines


def test_what_ran_before_a_failed_deploy_runs_again(clean: Platform) -> None:
    clean.deploy(shout("!"))
    with pytest.raises(DeployError, match="did not connect"):
        clean.deploy(Pipeline("shout", NOBODY_THERE), timeout_s=0.3)
    wait_for(lambda: clean.wombat.stream_ready("shout"), "the earlier pipeline's return")
    assert asyncio.run(say(clean, "still")) == "STILL!"
    with pytest.raises(LintError):
        clean.deploy(Pipeline("shout", "input: {}\nnonsense: 1\n"))
    assert asyncio.run(say(clean, "and still")) == "AND STILL!"


def test_twenty_deploys_in_a_row_leave_the_last(clean: Platform) -> None:
    for number in range(20):
        clean.deploy(shout(str(number)))
    assert asyncio.run(say(clean, "n")) == "N19"


def test_a_deployment_can_be_waited_for_and_awaited(clean: Platform) -> None:
    started = clean.deploy(shout("!"), wait=False)
    assert isinstance(started, Deployment) and started.wait(30) is started and started.done

    async def cell() -> Deployment:
        return await clean.deploy(shout("?"), wait=False)

    assert asyncio.run(cell()).done
    assert asyncio.run(say(clean, "a")) == "A?"
    failing = clean.deploy(Pipeline("nobody", NOBODY_THERE), wait=False, timeout_s=0.2)
    with pytest.raises(DeployError):
        failing.wait(30)


def test_a_cancelled_deployment_is_undone(clean: Platform) -> None:
    clean.deploy(shout("!"))
    waiting = clean.deploy(Pipeline("shout", NOBODY_THERE), wait=False, timeout_s=30)
    wait_for(lambda: "127.0.0.1:1" in json.dumps(clean.wombat.config("shout")), "the new config")
    assert waiting.cancel()
    wait_for(lambda: waiting.done, "the end")
    wait_for(lambda: clean.wombat.stream_ready("shout"), "the earlier pipeline's return")
    assert asyncio.run(say(clean, "back")) == "BACK!"


def test_odd_input_is_refused_or_works(clean: Platform, tmp_path: Path) -> None:
    for text in ("", "- a\n", "null\n", "42\n"):
        with pytest.raises(LintError):
            clean.deploy(Pipeline("odd", text))
    (tmp_path / "large.yaml").write_text(SHOUT.replace("MARK", "x" * 1_000_000))
    clean.deploy(tmp_path / "large.yaml")
    assert len(asyncio.run(say(clean, "long"))) == 1_000_004
    assert clean.remove("large")
    dated = IDLE + "pipeline:\n  processors:\n    - label: on\n      mapping: root.day = 2026\n"
    clean.deploy(Pipeline("dated", dated))
    assert (clean.wombat.config("dated") or {})["pipeline"]["processors"][0]["label"] == "on"


def test_a_pipeline_of_an_earlier_life_of_the_folder_runs_again(tmp_path: Path) -> None:
    for _ in range(2):
        with Platform(tmp_path / "data", workers=0) as platform:
            if "kept" not in platform.status().pipelines:
                platform.deploy(Pipeline("kept", IDLE))
            assert platform.wombat.streams()["kept"]["active"]


def test_a_kept_pipeline_that_wombat_no_longer_takes_is_set_aside(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with Platform(folder, workers=0):
        pass
    bad = folder / "pipelines" / "bad.json"
    bad.write_text('{"input": {"no_such_input": {}}, "output": {"drop": {}}}')
    with pytest.warns(UserWarning, match=r"bad.*set aside"):
        platform = Platform(folder, workers=0).start()
    try:
        assert platform.status().state == "running" and "bad" not in platform.status().pipelines
        assert not bad.exists() and bad.with_suffix(".refused").exists()
    finally:
        platform.stop()
