"""The command ``platform-kit``.

Exit codes: 0 ok, 1 failed, 2 wrong usage, 3 some cards rejected but all accounted for, 4 not running.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from platform_kit import background, binaries, terminal
from platform_kit.cards.deck import Deck
from platform_kit.cards.output_folder import HISTORY
from platform_kit.cards.run import CardRun
from platform_kit.cards.template import Template
from platform_kit.errors import (
    NotRunningError,
    PlatformKitError,
    SettingsError,
    UsageError,
)
from platform_kit.lab import bench as lab  # it imports pandas when it is used
from platform_kit.lab.bench.scenarios import SCENARIOS
from platform_kit.lab.notebook import execute_notebook
from platform_kit.pipelines.pipeline import Pipeline
from platform_kit.platform import Platform
from platform_kit.reprs import Table, human_seconds
from platform_kit.servers.background import read_state
from platform_kit.servers.logs import log_tail
from platform_kit.servers.nats_cli import nats_cli_connection, nats_cli_environment
from platform_kit.settings import Settings
from platform_kit.workers.check import TIMEOUT_S, check_worker
from platform_kit.workers.join import become_worker
from platform_kit.workers.scaffold import new_worker

FAILED, WRONG_USAGE, SOME_REJECTED, NOT_RUNNING = 1, 2, 3, 4
PING_TIMEOUT_S = 2.0
DECK_FILES = "Name a .csv, .tsv, .xlsx or .json file."
PIPELINE_FILES = "Name the YAML file of a pipeline, such as .config/pipelines/render_cards.yaml."


def _exit(code: int) -> NoReturn:
    raise typer.Exit(code)


app = typer.Typer(
    name="platform-kit",
    result_callback=_exit,
    help="Start and stop the platform, render decks, work with pipelines.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
Json = Annotated[bool, typer.Option("--json", help="One JSON object instead of text.")]


def main() -> NoReturn:
    """Run the command of ``sys.argv`` and exit."""
    try:
        app()
    except NotRunningError as error:
        code, text = NOT_RUNNING, str(error)
    except (UsageError, SettingsError) as error:
        code, text = WRONG_USAGE, str(error)
    except PlatformKitError as error:
        code, text = FAILED, str(error)
    except OSError as error:
        # A full disk, a folder that may not be written: the machine's, not a fault of ours to be traced.
        code, text = FAILED, f"{error.filename or 'The system'}: {error.strerror or error}"
    print(text, file=sys.stderr)
    sys.exit(code)


# ------------------------------------------------------------------------------ the machine


@app.command()
def deps(
    full: Annotated[
        bool, typer.Option(help="Build Wombat with every component: about seven minutes.")
    ] = False,
    slim: Annotated[bool, typer.Option(help="Go back to the slim Wombat.")] = False,
    all_: Annotated[
        bool, typer.Option("--all", help="Also what is otherwise built at its first use.")
    ] = False,
) -> int:
    """Build the binaries that are missing."""
    if full and slim:
        raise UsageError("--full and --slim contradict each other.", hint="Give one of them.")
    settings = Settings.load()
    which = True if full else False if slim else None
    paths = binaries.ensure_all(settings, progress=binaries.console_progress(), full=which, on_demand=all_)
    print(Table(("binary", "path"), [(name, str(path)) for name, path in paths.items()]).text())
    return 0


@app.command()
def doctor(as_json: Json = False) -> int:
    """Say what is there, which version, from where, and what to do about what is not."""
    settings = Settings.load()
    found = binaries.inventory(settings)
    if as_json:
        rows = [
            {
                "name": item.name,
                "version": item.version,
                "path": str(item.path) if item.path else None,
                "source": item.source,
                "state": item.state,
                "advice": item.advice,
            }
            for item in found
        ]
        print(
            json.dumps({"binaries": rows, "python": sys.version.split()[0], "cache": str(settings.cache_dir)})
        )
    else:
        rows_shown = [(item.name, item.state, item.version, item.source, item.advice) for item in found]
        print(Table(("binary", "state", "version", "from", "what to do"), rows_shown).text())
        print(f"python  {sys.version.split()[0]} ({sys.executable})")
        print(f"cache   {settings.cache_dir}")
        print(f"links   {settings.bin_dir}")
    needed = {name for name, spec in binaries.SPECS.items() if not spec.on_demand}
    return FAILED if any(item.state != "ready" and item.name in needed for item in found) else 0


# ------------------------------------------------------------------------------ the platform


@app.command()
def start(
    workers: Annotated[int, typer.Option(help="Processes of the card renderer.")] = 1,
    durability: Annotated[str, typer.Option(help='"lazy" or "fsync".')] = "lazy",
    data_dir: Annotated[Path | None, typer.Option(help="Where streams are kept.")] = None,
) -> int:
    """Start a platform that stays when this command has ended."""
    Platform(workers=workers, durability=durability)  # says at once what cannot be
    _ensure_binaries()
    folder = Path.cwd()
    earlier = read_state(folder)
    state = background.start_background(folder, workers=workers, durability=durability, data_dir=data_dir)
    if earlier is not None and earlier.is_alive() and earlier.pid == state.pid:
        print("The platform was running already.")
    print(background.background_status(folder).text())
    return 0


@app.command()
def stop() -> int:
    """Stop the platform of this folder."""
    stopped = background.stop_background(Path.cwd())
    print("stopped" if stopped else "No platform was running here.")
    return 0


@app.command()
def status(as_json: Json = False) -> int:
    """Show services, versions, ports, uptime and memory."""
    found = background.background_status(Path.cwd())
    print(json.dumps(found.as_dict()) if as_json else found.text())
    return 0 if found.state == "running" else FAILED


@app.command()
def ping(as_json: Json = False) -> int:
    """Ask NATS, JetStream, Wombat and the workers whether they answer, and how fast."""
    with Platform.attach() as platform:
        answers = platform.ping(PING_TIMEOUT_S)
    if as_json:
        print(
            json.dumps(
                {"ok": all(item.ok for item in answers), "answers": [item.as_dict() for item in answers]}
            )
        )
    else:
        rows = [
            (item.name, "ok" if item.ok else "failed", human_seconds(item.seconds), item.detail)
            for item in answers
        ]
        print(Table(("service", "answer", "after", ""), rows).text())
    return 0 if all(item.ok for item in answers) else FAILED


@app.command()
def logs(
    service: Annotated[
        str, typer.Argument(help="nats-server, wombat or card-renderer; all if left out.")
    ] = "",
    lines: Annotated[int, typer.Option("-n", "--lines", min=1, help="How many of the last lines.")] = 50,
) -> int:
    """Show the last lines of the services' logs."""
    state = background.background_state(Path.cwd())
    folder = Path(state.data_dir) / "logs"
    names = [service] if service else [item.name for item in state.services]
    for name in names:
        if len(names) > 1:
            print(f"== {name}")
        print(log_tail(folder, name, lines))
    return 0


