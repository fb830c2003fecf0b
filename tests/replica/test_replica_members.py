"""Who takes part: what the leader says of it, and what becomes of a client's wish to change it."""

from typing import Any

import msgspec
import pytest
from virtual_cluster import VirtualCluster, VirtualNode

from zraft.addresses import Addresses
from zraft.machines.kv.commands import Get
from zraft.raft.types import Endpoints, Membership, Role
from zraft.requests import Joining, Member, Members, MembershipChange, MembersRequest, Outcome, Reply, TransferRequest


def at(name: str) -> Endpoints:
    return Endpoints(*(f"ipc:///run/{name}.{role}" for role in ("peer", "client", "events")))


def joining(name: str, replaces: str | None = None) -> Joining:
    return Joining(name, at(name), replaces)


def change(**wish: Any) -> MembershipChange:
    return MembershipChange(0, **wish)


def members_in(reply: Reply) -> Members:
    assert reply.outcome == Outcome.DONE, reply
    return msgspec.convert(reply.result, Members)


def roles(members: Members) -> dict[str, str]:
    return {each.node: each.role for each in members.members}


def found(members: Members, node: str) -> Member:
    return next(each for each in members.members if each.node == node)


@pytest.fixture
def cluster() -> VirtualCluster:
    """Start three members and two nodes that wait to be added."""
    return VirtualCluster(spares=2).start()


def listed(cluster: VirtualCluster) -> Members:
    return members_in(cluster.call(cluster.led(), MembersRequest(0)))


def until_voting(cluster: VirtualCluster, *nodes: str) -> Members:
    """Wait until the leader says that just these vote, and nothing is under way."""

    def voting() -> Members | None:
        known = listed(cluster)
        return known if not known.changing and roles(known) == dict.fromkeys(nodes, "voter") else None

    return cluster.until(voting, f"{nodes} vote")


# -- what is said ------------------------------------------------------------------------------------------------------


def test_the_leader_says_who_takes_part(cluster: VirtualCluster, leader: VirtualNode) -> None:
    known = listed(cluster)
    assert (known.leader, known.term, known.changing) == (leader.id, leader.term, False)
    assert known.last_index == leader.replica.raft.log.last_index
    assert [each.node for each in known.members] == ["n1", "n2", "n3"]
    for each in known.members:
        assert each == Member(
            each.node, "voter", each.node == leader.id, None, None, known.last_index, True, False, None
        )


def test_a_node_that_waits_to_be_added_is_a_learner_and_stands_for_nothing(cluster: VirtualCluster) -> None:
    spare = cluster["n4"]
    cluster.run(20_000)
    assert (spare.role, spare.term) == (Role.LEARNER, 0)
    assert cluster.call(spare, MembersRequest(0)).outcome == Outcome.REFUSED


@pytest.mark.parametrize("request_", [MembersRequest(0), change(remove=("n3",))])
def test_who_does_not_lead_says_who_does(
    cluster: VirtualCluster, leader: VirtualNode, follower: VirtualNode, request_: Any
) -> None:
    reply = cluster.call(follower, request_)
    assert (reply.outcome, reply.leader) == (Outcome.REFUSED, leader.id)


def test_a_leader_that_is_alone_answers_neither(cluster: VirtualCluster, leader: VirtualNode) -> None:
    """It cannot know whether it still leads: neither what takes part, nor that something is so already."""
    cluster.isolate(leader.id)
    read = cluster.ask(leader, MembersRequest(0))
    nothing = cluster.ask(leader, change(remove=("n9",)))
    wish = cluster.ask(leader, change(add=(joining("n4"),)))
    assert cluster.answered(read).outcome == Outcome.REFUSED
    assert cluster.answered(nothing).outcome == Outcome.REFUSED
    assert cluster.answered(wish).outcome == Outcome.UNKNOWN
    assert leader.replica.serving.count == 0
    cluster.heal()
    cluster.settled()
    assert roles(listed(cluster)) == dict.fromkeys(("n1", "n2", "n3"), "voter")


# -- joining -----------------------------------------------------------------------------------------------------------


def test_a_node_joins_as_a_learner_and_votes_once_it_has_caught_up(
    cluster: VirtualCluster, leader: VirtualNode
) -> None:
    after = members_in(cluster.call(leader, change(add=(joining("n4"),))))
    assert not after.changing
    new = found(after, "n4")
    assert (new.role, new.promote, new.endpoints, new.match_index) == ("learner", "auto", at("n4"), 0)
    until_voting(cluster, "n1", "n2", "n3", "n4")
    cluster.settled()
    assert cluster["n4"].role == Role.FOLLOWER
    assert cluster["n4"].replica.raft.memberships.current.endpoints == {"n4": at("n4")}


