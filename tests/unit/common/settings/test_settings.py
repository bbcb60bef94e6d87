"""Settings: where values come from, and what an operator is told about a mistake."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import pytest
from pydantic import Field, model_validator

from services.common.settings.addresses import join_address, means_every, split_address
from services.common.settings.describe import HIDDEN, describe, describe_class
from services.common.settings.node import NodeSettings
from services.common.settings.sources import SERVICES, Problem, SettingsError, load, settings_class


class Example(NodeSettings):
    greeting: str = Field("hello", description="What is said first.")
    count_max: int = Field(3, ge=1, le=9, description="How often. More is louder.")
    wait_s: float = Field(1.0, gt=0, description="Time between two.")

    @model_validator(mode="after")
    def _is_short(self) -> Self:
        if self.count_max * self.wait_s > 20:
            raise ValueError("count_max times wait_s must not be over 20 s")
        return self


def problems(environ: dict[str, str]) -> tuple[Problem, ...]:
    with pytest.raises(SettingsError) as caught:
        load(Example, environ)
    return caught.value.problems


def test_values_come_from_the_environment_with_their_types() -> None:
    settings = load(Example, {"TIDINGS_NODE": "a-0", "TIDINGS_COUNT_MAX": "5", "TIDINGS_ETCD_ENDPOINTS": "h1:1, h2:2"})
    assert (settings.node, settings.count_max, settings.etcd_endpoints) == ("a-0", 5, ["h1:1", "h2:2"])


def test_the_environment_wins_over_the_file_and_the_file_over_the_default(tmp_path: Path) -> None:
    file = tmp_path / "tidings.toml"
    file.write_text('node = "from-file"\ngreeting = "from-file"\n')
    settings = load(Example, {"TIDINGS_CONFIG": str(file), "TIDINGS_GREETING": "from-environment"})
    assert (settings.node, settings.greeting, settings.count_max) == ("from-file", "from-environment", 3)


def test_each_setting_tells_its_value_its_origin_and_its_meaning(tmp_path: Path) -> None:
    file = tmp_path / "tidings.toml"
    file.write_text('node = "a-0"\n')
    shown = {row.name: row for row in describe(load(Example, {"TIDINGS_CONFIG": str(file), "TIDINGS_WAIT_S": "2"}))}
    assert (shown["node"].value, shown["node"].origin) == ("a-0", "file")
    assert (shown["wait_s"].value, shown["wait_s"].origin) == ("2.0", "environment")
    assert (shown["greeting"].value, shown["greeting"].origin) == ("hello", "default")
    assert shown["count_max"].meaning == "How often. More is louder."
    assert shown["count_max"].allowed == "≥ 1, ≤ 9"
    assert shown["log_format"].allowed == "json | console"


def test_a_value_out_of_bounds_is_named_with_its_value_and_what_is_allowed() -> None:
    (problem,) = problems({"TIDINGS_NODE": "a", "TIDINGS_COUNT_MAX": "12"})
    assert (problem.name, problem.value) == ("TIDINGS_COUNT_MAX", "12")
    assert "less than or equal to 9" in problem.advice


def test_a_value_of_the_wrong_type_is_named_with_what_is_allowed() -> None:
    (problem,) = problems({"TIDINGS_NODE": "a", "TIDINGS_COUNT_MAX": "many"})
    assert "TIDINGS_COUNT_MAX='many'" in str(problem)
    assert "integer" in problem.advice


def test_a_choice_that_does_not_exist_lists_those_that_do() -> None:
    (problem,) = problems({"TIDINGS_NODE": "a", "TIDINGS_LOG_FORMAT": "xml"})
    assert "json" in problem.advice
    assert "console" in problem.advice


def test_an_unknown_name_is_answered_with_the_nearest_known_one() -> None:
    (problem,) = problems({"TIDINGS_NODE": "a", "TIDINGS_COUNT_MX": "3"})
    assert problem.name == "TIDINGS_COUNT_MX"
    assert "did you mean TIDINGS_COUNT_MAX?" in problem.advice


def test_an_unknown_name_in_the_file_is_answered_in_the_files_own_terms(tmp_path: Path) -> None:
    file = tmp_path / "tidings.toml"
    file.write_text('node = "a"\ngreting = "x"\n')
    (problem,) = problems({"TIDINGS_CONFIG": str(file)})
    assert problem.name == "greting"
    assert "did you mean greeting?" in problem.advice


def test_names_of_the_command_and_free_names_are_no_mistakes(tmp_path: Path) -> None:
    load(Example, {"TIDINGS_NODE": "a", "TIDINGS_DATA": "d", "TIDINGS_ETCD": "e", "TIDINGS_X_MINE": "1"})


def test_all_mistakes_are_told_at_once() -> None:
    told = problems({"TIDINGS_COUNT_MAX": "0", "TIDINGS_WAIT_S": "-1", "TIDINGS_NO_SUCH_THING_AT_ALL": "1"})
    assert {problem.name for problem in told} == {
        "TIDINGS_NODE",
        "TIDINGS_COUNT_MAX",
        "TIDINGS_WAIT_S",
        "TIDINGS_NO_SUCH_THING_AT_ALL",
    }


def test_a_setting_that_must_be_given_is_named_with_its_meaning() -> None:
    (problem,) = problems({})
    assert problem.name == "TIDINGS_NODE"
    assert "unique in the cluster" in problem.advice


def test_settings_that_do_not_fit_together_are_refused() -> None:
    (problem,) = problems({"TIDINGS_NODE": "a", "TIDINGS_COUNT_MAX": "9", "TIDINGS_WAIT_S": "9"})
    assert "must not be over 20 s" in problem.advice


def test_listening_on_every_address_asks_for_one_that_others_can_call() -> None:
    (problem,) = problems({"TIDINGS_NODE": "a", "TIDINGS_RPC_LISTEN": "0.0.0.0:8300"})
    assert "rpc_advertise" in problem.advice
    settings = load(Example, {"TIDINGS_NODE": "a", "TIDINGS_RPC_LISTEN": "0.0.0.0:83", "TIDINGS_RPC_ADVERTISE": "h:83"})
    assert settings.rpc_address == "h:83"


@pytest.mark.parametrize(
    "wrong",
    [
        "8300", "localhost", "h:port", "h:70000", ":1", "::1:80", "[]:80", "[::1:80", "[h]:80", "[127.0.0.1]:80",
        "h:²", f"h:{'9' * 5000}",
    ],
)  # fmt: skip
def test_an_address_that_cannot_be_one_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="should"):
        split_address(wrong)


def test_addresses_are_split_also_in_version_6() -> None:
    assert split_address("127.0.0.1:80") == ("127.0.0.1", 80)
    assert split_address("[::1]:80") == ("::1", 80)
    assert join_address("::1", 80) == "[::1]:80"
    assert join_address("127.0.0.1", 80) == "127.0.0.1:80"


@pytest.mark.parametrize("host", ["0.0.0.0", "0", "::", "::0", "0:0:0:0:0:0:0:0", "::ffff:0.0.0.0"])
def test_every_way_to_say_every_address_is_known(host: str) -> None:
    assert means_every(host)


@pytest.mark.parametrize("host", ["127.0.0.1", "1", "::1", "localhost", "a.example", "fe80::1%eth0"])
def test_an_address_of_its_own_is_not_every_address(host: str) -> None:
    assert not means_every(host)


def test_a_file_that_is_not_there_or_not_toml_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken.toml"
    broken.write_text("= =")
    for path in (tmp_path / "none.toml", broken):
        told = problems({"TIDINGS_NODE": "a", "TIDINGS_CONFIG": str(path)})
        assert [(problem.name, problem.value) for problem in told] == [("TIDINGS_CONFIG", str(path))]


def test_a_password_is_shown_nowhere() -> None:
    uri = "mongodb://me:s3cret@db:27017/?x=s3cret"
    settings = load(Example, {"TIDINGS_NODE": "a", "TIDINGS_MONGODB_URI": uri})
    assert settings.mongodb_uri == uri
    assert "s3cret" not in repr(settings) + str(settings) + str(describe(settings))
    assert "db:27017" in next(row.value for row in describe(settings) if row.name == "mongodb_uri")
    (problem,) = problems({"TIDINGS_NODE": "a", "TIDINGS_MONGODB_URI": "postgres://me:s3cret@db"})
    assert problem.value == HIDDEN
    assert "s3cret" not in str(problem)


def test_a_constructor_takes_its_arguments_and_nothing_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDINGS_GREETING", "outside")
    assert Example(node="a").greeting == "hello"


@pytest.mark.parametrize("service", SERVICES)
def test_every_setting_of_every_service_has_a_description_and_a_default_that_is_allowed(
    service: str, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s" * 32)
    cls = settings_class(service)
    for row in describe_class(cls):
        assert len(row.meaning) > 15, row.name
        assert row.meaning.endswith((".", ")")), row.name
    assert load(cls, {"TIDINGS_NODE": "a", "TIDINGS_TOKEN_SECRET_FILE": str(secret)}).node == "a"
