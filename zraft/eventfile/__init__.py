"""The event file: what happened at one node, kept on its disk across restarts, within bounds.

Each line is one `events.Event` as JSON, and ends in a newline. They lie beside the node's log::

    data/NODE/events/events-0000000001.jsonl        everything but heartbeats
    data/NODE/events/heartbeats-0000000001.jsonl    heartbeats, with events.heartbeats: they must not push out the rest

A file of 1 MiB is full and the next one begins; of each sort the newest 16 are kept. `ring` does that, and `keeper` is the
thread to which the node's loop hands events, for the loop must wait for no disk.

**What "durable" means here.** An event is written as soon as the thread gets it, within a millisecond or so, and what is
written outlives the process, however that ends. It outlives a loss of power once it is synced, a second later at most. A
line that a crash has cut off is dropped by the next start; one that can't be read is passed over by whoever reads. An
event file that can't be written, on a full disk say, costs events, which are counted, and a line in the log, and nothing else:
no promise rests on it, so it never stops or delays the node.
"""
