"""The pinned binaries: find, build, cache and name them.

`SPECS` is the table of what there is. `ensure` returns the path of one of them and builds it if need be.
"""

from platform_kit.binaries.build import Progress, console_progress
from platform_kit.binaries.ensure import (
    BinaryStatus,
    ensure,
    ensure_all,
    inventory,
    renderer_key,
)
from platform_kit.binaries.specs import GO_MODULE, SPECS, GoBinary, Spec, WheelBinary

__all__ = [
    "GO_MODULE",
    "SPECS",
    "BinaryStatus",
    "GoBinary",
    "Progress",
    "Spec",
    "WheelBinary",
    "console_progress",
    "ensure",
    "ensure_all",
    "inventory",
    "renderer_key",
]
