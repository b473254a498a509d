"""Options as a table: what each is called, takes and means, and which of them can be changed.

The tables of streams, consumers and buckets (``stream_options``, ``consumer_options``, ``bucket_options``)
are made of these. Checking, the request to the server, the comparison with what it has, the docstrings and
the completion in a notebook all come from the table.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, Literal, TypeVar

from platform_kit.errors import OptionError
from platform_kit.jetstream import values
from platform_kit.jetstream.subjects import name_problem, subject_problem
from platform_kit.reprs import Shown, Table, clean, human_bytes, shorten

F = TypeVar("F", bound=Callable[..., Any])
Kind = Literal[
    "text", "name", "subject", "count", "size", "duration", "switch", "word", "time", "percent",
    "subjects", "texts", "durations", "map", "object", "objects",
]  # fmt: skip
Change = Literal[
    "always",
    "never",
    "only on",
    "later on",
    "only off",
    "within limits and interest",
    "push to push",
    "pause",
]
"""When an option can be changed once the thing is there. "only on": from off to on; "later on": that, and not
at creation; "only off": it can be taken away; "pause": not by an update, but by a verb of its own."""

CHANGE_WORDS: Mapping[str, str] = {
    "always": "yes",
    "never": "no",
    "only on": "can be switched on, not off",
    "later on": "can be switched on by an update, not off and not at creation",
    "only off": "can only be taken away",
    "within limits and interest": 'between "limits" and "interest" only',
    "push to push": "to another subject, while nobody listens",
    "pause": "by pause() and resume()",
}
SERVERS_OWN = "_nats."
"""Metadata the server adds about itself begins so."""
MOST_SHOWN = 300


@dataclass(frozen=True)
class Option:
    """One option under the server's own name.

    Parameters
    ----------
    name: As nats-server spells it in JSON.
    kind: What it takes.
    help: One line on what it does.
    default: What the server has when it is not given, as in its JSON.
    default_text: The same in words, where the value alone does not say it.
    words: The words of an enumeration.
    least, most: The bounds of a number; of a duration in nanoseconds; of a text in bytes.
    unlimited: Whether -1 stands for no limit.
    since: The first nats-server that has it.
    change: When it can be changed later.
    parts: The options inside an object.
    short: The part a plain text stands for.
    required: Whether an object needs this part.
    """

    name: str
    kind: Kind
    help: str
    default: Any = None
    default_text: str = ""
    words: tuple[str, ...] = ()
    least: int = 0
    most: int | None = None
    unlimited: bool = False
    since: str = "2.2"
    change: Change = "always"
    parts: tuple[Option, ...] = ()
    short: str = ""
    required: bool = False

    # ------------------------------------------------------------------ in and out

    def encode(self, value: object) -> Any:
        """The value as the server takes it. Raises ``ValueError`` with what is wrong, if that says more."""
        if isinstance(value, Enum):
            value = value.value
        match self.kind:
            case "switch":
                if isinstance(value, bool):
                    return value
            case "word":
                if isinstance(value, str) and value in self.words:
                    return value
                close = _nearest(value.replace("-", "_"), self.words) if isinstance(value, str) else ""
                raise ValueError(f'"{close}" may be meant' if close else "")
            case "text" | "name" | "subject":
                return self._encode_text(value)
            case "count":
                if isinstance(value, int) and not isinstance(value, bool) and self._in_bounds(value):
                    return value
            case "size":
                if self.unlimited and value == -1 and not isinstance(value, bool):
                    return -1
                if self._in_bounds(size := values.size_bytes(value)):
                    return size
            case "duration":
                if self._in_bounds(ns := values.duration_ns(value)):
                    return ns
            case "time":
                return values.time_text(value)
            case "percent":
                if isinstance(value, str) and value.removesuffix("%").isascii():
                    value = int(value.removesuffix("%"))
                if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 100:
                    return f"{value}%"
            case "subjects" | "texts" | "durations" | "objects":
                return self._encode_list(value)
            case "map":
                return self._encode_map(value)
            case "object":
                return self._encode_object(value)
        raise ValueError("")

    def decode(self, value: Any) -> Any:
        """A value of the server as Python has it: durations as timedelta, times as datetime."""
        if value is None:
            return None
        match self.kind:
            case "duration":
                return values.timedelta_of(value)
            case "durations":
                return [values.timedelta_of(item) for item in value]
            case "time":
                return values.time_of(value)
            case "object":
                return {part.name: part.decode(value[part.name]) for part in self.parts if part.name in value}
            case "objects":
                single = self._single()
                return [single.decode(item) for item in value]
            case "map":
                return {key: text for key, text in value.items() if not key.startswith(SERVERS_OWN)}
        return value

    def same(self, value: Any) -> Any:
        """A value of the server in the one form it is compared in: what means the default is the default."""
        if value is None or value == "" or value == [] or value == {}:
            return self.default
        match self.kind:
            case "count" | "size":
                return self.default if value == 0 or (self.unlimited and value < 0) else value
            case "duration":
                return self.default if value == 0 else value
            case "time":
                return values.time_of(value) or self.default
            case "subjects" | "texts" if self.name != "priority_groups":
                return sorted(value)
            case "map":
                own = {key: text for key, text in value.items() if not key.startswith(SERVERS_OWN)}
                return own or self.default
            case "object":
                found = {part.name: part.same(value.get(part.name)) for part in self.parts}
                return found if any(found[part.name] != part.default for part in self.parts) else self.default
            case "objects":
                single = self._single()
                return [single.same(item) for item in value]
        return value

    def show(self, value: Any) -> str:
        """A value of the server as a person reads it.

        >>> Option("max_age", "duration", "", default=0, default_text="no limit").show(90_000_000_000)
        '1m30s'
        """
        if not value and self.kind not in ("switch", "word"):
            return self.default_text or "none"
        match self.kind:
            case "duration":
                return values.duration_text(value)
            case "durations":
                return ", ".join(map(values.duration_text, value)) or "none"
            case "size":
                return "no limit" if value < 0 else human_bytes(value)
            case "count":
                return "no limit" if self.unlimited and value < 0 else f"{value:,}"
            case "switch":
                return "yes" if value else "no"
            case "subjects" | "texts":
                return ", ".join(value) or "none"
            case "map":
                own = [f"{key}={text}" for key, text in value.items() if not key.startswith(SERVERS_OWN)]
                return ", ".join(own) or "none"
            case "object":
                named = [part for part in self.parts if part.same(value.get(part.name)) != part.default]
                if self.short and [part.name for part in named] == [self.short]:
                    return str(value[self.short])
                shown = (f"{part.name}: {part.show(value[part.name])}" for part in named)
                return ", ".join(shown) or "none"
            case "objects":
                single = self._single()
                return "; ".join(map(single.show, value)) or "none"
        return str(value) or "none"

    # ------------------------------------------------------------------ in words

    @property
    def takes(self) -> str:
        """What may be given, in words."""
        match self.kind:
            case "switch":
                return "True or False"
            case "word":
                return ", ".join(f'"{word}"' for word in self.words)
            case "text":
                return f"a text of at most {self.most:,} bytes" if self.most else "a text"
            case "name":
                return "a name without spaces and . * > / \\"
            case "subject":
                return 'a subject such as "orders.*"'
            case "count":
                return self._bounds("a whole number")
            case "size":
                return self._bounds(values.SIZE_FORMS)
            case "duration":
                least = f", from {values.duration_text(self.least)} on" if self.least > 1 else ""
                return values.DURATION_FORMS + least
            case "time":
                return values.TIME_FORMS
            case "percent":
                return 'a percentage such as 30 or "30%"'
            case "subjects":
                return 'a list of subjects such as ["orders.*"]'
            case "texts":
                return "a list of texts"
            case "durations":
                return 'a list of durations such as ["1s", "10s", "1m"]'
            case "map":
                return "a mapping of texts to texts"
        inside = ", ".join(part.name + ("" if part.required else "?") for part in self.parts)
        plain = f", or just the {self.short}" if self.short else ""
        return f"{'a list of mappings' if self.kind == 'objects' else 'a mapping'} with {inside}{plain}"

    @property
    def default_words(self) -> str:
        """The default in words."""
        return self.default_text or self.show(self.default)

    def _bounds(self, what: str) -> str:
        bounds = (
            f"{what} from {self.least:,} to {self.most:,}" if self.most else f"{what}, from {self.least:,} on"
        )
        if not self.most and not self.least:
            bounds = what
        return f"{bounds}; -1 for no limit" if self.unlimited else bounds

    def _in_bounds(self, number: int) -> bool:
        if self.unlimited and number == -1:
            return True
        return number >= self.least and (self.most is None or number <= self.most)

    # ------------------------------------------------------------------ inside

    def _encode_text(self, value: object) -> str:
        check = {"name": name_problem, "subject": subject_problem}.get(self.kind)
        if check is not None and (problem := check(value)):
            raise ValueError(f"it {problem}")
        if not isinstance(value, str):
            raise ValueError("")
        try:
            length = len(value.encode())
        except UnicodeEncodeError:
            raise ValueError("it holds half of a character (a lone surrogate)") from None
        if self.most is not None and length > self.most:
            raise ValueError(f"it has {length:,} bytes")
        return value

    def _single(self) -> Option:
        kind: Mapping[str, Kind] = {
            "subjects": "subject", "texts": "text", "durations": "duration", "objects": "object",
        }  # fmt: skip
        return Option(
            self.name, kind[self.kind], self.help, parts=self.parts, short=self.short, most=self.most
        )

    def _encode_list(self, value: object) -> list[Any]:
        if isinstance(value, str) and self.kind in ("subjects", "texts"):
            value = [value]
        if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
            raise ValueError("")
        single, found = self._single(), []
        for number, item in enumerate(value, 1):
            try:
                found.append(single.encode(item))
            except ValueError as error:
                reason = f": {error}" if str(error) else ""
                raise ValueError(f"number {number} is {_shown(item)}{reason}") from None
        return found

    def _encode_map(self, value: object) -> dict[str, str]:
        if not isinstance(value, Mapping):
            raise ValueError("")
        for key, text in value.items():
            if not isinstance(key, str) or not isinstance(text, str):
                raise ValueError(f"{_shown(key)}: {_shown(text)} is not text")
        return dict(value)

    def _encode_object(self, value: object) -> dict[str, Any]:
        if self.short and isinstance(value, str):
            value = {self.short: value}
        if not isinstance(value, Mapping):
            raise ValueError("")
        known = {part.name: part for part in self.parts}
        found: dict[str, Any] = {}
        for name, item in value.items():
            if name not in known:
                raise ValueError(f"there is no {_shown(name)} in it{_did_you_mean(str(name), known)}")
            if item is None:
                continue
            try:
                if (encoded := known[name].encode(item)) not in ([], {}):
                    found[name] = encoded
            except ValueError as error:
                reason = f" ({error})" if str(error) else ""
                raise ValueError(f"{name} is {_shown(item)}{reason}; it takes {known[name].takes}") from None
        if missing := [part.name for part in self.parts if part.required and part.name not in found]:
            raise ValueError(f"{' and '.join(missing)} is missing")
        return found


@dataclass(frozen=True)
class Difference:
    """What an option was and what it is, or would be, in the server's JSON and in words."""

    option: str
    old: Any
    new: Any
    old_text: str
    new_text: str

    def __str__(self) -> str:
        return f"{self.option}: {self.old_text} → {self.new_text}"


