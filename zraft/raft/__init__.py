"""Raft, explained through the code that does it, for somebody who has never seen it.

Some machines are to keep one list of entries, the *log*, so that all of them hold the same entries in the same order,
though any of them may crash and come back, and messages may be lost, doubled, late or out of order. If each then
carries out the entries in that order, all of them are copies of one machine, which does not fail as long as more than
half of them work. Raft does it with one idea: elect a leader, and let it alone decide what comes next. All the rest
makes sure that at most one is believed at a time, and that a new one knows what an old one has promised.

"Paper" is *In Search of an Understandable Consensus Algorithm (Extended Version)*, by Ongaro and Ousterhout, 2014;
"thesis" is Ongaro's *Consensus: Bridging Theory and Practice*, of the same year.

The files, in the order in which to read them
=============================================

`types` and `messages` are the nouns, and what nodes say to each other. `ready` is what the core wants done; a first
look at `core.Raft`, at `propose`, `step`, `ready` and `written`, shows where all the rest has its place. Then the small
machines, each one idea: `quorum` (what a majority has reached), `membership` (who belongs), `changes` (who is to
belong), `log`, `snapshots`, `writes` (what is on its way to the disk), `progress` (what a leader knows of one
follower), `reads`. `state` holds what every role shares; `follower`, `candidate` and `leader` are the roles, and a
leader has two helpers, `roster` (who takes part) and `handover` (leadership given away on purpose). `voter` answers
whoever asks for a vote, `terms` is the gate that every message passes, and `core` moves a node from role to role.
`invariants` says what must be true of one node, and `describe` how it all reads. The histories in
``tests/raft/scenarios`` show each rule below at work, line by line.

Nothing in this package opens a socket or a file, looks at a clock or throws dice of its own. Messages and the time
are handed in, a `Ready` comes out; so any history can be played again, to the letter.

The life of one command
=======================

`Raft.propose` gives the leader's log another entry (`Leader.append`). The next `Ready` holds an `AppendEntries` for
each follower (`Leader.flush`), to be sent at once, and a `Write` for the leader's own disk. A follower that finds the
message to match its log appends (`Follower._append`), and acknowledges when its own disk has it. Each acknowledgement,
and each report of the leader's own disk (`Raft.written`), may complete a majority: `Leader.maybe_commit` then calls the
entry *committed*, and the next `Ready` hands it out in `committed`. Whoever drives the core carries it out on the state
machine, and only then answers the client, with the result. Followers hear of the commit with the next message, and
carry the entry out too.

What a node keeps
=================

On its disk, because a crash must not change it (`HardState`, `Entry`): the number of the *term* it is in, who has its
vote in that term, the log, and snapshots of what was applied. In memory alone: how much of the log is *committed*,
which means that it will never be lost or replaced, and how much of that is applied. Both begin at the end of the newest
snapshot, at zero without one, and what goes beyond is found out anew.

An entry is named by its index and the term of the leader that made it; ``7@3`` is entry 7, of term 3. This pair is
all that Raft ever compares.

Terms, and the one gate
=======================

Time is cut into terms, numbered upwards. Each has at most one leader; some have none. Every message bears the term of
its sender, but for pre-votes and their grants, which bear one that nobody has taken yet. `core.Raft.step` compares it
with ours before any role sees the message, and `terms.TermGate` says what follows. Is it newer? We take that term and
follow, whatever we were, since somebody knows more than we do; except that a pre-vote changes nothing, and that whoever
hears its leader is not moved by a request for its vote. Is it older? We answer a request for our vote, and what a
deposed leader sends, with our own term, and drop all else. So no role sees a message of another term, save the grant of
a pre-vote; late messages of the same term still reach it.

Elections
=========

A follower that hears nothing from a leader for a while, a time drawn by lot so that two rarely wake together, takes
the next term, votes for itself and asks the others (`candidate`). A node votes once in a term, first come, first
served, and any two majorities share a node: hence at most one leader per term. The vote belongs to the *term*. It is
cleared where the term rises, and nowhere else: not on becoming a follower of the same term, not by a restart. That is
why it must be on the disk before anybody hears of it.

One more condition (paper §5.4.1): a node votes for those alone whose log is *at least as up-to-date* as its own, which
means that the last entry's term is newer, or equal and the log at least as long. What is committed lies on a majority;
whoever is elected has asked a majority; so one voter holds the entry. It is not evident that a voter who compares only
*last* entries always turns away a candidate that lacks this one. It is true only because of the way in which a leader
commits: see "When is an entry committed?" below. So no committed entry is ever missing from a new leader's log, and no
leader needs to be sent what it missed.

Three refinements keep elections rare. With a *pre-vote* (thesis §9.6) a node asks whether it *would* win before it
takes a term: one that was cut off for an hour has not driven its term up in the meantime, so its term deposes nobody on
its return. By *check quorum* (thesis §6.2) a leader that no majority answers steps down, so that nobody waits for it in
vain. And through *leader stickiness* (thesis §4.2.3) a node that hears its leader neither grants a request for its vote
nor takes the term of one; a single bad link then cannot unseat a leader whom everybody else hears. They belong
together. Without stickiness, a node that alone does not hear the leader wins a pre-vote as soon as its log is as good
as others', and unseats it. Without the check of the quorum, stickiness keeps a leader that everybody hears and that
hears nobody. Without pre-votes, a returning node's high term must be taken sooner or later, and that is the end of the
leader. When a leader hands over on purpose (thesis §3.10), it tells the successor to stand at once, and stickiness
makes way for that request.

Log matching
============

The leader appends to its own log, never changes it, and sends `AppendEntries`: some entries, and the name of the one
right before them, `prev`. A follower that does not hold `prev` refuses. Otherwise it compares: an entry that it holds
with *another term* is a leftover of some deposed leader, and goes, with all after it; what it holds already stays,
even if the message ends before its log does, for messages arrive late and twice. By induction, if two logs hold an
entry of the same name, they are equal up to there (paper figure 3). A refusal names the follower's last entry that
could match, so the leader goes back by whole terms, not by single entries (`Log.last_not_after`). Until the place is
found it sends one message at a time; then it runs ahead of the answers (`progress`).

When is an entry committed?
===========================

When a majority has it on disk, one would say. That is almost right, and figure 8 of the paper tells why only almost.
Our version of it is ``tests/raft/scenarios/figure_8.txt``.

Five nodes, all with ``1@1``. In term 2, n1 leads, writes ``2@2``, and gets it to n2 before it crashes. In term 3, n5
leads, elected by n3 and n4, who have not seen ``2@2``; it writes ``2@3`` for itself alone, and crashes. Now n1 is back
and leads term 4, elected by n2 and n3. It appends ``3@4`` to its own log, and goes on with its old entry: ``2@2`` gets
to n3, ``3@4`` to nobody (the message was cut there)::

    n1  1@1 2@2 3@4
    n2  1@1 2@2
    n3  1@1 2@2
    n4  1@1
    n5  1@1 2@3

``2@2`` lies on n1, n2 and n3, three of five. Committed? Then n1 crashes, n5 returns and asks for votes in term 5: its
last entry is of term 3, that of n2 and n3 of term 2, that of n4 older still, so all three say yes, by the rules. n5
leads, and its log replaces ``2@2`` everywhere. A majority had it, and it is gone.

Counting copies proves that an entry is *held*, and not that nobody with a better claim is around. So a leader counts
for entries of its **own term** only (`Leader.maybe_commit`). Had n1 got ``3@4`` to n2 and n3, then n5 could have won no
majority, for 4 is newer than 3; ``3@4`` would have been safe, and with it everything before it. This is why a new
leader at once appends an entry that says nothing, the *no-op*: without it, a quiet leader could never commit what it
inherited. For people it bears the `Ballot` by which the leader was elected, so that the log holds its own history.

A commit sends no message of its own. Followers hear of it with the next `AppendEntries`, and take it no further than
the last entry that *this* message has verified (paper figure 2, rule 5), since what comes after that may be a leftover
that only looks committed; or with the next `Heartbeat`, in which the leader names no more than that follower has
acknowledged.

What may leave when
===================

A promise that a crash can break is a lie. "You have my vote" and "I hold your entries" are promises; they wait until
the disk has what they speak of. `State.promise` puts them in the next `Write`, behind all that is under way, and
whoever drives the core sends them when that write is durable; with nothing to wait for, they leave at once. What
promises nothing leaves at once anyway (`State.send`): a leader's entries, which need not be on its own disk yet (thesis
§10.2.1), heartbeats and the answers to them, pre-votes; provided only that the sender's own term is durable. A
candidate's question *is* a promise, that of its own vote. One function outside this package,
`zraft.replica.Replica._carry_out`, begins these things in the order of the fields of `Ready`; the `responses` of a
write wait until it is durable.

Disks take milliseconds and sometimes seconds, and a node does not wait for them: it handles messages while writes are
under way, and hears later which of them are durable (`Raft.written`). Three things follow. A leader counts its own
copy only from then on, and may well commit without it, through others. Entries that have been truncated meanwhile do
not become durable by an old write's report, though others stand in their places now (`writes`). And a promise is
fixed when it is made: it leaves as it was, or, when the term has risen in the meantime, not at all.

Reads
=====

A leader may have been deposed without knowing it; were it to answer a read out of its own memory, the answer could be
stale. Reads are to be *linearizable*: each tells of everything that was finished before it was asked. So it notes how
far it has committed, starts a heartbeat round *after* the read has come, and answers when a majority has responded to
that round and all that was committed is applied: at some moment after the question it was still the leader, so nobody
else had committed anything newer (`reads`, thesis §6.4). A new leader waits with all this until an entry of its own
term is committed, since it may not know yet how far its predecessor had come. Reads that come while a round is under
way share the next; no read writes to a disk.

A follower can answer reads too: it asks its leader from which index on it may, and the leader confirms that with a
round like any other (`reads.ForwardedReads`). Each question has a number never used before, so that a late answer to
another one confirms nothing.

Changes of membership
=====================

Who has a vote stands in the log, like everything else, and a node goes by the newest membership in its log, committed
or not (`membership`). Were the voters simply replaced, some nodes would count majorities of the old ones while others
already count those of the new, and two such majorities need not share a node: two leaders in one term. So a change goes
through a *joint* membership, in which every decision, election or commit, needs a majority of the old voters *and* a
majority of the new (paper §6, `changes`, `quorum`). Only when the joint membership is committed does the leader append
the new one alone. Whoever leads in between finds the joint one in its log and carries the change through
(`Roster.committed`).

Nodes join as *learners*, who get the log and whose vote does not count; as long as the voters stay the same, no joint
membership is needed. The leader makes voters of them, unless it is told to leave that to somebody, once they have
followed it closely enough that their vote costs nobody any waiting (thesis §4.2.1). A change is refused while another
is open, before the leader has committed anything in its term, and when fewer than a majority of the future voters
answer now, or all of them have priority 0. A leader that removes itself counts itself among the old voters only, so not
for the new membership, and steps down when that is committed. A node that is removed and has not heard so may still
stand, as the others may need its log (thesis §4.2.2); those who have left, or were never let in, do not.

Who leads, and who should
=========================

A leader can be asked to hand over (thesis §3.10). It also does so by itself: to a node of higher *priority* that has
had everything for a while, and to anybody when its own disk stalls, since its heartbeats would go on for ever while
nothing that its disk must do is ever done (`handover`). A node of priority 0 votes and leaves it to others to lead, by
waiting much longer before it stands; so it leads only when nobody else can be elected, as when it alone holds what may
be committed, and for as long as it takes to bring another up to date.

Snapshots
=========

A log that is kept whole grows for ever, and a start replays all of it. What has been applied can be said more briefly:
by the state that it led to. So now and then each node, by itself, writes its state down as a *snapshot*, and forgets
the entries that it stands for (paper §7, `snapshots`, `Log.compact`). It names the last of them, so that what follows
can be matched with it, and holds the membership in force there, half a change too. Two are kept, and the log from the
older one on.

A leader whose log begins after what a follower lacks sends that follower its newest snapshot, in pieces, each when the
one before has arrived (`InstallSnapshot`, `Progress`). The follower's log begins anew after it (`State.install`): but
not if it holds the snapshot's very last entry, for then it holds all that the snapshot stands for, and perhaps more
that it has acknowledged. What a snapshot stands for is committed; so a message that begins before it is no conflict
(`follower.Follower._append`), and no term that was compacted away is ever taken for that of a missing entry
(`Log.term_at`).

Disks that lose everything
==========================

All proofs above assume that a node remembers its promises. One whose data directory is lost comes back under the same
name with an empty memory; it might vote twice, and it has acknowledged entries that it no longer holds. So each
directory has a name of its own, its `disk_id`, which every request for a vote, and every answer to a leader or
candidate, bears; the membership registers the one under which the leader has met each node. Whoever comes with another
one counts for nothing: no vote, no acknowledgement, no answer to a round (`terms.TermGate.comes_from_lost_data`,
`roster.Roster.counts`). The lost node cannot know that it is one. While its log is empty it may still stand, for it may
be in a fresh cluster; whoever knows it under another directory does not hear it. Once it has a log that does not name
its own directory, it stands for no election; and in both cases it votes only for a candidate whose log is empty, or
names the voter's present directory (`State.may_stand`, `State.may_vote_for`). It comes back in by a change that renews
it: it begins anew, as a learner.

A disk may also lose the end of a log and know it: apart from the log it keeps a note of the last entry acknowledged,
which is there still after another crash (`Recovered.acknowledged`). Such a node keeps its promises without the entries.
It judges candidates by the log that it had, stands for nothing itself, and tells its leader with each answer to a
heartbeat from where on it needs them again (`State.lacks_entries`, `Roster.entries_lost`).

A fresh cluster has registered nobody, and empty logs cannot contradict each other: so it may elect its first leader,
which registers its voters in its very first entry, before the no-op, and everybody else on first contact. Entries are
sent to registered directories only; whoever holds any is therefore known.

Time in the log
===============

Entries bear *cluster time*, in milliseconds (`Leader.time_ms`): what is to expire does so by it, the same on every node
and whenever the log is replayed. It goes on from the log's own, and counts only spans in which a quorum answered, so
that a leader that was deposed cannot put it forward.

What is left out
================

- *A bootstrap that survives anything.* If a node loses its data before the rest of a majority has heard that it was
  registered, the blank ones cannot tell themselves from a fresh cluster. And if the first leader is gone for good
  within the moments before it has met everybody, those it has met may be too few to elect another, and the rest, being
  blank, do not vote for them.
- *Lease reads* (thesis §6.4.1). They save a round and rest on clocks.
- *Peers that lie.* A message is checked for what no honest node can say (`messages.flaw`); one that is well-formed
  and false is believed.
- *Witnesses, quorums of other sizes, several groups on one node.* One group, every voter with a whole log, majorities.

Its relatives
=============

Whoever knows ZooKeeper's ZAB, or KRaft, in which Kafka keeps its metadata, finds the same parts under other names:

=============  ==============================  ================================  ======================================
what           Raft, as it is here             ZAB                               KRaft
=============  ==============================  ================================  ======================================
epoch          the *term*                      the *epoch*                       the *leader epoch*
zxid           ``index@term`` names an entry   the *zxid*: epoch in its high     *offset* and epoch of a record
                                               half, a counter in its low one
elected is     whoever asks first, and whose   the newest history that a quorum  as in Raft
               log nobody in a majority is     knows of; equal ones by number
               ahead of                        of the server
a new leader   appends its no-op               takes over the newest epoch,      appends a record that says who leads
begins         (figure 8)                      brings a quorum in line, and
                                               only then proposes
entries        are sent by the leader          are sent by the leader, over      are fetched by followers; what they ask
                                               connections that keep order       for says how far they are
committed is   what a majority has on disk     what a quorum has on disk; a      what a majority has fetched: the
                                               message of its own says so        *high watermark*
leftovers      are found by ``prev``, and      go while a follower is brought    are found by the epoch of what is
               truncated                       in line                           fetched, and truncated
observer       the *learner*, on its way to    the *observer*: never votes, and  the *observer*: every broker that is no
               a vote, or manual               serves reads                      voter
controller     whatever the leader starts      none; it is built on top, of      who leads the metadata quorum is the
               beside it, under its term       ephemeral nodes                   active *controller*
ISR            none: a majority, whoever is    none                              for the data of partitions, not for
               in it                                                             metadata: *all* replicas that are in
                                                                                 sync; the controller says which are
membership     joint, any change at once       through old and new quorum        one voter at a time
reads          by a round of heartbeats, at    local, and may be old; ``sync``   each broker from its own copy
               the leader or for a follower    first, if they must not be
=============  ==============================  ================================  ======================================
"""
