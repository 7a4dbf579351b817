"""Settings that cannot be meant: each is refused by its name before anything is opened."""

from pathlib import Path

import pytest

from onex_grpc.errors import ConfigurationError
from onex_grpc.serve.config import load_settings

TLS = '[tls]\nmode = "mtls"\ncert = "c"\nkey = "k"\nca = "a"\n'
FILES = '[targets.x]\nkind = "files"\n'


@pytest.mark.parametrize(
    ("toml", "named"),
    [
        ("foo = 1", "foo is no setting"),
        ("foo =", "is not TOML"),
        ('state = ""', "state"),
        ("drain_grace = nan", "drain_grace"),
        ("drain_grace = inf", "drain_grace"),
        ("intent_timeout = 0", "intent_timeout"),
        ("[limits]\nmessage_bytes = 2147483648", r"limits\.message_bytes"),
        ('queues = ["compute"]', "queues: 'compute' has no intents"),
        ('queues = ["reducer/nope!"]', "queues: 'reducer/nope!' is not"),
        ('queues = ["reducer", "reducer"]', "names one twice"),
        ('[addresses]\nmartian = "127.0.0.1:1"', "addresses: 'martian' is not"),
        ('[addresses]\n"compute/a/b" = "127.0.0.1:1"', "addresses: 'compute/a/b' is not"),
        ('[addresses]\ncompute = "no address"', "is not host:port"),
        ('[addresses]\ncompute = "127.0.0.1:99999"', "is not host:port"),
        ('[addresses]\ncompute = ["127.0.0.1:1", "b"]', "'b' of compute is not host:port"),
        ('[addresses]\ncompute = "127.0.0.1:1,"', "'' of compute is not host:port"),
        ("[addresses]\ncompute = []", "'' of compute is not host:port"),
        (f'{TLS}[addresses]\ncompute = ["127.0.0.1:1", "127.0.0.1:2"]', "name in server_name"),
        ('registry = "somewhere"', "registry: 'somewhere' is not host:port"),
        ('registry = ["127.0.0.1:1", "b"]', "registry: 'b' is not host:port"),
        (f'registry = ["127.0.0.1:1", "127.0.0.1:2"]\n{TLS}', "registry: has several.*server_name"),
        (f'registry = "127.0.0.1:1"\nhost = "0.0.0.0"\n{TLS}', "advertise: host 0.0.0.0 is every"),
        ('advertise = "0.0.0.0:50053"', "advertise: '0.0.0.0:50053' stands for every interface"),
        ('advertise = "here"', "advertise: 'here' is not host:port"),
        ('advertise = "10.0.0.7:0"', "advertise: '10.0.0.7:0' is not host:port"),
        ('instance = "a/b"', "instance"),
        (f'instance = "{"x" * 65}"', "instance"),
        ('lease_check = "never"', "lease_check"),
        ("[retention]\nevents = -1", r"retention\.events"),
        ("[retention]\nversions = 0", r"retention\.versions"),
        ("[retention]\nleases = 1", r"retention\.leases"),
        ('[targets."../x"]\nkind = "files"\nroot = "/tmp"', "targets"),
        ('[targets.""]\nkind = "files"\nroot = "/tmp"', "targets"),
        (f'{FILES}root = ""', "root"),
        (f'{FILES}root = "/tmp"\nmax_bytes = -1', "max_bytes"),
        ('[targets.x]\nkind = "event_log"\ntopic = "a b"', "topic"),
        ('[targets.x]\nkind = "nope"', "kind"),
        ('[tls]\nmode = "tls"\ncert = ""\nkey = "k"\nca = "c"', r"tls\.cert"),
    ],
)
def test_a_setting_that_cannot_be_meant_is_named(tmp_path: Path, toml: str, named: str) -> None:
    file = tmp_path / "onex.toml"
    file.write_text(toml)
    with pytest.raises(ConfigurationError, match=named):
        load_settings(file, environment={})


def test_a_variable_of_a_key_goes_before_that_of_its_table(tmp_path: Path) -> None:
    file = tmp_path / "onex.toml"
    file.write_text("\ufeffport = 1")
    settings = load_settings(
        file,
        environment={
            "ONEX_LIMITS__MESSAGE_BYTES": "9",
            "ONEX_LIMITS": '{"message_bytes": 8, "concurrent_calls": 7}',
        },
    )
    assert settings.port == 1
    assert (settings.limits.message_bytes, settings.limits.concurrent_calls) == (9, 7)


def test_a_variable_that_is_no_table_is_named(tmp_path: Path) -> None:
    file = tmp_path / "onex.toml"
    file.touch()
    variables = {"ONEX_LIMITS": "5"}
    with pytest.raises(ConfigurationError, match="limits: expected"):
        load_settings(file, environment=variables)
    # As the variable of the key replaces it, nothing is left to complain of.
    variables["ONEX_LIMITS__MESSAGE_BYTES"] = "9"
    assert load_settings(file, environment=variables).limits.message_bytes == 9
