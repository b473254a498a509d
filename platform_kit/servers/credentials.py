"""Who may do what: one nkey a role, each with the least permissions.

Seeds are files of mode 0600 in the platform's data directory; the server's configuration holds only public
keys. Nothing else carries a secret: no argument, no URL, no log, no output.

Source of the permission format: https://docs.nats.io/running-a-nats-service/configuration/securing_nats/authorization
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROLES = ("admin", "wombat", "worker", "viewer", "system")

# Administration of streams and of other roles' inboxes is what pipelines and workers never need.
_JS_ADMIN = (
    "$JS.API.STREAM.CREATE.>",
    "$JS.API.STREAM.UPDATE.>",
    "$JS.API.STREAM.DELETE.>",
    "$JS.API.STREAM.PURGE.>",
    "$JS.API.STREAM.RESTORE.>",
    "$JS.API.STREAM.SNAPSHOT.>",
    "$JS.API.STREAM.MSG.DELETE.>",
    "$JS.API.SERVER.>",
    "$JS.API.ACCOUNT.>",
    "$JS.API.META.>",
)
_ADMIN_INBOX = "_INBOX_admin.>"
_WORKER_INBOX = "_INBOX_worker.>"
_READ_ASSETS = (
    "$JS.API.STREAM.INFO.OBJ_CARD_ASSETS",
    "$JS.API.DIRECT.GET.OBJ_CARD_ASSETS.>",
    "$JS.API.CONSUMER.CREATE.OBJ_CARD_ASSETS.>",
    "$JS.API.CONSUMER.DELETE.OBJ_CARD_ASSETS.>",
)
_PREPARED_ART = ("assets.files.*", "$JS.API.DIRECT.GET.ASSET_FILES.assets.files.*")


@dataclass(frozen=True)
class Permissions:
    """Subjects a role may publish and subscribe to; an empty allow list means all but the denied."""

    publish: tuple[str, ...] = ()
    publish_denied: tuple[str, ...] = ()
    subscribe: tuple[str, ...] = ()
    subscribe_denied: tuple[str, ...] = ()
    responses: bool = False


PERMISSIONS: Mapping[str, Permissions] = {
    "admin": Permissions(),
    "system": Permissions(),
    # Pipelines are the user's to write: any subject of the account, but no administration.
    "wombat": Permissions(
        publish_denied=(*_JS_ADMIN, "$SRV.>"),
        subscribe_denied=(_ADMIN_INBOX, _WORKER_INBOX, "$JS.>"),
    ),
    "worker": Permissions(
        publish=("cards.images.*", *_PREPARED_ART, *_READ_ASSETS),
        subscribe=("workers.>", "$SRV.>", _WORKER_INBOX),
        responses=True,
    ),
    "viewer": Permissions(
        publish=(
            "$JS.API.INFO",
            "$JS.API.STREAM.NAMES",
            "$JS.API.STREAM.LIST",
            "$JS.API.STREAM.INFO.*",
            "$JS.API.STREAM.MSG.GET.*",
            "$JS.API.DIRECT.GET.>",
            "$JS.API.CONSUMER.NAMES.*",
            "$JS.API.CONSUMER.LIST.*",
            "$JS.API.CONSUMER.INFO.>",
            "$SRV.PING",
            "$SRV.PING.>",
            "$SRV.INFO",
            "$SRV.INFO.>",
            "$SRV.STATS",
            "$SRV.STATS.>",
        ),
        subscribe=("assets.>", "cards.>", "_INBOX_viewer.>"),
    ),
}


@dataclass(frozen=True)
class Credentials:
    """The keys of one platform.

    Parameters
    ----------
    folder: Where the seed files are.
    public: Public key of each role.
    """

    folder: Path
    public: Mapping[str, str]
    wombat_password: str = field(repr=False)

    def seed_file(self, role: str) -> Path:
        """The file with the seed of ``role``; what clients are pointed at."""
        return self.folder / f"{role}.nk"


def load_or_create(folder: Path) -> Credentials:
    """Read the keys in ``folder``, or make them; every file has mode 0600, the folder 0700.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     keys = load_or_create(Path(folder) / "credentials")
    >>> sorted(keys.public) == sorted(ROLES)
    True
    """
    import nkeys

    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    public: dict[str, str] = {}
    for role in ROLES:
        path = folder / f"{role}.nk"
        if not path.exists():
            write_private(path, nkeys.encode_seed(secrets.token_bytes(32), nkeys.PREFIX_BYTE_USER))
        pair = nkeys.from_seed(bytearray(path.read_bytes().strip()))
        public[role] = pair.public_key.decode()
        pair.wipe()
    password_file = folder / "wombat.password"
    if not password_file.exists():
        write_private(password_file, secrets.token_urlsafe(32).encode())
    return Credentials(folder, public, password_file.read_text().strip())


def write_private(path: Path, content: bytes) -> None:
    """Write a file nobody else can read, not even for a moment, complete or not at all."""
    temporary = path.with_name(path.name + ".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    os.replace(temporary, path)
