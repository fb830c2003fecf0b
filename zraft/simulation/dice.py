"""One seed, split by name: each part of a simulation throws dice of its own, so that one throw more here moves nothing there."""

from random import Random


class Dice:
    """Generators by name, all of one seed.

    The same seed and name give the same throws in every process, whatever PYTHONHASHSEED is: names are hashed by SHA-512
    (`random.seed` does that with strings), never by `hash`.

    Parameters
    ----------
    seed
        The whole simulation's.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._known: dict[str, Random] = {}

    def of(self, name: str) -> Random:
        """Return the generator of that name; the same object every time."""
        found = self._known.get(name)
        if found is None:
            found = self._known[name] = Random(f"{self._seed}/{name}")  # noqa: S311 - dice
        return found


def log_uniform(random: Random, low: float, high: float) -> float:
    """Draw between two bounds above 0, so that each order of magnitude is as likely as any other."""
    return float(low * (high / low) ** random.random())


def chance(random: Random, probability: float) -> bool:
    """Throw a die that shows True with `probability`."""
    return random.random() < probability
