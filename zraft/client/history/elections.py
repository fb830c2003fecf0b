"""What is known of elections: the ballots in the log, and what the nodes themselves have recorded of their candidacies.

The log knows each election that was won by a leader who could commit; it is the same everywhere and is never lost. Who stood and
lost, and who won and could commit nothing, is in that node's own event file; that it stood, in those of who voted. What is made
of them depends on what was found, and neither on who was asked nor on the order of the answers.
"""

from collections.abc import Iterable
from typing import Literal

import msgspec

from zraft.events import Event
from zraft.machines.history import commands
from zraft.raft.types import Cause, NodeId, Term

KINDS = ["vote", "candidacy"]
"""Kinds of events that tell of candidacies."""
WON, UNKNOWN = "won", "unknown"


class Candidacy(msgspec.Struct, frozen=True):
    """One node's candidacy in one term."""

    node: NodeId
    outcome: str
    """won; timeout (no majority answered in time), refused, another_leads or higher_term; unknown when it never told."""
    votes_for: tuple[NodeId, ...] = ()
    """Who had said yes when it ended; if that is unknown, as voters tell."""
    votes_against: tuple[NodeId, ...] = ()
    expected: tuple[NodeId, ...] = ()
    """Everybody who had a vote."""
    cause: str | None = None
    """Why it stood: a `Cause`."""
    duration_ms: int | None = None
    """From its beginning, the pre-vote included, to its end."""
    wall_ms: int = 0
    """When it ended, or began if the end is unknown, by that node's clock: milliseconds since 1970."""


class Election(msgspec.Struct, frozen=True):
    """One term's election."""

    term: Term
    leader: NodeId | None
    """Who won; None as far as nobody is known to have."""
    candidacies: tuple[Candidacy, ...]
    """By the names of the candidates."""


class _Requested(msgspec.Struct):
    what: str
    term: Term
    pre: bool
    transfer: bool = False


class _Voice(msgspec.Struct):
    """What a voter has answered."""

    what: Literal["granted", "refused"]
    term: Term
    pre: bool
    candidate: NodeId


class _Ended(msgspec.Struct):
    term: Term
    outcome: str
    votes_for: tuple[NodeId, ...]
    votes_against: tuple[NodeId, ...]
    expected: tuple[NodeId, ...]
    cause: str
    duration_ms: int


def merged_elections(won: Iterable[commands.Election], events: Iterable[Event]) -> list[Election]:
    """Return the elections of all terms of which anything is known, oldest first."""
    terms: dict[Term, dict[NodeId, Candidacy]] = {}
    voices: list[tuple[_Voice, Event]] = []
    for event in events:
        found = _told(event)
        if isinstance(found, _Voice):
            voices.append((found, event))
        elif found is not None:
            term, candidacy = found
            known = terms.setdefault(term, {})
            known[event.node] = max(known.get(event.node, candidacy), candidacy, key=_weight)
    for voice, event in voices:
        known = terms.setdefault(voice.term, {})
        known[voice.candidate] = _heard(known.get(voice.candidate), voice, event)
    for election in won:
        ballot = election.ballot
        told = (
            ballot.votes_for,
            ballot.votes_against,
            ballot.expected,
            ballot.cause,
            ballot.duration_ms,
            ballot.wall_ms,
        )
        terms.setdefault(election.term, {})[ballot.leader] = Candidacy(ballot.leader, WON, *told)
    return [_election(term, terms[term]) for term in sorted(terms)]


def _election(term: Term, candidacies: dict[NodeId, Candidacy]) -> Election:
    winner = next((node for node, each in sorted(candidacies.items()) if each.outcome == WON), None)
    return Election(term, winner, tuple(candidacies[node] for node in sorted(candidacies)))


def _weight(candidacy: Candidacy) -> tuple[bool, int, bytes]:
    """Order what is known of one candidacy; the end of it tells more than the beginning."""
    return candidacy.outcome != UNKNOWN, candidacy.wall_ms, msgspec.json.encode(candidacy)


def _heard(known: Candidacy | None, voice: _Voice, event: Event) -> Candidacy:
    """Add a voter's word to what is known of a candidacy; it adds nothing to what the candidate itself says of its end."""
    known = known or Candidacy(voice.candidate, UNKNOWN, wall_ms=event.wall_ms)
    if known.outcome != UNKNOWN:
        return known
    side = "votes_for" if voice.what == "granted" else "votes_against"
    votes = tuple(sorted({*getattr(known, side), event.node}))
    return msgspec.structs.replace(known, wall_ms=min(known.wall_ms, event.wall_ms), **{side: votes})


def _told(event: Event) -> tuple[Term, Candidacy] | _Voice | None:
    try:
        if event.kind == "candidacy":
            ended = msgspec.convert(event.data, _Ended)
            told = (ended.votes_for, ended.votes_against, ended.expected, ended.cause, ended.duration_ms)
            return ended.term, Candidacy(event.node, ended.outcome, *told, wall_ms=event.wall_ms)
        if event.kind == "vote" and event.data.get("what") == "requested":
            began = msgspec.convert(event.data, _Requested)
            cause = Cause.TRANSFER if began.transfer else Cause.TIMEOUT
            if not began.pre:
                return began.term, Candidacy(event.node, UNKNOWN, cause=cause, wall_ms=event.wall_ms)
        elif event.kind == "vote":
            voice = msgspec.convert(event.data, _Voice)
            return None if voice.pre else voice
    except msgspec.ValidationError:
        return None  # Told by another version of zraft.
    return None
