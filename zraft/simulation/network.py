"""The network: one directed link from everybody to everybody, each of which may delay, lose, repeat, overtake and damage.

A link keeps the order of its messages unless a fault makes one overtake, as TCP under ZeroMQ does; what is under way when
a link is cut is lost. Messages are frames here, as on the wire: every one goes through the codec on both ends.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from itertools import permutations
from random import Random

from zraft.codec import PEER_KINDS
from zraft.simulation.plan import MESSAGE_FAULTS, Plan
from zraft.simulation.timeline import STALE, Timeline

Name = str | bytes
"""A node's, or a client's, which is bytes."""
Pair = tuple[Name, Name]
"""Source and target of a link."""
Deliver = Callable[[Name, list[bytes], bool], None]
"""Takes a message: its source, its frames, and whether a fault has damaged them."""
_KIND_AT = 3
"""Where in its first frame a message says of which kind it is."""


class Link:
    """One direction between two."""

    __slots__ = ("clogged_until", "cuts", "deliver", "last_due", "queue", "slowness", "source", "target", "under_way")

    def __init__(self, source: Name, target: Name, deliver: Deliver) -> None:
        self.source = source
        self.target = target
        self.deliver = deliver
        """The target's."""
        self.cuts = 0
        """How many faults cut it now."""
        self.clogged_until = 0.0
        self.slowness = 1.0
        """By what the time that a message takes is multiplied."""
        self.last_due = 0.0
        """When the newest message that keeps its place will arrive."""
        self.under_way = 0
        self.queue: deque[Packet] = deque()
        """What is under way, oldest first, where the oldest may have to go."""


class Packet:
    """A message under way; calling it delivers it."""

    __slots__ = ("bad", "frames", "link", "lost", "network")

    def __init__(self, network: "Network", link: Link, frames: list[bytes], bad: bool) -> None:
        self.network, self.link, self.frames, self.bad = network, link, frames, bad
        self.lost = False
        """It is not under way any more: it was delivered, or gave its place to another."""

    def __call__(self) -> object:
        """Arrive."""
        if self.lost:
            return STALE
        network, link = self.network, self.link
        timeline = network.timeline
        if link.clogged_until > timeline.now:
            timeline.at(link.clogged_until, self)
            return STALE
        self.lost = True
        link.under_way -= 1
        if link.cuts or (network.filtered and not self.bad and self.frames[0][_KIND_AT] in network.filtered):
            return None
        timeline.note(b"".join(self.frames[:1]))
        link.deliver(link.source, self.frames, self.bad)
        return None


