"""Wombat configs as objects: load, lint, test, run alone, deploy."""

from platform_kit.pipelines.pipeline import LintProblem, Pipeline, PipelineTests
from platform_kit.pipelines.run import PipelinePart, PipelineRun

__all__ = ["LintProblem", "Pipeline", "PipelinePart", "PipelineRun", "PipelineTests"]
