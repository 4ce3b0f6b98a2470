"""A stand-in for Docker's engine, which lets `docker-compose up --no-start` reach the creation of a container and starts nothing.

It follows the engine in one thing: a container is refused if the source of a bind mount does not exist, unless the mount asks for
the source to be made (`CreateMountpoint`; the engine's API, `ContainerCreate`).

Usage: engine.py SOCKET
"""

import http.server
import json
import os
import re
import socketserver
import sys

ID = "c" * 64
CONTAINER = {
    "Id": ID,
    "Name": "/container",
    "Config": {"Labels": {}},
    "State": {"Status": "created"},
    "NetworkSettings": {"Networks": {}},
}
ANSWERS = [
    (r"/_ping", "OK"),
    (r"/version", {"Version": "28.0.0", "ApiVersion": "1.48", "MinAPIVersion": "1.24", "Os": "linux", "Arch": "amd64"}),
    (r"/info", {"OSType": "linux", "ServerVersion": "28.0.0"}),
    (r"/(containers|images)/json|/networks", []),
    (r"/volumes", {"Volumes": []}),
    (r"/volumes/create", {"Name": "volume"}),
    (r"/networks/create", {"Id": "network"}),
    (r"/images/.*", {"Id": "sha256:" + "1" * 64, "Os": "linux", "Architecture": "amd64", "Config": {}}),
    (f"/containers/{ID}/json", CONTAINER),
]


def missing_source(container):
    """The first source of a bind mount that has to exist and does not."""
    for mount in container["HostConfig"].get("Mounts") or []:
        is_made = (mount.get("BindOptions") or {}).get("CreateMountpoint")
        if mount["Type"] == "bind" and not is_made and not os.path.exists(mount["Source"]):
            return mount["Source"]
    return None


class Engine(http.server.BaseHTTPRequestHandler):
    """Answers one connection."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        """Says nothing."""

    def answer(self):
        """Answers one request."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = re.sub(r"^/v[0-9.]+", "", self.path).split("?")[0]
        status, answer = 404, {"message": f"there is no {path}"}
        if path == "/containers/create":
            missing = missing_source(json.loads(body))
            status, answer = 201, {"Id": ID, "Warnings": []}
            if missing:
                reason = f'invalid mount config for type "bind": bind source path does not exist: {missing}'
                status, answer = 400, {"message": reason}
        else:
            for pattern, known in ANSWERS:
                if re.fullmatch(pattern, path):
                    status, answer = 200, known
                    break
        data = json.dumps(answer).encode()
        self.send_response(status)
        for name, value in [("Content-Type", "application/json"), ("Api-Version", "1.48"), ("Content-Length", len(data))]:
            self.send_header(name, str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    do_GET = do_POST = do_HEAD = do_DELETE = answer


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Listens on a socket in the file system."""

    daemon_threads = True


Server(sys.argv[1], Engine).serve_forever()
