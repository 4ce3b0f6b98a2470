#!/usr/bin/env python3
"""Sends one message to a Masque host and prints the reply while it is written. Needs Python 3.10 and no packages.

    MASQUE_KEY=msq_... python3 chat.py ana "Hello!"

MASQUE_URL is the address of the host, http://127.0.0.1:8000 by default. MASQUE_KEY is an API key with the scopes `tokens:mint`
and `chat`; with it, the program gets a token for the user. A service does that for its users and never gives them the key.
Without MASQUE_KEY, the host has to have authentication off. SSL_CERT_FILE names the file of an authority of your own.
"""

from __future__ import annotations

import http.client
import json
import os
import ssl
import sys
import time
import urllib.parse
import uuid
from collections.abc import Iterator
from typing import Any, NamedTuple, Optional

# How often a request is sent, and a stream is resumed, before the client gives up.
ATTEMPTS = 6
# The longest wait that the client accepts, in seconds. A spent budget of tokens lasts until the next day, for example.
LONGEST_WAIT = 30.0
# Comment lines arrive every 15 seconds while a model thinks, so a longer silence is a broken connection.
SILENCE = 45.0


class Problem(Exception):
    """The host refused a request, or a turn failed. The object is that of RFC 9457."""

    def __init__(self, problem: dict[str, Any]):
        super().__init__(f"{problem.get('title')}: {problem.get('detail')}")
        self.status = int(problem.get("status", 0))
        # The stable name, such as `conversation-busy`. Texts may change.
        self.type = str(problem.get("type", "")).rpartition("#")[2]
        self.request_id = str(problem.get("request_id", ""))
        wait = problem.get("retry_after")
        self.retry_after = None if wait is None else float(wait)


class Event(NamedTuple):
    """A server-sent event of a turn."""

    id: str
    type: str
    data: dict[str, Any]


class Client:
    """Sends requests to a host, with a token or an API key if there is one."""

    def __init__(self, url: str, credential: Optional[str] = None):
        self._url = urllib.parse.urlsplit(url)
        self._credential = credential

    def mint_token(self, user: str) -> str:
        """Exchanges the API key of this client for a token of a user."""
        with self._send("POST", "/auth/token", {"user_id": user}, {}) as response:
            return str(json.load(response)["access_token"])

    def chat(self, message: str, conversation: Optional[str] = None) -> Iterator[Event]:
        """Runs one turn and returns its events. If the connection breaks, the turn goes on where it was."""
        body: dict[str, Any] = {"message": message, "stream": True}
        if conversation is not None:
            body["conversation_id"] = conversation
        # With the same key, the host runs the turn once, however often the request arrives.
        headers = {"Idempotency-Key": str(uuid.uuid4()), "Accept": "text/event-stream"}
        turn, last = "", ""
        for attempt in range(ATTEMPTS):
            time.sleep(_pause(attempt))
            try:
                if turn:
                    after = {"Last-Event-ID": last, "Accept": "text/event-stream"}
                    response = self._send("GET", f"/turns/{turn}/events", None, after)
                else:
                    response = self._send("POST", "/chat", body, headers)
            except Problem as problem:
                if problem.type != "events-gone":
                    raise
                # Events are kept for a minute after the end of a turn, and can't be resumed if the turn was begun a second time.
                yield self._outcome(turn, last)
                return
            try:
                with response:
                    for event in read_events(response):
                        last = event.id
                        turn = turn or str(event.data.get("turn_id", ""))
                        yield event
                        if event.type == "turn.failed":
                            raise Problem(event.data["problem"])
                        if event.type == "turn.completed":
                            return
            except (OSError, http.client.HTTPException):
                pass  # The connection broke.
        raise ConnectionError("the connection broke too often")

    def _outcome(self, turn: str, last: str) -> Event:
        """Waits until a turn has ended, and returns what a stream would have ended with."""
        for attempt in range(20 * ATTEMPTS):
            time.sleep(_pause(attempt))
            with self._send("GET", f"/turns/{turn}", None, {}) as response:
                outcome = json.load(response)
            if outcome["status"] == "completed":
                return Event(last, "turn.completed", outcome)
            if outcome["status"] != "running":
                break
        raise Problem(outcome.get("problem") or {"title": "The turn did not complete", "detail": outcome["status"]})

    def _send(
        self, method: str, path: str, body: Optional[dict[str, Any]], headers: dict[str, str]
    ) -> http.client.HTTPResponse:
        """Sends a request, again after a while if the host is busy or can't be reached. Raises a `Problem` for an error."""
        headers = dict(headers)
        if self._credential:
            headers["Authorization"] = f"Bearer {self._credential}"
        content = None if body is None else json.dumps(body).encode()
        if content is not None:
            headers["Content-Type"] = "application/json"
        for attempt in range(ATTEMPTS):
            is_last = attempt == ATTEMPTS - 1
            try:
                response = self._open(method, path, content, headers)
            except ssl.SSLCertVerificationError:
                raise  # Another attempt changes nothing.
            except (OSError, http.client.HTTPException):
                if is_last:
                    raise
                time.sleep(_pause(attempt + 1))
                continue
            if response.status < 400:
                return response
            problem = _problem(response)
            wait = problem.retry_after
            if problem.status not in (429, 503) or wait is None or wait > LONGEST_WAIT or is_last:
                raise problem
            time.sleep(wait)
        raise AssertionError("the last attempt returns or raises")

    def _open(
        self, method: str, path: str, content: Optional[bytes], headers: dict[str, str]
    ) -> http.client.HTTPResponse:
        secure = self._url.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        connection = kind(self._url.hostname or "", self._url.port, timeout=SILENCE)
        connection.request(method, self._url.path.rstrip("/") + path, content, headers)
        return connection.getresponse()


