"""Values that cannot be of a type, found without a look at each of them."""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc


def not_castable(column: pa.ChunkedArray | pa.Array, kind: pa.DataType, first: int = 0) -> Iterator[int]:
    """The places of values that are none of a type; `first` is the place of the first of them."""
    try:
        pc.cast(column, kind)
    except pa.ArrowException:
        if len(column) == 1:
            yield first
            return
        middle = len(column) // 2
        yield from not_castable(column.slice(0, middle), kind, first)
        yield from not_castable(column.slice(middle), kind, first + middle)
