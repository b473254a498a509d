"""What nats-server takes for a subject, and whether two subjects can name the same message."""

from __future__ import annotations

import re
from collections.abc import Sequence

_NAME = re.compile(r"[^\s.*>/\\\x00-\x1f\x7f]+")
MOST_NAME = 255
"""The longest name of a stream or consumer, in bytes."""


def name_problem(name: object) -> str:
    """What is wrong with the name of a stream or a consumer; empty if nothing is.

    >>> name_problem("ORDERS"), name_problem("my orders")
    ('', 'holds a space, a control character, or one of . * > / \\\\')
    """
    if not isinstance(name, str) or not name:
        return "is not a text" if not isinstance(name, str) else "is empty"
    if len(name.encode("utf-8", "surrogatepass")) > MOST_NAME:
        return f"is longer than {MOST_NAME} bytes"
    if not _NAME.fullmatch(name):
        return "holds a space, a control character, or one of . * > / \\"
    return _encodable(name)


def subject_problem(subject: object) -> str:
    """What is wrong with a subject, wildcards allowed; empty if nothing is.

    >>> subject_problem("orders.*"), subject_problem("orders..new")
    ('', 'has an empty token')
    """
    if not isinstance(subject, str) or not subject:
        return "is not a text" if not isinstance(subject, str) else "is empty"
    if re.search(r"[\s\x00]", subject):
        return "holds a space, a line break or a zero byte"
    tokens = subject.split(".")
    if "" in tokens:
        return "has an empty token"
    if ">" in tokens[:-1]:
        return "has > before its end"
    return _encodable(subject)


def _encodable(text: str) -> str:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return "holds half of a character (a lone surrogate)"
    return ""


def collide(one: str, other: str) -> bool:
    """Whether a message can have a subject that both match.

    >>> collide("orders.*", "orders.new"), collide("orders.*", "orders.eu.new"), collide("a.>", "a.b.c")
    (True, False, True)
    """
    left, right = one.split("."), other.split(".")
    for mine, theirs in zip(left, right, strict=False):
        if mine == ">" or theirs == ">":
            return True
        if mine != theirs and "*" not in (mine, theirs):
            return False
    return len(left) == len(right)


def overlaps(subjects: Sequence[str]) -> list[tuple[str, str]]:
    """The pairs of a list that collide."""
    return [
        (subjects[i], subjects[k])
        for i in range(len(subjects))
        for k in range(i + 1, len(subjects))
        if collide(subjects[i], subjects[k])
    ]
