"""A server that misbehaves on request: ``fake_server.py MODE READY_FILE``."""

import os
import signal
import sys
import time
from pathlib import Path

mode, ready = sys.argv[1], Path(sys.argv[2])
print(f"fake server {mode} starts", flush=True)
if mode == "exits":
    print("no such option: --frobnicate", flush=True)
    sys.exit(3)
if mode == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if mode == "forks":
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            time.sleep(60)
    ready.with_suffix(".child").write_text(str(child))
if mode == "floods":
    line = b"x" * 999 + b"\n"
    for _ in range(20_000):
        os.write(1, line)
if mode != "silent":
    ready.write_text(str(os.getpid()))
if mode == "crashes":
    time.sleep(0.05)
    sys.exit(9)
while True:
    time.sleep(60)
