"""Wombat configs as objects: load, lint, test, deploy."""

from platform_kit.pipelines.pipeline import LintProblem, Pipeline, PipelineTests

__all__ = ["LintProblem", "Pipeline", "PipelineTests"]
