"""What is in force and why: arguments, then `PERDURE_*`, then `perdure.toml`, then defaults.

`resolve` looks at every place once and gives back one immutable `Config`, in which each setting
remembers where its value came from. `perdure config` prints exactly that.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec

from perdure.actors.state.trial import CRASH_BUDGET
from perdure.runtime.arguments import LEASE_S_MAX, LEASE_S_MIN
from perdure.runtime.durations import RETENTION
from perdure.runtime.keys import FILE, VARIABLE
from perdure.runtime.near import nearest
from perdure.store.errors import PerdureError
from perdure.store.records import LEASE_MS
from perdure.store.urls import without_password

FILE_NAME: Final = "perdure.toml"
VARIABLE_PREFIX: Final = "PERDURE_"
FILE_BYTES_MAX: Final = 100_000  # a settings file of more than that is some other file

AtLeastOne = Annotated[int, msgspec.Meta(ge=1)]
Retention = Annotated[str, msgspec.Meta(pattern=r"^(off|(\d+(\.\d+)?(ms|s|m|h|d|w))+)$")]
LeaseSeconds = Annotated[float, msgspec.Meta(ge=LEASE_S_MIN, le=LEASE_S_MAX)]


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that can be set, with its default."""

    db: str = "perdure.db"
    durability: Literal["power", "process"] = "power"
    keys: str | None = None
    agents: str | None = None
    max_active: AtLeastOne = 10_000
    max_active_steps: AtLeastOne = 10_000
    lease_s: LeaseSeconds = LEASE_MS / 1000
    crash_budget: AtLeastOne = CRASH_BUDGET
    retention: Retention = RETENTION
    webhooks: tuple[dict[str, Any], ...] = ()
    log_level: Literal["debug", "info", "warning", "error"] = "warning"
    log_format: Literal["console", "json"] = "console"


MEANINGS: Final[dict[str, str]] = {
    "db": "database file or URL",
    "durability": "what a commit survives: power loss, or the death of the process",
    "keys": "what payloads are encrypted with: file:PATH or env:NAME",
    "agents": "where agents come from: module:registry or path/to/file.py:registry",
    "max_active": "executions in flight in one process; more wait their turn",
    "max_active_steps": "steps in flight in one process; more wait their turn",
    "lease_s": "seconds of silence after which other processes take a stopped one's executions over",
    "crash_budget": "deaths of its process, the last one alone with it, that fail a step",
    "retention": "how long what has ended is kept: 90d, 4w, or off",
    "webhooks": "who is told of the executions of all workflows: url, events, secret",
    "log_level": "the least important log line that is shown (a worker also shows info)",
    "log_format": "how log lines look",
}


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """One setting in force; `source` is `argument`, the variable, the file or `default`."""

    name: str
    value: Any
    source: str
    meaning: str


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """The settings in force and where each came from."""

    settings: Settings
    sources: dict[str, str]

    def table(self) -> list[Setting]:
        """Every setting with its value, source and meaning, in the order of `Settings`."""
        return [
            Setting(
                name=name,
                value=_shown(name, getattr(self.settings, name)),
                source=self.sources[name],
                meaning=MEANINGS[name],
            )
            for name in Settings.__struct_fields__
        ]


def _shown(name: str, value: Any) -> Any:
    """A setting as people may see it."""
    if name == "keys" and value is not None and not value.startswith((FILE, VARIABLE)):
        return "neither file:PATH nor env:NAME"  # a key?
    return without_password(value) if name == "db" else value


class ConfigError(PerdureError):
    """A setting has a name nobody knows or a value that cannot be; `source` says where it stands."""

    def __init__(self, message: str, *, source: str, name: str | None = None) -> None:
        """`name` is the setting, where it is one setting's fault."""
        super().__init__(message)
        self.source = source
        self.name = name


def resolve(
    arguments: Mapping[str, Any] | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    folder: str | os.PathLike[str] = ".",
) -> Config:
    """Find out what is in force: arguments that are not None, then variables, then the file.

    An empty variable counts as not set. Relative paths stay relative to the current folder.
    Raises ConfigError, naming the place and what was expected there.
    """
    chosen: dict[str, tuple[Any, str]] = {}
    path = Path(folder) / FILE_NAME
    for name, value in _read(path).items():
        chosen[name] = (_checked(name, value, source=FILE_NAME), FILE_NAME)
    for name in Settings.__struct_fields__:
        variable = VARIABLE_PREFIX + name.upper()
        text = (os.environ if environment is None else environment).get(variable)
        if text:
            chosen[name] = (_checked(name, text, source=variable, is_text=True), variable)
    for name, value in (arguments or {}).items():
        if value is not None:
            chosen[name] = (_checked(name, value, source="argument"), "argument")
    return Config(
        settings=Settings(**{name: value for name, (value, _) in chosen.items()}),
        sources={name: chosen.get(name, (None, "default"))[1] for name in Settings.__struct_fields__},
    )


def _read(path: Path) -> dict[str, Any]:
    """The settings that the file holds; none when there is no file."""
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise ConfigError(f"{path}: larger than {FILE_BYTES_MAX:,} bytes", source=str(path))
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}", source=str(path)) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}", source=str(path)) from error
    return _parsed(text, source=str(path))


def _parsed(text: str, *, source: str) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # no TOML; or a number, or a nesting, of absurd length
        raise ConfigError(f"{source}: not valid TOML: {error}", source=source) from error


def _checked(name: str, value: Any, *, source: str, is_text: bool = False) -> Any:
    """The value as its type; text, as variables are, is read as a number where one is wanted."""
    if name not in Settings.__struct_fields__:
        near = nearest(name, Settings.__struct_fields__)
        hint = f"did you mean {near!r}?" if near else f"known: {', '.join(Settings.__struct_fields__)}"
        raise ConfigError(f"{source}: unknown setting {name!r}; {hint}", source=source, name=name)
    wanted = {field.name: field.type for field in msgspec.structs.fields(Settings)}[name]
    try:
        if is_text and name == "webhooks":
            return msgspec.json.decode(value, type=wanted)
        return msgspec.convert(value, wanted, strict=not is_text)
    except msgspec.DecodeError as error:
        message = f"{source}: {name} = {value!r} cannot be ({MEANINGS[name]}): {error}"
        raise ConfigError(message, source=source, name=name) from error
