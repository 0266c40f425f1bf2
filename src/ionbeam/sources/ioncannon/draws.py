"""Numbers drawn by counting: each is a hash of what it belongs to, so any one can be had alone, again.

The hash chains the finaliser of splitmix64 (Steele, Lea and Flood 2014) over the counters.
"""

import zlib

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]

_STEP = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)
_BITS = np.float64(2.0**-53)
_COARSE = np.float64(2.0**-16)


class Draws:
    """All the random numbers of one seed, in named streams."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def words(self, stream: str, *counters: Integers) -> Words:
        """64 random bits for each position of the counters, which have one shape."""
        name = zlib.crc32(stream.encode())
        word = np.array([(self._seed + name * 2**32) % 2**64], np.uint64)
        for counter in counters:
            word = _mixed(word + counter.astype(np.uint64) * _STEP)
        return word

    def shares(self, stream: str, *counters: Integers) -> Floats:
        """Numbers in [0, 1) for each position of the counters."""
        shares: Floats = (self.words(stream, *counters) >> np.uint64(11)) * _BITS
        return shares

    def quarters(self, stream: str, *counters: Integers) -> Floats:
        """Four coarse numbers in [0, 1) for each position of the counters, shape (4, n)."""
        quarters: Floats = self.words(stream, *counters).view(np.uint16).reshape(-1, 4).T * _COARSE
        return quarters

    def drifts(self, stream: str, station: Integers, time_ns: Integers, period_ns: int) -> Floats:
        """Four numbers in [0, 1) that go steadily from one multiple of the period to the next, (4, n)."""
        knot, beyond_ns = np.divmod(time_ns, period_ns)
        before = self.quarters(stream, station, knot)
        after = self.quarters(stream, station, knot + 1)
        drifts: Floats = before + (after - before) * (beyond_ns / period_ns)
        return drifts


def _mixed(word: Words) -> Words:
    word ^= word >> np.uint64(30)
    word *= _FIRST
    word ^= word >> np.uint64(27)
    word *= _SECOND
    word ^= word >> np.uint64(31)
    return word
