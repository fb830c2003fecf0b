"""A cluster of nothing but client sockets: it speaks the codec, keeps one replicated state, and misbehaves on demand."""

import os
import shutil
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import zmq

from zraft import requests
from zraft.codec import REQUEST_KINDS, Codec
from zraft.config import Cluster, Config, Election, Node, Sessions
from zraft.machines.kv.store import KeyValueStore
from zraft.machines.sessions import Machines
from zraft.raft.types import Entry, EntryKind
from zraft.requests import Outcome, Reply

SERVE = "serve"
"""Carry it out and answer."""
SWALLOW = "swallow"
"""Lose the request: nothing is carried out, nothing answered."""
MUTE = "mute"
"""Carry it out and lose the answer."""
WAIT_S = 10.0
_TICK_MS = 20


class Seen(msgspec.Struct):
    """One request that reached a node."""

    node: str
    request: Any
    batch: requests.Batch | None


class FakeCluster:
    """Some fake nodes in front of one state, of which one leads."""

    def __init__(self, names: tuple[str, ...] = ("n1", "n2", "n3"), *, patience_ms: int = 300) -> None:
        self.directory = tempfile.mkdtemp(prefix="zf", dir="/tmp")
        self.config = Config(
            nodes=tuple(Node(name, *(f"ipc://{self.directory}/{name}.{role}" for role in "pce")) for name in names),
            cluster=Cluster(id="00000000c0ffee00"),
            election=Election(timeout_lower_ms=patience_ms // 2, timeout_upper_ms=patience_ms),
            sessions=Sessions(),
        )
        self.store = KeyValueStore()
        self.machines = Machines({"kv": self.store})
        self.leader: str | None = names[0]
        self.behaviour: Callable[[str, Any, requests.Batch | None], str | Reply] = lambda *_: SERVE
        """What to do with a request that the leader got; a Reply is given as it is, with the request's id."""
        self.seen: list[Seen] = []
        self.changed = threading.Condition()
        self.nodes = {name: FakeNode(self, name) for name in names}

    def start(self, *names: str) -> None:
        for name in names or self.nodes:
            self.nodes[name].start()

    def stop(self, *names: str) -> None:
        nodes = [self.nodes[name] for name in names or self.nodes]
        for node in nodes:
            node.end()
        for node in nodes:
            node.join()

    def wait_for(self, condition: Callable[[], Any]) -> Any:
        """Return as soon as `condition` holds."""
        with self.changed:
            assert self.changed.wait_for(condition, WAIT_S), "it never came"
            return condition()

    def serve(self) -> None:
        """Behave well from now on: whoever says farewell is answered."""
        self.leader = self.leader if self.leader in self.nodes else next(iter(self.nodes))
        self.behaviour = lambda *_: SERVE
        for node in self.nodes.values():
            node.hold = False

    def close(self) -> None:
        """End all nodes and leave nothing behind."""
        self.stop()
        for node in self.nodes.values():
            os.close(node.bell)
        shutil.rmtree(self.directory)

    def of(self, kind: type) -> list[Seen]:
        return [seen for seen in self.seen if isinstance(seen.request, kind)]

    def commit(self, kind: EntryKind, data: bytes) -> Reply:
        result = self.machines.apply(Entry(1, self.machines.index + 1, kind, self.machines.time_ms, data))
        return Reply(0, result.outcome, result.value, None, result.message)

    def answer(self, name: str, request: Any, data: bytes | None) -> Reply | None:
        """Carry out what a node was asked, under the lock."""
        batch = None if data is None else msgspec.msgpack.decode(data, type=requests.Batch)
        self.seen.append(Seen(name, request, batch))
        if isinstance(request, requests.Hello):
            endpoints = {node.id: node.client for node in self.config.nodes}
            limits = msgspec.to_builtins(self.config.limits)
            return Reply(0, Outcome.DONE, {"cluster": "c", "node": name, "nodes": endpoints, "limits": limits})
        if isinstance(request, requests.StatusRequest):
            role = "leader" if name == self.leader else "follower"
            status = requests.Status(name, "", role, 1, self.leader, None, 0, 0, 0, 0, 0, True, 0.0, 1)
            return Reply(0, Outcome.DONE, msgspec.to_builtins(status))
        if name != self.leader:
            return Reply(0, Outcome.REFUSED, None, self.leader, "does not lead")
        if batch is not None and not self.machines.has(batch.machine):
            return Reply(0, Outcome.INVALID, None, None, f"no machine {batch.machine!r} is mounted")
        wish = self.behaviour(name, request, batch)
        if isinstance(wish, Reply) or wish == SWALLOW:
            return wish if isinstance(wish, Reply) else None
        reply = self.carry_out(request, data)
        return None if wish == MUTE else reply

    def carry_out(self, request: Any, data: bytes | None) -> Reply:
        match request:
            case requests.OpenSession():
                return self.commit(EntryKind.SESSION, msgspec.msgpack.encode(requests.SessionChange()))
            case requests.CloseSession():
                return self.commit(EntryKind.SESSION, msgspec.msgpack.encode(requests.SessionChange(request.session)))
            case requests.Commands():
                return self.commit(EntryKind.COMMAND, data or b"")
            case requests.Queries():
                result = self.machines.query_all(request.machine, request.queries)
                return Reply(0, result.outcome, result.value, None, result.message)
        raise AssertionError(f"no fake for {request}")


class FakeNode:
    """One ROUTER on a thread."""

    def __init__(self, cluster: FakeCluster, name: str) -> None:
        self.cluster, self.name = cluster, name
        self.endpoint = cluster.config.node(name).client
        self.codec = Codec(cluster.config.cluster_id, name, 1)
        self.thread: threading.Thread | None = None
        self.bell = os.eventfd(0, os.EFD_CLOEXEC)
        """Rung when the thread shall end."""
        self.kept: list[tuple[bytes, Any, bytes | None]] = []
        """Requests put off by `hold`."""
        self.hold = False

    def start(self) -> None:
        bound = threading.Event()
        self.thread = threading.Thread(target=self.run, args=(bound,))
        self.thread.start()
        assert bound.wait(WAIT_S)

    def end(self) -> None:
        if self.thread is not None:
            os.eventfd_write(self.bell, 1)

    def join(self) -> None:
        if self.thread is not None:
            self.thread.join(WAIT_S)
            assert not self.thread.is_alive(), f"{self.name} does not end"
            self.thread = None

    def run(self, bound: threading.Event) -> None:
        context: zmq.Context = zmq.Context()
        router = context.socket(zmq.ROUTER)
        router.linger = 0
        Path(self.endpoint.removeprefix("ipc://")).unlink(missing_ok=True)
        router.bind(self.endpoint)
        bound.set()
        poller = zmq.Poller()
        poller.register(router, zmq.POLLIN)
        poller.register(self.bell, zmq.POLLIN)
        while self.bell not in (ready := dict(poller.poll(_TICK_MS))):
            self.release(router)
            if router in ready:
                client, *frames = router.recv_multipart()
                received = self.codec.decode(frames, REQUEST_KINDS)
                self.take(router, client, received.message, received.batch)
        os.eventfd_read(self.bell)
        context.destroy(linger=0)

    def release(self, router: zmq.Socket) -> None:
        if self.kept and not self.hold:
            kept, self.kept = self.kept, []
            for client, request, data in kept:
                self.reply(router, client, request, data)

    def take(self, router: zmq.Socket, client: bytes, request: Any, data: bytes | None) -> None:
        if self.hold:
            self.kept.append((client, request, data))
            with self.cluster.changed:
                self.cluster.changed.notify_all()
        else:
            self.reply(router, client, request, data)

    def reply(self, router: zmq.Socket, client: bytes, request: Any, data: bytes | None) -> None:
        with self.cluster.changed:
            reply = self.cluster.answer(self.name, request, data)
            self.cluster.changed.notify_all()
        if reply is not None:
            router.send_multipart([client, *self.codec.encode(msgspec.structs.replace(reply, id=request.id))])
