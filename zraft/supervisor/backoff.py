"""How long a node that died waits before it is started again; arithmetic only."""

from random import Random

_JITTER = 0.2
_DOUBLINGS_MAX = 32


class Backoff:
    """Delays that double with each death, so that a node which cannot run does not eat the machine.

    Parameters
    ----------
    lower_ms, upper_ms
        The first delay, and the longest; no delay is outside of them.
    random
        Draws the jitter: nodes that died together shall not come back in one stroke.
    """

    def __init__(self, lower_ms: float, upper_ms: float, random: Random) -> None:
        assert 0 <= lower_ms <= upper_ms, f"a back-off from {lower_ms} to {upper_ms} ms"
        self.lower_ms = lower_ms
        self.upper_ms = upper_ms
        self._random = random
        self._deaths = 0
        """Deaths since the node was last well; raised by `after_death`, cleared by `reset`."""

    def after_death(self) -> float:
        """Return the delay in milliseconds after a death that nobody ordered, and raise the next one."""
        base_ms = self.lower_ms * (1 << min(self._deaths, _DOUBLINGS_MAX))
        self._deaths += 1
        jittered_ms = min(base_ms, self.upper_ms) * self._random.uniform(1 - _JITTER, 1 + _JITTER)
        return min(max(jittered_ms, self.lower_ms), self.upper_ms)

    def reset(self) -> None:
        """Start from the lower delay again: the node has been well for long enough."""
        self._deaths = 0
