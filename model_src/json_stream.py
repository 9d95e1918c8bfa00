"""Reading the values of a JSON file one after the other, so that it is never in memory as a whole."""

import json
from typing import IO, Any


class JsonStream:
    """JSON values of a text file, one after the other."""

    _chunk = 1 << 20  # characters

    def __init__(self, file: IO[str]):
        self._file, self._text, self._at = file, "", 0
        self._decoder = json.JSONDecoder()

    def peek(self) -> str:
        """The next character that is no white space, which stays there; nothing at the end of the file."""
        while True:
            while self._text[self._at : self._at + 1].isspace():
                self._at += 1
            if self._at < len(self._text) or not self._read():
                return self._text[self._at : self._at + 1]

    def expect(self, allowed: str) -> str:
        """Like `peek`, but it must be one of these."""
        found = self.peek()
        if not found or found not in allowed:
            raise ValueError(f"{found or 'its end'} where {' or '.join(allowed)} belongs")
        return found

    def take(self, allowed: str) -> str:
        """Like `expect`, and go on to what follows."""
        found = self.expect(allowed)
        self._at += 1
        return found

    def value(self) -> Any:
        """Take a value."""
        self.peek()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._at)
                if end < len(self._text) or not self._read():  # a number may go on
                    self._at = end
                    return value
            except json.JSONDecodeError as error:
                if not self._read():
                    raise ValueError(error.msg) from error

    def _read(self) -> bool:
        """Read on; twice as much as is left, so that a long value is not parsed over and over again."""
        rest = self._text[self._at :]
        more = self._file.read(max(self._chunk, 2 * len(rest)))
        self._text, self._at = rest + more, 0
        return bool(more)
