"""Which links a partition cuts: held against a twin that looks at every pair of nodes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zraft.client.faults import between
from zraft.errors import InvalidRequest

NODES = ["n1", "n2", "n3", "n4", "n5"]


@given(st.lists(st.sampled_from(["a", "b", "c", ""]), min_size=5, max_size=5), st.booleans())
def test_a_link_is_cut_exactly_if_its_ends_are_in_two_groups(colours: list[str], one_way: bool) -> None:
    names = sorted({colour for colour in colours if colour})
    groups = [[node for node, own in zip(NODES, colours, strict=True) if own == colour] for colour in names]
    if len(groups) < 2:
        return
    links = between(NODES, groups, one_way=one_way)
    colour = dict(zip(NODES, colours, strict=True))
    for source in NODES:
        for target in NODES:
            apart = bool(colour[source] and colour[target]) and colour[source] != colour[target]
            lost = apart and (not one_way or colour[source] == names[0])
            assert (target in links[source][0]) == lost, "the sender loses it"
            assert (source in links[target][1]) == lost, "and the receiver does not hear it, should it come"


def test_one_group_is_cut_off_from_all_the_rest() -> None:
    assert between(NODES, [["n1", "n2"]]) == between(NODES, [["n1", "n2"], ["n3", "n4", "n5"]])


@pytest.mark.parametrize(
    ("groups", "why"),
    [
        ([["n1"], ["n9"]], "n9: no such node; there are n1, n2, n3, n4, n5"),
        ([["n1", "n2"], ["n2"]], "n2: in two groups"),
        ([["n1"], []], "a group without a node"),
        ([NODES], "a group without a node"),
    ],
)
def test_what_is_no_partition_is_refused(groups: list[list[str]], why: str) -> None:
    with pytest.raises(InvalidRequest, match=why):
        between(NODES, groups)
