"""The warden ends the group when its kernel is gone, however it went."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest
from support import FAKE

from platform_kit.servers.warden import Warden

KERNEL = textwrap.dedent(
    """
    import sys, tempfile, time
    from pathlib import Path
    from platform_kit.servers.process import Process, Spec
    from platform_kit.servers.warden import Warden

    folder, mode = Path(sys.argv[1]), sys.argv[2]
    temporary = Path(tempfile.mkdtemp(prefix="platform-kit-"))
    warden = Warden(remove=temporary)
    command = (sys.executable, "-I", sys.argv[3], mode, str(folder / "ready"))
    server = Process(Spec("fake", command, temporary / "fake.log"), group=warden.group)
    server.wait_until((folder / "ready").exists, timeout_s=10)
    print(warden.pid, server.pid, temporary, flush=True)
    if len(sys.argv) > 4 and sys.argv[4] == "fork":
        import os
        if os.fork() == 0:
            time.sleep(1.0)
            os._exit(0)
    time.sleep(60)
    """
)


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def wait_gone(*pids: int, within_s: float = 3.0) -> None:
    deadline = time.monotonic() + within_s
    while not all(gone(pid) for pid in pids):
        assert time.monotonic() < deadline, [pid for pid in pids if not gone(pid)]
        time.sleep(0.01)


def kernel(folder: Path, mode: str, *more: str) -> tuple[subprocess.Popen[str], int, int, Path]:
    process = subprocess.Popen(
        [sys.executable, "-c", KERNEL, str(folder), mode, str(FAKE), *more], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    warden, server, temporary = process.stdout.readline().split()
    return process, int(warden), int(server), Path(temporary)


@pytest.mark.parametrize("mode", ["good", "stubborn", "forks"])
def test_sigkill_of_the_kernel_ends_its_servers_and_its_folder(tmp_path: Path, mode: str) -> None:
    process, warden, server, temporary = kernel(tmp_path, mode)
    with process:
        pids = [warden, server]
        if mode == "forks":
            pids.append(int((tmp_path / "ready.child").read_text()))
        process.kill()
        process.wait()
        wait_gone(*pids)
    deadline = time.monotonic() + 3.0
    while temporary.exists():
        assert time.monotonic() < deadline, "the temporary folder was not removed"
        time.sleep(0.01)


def test_an_interrupt_of_the_kernels_group_does_not_reach_the_servers(tmp_path: Path) -> None:
    process, warden, server, _ = kernel(tmp_path, "good")
    with process:
        assert os.getpgid(server) == os.getpgid(warden) != os.getpgid(process.pid)
        process.kill()
        process.wait()
        wait_gone(warden, server)


def test_a_fork_of_the_kernel_does_not_keep_the_servers_alive(tmp_path: Path) -> None:
    process, warden, server, _ = kernel(tmp_path, "good", "fork")
    with process:
        process.kill()
        process.wait()
        wait_gone(warden, server, within_s=0.9)


def test_closing_it_ends_what_is_left_of_the_group(tmp_path: Path) -> None:
    warden = Warden()
    command = [sys.executable, "-I", str(FAKE), "stubborn", str(tmp_path / "ready")]
    with subprocess.Popen(command, process_group=warden.group, stdout=subprocess.DEVNULL) as left:
        warden.close()
        assert left.wait(3.0) == -signal.SIGKILL
    assert not warden.alive