@app.command()
def monitor(
    subject: Annotated[str, typer.Argument(help="What to listen to.")] = "cards.>",
    count: Annotated[int | None, typer.Option("--count", min=1, help="End after so many messages.")] = None,
) -> int:
    """Print messages as they pass, until interrupted."""
    with Platform.attach() as platform:
        terminal.watch(platform, subject, count)
    return 0


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
)
def nats(context: typer.Context) -> int:
    """Run the nats CLI against this platform; it is built at its first use."""
    with Platform.attach() as platform:
        where = platform.endpoint("admin")
        folder = platform.data_dir
    binary = binaries.ensure("nats", Settings.load(), progress=binaries.console_progress())
    environment = {key: value for key, value in os.environ.items() if not key.startswith("NATS_")}
    environment |= nats_cli_environment(folder or Path.cwd())
    connection = nats_cli_connection(where.url, where.credentials, where.inbox)
    arguments = [str(binary), *connection, *context.args]
    os.execve(binary, arguments, environment)


# ------------------------------------------------------------------------------ cards


@app.command()
def run(
    deck: Annotated[Path, typer.Argument(help="A .csv, .tsv, .xlsx or .json file.")],
    template: Annotated[str, typer.Option(help="classic, minimal, or a template's file.")] = "classic",
    out: Annotated[Path | None, typer.Option(help="Where to write; by default output/<deck>.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes of the card renderer.")] = 1,
    seed: Annotated[int, typer.Option(help="Decides the pictures of cards without art.")] = 0,
    as_json: Json = False,
) -> int:
    """Render a deck: PNG files, a contact sheet, a PDF to print and a report."""
    cards, style = Deck.read(_existing(deck, DECK_FILES)), _template(template)
    target = out if out is not None else Path("output") / deck.stem
    _ensure_binaries()
    with _platform_here(workers) as platform:
        result = platform.generate(cards, style, seed=seed, out=target, progress=not as_json)
        files = _write_sheets(result)
    if as_json:
        print(result.summary.text(), file=sys.stderr)
        print(json.dumps({**result.counts, "seconds": round(result.seconds, 3), "output": str(result.out)}))
    else:
        print(result.summary.text())
        for name, path in files.items():
            print(f"  {name:<13} {path}")
    return SOME_REJECTED if result.counts["rejected"] else 0