def test_the_answer_comes_when_the_change_is_over_and_not_before(cluster: VirtualCluster, leader: VirtualNode) -> None:
    removed = cluster.ask(leader, change(remove=tuple(id for id in ("n1", "n2", "n3") if id != leader.id)[:1]))
    cluster.until(lambda: leader.replica.raft.memberships.current.outgoing, "the joint membership")
    assert cluster.answer(removed) is None
    after = members_in(cluster.answered(removed))
    assert (len(after.members), after.changing) == (2, False)
    raft = leader.replica.raft
    assert raft.log.last_applied >= raft.memberships.changed_at


def test_with_manual_a_learner_waits_until_somebody_promotes_it(cluster: VirtualCluster, leader: VirtualNode) -> None:
    after = members_in(cluster.call(leader, change(add=(joining("n4"),), manual=True)))
    assert found(after, "n4").promote == "manual"
    cluster.run(5_000)
    caught_up = found(listed(cluster), "n4")
    assert (caught_up.role, caught_up.match_index) == ("learner", leader.replica.raft.log.last_index)
    assert roles(members_in(cluster.call(leader, change(promote=("n4",)))))["n4"] == "voter"


def test_a_node_votes_also_where_clients_read_without_a_pause(cluster: VirtualCluster, leader: VirtualNode) -> None:
    """Each round of reads puts the next heartbeat off; what the leader does with one must not be put off for ever."""
    members_in(cluster.call(leader, change(add=(joining("n4"),))))
    for _ in range(1_000):
        cluster.answered(cluster.read(leader, Get(b"k")))
    assert roles(listed(cluster))["n4"] == "voter"


def test_a_node_takes_the_place_of_another(cluster: VirtualCluster, leader: VirtualNode, follower: VirtualNode) -> None:
    after = members_in(cluster.call(leader, change(add=(joining("n4", follower.id),))))
    assert found(after, "n4").replaces == follower.id
    left = [id for id in ("n1", "n2", "n3") if id != follower.id]
    until_voting(cluster, *left, "n4")


def test_a_leader_that_is_removed_hands_over_and_is_led_by_nobody(cluster: VirtualCluster, leader: VirtualNode) -> None:
    reply = cluster.call(leader, change(remove=(leader.id,)))
    assert reply.outcome in (Outcome.DONE, Outcome.UNKNOWN)
    other = cluster.led(other_than=leader.id)
    again = members_in(cluster.call(other, change(remove=(leader.id,))))
    assert leader.id not in roles(again)
    term = other.term
    cluster.run(10_000)
    assert (cluster.led().id, other.term, leader.role) == (other.id, term, Role.LEARNER)


def test_who_has_lost_its_data_begins_anew_in_its_own_place(
    cluster: VirtualCluster, leader: VirtualNode, follower: VirtualNode, session: int
) -> None:
    cluster.answered(cluster.put(leader, session, b"k"))
    follower.kill()
    follower.wipe()
    follower.start()
    cluster.until(lambda: follower.id in leader.replica.raft.role.roster.lost, "the loss is seen")
    assert found(listed(cluster), follower.id).lost_data
    renewed = members_in(cluster.call(leader, change(renew=(follower.id,))))
    assert roles(renewed)[follower.id] == "learner"
    until_voting(cluster, "n1", "n2", "n3")
    cluster.settled()
    assert follower.machines.store.revision == 1


# -- asked again -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wish", [{"add": (joining("n4"),)}, {"remove": ("n3",)}, {"renew": ("n2",)}])
def test_what_is_so_already_is_done(cluster: VirtualCluster, leader: VirtualNode, wish: dict[str, Any]) -> None:
    cluster.call(leader, TransferRequest(0, "n1"))
    cluster.until(lambda: cluster["n1"].replica.raft.is_established, "n1 leads")
    cluster.settled()
    members_in(cluster.call(cluster["n1"], change(**wish)))
    cluster.run(3_000)
    before, end = listed(cluster), cluster["n1"].replica.raft.log.last_index
    again = members_in(cluster.call(cluster["n1"], change(**wish)))
    assert again == before
    assert cluster["n1"].replica.raft.log.last_index == end, "nothing was appended"


def test_who_asks_again_while_it_is_under_way_is_answered_with_it(cluster: VirtualCluster, leader: VirtualNode) -> None:
    wish = change(add=(joining("n4"),), manual=True)
    first = cluster.ask(leader, wish)
    second = cluster.ask(leader, wish)
    assert members_in(cluster.answered(second)) == members_in(cluster.answered(first))
    kinds = [entry.kind for entry in leader.replica.raft.log.slice(1, leader.replica.raft.log.last_index, 1 << 20)]
    joins = [effect for effect in leader.effects if effect[0] == "apply" and effect[1].kind == 3]
    assert len(joins) <= kinds.count(3)
    brought = [entry for _, entry in joins if b"/run/n4.peer" in entry.data]
    assert len(brought) == 1


