"""A RabbitMQ server of one's own: free ports, a folder of its own, gone when the test is.

Needs the programs of Debian's ``rabbitmq-server``; neither systemd nor a running server matters.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
"""The script itself: the one on the PATH insists on being root or the user rabbitmq."""

START_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 30.0


def rabbitmq_installed() -> bool:
    """Whether a server can be started here."""
    return SERVER.exists() and shutil.which("epmd") is not None


@contextmanager
def running_rabbitmq(folder: Path) -> Iterator[str]:
    """The AMQP URL of a fresh server that keeps everything in ``folder``.

    `RuntimeError`, with the end of the server's output, when it does not start.
    """
    amqp, distribution, names = free_ports(3)
    environment = _environment(folder, amqp, distribution, names)
    output = folder / "output.log"
    with (
        output.open("wb") as log,
        _process(["epmd", "-port", str(names)], environment, log),
        _process([str(SERVER)], environment, log) as server,
    ):
        _wait_until_listening(server, amqp, output)
        yield f"amqp://guest:guest@127.0.0.1:{amqp}/"


def free_ports(count: int) -> list[int]:
    """Distinct TCP ports nobody listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def _environment(folder: Path, amqp: int, distribution: int, names: int) -> dict[str, str]:
    plugins, configuration = folder / "enabled_plugins", folder / "rabbitmq.conf"
    plugins.write_text("[].\n")
    # The server accepts connections at the end of its start, so a listening port means ready.
    configuration.write_text(f"listeners.tcp.local = 127.0.0.1:{amqp}\n")
    return {
        **os.environ,
        "HOME": str(folder),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "ERL_EPMD_PORT": str(names),
        "RABBITMQ_CONFIG_FILE": str(configuration),
        "RABBITMQ_CONF_ENV_FILE": str(folder / "absent.conf"),
        "RABBITMQ_DIST_PORT": str(distribution),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(plugins),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
        "RABBITMQ_NODENAME": f"ionbeam{amqp}@localhost",
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
    }


@contextmanager
def _process(
    command: list[str], environment: dict[str, str], log: IO[bytes]
) -> Iterator["subprocess.Popen[bytes]"]:
    """A process with its children in a group of their own, ended on leaving."""
    process = subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        _end(process)


def _end(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait_until_listening(server: "subprocess.Popen[bytes]", port: int, output: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and server.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    said = output.read_text(errors="replace")[-2000:]
    raise RuntimeError(f"RabbitMQ did not start on port {port}:\n{said}")
