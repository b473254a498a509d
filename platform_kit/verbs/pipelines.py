"""Pipelines come and go."""

from __future__ import annotations

from pathlib import Path

from platform_kit.art.streams import PIPELINE as ART_PIPELINE
from platform_kit.backing import Backing, deploy_noted
from platform_kit.pipelines.deployment import Deployment
from platform_kit.pipelines.pipeline import Pipeline
from platform_kit.servers.pipeline_store import PipelineStore
from platform_kit.verbs.base import Verbs


class PipelineVerbs(Verbs):
    """Deploy a pipeline and take it away."""

    _art_pipeline_on: Backing | None

    def deploy(
        self, pipeline: Pipeline | str | Path, *, wait: bool = True, timeout_s: float = 30.0
    ) -> Deployment:
        """Lint a pipeline, give it to Wombat, and wait until its input and output are connected.

        If it does not become ready within ``timeout_s`` seconds, what ran under its name before is put back.

        Errors: ``LintError`` with lines and columns, ``DeployError`` with Wombat's reason.
        """
        if not isinstance(pipeline, Pipeline):
            pipeline = Pipeline.read(pipeline)
        _ = self.wombat  # says at once if there is none
        job = self._loop.submit(
            deploy_noted(self._require(), pipeline, self.settings, timeout_s=timeout_s),
            name=f"deploying {pipeline.name}",
            stall_timeout_s=timeout_s + 60.0,
        )
        if pipeline.name == ART_PIPELINE:
            self._art_pipeline_on = self._backing
        deployment = Deployment(pipeline.name, job)
        return deployment.wait() if wait else deployment

    def remove(self, name: str) -> bool:
        """Take a pipeline away; False if there was none of this name."""
        if self.data_dir is not None:
            PipelineStore(self.data_dir / "pipelines").remove(name)
        return self.wombat.delete(name)
