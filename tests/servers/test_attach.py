"""Servers that somebody else started: found, used, and left running."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import nats.errors
import pytest
from commands import alive, background, service_pids, state

from platform_kit import Deck, Pipeline, Platform
from platform_kit.errors import NotRunningError, PlatformKitError, SettingsError, UsageError

IDLE = """
input:
  generate: { mapping: 'root = {}', interval: 1h }
output:
  drop: {}
"""


@pytest.fixture
def attached(platform: Platform) -> Iterator[Platform]:
    """Another process's view of the module's platform: addresses and files, nothing else."""
    with Platform.attach(
        platform.nats_url,
        credentials=platform.credentials_file(),
        wombat_url=platform.wombat_url,
        wombat_password=password(platform),
    ) as other:
        yield other


def password(platform: Platform) -> str:
    return platform.credentials_file().with_name("wombat.password").read_text().strip()


def test_it_renders_and_pings_like_the_one_that_started_it(platform: Platform, attached: Platform) -> None:
    deck = Deck([{"id": "attached", "name": "Attached"}])
    run = attached.generate(deck, progress=False)
    assert run.rendered == 1 and run.images["attached"].startswith(b"\x89PNG")
    assert platform.generate(deck, progress=False).unchanged == 1
    assert all(answer.ok for answer in attached.ping()) and len(attached.ping()) == 4


def test_a_card_is_known_by_the_build_of_the_worker_that_drew_it_not_by_the_one_here(
    platform: Platform, attached: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    deck = Deck([{"id": "far", "name": "Far Away"}])
    assert platform.generate(deck, progress=False).rendered == 1
    monkeypatch.setattr("platform_kit.binaries.renderer_key", lambda settings: "another build")
    assert attached.generate(deck, progress=False).unchanged == 1
    assert platform.generate(deck, progress=False).rendered == 1  # this one goes by what it has started


def test_it_deploys_and_removes_pipelines(platform: Platform, attached: Platform) -> None:
    attached.deploy(Pipeline("from-elsewhere", IDLE))
    assert platform.wombat.streams()["from-elsewhere"]["active"]
    assert attached.remove("from-elsewhere") and not attached.remove("from-elsewhere")
    assert "from-elsewhere" not in platform.wombat.streams()


def test_its_status_says_that_it_is_attached(attached: Platform, platform: Platform) -> None:
    status = attached.status()
    assert (status.state, status.attached, status.durability) == ("attached", True, "unknown")
    assert status.nats_url == platform.nats_url and status.wombat_url == platform.wombat_url
    assert not status.services and status.data_dir is None
    assert platform.nats_url in repr(attached) and "attached" in repr(attached)
    assert password(platform) not in repr(attached) + attached._repr_html_()


def test_stopping_only_disconnects(platform: Platform) -> None:
    before = [service.pid for service in platform.status().services]
    attached = Platform.attach(platform.nats_url, credentials=platform.credentials_file())
    assert attached.running and attached.start() is attached
    attached.stop()
    attached.stop()
    assert attached.status().state == "stopped"
    with pytest.raises(NotRunningError):
        attached.generate(Deck([{"id": "a", "name": "A"}]))
    status = platform.status()
    assert status.state == "running" and [service.pid for service in status.services] == before


def test_without_wombats_address_nothing_can_be_deployed(platform: Platform) -> None:
    with Platform.attach(platform.nats_url, credentials=platform.credentials_file()) as attached:
        assert [answer.name for answer in attached.ping()] == ["nats", "jetstream", "card-renderer"]
        with pytest.raises(NotRunningError, match="wombat_url"):
            attached.deploy(Pipeline("nowhere", IDLE))
        with pytest.raises(NotRunningError, match="no logs"):
            attached.logs("wombat")
        assert attached.status().wombat_url is None


def test_a_client_of_an_attached_one_is_authenticated(attached: Platform) -> None:
    async def cell() -> int:
        client = await attached.connect()
        try:
            return int((await client.jetstream().account_info()).streams)
        finally:
            await client.close()

    assert asyncio.run(cell()) >= 4


def test_with_lesser_credentials_it_may_do_less(platform: Platform) -> None:
    deck = Deck([{"id": "viewed", "name": "Viewed"}])
    viewer = platform.credentials_file("viewer")
    with (
        Platform.attach(platform.nats_url, credentials=viewer) as attached,
        pytest.raises((PlatformKitError, nats.errors.Error)),
    ):
        attached.generate(deck, progress=False, stall_timeout_s=3)


def test_nobody_there_is_not_running(tmp_path: Path, platform: Platform) -> None:
    with pytest.raises(NotRunningError, match=r"127\.0\.0\.1:1"):
        Platform.attach("nats://127.0.0.1:1", credentials=platform.credentials_file())
    with pytest.raises(NotRunningError, match="lets us in"):
        Platform.attach(platform.nats_url)
    with pytest.raises(SettingsError, match=r"missing\.nk"):
        Platform.attach(platform.nats_url, credentials=tmp_path / "missing.nk")
    with pytest.raises(UsageError, match="not a NATS address"):
        Platform.attach("http://127.0.0.1:4222")
    with pytest.raises(UsageError, match="tls://"):
        Platform.attach("nats://nats.example.com:4222")


def test_a_wrong_password_for_wombat_is_said(platform: Platform) -> None:
    with Platform.attach(
        platform.nats_url,
        credentials=platform.credentials_file(),
        wombat_url=platform.wombat_url,
        wombat_password="guessed",
    ) as attached:
        wombat = {answer.name: answer for answer in attached.ping()}["wombat"]
        assert not wombat.ok and "does not let us in" in wombat.detail and "guessed" not in wombat.detail
        with pytest.raises(NotRunningError, match="does not let us in") as caught:
            attached.deploy(Pipeline("refused", IDLE))
        assert "guessed" not in str(caught.value)


# ------------------------------------------------------------------------------ in a folder


def test_the_platform_of_the_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with background(tmp_path):
        monkeypatch.chdir(tmp_path)
        platform = Platform.attach()
        pids = service_pids(tmp_path)
        status = platform.status()
        assert status.state == "running" and status.attached and status.durability == "lazy"
        assert {service.name: service.pid for service in status.services} == pids
        assert "Server is ready" in platform.logs("nats-server")
        run = platform.generate(Deck([{"id": "here", "name": "Here"}]), out=tmp_path / "out", progress=False)
        assert run.rendered == 1 and (tmp_path / "out" / "cards" / "here.png").exists()
        platform.stop()
        assert all(map(alive, pids.values())) and state(tmp_path)["ready"]
        with Platform.attach() as again:
            assert again.generate(Deck([{"id": "here", "name": "Here"}]), progress=False).unchanged == 1
    assert not any(map(alive, pids.values()))


def test_in_a_folder_without_one_there_is_nothing_to_attach_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotRunningError, match="platform-kit start") as caught:
        Platform.attach()
    assert os.fspath(tmp_path) in str(caught.value)
