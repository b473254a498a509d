"""A worker, Wombat or nats-server is killed in the middle of a run: every card must be there once.

Each run has a platform of its own. The victim is killed with SIGKILL when a share of the cards is done that
the seed decides; the kit restarts it on the same data. Afterwards every card has to be rendered, its file to
have the digest its result names, the request stream to be empty, and CARD_RESULTS to hold one result a card.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from parts import deck as decks
from parts.processes import pid_of
from parts.report import Figure, median, say, work_folder
from platform_kit import Platform

if TYPE_CHECKING:
    from platform_kit.cards.run import CardRun

VICTIMS = {"worker": "card-renderer-1", "Wombat": "wombat", "nats-server": "nats-server"}
SETTLE_TIMEOUT_S = 60.0
POLL_S = 0.002


@dataclass(frozen=True)
class Damage:
    """What a run came to: cards without a result, with several, and without their file."""

    lost: int
    twice: int
    files: int
    seconds: float

    @property
    def any(self) -> int:
        """All in all."""
        return self.lost + self.twice + self.files


def measure(
    cards: int, kills: int, *, seed: int = 7, victims: Sequence[str] = tuple(VICTIMS)
) -> list[Figure]:
    """Kill each of ``victims`` in ``kills`` runs of ``cards`` cards, at moments that ``seed`` decides."""
    moments, figures = random.Random(seed), []
    with work_folder(3 * cards * 500_000) as folder:
        with Platform() as platform:
            decks.draw_art(platform, folder)
        usual = median([damaged_run(folder, cards, None, 0.0).seconds for _ in range(3)])
        figures.append(Figure(f"faults: an undisturbed run of {cards:,} cards", usual, "s"))
        for victim in victims:
            damages = []
            for number in range(kills):
                share = moments.uniform(0.02, 0.95)
                damages.append(damaged_run(folder, cards, VICTIMS[victim], share))
                say(f"faults: {victim} {number + 1}/{kills}, at {share:.0%}: {damages[-1]}")
            lost, twice = sum(one.lost for one in damages), sum(one.twice for one in damages)
            longer = [one.seconds - usual for one in damages]
            figures += [
                Figure(f"faults: {victim} killed {kills} times, cards lost", lost, "", at_most=0),
                Figure(f"faults: {victim} killed {kills} times, cards twice", twice, "", at_most=0),
                Figure(
                    f"faults: {victim} killed {kills} times, files wrong",
                    sum(one.files for one in damages),
                    "",
                    at_most=0,
                ),
                Figure(f"faults: {victim} killed, longer by, median", median(longer), "s"),
                Figure(f"faults: {victim} killed, longer by, at most", max(longer), "s"),
            ]
    return figures


def damaged_run(folder: Path, cards: int, service: str | None, share: float) -> Damage:
    """One run, in which ``service`` is killed when ``share`` of the cards is done; with None nothing is."""
    out = folder / "out"
    with Platform(folder / "data") as platform:
        begun = time.perf_counter()
        run = platform.generate(decks.of(decks.rows(cards), folder), out=out, wait=False, progress=False)
        if service is not None:
            while run.progress.done < share * cards and not run.done:
                time.sleep(POLL_S)
            assert not run.done, "the run was over before the kill: give more cards"
            os.kill(pid_of(platform, service), signal.SIGKILL)
        run.wait()
        seconds = time.perf_counter() - begun
        if service is not None:
            _wait_for_restart(platform, service)
        lost, twice = asyncio.run(_results(platform, run))
    damage = Damage(lost, twice, _wrong_files(run, out, cards), seconds)
    shutil.rmtree(out)
    shutil.rmtree(folder / "data")
    return damage


def _wait_for_restart(platform: Platform, service: str) -> None:
    """Until the kit has started the victim again; a run may end a moment before."""
    until = time.monotonic() + SETTLE_TIMEOUT_S
    while True:
        restarts = {state.name: state.restarts for state in platform.service_states()[0]}
        if restarts[service] == 1:
            return
        assert restarts[service] == 0 and time.monotonic() < until, restarts
        time.sleep(POLL_S)


async def _results(platform: Platform, run: CardRun) -> tuple[int, int]:
    """Cards without a result and with several, once no request is left; the platform had no other run."""
    client = await platform.connect()
    try:
        js = client.jetstream()
        until = time.monotonic() + SETTLE_TIMEOUT_S
        while (await js.stream_info("CARD_REQUESTS")).state.messages:
            assert time.monotonic() < until, "requests are left in the stream"
            await asyncio.sleep(0.05)
        state = (await js.stream_info("CARD_RESULTS")).state
        found: Counter[str] = Counter()
        everything = await js.subscribe("cards.*.*", stream="CARD_RESULTS", ordered_consumer=True)
        for _ in range(state.messages):
            message = await everything.next_msg(timeout=10)
            found[json.loads(message.data)["id"]] += 1
        await everything.unsubscribe()
    finally:
        await client.close()
    ids = [outcome.id for outcome in run.outcomes if outcome.id is not None]
    return sum(found[one] == 0 for one in ids), sum(count > 1 for count in found.values())


def _wrong_files(run: CardRun, out: Path, cards: int) -> int:
    """Cards that are not rendered, or whose file has not the digest that the result names."""
    good = 0
    for outcome in run.outcomes:
        if outcome.status == "rendered" and outcome.image is not None and outcome.file is not None:
            good += hashlib.sha256(outcome.file.read_bytes()).hexdigest() == outcome.image.digest
    left = len(list((out / "cards").glob("*.png")))
    return cards - good + abs(left - cards)
