"""An adb server with the fake device, for the real adb client to talk to.

Speaks what the client needs of the protocol (docs/dev/services.md and sync.md in
packages/modules/adb of Android): no feature is announced, so the shell is the oldest,
which knows no exit status.
"""

from __future__ import annotations

import contextlib
import socketserver
import struct
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

from tests.export.benchmark.fake_adb import FOLDER, search_path, translate
from tests.export.benchmark.fake_device import SERIAL, FakeDevice

REGULAR_FILE = 0o100644
MAX_PACKET = 64 * 1024


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    version: int
    state: Path
    services: list[str]


class _Connection(socketserver.StreamRequestHandler):
    server: _Server

    def handle(self) -> None:
        """Answers one request; those after a switch to the device are the device's."""
        service = self._read_service()
        if service == f"host:tport:serial:{SERIAL}":
            self.wfile.write(b"OKAY" + struct.pack("<Q", 1))
            service = self._read_service()
        elif service == f"host:transport:{SERIAL}":
            self.wfile.write(b"OKAY")
            service = self._read_service()
        if service == "host:version":
            self._answer(f"{self.server.version:04x}")
        elif service == "host:devices":
            self._answer(f"{SERIAL}\tdevice\n")
        elif service == f"host-serial:{SERIAL}:get-state":
            self._answer("device")
        elif service.endswith("features"):
            self._answer("")
        elif service.startswith("shell:"):
            self.wfile.write(b"OKAY" + self._shell(service.removeprefix("shell:")))
        elif service == "sync:":
            self.wfile.write(b"OKAY")
            self._sync()
        else:
            message = b"device 'X1' not found"
            self.wfile.write(b"FAIL%04x%s" % (len(message), message))

    def _read_service(self) -> str:
        service = self.rfile.read(int(self.rfile.read(4), 16)).decode()
        self.server.services.append(service)
        return service

    def _answer(self, text: str) -> None:
        self.wfile.write(b"OKAY%04x%s" % (len(text), text.encode()))

    def _shell(self, command: str) -> bytes:
        state = str(self.server.state)
        done = subprocess.run(
            ["sh", "-c", translate(state, command)],
            env={"PATH": search_path(state)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        return done.stdout

    def _sync(self) -> None:
        while header := self.rfile.read(8):
            kind, size = struct.unpack("<4sI", header)
            if kind == b"QUIT":
                return
            name = self.rfile.read(size).decode()
            {b"STAT": self._stat, b"SEND": self._receive, b"RECV": self._send}[kind](
                name
            )

    def _path(self, name: str) -> Path:
        return Path(name.replace(FOLDER, f"{self.server.state}/data"))

    def _stat(self, name: str) -> None:
        path = self._path(name)
        mode, size = (REGULAR_FILE, path.stat().st_size) if path.is_file() else (0, 0)
        self.wfile.write(b"STAT" + struct.pack("<III", mode, size, 0))

    def _receive(self, name: str) -> None:
        content = b""
        while True:
            kind, size = struct.unpack("<4sI", self.rfile.read(8))
            if kind == b"DONE":  # with the time of the file for a size
                break
            content += self.rfile.read(size)
        path = self._path(name.rpartition(",")[0])
        if path.parent.is_dir():
            path.write_bytes(content)
            self.wfile.write(b"OKAY" + struct.pack("<I", 0))
        else:
            message = b"No space left on device"
            self.wfile.write(b"FAIL" + struct.pack("<I", len(message)) + message)

    def _send(self, name: str) -> None:
        content = self._path(name).read_bytes()
        for start in range(0, len(content), MAX_PACKET):
            packet = content[start : start + MAX_PACKET]
            self.wfile.write(b"DATA" + struct.pack("<I", len(packet)) + packet)
        self.wfile.write(b"DONE" + struct.pack("<I", 0))


@contextlib.contextmanager
def serve_device(device: FakeDevice, version: int) -> Iterator[tuple[int, list[str]]]:
    """Gives the port of a server, and the list of the services asked of it.

    Args:
        device: From `make_device`.
        version: Of the protocol; a client of another one would start its own server.
    """
    server = _Server(("127.0.0.1", 0), _Connection)
    server.version, server.state, server.services = version, device.state, []
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server.server_address[1], server.services
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
