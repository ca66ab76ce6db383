"""The OpenAPI document of an endpoint: one path for each served entity, from the signatures of their models.

Types are MLflow's, mapped as Databricks' public documentation of the route says: long is an integer of format int64,
double a number of format double, binary a string of format byte, datetime a string of format date-time, and so on.
"""

from collections.abc import Mapping
from typing import Any

from penstock.domain.signature import Field, Signature

_SCALARS: dict[str, dict[str, Any]] = {
    "boolean": {"type": "boolean"},
    "integer": {"type": "integer", "format": "int32"},
    "long": {"type": "integer", "format": "int64"},
    "float": {"type": "number", "format": "float"},
    "double": {"type": "number", "format": "double"},
    "string": {"type": "string"},
    "binary": {"type": "string", "format": "byte"},
    "datetime": {"type": "string", "format": "date-time"},
    "any": {},
}
_TENSOR_ITEMS: dict[str, dict[str, Any]] = {
    "f": {"type": "number"},
    "i": {"type": "integer"},
    "u": {"type": "integer"},
    "b": {"type": "boolean"},
}

Schema = dict[str, Any]


def encode_openapi(
    endpoint_name: str, config_version: int, address: str, signatures: Mapping[str, Signature]
) -> dict[str, Any]:
    """OpenAPI 3.1 of an endpoint, given the signature of each served entity."""
    return {
        "openapi": "3.1.0",
        "info": {"title": endpoint_name, "version": str(config_version)},
        "servers": [{"url": f"{address}/serving-endpoints/{endpoint_name}"}],
        "paths": {
            f"/served-models/{name}/invocations": {"post": _operation(signature)}
            for name, signature in signatures.items()
        },
    }


def _operation(signature: Signature) -> dict[str, Any]:
    return {
        "requestBody": _json(_request(signature)),
        "responses": {"200": {"description": "The predictions.", **_json(_response(signature))}},
    }


def _json(schema: Schema) -> dict[str, Any]:
    return {"content": {"application/json": {"schema": schema}}}


def _request(signature: Signature) -> Schema:
    """One alternative for each accepted form of the input."""
    params = _params(signature)
    forms = _tensor_forms(signature) if signature.has_tensors else _table_forms(signature)
    return {
        "oneOf": [
            {"type": "object", "properties": {form: schema, **params}, "required": [form]}
            for form, schema in forms.items()
        ]
    }


def _table_forms(signature: Signature) -> dict[str, Schema]:
    row = _object(signature.inputs)
    columns = {"type": "array", "items": {"type": "string"}}
    split = {"columns": columns, "index": {"type": "array"}, "data": {"type": "array", "items": {"type": "array"}}}
    return {
        "dataframe_records": {"type": "array", "items": row},
        "dataframe_split": {"type": "object", "properties": split, "required": ["data"]},
    }


def _tensor_forms(signature: Signature) -> dict[str, Schema]:
    if len(signature.inputs) == 1 and "name" not in signature.inputs[0]:
        schema = _type(signature.inputs[0])
    else:
        schema = _object(signature.inputs)
    return {"inputs": schema, "instances": {"type": "array"}}


def _params(signature: Signature) -> dict[str, Schema]:
    if not signature.params:
        return {}
    properties = {}
    for param in signature.params:
        schema = _type(param)
        if param.get("shape") is not None:
            schema = {"type": "array", "items": schema}
        properties[param["name"]] = {**schema, "default": param.get("default")}
    return {"params": {"type": "object", "properties": properties}}


def _response(signature: Signature) -> Schema:
    outputs = signature.outputs
    if outputs and all("name" in output for output in outputs):
        items: Schema = _object(outputs)
    else:
        items = _type(outputs[0]) if len(outputs) == 1 and outputs[0].get("type") != "tensor" else {}
    return {"type": "object", "properties": {"predictions": {"type": "array", "items": items}}}


def _object(fields: list[Field]) -> Schema:
    named = {field.get("name", str(index)): field for index, field in enumerate(fields)}
    required = [name for name, field in named.items() if field.get("required", True)]
    return {
        "type": "object",
        "properties": {name: _type(field) for name, field in named.items()},
        **({"required": required} if required else {}),
    }


def _type(field: Field) -> Schema:
    kind = field.get("type", "any")
    match kind:
        case "tensor":
            spec = field["tensor-spec"]
            schema: Schema = dict(_TENSOR_ITEMS.get(str(spec["dtype"])[:1], {}))
            for _ in spec["shape"]:
                schema = {"type": "array", "items": schema}
            return schema
        case "array":
            return {"type": "array", "items": _type(field["items"])}
        case "object":
            return _object([{"name": name, **inner} for name, inner in field.get("properties", {}).items()])
        case "map":
            return {"type": "object", "additionalProperties": _type(field["values"])}
        case _:
            return dict(_SCALARS.get(kind, {}))
