"""Where packages come from: what the user has configured for uv, or for pip, as variables for uv alone."""

import configparser
import contextlib
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

_PASSED = frozenset(
    (
        *("PATH", "HOME", "USER", "LANG", "TMPDIR", "LD_LIBRARY_PATH", "NETRC"),
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "XDG_CONFIG_HOME", "XDG_CONFIG_DIRS"),
        *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy"),
    )
)
_NOT_PASSED = ("UV_PYTHON", "UV_SYSTEM_PYTHON", "UV_PROJECT", "UV_WORKING", "UV_NO_PROGRESS", "UV_BREAK_SYSTEM")
"""These would have uv install to somewhere else."""
_PIP_SECTIONS = ("global", "install")
_PIP_OPTIONS = {
    "index-url": ("UV_DEFAULT_INDEX", " "),
    "extra-index-url": ("UV_INDEX", " "),
    "find-links": ("UV_FIND_LINKS", ","),
    "no-index": ("UV_NO_INDEX", " "),
    "trusted-host": ("UV_INSECURE_HOST", " "),
    "cert": ("SSL_CERT_FILE", " "),
}
"""Options of pip, what uv calls them, and what it puts between several values."""


def build_variables(environment: Mapping[str, str], pip_options: Mapping[str, str]) -> dict[str, str]:
    """The variables for uv; whatever is set for uv itself wins over what is set for pip."""
    kept = {
        name: value
        for name, value in environment.items()
        if name in _PASSED or (name.startswith("UV_") and not name.startswith(_NOT_PASSED))
    }
    options = {**pip_options}
    for option in _PIP_OPTIONS:
        if value := environment.get("PIP_" + option.upper().replace("-", "_")):
            options[option] = value
    translated = {
        variable: separator.join(value.split())
        for option, (variable, separator) in _PIP_OPTIONS.items()
        if (value := options.get(option, "").strip())
    }
    if "UV_INDEX" in translated:
        # pip takes the best version of all indexes, uv that of the first which has any.
        translated["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    return {**translated, **kept}


def pip_options(files: Iterable[Path]) -> dict[str, str]:
    """The options of pip that matter here, from its configuration files; later files win. Broken files say nothing."""
    options: dict[str, str] = {}
    for file in files:
        parser = configparser.RawConfigParser()
        with contextlib.suppress(OSError, configparser.Error, UnicodeDecodeError):
            parser.read(file, encoding="utf-8")
            for section in filter(parser.has_section, _PIP_SECTIONS):
                options |= {name: value for name, value in parser.items(section) if name in _PIP_OPTIONS}
    return options


def pip_files(environment: Mapping[str, str]) -> tuple[Path, ...]:
    """Where pip looks for its configuration, in its order."""
    home = Path(environment.get("HOME") or "~").expanduser()
    config = Path(environment.get("XDG_CONFIG_HOME") or home / ".config")
    named = environment.get("PIP_CONFIG_FILE")
    files = (
        Path("/etc/xdg/pip/pip.conf"),
        Path("/etc/pip.conf"),
        home / ".pip" / "pip.conf",
        config / "pip" / "pip.conf",
        Path(sys.prefix) / "pip.conf",
    )
    return (*files, Path(named)) if named else files
