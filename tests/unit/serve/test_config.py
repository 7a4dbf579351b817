from pathlib import Path

import pytest

from onex_grpc.errors import ConfigurationError
from onex_grpc.serve.config import load_settings
from onex_grpc.serve.settings import Settings


def load(tmp_path: Path, toml: str = "", **environment: str) -> Settings:
    file = tmp_path / "onex.toml"
    file.write_text(toml)
    return load_settings(file, environment=environment)


def test_defaults_need_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    settings = load_settings(environment={})

    assert settings == Settings()
    assert [settings.port_for(k) for k in ("effect", "orchestrator")] == [50051, 50054]


def test_file_of_the_folder_or_of_the_variable_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "onex.toml").write_text("port = 1")
    (tmp_path / "other.toml").write_text("port = 2")

    assert load_settings(environment={}).port == 1
    assert load_settings(environment={"ONEX_CONFIG": "other.toml"}).port == 2


def test_variable_goes_before_file_and_flag_before_variable(tmp_path: Path) -> None:
    file = tmp_path / "onex.toml"
    file.write_text(
        'port = 1\nstate = "a"\nlog_level = "debug"\n[addresses]\nreducer = "r:1"\ncompute = "c:1"'
    )

    settings = load_settings(
        file,
        environment={
            "ONEX_PORT": "2",
            "ONEX_STATE": "b",
            "ONEX_LIMITS__MESSAGE_BYTES": "1024",
            "ONEX_ADDRESSES": '{"reducer": "r:2"}',
            "ONEX_QUEUES": '["reducer/orders"]',
            "ONEX_REQUIRE_LEASE": "true",
        },
        overrides={"port": 3},
    )

    assert (settings.port, settings.state, settings.log_level) == (3, "b", "debug")
    assert settings.limits.message_bytes == 1024
    assert settings.addresses == {"reducer": "r:2", "compute": "c:1"}
    assert settings.queues == ["reducer/orders"]
    assert settings.require_lease


def test_kinds_without_an_address_are_on_this_machine(tmp_path: Path) -> None:
    settings = load(tmp_path, '[addresses]\n"reducer/orders" = "db:7000"')

    assert settings.mesh_addresses() == {"reducer/orders": "db:7000"}
    assert settings.default_addresses() == {
        "effect": "127.0.0.1:50051",
        "compute": "127.0.0.1:50052",
        "orchestrator": "127.0.0.1:50054",
    }


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ("prot = 1", r"onex.toml: prot is no setting; did you mean port\?"),
        ("[limits]\nmessage_byte = 1", r"limits.message_byte is no setting.*message_bytes\?"),
        ("[lease]\nttk = 1", r"lease.ttk is no setting; did you mean ttl\?"),
        (
            '[targets.db]\nkind = "sqlite"\npath = "x"\ntables = {}\nallowed = []',
            r"targets.db.allowed is no setting; did you mean allow",
        ),
        ('[targets.db]\nkind = "oracle"', r"targets.*oracle"),
        ("port = 70000", r"port: expected `int` <= 65535"),
        ('port = "soon"', r"port: expected `int"),
        ('[tls]\nmode = "mtls"', r"tls: object missing required field `cert`"),
        (
            '[tls]\nmode = "ssl"\ncert = ""\nkey = ""\nca = ""',
            r"tls.mode: invalid enum value 'ssl'",
        ),
        ("[lease]\nttl = 1", r"lease.ttl is 1.0 s; give at least floor"),
        ('host = "0.0.0.0"', r"host 0.0.0.0: without TLS"),
        ("port = 1 1", r"onex.toml is not TOML: .*line 1"),
    ],
)
def test_fault_is_named_with_its_remedy(tmp_path: Path, toml: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        load(tmp_path, toml)


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("ONEX_PROT", "1", r"ONEX_PROT is no setting; did you mean ONEX_PORT"),
        ("ONEX_LIMITS__MESSAGE_BYTE", "1", r"did you mean ONEX_LIMITS__MESSAGE_BYTES"),
        ("ONEX_QUEUES", "reducer", r"ONEX_QUEUES is not JSON"),
        ("ONEX_PORT", "x", r"port: expected `int"),
    ],
)
def test_fault_of_a_variable_is_named(tmp_path: Path, variable: str, value: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        load(tmp_path, **{variable: value})


def test_unknown_flag_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"command line: stat is no setting.*state"):
        load_settings(environment={}, overrides={"stat": "x"})


def test_variables_that_kubernetes_sets_are_left_alone(tmp_path: Path) -> None:
    assert load(
        tmp_path,
        ONEX_REDUCER_SERVICE_HOST="10.0.0.1",
        ONEX_REDUCER_SERVICE_PORT_GRPC="50053",
        ONEX_REDUCER_PORT="tcp://10.0.0.1:50053",
        ONEX_REDUCER_PORT_50053_TCP_ADDR="10.0.0.1",
    ) == load(tmp_path)


def test_file_that_is_absent_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"absent.toml cannot be read: No such file"):
        load_settings(tmp_path / "absent.toml", environment={})


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "[::1]", "127.8.0.1"])
def test_loopback_needs_no_tls(tmp_path: Path, host: str) -> None:
    assert load(tmp_path, f'host = "{host}"').host == host


def test_other_interfaces_are_served_with_tls(tmp_path: Path) -> None:
    tls = '[tls]\nmode = "tls"\ncert = "a"\nkey = "b"\nca = "c"'
    assert load(tmp_path, f'host = "0.0.0.0"\n{tls}').tls is not None
