"""The main job: `make demo` over four real processes, also when they are killed and run again."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from servers.demo import SAMPLE
from servers.orders_file import OrderRow, open_orders
from servers.supervisor import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.timeout(180)


def demo(*options: str) -> Sequence[str]:
    return (sys.executable, "-m", "servers.demo", *options)


def run_demo(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        demo(*options), cwd=ROOT, capture_output=True, text=True, timeout=150, check=False
    )


def expected(count: int) -> str:
    rows = open_orders(SAMPLE, count).rows().values()
    cents = sum(row.amount_cents for row in rows if isinstance(row, OrderRow))
    amount = Decimal(cents) / 100
    figures = f"orders={count} shipped={count} amount_usd={amount:.2f} emails={count}"
    return f"{figures} events={count} duplicates=0 ok"


def test_twice_on_one_state_gives_the_same_totals(tmp_path: Path) -> None:
    for _ in range(2):
        done = run_demo("--orders", "40", "--state", str(tmp_path / "state"))
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1] == expected(40)
    assert "FulfilmentService/FulfilOrder" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_each_server_stopped_in_turn_loses_and_doubles_nothing(
    tmp_path: Path, number: signal.Signals
) -> None:
    options = ("--orders", "400", "--state", str(tmp_path / "state"))
    process = subprocess.Popen(
        demo(*options), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        pids: dict[str, int] = {}
        killed: list[str] = []
        said = []
        for line in process.stderr:
            said.append(line)
            serving = re.match(r"serving (\w+)/\S+ on \S+ \(pid (\d+)\)", line)
            if serving:
                pids[serving[1]] = int(serving[2])
            # One after the other: each is killed once the one before it serves again.
            if len(pids) == len(KINDS) and serving and len(killed) < len(KINDS):
                victim = KINDS[len(killed)]
                killed.append(victim)
                os.kill(pids.pop(victim), number)
        last = process.stdout.read().splitlines()[-1:]
    assert killed == list(KINDS), "".join(said)
    assert sum("restarting it" in line for line in said) == len(KINDS)
    assert last == [expected(400)], "".join(said)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that PostgreSQL's user may enter, unlike those of pytest."""
    folder = Path(tempfile.mkdtemp(prefix="onex-demo-test-", dir="/tmp"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


def test_on_postgresql_twice_gives_the_same_totals(open_folder: Path) -> None:
    for _ in range(2):
        done = run_demo("--orders", "40", "--state", str(open_folder), "--store", "postgresql")
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1] == expected(40)
    assert done.stderr.count("serving orchestrator/orders") == 2
    # Nothing of it is left in files of the nodes' own.
    assert not list(open_folder.glob("reducer*.db"))


def wait_for_mails(state: Path, count: int) -> None:
    """Returns when so many orders are confirmed."""
    deadline = time.monotonic() + 60
    while len(list(state.glob("mail/new/*"))) < count:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_on_postgresql_an_orchestrator_killed_loses_and_doubles_nothing(open_folder: Path) -> None:
    options = ("--orders", "400", "--state", str(open_folder), "--store", "postgresql")
    process = subprocess.Popen(
        demo(*options), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        effect, orchestrators, killed = 0, list[int](), 0
        said = []
        for line in process.stderr:
            said.append(line)
            serving = re.match(r"serving (effect|orchestrator)/\S+ on \S+ \(pid (\d+)\)", line)
            if serving and serving[1] == "effect":
                effect = int(serving[2])
            elif serving:
                orchestrators.append(int(serving[2]))
            # One, then the other once the first serves again, each in the middle of the work:
            # without its effect node the mesh finishes no order in between.
            if effect and killed < 2 and len(orchestrators) == 2 + killed:
                killed += 1
                os.kill(effect, signal.SIGCONT)
                wait_for_mails(open_folder, 100 * killed)
                if killed == 1:
                    os.kill(effect, signal.SIGSTOP)
                os.kill(orchestrators[killed - 1], signal.SIGKILL)
        last = process.stdout.read().splitlines()[-1:]
    assert killed == 2, "".join(said)
    assert sum("restarting it" in line for line in said) == 2
    assert last == [expected(400)], "".join(said)


def test_a_corrupt_row_is_named_and_the_others_go_on(tmp_path: Path) -> None:
    lines = SAMPLE.read_text().splitlines()[:8]
    lines[3] = lines[3].replace(lines[3].split(",")[4], "12.5.0")
    file = tmp_path / "orders.csv"
    file.write_text("\n".join(lines) + "\n")
    done = run_demo("--orders", "all", "--csv", str(file), "--state", str(tmp_path / "state"))
    assert done.returncode == 0, done.stderr
    last = done.stdout.splitlines()[-1]
    assert last.startswith("orders=6 shipped=6 ")
    assert last.endswith("events=6 duplicates=0 rejected=1 ok")
    assert re.search(r"rejected line 4: .*amount_usd '12.5.0'", done.stderr)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--csv", "no-such.csv"), "CSV no-such.csv"),
        (("--orders", "many"), "neither a number of orders nor 'all'"),
        (("--state", "/proc/onex"), "state folder /proc/onex"),
    ],
)
def test_a_users_mistake_is_one_line(options: Sequence[str], reason: str) -> None:
    done = run_demo(*options)
    assert done.returncode != 0
    assert reason in done.stderr
    assert "Traceback" not in done.stderr
