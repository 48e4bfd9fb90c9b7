"""An OpenAPI document as one HTML page, without scripts."""

import json
from collections.abc import Mapping
from html import escape
from typing import Any


def page(found: Mapping[str, Any]) -> str:
    """An OpenAPI document as one HTML page that loads nothing else."""
    info = found["info"]
    operations = "".join(
        _operation(path, method, item[method])
        for path, item in found["paths"].items()
        for method in ("get", "post")
        if method in item
    )
    schemas = "".join(
        f'<h3 id="{escape(name)}">{escape(name)}</h3><pre>{_pretty(schema)}</pre>'
        for name, schema in found["components"]["schemas"].items()
    )
    return _PAGE.format(
        title=escape(info["title"]),
        about=escape(info["description"]),
        version=escape(info["version"]),
        operations=operations,
        schemas=schemas,
    )


def _cell(value: Any) -> str:
    text = str(value)
    return '"' + text.replace('"', '""') + '"' if any(mark in text for mark in ',"\n') else text


# -- the page ------------------------------------------------------------------------------------------------------


def _operation(path: str, method: str, operation: Mapping[str, Any]) -> str:
    parts = [f"<details><summary><b>{method.upper()}</b> <code>{escape(path)}</code> {escape(operation['summary'])}"]
    parts.append("</summary>")
    for media, body in operation.get("requestBody", {}).get("content", {}).items():
        parts.append(f"<p>Send <code>{escape(media)}</code>: {_linked(body['schema'])}</p>")
        if "example" in body:
            example = body["example"]
            parts.append(f"<pre>{escape(example) if isinstance(example, str) else _pretty(example)}</pre>")
    for status, response in operation["responses"].items():
        kinds = ", ".join(
            f"<code>{escape(media)}</code> {_linked(content.get('schema', {}))}"
            for media, content in response["content"].items()
        )
        parts.append(f"<p><b>{status}</b> {escape(response['description'])} {kinds}</p>")
    return "".join([*parts, "</details>"])


def _linked(schema: Mapping[str, Any]) -> str:
    names = [each["$ref"].rsplit("/", 1)[-1] for each in schema.get("anyOf", (schema,)) if "$ref" in each]
    return " or ".join(f'<a href="#{escape(name)}">{escape(name)}</a>' for name in names)


def _pretty(value: Any) -> str:
    return escape(json.dumps(value, indent=2, ensure_ascii=False))


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1b1b1b;
  background: #fff }}
details {{ border-top: 1px solid #ccc; padding: .5rem 0 }} summary {{ cursor: pointer }}
pre {{ background: #f4f4f4; padding: .75rem; overflow-x: auto; font-size: 14px }} a {{ color: #0b57a4 }}
@media (prefers-color-scheme: dark) {{ body {{ color: #e6e6e6; background: #161616 }} pre {{ background: #242424 }}
  a {{ color: #8ab8ea }} }}
</style></head><body><h1>{title}</h1><p>{about}</p><p>Version {version}.</p>
<h2>Operations</h2>{operations}<h2>Schemas</h2>{schemas}</body></html>
"""