def test_another_change_waits_its_turn(cluster: VirtualCluster, leader: VirtualNode) -> None:
    first = cluster.ask(leader, change(add=(joining("n4"),), manual=True))
    second = cluster.ask(leader, change(add=(joining("n5"),), manual=True))
    refused = cluster.answered(second)
    assert (refused.outcome, refused.message) == (
        Outcome.REFUSED,
        "another change of membership is under way; try again when it is done",
    )
    members_in(cluster.answered(first))
    assert set(roles(members_in(cluster.call(leader, change(add=(joining("n5"),), manual=True))))) == {
        *cluster.ids,
    }


# -- refused -----------------------------------------------------------------------------------------------------------


def test_a_change_that_would_lose_the_quorum_is_refused_with_the_arithmetic(cluster: VirtualCluster) -> None:
    leader = cluster.settled()
    down, other = (id for id in ("n1", "n2", "n3") if id != leader.id)
    cluster[down].kill()
    cluster.run(3_000)
    reply = cluster.call(leader, change(remove=(other,)))
    voters = ", ".join(id for id in ("n1", "n2", "n3") if id != other)
    assert (reply.outcome, reply.message) == (
        Outcome.INVALID,
        f"of the 2 voters that it would leave ({voters}), 2 must answer, and 1 does ({leader.id})",
    )


BAD = Endpoints("tcp://*:1", "tcp://127.0.0.1:2", "tcp://127.0.0.1:3")
SHARED = Endpoints(at("n5").peer, at("n4").client, at("n4").events)


@pytest.mark.parametrize(
    ("wish", "says"),
    [
        ({"promote": ("n9",)}, "n9 is no learner; there are no learners"),
        ({"renew": ("n9",)}, "n9 is no member; the members are n1, n2, n3"),
        ({"add": (joining("n4", "n9"),)}, "n4 cannot replace n9: a node that joins replaces one that votes"),
        ({"remove": ("n1", "n2", "n3")}, "nobody would have a vote"),
        ({"add": (joining("a/b"),)}, "'a/b' is no name for a node; give it 1 to 64 of A-Z a-z 0-9 . _ -"),
        ({"add": (joining(".."),)}, "'..' is no name for a node; give it 1 to 64 of A-Z a-z 0-9 . _ -"),
        ({"add": (Joining("n4", BAD),)}, "n4: 'tcp://*:1' is no endpoint; give tcp://HOST:PORT or ipc:///PATH"),
        (
            {"add": (Joining("n4", Endpoints("ipc://x", *msgspec.structs.astuple(at("n4"))[1:])),)},
            "n4: 'ipc://x' is no endpoint; give tcp://HOST:PORT or ipc:///PATH",
        ),
        (
            {"add": (joining("n5"), Joining("n4", SHARED))},
            f"n5: {at('n5').peer} belongs to n4 already; give each its own",
        ),
        ({"add": (joining("n4"), joining("n4"))}, "n4: named twice, or twice with one endpoint; give each its own"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_reason(
    cluster: VirtualCluster, leader: VirtualNode, wish: dict[str, Any], says: str
) -> None:
    reply = cluster.call(leader, change(**wish))
    assert (reply.outcome, reply.message) == (Outcome.INVALID, says)
    assert not leader.replica.raft.memberships.current.learners


def test_a_member_does_not_join_once_more_at_another_place(cluster: VirtualCluster, leader: VirtualNode) -> None:
    members_in(cluster.call(leader, change(add=(joining("n4"),))))
    reply = cluster.call(leader, change(add=(Joining("n4", at("x")),)))
    assert reply.outcome == Outcome.INVALID
    assert reply.message.startswith("n4 is a member already, at ipc:///run/n4.peer; remove that one first")
    reply = cluster.call(leader, change(add=(joining("n4", "n1"),)))
    assert reply.message == "n4 is a member already, and not in place of n1; once it votes, remove n1"


def test_who_has_not_been_heard_is_not_taken_for_one_with_its_data(
    cluster: VirtualCluster, leader: VirtualNode, follower: VirtualNode
) -> None:
    follower.kill()
    cluster.run(1_500)
    cluster.call(leader, TransferRequest(0))
    other = cluster.led(other_than=leader.id)
    cluster.until(lambda: other.replica.raft.memberships.current.disk_ids, "registered")
    reply = cluster.call(other, change(renew=(follower.id,)))
    assert reply.outcome == Outcome.REFUSED
    assert reply.message.startswith(f"{follower.id} does not answer, so nobody knows whether it lost its data")


# -- where everybody is ------------------------------------------------------------------------------------------------


def test_the_membership_says_where_those_are_who_joined_and_the_configuration_where_the_others() -> None:
    file = {name: at(name) for name in ("n1", "n2")}
    moved = at("elsewhere")
    membership = Membership(("n1", "n2"), ("n0",), ("n3",), endpoints={"n2": moved, "n3": at("n3")})
    assert Addresses(file).of(membership) == {"n1": at("n1"), "n2": moved, "n3": at("n3")}
    assert Addresses(file, {"n2"}).of(membership)["n2"] == at("n2")
    assert Addresses(file).of(Membership(())) == file
    assert Addresses(file).of(Membership(("n3",), endpoints={"n3": at("n3")})) == {"n3": at("n3")}