def read_events(response: http.client.HTTPResponse) -> Iterator[Event]:
    """Reads server-sent events, as the HTML standard defines them."""
    identity, name = "", ""
    data: list[str] = []
    for line in response:
        text = line.decode().rstrip("\r\n")
        field, _, value = text.partition(":")
        value = value[1:] if value.startswith(" ") else value
        if field == "id":
            identity = value
        elif field == "event":
            name = value
        elif field == "data":
            data.append(value)  # Long data has several lines.
        elif not text and data:
            yield Event(identity, name, json.loads("\n".join(data)))
            name, data = "", []
    # The connection ended, whether or not the turn did.


def text_of(content: Any) -> str:
    """The text of a reply, which is a list of parts if it does not fit into one line of a stream."""
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


def _problem(response: http.client.HTTPResponse) -> Problem:
    with response:
        body = response.read()
    try:
        return Problem(json.loads(body))
    except ValueError:  # A proxy, for example, answers with a page.
        wait = response.headers.get("Retry-After")
        seconds = float(wait) if wait and wait.isdigit() else None
        return Problem({"status": response.status, "title": response.reason, "retry_after": seconds})


def _pause(attempt: int) -> float:
    """Seconds before this attempt, from 0: none before the first, then more and more."""
    return min(8.0, 0.1 * 2**attempt) if attempt else 0.0


def main() -> int:
    if len(sys.argv) != 3:
        print("usage: chat.py USER MESSAGE", file=sys.stderr)
        return 2
    user, message = sys.argv[1:]
    url = os.environ.get("MASQUE_URL") or "http://127.0.0.1:8000"
    key = os.environ.get("MASQUE_KEY")
    written = ""
    try:
        client = Client(url, Client(url, key).mint_token(user) if key else None)
        for event in client.chat(message):
            if event.type == "reply.delta":
                new = event.data["text"]
            elif event.type == "turn.completed":
                # The whole reply; what of it was not streamed is missing.
                new = text_of(event.data["reply"]["content"])[len(written) :]
            else:
                continue  # Events that this client does not know are ignored.
            written += new
            print(new, end="", flush=True)
    except Problem as problem:
        print(f"{problem} ({problem.type}, request {problem.request_id})", file=sys.stderr)
        return 1
    except (OSError, http.client.HTTPException) as error:
        print(f"can't reach {url}: {error}", file=sys.stderr)
        if isinstance(error, ssl.SSLCertVerificationError):
            print("name the file of the certificate's authority in SSL_CERT_FILE", file=sys.stderr)
        return 1
    print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
