#!/bin/sh
# Runs on the node that has become the leader, once per term. This one announces it and ends.
#
# Put here what exactly one machine is to do: start a job, claim an address, promote a database. A script that goes on
# running is a service: when this node leads no more it gets SIGTERM, and SIGKILL after ZRAFT_GRACE_MS milliseconds.
#
#   $1 event   $2 role   $3 node   $4 term        (the same is in ZRAFT_EVENT, ZRAFT_ROLE, ZRAFT_NODE, ZRAFT_TERM)
#
# ZRAFT_FENCING_TOKEN is a number that only ever rises. Pass it to whatever you write to, and have that refuse a token
# lower than the highest it has seen: then even a machine that was frozen for an hour cannot do harm when it wakes up.
set -eu

echo "leader: $ZRAFT_NODE leads $ZRAFT_CLUSTER in term $ZRAFT_TERM (token $ZRAFT_FENCING_TOKEN, reason $ZRAFT_REASON)"
