"""The workflow language: YAML, JSON and Python to one canonical definition, and on to a plan."""

from perdure.actors.errors import ChildFailed, ChildNotStarted, ExpressionError, OutputError, WaitTimeout
from perdure.runtime.agents.errors import InputError, UnknownAgent
from perdure.runtime.agents.signature import From
from perdure.runtime.language.acting import Action
from perdure.runtime.language.checking import check_agents
from perdure.runtime.language.compiling import compile_plan
from perdure.runtime.language.conditions import ConditionsNotInstalled
from perdure.runtime.language.definition import (
    Config,
    Definition,
    RetryDefinition,
    StepDefinition,
    definition_from_json,
    revision_of,
)
from perdure.runtime.language.demands import check_context
from perdure.runtime.language.errors import (
    CycleError,
    DefinitionError,
    OutputMismatch,
    Problem,
    TemplateError,
)
from perdure.runtime.language.parsing import parse
from perdure.runtime.language.policy import ForEach, Repeat, Retry
from perdure.runtime.language.printing import NotPrintable
from perdure.runtime.language.workflow import Workflow

__all__ = [
    "Action",
    "ChildFailed",
    "ChildNotStarted",
    "ConditionsNotInstalled",
    "Config",
    "CycleError",
    "Definition",
    "DefinitionError",
    "ExpressionError",
    "ForEach",
    "From",
    "InputError",
    "NotPrintable",
    "OutputError",
    "OutputMismatch",
    "Problem",
    "Repeat",
    "Retry",
    "RetryDefinition",
    "StepDefinition",
    "TemplateError",
    "UnknownAgent",
    "WaitTimeout",
    "Workflow",
    "check_agents",
    "check_context",
    "compile_plan",
    "definition_from_json",
    "parse",
    "revision_of",
]
