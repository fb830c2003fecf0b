"""The simulator: a whole cluster in virtual time, under every fault, watched by somebody who sees all of it.

Nodes here run the production code: the replica with its core, the log, sessions, machines and hook decisions, over seams that a
simulation supplies. Time is a heap of events, all dice come from one seed, and so a seed is a bug report: the same seed
gives the same run, event by event, in any process.

Read in this order: `plan` (what a seed draws: which faults there are, how often, how big things are), `timeline` and `dice`
(time and chance), `network`, `disk` with `diskthread` and `durable`, `scripts` and `clocks` (the world), `process` with `seams`
(one life of a node: the production replica and the loop around it), `node` (what outlives a process), `faults` and
`membership` (who makes things go wrong), `violation` and `invariants` with `succession` and `states` (what must hold, and who watches), then
`cluster`, `liveness` and `run`, which put it together: a safety phase in which anything may happen and nothing may be
wrong, then a liveness phase in which nothing happens and things must be done.

What is simulated
=================

*An event* is one thing taken off the heap: a message that arrives, a sync that ends, a turn of a loop, a script that starts or ends, a
fault, a step of a client. What finds itself overtaken (a timer that was set anew) is none.

*A node* is three actors with queues between them: the loop, the thread that writes, the guard. So a disk stalls while heartbeats
go on, and scripts run while a loop stands still.

*A disk* has two images, what is visible and what is durable. A write becomes visible and durable when its sync ends; what ends
before that ends in the midst of it, at any operation. Bits flip at rest, in what slots tell of: the log must refuse to start, or
start and know what it lacks, and then stand for that (`Durable.found_less`). Lost, misdirected and stale sectors are no kinds of
faults here, since the log can answer them only by refusing to start, or not at all.

*A machine that sleeps* (`suspend`) stands still with disk and guard, while its clock runs on: that is what CLOCK_BOOTTIME does.

What is left out: real sockets and their authentication, processes and their signals, memory that runs full; for these there are tests with
real processes.
"""
