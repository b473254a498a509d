"""What a figure depends on besides the code: the machine, the versions, how full its hands were."""

from __future__ import annotations

import os
import platform as machine
import re
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

from platform_kit import binaries
from platform_kit.binaries.keys import Toolchain
from platform_kit.platform import Platform

MOMENT = ("load", "memory_free_gib", "at")
"""What differs from one minute to the next and tells no machines apart."""


def fingerprint(platform: Platform) -> dict[str, Any]:
    """The machine and the servers of a platform, as far as they can be told from here.

    Of an attached platform elsewhere only what its status says is known: ``cpu`` and the rest are of this
    machine, on which the clients run.
    """
    import psutil

    found: dict[str, Any] = {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{machine.system()} {machine.release()}",
        "architecture": machine.machine(),
        "governor": _governor(),
        "python": machine.python_version(),
        "nats-py": metadata.version("nats-py"),
        "go": _go(),
        "durability": platform.durability,
        "servers": "attached" if platform.data_dir is None else "this machine",
    }
    versions = {item.name: item.version for item in binaries.inventory(platform.settings)}
    _, running = platform.service_states()
    for name in ("nats-server", "wombat", "nats"):
        found[name] = running.get(name) or versions.get(name, "")
    found["load"] = round(os.getloadavg()[0], 2)
    found["memory_free_gib"] = round(psutil.virtual_memory().available / 2**30, 1)
    return found


def differences(one: dict[str, Any], other: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """In what two fingerprints differ, the moment aside.

    >>> differences({"cores": 2, "load": 0.1}, {"cores": 4, "load": 0.3})
    {'cores': (2, 4)}
    """
    names = [name for name in {**one, **other} if name not in MOMENT]
    return {name: (one.get(name), other.get(name)) for name in names if one.get(name) != other.get(name)}


def _cpu() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    found = re.search(r"^(?:model name|Hardware|CPU part)\s*:\s*(.+)$", text, re.MULTILINE)
    if found:
        return found[1].strip()
    if machine.system() == "Darwin":
        done = subprocess.run(
            ["sysctl", "-n", "machdep.cpu.brand_string"],
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        )
        return done.stdout.strip()
    return machine.processor()


def _governor() -> str:
    """How the cores' clock is steered; empty where the machine does not say, as in most virtual ones."""
    try:
        return Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").read_text().strip()
    except OSError:
        return ""


def _go() -> str:
    try:
        return str(Toolchain.find().version)
    except Exception:  # no toolchain at hand: nothing that is measured needs one
        return ""
