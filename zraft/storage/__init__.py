"""The write-ahead log: what a node must not forget, and format 1, in which it lies on the disk.

A node may answer a vote or acknowledge an entry only once the disk holds it (paper figure 2, "persistent state"). This
package keeps that state: term and vote, the log, and where the log begins after a snapshot. `Storage` writes it and
`recovery` reads it back; both see the disk through the `FileSystem` seam, so that a simulator can lose power between
any two operations and run this very code. Read `records`, then `replay`, `recovery`, `segments`, `wal` and `snapshots`. `verify` reads
a whole directory without stopping at what is damaged, `rebuild` writes one from a snapshot, and `snapshotfile` is a snapshot anywhere else.

Three rules carry everything else:

1. **A turn is atomic.** What the node wants written in one turn of its loop is one *turn*: one write, one sync. Its
   first record says that it is the first, its last that it is the last; recovery takes a turn whole or not at all.
2. **A turn begins on a sector boundary, and no sector of a turn is written twice.** So a write that power cuts short
   can harm no byte that an earlier sync has made durable, and a turn proves by being there that all turns before it
   were synced. Hence the difference between a torn tail and damage: a broken turn with none behind it was cut off by a
   crash and is trimmed; a broken turn with an intact one behind it was once durable, and the log is refused.
3. **A segment is written by one process, front to back.** To open a log is to begin a new segment, which repeats the
   last turn found. What a process left in memory but perhaps not on the disk, even after a failed sync, is so written
   afresh before anybody relies on it, and no torn byte is ever patched.

Format 1
========

All integers are little-endian and unsigned; a sector is 512 bytes; CRC is CRC-32 as of zlib.

The data directory (mode 0700) belongs to the log, and to the node's event file beside it::

    lock                    flock of the process that uses the directory; holds its process id in decimal
    0000000000000001.wal    segments (mode 0600), named by their serial number in 16 decimal digits or more
    0000000000000002.wal
    snapshots/              two snapshots, named by index in 16 digits or more and term: 0000000000000400-3.snap
    events/                 the event file: see `zraft.eventfile`; the log neither reads nor needs it

A serial number is never used again, not for a recycled file either: recycling is renaming to a new number. Names are
made durable (the directory synced) before anything is written that counts.

Segment
-------

====== ======== ===================================================================================
offset bytes    what
====== ======== ===================================================================================
0      512      header
512    512      slot 0
1024   512      slot 1
1536   2560     zero; reserved
4096   to end   turns, each from a sector boundary, padded with zeros; then zeros or what was there
                before the file was recycled
====== ======== ===================================================================================

A file is made ahead of its use at full size, filled with zeros and synced, so that a sync in the hot path has no
metadata to write. A turn that does not fit opens the next segment; one bigger than a segment makes that one segment
bigger. The header is written together with the segment's first turn, in one write, so a segment is in use exactly if
its header and its first turn are intact; else it is *unused*: made ahead, recycled, or cut off at its very first write.

Header
------

====== ======== ===================================================================================
offset bytes    what
====== ======== ===================================================================================
0      8        magic, ``zraftwal``
8      4        format version: 1
12     4        CRC over these 512 bytes with this field zero
16     8        serial number; equals the file's name, or the file is recycled and not in use yet
24     8        cluster id
32     16       disk_id: minted once per data directory, the same in each segment
48     8        serial number of the previous segment; 0 in the first
56     8        where the previous segment ends: whatever it holds from this offset on does not count
64     8        index that the next entry had when the segment was begun
72     1        1 when the file is recycled: what lies behind the last turn is then older, not torn
73     1        length of the node's name
74     64       the node's name in UTF-8, padded with zeros
138    374      zero; reserved
====== ======== ===================================================================================

The last segment in use and the chain of its predecessors are the log. A file off the chain is a leftover and is
removed. The chain may end early, with segments removed, only where a snapshot_mark covers all that they held.

Slots
-----

A slot tells of one turn: where it ends, and what the node has acknowledged by it, so that a log that ends too early can be
told from one that was torn. Both are zero until one is written. They are written in turn, each in the write of the turn
behind the one that it tells of, or by itself when none comes within 50 ms, so that a slot is never ahead of what is durable;
the one with the highest sequence number over all segments counts.

====== ======== ===================================================================================
offset bytes    what
====== ======== ===================================================================================
0      4        CRC over the other 508 bytes, seeded like a record's at this offset of the segment
4      4        zero; reserved
8      8        sequence number, rising over all segments: of the turn that it tells of, the segment's
                serial number times 2**32, plus the offset where it ends divided by 512
16     8        term
24     8        term of the last acknowledged entry; 0 for none
32     8        index of the last acknowledged entry; 0 for none
40     1        1 when a vote was given in `term`, else 0
41     1        length of the name of who has the vote
42     64       that name in UTF-8, padded with zeros
106    406      zero; reserved
====== ======== ===================================================================================

Record
------

Records of a turn lie one behind the other without padding.

====== ======== ===================================================================================
offset bytes    what
====== ======== ===================================================================================
0      4        CRC over the other 8 header bytes and the payload, begun from the record's seed
4      4        length of the payload
8      1        kind
9      1        flags: 1 first record of its turn, 2 last record of its turn
10     2        zero; reserved
12              payload
====== ======== ===================================================================================

The seed is ``(crc32(serial number as 8 bytes) + offset of the record in the segment) mod 2**32``, so a record is valid
in one segment and at one place only: in a recycled file an old one never is.

==== ============= ================================================================================
kind name          payload
==== ============= ================================================================================
1    entry         term u64, index u64, time_ms u64, kind u8, then the data, opaque
2    hard_state    term u64, 1 u8 and the name of who has the vote in UTF-8, or 0 u8 for no vote
3    truncate      index u64: entries from this one on are gone
4    snapshot_mark term u64, index u64, time_ms u64, then the membership, opaque: entries up to
                   (term, index) may be gone, and the log starts after it
==== ============= ================================================================================

The first turn of a segment begins with the hard_state in force, followed by the snapshot_mark in force if there is one,
so no older segment is needed for either. Records mean, in their order:

- *entry*: has the index behind the last one's and a term not below it.
- *hard_state*: replaces the one before; its term does not fall, and a vote does not change within its term.
- *truncate*: the index is above the snapshot_mark's and at most one behind the last entry.
- *snapshot_mark*: never goes back. A log that holds its very entry keeps what is behind it; any other is dropped whole
  (paper §7).

Snapshot
--------

A file holds one snapshot. It is written under another name (``saving.part`` the node's own, ``arriving.part`` one that the leader
sends), synced, renamed, and the directory synced: only then it counts, and only then the log may begin behind it. The node's own is
written up to its last sync by a process of its own, which sees the state as it was when it was forked (`zraft.snapshotchild`); the
thread that writes the log looks at head and size and renames it, behind all turns that were under way by then. What is found
under these names at a start is removed; what is found damaged gets ``.damaged`` behind its name, and the one
before it stands in: the log keeps what every kept snapshot needs.

====== ======== ===================================================================================
offset bytes    what
====== ======== ===================================================================================
0      8        magic, ``zraftsnp``
8      4        format version: 1
12     4        CRC over all that stands before the data, with this field zero
16     8        cluster id
24     8        term of the last entry that it stands for
32     8        index of that entry
40     8        cluster time of that entry, in milliseconds
48     8        size of the data
56     32       SHA-256 of the data
88     4        length of the membership
92     420      zero; reserved
512             the membership in force at that entry, a msgpack map; padded with zeros to a sector
                boundary, where the data begins
====== ======== ===================================================================================

Damage
======

A turn that is broken, with an intact one behind it, was durable once: the log is refused, with the place, and so is any
file that is gone, cut short or under another's name, which the chain shows. A log that just ends too early, with its
last turn, its last segment or more unreadable, looks as a crash leaves it, but for the slots: what the newest of
them tells of is missing. Such a log is opened. The term and the vote are taken from the slot, and what was acknowledged is known to be
lost (`Recovered.acknowledged`): until a leader has sent it again, the node elects nobody who lacks it, and is elected by nobody (see
`zraft.raft`). That stays so over restarts, since the slots of the segments to come go on telling it. What can't be read is kept aside,
with ``.damaged`` behind its name.

What recovery cannot tell is damage to what was written in the last 50 ms before a crash, and not told of in a slot by then:
it looks like a write that the crash cut off, and is trimmed. And a directory whose segments are all gone is blank; the cluster knows
it by its new disk_id.
"""

from zraft.storage.records import Record, SnapshotMark, Truncate, scan
from zraft.storage.replay import Recovered
from zraft.storage.wal import Storage

__all__ = ["Record", "Recovered", "SnapshotMark", "Storage", "Truncate", "scan"]
