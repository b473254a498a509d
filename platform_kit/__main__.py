"""``python -m platform_kit``: the same as the command ``platform-kit``."""

from platform_kit.cli import main

if __name__ == "__main__":
    main()
