"""YAML read by libyaml's parser where PyYAML was built with it: ten times faster than the one in Python.

A replica that wakes reads three such files before it loads its model.
"""

from typing import Any

import yaml

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def parse_yaml(text: str) -> Any:
    """What a text says, in plain values only.

    Raises:
        yaml.YAMLError: it is no YAML.
    """
    return yaml.load(text, Loader=_Loader)  # noqa: S506 - one of the two safe loaders
