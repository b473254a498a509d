"""Run one worker in the foreground, in place of this process, against a NATS server anywhere."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from platform_kit.binaries import Progress
from platform_kit.errors import PlatformKitError, UsageError
from platform_kit.jetstream.connection import Endpoint, connect
from platform_kit.servers.fleet import LIMIT
from platform_kit.servers.worker import SETTINGS, secret_file
from platform_kit.settings import Settings
from platform_kit.workers.program import Program, find_program, worker_kind

_SERVERS = "$SYS.REQ.SERVER.PING.IDZ"
_ANSWER_S = 1.0


def join_command(
    program: Program,
    nats_url: str,
    *,
    credentials: Path | None,
    concurrency: int | None = None,
    instance: str | None = None,
    environ: Mapping[str, str] | None = None,
) -> tuple[list[str], dict[str, str]]:
    """Return the command and the environment of a worker that joins a server.

    Parameters
    ----------
    program: The worker.
    nats_url: ``nats://`` on this machine, ``tls://`` elsewhere.
    credentials: A ``.creds`` file or one with an nkey seed; None for an open server. Its path travels in the
        environment, its content nowhere.
    concurrency: Requests worked on at once; by default as many as there are cores.
    instance: What this process calls itself; by default name, host and process id.
    environ: The variables it inherits; those of this process by default.

    Errors: ``UsageError``, ``SettingsError`` for a credentials file that cannot be read.
    """
    worker_kind(program, name=None, env={})  # says if it cannot serve
    endpoint = Endpoint(nats_url, credentials)
    if concurrency is not None and not 1 <= concurrency <= 100 * LIMIT:
        raise UsageError(f"--concurrency {concurrency}.", hint="Give a whole number from 1 on.")
    if instance is not None and (not instance or instance != Path(instance).name or "\0" in instance):
        raise UsageError(f"--instance {instance!r}.", hint="Give a plain name, without a folder.")
    inherited = os.environ if environ is None else environ
    env = {key: value for key, value in inherited.items() if key not in SETTINGS}
    env |= {"PLATFORM_NATS_URL": endpoint.url, **secret_file(credentials)}
    if instance is not None:
        env["PLATFORM_INSTANCE"] = instance
    command = [str(program.binary), "serve"]
    if concurrency is not None:
        command += ["--concurrency", str(concurrency)]
    return command, env


async def check_server(endpoint: Endpoint) -> None:
    """See that the server lets one in, and into an account where somebody can ask a worker.

    Errors: ``NotRunningError`` when nobody lets one in, ``PlatformKitError`` for the system's account.
    """
    from nats.errors import Error

    refused = asyncio.Event()

    async def refuse(_: Exception) -> None:
        refused.set()

    client = await connect(endpoint, name="platform-kit-join", error_cb=refuse)
    try:
        inbox = client.new_inbox()
        # Only the system's account hears an answer; others may not ask, or find nobody.
        answered = await client.subscribe(inbox)
        await client.publish(_SERVERS, reply=inbox)
        first = asyncio.create_task(answered.next_msg(timeout=_ANSWER_S))
        denied = asyncio.create_task(refused.wait())
        await asyncio.wait((first, denied), return_when=asyncio.FIRST_COMPLETED, timeout=_ANSWER_S)
        denied.cancel()
        first.cancel()
        with contextlib.suppress(asyncio.CancelledError, Error, TimeoutError):
            if not ((await first).headers or {}).get("Status"):
                raise PlatformKitError(
                    f"{endpoint.credentials or endpoint.url} leads into the server's own account, "
                    "where nobody asks a worker.",
                    hint="Give the worker's credentials: of a platform's own, credentials/worker.nk in its "
                    "data folder.",
                )
    finally:
        await client.close()


def become_worker(
    path: str,
    nats_url: str,
    *,
    credentials: Path | None,
    concurrency: int | None = None,
    instance: str | None = None,
    settings: Settings | None = None,
    progress: Progress | None = None,
) -> NoReturn:
    """Build the worker if need be, and become it; see :func:`join_command`."""
    program = find_program(path, settings, progress=progress)
    command, env = join_command(
        program, nats_url, credentials=credentials, concurrency=concurrency, instance=instance
    )
    asyncio.run(check_server(Endpoint(nats_url, credentials)))
    os.execve(program.binary, command, env)
