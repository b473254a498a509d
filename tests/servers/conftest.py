"""The real platform, started once a module where a test does not need its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from platform_kit import Platform


@pytest.fixture(scope="module")
def platform() -> Iterator[Platform]:
    with Platform() as running:
        yield running
