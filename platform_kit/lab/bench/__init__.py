"""The throughput lab: scenarios measured in interleaved repeats, and verdicts that can be trusted.

Nothing is imported before it is used: the load generators are processes of this package, and start often.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from platform_kit.lab.bench.api import bench as bench
    from platform_kit.lab.bench.comparison import Comparison as Comparison
    from platform_kit.lab.bench.result import BenchResult as BenchResult
    from platform_kit.lab.bench.wombat_streams import relay as relay

_HOME = {"bench": "api", "BenchResult": "result", "Comparison": "comparison", "relay": "wombat_streams"}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"platform_kit.lab.bench has no {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
