"""Who takes part, for clients that ask the leader, and changes of it that they ask for.

Nobody needs a session for that: a change says what is to be so, and what is so already is left out of it. So a client that
has heard no answer asks again, and harms nothing. An answer comes when the change is over: committed, and the joint
membership left, should it take one.
"""

import re
from collections.abc import Callable, Mapping

import msgspec

from zraft.config.location import is_whole
from zraft.raft import membership
from zraft.raft.changes import Change, NotYet, Refused
from zraft.raft.core import Raft
from zraft.raft.leader import Leader
from zraft.raft.ready import ReadReady
from zraft.raft.types import Endpoints, Entry, EntryKind, Index, NodeId
from zraft.requests import Joining, Member, Members, MembershipChange, MembersRequest, Outcome, Reply
from zraft.seams import Network

WAITING_MAX = 1_024
"""Requests of this kind that wait at one node."""
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")


class _Asked(msgspec.Struct, frozen=True):
    """A client that waits."""

    client: bytes
    request: int
    index: Index = 0
    """For a change: the entry that brought it into force."""


class Admissions:
    """Requests about the membership that are under way at one node.

    Parameters
    ----------
    raft
        The node's core.
    network
        Where replies leave.
    endpoints
        Where everybody is reached who takes part now.
    """

    def __init__(self, raft: Raft, network: Network, endpoints: Callable[[], Mapping[NodeId, Endpoints]]) -> None:
        self._raft = raft
        self._network = network
        self._endpoints = endpoints
        self._reads: dict[int, _Asked] = {}
        """By context: whoever is answered once it is certain that this node leads."""
        self._changes: list[_Asked] = []
        """Whoever waits for a change to be over."""
        self._next_context = -1
        """Contexts of reads here fall from -1 on; those of other reads are not below 0."""

    @property
    def count(self) -> int:
        """How many requests wait."""
        return len(self._reads) + len(self._changes)

    def request(self, client: bytes, request: MembersRequest | MembershipChange, now: float) -> None:
        """Take a request."""
        asked = _Asked(client, request.id)
        if not isinstance(self._raft.role, Leader):
            self._refuse(asked, Outcome.REFUSED, "this node does not lead")
        elif self.count >= WAITING_MAX:
            self._refuse(asked, Outcome.REFUSED, f"busy: {self.count:,} requests about the membership wait already")
        elif isinstance(request, MembershipChange):
            self._change(asked, request, self._raft.role, now)
        else:
            self._read(asked, now)

    def applied(self, entry: Entry) -> None:
        """Answer whoever waits for a change that is over with this entry."""
        if not self._changes or entry.kind != EntryKind.MEMBERSHIP or membership.decode(entry.data).outgoing:
            return
        over = [asked for asked in self._changes if asked.index <= entry.index]
        self._changes = [asked for asked in self._changes if asked.index > entry.index]
        for asked in over:
            self._answer(asked)

    def confirmed(self, reads: list[ReadReady]) -> list[ReadReady]:
        """Answer the requests of these reads that were made here; return those of others."""
        for read in reads:
            if read.context < 0:
                self._answer(self._reads.pop(read.context))
        return [read for read in reads if read.context >= 0]

    def leadership_lost(self) -> None:
        """Tell everybody who waits that this node can't finish it: nothing was read, changes may yet be finished."""
        reads, self._reads = self._reads, {}
        changes, self._changes = self._changes, []
        for asked in reads.values():
            self._refuse(asked, Outcome.REFUSED, "leadership moved")
        for asked in changes:
            self._refuse(asked, Outcome.UNKNOWN, "leadership moved while it was under way")

    # -- changes -------------------------------------------------------------------------------------------------------

    def _change(self, asked: _Asked, request: MembershipChange, leader: Leader, now: float) -> None:
        raft = self._raft
        try:
            change = self._still_to_do(request, leader)
            if change != Change():
                id = raft.change_membership(change, now)
                self._changes.append(msgspec.structs.replace(asked, index=id.index))
            elif raft.memberships.open_change(raft.log.commit_index):
                self._changes.append(msgspec.structs.replace(asked, index=raft.memberships.changed_at))
            else:
                self._read(asked, now)
        except NotYet as refused:
            self._refuse(asked, Outcome.REFUSED, str(refused))
        except Refused as refused:
            self._refuse(asked, Outcome.INVALID, str(refused))

    def _still_to_do(self, request: MembershipChange, leader: Leader) -> Change:
        """Return the change without what is so already; raise `Refused` for what makes no sense."""
        current = self._raft.memberships.current
        members = {*current.voters, *current.learners}
        joining = [each for each in request.add if not self._is_here(each)]
        for each in joining:
            self._check(each, joining)
        return Change(
            add={each.node: each.endpoints for each in joining},
            manual=request.manual and bool(joining),
            replacing={each.node: each.replaces for each in joining if each.replaces is not None},
            promote=tuple(node for node in request.promote if node not in current.voters),
            renew=tuple(node for node in request.renew if self._must_begin_anew(node, leader)),
            remove=tuple(node for node in request.remove if node in members),
        )

    def _is_here(self, joining: Joining) -> bool:
        """Whether a node that is to join has joined, in the way that is asked for."""
        current, node, old = self._raft.memberships.current, joining.node, joining.replaces
        if node not in (*current.voters, *current.learners):
            return False
        known = self._endpoints().get(node)
        if known not in (None, joining.endpoints):
            raise Refused(f"{node} is a member already, at {known.peer}; remove that one first, or take another name")
        if old in current.voters and current.replacing.get(node) != old:
            raise Refused(f"{node} is a member already, and not in place of {old}; once it votes, remove {old}")
        return True

    def _check(self, joining: Joining, together: list[Joining]) -> None:
        if not _NAME.fullmatch(joining.node) or joining.node in (".", ".."):
            raise Refused(f"{joining.node!r} is no name for a node; give it 1 to 64 of A-Z a-z 0-9 . _ -")
        own = msgspec.structs.astuple(joining.endpoints)
        for endpoint in own:
            if not is_whole(endpoint):
                raise Refused(f"{joining.node}: {endpoint!r} is no endpoint; give tcp://HOST:PORT or ipc:///PATH")
        if len({*own}) < len(own) or sum(each.node == joining.node for each in together) > 1:
            raise Refused(f"{joining.node}: named twice, or twice with one endpoint; give each its own")
        others = {**self._endpoints()} | {each.node: each.endpoints for each in together if each is not joining}
        for node, at in others.items():
            for endpoint in {*own} & {*msgspec.structs.astuple(at)}:
                raise Refused(f"{joining.node}: {endpoint} belongs to {node} already; give each its own")

    def _must_begin_anew(self, node: NodeId, leader: Leader) -> bool:
        """Whether a member has lost its data, as far as this leader has met it."""
        current, progress = self._raft.memberships.current, leader.progress.get(node)
        if node in leader.roster.lost or node not in (*current.voters, *current.learners):
            return True  # Whoever is no member is refused where the change is looked at.
        if node in current.disk_ids and progress is not None and not leader.roster.answers(node):
            raise NotYet(
                f"{node} does not answer, so nobody knows whether it lost its data; start it first, then ask again"
            )
        return False

    # -- answers -------------------------------------------------------------------------------------------------------

    def _read(self, asked: _Asked, now: float) -> None:
        context, self._next_context = self._next_context, self._next_context - 1
        self._reads[context] = asked
        taken = self._raft.read_index(context, now)
        assert taken, "a leader takes every read"

    def _answer(self, asked: _Asked) -> None:
        role = self._raft.role
        if not isinstance(role, Leader):  # Its own change was its last act.
            self._refuse(asked, Outcome.UNKNOWN, "leadership moved with this change; ask again")
            return
        found = msgspec.to_builtins(self._members(role))
        self._network.reply(asked.client, Reply(asked.request, Outcome.DONE, found, self._raft.leader))

    def _members(self, leader: Leader) -> Members:
        raft, current = self._raft, self._raft.memberships.current
        leaving = [node for node in current.outgoing if node not in (*current.voters, *current.learners)]
        groups = (("voter", current.voters), ("leaving", leaving), ("learner", current.learners))
        endpoints = self._endpoints()
        return Members(
            leader=raft.id,
            term=raft.term,
            last_index=raft.log.last_index,
            changing=raft.memberships.open_change(raft.log.commit_index),
            members=tuple(
                self._member(node, role, leader, endpoints.get(node)) for role, nodes in groups for node in nodes
            ),
        )

    def _member(self, node: NodeId, role: str, leader: Leader, endpoints: Endpoints | None) -> Member:
        raft, current = self._raft, self._raft.memberships.current
        own, progress = node == raft.id, leader.progress.get(node)
        return Member(
            node=node,
            role=role,
            leader=own,
            promote=None if role != "learner" else "manual" if node in current.manual else "auto",
            replaces=current.replacing.get(node),
            match_index=raft.log.stable_index if own else 0 if progress is None else progress.match_index,
            answers=own or leader.roster.answers(node),
            lost_data=node in leader.roster.lost,
            endpoints=endpoints,
        )

    def _refuse(self, asked: _Asked, outcome: Outcome, message: str) -> None:
        leader = self._raft.leader
        hint = leader if leader != self._raft.id else None
        self._network.reply(asked.client, Reply(asked.request, outcome, None, hint, message))
