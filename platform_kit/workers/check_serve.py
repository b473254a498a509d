"""Check a worker as a NATS micro service, against a real nats-server with the roles' real permissions."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import re
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from platform_kit.reprs import clean, human_bytes, human_count, human_seconds, shorten
from platform_kit.servers.process import base_environment, tail
from platform_kit.workers.check_process import ending
from platform_kit.workers.check_replies import ENVELOPE, Bodies, Reply, distinct, service_reply, shuffled
from platform_kit.workers.check_report import Fault, Findings, NotApplicable
from platform_kit.workers.check_subprocess import DRAIN_S, IN_TIME, SLOW_S
from platform_kit.workers.program import Program, last_words

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg

AT_ONCE = 64
LAST_LINES = 1000
IN_GROUP = 200
PATIENCE_S = 0.05
"""The deadline a request is sent with to see whether it is kept."""

OWN_TIME_S = 1.0
"""What a worker may need beyond its deadline when the machine is not busy."""

WAY = 3.0
"""The way of a reply has this many times the hand-overs between processes of one to the server and back."""

QUIET_S = 0.2
"""How long a second reply to the same request is awaited; one that comes later is seen by a later check."""

PING_AGAIN_S, LOOK_AGAIN_S = 0.1, 0.01
NO_RESPONDERS = "503"
READY_S = 10.0
HEADROOM_BYTES = 4096
_VERSION = re.compile(r"\d+\.\d+\.\d+([-+][0-9A-Za-z.+-]+)?")


@dataclass
class Instance:
    """One process of the worker."""

    name: str
    popen: subprocess.Popen[bytes]
    log: Path
    id: str = ""

    def describe_end(self) -> str:
        """How it ended, and its last words."""
        line = last_words(tail(self.log, LAST_LINES))
        return ending(self.popen.poll()) + (f". Its last words: {shorten(clean(line), 160)}" if line else "")


@dataclass
class ServeCheck:
    """The checks of one worker as a micro service.

    Parameters
    ----------
    program: The worker.
    client: Asks; it may do everything.
    start: Starts ``BIN serve`` under an instance name.
    bodies: What to send.
    findings: Where the outcome goes.
    timeout_s: How long one reply may take.
    max_payload: The server's largest message, in bytes.
    """

    program: Program
    client: Client
    start: Callable[[str], Instance]
    bodies: Bodies
    findings: Findings
    timeout_s: float
    max_payload: int
    slow_s: float = SLOW_S
    _inbox: str = field(default="", init=False)
    _asked: int = field(default=0, init=False)
    _answers: dict[int, Msg] = field(default_factory=dict, init=False)
    _answered: set[int] = field(default_factory=set, init=False)
    _settled: int = field(default=0, init=False)
    _missing: set[int] = field(default_factory=set, init=False)
    _enough: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _fenced: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _nobody: bool = field(default=False, init=False)
    _twice: bool = field(default=False, init=False)
    _started: int = field(default=0, init=False)
    _kept: Instance | None = field(default=None, init=False)
    _replies: int = field(default=0, init=False)
    _failures: int = field(default=0, init=False)
    _slowest_s: float = field(default=0.0, init=False)

    async def run(self) -> None:
        """Make all checks."""
        self._inbox = self.client.new_inbox()
        subscription = await self.client.subscribe(f"{self._inbox}.*", cb=self._take)
        try:
            await self._run()
        finally:
            await self._end(self._kept)
            await subscription.unsubscribe()

    async def _run(self) -> None:
        checks: dict[str, Callable[[], Awaitable[str]]] = {
            "$SRV.INFO": self._info,
            "$SRV.STATS": self._statistics,
            "an empty request": lambda: self._body(b""),
            "a request of 1 MiB": lambda: self._body(self.bodies.large),
            "a request above the limit": self._too_large,
            "a request without reply subject": self._no_reply_subject,
            "a deadline in the header": self._deadline,
            "many requests at once": self._many,
            "no mixed-up replies": self._mixed_up,
            "queue group": self._group,
            "stop on SIGTERM": self._sigterm,
        }
        if not await self._make("$SRV.PING", self._ping):
            self.findings.skip(["a request", *checks], "it does not get ready")
            return
        if not await self._make("a request", self._one):
            self.findings.skip(list(checks), "no request is answered as it should be")
        else:
            for name, check in checks.items():
                await self._make(name, check)
        if self._replies:
            self.findings.all_along(IN_TIME, f"the slowest took {human_seconds(self._slowest_s)}")
            if self._failures:
                self.findings.all_along(ENVELOPE, f"{human_count(self._failures, 'failure')}, well formed")
            elif not self.findings.failed(ENVELOPE):
                self.findings.skip([ENVELOPE], "nothing failed")

    # ----------------------------------------------------------------------------------------------

    async def _make(self, name: str, check: Callable[[], Awaitable[str]]) -> bool:
        try:
            detail = await check()
        except (Fault, NotApplicable) as error:
            caught = error

            def fail() -> str:
                raise caught

            return self.findings.run(name, fail)
        return self.findings.run(name, lambda: detail)

    @contextlib.asynccontextmanager
    async def _running(self, *, fresh: bool = False) -> AsyncIterator[Instance]:
        """A process that answers: the one of the check before, unless that failed, or a new one."""
        instance, self._kept = (None, self._kept) if fresh else (self._kept, None)
        try:
            if instance is None or instance.popen.poll() is not None:
                self._started += 1
                instance = self.start(f"check-{self._started}")
                await self._ready(instance)
            yield instance
        except BaseException:
            if instance is not None:
                await self._end(instance)
            raise
        if fresh:
            await self._end(instance)
        else:
            self._kept = instance

    async def _end(self, instance: Instance | None) -> None:
        if instance is None:
            return
        instance.popen.kill()
        await asyncio.to_thread(instance.popen.wait)
        # Until the server has seen that it is gone, it may still be sent a request.
        deadline = time.monotonic() + self.timeout_s
        while instance.id and time.monotonic() < deadline:
            if await self._nobody_on(f"$SRV.PING.{self.program.name}.{instance.id}"):
                return

    async def _nobody_on(self, subject: str) -> bool:
        from nats.errors import Error, NoRespondersError

        try:
            await self.client.request(subject, timeout=PING_AGAIN_S)
        except NoRespondersError:
            return True
        except (Error, TimeoutError):
            pass
        return False

    async def _ready(self, instance: Instance) -> None:
        deadline = time.monotonic() + max(self.timeout_s, READY_S)
        wrong = ""
        while time.monotonic() < deadline:
            if instance.popen.poll() is not None:
                raise Fault(
                    f"It {instance.describe_end()}",
                    "Connect to PLATFORM_NATS_URL with the key in PLATFORM_NKEY_FILE (inbox prefix "
                    "_INBOX_worker), register the service, and stay until SIGTERM.",
                )
            for answer in await self._ask_service("PING", [instance], PING_AGAIN_S):
                metadata = answer.get("metadata") or {}
                if metadata.get("instance") == instance.name and str(metadata.get("pid")) == str(
                    instance.popen.pid
                ):
                    instance.id = str(answer.get("id"))
                    return
                wrong = f"it answers with the metadata {json.dumps(metadata)[:120]}"
            await asyncio.sleep(LOOK_AGAIN_S)
        why = wrong or "there is no answer"
        if not wrong and (await self._ask_now(self.bodies.request)) is not None:
            why = f"there is no answer, though workers.{self.program.name} is answered"
        raise Fault(
            f"On $SRV.PING.{self.program.name} {why}.",
            "Answer $SRV.PING as a NATS micro service does, with PLATFORM_INSTANCE and the process id as "
            '"instance" and "pid" in the metadata. The platform waits for it before it calls a worker ready.',
        )

    async def _ask_now(self, body: bytes) -> Msg | None:
        from nats.errors import Error

        with contextlib.suppress(Error, TimeoutError):
            return await self.client.request(f"workers.{self.program.name}", body, timeout=1.0)
        return None

    async def _ask_service(
        self, word: str, instances: Sequence[Instance], wait_s: float | None = None
    ) -> list[dict[str, Any]]:
        """What is said on $SRV.<word>.<name>; ends when all of these instances have answered."""
        found: list[dict[str, Any]] = []
        missing = {instance.name for instance in instances}
        over = asyncio.Event()

        async def take(message: Msg) -> None:
            if (message.headers or {}).get("Status") == NO_RESPONDERS:
                over.set()
                return
            with contextlib.suppress(ValueError):
                answer = json.loads(message.data)
                if isinstance(answer, dict):
                    found.append(answer)
                    missing.discard(str((answer.get("metadata") or {}).get("instance")))
            if not missing:
                over.set()

        inbox = self.client.new_inbox()
        subscription = await self.client.subscribe(inbox, cb=take)
        try:
            await self.client.publish(f"$SRV.{word}.{self.program.name}", reply=inbox)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(over.wait(), self.timeout_s if wait_s is None else wait_s)
        finally:
            await subscription.unsubscribe()
        return found

    async def _fence(self) -> None:
        """Wait until the server has passed on all that was sent before, by a message to itself.

        ``client.flush`` is none: its ping overtakes what the client still has to write.
        """
        self._fenced.clear()
        await self.client.publish(f"{self._inbox}.fence")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._fenced.wait(), self.timeout_s)

    async def _take(self, message: Msg) -> None:
        """A reply, whenever it comes: also one to a request that was answered long ago."""
        last = message.subject.rpartition(".")[2]
        if last == "fence":
            self._fenced.set()
            return
        number = int(last)
        if number in self._answered:
            self._twice = self._twice or number >= self._settled
        elif (message.headers or {}).get("Status") == NO_RESPONDERS:
            self._nobody = True
            self._enough.set()
        else:
            self._answers[number] = message
            self._answered.add(number)
            self._missing.discard(number)
            if not self._missing:
                self._enough.set()

    async def _ask_all(
        self,
        bodies: Sequence[bytes],
        instances: Sequence[Instance],
        *,
        headers: Mapping[str, str] | None = None,
        published: Callable[[], None] = lambda: None,
    ) -> list[Reply]:
        """A reply for each request, exactly one. Raises ``Fault``."""
        numbers = range(self._asked, self._asked + len(bodies))
        self._asked += len(bodies)
        self._missing, self._nobody, self._answers = set(numbers), False, {}
        self._enough.clear()
        since = time.monotonic()
        for number, body in zip(numbers, bodies, strict=True):
            await self.client.publish(
                f"workers.{self.program.name}",
                body,
                reply=f"{self._inbox}.{number}",
                headers=dict(headers) if headers else None,
            )
        await self._fence()
        published()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._enough.wait(), self.timeout_s)
        took = time.monotonic() - since
        self._once()
        replies = [
            service_reply(message.headers or {}, message.data)
            for message in (self._answers.get(number) for number in numbers)
            if message is not None
        ]
        self._replies += len(replies)
        self._failures += sum(bool(reply.code) for reply in replies)
        if missing := len(bodies) - len(replies):
            raise self._unanswered(missing, len(bodies), instances)
        if len(bodies) == 1:  # many wait for each other
            self._slowest_s = max(self._slowest_s, took)
        if self._slowest_s > self.slow_s:
            self.findings.fail(
                IN_TIME,
                f"A reply took {human_seconds(self._slowest_s)}.",
                "A pipeline waits 5 s before it asks again: do less in one request, or give it longer there.",
            )
        return replies

    def _once(self) -> None:
        """Raises ``Fault`` when a request was answered a second time since this was last asked."""
        if self._twice:
            self._twice, self._settled = False, self._asked
            raise Fault(
                "A request was answered twice.",
                'Answer each once, and subscribe in the queue group "workers" so that only one process '
                "gets it.",
            )

    def _unanswered(self, missing: int, of: int, instances: Sequence[Instance]) -> Fault:
        dead = [instance for instance in instances if instance.popen.poll() not in (None, 0)]
        if dead:
            return Fault(
                f"It {dead[0].describe_end()} while {missing} of {of} requests had no reply.",
                "A failing request is answered with a failure; the process goes on.",
            )
        if self._nobody:
            return Fault(
                f"Nobody listened on workers.{self.program.name}, though $SRV.PING was answered.",
                "Subscribe to the requests first, then answer pings, and stay subscribed until SIGTERM: the "
                "platform calls a worker ready that answers pings.",
            )
        return Fault(
            f"{missing} of {of} requests had no reply after {self.timeout_s:g} s.",
            "Answer each request, a failure too: a handler needs a deadline, and 504 when it passes.",
        )

    # ----------------------------------------------------------------------------------------------

    async def _ping(self) -> str:
        async with self._running():
            return "answered with instance and process id"

    async def _info(self) -> str:
        async with self._running() as instance:
            answers = await self._ask_service("INFO", [instance])
        if not answers:
            raise Fault("There is no answer on $SRV.INFO.", "Answer it as a NATS micro service does.")
        info, name = answers[0], self.program.name
        endpoints = [item for item in info.get("endpoints") or () if isinstance(item, dict)]
        problems = []
        if info.get("name") != name:
            problems.append(f"its name is {info.get('name')!r}, but `describe` says {name!r}")
        if not _VERSION.fullmatch(str(info.get("version", ""))):
            problems.append(f"its version is {info.get('version')!r}, not like 1.2.3")
        elif self.program.version and info.get("version") != self.program.version:
            problems.append(f"its version is {info['version']}, but `describe` says {self.program.version}")
        mine = [item for item in endpoints if item.get("subject") == f"workers.{name}"]
        if not mine:
            problems.append(f"it has no endpoint with the subject workers.{name}")
        elif mine[0].get("queue_group") != "workers":
            problems.append(f"its queue group is {mine[0].get('queue_group')!r}, not 'workers'")
        build = str((info.get("metadata") or {}).get("build", ""))
        if self.program.build and build != self.program.build:
            problems.append(f"its metadata has the build {build!r}, but `describe` another")
        if problems:
            raise Fault(
                f"In the answer to $SRV.INFO {'; '.join(problems)}.",
                "`platform.workers()` and `nats micro` show what is said there: say what is so.",
            )
        return f"name, version {info['version']}, subject and queue group are right"

    async def _statistics(self) -> str:
        async with self._running() as instance:
            before = await self._counts([instance])
            await self._ask_all([self.bodies.request] * 3, [instance])
            after = await self._counted([instance], before, 3)
        if instance.name not in after:
            raise Fault(
                f"On $SRV.STATS there is no answer with an endpoint workers.{self.program.name}.",
                "Answer it as a NATS micro service does: `platform.workers()` shows what is said there.",
            )
        counted = after[instance.name] - before.get(instance.name, 0)
        if counted != 3:
            raise Fault(
                f"Of three requests $SRV.STATS counts {counted}.",
                f"num_requests of the endpoint workers.{self.program.name} counts every request.",
            )
        return "counts each request"

    async def _counts(self, instances: Sequence[Instance]) -> dict[str, int]:
        """The requests each instance has counted."""
        found = {}
        for answer in await self._ask_service("STATS", instances):
            for item in answer.get("endpoints") or ():
                if isinstance(item, dict) and item.get("subject") == f"workers.{self.program.name}":
                    instance = str((answer.get("metadata") or {}).get("instance"))
                    count = item.get("num_requests")
                    found[instance] = count if isinstance(count, int) else 0
        return found

    async def _counted(
        self, instances: Sequence[Instance], before: Mapping[str, int], requests: int
    ) -> dict[str, int]:
        """The counts once they have grown by so many: a worker may reply first, and count then."""
        deadline = time.monotonic() + self.timeout_s
        while True:
            after = await self._counts(instances)
            if not after or sum(after.values()) - sum(before.values()) >= requests:
                return after
            if time.monotonic() > deadline:
                return after
            await asyncio.sleep(LOOK_AGAIN_S)

    async def _one(self) -> str:
        found = await self._body(self.bodies.request)
        await asyncio.sleep(QUIET_S)
        self._once()
        return found

    async def _body(self, body: bytes) -> str:
        async with self._running() as instance:
            (reply,) = await self._ask_all([body], [instance])
            await self._ask_all([self.bodies.request], [instance])
        return f"{human_bytes(len(body))} answered: {reply}"

    async def _too_large(self) -> str:
        limit = self.bodies.limit
        if limit is None:
            raise NotApplicable("`describe` names no max_request_bytes")
        if limit + 1 > self.max_payload - HEADROOM_BYTES:
            raise NotApplicable(f"the server takes no message above {human_bytes(self.max_payload)}")
        async with self._running() as instance:
            (reply,) = await self._ask_all([self.bodies.too_large], [instance])
            if reply.code != "422":
                raise Fault(
                    f"A request of {limit + 1:,} bytes, one above the limit, was answered: {reply}.",
                    "Refuse it with code 422 and a reason that names the limit, or raise max_request_bytes.",
                )
            await self._ask_all([self.bodies.request], [instance])
        return f"refused: {reply}"

    async def _no_reply_subject(self) -> str:
        async with self._running() as instance:
            await self.client.publish(f"workers.{self.program.name}", self.bodies.request)
            await self._ask_all([self.bodies.request], [instance])
        return "passed over, the next one is answered"

    async def _deadline(self) -> str:
        headers = {"Request-Timeout": f"{PATIENCE_S * 1000:.0f}ms"}
        async with self._running() as instance, self._round_trips() as trips:
            started = time.monotonic()
            await self._ask_all([self.bodies.request], [instance], headers=headers)
            took = time.monotonic() - started
        slowest = max(trips)
        if took > PATIENCE_S + OWN_TIME_S + WAY * slowest:
            raise Fault(
                f"A request with Request-Timeout: {PATIENCE_S * 1000:.0f}ms was answered after "
                f"{human_seconds(took)}, while the slowest way to the server and back took "
                f"{human_seconds(slowest)}.",
                "Nobody waits that long: answer 504 when the time in the header has passed, and stop.",
            )
        self.findings.notes.append(
            "serve: whether the deadline in the header ends a long piece of work. A reply came in time, but "
            "perhaps no request that was tried takes long."
        )
        return f"{PATIENCE_S * 1000:.0f} ms given, answered after {human_seconds(max(0.001, took))}"

    @contextlib.asynccontextmanager
    async def _round_trips(self) -> AsyncIterator[list[float]]:
        """How long the way to the server and back takes meanwhile, in seconds: the machine's own part."""
        found: list[float] = []
        over = asyncio.Event()

        async def measure() -> None:
            while not over.is_set():
                started = time.monotonic()
                with contextlib.suppress(TimeoutError):
                    await self.client.flush(max(1, math.ceil(self.timeout_s)))
                found.append(time.monotonic() - started)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(over.wait(), LOOK_AGAIN_S)

        task = asyncio.create_task(measure())
        try:
            await asyncio.sleep(0)
            yield found
        finally:
            over.set()
            await task  # one that is under way counts with its whole length

    async def _many(self) -> str:
        async with self._running() as instance:
            await self._ask_all([self.bodies.request] * AT_ONCE, [instance])
        return f"{AT_ONCE} requests, {AT_ONCE} replies"

    async def _mixed_up(self) -> str:
        async with self._running() as instance:
            answers: dict[bytes, list[Reply]] = {}
            for body in self.bodies.probes():
                answers[body] = [(await self._ask_all([body], [instance]))[0] for _ in range(2)]
            known = distinct(list(answers), lambda body: answers[body].pop(0))
            if len(known) < 2:
                self.findings.notes.append(
                    "serve: whether replies reach the request they belong to. All requests that were tried "
                    "get the same answer, so replies were only counted; --request FILE may help."
                )
                raise NotApplicable("all requests that were tried are answered alike; replies were counted")
            order = shuffled(list(known))
            replies = await self._ask_all(order, [instance])
        for body, reply in zip(order, replies, strict=True):
            if not known[body](reply) and reply.code != "503":
                raise Fault(
                    f"Of {len(order)} requests at once one got another reply than it gets alone: {reply}.",
                    "Send the reply to the subject of its own request; share nothing between requests.",
                )
        return f"{len(order)} requests of {len(known)} kinds at once, each with its own reply"

    async def _group(self) -> str:
        async with self._running() as one, self._running(fresh=True) as two:
            before = await self._counts([one, two])
            await self._ask_all([self.bodies.request] * IN_GROUP, [one, two])
            await asyncio.sleep(QUIET_S)
            self._once()
            after = await self._counted([one, two], before, IN_GROUP)
        shares = [after.get(item.name, 0) - before.get(item.name, 0) for item in (one, two)]
        if min(shares) == 0:
            raise Fault(
                f"Of {IN_GROUP} requests one of two processes got {max(shares)}, the other none.",
                'Subscribe both in the queue group "workers".',
            )
        if sum(shares) != IN_GROUP:
            raise Fault(
                f"Two processes together count {sum(shares)} requests of {IN_GROUP}.",
                'Only one process may get a request: subscribe in the queue group "workers".',
            )
        return f"two processes took {shares[0]} and {shares[1]} of {IN_GROUP} requests, none twice"

    async def _sigterm(self) -> str:
        async with self._running() as instance:
            bodies = [self.bodies.request] * 20
            await self._ask_all(
                bodies, [instance], published=lambda: instance.popen.send_signal(signal.SIGTERM)
            )
            try:
                code = await asyncio.to_thread(instance.popen.wait, DRAIN_S)
            except subprocess.TimeoutExpired:
                raise Fault(
                    f"It still ran {DRAIN_S:g} s after SIGTERM.",
                    "On SIGTERM leave the queue group, answer what was accepted, and end.",
                ) from None
            if code != 0:
                raise Fault(
                    f"On SIGTERM it {instance.describe_end()}", "Asked to end, it ends with exit code 0."
                )
            await self._fence()  # all that it sent has come
            self._once()
        return "20 requests under way are answered, then it ends with exit code 0"


def start_instance(
    program: Program, name: str, *, env: Mapping[str, str], folder: Path, group: int
) -> Instance:
    """Start one process of the worker; its output goes to a file."""
    log = folder / "logs" / f"{name}.out"
    with log.open("ab") as out:
        popen = subprocess.Popen(
            [str(program.binary), "serve"],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env=base_environment() | dict(env) | {"PLATFORM_INSTANCE": name},
            cwd=folder,
            process_group=group,
        )
    return Instance(name, popen, log)
