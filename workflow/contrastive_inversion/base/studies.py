"""Studies: one YAML file each, holding only what differs from its parent, checked against a JSON schema."""

import functools
import os
import re
from pathlib import Path

import jsonschema
import yaml

from contrastive_inversion.base.errors import UserError, nearest

FOLDER = "CONTRASTIVE_INVERSION_STUDIES"  # reaches every process that a workflow starts
WORKFLOW = Path(__file__).resolve().parents[2]


class Loader(yaml.SafeLoader):
    """Safe YAML that reads 3e-4 as the number it is (YAML 1.1 wants 3.0e-4)."""


Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+"), list("-+0123456789")
)


def read_yaml(path):
    """A YAML file's content. Raises UserError naming the file and line where it is not valid."""
    try:
        return yaml.load(Path(path).read_text(encoding="utf-8"), Loader) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None


def folders():
    """Where study files lie: the user's own folder (`studies` in config.yaml), then this package's."""
    own = os.environ.get(FOLDER)
    return [*([Path(own)] if own else []), WORKFLOW / "studies"]


def use_folder_of(config):
    """Let this process and all that it starts find the user's own studies."""
    if "studies" in config:
        os.environ[FOLDER] = str(Path(config["studies"]).resolve())


def available():
    """The names of all studies."""
    return sorted({path.stem for folder in folders() for path in folder.glob("*.yaml")})


def merged(parent, child):
    """The parent's settings with the child's laid over them; mappings merge, but a data set is replaced as a whole."""
    result = dict(parent)
    for key, value in child.items():
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        if both and key == "data":
            result[key] = result[key] | value
        else:
            result[key] = merged(result[key], value) if both else value
    return result


@functools.cache
def load(name):
    """A study's settings: the file laid over its ancestors, validated, with its own `name`.

    Raises UserError for an unknown study, an unknown or mistyped key, or an impossible value.
    """
    path = next((found for folder in folders() if (found := folder / f"{name}.yaml").exists()), None)
    if path is None:
        raise UserError(f"config.yaml: study: there is no study '{name}'{nearest(name, available())}")
    own = read_yaml(path)
    validate(own, "study", path)
    parent = load(own["inherits"]) if "inherits" in own else {}
    settings = merged(parent, {key: value for key, value in own.items() if key != "inherits"})
    return settings | {"name": name}


def flattened(settings, prefix=""):
    """Nested settings as {dotted key: value}."""
    found = {}
    for key, value in settings.items():
        name = f"{prefix}{key}"
        found |= flattened(value, f"{name}.") if isinstance(value, dict) and value else {name: value}
    return found


def differences(study, other):
    """Where two studies' settings differ: a list of (dotted key, the study's value, the other's), None where absent."""
    told = {"name", "description"}
    ours, theirs = (flattened({k: v for k, v in s.items() if k not in told}) for s in (study, other))
    keys = dict.fromkeys([*ours, *theirs])
    return [(key, ours.get(key), theirs.get(key)) for key in keys if ours.get(key) != theirs.get(key)]


def validate(settings, schema_name, path):
    """Check settings against workflow/schemas/<schema_name>.schema.yaml.

    Raises UserError with file, key path, what is allowed and the nearest valid key.
    """
    schema = yaml.safe_load((WORKFLOW / "schemas" / f"{schema_name}.schema.yaml").read_text())
    problem = jsonschema.exceptions.best_match(jsonschema.Draft202012Validator(schema).iter_errors(settings))
    if problem:
        where = ".".join(map(str, problem.absolute_path)) or "top level"
        raise UserError(f"{path}: {where}: {explained(problem)}")


def explained(problem):
    """One sentence on a schema violation: what is there, what is allowed."""
    if problem.validator == "additionalProperties":
        known = problem.schema.get("properties", {})
        unknown = [key for key in problem.instance if key not in known]
        return f"unknown key '{unknown[0]}'{nearest(unknown[0], known)}"
    if problem.validator == "type":
        return f"{problem.instance!r} is not of type {problem.validator_value}"
    if problem.validator == "enum":
        return f"{problem.instance!r} is not one of {', '.join(map(str, problem.validator_value))}"
    limits = {"minimum": "below", "exclusiveMinimum": "not above", "maximum": "above"}
    if problem.validator in limits:
        return f"{problem.instance!r} is {limits[problem.validator]} {problem.validator_value}"
    return problem.message
