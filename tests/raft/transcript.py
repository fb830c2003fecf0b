"""Runs scenario files: prose, commands, ``---``, and what the cluster then did, in the words of `describe`.

A file is a history of one cluster, in blocks with an empty line between them. Nodes are named by number. Commands::

    cluster nodes=3 [leader=1] [blank] [spare=2] [chunk=BYTES]
                                           `spare`: further nodes that run and are no members; else make nodes n1 to n3, start them, elect n1 (in silence); `blank`: no data
                                           directory is registered yet; further KEY=NUMBER are fields of `Settings`
    priority N=P ...                       who should rather lead, from its next start on
    log N TERM ... [term=T]                before the start: n's log by hand, one term per entry; N's own term
    start                                  start all nodes (`cluster leader=` does it)
    put N TEXT / fill N COUNT BYTES        propose one command; propose many, telling nothing of each
    read N [follower]                      ask for a linearizable read; `follower`: of a node that need not lead
    change N VERB=NODES ...                ask for a change of membership: add, manual (add, to stay learners), promote,
                                           demote, renew, remove; ``replace=2:4`` has n4 join in the place of n2
    transfer N [TARGET]                    hand leadership over
    campaign N                             n's election timer runs out now
    wait MS                                time passes, and nobody's loop turns
    elapse MS / run MS                     time passes with timers; `run`: with disks and network working, telling
                                           role changes, notes, entries applied and reads alone
    stabilize                              finish writes and deliver messages until nothing moves
    settle                                 the same, telling as little as `run` does
    deliver|drop|hold A>B [TYPE] [COUNT]   hand over, lose, or keep for later the oldest messages from A to B (all, or
                                           COUNT of them, or those of TYPE); `*` stands for every node
    copy A>B TYPE / replay                 take a copy of such a message; deliver the copies taken, and what was held
    inject A>B TYPE KEY=VALUE ...          deliver a message that nobody sent
    slow A>B / fast A>B                    a link delivers only by `deliver`; does so by itself again
    refuse A>B                             the socket of A refuses whatever goes to B now, and A is told
    partition GROUP / cut A>B / heal       lose all between a group (`1 2`) and the rest; on one link; nothing any more
    crash N [COUNT] / restart N            lose what is not durable, except the first COUNT waiting writes; start again
    snapshot N ...                         take a snapshot of what is applied; the disk has it later
    wipe N                                 a blank data directory for a node that is down
    lose N INDEX                           the disk of a node that is down loses its entries from INDEX on, and knows it
    disk hold|release|step N               its disk stalls; works again; finishes one write
    show [N ...] / logs [N ...]            states; logs
"""

import fnmatch
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from raft_rig import Packet, Rig

from zraft.raft import describe, messages
from zraft.raft.changes import Change
from zraft.raft.types import Endpoints, Entry, EntryId, EntryKind, HardState

RULE = "---"
QUIET = (" is ", " applies ", " notes ", " read ", " append ", " hands over ", " refuses ")
"""What lines say that are told even while most is not."""


class Block(msgspec.Struct):
    """Commands, and what they print."""

    head: list[str]
    """Comments and commands, as written."""
    expected: list[str]


def parse(text: str) -> list[Block]:
    """Split a scenario file into blocks."""
    blocks = []
    for part in text.strip().split("\n\n"):
        lines = part.splitlines()
        cut = lines.index(RULE) if RULE in lines else len(lines)
        blocks.append(Block(lines[:cut], lines[cut + 1 :]))
    return blocks


def render(blocks: list[Block]) -> str:
    """Put blocks back together."""
    return "\n\n".join("\n".join([*each.head, RULE, *each.expected]) for each in blocks) + "\n"


def run(path: Path) -> list[Block]:
    """Carry out a scenario; return its blocks with what was really printed."""
    player = Player()
    return [Block(block.head, player.play(block.head)) for block in parse(path.read_text())]


