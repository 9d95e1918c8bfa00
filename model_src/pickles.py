"""What a pickle will become, found out before it is read: how deep, and how large if nothing in it were shared.

Reading a pickle hashes the keys of its dictionaries, and whoever works with the result walks through it. Tuples in
tuples may be so deep that hashing them ends the process, and what occurs twice in something that occurs twice ... grows
like a power of two. A pickle that does either is none of ours; its opcodes alone give it away.
"""

import pickletools
from collections.abc import Callable
from struct import Struct
from struct import error as StructError
from typing import Any

DEEPEST = 60  # containers in containers; in every object it counts anew
GROWTH, ALLOWANCE = 64, 1_000_000  # items per byte of the file, and those that every file may have
_LEVEL = 1 << 80
_TEXT = 6  # a text counts as one item more with every 64 bytes
_GROWS = "it grows out of all proportion when it is read"

# What stands for an object: `_LEVEL` times its depth, plus its items if nothing were shared. Of what may still change
# it is in a list, with whether the memo was asked for it.
_Value = int | list[Any]

_SIZES = {"N": 1, "\x88": 1, "\x89": 1, "K": 2, "M": 3, "J": 5, "G": 9}  # opcodes that make a number
_LENGTHS = {"\x8c": 1, "U": 1, "C": 1, "\x8a": 1, "X": 4, "T": 4, "B": 4, "\x8b": 4, "\x8d": 8, "\x8e": 8, "\x96": 8}
_LINES = ("INT", "LONG", "FLOAT", "STRING", "UNICODE", "GLOBAL", "INST", "GET", "PUT")
_NUMBERS = [_SIZES.get(chr(code), 0) for code in range(256)]
_LONG = Struct("<I").unpack_from
_STOP = ord(".")


def check_pickle(content: bytes, cyclic: bool = False, start: int = 0) -> int:
    """Refuse a pickle that would become deep, or large beyond its size; half a second for a million opcodes.

    Args:
        content: The file.
        cyclic: Whether objects may hold themselves.
        start: Where it begins.

    Returns:
        Where it ends.

    Raises:
        ValueError: It is refused, damaged or cut short.
    """
    try:
        return _Scan(content, cyclic).run(start)
    except (IndexError, KeyError, TypeError, StructError) as error:
        raise ValueError("it is damaged, or cut short") from error


