"""Reads damaged DICOM in a process of its own, whose memory is limited; prints what left.

`python -m tests.faults.dicom_mutants FIRST COUNT` prints JSON: how often each type of exception
left, the slowest mutant in seconds, the largest resident size in MiB.
"""

from __future__ import annotations

import json
import random
import resource
import struct
import sys
import time
from collections import Counter
from collections.abc import Callable

import numpy as np

from inference.frames import frame_facts
from inference.instance import facts_of, read_instance
from inference.limits import MIB, Limits
from inference.pixels import PixelSource
from tests.reference import dicom_factory as factory

_ADDRESS_SPACE = 4096 * MIB
_LIMITS = Limits(decoded_instance_bytes=MIB)
_NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFF0, 0xFFFFFFFF)


def seeds() -> list[bytes]:
    """Small instances of every kind that is read."""
    grey = factory.head(24, 20)
    eight = (grey >> 2).astype(np.uint8)
    colour = np.stack((eight, eight[::-1], eight[:, ::-1]), axis=-1)
    made = [
        factory.transcoded(factory.place(factory.instance(grey)), grey, syntax)
        for syntax in (*factory.NATIVE_SYNTAXES, *factory.LOSSLESS_SYNTAXES)
    ]
    for pixels in (eight, colour):
        for syntax in ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.80"):
            made.append(factory.transcoded(factory.instance(pixels), pixels, syntax))
    made.append(factory.encoded(factory.instance(colour, PhotometricInterpretation="YBR_FULL")))
    made.append(factory.encoded(factory.enhanced_mr([grey, grey, grey])))
    made.append(factory.encoded(factory.palette_colour(eight)))
    made.append(factory.encoded(factory.with_modality_table(grey)))
    return made


def mutant(seed: bytes, chance: random.Random) -> bytes:
    """One to four changes: bits, bytes, numbers, a cut, a repetition, a hole."""
    data = bytearray(seed)
    for _ in range(chance.randint(1, 4)):
        if len(data) > 8:
            chance.choice(_CHANGES)(data, chance)
    return bytes(data)


def _flip(data: bytearray, chance: random.Random) -> None:
    data[_somewhere(data, chance)] ^= 1 << chance.randrange(8)


def _byte(data: bytearray, chance: random.Random) -> None:
    data[_somewhere(data, chance)] = chance.randrange(256)


def _number(data: bytearray, chance: random.Random) -> None:
    form = chance.choice(("<H", ">H", "<I", ">I"))
    width = struct.calcsize(form)
    number = chance.choice(_NUMBERS) & ((1 << 8 * width) - 1)
    at = min(_somewhere(data, chance), len(data) - width)
    struct.pack_into(form, data, at, number)


def _cut(data: bytearray, chance: random.Random) -> None:
    del data[_somewhere(data, chance) :]


def _hole(data: bytearray, chance: random.Random) -> None:
    at = _somewhere(data, chance)
    del data[at : at + chance.randint(1, 16)]


def _repeat(data: bytearray, chance: random.Random) -> None:
    at = _somewhere(data, chance)
    data[at:at] = data[at : at + chance.randint(1, 64)]


def _size(data: bytearray, chance: random.Random) -> None:
    """Rows or Columns, where it stands in explicit little-endian."""
    at = data.find(chance.choice((b"\x28\0\x10\0US", b"\x28\0\x11\0US")))
    if 0 <= at < len(data) - 10:
        struct.pack_into("<H", data, at + 8, chance.choice(_NUMBERS) & 0xFFFF)


_CHANGES: tuple[Callable[[bytearray, random.Random], None], ...] = (
    _flip,
    _byte,
    _byte,
    _number,
    _number,
    _cut,
    _hole,
    _repeat,
    _size,
)


def _somewhere(data: bytearray, chance: random.Random) -> int:
    """The preamble says nothing, so it is left alone in nine of ten cases."""
    first = 132 if len(data) > 140 and chance.random() < 0.9 else 0
    return chance.randrange(first, len(data))


def read(data: bytes) -> None:
    """Everything that is done with one instance before a model sees it."""
    instance = read_instance(data, _LIMITS)
    facts_of(instance)
    source = PixelSource(instance)
    for facts in frame_facts(instance)[:4]:
        source.plane(facts.frame - 1, facts)


def main(first: int, count: int) -> None:
    """Read mutants `first` to `first + count`; each is made from its own number."""
    resource.setrlimit(resource.RLIMIT_AS, (_ADDRESS_SPACE, _ADDRESS_SPACE))
    originals = seeds()
    for original in originals:
        read(original)
    left: Counter[str] = Counter()
    slowest, which = 0.0, -1
    for number in range(first, first + count):
        chance = random.Random(number)  # noqa: S311 reproducible, not secret
        data = mutant(chance.choice(originals), chance)
        since = time.perf_counter()
        try:
            read(data)
        except BaseException as error:  # noqa: BLE001 what leaves is what is counted
            left[type(error).__name__] += 1
        else:
            left["read"] += 1
        took = time.perf_counter() - since
        slowest, which = max((slowest, which), (took, number))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    report = {"left": left, "slowest_s": slowest, "slowest": which, "peak_mib": peak}
    sys.stdout.write(json.dumps(report))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
