"""What is read from `MLmodel` files, also from those that are missing or broken."""

import json
from pathlib import Path

import pytest

from penstock.domain.errors import InvalidParameterValue
from penstock.domain.model_traits import ModelTraits
from penstock.domain.served_entity import ModelVersion
from penstock.domain.signature import Signature
from penstock.stores.model_files import read_signature, read_traits

MODEL = ModelVersion("m", "3", 17)
COLUMN = {"name": "x", "type": "double", "required": True}
TENSOR = {"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, 2]}}
PARAM = {"name": "t", "dtype": "double", "default": 1.0, "shape": None}

BROKEN = ["", "null", "[]", "7", "just text", "a: [", "\t", "a: b: c", "!!python/object:os.system {}", "\0"]


def logged(artifacts: Path, text: str | bytes, model: ModelVersion = MODEL) -> None:
    """Put the `MLmodel` file of a fetched model."""
    folder = artifacts / model.artifact_key
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "MLmodel").write_bytes(text if isinstance(text, bytes) else text.encode())


def signed(**parts: list[object]) -> str:
    """An `MLmodel` file with a signature."""
    return json.dumps({"signature": {name: json.dumps(part) for name, part in parts.items()}})  # JSON is YAML, too


@pytest.mark.parametrize(
    ("text", "signature"),
    [
        (signed(inputs=[COLUMN]), Signature([COLUMN])),
        (signed(inputs=[TENSOR], outputs=[COLUMN], params=[PARAM]), Signature([TENSOR], [COLUMN], [PARAM])),
        ('signature: {inputs: \'[{"type": "long"}]\', outputs: null, params: null}', Signature([{"type": "long"}])),
    ],
)
def test_the_signature_of_a_fetched_model(tmp_path: Path, text: str, signature: Signature) -> None:
    logged(tmp_path, text)
    assert read_signature(tmp_path, MODEL) == signature


@pytest.mark.parametrize(
    "text", ["{}", "signature: null", "signature: {}", signed(inputs=[]), signed(outputs=[COLUMN]), "flavors: {}"]
)
def test_a_model_without_a_signature_of_its_inputs(tmp_path: Path, text: str) -> None:
    logged(tmp_path, text)
    with pytest.raises(InvalidParameterValue, match="models:/m/3 was logged without a signature"):
        read_signature(tmp_path, MODEL)


@pytest.mark.parametrize(
    "text", [*BROKEN, b"\xff\xfe\xff", "signature: 7", "signature: {inputs: '{'}", "signature: {inputs: nonsense}"]
)
def test_a_signature_that_cannot_be_read_is_told_of_with_the_model(tmp_path: Path, text: str | bytes) -> None:
    logged(tmp_path, text)
    with pytest.raises(InvalidParameterValue, match="models:/m/3"):
        read_signature(tmp_path, MODEL)


def test_a_model_that_has_not_been_fetched_has_no_signature(tmp_path: Path) -> None:
    with pytest.raises(InvalidParameterValue, match="cannot be read"):
        read_signature(tmp_path, MODEL)


@pytest.mark.parametrize(
    ("text", "traits"),
    [
        ("{}", ModelTraits()),
        ("metadata: {task: llm/v1/chat}", ModelTraits("llm/v1/chat")),
        ("metadata: {task: 7}", ModelTraits()),
        ("metadata: null\nflavors: null", ModelTraits()),
        ("flavors: {python_function: {streamable: true}}", ModelTraits(None, True)),
        ("flavors: {python_function: {streamable: 'true'}}", ModelTraits()),
        ("flavors: {python_function: {streamable: false}}", ModelTraits()),
        ("flavors: {python_function: null, sklearn: {streamable: true}}", ModelTraits(is_native=True)),
        (
            "metadata: {task: agent/v1/responses}\nflavors: {python_function: {streamable: true}}",
            ModelTraits("agent/v1/responses", True),
        ),
    ],
)
def test_the_traits_of_a_fetched_model(tmp_path: Path, text: str, traits: ModelTraits) -> None:
    logged(tmp_path, text)
    assert read_traits(tmp_path, MODEL) == traits


@pytest.mark.parametrize(
    "text", [*BROKEN, b"\xff\xfe\xff", "metadata: text", "flavors: [a]", "flavors: {python_function: 1}"]
)
def test_a_file_that_cannot_be_read_gives_no_traits(tmp_path: Path, text: str | bytes) -> None:
    logged(tmp_path, text)
    assert read_traits(tmp_path, MODEL) == ModelTraits()


def test_a_model_has_the_traits_of_its_file_once_it_is_fetched(tmp_path: Path) -> None:
    assert read_traits(tmp_path, MODEL) == ModelTraits()
    logged(tmp_path, "a: [")
    assert read_traits(tmp_path, MODEL) == ModelTraits()
    logged(tmp_path, "metadata: {task: llm/v1/chat}")
    assert read_traits(tmp_path, MODEL) == ModelTraits("llm/v1/chat")


def test_a_version_that_took_the_number_of_another_has_traits_of_its_own(tmp_path: Path) -> None:
    logged(tmp_path, "metadata: {task: llm/v1/chat}")
    again = ModelVersion(MODEL.name, MODEL.version, MODEL.created_at_ms + 1)
    logged(tmp_path, "metadata: {task: agent/v1/responses}", again)
    assert read_traits(tmp_path, MODEL).task == "llm/v1/chat"
    assert read_traits(tmp_path, again).task == "agent/v1/responses"
