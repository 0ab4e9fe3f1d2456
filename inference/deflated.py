"""Deflated data sets (PS3.5 A.5), inflated only as far as their own header justifies.

One megabyte of deflated zeros is a gigabyte: nothing is inflated that was not declared.
"""

from __future__ import annotations

import zlib

from inference.errors import LimitExceeded, UnreadableInstance


class DeflatedBody:
    """The data set that follows the File Meta Information, inflated step by step."""

    def __init__(self, deflated: memoryview) -> None:
        self._stream = zlib.decompressobj(-zlib.MAX_WBITS)
        self._rest: bytes | memoryview = deflated
        self.inflated = b""

    def inflate_to(self, size: int) -> None:
        """Make `inflated` at least `size` bytes long, or as long as the whole stream.

        Never longer than `size`. Raises UnreadableInstance when the stream is cut off before its
        end and before `size`.
        """
        missing = size - len(self.inflated)
        if missing > 0 and not self._stream.eof:
            self.inflated += self._stream.decompress(self._rest, missing)
            self._rest = self._stream.unconsumed_tail
        if len(self.inflated) < size and not self._stream.eof:
            raise UnreadableInstance("The deflated instance ends too early.")

    def inflate_pixels(self, start: int, length: int, declared: int) -> None:
        """Inflate as far as pixel data of `length` at `start`; `declared` is what the tags allow.

        Raises LimitExceeded when there is more pixel data than the image can have.
        """
        if length > declared + 1:  # padded to even length
            raise LimitExceeded("The deflated pixel data is larger than the image it belongs to.")
        self.inflate_to(start + length)
