"""What must hold: each invariant under its number and sentence, and what is raised when it does not.

The numbers are stable: they are what a report, a test and a planted bug are filed under. Those that need rooms that are
not built yet are added with the room: leases (I14), damaged nodes that are refilled (I19), offices (the rest of I23).
"""

from typing import Final

SENTENCES: Final = {
    "I1": "a term has at most one leader, ever",
    "I2": "logs that share an entry share all before it; a leader only appends; a log has no gap, and terms never fall along it",
    "I3": "a new leader holds every committed entry",
    "I4": "the same entries bring about the same results and the same state everywhere",
    "I5": "what is committed at an index never changes",
    "I6": "what is committed is durable on a quorum",
    "I7": "what a message promises is durable at its sender",
    "I8": "term, vote, commit and what is applied never go back; the durable term survives a restart",
    "I9": "applied <= committed <= last, and nobody is believed to hold more than its disk does",
    "I10": "a leader commits by an entry of its own term; nobody else commits first",
    "I11": "the membership in force is the last in the log; one change at a time; successive quorums intersect",
    "I13": "a read sees all that was committed when it was asked for",
    "I15": "a batch of a session is applied once",
    "I16": "a snapshot stands for the whole state: restored, it is the same again",
    "I17": "recovery finds exactly what was durable, and what was being written whole or not at all",
    "I18": "a process whose disk has failed says nothing any more",
    "I20": "a request is answered at most once, and nobody is answered who has not asked",
    "I21": "what waits is bounded, and counted right",
    "I22": "damaged input is rejected, and nothing else raises",
    "I23": "a leader script starts once in a term, at the node that leads it",
    "I24": "a handover is over when its time is",
    "L1": "once all is healed there is a leader within ten election timeouts, every request ends, and all nodes become equal",
    "L2": "a connected majority makes progress within twenty election timeouts, and then changes its leader twice at most",
    "L3": "a leader whose disk stalls is replaced",
    "L4": "a node that is behind catches up",
    "C1": "clients were told what the committed log brings about, in the order in which they asked",
    "C2": "the operations on each key could have happened one by one, each while its client waited",
    "C3": "what clients appended is there once, what failed is not there",
}
"""By number, in English."""


class Violation(AssertionError):
    """An invariant does not hold.

    Parameters
    ----------
    id
        Which one; a key of `SENTENCES`.
    found
        What was found instead.
    """

    def __init__(self, id: str, found: str) -> None:
        super().__init__(f"{id} does not hold: {SENTENCES[id]}: {found}")
        self.id = id
        self.found = found