class Player:
    """Carries out the commands of one file."""

    def __init__(self) -> None:
        self.rig: Rig
        self.lines: list[str] = []
        self.quiet = False
        self.kept: list[Packet] = []
        """Copies and held messages, for `replay`."""

    def play(self, head: list[str]) -> list[str]:
        """Carry out a block's commands and return what they print."""
        self.lines = []
        for line in head:
            if line and not line.startswith("#"):
                verb, *words = line.split()
                command: Callable[..., None] = getattr(self, f"do_{verb}")
                command(*words)
        return self.lines

    def say(self, line: str) -> None:
        if not self.quiet or (any(mark in line for mark in QUIET) and "⇥" not in line):
            self.lines.append(line)

    # -- making a cluster ----------------------------------------------------------------------------------------------

    def do_cluster(self, *words: str) -> None:
        given = dict(word.split("=") for word in words if "=" in word)
        count, leader = int(given.pop("nodes")), given.pop("leader", None)
        spare = int(given.pop("spare", 0))
        chunk_bytes = int(given.pop("chunk", 1 << 18))
        settings = {name: int(value) for name, value in given.items()}
        self.rig = Rig(count, registered="blank" not in words, say=self.say, spare=spare, **settings)
        self.rig.chunk_bytes = chunk_bytes
        if leader:
            self._silently(lambda: self._elect(leader))
            self.do_show()

    def do_priority(self, *words: str) -> None:
        self.rig.priorities |= {_id(node): int(priority) for node, priority in (word.split("=") for word in words)}

    def do_log(self, node: str, *words: str) -> None:
        terms = [int(word) for word in words if "=" not in word]
        options = dict(word.split("=") for word in words if "=" in word)
        disk = self.rig.disks[_id(node)]
        disk.entries = [
            Entry(term, index, EntryKind.COMMAND, 0, f"{index}@{term}".encode()) for index, term in enumerate(terms, 1)
        ]
        disk.hard_state = HardState(int(options.get("term", terms[-1] if terms else 0)))

    def do_start(self) -> None:
        for id in self.rig.ids:
            self._silently(lambda id=id: self.rig.start(id))
        self.do_show()

    def _elect(self, leader: str) -> None:
        for id in self.rig.ids:
            self.rig.start(id)
        self.rig.campaign(_id(leader))
        self.rig.stabilize()
        self.rig.elapse(100, flowing=True)  # One heartbeat, so that all know what is committed.

    # -- what clients and time do --------------------------------------------------------------------------------------

    def do_put(self, node: str, *text: str) -> None:
        self.rig.propose(_id(node), " ".join(text).encode())

    def do_fill(self, node: str, count: str, size: str) -> None:
        self._silently(lambda: [self.rig.propose(_id(node), b"." * int(size)) for _ in range(int(count))])

    def do_change(self, node: str, *words: str) -> None:
        asked: dict[str, Any] = {}
        for word in words:
            verb, _, nodes = word.partition("=")
            if verb == "replace":
                old, new = nodes.split(":")
                asked.setdefault("add", {})[_id(new)] = Endpoints("", "", "")
                asked["replacing"] = {_id(new): _id(old)}
            elif verb in ("add", "manual"):
                asked["add"] = {_id(each): Endpoints("", "", "") for each in nodes.split(",")}
                asked["manual"] = verb == "manual"
            else:
                asked[verb] = tuple(_id(each) for each in nodes.split(","))
        self.rig.change(_id(node), Change(**asked))

    def do_read(self, node: str, *how: str) -> None:
        self.rig.read(_id(node), follower="follower" in how)

    def do_transfer(self, node: str, target: str | None = None) -> None:
        self.rig.transfer(_id(node), _id(target) if target else None)

    def do_campaign(self, node: str) -> None:
        self.rig.campaign(_id(node))

    def do_wait(self, span_ms: str) -> None:
        self.rig.now += float(span_ms)

    def do_elapse(self, span_ms: str) -> None:
        self.rig.elapse(float(span_ms), flowing=False)

    def do_run(self, span_ms: str) -> None:
        self._quietly(lambda: self.rig.elapse(float(span_ms), flowing=True))

    def do_stabilize(self) -> None:
        self.rig.stabilize()

    def do_settle(self) -> None:
        self._quietly(self.rig.stabilize)

    # -- what the network does -----------------------------------------------------------------------------------------

    def do_deliver(self, link: str, *which: str) -> None:
        for packet in self._take(link, which):
            self.say(_arrow(packet, "⇤"))
            self.rig.deliver(packet)

    def do_drop(self, link: str, *which: str) -> None:
        for packet in self._take(link, which):
            self.say(_arrow(packet, "✗"))

    def do_hold(self, link: str, *which: str) -> None:
        self.kept += self._take(link, which)

    def do_copy(self, link: str, kind: str) -> None:
        found = [packet for packet in self.rig.network if _matches(packet, link, kind)]
        assert found, f"nothing under way on {link} like {kind}"
        self.kept.append(found[0])

    def do_replay(self) -> None:
        kept, self.kept = self.kept, []
        assert kept, "nothing was copied or held"
        for packet in kept:
            self.say(_arrow(packet, "⇤"))
            self.rig.deliver(packet)

    def do_inject(self, link: str, kind: str, *fields: str) -> None:
        source, target = link.split(">")
        given = {name: _value(value) for name, value in (field.split("=") for field in fields)}
        packet = Packet(_id(source), _id(target), getattr(messages, kind)(**given))
        self.say(_arrow(packet, "⇤"))
        self.rig.deliver(packet)

    def do_slow(self, link: str) -> None:
        self.rig.slow |= self._links(link)

    def do_fast(self, link: str) -> None:
        self.rig.slow -= self._links(link)

    def do_refuse(self, link: str) -> None:
        for source, target in self._links(link):
            self.rig.refuse(source, target)

    def do_partition(self, *group: str) -> None:
        inside = {_id(node) for node in group}
        outside = set(self.rig.ids) - inside
        self.rig.cut = {(a, b) for a in inside for b in outside} | {(b, a) for a in inside for b in outside}
        self.rig.network = [packet for packet in self.rig.network if packet[:2] not in self.rig.cut]

    def do_cut(self, link: str) -> None:
        self.rig.cut |= self._links(link)

    def do_heal(self) -> None:
        self.rig.cut.clear()

    def _links(self, link: str) -> set[tuple[str, str]]:
        source, target = link.split(">")
        ids = self.rig.ids
        return {(a, b) for a in ids for b in ids if a != b and _is(a, source) and _is(b, target)}

    def _take(self, link: str, which: tuple[str, ...]) -> list[Packet]:
        kind = next((word for word in which if not word.isdigit()), "*")
        count = next((int(word) for word in which if word.isdigit()), len(self.rig.network))
        found = [packet for packet in self.rig.network if _matches(packet, link, kind)][:count]
        assert found, f"nothing under way on {link} like {kind}"
        for packet in found:
            self.rig.network.remove(packet)
        return found

    # -- what happens to nodes and disks -------------------------------------------------------------------------------

    def do_crash(self, node: str, survivors: str = "0") -> None:
        self.rig.crash(_id(node), int(survivors))

    def do_restart(self, node: str) -> None:
        self.rig.start(_id(node))

    def do_wipe(self, node: str) -> None:
        self.rig.wipe(_id(node))

    def do_lose(self, node: str, first_gone: str) -> None:
        assert _id(node) not in self.rig.rafts, "a running node's disk loses nothing"
        self.rig.disks[_id(node)].lose(int(first_gone))

    def do_snapshot(self, *nodes: str) -> None:
        for node in nodes:
            self.rig.snapshot(_id(node))

    def do_disk(self, what: str, node: str) -> None:
        disk = self.rig.disks[_id(node)]
        if what == "step":
            self.rig.disk_step(_id(node))
        else:
            disk.held = {"hold": True, "release": False}[what]

    # -- what one sees -------------------------------------------------------------------------------------------------

    def do_show(self, *nodes: str) -> None:
        for id in [_id(node) for node in nodes] or self.rig.ids:
            self.lines.append(describe.state(self.rig.rafts[id]) if id in self.rig.rafts else f"{id} is down")

    def do_logs(self, *nodes: str) -> None:
        for id in [_id(node) for node in nodes] or self.rig.ids:
            log = self.rig.rafts[id].log
            self.lines.append(f"{id} {describe.entries(log.slice(log.first_index, log.last_index, 1 << 62))}")

    def _silently(self, act: Callable[[], object]) -> None:
        self.rig.say = None
        act()
        self.rig.say = self.say

    def _quietly(self, act: Callable[[], object]) -> None:
        self.quiet = True
        act()
        self.quiet = False


def _id(node: str) -> str:
    return f"n{int(node)}"


def _is(id: str, pattern: str) -> bool:
    return pattern == "*" or id == _id(pattern)


def _matches(packet: Packet, link: str, kind: str) -> bool:
    source, target = link.split(">")
    return (
        _is(packet.source, source)
        and _is(packet.target, target)
        and fnmatch.fnmatchcase(type(packet.message).__name__, kind)
    )


def _arrow(packet: Packet, sign: str) -> str:
    # What arrives, or does not: the receiver first.
    return f"{packet.target} {sign} {packet.source} {describe.message(packet.message, -1)}"


def _value(word: str) -> object:
    """Read a field of `inject`: a number, ``yes`` or ``no``, ``index@term``, a list of those in brackets, or a word."""
    if word.startswith("["):
        ids = [_value(each) for each in word.strip("[]").split(",") if each]
        return [Entry(id.term, id.index, EntryKind.COMMAND, 0, word.encode()) for id in ids if isinstance(id, EntryId)]
    if "@" in word:
        index, term = word.split("@")
        return EntryId(int(term), int(index))
    if word in ("yes", "no"):
        return word == "yes"
    return int(word) if word.isdigit() else word