class Network:
    """All links.

    Parameters
    ----------
    timeline
        Where messages are under way.
    plan
        How long they take, and what goes wrong.
    random
        Dice.
    hits
        Counts what went wrong, by kind.
    """

    def __init__(self, timeline: Timeline, plan: Plan, random: Random, hits: Counter[str]) -> None:
        self.timeline = timeline
        self.hits = hits
        self.filtered: frozenset[int] = frozenset()
        """Kinds of messages that are lost, as the codec numbers them."""
        self.absent: set[Name] = set()
        """Nodes whose process is not there, so that whoever sends finds no connection."""
        self._plan = plan
        self._random = random
        self._draw = random.random
        self._delay = random.expovariate
        self._delay_min_ms = plan.delay_min_ms
        self._delay_rate = 1 / plan.delay_mean_ms
        self._rates = {kind: plan.faults[kind] for kind in MESSAGE_FAULTS if kind in plan.faults}
        self._trouble = sum(self._rates.values())
        """How probable it is that something goes wrong with a message."""
        bounds = [plan.faults[kind] for kind in ("drop_newest", "drop_oldest") if kind in plan.faults]
        self._capacity = min(bounds, default=float("inf"))
        self._oldest_goes = plan.faults.get("drop_oldest") == self._capacity
        self._links: dict[Pair, Link] = {}
        self._receivers: dict[Name, Deliver] = {}

    def attach(self, name: Name, deliver: Deliver) -> None:
        """Let messages to `name` go to `deliver`."""
        self._receivers[name] = deliver

    def link(self, source: Name, target: Name) -> Link:
        """Return the link from `source` to `target`."""
        found = self._links.get((source, target))
        if found is None:
            found = self._links[source, target] = Link(source, target, self._receivers[target])
        return found

    def send(self, source: Name, target: Name, frames: list[bytes]) -> bool:
        """Let a message leave; False when it is refused, and the sender knows so."""
        link = self._links.get((source, target)) or self.link(source, target)
        if target in self.absent:
            return False
        if link.cuts:
            return True
        if link.under_way >= self._capacity and not self._make_room(link):
            return False
        if self._draw() < self._trouble:
            self._go_wrong(link, frames)
        else:
            self._put(link, frames)
        return True

    def _put(self, link: Link, frames: list[bytes], *, bad: bool = False, late_ms: float | None = None) -> None:
        now = self.timeline.now
        due = now + self._delay_min_ms + self._delay(self._delay_rate) * link.slowness
        if late_ms is not None:
            due += late_ms
        elif due < link.last_due:
            due = link.last_due
        else:
            link.last_due = due
        packet = Packet(self, link, frames, bad)
        link.under_way += 1
        if self._oldest_goes:
            link.queue.append(packet)
        self.timeline.at(due, packet)

    def _make_room(self, link: Link) -> bool:
        if not self._oldest_goes:
            self.hits["drop_newest"] += 1
            return False
        while link.queue and link.queue[0].lost:
            link.queue.popleft()
        if link.queue:
            link.queue.popleft().lost = True
            link.under_way -= 1
            self.hits["drop_oldest"] += 1
        return True

    def _go_wrong(self, link: Link, frames: list[bytes]) -> None:
        (kind,) = self._random.choices(list(self._rates), list(self._rates.values()))
        self.hits[kind] += 1
        match kind:
            case "loss":
                return
            case "duplicate":
                self._put(link, frames)
                self._put(link, frames)
            case "late_duplicate":
                self._put(link, frames)
                self._put(link, frames, late_ms=self._random.uniform(1, 10) * self._plan.election_upper_ms)
            case "reorder":
                self._put(link, frames, late_ms=self._delay(self._delay_rate / 10))
            case "corrupt":
                self._put(link, _damaged(frames, self._random), bad=True)

    # -- what faults do to links ---------------------------------------------------------------------------------------

    def cut(self, pairs: Iterable[Pair]) -> Callable[[], None]:
        """Cut these links, and return what joins them again; a link that several faults cut is cut until the last ends."""
        links = [self.link(source, target) for source, target in pairs]
        for link in links:
            link.cuts += 1

        def mend() -> None:
            for link in links:
                link.cuts = max(0, link.cuts - 1)

        return mend

    def calm(self) -> None:
        """End all that goes wrong, on all links; what is under way arrives."""
        self._trouble = 0.0
        self._capacity = float("inf")
        self.filtered = frozenset()
        for link in self._links.values():
            link.cuts, link.clogged_until, link.slowness = 0, 0.0, 1.0


def _damaged(frames: list[bytes], random: Random) -> list[bytes]:
    """Return the frames with a byte changed, cut off or added, or with a frame missing or one too many."""
    damaged = list(frames)
    position = random.randrange(len(damaged))
    frame = bytearray(damaged[position])
    match random.randrange(6):
        case 0:
            del damaged[position]
        case 1:
            damaged.append(random.randbytes(3))
        case 2 if frame:
            damaged[position] = bytes(frame[: random.randrange(len(frame))])
        case 3:
            damaged[position] = bytes(frame) + random.randbytes(1)
        case _ if frame:
            frame[random.randrange(len(frame))] ^= random.randrange(1, 256)
            damaged[position] = bytes(frame)
        case _:
            damaged.append(b"")
    return damaged


# -- shapes of partitions ----------------------------------------------------------------------------------------------


def between(some: Iterable[Name], others: Iterable[Name]) -> list[Pair]:
    """Return the links from some to others and back."""
    rest = list(others)
    return [pair for one in some for other in rest for pair in ((one, other), (other, one))]


def shape(kind: str, names: Sequence[str], random: Random) -> list[Pair]:
    """Return the links that a partition of that kind cuts; none when there are too few nodes for it."""
    order = random.sample(names, len(names))
    count = len(order)
    if count < 2 or (kind in ("bridge", "chain") and count < 3) or (kind == "ring" and count < 4):  # noqa: PLR2004
        return []
    half = random.randrange(1, count)
    middle = 1 + (count - 1) // 2
    distances = (1,) if kind == "chain" else (1, count - 1)
    pairs: list[Pair]
    match kind:
        case "isolate":
            pairs = between(order[:1], order[1:])
        case "split":
            pairs = between(order[:half], order[half:])
        case "one_way":
            pairs = [(one, other) for one in order[:half] for other in order[half:]]
        case "bridge":
            pairs = between(order[1:middle], order[middle:])
        case "single_link":
            pairs = between(order[:1], order[1:2])
        case _:
            apart = [(a, b) for a, b in permutations(range(count), 2) if abs(a - b) not in distances]
            pairs = [(order[a], order[b]) for a, b in apart]
    return pairs


def some_kind(random: Random) -> int:
    """Return the number of a kind of message between nodes."""
    return random.choice(list(PEER_KINDS))
