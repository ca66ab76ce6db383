"""Where packages come from: uv is told what the user has configured for it, or for pip."""

from pathlib import Path

from penstock.processes.package_indexes import build_variables, pip_files, pip_options


def test_what_is_set_for_pip_is_said_to_uv() -> None:
    environment = {"PIP_INDEX_URL": "https://a/simple", "PIP_EXTRA_INDEX_URL": "https://b/simple\nhttps://c/simple"}
    assert build_variables(environment, {"trusted-host": "d", "find-links": "/w  https://f"}) == {
        "UV_DEFAULT_INDEX": "https://a/simple",
        "UV_INDEX": "https://b/simple https://c/simple",
        "UV_INSECURE_HOST": "d",
        "UV_FIND_LINKS": "/w,https://f",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
    }


def test_uv_s_own_variables_win() -> None:
    environment = {
        "PIP_INDEX_URL": "https://a/simple",
        "UV_DEFAULT_INDEX": "https://u/simple",
        "UV_INDEX_STRATEGY": "x",
    }
    told = build_variables(environment, {"extra-index-url": "https://b/simple"})
    assert (told["UV_DEFAULT_INDEX"], told["UV_INDEX_STRATEGY"]) == ("https://u/simple", "x")


def test_nothing_else_reaches_the_installer() -> None:
    environment = {"AWS_SECRET": "canary", "PATH": "/bin", "PYTHONPATH": "/x", "UV_PYTHON": "3.9", "VIRTUAL_ENV": "/v"}
    assert build_variables(environment, {}) == {"PATH": "/bin"}


def test_variables_win_over_files_and_later_files_over_earlier_ones(tmp_path: Path) -> None:
    (tmp_path / "one").write_text("[global]\nindex-url = https://one/%x\ncert = /c\ntimeout = 3\n[list]\nformat = json")
    (tmp_path / "two").write_text("[install]\nindex-url = https://two\n[global]\nno-index = true")
    (tmp_path / "broken").write_text("index-url = https://none\n\0")
    files = [tmp_path / "one", tmp_path / "two", tmp_path / "broken", tmp_path / "missing"]
    options = pip_options(files)
    assert options == {"index-url": "https://two", "cert": "/c", "no-index": "true"}
    assert build_variables({"PIP_INDEX_URL": "https://v"}, options)["UV_DEFAULT_INDEX"] == "https://v"


def test_the_files_are_those_of_pip() -> None:
    files = pip_files({"HOME": "/h", "PIP_CONFIG_FILE": "/named"})
    assert Path("/h/.config/pip/pip.conf") in files
    assert files[-1] == Path("/named")
    assert Path("/x/pip/pip.conf") in pip_files({"HOME": "/h", "XDG_CONFIG_HOME": "/x"})
