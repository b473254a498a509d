"""``python -m platform_kit.binaries [--full | --slim]``: build what is missing; silent if nothing is."""

from __future__ import annotations

import sys

from platform_kit.binaries.build import console_progress
from platform_kit.binaries.ensure import ensure_all
from platform_kit.errors import PlatformKitError
from platform_kit.settings import Settings


def main(arguments: list[str]) -> int:
    """Build what is missing; ``--full`` and ``--slim`` choose Wombat's distribution for this checkout."""
    full = True if "--full" in arguments else False if "--slim" in arguments else None
    try:
        ensure_all(Settings.load(), progress=console_progress(), full=full)
    except PlatformKitError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted; nothing half-made is left", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
