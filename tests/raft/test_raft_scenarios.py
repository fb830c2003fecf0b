"""Each file of `scenarios/` is a history, told in prose and checked line by line; `pytest --rewrite` writes it anew."""

from pathlib import Path

import pytest
import transcript

SCENARIOS = sorted((Path(__file__).parent / "scenarios").glob("*.txt"))


def test_there_are_scenarios() -> None:
    assert len(SCENARIOS) >= 80


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_scenario(path: Path, rewrite: bool) -> None:
    played = transcript.run(path)
    if rewrite:
        path.write_text(transcript.render(played))
    for before, after in zip(transcript.parse(path.read_text()), played, strict=True):
        assert after.expected == before.expected, "\n".join(after.head)
