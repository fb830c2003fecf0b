"""What a cluster does, on a terminal: SUB sockets in, a table and lines out.

`sources` holds the sockets of each node, `feed` puts what comes from them in order, `view` makes the table's rows of it,
`lines`, `table` and `screen` show it, and `run` is the loop around them. `feed`, `view`, `lines` and `table` are pure.

Beside it, `follow` follows what nodes have recorded. `leadership` knows who leads, `reaction` (pure) when a command that follows the leader
runs, and `leaderwatch` is the loop of that; `asking` asks once, and has leadership handed over.
"""