Conflicts = Callable[[Mapping[str, Any]], Iterable[str]]
"""Says which options of a whole configuration cannot go together, one sentence each."""


class OptionTable(Shown):
    """All options of one kind of thing.

    Parameters
    ----------
    noun: What has them ("stream").
    options: In the order they are shown.
    conflicts: Finds combinations the server would refuse.
    identity: Options of the server that are not given as options, such as the name.
    """

    def __init__(
        self, noun: str, options: Sequence[Option], conflicts: Conflicts, identity: Collection[str] = ()
    ) -> None:
        self.noun = noun
        self.listed_by = noun.removesuffix(" bucket").replace(" ", "_").replace("-", "_") + "_options"
        self.options = {option.name: option for option in options}
        self.identity = frozenset(identity)
        self._conflicts = conflicts

    def encode(
        self, given: Mapping[str, object], *, server: str = "", creating: bool = False
    ) -> dict[str, Any]:
        """What was given as the server takes it; what is None is left out, so that its default holds.

        Parameters
        ----------
        given: Options by name.
        server: The version of the server, if known: what it is too old for is refused.
        creating: Whether it is for a new one; what only an update can switch on is refused then.

        Errors: ``OptionError`` that lists every wrong one, with what it takes and the nearest right name.
        """
        problems: list[str] = []
        found: dict[str, Any] = {}
        for name, value in given.items():
            option = self.options.get(name)
            if option is None:
                problems.append(f"{clean(str(name))}: no such option{_did_you_mean(str(name), self.options)}")
                continue
            if value is None:
                continue
            if _version(server) and _version(server) < _version(option.since):
                problems.append(f"{name}: needs nats-server {option.since}; this one is {server}")
                continue
            try:
                encoded = option.encode(value)
                if encoded in ([], {}):
                    continue  # as if it were not given; the server tells an empty one from none
                found[name] = encoded
                if creating and option.change == "later on" and found[name]:
                    problems.append(f"{name}: a {self.noun} cannot begin so; switch it on with update")
            except (ValueError, OverflowError) as error:
                reason = f" ({error})" if str(error) and str(error) not in option.takes else ""
                problems.append(f"{name}: {_shown(value)} is not possible{reason}; it takes {option.takes}")
        if problems:
            raise self.wrong(problems)
        return found

    def check_together(self, config: Mapping[str, Any]) -> None:
        """Refuse a whole configuration whose options cannot go together. Errors: ``OptionError``."""
        if problems := list(self._conflicts(config)):
            raise self.wrong(problems)

    def can_change(self, difference: Difference) -> bool:
        """Whether the server makes this change."""
        change, old, new = self.options[difference.option].change, difference.old, difference.new
        return bool(
            change == "always"
            or (change in ("only on", "later on") and new)
            or (change == "only off" and not new)
            or (change == "within limits and interest" and "workqueue" not in (old, new))
            or (change == "push to push" and old and new)
        )

    def check_change(self, differences: Iterable[Difference]) -> None:
        """Refuse changes the server does not make. Errors: ``OptionError`` that names each."""
        problems = []
        for difference in differences:
            if not self.can_change(difference):
                change = self.options[difference.option].change
                why = CHANGE_WORDS[change] if change != "never" else "it is decided when it is created"
                problems.append(f"{difference}: cannot be changed ({why})")
        if problems:
            raise OptionError(
                f"This cannot be changed in a {self.noun} that is there", problems,
                hint=f"Delete the {self.noun} and create it again, or give it another name.",
            )  # fmt: skip

    def wrong(self, problems: Sequence[str]) -> OptionError:
        """The error that lists ``problems``."""
        noun = "option" if len(problems) == 1 else "options"
        return OptionError(
            f"Wrong {noun} of a {self.noun}, nothing was sent", problems,
            hint=f"platform.{self.listed_by}() lists them all.",
        )  # fmt: skip

    def differences(self, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Difference]:
        """What differs between two configurations of the server."""
        found = []
        for name, option in self.options.items():
            before, after = old.get(name, option.default), new.get(name, option.default)
            if option.same(before) != option.same(after):
                found.append(Difference(name, before, after, option.show(before), option.show(after)))
        return found

    def decode(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """A configuration of the server with Python's values; ``create`` takes it back as it is."""
        found = {}
        for name, option in self.options.items():
            if name in config and option.same(config[name]) != option.default:
                found[name] = option.decode(config[name])
        return found

    def shown(self, config: Mapping[str, Any]) -> dict[str, str]:
        """What differs from the defaults, in words."""
        return {
            name: option.show(config[name])
            for name, option in self.options.items()
            if name in config and option.same(config[name]) != option.default
        }

    def unknown(self, config: Mapping[str, Any]) -> set[str]:
        """Names in a configuration of the server that this table does not have."""
        return set(config) - set(self.options) - self.identity

    # ------------------------------------------------------------------ in words

    def text(self) -> str:
        """The table as text; long cells are cut."""
        return self._table(max_width=40).text()

    def html(self) -> str:
        """The table as HTML."""
        return self._table(max_width=240).html()

    def _table(self, *, max_width: int) -> Table:
        rows = [
            (
                option.name,
                option.takes,
                option.default_words,
                CHANGE_WORDS[option.change],
                option.since,
                option.help,
            )
            for option in self.options.values()
        ]
        return Table(
            ["option", "takes", "default", "can change", "since", "what it does"],
            rows,
            caption=f"options of a {self.noun}; since: the first nats-server that has it",
            max_width=max_width,
        )

    def doc(self, indent: str) -> str:
        """The options as lines of a docstring."""
        lines = []
        for option in self.options.values():
            changes = "" if option.change == "always" else f" Changes: {CHANGE_WORDS[option.change]}."
            since = "" if option.since == "2.2" else f" (nats-server {option.since})"
            lines.append(
                f"{indent}{option.name}: {option.help}{since} Takes {option.takes}."
                f" Default: {option.default_words}.{changes}"
            )
        return "\n".join(lines)


def takes(table: OptionTable, *, but: Collection[str] = ()) -> Callable[[F], F]:
    """Give a function with ``**options`` the help and the signature of a table: the notebook completes it."""

    def decorate(function: F) -> F:
        signature = inspect.signature(function)
        named = [
            item for item in signature.parameters.values() if item.kind is not inspect.Parameter.VAR_KEYWORD
        ]
        taken = {item.name for item in named} | set(but)
        options = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None)
            for name in table.options
            if name not in taken and name.isidentifier()
        ]
        function.__signature__ = signature.replace(parameters=[*named, *options])  # type: ignore[attr-defined]
        doc = inspect.cleandoc(function.__doc__ or "")
        function.__doc__ = f"{doc}\n\nOptions\n-------\n{table.doc('')}\n"
        return function

    return decorate


def _nearest(name: str, known: Collection[str]) -> str:
    found = difflib.get_close_matches(name.lower(), list(known), n=1, cutoff=0.55)
    return found[0] if found else ""


def _did_you_mean(name: str, known: Collection[str]) -> str:
    close = _nearest(name, known)
    return f"; did you mean {close}?" if close else ""


def _shown(value: object) -> str:
    if isinstance(value, (timedelta, datetime)):
        return str(value)
    try:
        return shorten(clean(repr(value)), MOST_SHOWN)
    except Exception as error:  # a repr of somebody else's
        return f"<{type(value).__name__}: its repr fails with {type(error).__name__}>"


def _version(text: str) -> tuple[int, ...]:
    numbers = text.split("-")[0].split(".")[:2]
    return tuple(map(int, numbers)) if all(part.isdecimal() for part in numbers) else ()
