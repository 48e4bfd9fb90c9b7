"""The serving API as an OpenAPI 3.1 document, and that document as a page for people.

One document is for the API, with the model as a parameter; another one for each model, with the schemas of its
contract. So each keeps its size however many models there are, and none needs a list of them. Pure, and imported only
when somebody asks for a document.

https://spec.openapis.org/oas/v3.1.0
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tidegate.domain.serving.contract import MAX_NUMBER, MAX_TEXT
from tidegate.domain.serving.prediction import MAX_KEY
from tidegate.domain.serving.routing import Reason, Why
from tidegate.formats.open_inference import MAX_ID, OUTPUTS
from tidegate.formats.openapi_page import _cell
from tidegate.kernel.ids import NAME

Document = dict[str, Any]

_MODEL = "{model}"
_JSON, _PROBLEM, _CSV = "application/json", "application/problem+json", "text/csv"
_NUMBERS = tuple(f"{sign}INT{bits}" for bits in (64, 32, 16, 8) for sign in ("", "U"))
_SCALAR: Document = {"type": ["number", "string", "boolean", "null"]}
_TIME = "2013-05-01T17:30:00Z"
_STATUSES: Mapping[int, str] = {
    400: "The body cannot be read.",
    403: "The request is not signed, or its signer has no permission.",
    404: "There is no such model, or the version does not serve.",
    409: "No version of the model serves, and it has no fallback.",
    413: "The body is too large.",
    415: "The media type of the body is not supported.",
    422: "The request breaks the contract; the answer names the instance and the field.",
    429: "Too many requests; try again later.",
    500: "The server failed.",
    503: "A required service does not answer, or the model's artifact cannot be used.",
}
_OF_ALL = (403, 404, 429, 500, 503)
_OF_MODEL = (*_OF_ALL, 409)
_OF_BODY = (*_OF_MODEL, 400, 413, 415, 422)
_PARAMETERS: Mapping[str, Document] = {
    "model": {"type": "string", "pattern": f"^{NAME}$"},
    "version": {"type": "integer", "minimum": 1, "maximum": 999_999_999},
}
_ROUTING_KEY: Document = {
    "name": "x-tidegate-routing-key",
    "in": "header",
    "description": "The same key gets the same version while two of them share the requests.",
    "schema": {"type": "string", "maxLength": MAX_KEY},
}
_SIGNED: Document = {
    "type": "apiKey",
    "in": "header",
    "name": "Authorization",
    "description": "AWS Signature Version 4 for the service execute-api.",
    "x-amazon-apigateway-authtype": "awsSigv4",
}


def document(
    version: str, max_instances: int, model: str = _MODEL, described: Mapping[str, Any] | None = None
) -> Document:
    """The document of the API, or of one model.

    Args:
        version: of Tidegate.
        max_instances: that one request may have.
        model: the only model of the document; without it, it is a parameter.
        described: what `Inference.describe` says of that model.
    """
    own = f"/models/{model}"
    example = None if described is None else _example(described["features"])
    paths = {
        f"{own}/predict": {"post": _predict(example)},
        f"{own}/invocations": {"post": _invocations(example)},
        own: {"get": _get("Which version answers, and the contract of a request", _OF_MODEL)},
        f"{own}/openapi.json": {"get": _get("The OpenAPI document of one model", _OF_MODEL)},
        f"{own}/docs": {"get": _get("The same as a page", _OF_MODEL, html=True)},
    }
    for base, what in ((f"/v2{own}", "the model"), (f"/v2{own}/versions/{{version}}", "one version that serves now")):
        paths[base] = {"get": _get(f"Tensors of {what}", _OF_MODEL, "Metadata", v2=True)}
        paths[f"{base}/ready"] = {"get": _get(f"Whether {what} can answer", _OF_MODEL, v2=True)}
        paths[f"{base}/infer"] = {"post": _infer(f"Predictions of {what}", described, example)}
    if described is None:
        paths |= {
            "/v2": {"get": _get("The server", v2=True)},
            "/v2/health/live": {"get": _get("Whether the server runs", v2=True)},
            "/v2/health/ready": {"get": _get("Whether the server can answer", v2=True)},
            "/health": {"get": _get("Whether the function runs")},
            "/openapi.json": {"get": _get("This document")},
            "/docs": {"get": _get("This document as a page", html=True)},
        }
    about = "Predictions of every model of this stage; /models/{model}/openapi.json is the document of one of them."
    if described is not None:
        about = f"Predictions of {model}, a {described['task']} model, by the contract of the version that serves now."
    return {
        "openapi": "3.1.0",
        "info": {"title": "Tidegate" if described is None else model, "version": version, "description": about},
        "servers": [{"url": "/"}],
        "security": [{"sigv4": []}],
        "paths": {path: _parameters(path) | item for path, item in paths.items()},
        "components": {"schemas": _schemas(described, max_instances), "securitySchemes": {"sigv4": _SIGNED}},
    }


# -- operations ----------------------------------------------------------------------------------------------------


def _parameters(path: str) -> Document:
    found = [
        {"name": name, "in": "path", "required": True, "schema": schema}
        for name, schema in _PARAMETERS.items()
        if f"{{{name}}}" in path
    ]
    return {"parameters": found} if found else {}


def _get(
    summary: str, refusals: Iterable[int] = _OF_ALL, schema: str = "Document", *, v2: bool = False, html: bool = False
) -> Document:
    content: Document = {"text/html": {}} if html else {_JSON: {"schema": _ref(schema)}}
    return {"summary": summary, "responses": _responses(content, refusals, v2=v2)}


def _predict(example: Document | None) -> Document:
    return {
        "summary": "Predictions, one for each instance",
        "parameters": [_ROUTING_KEY],
        "requestBody": _body({_JSON: ("PredictRequest", None if example is None else {"instances": [example]})}),
        "responses": _responses({_JSON: {"schema": _ref("PredictAnswer")}}, _OF_BODY),
    }


def _invocations(example: Document | None) -> Document:
    split = None if example is None else {"columns": list(example), "data": [list(example.values())]}
    content = _body({_JSON: ("InvocationRequest", None if split is None else {"dataframe_split": split})})
    content["content"][_CSV] = {"schema": {"type": "string", "description": "With a header of field names."}}
    if example is not None:
        content["content"][_CSV]["example"] = "\n".join(
            ",".join(_cell(value) for value in line) for line in (example, example.values())
        )
    return {
        "summary": "Predictions, by MLflow's protocol",
        "parameters": [_ROUTING_KEY],
        "requestBody": content,
        "responses": _responses({_JSON: {"schema": _ref("PredictAnswer")}}, _OF_BODY),
    }


def _infer(summary: str, described: Mapping[str, Any] | None, example: Document | None) -> Document:
    asked = None
    if described is not None and example is not None:
        asked = {
            "inputs": [
                {
                    "name": feature["name"],
                    "datatype": _datatypes(feature["kind"])[0],
                    "shape": [1],
                    "data": [example[feature["name"]]],
                }
                for feature in described["features"]
            ]
        }
    return {
        "summary": summary,
        "parameters": [_ROUTING_KEY],
        "requestBody": _body({_JSON: ("InferRequest", asked)}),
        "responses": _responses({_JSON: {"schema": _ref("InferAnswer")}}, _OF_BODY, v2=True),
    }


def _body(content: Mapping[str, tuple[str, Document | None]]) -> Document:
    return {
        "required": True,
        "content": {
            media: {"schema": _ref(name)} | ({} if example is None else {"example": example})
            for media, (name, example) in content.items()
        },
    }


def _responses(content: Document, refusals: Iterable[int], *, v2: bool = False) -> Document:
    """Refusals come from the function, as a problem or in the words of the Open Inference Protocol, or from API Gateway
    before it."""
    problem = {_PROBLEM: {"schema": _ref("Problem")}, _JSON: {"schema": _ref("Message")}}
    both = {_JSON: {"schema": {"anyOf": [_ref("V2Error"), _ref("Message")]}}} if v2 else problem
    refused = {str(status): {"description": _STATUSES[status], "content": both} for status in sorted(refusals)}
    return {"200": {"description": "Done.", "content": content}} | refused


def _ref(name: str) -> Document:
    return {"$ref": f"#/components/schemas/{name}"}


# -- schemas -------------------------------------------------------------------------------------------------------


def _schemas(described: Mapping[str, Any] | None, max_instances: int) -> Document:
    instances = {"type": "array", "minItems": 1, "maxItems": max_instances, "items": _ref("Instance")}
    text = {"type": "string"}
    key = {"type": ["string", "number", "null"], "maxLength": MAX_KEY}
    return {
        "Instance": _instance(None if described is None else described["features"]),
        "PredictRequest": _closed({"instances": instances, "routing_key": key}, ["instances"]),
        "InvocationRequest": _invocation_request(instances, key),
        "InferRequest": _infer_request(described, max_instances, key),
        "Prediction": _prediction(described),
        "PredictAnswer": _open(
            {
                "model": text,
                "version": {"type": ["integer", "null"]},
                "reason": {"enum": [reason.value for reason in Reason]},
                "why": {"enum": [why.value for why in Why]},
                "detail": text,
                "predictions": {"type": "array", "items": _ref("Prediction")},
            },
            ["model", "version", "reason", "predictions"],
        ),
        "InferAnswer": _open(
            {
                "model_name": text,
                "model_version": text,
                "id": text,
                "parameters": {"type": "object"},
                "outputs": {"type": "array", "items": _ref("Tensor")},
            },
            ["model_name", "outputs"],
        ),
        "Tensor": _open(
            {
                "name": {"enum": list(OUTPUTS)},
                "datatype": text,
                "shape": {"type": "array", "items": {"type": "integer"}},
                "data": {"type": "array", "items": _SCALAR},
                "parameters": {"type": "object"},
            },
            ["name", "datatype", "shape", "data"],
        ),
        "Metadata": _open(
            {
                "name": text,
                "versions": {"type": "array", "items": text},
                "platform": text,
                "inputs": {"type": "array", "items": {"type": "object"}},
                "outputs": {"type": "array", "items": {"type": "object"}},
            },
            ["name", "platform", "inputs", "outputs"],
        ),
        "Document": {"type": "object"},
        "Problem": _open(
            {
                "type": text,
                "title": text,
                "status": {"type": "integer"},
                "detail": text,
                "errors": {"type": "array", "items": _ref("Fault")},
                "next_step": text,
            },
            ["type", "title", "status", "detail"],
        ),
        "V2Error": _open({"error": text, "errors": {"type": "array", "items": _ref("Fault")}}, ["error"]),
        "Fault": _open(
            {"path": text, "problem": text, "allowed": {"type": "array", "items": text}}, ["path", "problem"]
        ),
        "Message": _open({"message": text}, ["message"]),
    }


def _closed(properties: Document, required: Sequence[str]) -> Document:
    return _open(properties, required) | {"additionalProperties": False}


def _open(properties: Document, required: Sequence[str]) -> Document:
    return {"type": "object", "properties": properties, "required": list(required)}


def _instance(features: Iterable[Mapping[str, Any]] | None) -> Document:
    if features is None:
        return {"type": "object", "additionalProperties": _SCALAR}
    required = [feature["name"] for feature in features if feature["missing"] == "reject"]
    return _closed({feature["name"]: _value(feature) for feature in features}, required)


def _value(feature: Mapping[str, Any]) -> Document:
    """The schema of what a feature may hold."""
    optional = feature["missing"] == "allow"
    schema: Document
    match feature["kind"]:
        case "numeric" | "integer" as kind:
            schema = {
                "type": "number" if kind == "numeric" else "integer",
                "minimum": max(feature.get("minimum", -MAX_NUMBER), -MAX_NUMBER),
                "maximum": min(feature.get("maximum", MAX_NUMBER), MAX_NUMBER),
            }
        case "boolean":
            schema = {"type": "boolean"}
        case "time":
            schema = {"type": "string", "format": "date-time"}
        case _:
            schema = {"type": "string", "minLength": 0 if optional else 1, "maxLength": MAX_TEXT}
            if feature.get("unseen") == "reject" and "categories" in feature:
                schema = {"type": "string", "enum": [*feature["categories"], *([""] if optional else [])]}
    if optional:
        schema["type"] = [schema["type"], "null"]
        if "enum" in schema:
            schema["enum"].append(None)
    return schema | ({"description": f"in {feature['unit']}"} if "unit" in feature else {})


def _invocation_request(instances: Document, key: Document) -> Document:
    params = {"type": ["object", "null"], "properties": {"routing_key": key}, "additionalProperties": False}
    columns = {"type": "object", "minProperties": 1, "additionalProperties": {"type": "array"}}
    rows = {"type": "array", "items": {"type": "array"}, "minItems": 1, "maxItems": instances["maxItems"]}
    names = {"type": "array", "items": {"type": "string"}, "minItems": 1, "uniqueItems": True}
    split = _closed({"columns": names, "data": rows, "index": {}}, ["columns", "data"])
    forms = {
        "dataframe_split": split,
        "dataframe_records": instances,
        "instances": instances,
        "inputs": {"anyOf": [instances, columns]},
    }
    return {"anyOf": [_closed({form: schema, "params": params}, [form]) for form, schema in forms.items()]}


def _infer_request(described: Mapping[str, Any] | None, max_instances: int, key: Document) -> Document:
    features = None if described is None else described["features"]
    tensors: Document = _input(None, max_instances)
    if features is not None:
        tensors = {"anyOf": [_input(feature, max_instances) for feature in features]}
    names = {"type": "array", "minItems": 1, "items": _open({"name": {"enum": list(OUTPUTS)}}, ["name"])}
    return _open(
        {
            "id": {"type": ["string", "null"], "maxLength": MAX_ID},
            "parameters": _open({"routing_key": key}, []),
            "inputs": {"type": "array", "minItems": 1, "items": tensors},
            "outputs": names | {"type": ["array", "null"]},
        },
        ["inputs"],
    )


def _input(feature: Mapping[str, Any] | None, max_instances: int) -> Document:
    """A tensor of a request: [n] or [n, 1]."""
    value = _SCALAR if feature is None else _value(feature)
    types = _datatypes("numeric") + _datatypes("boolean") + _datatypes("") if feature is None else None
    size = {"type": "integer", "minimum": 1, "maximum": max_instances}
    nested = {"type": "array", "items": value, "minItems": 1, "maxItems": 1}
    return _open(
        {
            "name": {"type": "string"} if feature is None else {"const": feature["name"]},
            "datatype": {"enum": types or _datatypes(feature["kind"] if feature else "")},
            "shape": {"type": "array", "prefixItems": [size, {"const": 1}], "minItems": 1, "maxItems": 2},
            "data": {"anyOf": [{"type": "array", "items": each, "minItems": 1} for each in (value, nested)]},
        },
        ["name", "datatype", "shape", "data"],
    )


def _datatypes(kind: str) -> list[str]:
    """Of tensors for a kind of feature, the one to use first."""
    match kind:
        case "numeric":
            return ["FP64", "FP32", *_NUMBERS]
        case "integer":
            return ["INT64", "FP64", "FP32", *_NUMBERS[1:]]
        case "boolean":
            return ["BOOL"]
        case _:
            return ["BYTES"]


def _prediction(described: Mapping[str, Any] | None) -> Document:
    number, text = {"type": "number"}, {"type": "string"}
    probabilities: Document = {"type": "object", "additionalProperties": number}
    properties: Document = {"id": text | {"format": "uuid"}, "label": _SCALAR, "score": number}
    required = ["id", "score"]
    if described is not None and described["classes"]:
        properties["label"] = {"enum": described["classes"]}
        required += ["label", "probabilities"]
    flag = {"type": "boolean"}
    properties |= {"probabilities": probabilities, "lower": number, "upper": number}
    return _open(properties | {"fallback": flag, "rule": text, "unusual": flag, "why": text}, required)


def _example(features: Iterable[Mapping[str, Any]]) -> Document:
    """An instance that keeps the contract."""
    return {feature["name"]: _some_value(feature) for feature in features}


def _some_value(feature: Mapping[str, Any]) -> Any:
    match feature["kind"]:
        case "numeric" | "integer":
            low, high = feature.get("minimum"), feature.get("maximum")
            known = [bound for bound in (low, high) if bound is not None] or [0]
            middle = sum(known) / len(known)
            return middle if feature["kind"] == "numeric" else round(middle)
        case "boolean":
            return False
        case "time":
            return _TIME
        case _:
            return (feature.get("categories") or ("text",))[0]
