"""Seeds as a function of their purpose, so that no random stream depends on the order of calls."""

import hashlib


def seed_of(*parts: int | str) -> int:
    """A 32-bit seed that is the same for the same parts on every machine and in every process."""
    plain = tuple(part if isinstance(part, str) else int(part) for part in parts)  # NumPy's 3 is 3
    return int.from_bytes(hashlib.blake2b(repr(plain).encode(), digest_size=4).digest(), "big")
