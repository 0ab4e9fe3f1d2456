"""Is a graph one whole ONNX file? Read from its bytes, without the ONNX library.

A graph may keep its numbers in other files (`external_data` of onnx.proto). Those would be files
that no hash vouches for, at paths that the graph chooses, so such a graph is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from models.errors import UnusableGraph

# of each message of onnx.proto, which of its fields may lead to a tensor, and what they hold
_LEADS: Mapping[str, Mapping[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
_GRAPH, _EXTERNAL_DATA, _DATA_LOCATION, _IN_OTHER_FILES = 7, 13, 14, 1
_VARINT, _EIGHT_BYTES, _LENGTH, _FOUR_BYTES = 0, 1, 2, 5
_WIDTHS = {_EIGHT_BYTES: 8, _FOUR_BYTES: 4}
_VARINT_BITS = 64

_Field = tuple[int, int, int]  # number, and either (value, -1) or the (start, end) of its bytes


def check_graph(content: bytes, name: str) -> None:
    """Look through every tensor of a graph; a file of 14 MB takes a few milliseconds.

    Raises UnusableGraph, naming the file, when `content` is no ONNX graph or holds a tensor whose
    numbers are elsewhere.
    """
    try:
        whole = _is_whole(content)
    except ValueError:
        raise UnusableGraph(f"{name!r} is not an ONNX graph.") from None
    if not whole:
        raise UnusableGraph(f"{name!r} keeps numbers in other files; it must be one file.")


def _is_whole(content: bytes) -> bool:
    pending, graphs = [("model", 0, len(content))], 0
    while pending:
        message, start, end = pending.pop()
        for number, first, last in _fields(content, start, end):
            if message == "tensor" and _is_elsewhere(number, first):
                return False
            held = _LEADS[message].get(number)
            if held and last >= 0:
                pending.append((held, first, last))
                graphs += message == "model" and number == _GRAPH
    if not graphs:
        raise ValueError("there is no graph")
    return True


def _is_elsewhere(number: int, value: int) -> bool:
    return number == _EXTERNAL_DATA or (number == _DATA_LOCATION and value == _IN_OTHER_FILES)


def _fields(content: bytes, at: int, end: int) -> Iterator[_Field]:
    """The fields of one message (protobuf encoding), their bytes skipped. Raises ValueError."""
    while at < end:
        key, at = _varint(content, at, end)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            value, at = _varint(content, at, end)
            yield number, value, -1
            continue
        if wire == _LENGTH:
            width, at = _varint(content, at, end)
        elif wire in _WIDTHS:
            width = _WIDTHS[wire]
        else:
            raise ValueError("an unknown wire type")
        if width > end - at:
            raise ValueError("a field that is longer than its message")
        yield number, at, at + width
        at += width


def _varint(content: bytes, at: int, end: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, _VARINT_BITS + 6, 7):
        if at >= end:
            break
        byte = content[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a number that does not end")
