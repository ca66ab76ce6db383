"""Telling what an object is by its exact type, without importing a library for it.

An object's library has been imported by whoever loaded it; a class that a library's version does not have is not
there to be compared with.
"""

import sys
from collections.abc import Mapping
from typing import Any


def is_one_of(thing: Any, names: Mapping[str, tuple[str, ...]]) -> bool:
    """Whether a thing is of one of these classes (`{"module": ("Class", …)}`) itself, not of one derived from it."""
    kind = type(thing)
    return any(
        kind.__name__ == name and getattr(sys.modules.get(module), name, None) is kind
        for module, classes in names.items()
        for name in classes
    )
