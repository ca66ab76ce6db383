"""Whether rows of some columns can go to a table that has others."""

import pyarrow as pa

from penstock.domain.errors import InvalidParameterValue


def check_same(what: str, has: pa.Schema, gets: pa.Schema) -> None:
    """Rows can go to a table that has their columns; those that it has beside must take null.

    Raises:
        InvalidParameterValue: they cannot; the message tells all columns that differ.
    """
    wrong = []
    for field in gets:
        if field.name not in has.names:
            wrong.append(f"{field.name} is missing there")
        elif plain(has.field(field.name).type) != plain(field.type):
            wrong.append(f"{field.name} is {has.field(field.name).type} there and {field.type} here")
    wrong += [
        f"{field.name} is not here and may not be null there"
        for field in has
        if field.name not in gets.names and not field.nullable
    ]
    if wrong:
        raise InvalidParameterValue(
            f"{what} has other columns: {'; '.join(wrong)}. Overwrite it (mode), or choose another target."
        )


def plain(kind: pa.DataType) -> object:
    """A type without the names that Arrow gives to what is inside, and without nullability."""
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return "list", plain(kind.value_type)
    if pa.types.is_map(kind):
        return "map", plain(kind.key_type), plain(kind.item_type)
    if pa.types.is_struct(kind):
        return "struct", tuple((field.name, plain(field.type)) for field in kind)
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    return kind
