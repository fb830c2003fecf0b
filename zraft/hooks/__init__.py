"""Scripts that run when a node's role changes, and the process that runs and ends them.

Read `decide` first (which script is due, and what it is given), then `guard` (what the guard promises), then `run` (how a
script is brought to its end, with everything that it has started).

On the node's side: `check` refuses an unfit script when the node starts, `decide` turns role changes into orders, `process`
is the node's end of the two pipes. On the other side, in a program of its own that must be ready at once and therefore
loads nothing but the standard library and these files: `guard`, `run`, `spawn`, `output`, `linux`. Between them: `wire`.

The guard is no part of consensus and takes no decision: it obeys the newest order, and ends what runs when orders can come
no more. What it cannot promise yet: a leader that is cut off or frozen learns late that another leads, and until then its
script runs beside the other's; the orders carry a deadline for that, which nobody sets so far. A script whose node and
guard are killed at the same moment dies with them, but not what it has started.
"""