def _write_sheets(result: CardRun) -> dict[str, Path]:
    assert result.out is not None
    files = {"cards": result.out / "cards"}
    if len(result.images):
        files["contact sheet"] = result.out / "contact-sheet.png"
        result.contact_sheet(files["contact sheet"])
        files["to print"] = result.print_sheets()
    files["report"] = result.report()
    return files


@app.command(name="kit-run", hidden=True)
def kit_run(
    deck: Annotated[Path | None, typer.Argument()] = None,
    template: str = "classic",
    count: int = 0,
    seed: int = 7,
    out: Path = Path("output"),
) -> int:
    """The main job of ``./kit run``: the quickstart notebook, executed on a deck."""
    settings = Settings.load()
    notebook = settings.root / "notebooks" / "01_quickstart.ipynb"
    chosen = deck or settings.root / "notebooks" / "data" / "deck.csv"
    Deck.read(_existing(chosen, DECK_FILES))  # a broken file is one clear error, not a failed notebook
    _template(template)
    target = out.resolve()
    target.mkdir(parents=True, exist_ok=True)
    history = target / HISTORY
    earlier = len(history.read_text(encoding="utf-8")) if history.exists() else 0
    started = time.monotonic()
    parameters: dict[str, Any] = {
        "deck": str(chosen.resolve()),
        "template": template,
        "count": count,
        "seed": seed,
        "out": str(target),
    }
    executed = execute_notebook(notebook, target / notebook.name, parameters)
    # The notebook also shows what one change does; its first run is the one that was asked for.
    counts = json.loads(history.read_text(encoding="utf-8")[earlier:].splitlines()[0])
    sums = " + ".join(f"{counts[key]} {key}" for key in ("rendered", "unchanged", "rejected"))
    print(f"\n{counts['requested']} requested = {sums}, in {human_seconds(time.monotonic() - started)}\n")
    shown = {
        "cards": target / "cards",
        "contact sheet": target / "contact-sheet.png",
        "to print": target / "cards-a4.pdf",
        "report": target / "report.html",
        "notebook": executed,
    }
    for name, path in shown.items():
        print(f"  {name:<13} {path}")
    return SOME_REJECTED if counts["rejected"] else 0


# ------------------------------------------------------------------------------ pipelines


