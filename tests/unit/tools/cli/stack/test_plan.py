"""What an `up` shall run, and what each process is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.cli.failure import Failure, WrongUse
from tools.cli.stack.folder import Folder
from tools.cli.stack.plan import Plan, addresses_of, backends_of, node, wiring_of
from tools.cli.stack.ports import NodeKind, Ports
from tools.cli.stack.programs import supply as programs
from tools.cli.stack.programs.nodes import drain_deadline_s
from tools.cli.stack.programs.program import plain_environment

FOLDER = Folder.at(Path("data"))


def settings_of(kind: NodeKind, environment: dict[str, str], placement: str | None = None) -> dict[str, str]:
    plan = Plan(9000, 2, 1, 1, placement)
    wiring = wiring_of(plan, FOLDER, addresses_of(plan.ports, environment), environment)
    return dict(node(plan, wiring, kind, 1).environment())


def test_a_node_is_told_its_name_its_addresses_and_its_backends() -> None:
    settings = settings_of(NodeKind.ACCESS, {})
    assert settings["TIDINGS_NODE"] == "access-1"
    assert settings["TIDINGS_CLUSTER"] == "local"
    assert settings["TIDINGS_WS_LISTEN"] == "127.0.0.1:9001"
    assert settings["TIDINGS_TCP_LISTEN"] == "127.0.0.1:9101"
    assert settings["TIDINGS_OPS_LISTEN"] == "127.0.0.1:9201"
    assert settings["TIDINGS_ETCD_ENDPOINTS"] == "127.0.0.1:9900"
    assert settings["TIDINGS_MAILBOX_PARTITIONS"] == "64"
    assert settings["TIDINGS_TOKEN_SECRET_FILE"] == str(FOLDER.secret_file)


def test_only_access_nodes_listen_for_clients() -> None:
    assert "TIDINGS_WS_LISTEN" not in settings_of(NodeKind.LOGIC, {})


def test_the_users_settings_win_but_for_names_and_addresses() -> None:
    given = {
        "TIDINGS_PLACEMENT": "any",
        "TIDINGS_MAILBOX_PARTITIONS": "8",
        "TIDINGS_TOKEN_SECRET_FILE": "mine",
        "TIDINGS_NODE": "mine",
        "TIDINGS_RPC_LISTEN": "0.0.0.0:1",
        "HOME": "home",
    }
    settings = settings_of(NodeKind.STORAGE, given)
    assert settings["TIDINGS_PLACEMENT"] == "any"
    assert settings["TIDINGS_MAILBOX_PARTITIONS"] == "8"
    assert settings["TIDINGS_TOKEN_SECRET_FILE"] == "mine"
    assert settings["TIDINGS_NODE"] == "storage-1"
    assert settings["TIDINGS_RPC_LISTEN"] == "127.0.0.1:9401"
    assert settings["HOME"] == "home"


def test_an_option_of_the_command_wins_over_the_environment() -> None:
    settings = settings_of(NodeKind.ACCESS, {"TIDINGS_PLACEMENT": "any"}, placement="ring")
    assert settings["TIDINGS_PLACEMENT"] == "ring"


def test_the_settings_of_the_command_are_not_passed_on() -> None:
    given = {"TIDINGS_DATA": "d", "TIDINGS_OPERATOR_TOKEN": "t", "TIDINGS_PORT_BASE": "1", "TIDINGS_CACHE": "c"}
    assert not given.keys() & settings_of(NodeKind.LOGIC, given).keys()


def test_backends_see_nothing_of_the_clusters_settings() -> None:
    assert plain_environment({"TIDINGS_OPERATOR_TOKEN": "t", "PATH": "p"}) == {"PATH": "p"}


def test_a_backend_whose_address_is_given_is_not_started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    environment = {
        "TIDINGS_KAFKA_BOOTSTRAP": "kafka:9092",
        "TIDINGS_MONGODB_URI": "mongodb://mongo",
        "TIDINGS_CACHE": str(tmp_path),
    }
    backends = backends_of(Plan(9000, 1, 1, 1), FOLDER, environment)
    assert [program.name for program in backends.started] == ["etcd"]
    assert [backend.name for backend in backends.external] == ["kafka", "mongodb"]
    assert backends.addresses == {"etcd": "127.0.0.1:9900", "kafka": "kafka:9092", "mongodb": "mongodb://mongo"}


def test_programs_of_the_path_are_used_when_asked(tmp_path: Path) -> None:
    etcd = tmp_path / "etcd"
    etcd.touch(mode=0o755)
    environment = {"TIDINGS_PROGRAMS": "path", "PATH": str(tmp_path)}
    assert programs.find(["etcd"], environment).etcd == (str(etcd),)
    with pytest.raises(Failure, match="mongod is not on PATH"):
        programs.find(["mongodb"], environment)


def test_kafka_that_was_not_fetched_yet_is_told(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="make setup"):
        programs.find(["kafka"], {"TIDINGS_CACHE": str(tmp_path)})


def test_an_unknown_choice_of_programs_is_told() -> None:
    with pytest.raises(Failure, match='"own"'):
        programs.find([], {"TIDINGS_PROGRAMS": "docker"})


def test_a_plan_travels_as_json() -> None:
    plan = Plan(9000, 2, 1, 1, "any", restart=False, node_program=("python", "fake.py"))
    assert Plan.from_json(plan.to_json()) == plan


@pytest.mark.parametrize(
    "plan", [Plan(80, 1, 1, 1), Plan(65000, 1, 1, 1), Plan(8000, 1, 1, 1, "near"), Plan(8000, 65, 1, 1)]
)
def test_a_plan_that_cannot_be_is_refused(plan: Plan) -> None:
    with pytest.raises(WrongUse):
        plan.check_numbers().check()


def test_a_node_may_take_as_long_as_its_own_deadline(tmp_path: Path) -> None:
    file = tmp_path / "tidings.toml"
    file.write_text("drain_deadline_s = 90")
    assert drain_deadline_s({}) == 30
    assert drain_deadline_s({"TIDINGS_CONFIG": str(file)}) == 90
    assert drain_deadline_s({"TIDINGS_CONFIG": str(file), "TIDINGS_DRAIN_DEADLINE_S": "7.5"}) == 7.5
    assert drain_deadline_s({"TIDINGS_DRAIN_DEADLINE_S": "soon"}) == 30


def test_the_range_of_ports_is_the_plans() -> None:
    assert Plan(9000, 1, 1, 1).ports == Ports(9000)


@pytest.fixture
def programs_of_the_path(tmp_path: Path) -> dict[str, str]:
    """Stand for the real ones: only their places count."""
    for name in ("etcd", "mongod", "kafka-server-start.sh", "kafka-storage.sh"):
        (tmp_path / name).touch(mode=0o755)
    return {"TIDINGS_PROGRAMS": "path", "PATH": str(tmp_path)}


def test_kafka_and_mongodb_can_have_several_members(programs_of_the_path: dict[str, str]) -> None:
    backends = backends_of(Plan(9000, 1, 1, 1, mongodb_members=3, kafka_brokers=2), FOLDER, programs_of_the_path)
    names = [program.name for program in backends.started]
    assert names == ["etcd", "kafka", "kafka-1", "mongodb", "mongodb-1", "mongodb-2"]
    assert backends.addresses["kafka"] == "127.0.0.1:9910,127.0.0.1:9912"
    mongodb = "mongodb://127.0.0.1:9920,127.0.0.1:9921,127.0.0.1:9922/?replicaSet=tidings"
    assert backends.addresses["mongodb"] == mongodb
    ports = [port for program in backends.started for port in program.listens]
    assert len(set(ports)) == len(ports) == 9


def test_topics_have_as_many_replicas_as_brokers_up_to_three() -> None:
    def replication(brokers: int, environment: dict[str, str]) -> str:
        addresses = addresses_of(Ports(9000), environment, brokers=brokers)
        wiring = wiring_of(Plan(9000, 1, 1, 1), FOLDER, addresses, environment)
        return node(Plan(9000, 1, 1, 1), wiring, NodeKind.LOGIC, 0).environment()["TIDINGS_KAFKA_REPLICATION"]

    assert [replication(brokers, {}) for brokers in (1, 3, 5)] == ["1", "3", "3"]
    assert replication(1, {"TIDINGS_KAFKA_BOOTSTRAP": "one:1,two:1,three:1"}) == "1"


def test_a_folder_keeps_the_members_it_was_made_with(tmp_path: Path, programs_of_the_path: dict[str, str]) -> None:
    folder = Folder.at(tmp_path / "data")
    for name in ("mongodb", "mongodb-1", "mongodb-2"):
        folder.data_of(name).mkdir(parents=True)
    again = backends_of(Plan(9000, 1, 1, 1), folder, programs_of_the_path)
    assert [program.name for program in again.started if program.name.startswith("mongodb")][-1] == "mongodb-2"
    with pytest.raises(WrongUse, match="made with 3"):
        backends_of(Plan(9000, 1, 1, 1, mongodb_members=1), folder, programs_of_the_path)


def test_more_members_than_there_are_ports_for_are_refused() -> None:
    with pytest.raises(WrongUse, match="--kafka-brokers"):
        Plan(9000, 1, 1, 1, kafka_brokers=6).check()
