"""Who takes part in the cluster, and how a client changes it."""

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from zraft.client.inquiry import Inquiry, read
from zraft.config import location
from zraft.errors import InvalidRequest
from zraft.raft.types import Endpoints, NodeId
from zraft.requests import Joining, Members, MembershipChange, MembersRequest, Outcome

if TYPE_CHECKING:
    from zraft.client.client import Client


class MembersClient:
    """The membership; `Client.members` is the one to use.

    Each change returns the membership that it led to, once it is over. What is so already is done, so a change may be
    repeated. Every call raises `zraft.errors.InvalidRequest` for what makes no sense or would lose the quorum, with the
    arithmetic; `Unavailable` when nothing happened; and changes `OutcomeUnknown` when nobody answered in time.
    """

    def __init__(self, client: "Client", patience_s: float) -> None:
        self._client = client
        self._patience_s = patience_s
        self._known: dict[NodeId, str] = {}
        """Where clients reach the members, by the last answer."""

    def list(self) -> Members:
        """Return who takes part, as the leader sees it; linearizable."""
        return self._ask(MembersRequest(0))

    def add(
        self,
        node: NodeId,
        endpoints: Endpoints,
        *,
        manual: bool = False,
        replaces: NodeId | None = None,
    ) -> Members:
        """Let a node join as a learner.

        It runs already, and waits to be added: ``zraft node run --join``. Once it has the log, the leader makes it a voter.

        Parameters
        ----------
        node
            Its name.
        endpoints
            Where it is reached; relative ipc paths are relative to the current directory.
        manual
            It stays a learner until `promote`.
        replaces
            A voter that leaves in the same change that makes this one a voter.
        """
        return self._ask(MembershipChange(0, add=(Joining(node, whole(endpoints), replaces),), manual=manual))

    def promote(self, *nodes: NodeId) -> Members:
        """Make voters of learners, all in one change."""
        return self._ask(MembershipChange(0, promote=nodes))

    def remove(self, *nodes: NodeId) -> Members:
        """Have members leave, all in one change; the leader, too: it hands over then."""
        return self._ask(MembershipChange(0, remove=nodes))

    def renew(self, *nodes: NodeId) -> Members:
        """Let members that have lost their data begin anew, as learners; those who have it stay as they are."""
        return self._ask(MembershipChange(0, renew=nodes))

    def _ask(self, request: MembersRequest | MembershipChange) -> Members:
        client = self._client
        until = time.monotonic() + client.timeout_s
        topology = client.topology()
        known = msgspec.structs.replace(topology, endpoints=self._known | topology.endpoints)
        inquiry = Inquiry(known, self._patience_s)
        try:
            reply = inquiry.ask(
                lambda id: msgspec.structs.replace(request, id=id),
                until,
                changes=isinstance(request, MembershipChange),
            )
        finally:
            inquiry.close()
        if reply.outcome != Outcome.DONE:
            raise InvalidRequest(reply.message)
        members = read(reply, Members)
        self._known = {each.node: each.endpoints.client for each in members.members if each.endpoints is not None}
        return members


def whole(endpoints: Endpoints) -> Endpoints:
    """Return endpoints as everybody can use them; `InvalidRequest` for what is none."""
    try:
        told = [location.endpoint(text, Path.cwd(), os.environ) for text in msgspec.structs.astuple(endpoints)]
    except ValueError as error:
        raise InvalidRequest(f"an endpoint {error}") from error
    return Endpoints(*told)
