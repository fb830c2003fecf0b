"""Simulates one seed after another, for so many seconds, until one fails; prints the line that replays it."""

import sys
from itertools import count

from zraft.simulation.campaign import campaign
from zraft.simulation.recipe import Recipe


def main(budget_s: float) -> int:
    """Return 1 when a seed has failed."""
    finished = campaign((Recipe(seed) for seed in count()), jobs=1, budget_s=budget_s)
    for number, (recipe, report) in enumerate(finished, 1):
        if report.broken:
            print(f"seed {recipe.seed} fails, the {number}th: {report.violation}".replace("\n", " "))
            print(recipe.line)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1])))
