"""The digest that journals and safetensors files carry (docs/results.md), from the library that others would take, too."""

import ctypes


class _Hash(ctypes.Structure):
    _fields_ = [("low", ctypes.c_uint64), ("high", ctypes.c_uint64)]


_library = ctypes.CDLL("libxxhash.so.0")
_library.XXH3_128bits.restype = _Hash
_library.XXH3_128bits.argtypes = [ctypes.c_char_p, ctypes.c_size_t]


def xxh3_128(content):
    found = _library.XXH3_128bits(content, len(content))
    return f"{found.high:016x}{found.low:016x}"


def with_digest(line):
    """A line of a journal, without its end, as dtrain writes it."""
    before = line.removesuffix("}")
    return f'{before},"digest":"{xxh3_128(before.encode())}"}}'


def flipped(content, bit):
    """Bytes in which one bit is another."""
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)
