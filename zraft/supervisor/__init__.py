"""One process per node, started, watched, and started again: what `zraft cluster` runs.

The supervisor is an actor like a node: one loop (`loop.Supervisor`) over everything that can happen to it, and no thread but
the one that writes to the terminal. It reads in this order:

`directory`, `launch`, `background`
    From ``zraft cluster up`` to a configuration, a lock and an environment; in the foreground or detached.
`process`, `output`
    A node's process and its pipes; lines on a terminal, honcho-style.
`backoff`, `health`, `member`
    The life of one node, with time as an argument: when it is started again, when it counts as hung, when it has failed.
`polls`, `election`, `view`
    Asking the nodes themselves how they are, and what their answers amount to.
`control`, `tasks`, `verbs`
    Commands: a JSON frame in, a generator that acts and waits for the effect, a JSON frame back.
`shutdown`
    Followers first, the leader last, then what the guards still run; nothing is left.
`journal`
    Reading the nodes' log files; needs no supervisor.

How nothing is ever left behind:

- Each node is told its parent's number and ends with it (PR_SET_PDEATHSIG), so SIGKILL of the supervisor ends the nodes;
  each guard ends with its node's pipe.
- The supervisor is a child subreaper: what a dead node leaves, its guard above all, becomes the supervisor's own child. It is
  done when the kernel says that it has no child left, not when it believes so.
- Children are reaped in one place, by number and without a race (waitid with WNOWAIT), so a signal never meets a stranger.
"""
