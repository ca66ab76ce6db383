"""What a fetched model's files say that it needs, and files that say nothing readable."""

import re
from pathlib import Path

import pytest

from penstock.stores.model_requirements import BadRequirements, read_needs

PYTHON_ENV = (
    "python: 3.12.1\nbuild_dependencies: [pip==23, setuptools==65.5, wheel]\ndependencies: [-r requirements.txt]"
)
CONDA = """
channels: [conda-forge]
dependencies:
- python=3.10.4
- pip<=23
- libgdal=3
- pip: [mlflow==2.9, numpy]
"""


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)
    return folder


def test_the_three_files_of_a_logged_model(tmp_path: Path) -> None:
    needs = read_needs(write(tmp_path, requirements__txt="mlflow==3\n", python_env__yaml=PYTHON_ENV, conda__yaml=CONDA))
    assert [line.text for line in needs.lines] == ["mlflow==3"]
    assert needs.python == "3.12.1"
    assert needs.build_dependencies == ("setuptools==65.5",)
    assert needs.conda_packages == ("libgdal=3",)


def test_without_requirements_the_next_file_counts(tmp_path: Path) -> None:
    write(tmp_path, conda__yaml=CONDA)
    needs = read_needs(tmp_path)
    assert [(line.text, line.where) for line in needs.lines] == [
        ("mlflow==2.9", "conda.yaml line 1"),
        ("numpy", "conda.yaml line 2"),
    ]
    assert needs.python == "3.10.4"
    write(tmp_path, python_env__yaml="dependencies: [scipy, -r more.txt]", more__txt="pandas")
    assert [line.text for line in read_needs(tmp_path).lines] == ["scipy", "pandas"]


def test_a_model_that_says_nothing_needs_nothing(tmp_path: Path) -> None:
    needs = read_needs(tmp_path)
    assert (needs.lines, needs.python, needs.build_dependencies, needs.conda_packages) == ((), None, (), ())


def test_other_files_stand_in_the_place_where_they_are_named(tmp_path: Path) -> None:
    write(tmp_path, requirements__txt="a\n-r more.txt\nb\n-c constraints.txt", more__txt="m", constraints__txt="c<2")
    lines = read_needs(tmp_path).lines
    assert [(line.text, line.file, line.is_constraint) for line in lines] == [
        ("a", "requirements.txt", False),
        ("m", "more.txt", False),
        ("b", "requirements.txt", False),
        ("c<2", "constraints.txt", True),
    ]


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"requirements__txt": "-r requirements.txt"}, "name each other"),
        ({"requirements__txt": "-r nowhere.txt"}, "requirements.txt line 1: there is no file 'nowhere.txt'"),
        ({"requirements__txt": "--requirement=../secret"}, "'../secret' leads out of the model's folder"),
        ({"requirements__txt": "-r /etc/passwd"}, "leads out of the model's folder"),
        ({"requirements__txt": "x" * (2 << 20)}, "has more than"),
        ({"conda__yaml": "a: [", "requirements__txt": "a"}, "conda.yaml is not YAML"),
        ({"python_env__yaml": "[a]"}, "python_env.yaml: wanted a mapping, got list"),
    ],
)
def test_files_that_cannot_be_read_are_named(tmp_path: Path, files: dict[str, str], told: str) -> None:
    with pytest.raises(BadRequirements, match=re.escape(told)):
        read_needs(write(tmp_path, **files))


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("canary")
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "requirements.txt").symlink_to(tmp_path / "secret")
    with pytest.raises(BadRequirements, match="leads out of"):
        read_needs(folder)


@pytest.mark.parametrize("text", ["dependencies: 7", "dependencies: [null, 7, {pip: null}]", "null", ""])
def test_odd_yaml_says_nothing(tmp_path: Path, text: str) -> None:
    assert read_needs(write(tmp_path, conda__yaml=text)).lines == ()
