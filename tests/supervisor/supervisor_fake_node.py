"""A program that answers like a node and does as it is told: the supervisor's tests run it instead of a real one.

``supervisor_fake_node.py CONFIG NODE PARENT``; the first node of the configuration leads term 1 and all follow it. What it is to do is in
the file ``NODE.act`` beside the configuration, read once at its start, one word or line each:

``exit CODE LINE``      print LINE on standard error and end with CODE
``unhealthy``           answer, and say that it is not healthy
``silent``              answer nothing
``stubborn``            ignore SIGTERM
``shout N [WIDTH]``     print N lines at once, of at least WIDTH characters
``mutter``              print a line on standard error without its newline, and end with code 1
``orphan SECONDS``      leave a child behind that lives for so long
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import zmq

from zraft import config
from zraft.codec import REQUEST_KINDS, Codec
from zraft.hooks import linux
from zraft.requests import Outcome, Reply, Status


def main() -> None:
    settings = config.load(sys.argv[1])
    node_id = sys.argv[2]
    linux.die_with_parent(int(sys.argv[3]))
    act = Path(settings.path).with_name(f"{node_id}.act")
    words = act.read_text().split() if act.exists() else [""]
    obey(words)
    codec = Codec(settings.cluster_id, node_id, 1)
    router = zmq.Context().socket(zmq.ROUTER)
    router.bind(settings.node(node_id).client)
    print(f"{node_id} is up", flush=True)
    leader = settings.nodes[0].id
    while True:
        identity, *frames = router.recv_multipart()
        if words[0] == "silent":
            continue
        request = codec.decode(frames, REQUEST_KINDS).message
        role = "leader" if node_id == leader else "follower"
        status = Status(
            *(node_id, settings.node(node_id).client, role, 1, leader, leader, 1, 1, 1, 0, 500),
            healthy=words[0] != "unhealthy",
            uptime_s=1.0,
            pid=os.getpid(),
            guard_pid=1,
        )
        reply = Reply(request.id, Outcome.DONE, msgspec.to_builtins(status), leader)
        router.send_multipart([identity, *codec.encode(reply)])


def obey(words: list[str]) -> None:
    match words:
        case ["exit", code, *rest]:
            print(" ".join(rest), file=sys.stderr)
            sys.exit(int(code))
        case ["stubborn"]:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        case ["shout", count, *width]:
            least = int(width[0]) if width else 0
            print("\n".join(f"line {number}".ljust(least, ".") for number in range(int(count))), flush=True)
        case ["mutter"]:
            sys.stderr.write("these are my last words")
            sys.exit(1)
        case ["orphan", seconds]:
            subprocess.Popen(["/bin/sleep", seconds], start_new_session=True)


if __name__ == "__main__":
    main()
