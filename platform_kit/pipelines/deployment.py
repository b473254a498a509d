"""Give a pipeline to Wombat and see it connected; if it does not get there, put back what was."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

from platform_kit.errors import DeployError, NotRunningError
from platform_kit.jobs import Job, JobHandle
from platform_kit.pipelines.pipeline import Pipeline
from platform_kit.servers.pipeline_store import PipelineStore
from platform_kit.servers.process import tail
from platform_kit.servers.wombat import WombatClient
from platform_kit.settings import Settings


class Deployment(JobHandle):
    """A pipeline on its way to Wombat; see :class:`~platform_kit.jobs.JobHandle` for waiting.

    Attributes
    ----------
    name: The pipeline's name.
    """

    def __init__(self, name: str, job: Job[None]) -> None:
        self.name = name
        self._job = job

    @property
    def seconds(self) -> float:
        """How long it took, or has taken so far."""
        return self._job.seconds

    def __repr__(self) -> str:
        return f"<Deployment {self.name}: {self._job.state}, {self.seconds * 1000:.0f} ms>"


async def deploy(
    pipeline: Pipeline,
    client: WombatClient,
    store: PipelineStore | None,
    *,
    settings: Settings,
    timeout_s: float,
    log: Path | None = None,
) -> None:
    """Lint, PUT, wait until connected; on failure the earlier config of this name is put back.

    Errors: ``LintError``, ``DeployError``, ``NotRunningError``.
    """
    name, config = pipeline.name, pipeline.config
    await asyncio.to_thread(pipeline.lint, settings=settings)
    earlier = store.get(name) if store is not None else None
    earlier = earlier or await asyncio.to_thread(client.config, name)
    log_size = log.stat().st_size if log is not None and log.exists() else 0
    if store is not None:
        store.save(name, config)
    try:
        await asyncio.to_thread(client.put, name, config)
        if not await _connected(client, name, timeout_s):
            reason = tail(log, 8, since=log_size) if log is not None else ""
            raise DeployError(
                f"The pipeline {name!r} did not connect within {timeout_s:g} s.\n{reason}".rstrip(),
                hint="Its input or output cannot reach what it names; the log above says why.",
            )
    except BaseException:
        await _put_back(client, store, name, earlier)
        raise


async def _connected(client: WombatClient, name: str, timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    pause = 0.001
    while not await asyncio.to_thread(client.stream_ready, name):
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(pause)
        pause = min(pause * 2, 0.05)
    return True


async def _put_back(
    client: WombatClient, store: PipelineStore | None, name: str, earlier: dict[str, Any] | None
) -> None:
    if store is not None:
        store.remove(name)
        if earlier is not None:
            store.save(name, earlier)
    try:
        if earlier is not None:
            await asyncio.to_thread(client.put, name, earlier)
        else:
            await asyncio.to_thread(client.delete, name)
    except (DeployError, NotRunningError):
        return  # the first failure says more than this one
