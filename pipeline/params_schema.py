"""The JSON schema of params.yaml and of the files of params/, by which an editor completes and checks them.

`python -m docs.generate` writes it to params.schema.json, which the first line of these files names.
"""

import json
from typing import Any

from pipeline import params_files, plugins
from pipeline.params import Params

FILE = "params.schema.json"
#: settings that name a plug-in, by definition in the schema; a user's own plug-ins are possible, too
PLUGINS = (("Dataset", "format", "prepare.formats"), ("Job", "architecture", "models"), ("Job", "task", "tasks"))


def text() -> str:
    """The content of params.schema.json."""
    return json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"


def schema() -> dict[str, Any]:
    """The schema: that of the model, but a job may be `like` another, and a section may be empty or in another file."""
    made = _without_titles(Params.model_json_schema())
    definitions = made["$defs"]
    for model, setting, kind in PLUGINS:
        definitions[model]["properties"][setting] = {"anyOf": [{"enum": _shipped(kind)}, {"type": "string"}]}
    _allow_like(definitions)
    properties = {
        name: made["properties"][name] for name in Params.model_fields if not Params.model_fields[name].exclude
    }
    for name in params_files.SECTIONS:
        properties[name] = {"anyOf": [properties[name], {"type": "null"}]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "description": f"params.yaml and {params_files.FOLDER}/*.yaml",
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
        "$defs": definitions,
    }


def _allow_like(definitions: dict[str, Any]) -> None:
    """Split a job into its settings, which studies have as well, and what a job must have besides."""
    job = definitions["Job"]
    required = job.pop("required")
    settings = definitions["Study"]["properties"]
    settings["base"], settings["variants"]["additionalProperties"] = [{"$ref": "#/$defs/Settings"}] * 2
    definitions["Settings"] = {**job, "description": "Settings of a job, as the base or a variant of a study has them."}
    like = {"type": "string", "description": "A job whose settings count where this one has none."}
    definitions["Job"] = {
        **job,
        "properties": {"like": like, **job["properties"]},
        "anyOf": [{"required": ["like"]}, {"required": required}],
    }


def _shipped(kind: str) -> list[str]:
    own = plugins.own_names(kind)
    return [name for name in plugins.names(kind) if name not in own]


def _without_titles(value: Any) -> Any:
    """Without pydantic's titles, which are the names again; a property of that name is kept."""
    if isinstance(value, list):
        return [_without_titles(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        name: _without_titles(item) for name, item in value.items() if not (name == "title" and isinstance(item, str))
    }
