"""Reading the bytes of one payload from front to back, with every length checked first."""

from __future__ import annotations

from smh.errors import ArtifactError


class Reader:
    """A cursor over a payload; whatever does not fit raises an `ArtifactError` with the place."""

    def __init__(self, payload: bytes | memoryview):
        self._data = memoryview(payload)
        self.position = 0

    def error(self, what: str) -> ArtifactError:
        """Returns the error that names the byte at which the cursor stands."""
        return ArtifactError(f"byte {self.position:,} of the payload: {what}")

    def rest(self) -> memoryview:
        """Returns everything behind the cursor, which stays where it is."""
        return self._data[self.position :]

    def take(self, count: int, what: str) -> memoryview:
        """Returns the next `count` bytes and steps over them."""
        left = len(self._data) - self.position
        if count > left:
            raise self.error(f"{what} of {count:,} bytes expected, {left:,} left")
        taken = self._data[self.position : self.position + count]
        self.position += count
        return taken

    def varint(self, limit: int, what: str) -> int:
        """Returns the next LEB128 number, in its shortest form and at most `limit`."""
        value = shift = 0
        while True:
            byte = self.take(1, what)[0]
            value |= (byte & 0x7F) << shift
            if value > limit:
                raise self.error(f"{what} is {value:,} or more, the limit is {limit:,}")
            if byte < 0x80:
                break
            shift += 7
            if shift > 63:
                raise self.error(f"{what} is longer than a 63-bit number")
        if shift and not byte:
            raise self.error(f"{what} is not in its shortest form")
        return value


def varint(value: int) -> bytes:
    """Returns `value` in LEB128: 7 bits a byte, lowest first, the top bit says that more follow."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def unsigned(value: int) -> int:
    """Returns a signed number as one that `varint` takes: 0, -1, 1, -2, ... become 0, 1, 2, 3."""
    return 2 * value if value >= 0 else -2 * value - 1


def signed(value: int) -> int:
    """Returns what `unsigned` was given."""
    return -(value + 1) // 2 if value & 1 else value // 2
