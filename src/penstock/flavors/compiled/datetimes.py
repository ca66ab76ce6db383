"""Datetimes in the few forms that pandas, numpy and we read alike."""

import re
from collections.abc import Iterable

import numpy as np

# Without a time zone, which MLflow refuses; within what nanoseconds since 1970 can say.
_FORM = re.compile(
    r"(?:1[7-9]|2[01])[0-9]{2}-[01][0-9]-[0-3][0-9]"
    r"(?:([T ])[0-2][0-9]:[0-5][0-9]:[0-5][0-9](?:\.[0-9]{3}|\.[0-9]{6})?)?"
)
_DATETIME = np.dtype("datetime64[ns]")


def nanoseconds(values: Iterable[str | None], *, is_uniform: bool) -> list[int] | None:
    """Nanoseconds since 1970 of each, the least 64-bit integer for null (NumPy's NaT).

    None if one is not recognised, or if `is_uniform` and two have different forms.
    """
    texts = list(values)
    forms = set()
    for text in texts:
        if text is None:
            continue
        match = _FORM.fullmatch(text)
        if match is None:
            return None
        forms.add((len(text), match[1]))
    if is_uniform and len(forms) > 1:
        return None
    try:
        parsed = np.array(texts, dtype=_DATETIME)
    except ValueError:  # the 30th of February, or 24 o'clock
        return None
    numbers: list[int] = parsed.view(np.int64).tolist()
    return numbers
