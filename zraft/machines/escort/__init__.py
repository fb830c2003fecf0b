"""The escort: a formation of nodes that moves over a plane, its leader at the head.

`commands` is what client and machine agree on, with `plane`, the arithmetic; `store` is the machine. The rules:

* The first leader starts at [0, 0] and is the head. Each other member has its place, an offset from the head, so
  whatever moves the head moves all of them by the same delta.
* A new leader takes the head's place, and the old one the place that the new one had.
* A member without a place gets one by lot: whole units, at most 50 left or right of the head and at most 50 before or
  behind it, never the head's own place nor another's. The leader draws it, as an errand (`zraft.machines.machine`), and
  proposes what it drew: so the dice are in the log, and of two leaders' draws the first in the log holds. Until then,
  for a moment, its position is not known. Whoever leaves the membership loses its place.
* A march is replicated as its goal. The leader proposes its steps one by one, each under its number, and a step is
  taken only if it is the march's next: whoever leads, and however often leaders change, none is taken twice, and the
  next leader asks for the one that is missing. A new march replaces the old one. A client's move during a march moves
  the formation as ever; the march goes on to its goal from there.
* Every move and every step is a row of the history, which keeps the newest 10,000.

Positions are whole thousandths of a unit in the machine, the log and the snapshot: integers add up to the same on every
node in any order, and what a client wrote as 0.1 is 0.1.
"""