class _Scan:
    """The stack and the memo of an unpickler that has values in the place of objects."""

    def __init__(self, content: bytes, cyclic: bool):
        self._content, self._cyclic = content, cyclic
        self._limit = GROWTH * len(content) + ALLOWANCE
        self._spent = 0
        self._stack: list[_Value] = []
        self._marks: list[int] = []
        self._memo: dict[int, _Value] = {}

    def run(self, at: int) -> int:
        """Go through the opcodes up to the end of the pickle, which is returned; the most frequent ones come first."""
        content, stack, memo, marks, numbers, actions = *self._tables(), _NUMBERS, _ACTIONS
        while True:
            code = content[at]
            if size := numbers[code]:
                stack.append(1)
                at += size
            elif code == 0x68 or code == 0x6A:  # BINGET, LONG_BINGET
                key, size = (content[at + 1], 2) if code == 0x68 else (_LONG(content, at + 1)[0], 5)
                value = memo[key]
                if value.__class__ is list:
                    value[1] = True
                stack.append(value)
                at += size
            elif code == 0x94:  # MEMOIZE
                memo[len(memo)] = stack[-1]
                at += 1
            elif code == 0x28:  # MARK
                marks.append(len(stack))
                at += 1
            elif code in actions:
                actions[code](self)
                at += 1
            elif code == 0x8C:  # SHORT_BINUNICODE
                stack.append(1 + (content[at + 1] >> _TEXT))
                at += 2 + content[at + 1]
            elif code == 0x71 or code == 0x72:  # BINPUT, LONG_BINPUT
                key, size = (content[at + 1], 2) if code == 0x71 else (_LONG(content, at + 1)[0], 5)
                memo[key] = stack[-1]
                at += size
            elif code == _STOP:
                self._spend(self._popped(1)[0])
                return at + 1
            else:
                at = self._rare(chr(code), at)

    def _tables(self) -> tuple[bytes, list[_Value], dict[int, _Value], list[int]]:
        return self._content, self._stack, self._memo, self._marks

    def _rare(self, code: str, at: int) -> int:
        """What is left: other texts, and what is written as lines."""
        content, name = self._content, pickletools.code2op[code].name  # type: ignore[attr-defined]
        if code in _LENGTHS or name == "FRAME":
            begin = at + 1 + _LENGTHS.get(code, 8)
            length = int.from_bytes(content[at + 1 : begin], "little")
            if length > len(content) - begin:
                raise ValueError("it is cut short")
            if name == "FRAME":
                return begin
            self._stack.append(1 + (length >> _TEXT))
            return begin + length
        if name == "PROTO":
            return at + 2
        if name not in _LINES:
            raise ValueError(f"it has the opcode {name}, which no data needs")
        end = self._behind_line(at)
        if name in ("GLOBAL", "INST"):
            end = self._behind_line(end)
            self._object(self._taken() if name == "INST" else [])
        elif name == "GET":
            self._stack.append(self._looked_up(int(content[at + 1 : end])))
        elif name == "PUT":
            self._memo[int(content[at + 1 : end])] = self._stack[-1]
        else:
            self._stack.append(1 + (end - at >> _TEXT))
        return end

    def _behind_line(self, at: int) -> int:
        end = self._content.find(b"\n", at)
        if end < 0:
            raise ValueError("it is cut short")
        return end + 1

    def _looked_up(self, key: int) -> _Value:
        value = self._memo[key]
        if isinstance(value, list):
            value[1] = True
        return value

    def _taken(self) -> list[_Value]:
        """What is above the last mark."""
        start = self._marks.pop()
        taken = self._stack[start:]
        del self._stack[start:]
        return taken

    def _popped(self, count: int) -> list[_Value]:
        if len(self._stack) - (self._marks[-1] if self._marks else 0) < count:
            raise IndexError
        taken = self._stack[-count:]
        del self._stack[-count:]
        return taken

    def _joined(self, items: list[_Value], before: int = _LEVEL + 1) -> int:
        """The value of something that holds others, or of something that gets them besides what it has."""
        try:
            total: int = sum(items)  # type: ignore[arg-type]
        except TypeError:
            items = [item if isinstance(item, int) else item[0] for item in items]
            total = sum(items)  # type: ignore[arg-type]
        if total < _LEVEL and before >= _LEVEL:
            value = before + total
        else:
            depth = max(max(items, default=0) // _LEVEL + 1, before // _LEVEL)  # type: ignore[operator]
            if depth > DEEPEST:
                raise ValueError(f"it is nested more than {DEEPEST} deep")
            value = depth * _LEVEL + total % _LEVEL + before % _LEVEL
        if value % _LEVEL > self._limit:
            raise ValueError(_GROWS)
        return value

    def _spend(self, value: _Value) -> None:
        self._spent += (value if isinstance(value, int) else value[0]) % _LEVEL
        if self._spent > self._limit:
            raise ValueError(_GROWS)

    def _object(self, made_of: list[_Value]) -> None:
        size = self._joined(made_of) % _LEVEL
        self._spend(size)
        self._stack.append([size, False])

    def _tuple(self, items: list[_Value]) -> None:
        self._stack.append(self._joined(items))

    def _list(self, items: list[_Value]) -> None:
        self._stack.append([self._joined(items), False])

    def _grow(self, items: list[_Value]) -> None:
        """More for what is on the top of the stack, unless it was looked up before, since it may count twice then."""
        box = self._stack[-1]
        if not isinstance(box, list) or box[1]:
            raise ValueError("it adds to what it has used before")
        box[0] = self._joined(items, box[0])

    def _build(self, items: list[_Value]) -> None:
        """The state of the object on the top of the stack."""
        box = self._stack[-1]
        if not isinstance(box, list) or (box[1] and not self._cyclic):
            raise ValueError("an object holds itself")
        size = self._joined(items) % _LEVEL
        self._spend(size)
        box[0] += size

    def _duplicate(self) -> None:
        (top,) = self._popped(1)
        if isinstance(top, list):
            top[1] = True
        self._stack += [top, top]

    def _pop(self) -> None:
        if self._marks and self._marks[-1] == len(self._stack):
            self._marks.pop()
        else:
            self._stack.pop()


_ACTIONS: dict[int, Callable[[_Scan], object]] = {
    ord(code): action
    for code, action in {
        "t": lambda scan: scan._tuple(scan._taken()),
        "\x91": lambda scan: scan._tuple(scan._taken()),
        ")": lambda scan: scan._tuple([]),
        "\x85": lambda scan: scan._tuple(scan._popped(1)),
        "\x86": lambda scan: scan._tuple(scan._popped(2)),
        "\x87": lambda scan: scan._tuple(scan._popped(3)),
        "]": lambda scan: scan._list([]),
        "}": lambda scan: scan._list([]),
        "\x8f": lambda scan: scan._list([]),
        "l": lambda scan: scan._list(scan._taken()),
        "d": lambda scan: scan._list(scan._taken()),
        "a": lambda scan: scan._grow(scan._popped(1)),
        "s": lambda scan: scan._grow(scan._popped(2)),
        "e": lambda scan: scan._grow(scan._taken()),
        "u": lambda scan: scan._grow(scan._taken()),
        "\x90": lambda scan: scan._grow(scan._taken()),
        "0": _Scan._pop,
        "1": _Scan._taken,
        "2": _Scan._duplicate,
        "\x93": lambda scan: scan._object(scan._popped(2)),
        "R": lambda scan: scan._object(scan._popped(2)),
        "\x81": lambda scan: scan._object(scan._popped(2)),
        "\x92": lambda scan: scan._object(scan._popped(3)),
        "o": lambda scan: scan._object(scan._taken()),
        "b": lambda scan: scan._build(scan._popped(1)),
        "Q": lambda scan: scan._object(scan._popped(1)),
    }.items()
}
