"""No secret where somebody could read it, nobody in without one, nothing beyond loopback."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import stat
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import nats.errors
import psutil
import pytest
from nats.aio.client import Client

from platform_kit import Platform
from platform_kit.errors import NotRunningError, UsageError
from platform_kit.jetstream.connection import Endpoint, connect
from platform_kit.servers.credentials import ROLES


def platform_processes(platform: Platform) -> list[psutil.Process]:
    return [psutil.Process(service.pid) for service in platform.status().services if service.pid]


def secrets(platform: Platform) -> list[str]:
    seeds = [platform.credentials_file(role).read_text().strip() for role in ROLES]
    assert platform.data_dir is not None
    password = (platform.data_dir / "credentials" / "wombat.password").read_text().strip()
    assert all(len(secret) > 30 for secret in [*seeds, password])
    return [*seeds, password, base64.b64encode(f"platform:{password}".encode()).decode()]


def test_no_secret_in_arguments_environment_logs_or_output(platform: Platform) -> None:
    assert platform.data_dir is not None
    shown = [
        repr(platform),
        platform._repr_html_(),
        json.dumps(platform.status().as_dict()),
        repr(platform.wombat),
    ]
    for process in [*platform_processes(platform), *psutil.Process().children(recursive=True)]:
        shown += [" ".join(process.cmdline()), json.dumps(process.environ())]
    for path in [*(platform.data_dir / "logs").iterdir(), *(platform.data_dir / "config").iterdir()]:
        shown.append(path.read_text(errors="replace"))
    for secret in secrets(platform):
        assert not any(secret in text for text in shown)


def test_wombats_interface_gives_no_secret_away(platform: Platform) -> None:
    config = json.dumps(platform.wombat.config("render_cards"))
    assert not any(secret in config for secret in secrets(platform))


def test_files_are_for_their_owner_alone(platform: Platform) -> None:
    assert platform.data_dir is not None
    assert stat.S_IMODE(platform.data_dir.stat().st_mode) == 0o700
    files = [
        path for name in ("credentials", "config", "logs") for path in (platform.data_dir / name).iterdir()
    ]
    assert len(files) > 8
    for path in files:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def listeners(platform: Platform) -> list[tuple[str, str, int]]:
    found = []
    for process in platform_processes(platform):
        for connection in process.net_connections(kind="inet"):
            if connection.status == psutil.CONN_LISTEN or connection.type != 1:
                found.append((process.name(), connection.laddr.ip, connection.laddr.port))
    return found


def test_every_listener_is_on_loopback_and_known(platform: Platform) -> None:
    found = listeners(platform)
    assert {address for _, address, _ in found} == {"127.0.0.1"}
    assert {port for _, _, port in found} == set(platform.ports.values())


def test_nats_refuses_a_client_without_credentials(platform: Platform) -> None:
    async def anonymous(**options: Any) -> None:
        client = Client()
        try:
            await client.connect(platform.nats_url, allow_reconnect=False, **options)
        finally:
            await client.close()

    async def quiet(_: Exception) -> None:
        return None

    for options in ({}, {"user": "admin", "password": "admin"}, {"token": "secret"}):
        with pytest.raises((nats.errors.Error, OSError), match=r"(?i)authorization"):
            asyncio.run(anonymous(error_cb=quiet, **options))


@pytest.mark.parametrize(
    "path", ["/ready", "/ping", "/metrics", "/streams", "/streams/render_cards", "/version"]
)
@pytest.mark.parametrize("password", [None, "", "platform"])
def test_wombat_refuses_a_client_without_the_password(
    platform: Platform, path: str, password: str | None
) -> None:
    request = urllib.request.Request(platform.wombat_url + path)
    if password is not None:
        pair = base64.b64encode(f"platform:{password}".encode()).decode()
        request.add_header("Authorization", f"Basic {pair}")
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=5)
    assert caught.value.code == 401
    caught.value.close()


@pytest.mark.parametrize(
    ("role", "subject"),
    [
        ("worker", "cards.requested.forged"),
        ("worker", "cards.rendered.forged"),
        ("worker", "$JS.API.STREAM.DELETE.CARD_RESULTS"),
        ("wombat", "$JS.API.STREAM.DELETE.CARD_RESULTS"),
        ("wombat", "$JS.API.STREAM.PURGE.CARD_IMAGES"),
        ("viewer", "cards.requested.forged"),
        ("viewer", "$JS.API.STREAM.CREATE.MINE"),
    ],
)
def test_a_role_may_do_no_more_than_its_work(platform: Platform, role: str, subject: str) -> None:
    async def attempt() -> list[str]:
        errors: list[str] = []

        async def note(error: Exception) -> None:
            errors.append(str(error))

        client = await platform.connect(role, error_cb=note)
        try:
            await client.publish(subject, b"{}")
            async with asyncio.timeout(5):
                while not errors:
                    await asyncio.sleep(0.005)
        finally:
            await client.close()
        return errors

    errors = asyncio.run(attempt())
    assert any("permissions violation" in error.lower() for error in errors), errors


def test_a_remote_address_has_to_be_encrypted() -> None:
    with pytest.raises(UsageError, match="tls://"):
        Endpoint("nats://nats.example.com:4222", None)
    with pytest.raises(UsageError, match="holds a user or password"):
        Endpoint("nats://admin:hunter2@127.0.0.1:4222", None)


def test_the_error_of_a_refused_client_names_no_secret(platform: Platform, tmp_path: Path) -> None:
    other = tmp_path / "other.nk"
    import nkeys

    seed = nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER)
    other.write_bytes(seed)
    with pytest.raises(NotRunningError) as caught:
        asyncio.run(connect(Endpoint(platform.nats_url, other)))
    assert seed.decode() not in str(caught.value)
    assert platform.nats_url in str(caught.value)
