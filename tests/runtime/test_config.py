"""Settings come from arguments, variables, the file and defaults, in that order, and say so."""

from __future__ import annotations

from pathlib import Path

import pytest

from perdure.actors.state.trial import CRASH_BUDGET
from perdure.runtime import runtime
from perdure.runtime.config import MEANINGS, ConfigError, Settings, resolve


def test_without_anything_given_every_setting_is_its_default(tmp_path: Path):
    """An empty folder and an empty environment leave the defaults in force."""
    config = resolve(environment={}, folder=tmp_path)
    assert config.settings == Settings()
    assert set(config.sources.values()) == {"default"}


def test_arguments_win_over_variables_over_the_file(tmp_path: Path):
    """Each place wins over those behind it, setting by setting, and is named as the source."""
    (tmp_path / "perdure.toml").write_text('db = "file.db"\nmax_active = 3\nlog_level = "debug"\n')
    environment = {"PERDURE_DB": "variable.db", "PERDURE_MAX_ACTIVE": "5", "PERDURE_AGENTS": ""}
    config = resolve({"db": "argument.db", "agents": None}, environment=environment, folder=tmp_path)
    assert config.settings.db == "argument.db"
    assert config.settings.max_active == 5
    assert config.settings.log_level == "debug"
    assert config.sources["db"] == "argument"
    assert config.sources["max_active"] == "PERDURE_MAX_ACTIVE"
    assert config.sources["log_level"] == "perdure.toml"
    assert config.sources["agents"] == "default"


def test_a_file_that_begins_with_a_byte_order_mark_is_read_as_one_without(tmp_path: Path):
    """As editors of some systems write it."""
    (tmp_path / "perdure.toml").write_bytes(b"\xef\xbb\xbf" + b'db = "file.db"\n')
    assert resolve(environment={}, folder=tmp_path).settings.db == "file.db"


def test_webhooks_are_tables_in_the_file_and_json_in_the_variable(tmp_path: Path):
    """A list is no text."""
    (tmp_path / "perdure.toml").write_text('[[webhooks]]\nurl = "https://there"\nevents = ["failed"]\n')
    assert resolve(environment={}, folder=tmp_path).settings.webhooks == (
        {"url": "https://there", "events": ["failed"]},
    )
    variable = {"PERDURE_WEBHOOKS": '[{"url": "https://here"}]'}
    assert resolve(environment=variable, folder=tmp_path).settings.webhooks == ({"url": "https://here"},)
    with pytest.raises(ConfigError, match="PERDURE_WEBHOOKS"):
        resolve(environment={"PERDURE_WEBHOOKS": "https://here"}, folder=tmp_path)


def test_a_key_in_place_of_its_place_is_not_shown(tmp_path: Path):
    """Whoever prints the settings may have a log behind it."""

    def shown(keys: str | None) -> object:
        table = resolve({"keys": keys}, environment={}, folder=tmp_path).table()
        return next(row.value for row in table if row.name == "keys")

    assert shown("k1:c2VjcmV0") == "neither file:PATH nor env:NAME"
    assert (shown("env:THE_KEYS"), shown(None)) == ("env:THE_KEYS", None)


def test_the_default_limits_are_those_of_the_runtime():
    """The printed table tells what holds inside, though it is printed without loading the runtime."""
    assert Settings().max_active == runtime.MAX_ACTIVE
    assert Settings().max_active_steps == runtime.MAX_ACTIVE_STEPS
    assert Settings().crash_budget == CRASH_BUDGET


def test_the_table_has_a_row_for_every_setting_with_its_meaning(tmp_path: Path):
    """What `perdure config` prints leaves nothing out."""
    table = resolve(environment={}, folder=tmp_path).table()
    assert [row.name for row in table] == list(Settings.__struct_fields__) == list(MEANINGS)
    assert all(row.meaning for row in table)


def test_the_table_never_shows_a_password(tmp_path: Path):
    """People paste it into reports."""
    url = "postgresql://anna:secret@host/orders"
    config = resolve({"db": url}, environment={}, folder=tmp_path)
    assert config.settings.db == url
    assert "postgresql://anna@host/orders" in [row.value for row in config.table()]


def test_an_unknown_setting_is_refused_with_the_nearest_name(tmp_path: Path):
    """A typo in the file must not pass for a setting."""
    (tmp_path / "perdure.toml").write_text('durabilty = "power"\n')
    with pytest.raises(ConfigError, match="did you mean 'durability'") as caught:
        resolve(environment={}, folder=tmp_path)
    assert caught.value.name == "durabilty"
    assert caught.value.source == "perdure.toml"


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("PERDURE_MAX_ACTIVE", "many"),
        ("PERDURE_MAX_ACTIVE", "0"),
        ("PERDURE_DURABILITY", "hope"),
        ("PERDURE_LOG_FORMAT", "JSON"),
    ],
)
def test_a_variable_that_cannot_be_is_refused_by_name(tmp_path: Path, variable: str, text: str):
    """The message says which variable and what was expected."""
    with pytest.raises(ConfigError, match=variable):
        resolve(environment={variable: text}, folder=tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        b"db = ",
        b"\xff\xfe",
        b"max_active = '5'",
        b"[db]\na = 1",
        b"a = " + b"[" * 5_000,
        b"a = " + b"1" * 5_000,
    ],
    ids=["cut", "encoding", "text", "table", "deep", "long"],
)
def test_a_file_that_cannot_be_read_is_one_readable_error(tmp_path: Path, content: bytes):
    """Broken TOML, another encoding or a wrong type name the file."""
    (tmp_path / "perdure.toml").write_bytes(content)
    with pytest.raises(ConfigError, match=r"perdure\.toml"):
        resolve(environment={}, folder=tmp_path)


def test_a_file_larger_than_settings_can_be_is_not_read(tmp_path: Path):
    """Something else has that name."""
    (tmp_path / "perdure.toml").write_text("#" * 100_001)
    with pytest.raises(ConfigError, match="larger than"):
        resolve(environment={}, folder=tmp_path)