@app.command()
def lint(pipeline: Annotated[Path, typer.Argument(help="A Wombat config.")]) -> int:
    """Have Wombat look for mistakes in a pipeline."""
    Pipeline.read(_existing(pipeline, PIPELINE_FILES)).lint()
    print(f"{pipeline}: no problems")
    return 0


@app.command()
def test(pipeline: Annotated[Path, typer.Argument(help="A Wombat config.")]) -> int:
    """Run the unit tests inside a pipeline."""
    result = Pipeline.read(_existing(pipeline, PIPELINE_FILES)).test()
    print(f"{pipeline}: {result.count} tests passed" if result.count else f"{pipeline}: it holds no tests")
    return 0


@app.command()
def deploy(
    pipeline: Annotated[Path, typer.Argument(help="A Wombat config.")],
    name: Annotated[str | None, typer.Option(help="Deploy it under another name than the file's.")] = None,
) -> int:
    """Give a pipeline to the running Wombat."""
    config = Pipeline.read(_existing(pipeline, PIPELINE_FILES), name=name)
    with Platform.attach() as platform:
        deployment = platform.deploy(config)
    print(f"{deployment.name}: deployed in {human_seconds(deployment.seconds)}")
    return 0


# ------------------------------------------------------------------------------ measuring


@app.command(name="bench")
def bench_command(
    scenario: Annotated[str, typer.Argument(help=f"One or several, with commas: {', '.join(SCENARIOS)}.")],
    payload_bytes: Annotated[str, typer.Option(help="Sizes of a message, with commas.")] = "128",
    batch: Annotated[str, typer.Option(help="Messages on their way at once, with commas.")] = "",
    publishers: Annotated[str, typer.Option(help="Processes that send, with commas.")] = "",
    consumers: Annotated[str, typer.Option(help="Processes that receive, with commas.")] = "",
    storage: Annotated[str, typer.Option(help="file, memory or both, with a comma.")] = "",
    engine: Annotated[str, typer.Option(help="python, nats or both.")] = "",
    rate: Annotated[float | None, typer.Option(help="Messages a second; else as many as go.")] = None,
    pipeline: Annotated[
        list[Path] | None, typer.Option(help="Of the scenario pipeline; again for more.")
    ] = None,
    repeats: Annotated[int, typer.Option(help="Samples of each point, at least.")] = 12,
    save: Annotated[Path | None, typer.Option(help="Write the result there, as .json.")] = None,
    compare: Annotated[Path | None, typer.Option(help="A saved result to compare with.")] = None,
    as_json: Json = False,
) -> int:
    """Measure throughput and latency; exit code 1 if something failed, or is slower than --compare."""
    earlier = lab.BenchResult.load(compare) if compare is not None else None
    given: dict[str, Any] = {
        "batch": _numbers("--batch", batch),
        "publishers": _numbers("--publishers", publishers),
        "consumers": _numbers("--consumers", consumers),
        "storage": storage.split(",") if storage else None,
        "engine": (engine if engine == "both" else engine.split(",")) if engine else None,
        "rate_msgs_per_s": rate,
        "pipeline": [Pipeline.read(_existing(path, PIPELINE_FILES)) for path in pipeline]
        if pipeline
        else None,
    }
    sizes = _numbers("--payload-bytes", payload_bytes) or [128]
    _ensure_binaries()
    with _platform_here(workers=0) as platform:
        result = lab.bench(
            platform, scenario.split(","), payload_bytes=sizes, repeats=repeats, progress=not as_json, **given
        )
    if save is not None:
        result.save(save)
    comparison = result.compare(earlier) if earlier is not None else None
    if as_json:
        found = {"rows": json.loads(result.to_json(orient="records")), "fingerprint": result.fingerprint}
        if comparison is not None:
            found["comparison"] = json.loads(comparison.frame.to_json(orient="records"))
        print(json.dumps(found))
    else:
        print(result)
        if comparison is not None:
            print(f"\n{comparison.text()}")
    slower = comparison is not None and "slower" in comparison.words
    return FAILED if slower or (result["error"] != "").any() else 0


