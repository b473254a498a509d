"""A Jupyter kit for experimenting with an event-driven card-generation platform.

    from platform_kit import Platform, Deck

    with Platform() as platform:
        run = platform.generate(Deck.read("deck.csv"))

Nothing is imported before it is used: ``import platform_kit`` alone costs a few milliseconds.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from platform_kit.cards.deck import Deck as Deck
    from platform_kit.cards.template import Template as Template
    from platform_kit.lab.bench.api import bench as bench
    from platform_kit.pipelines import Pipeline as Pipeline
    from platform_kit.platform import Platform as Platform
    from platform_kit.workers.check import check_worker as check_worker

__version__ = "0.1.0"

# Public name -> the module that defines it.
_HOME = {
    "Deck": "platform_kit.cards.deck",
    "Pipeline": "platform_kit.pipelines",
    "Platform": "platform_kit.platform",
    "Template": "platform_kit.cards.template",
    "bench": "platform_kit.lab.bench.api",
    "check_worker": "platform_kit.workers.check",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"platform_kit has no {name!r}; it has {', '.join(__all__)}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
