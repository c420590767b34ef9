"""An adb client with a device of its own: a folder. Started by `fake_device.py`.

Imports next to nothing: every call starts Python anew, and a session makes dozens.
"""

import os
import sys

FOLDER = "/data/local/tmp"


def main(state: str, arguments: list[str]) -> int:
    with open(f"{state}/scenario") as file:
        scenario = eval(file.read(), {})  # plain values that fake_device.py wrote
    with open(f"{state}/calls", "a") as file:
        file.write(f"{arguments!r}\n")
    serial = None
    if arguments[0] == "-s":
        serial, arguments = arguments[1], arguments[2:]
    unplugged = f"{state}/unplugged"
    attached = {} if os.path.exists(unplugged) else scenario["devices"]
    if arguments == ["devices"]:
        print("List of devices attached")
        for name, condition in attached.items():
            print(f"{name}\t{condition}")
        print()
        return 0
    if attached.get(serial) != "device":
        print(f"error: device '{serial}' not found", file=sys.stderr)
        return 1
    is_last = _happens(state, "unplug", scenario, " ".join(arguments))
    if is_last:
        _write(unplugged, b"")
    command, *rest = arguments
    if command == "get-state":
        print("device")
        return 0
    if command == "shell":
        return _shell(state, scenario, rest[0], is_last)
    if is_last:
        print("adb: error: failed to read copy response: EOF")
        return 1
    return {"push": _push, "pull": _pull}[command](state, scenario, *rest)


def _happens(state: str, event: str, scenario: dict, text: str) -> bool:
    """Says whether this is the call of the event: `(words, how many before it)`."""
    words, place = scenario[event] or ("", -1)
    if place < 0 or words not in text:
        return False
    with open(f"{state}/{event}s", "a+") as file:
        file.seek(0)
        seen = len(file.read())
        file.write(".")
    return seen == place


def translate(state: str, command: str) -> str:
    """Returns a command for the device's shell as one for this machine's."""
    for theirs, ours in (
        ("./benchmark_model --", f"{state}/bin/benchmark_model --"),
        (FOLDER, f"{state}/data"),
        ("/sys/devices/system/cpu", f"{state}/cpu"),
        ("/proc/cpuinfo", f"{state}/cpuinfo"),
    ):
        command = command.replace(theirs, ours)
    return command


def search_path(state: str) -> str:
    """Returns a PATH that begins with the device's own programs."""
    return f"{state}/bin{os.pathsep}{os.environ['PATH']}"


def _shell(state: str, scenario: dict, command: str, is_last: bool) -> int:
    command = translate(state, command)
    printed = f"{state}/printed"
    to_file = (os.POSIX_SPAWN_OPEN, 1, printed, os.O_WRONLY | os.O_CREAT, 0o600)
    no_input = (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)
    process = os.posix_spawn(
        "/bin/sh",
        ["sh", "-c", command],
        {"PATH": search_path(state)},
        file_actions=[to_file, no_input],
    )
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    output = _read(printed)
    os.unlink(printed)
    if is_last or _happens(state, "cut", scenario, command):
        output = output[: len(output) // 2]
    sys.stdout.buffer.write(output)
    return 255 if is_last else status


def _push(state: str, scenario: dict, local: str, remote: str) -> int:
    content = _read(local)
    target = remote.replace(FOLDER, f"{state}/data")
    used = sum(entry.stat().st_size for entry in os.scandir(os.path.dirname(target)))
    room = scenario["disk_bytes"] - used
    _write(target, content[: max(room, 0)])
    if len(content) > room:
        print(
            f"adb: error: failed to copy '{local}' to '{remote}': remote write failed: "
            f"No space left on device\n{local}: 0 files pushed, 0 skipped."
        )
        return 1
    print(f"{local}: 1 file pushed, 0 skipped.")
    return 0


def _pull(state: str, scenario: dict, remote: str, local: str) -> int:
    source = remote.replace(FOLDER, f"{state}/data")
    if not os.path.isfile(source):
        print(f"adb: error: remote object '{remote}' does not exist")
        return 1
    _write(local, _read(source))
    return 0


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _write(path: str, content: bytes) -> None:
    with open(path, "wb") as file:
        file.write(content)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
