"""What a node is put together from, where that can be seen without a node."""

from zraft.parts import every_second


def test_progress_is_told_once_a_second_and_not_at_all_within_the_first() -> None:
    now, said = [100.0], []
    tell = every_second(said.append, lambda: now[0])
    for tenth in range(35):
        now[0] = 100 + tenth / 10
        tell(f"after {tenth / 10} s")
    assert said == ["after 1.0 s", "after 2.0 s", "after 3.0 s"]
