#!/bin/sh
# Runs on a node when it starts, and whenever it leads no more. This one announces it and ends.
#
# Put here what undoes leader.sh: stop the job, give the address back, demote the database. It must be safe to run twice,
# and on a node that never led. The next script of this node waits for it, at most ZRAFT_TIMEOUT_MS milliseconds.
#
#   $1 event   $2 role   $3 node   $4 term        (the same is in ZRAFT_EVENT, ZRAFT_ROLE, ZRAFT_NODE, ZRAFT_TERM)
#
# ZRAFT_LEADER is who leads now and ZRAFT_LEADER_ENDPOINT where to reach it; both are empty while nobody is known to.
set -eu

leader=${ZRAFT_LEADER:-nobody yet}
echo "follower: $ZRAFT_NODE follows in $ZRAFT_CLUSTER, term $ZRAFT_TERM (leader: $leader, reason $ZRAFT_REASON)"
