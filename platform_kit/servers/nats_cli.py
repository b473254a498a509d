"""How the nats CLI is called: as which role, and away from the user's own contexts."""

from __future__ import annotations

from pathlib import Path


def nats_cli_environment(folder: Path) -> dict[str, str]:
    """The variables that give the CLI a folder of its own; leave out those named ``NATS_*``.

    Parameters
    ----------
    folder: Where that folder is made.
    """
    private = folder / "nats-cli"
    private.mkdir(mode=0o700, parents=True, exist_ok=True)
    return {"XDG_CONFIG_HOME": str(private)}


def nats_cli_connection(url: str, credentials: Path | None, inbox: str) -> list[str]:
    """The words that say where and as whom: the path of a file with a secret, never the secret.

    >>> nats_cli_connection("nats://127.0.0.1:4222", None, "_INBOX")
    ['--server', 'nats://127.0.0.1:4222', '--inbox-prefix', '_INBOX']
    """
    words = ["--server", url]
    if credentials is not None:
        jwt = b"BEGIN NATS USER JWT" in credentials.read_bytes()
        words += ["--creds" if jwt else "--nkey", str(credentials)]
    return [*words, "--inbox-prefix", inbox]
