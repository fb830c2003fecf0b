"""What is left when a cluster is lost: a new one made of a saved snapshot (`restore`), or of a survivor's log (`recover`).

Both make a state that may be older than what clients have seen, and a cluster that goes on from it. So both *leap*
(`leap.begun_anew`): term, index and the machines' revisions go on `leap.BY` above any that is found. A fencing token is a term, a
session's number an index, a lock a revision: none of them was ever given out by the history that is lost.

Neither touches what it reads. A data directory is written whole beside, and renamed in the end.

**Sessions.** A cluster *restored* from a file has another cluster id, so no client of the old one can reach it under its old session:
its sessions are ended. A cluster that is *recovered* keeps its id, and clients that wait for an answer ask again under the session that
they have. Its sessions are kept, so that what the survivor has applied is answered and not applied twice. Had the index not leapt, a
session that was registered in an entry which is lost could be given to another client.

**The survivor has another disk_id** after a recovery, as whoever lost its data. Should members that were believed lost come back with
their old membership, they count it for nothing, and so can neither follow it by its term nor overwrite it; it knows none of them.
"""
