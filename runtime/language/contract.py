"""What a workflow takes and gives back, `inputs` and `outputs`: what can be wrong with them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from perdure.runtime.language import inputs, names
from perdure.runtime.language.conditions import inputs_taken
from perdure.runtime.language.definition import Definition
from perdure.runtime.language.findings import Findings, Path
from perdure.runtime.language.giving import CEL, check_expression, expression_of
from perdure.runtime.language.outputs import BadSchema, check_schema, make_validator
from perdure.runtime.language.values import paths_in
from perdure.runtime.near import quoted

Read = tuple[Path, str, str]  # a place, the first segment of what is looked up there, and all of it


def check_contract(
    definition: Definition, *, keys: Mapping[str, int], reads: Iterable[Read], findings: Findings
) -> None:
    """Add everything that is wrong with the inputs and outputs of a definition.

    `reads` are what its steps look up.
    """
    everything = [*reads, *_check_outputs(definition, keys, findings)]
    schema = definition.inputs
    if schema is None:
        return
    if not _check_schema(schema, keys, findings):
        return
    declared = inputs.names_of(schema)
    for place, name, written in everything if declared is not None else ():
        if name not in keys and name not in (declared or ()):
            findings.add(
                place,
                f"{written} is neither a step nor a declared input",
                near=(name, [*(declared or ()), *keys]),
            )


def _check_schema(schema: dict[str, Any], keys: Mapping[str, int], findings: Findings) -> bool:
    """Refuse what is no schema of a mapping; answers whether it can be used."""
    try:
        check_schema(schema)
    except BadSchema as error:
        findings.add(("inputs", *error.path), f"not a JSON Schema: {error}")
        return False
    if schema.get("type", "object") != "object":
        findings.add(("inputs", "type"), "inputs are a mapping of names to values", expected="object")
        return False
    for name in inputs.misplaced(schema):
        findings.add(
            ("inputs", name),
            f"{quoted(name)} is no word of JSON Schema, and so declares nothing",
            expected="the inputs under `properties`",
        )
    validator = make_validator(schema)
    for name, declared in schema.get("properties", {}).items():
        path = ("inputs", "properties", name)
        if name in keys:
            findings.add(
                path, f"the input {quoted(name)} is also the key of a step: call one of them otherwise"
            )
        if isinstance(declared, dict) and "default" in declared:
            errors = validator.iter_errors({name: declared["default"]})
            wrong = next((error for error in errors if error.instance_path[:1] == [name]), None)
            if wrong is not None:
                findings.add((*path, "default"), f"the default does not fit: {wrong.message}")
    return True


def _check_outputs(definition: Definition, keys: Mapping[str, int], findings: Findings) -> Iterable[Read]:
    """Refuse names nobody can use and templates that look up nothing; yield what they look up."""
    for name, value in (definition.outputs or {}).items():
        if not names.is_label(name):
            findings.add(
                ("outputs", name),
                f"{quoted(name)} has characters that cannot be shown",
                expected="visible text",
            )
        if (text := expression_of(value)) is not None:
            check_expression(text, ("outputs", name, CEL), keys=keys, findings=findings)
            for taken in sorted(inputs_taken(text)):
                yield ("outputs", name, CEL), taken, f"inputs[{quoted(taken)}]"
            continue
        for place, path in paths_in(value, ("outputs", name), findings):
            yield place, path.segments[0], str(path)