def _numbers(option: str, text: str) -> list[int] | None:
    try:
        return [int(word) for word in text.split(",")] if text else None
    except ValueError as error:
        raise UsageError(f"{option} {text!r}.", hint="Give whole numbers with commas: 128,1024.") from error


# ------------------------------------------------------------------------------ workers

new = typer.Typer(help="Write something to start from.", no_args_is_help=True)
app.add_typer(new, name="new")
WORKER = "A folder with a Go module, an executable, or a worker of the kit."


@new.command(name="worker")
def new_worker_module(
    name: Annotated[str, typer.Argument(help="What it is called; it answers on workers.NAME.")],
    into: Annotated[Path, typer.Option(help="Where its folder is made.")] = Path(),
) -> int:
    """Write the module of a worker: handler, tests, pipeline."""
    folder = new_worker(name, into)
    print(Table(("file",), [(path.name,) for path in sorted(folder.iterdir())], caption=str(folder)).text())
    print(f"Begin in {folder / 'handler.go'}; README.md says how to try it.")
    return 0


@app.command()
def worker(
    path: Annotated[str, typer.Argument(help=WORKER)],
    nats_url: Annotated[str, typer.Option("--nats", help="The server; tls:// unless it is on this machine.")],
    creds: Annotated[Path | None, typer.Option(help="A .creds file.")] = None,
    nkey: Annotated[Path | None, typer.Option(help="A file with an nkey seed.")] = None,
    concurrency: Annotated[
        int | None, typer.Option(help="Requests worked on at once; else one a core.")
    ] = None,
    instance: Annotated[str | None, typer.Option(help="What this process calls itself.")] = None,
) -> int:
    """Run one worker here, until Ctrl-C or SIGTERM, for a NATS server anywhere."""
    if creds is not None and nkey is not None:
        raise UsageError("--creds and --nkey contradict each other.", hint="Give one of them.")
    become_worker(
        path,
        nats_url,
        credentials=creds or nkey,
        concurrency=concurrency,
        instance=instance,
        progress=binaries.console_progress(),
    )


@app.command(name="check-worker")
def check_worker_command(
    path: Annotated[str, typer.Argument(help=WORKER)],
    transport: Annotated[str, typer.Option(help="serve, subprocess, command or all.")] = "all",
    request: Annotated[Path | None, typer.Option(help="A file with a request that it takes.")] = None,
    timeout: Annotated[float, typer.Option(help="Seconds one reply may take.")] = TIMEOUT_S,
    as_json: Json = False,
) -> int:
    """Check a worker of any make on every transport, and say what is wrong and how to mend it."""
    body = _existing(request, "Name a file with one request.").read_bytes() if request is not None else None
    report = check_worker(
        path,
        transport=transport,
        request=body,
        timeout_s=timeout,
        progress=binaries.console_progress(),
    )
    print(json.dumps(report.as_dict()) if as_json else report.text())
    return 0 if report.ok else FAILED


# ------------------------------------------------------------------------------ inside


def _existing(path: Path, hint: str) -> Path:
    if not path.exists():
        raise UsageError(f"There is no file {path}.", hint=hint)
    return path


def _template(name: str) -> Template:
    if name not in Template.shipped() and not Path(name).expanduser().exists():
        raise UsageError(
            f"There is no template {name!r}.",
            hint=f"Use one of {', '.join(Template.shipped())}, or the path of a YAML file.",
        )
    return Template.read(name)


def _ensure_binaries() -> None:
    binaries.ensure_all(Settings.load(), progress=binaries.console_progress())


def _platform_here(workers: int) -> Platform:
    """The platform of this folder if one runs, else one for this command alone."""
    state = read_state(Path.cwd())
    if state is not None and state.is_alive() and state.ready:
        return Platform.attach()
    return Platform(workers=workers)
