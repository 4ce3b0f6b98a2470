"""A stand-in for systemctl: starts and stops services of units below $ROOT, with the variables that the units set."""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(os.environ["ROOT"])
UNITS = ROOT / "etc/systemd/system"
RUN = ROOT / "run"
REDIS = "[Service]\nType=notify\nExecStart=/usr/bin/redis-server /etc/redis/redis.conf\n"
# What a started service says when it serves.
READY = {"masque": "listening on", "redis-server": "Ready to accept connections"}


def here(text):
    """A text with the machine's paths below the folder that stands for the machine."""
    tops = r"(/etc/|/var/|/usr/lib/masque/|/usr/bin/masque)"
    return re.sub(rf"(?<![\w/])(?!{re.escape(str(ROOT))}){tops}", rf"{ROOT}\1", text)


def settings(name):
    """The settings of a service with its drop-ins, in their order."""
    unit = UNITS / f"{name}.service"
    text = REDIS if name == "redis-server" else unit.read_text()
    for drop_in in sorted(unit.with_suffix(".service.d").glob("*.conf")):
        text += "\n" + drop_in.read_text()
    lines = (line for line in text.splitlines() if line[:1].isalpha() and "=" in line)
    return [tuple(here(line).split("=", 1)) for line in lines]


def environment(values, name):
    """The variables of a service, and no others of this process."""
    variables = {name: os.environ[name] for name in ("PATH", "ROOT")}
    # Paths that the script of the backup has by itself.
    variables["BACKUP_RECIPIENTS"] = f"{ROOT}/etc/masque/backup-recipients"
    variables["BACKUP_ERASURES"] = f"{ROOT}/var/lib/masque/erasures.jsonl"
    # Credentials are files of a folder of the service: NAME_FILE for each file of a folder.
    credentials = RUN / f"{name}.credentials"
    credentials.mkdir(exist_ok=True)
    for value in (value for key, value in values if key == "LoadCredential"):
        credential, path = value.split(":", 1)
        path = Path(path)
        for file in path.iterdir() if path.is_dir() else [path]:
            copy = f"{credential}_{file.name}" if path.is_dir() else credential
            (credentials / copy).write_bytes(file.read_bytes())
    for value in (value for key, value in values if key == "Environment"):
        for word in shlex.split(value.replace("%d", str(credentials))):
            variable, text = word.split("=", 1)
            variables[variable] = text
    for value in (value for key, value in values if key == "EnvironmentFile"):
        for line in Path(value.removeprefix("-")).read_text().splitlines():
            variable, text = line.split("=", 1)
            variables[variable] = text
    return variables


def start(name):
    values = settings(name)
    kind = next((value for key, value in values if key == "Type"), "simple")
    command = next(value for key, value in values if key == "ExecStart")
    command = command.split()
    log = open(RUN / f"{name}.log", "ab")
    variables = environment(values, name)
    if kind == "oneshot":
        sys.exit(subprocess.run(command, env=variables, stdin=subprocess.DEVNULL).returncode)
    position = log.tell()
    process = subprocess.Popen(
        command, env=variables, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
    )
    (RUN / f"{name}.pid").write_text(str(process.pid))
    while READY[name].encode() not in (RUN / f"{name}.log").read_bytes()[position:]:
        if process.poll() is not None:
            sys.exit(f"{name} ended at its start:\n{(RUN / f'{name}.log').read_text()}")
        time.sleep(0.05)


def stop(name):
    file = RUN / f"{name}.pid"
    if not file.exists():
        return
    process = int(file.read_text())
    file.unlink()
    os.kill(process, signal.SIGTERM)
    # Its parent has ended, so the first process reaps it.
    while Path(f"/proc/{process}/stat").exists():
        if Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
            return
        time.sleep(0.05)


verb, *units = (word for word in sys.argv[1:] if not word.startswith("-"))
for unit in units:
    # The host listens by itself where it is passed no socket.
    if unit.endswith((".timer", ".socket")):
        assert (UNITS / unit).is_file(), f"there is no {unit}"
        continue
    name = unit.removesuffix(".service")
    if verb in ("stop", "restart"):
        stop(name)
    if verb in ("start", "restart") or (verb == "enable" and "--now" in sys.argv):
        start(name)
