"""A Hub on this machine, for tests: the addresses, headers and redirects of huggingface.co, and
faults on request.

Small files are answered by the Hub itself, under the SHA-1 that git gives them; large ones are
redirected to a second server, the CDN, under their SHA-256. The CDN is another origin and refuses
requests that bring a token, as storage servers do. `log` has every request; `fault` makes the next
ones fail.
"""

import hashlib
import json
import re
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

LARGE = 100_000  # bytes from which a file is redirected


def git_sha1(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def etag_of(data):
    """The etag of a file, by its size."""
    return hashlib.sha256(data).hexdigest() if len(data) >= LARGE else git_sha1(data)


@dataclass
class Repo:
    commits: dict  # commit -> {file name: contents}
    refs: dict  # branch or tag -> commit
    token: str = ""  # needed to see it
    gated: bool = False


@dataclass
class Request:
    server: str  # "hub" or "cdn"
    method: str
    path: str
    range: str
    token: str
    status: int = 0


@dataclass
class Fault:
    """What happens to `times` requests after `skip`, of those like `pattern` (see `requests`)."""

    pattern: str
    times: int = 1
    skip: int = 0
    status: int = 0  # answer this
    headers: dict = field(default_factory=dict)
    cut: int = -1  # close the connection after so many bytes of the body
    stall: float = 0  # then be silent for so many seconds first
    damage: bool = False  # send other bytes
    extra: int = 0  # announce and send so many bytes more
    no_range: bool = False  # ignore Range


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.answer()

    def do_GET(self):
        self.answer()

    def answer(self):
        hub = self.server.hub
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        request = Request(
            self.server.name, self.command, self.path, self.headers.get("Range", ""), token
        )
        with hub.lock:
            hub.log.append(request)
            self.fault = hub.take_fault(f"{request.server} {self.command} {self.path}")
        self.request_seen = request
        try:
            if self.fault.status:
                self.send(self.fault.status, self.fault.headers)
            elif self.server.name == "cdn":
                self.answer_cdn(token)
            else:
                self.answer_hub(token)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def send(self, status, headers=None, body=b"", size=None):
        """A whole answer; a HEAD gets the headers only."""
        self.request_seen.status = status
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, str(value))
        self.send_header("Content-Length", str(len(body) if size is None else size))
        self.end_headers()
        if self.command != "HEAD":
            self.send_body(body)

    def send_body(self, body):
        if self.fault.damage:
            body = bytes(byte ^ 1 for byte in body[:1000]) + body[1000:]
        if self.fault.cut < 0:
            self.wfile.write(body)
            return
        self.wfile.write(body[: self.fault.cut])
        self.wfile.flush()
        time.sleep(self.fault.stall)
        self.close_connection = True
        self.connection.close()

    def send_file(self, data, headers):
        data += b"x" * self.fault.extra
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        no_range = self.fault.no_range or not self.server.hub.ranges
        if not wanted or no_range or self.command == "HEAD":
            self.send(200, headers, data if self.command != "HEAD" else b"", len(data))
            return
        begin = int(wanted[1])
        end = min(int(wanted[2]) + 1 if wanted[2] else len(data), len(data))
        if begin >= len(data):
            self.send(416, {"Content-Range": f"bytes */{len(data)}"})
            return
        headers["Content-Range"] = f"bytes {begin}-{end - 1}/{len(data)}"
        self.send(206, headers, data[begin:end])

    def refuse(self, status, code, message):
        self.send(status, {"X-Error-Code": code, "X-Error-Message": message})

    def answer_cdn(self, token):
        address = urlsplit(self.path)
        data = self.server.hub.blobs.get(address.path.removeprefix("/blobs/"))
        if token:
            self.send(400)  # two ways to say who asks
        elif data is None:
            self.send(404)
        else:
            self.send_file(data, {"ETag": '"not-the-hash"', "Accept-Ranges": "bytes"})

    def answer_hub(self, token):
        hub = self.server.hub
        path = unquote(urlsplit(self.path).path)
        api = re.fullmatch(r"/api/models/(.+?)/(?:revision|tree)/(.+)", path)
        file = re.fullmatch(r"/(.+?)/resolve/([^/]+)/(.+)", path)
        if not api and not file:
            self.send(404)
            return
        name = (api or file)[1]
        if name in hub.renamed:
            moved = self.path.replace(name, hub.renamed[name])
            self.send(307, {"Location": moved})
            return
        repo = hub.repos.get(name)
        if repo is None or (repo.token and token != repo.token):
            if token:
                self.refuse(404, "RepoNotFound", "Repository not found")
            else:
                self.refuse(401, "RepoNotFound", "Invalid username or password.")
            return
        revision = (api or file)[2]
        commit = repo.refs.get(revision, revision)
        if commit not in repo.commits:
            self.refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            return
        files = repo.commits[commit]
        if api and "/tree/" in path:
            self.send_tree(files)
        elif api:
            siblings = [{"rfilename": name} for name in files]
            body = {"id": name, "modelId": name, "sha": commit, "siblings": siblings}
            self.send(200, {"Content-Type": "application/json"}, json.dumps(body).encode())
        elif repo.gated:
            self.refuse(403, "GatedRepo", "Access to model is restricted.")
        elif file[3] not in files:
            self.send(404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit})
        else:
            self.send_resolved(files[file[3]], commit)

    def send_tree(self, files):
        entries = []
        for name, data in files.items():
            entry = {"type": "file", "path": name, "size": len(data), "oid": git_sha1(data)}
            if len(data) >= LARGE:
                oid = hashlib.sha256(data).hexdigest()
                entry["lfs"] = {"oid": oid, "size": len(data), "pointerSize": 130}
            entries.append(entry)
        self.send(200, {"Content-Type": "application/json"}, json.dumps(entries).encode())

    def send_resolved(self, data, commit):
        hub = self.server.hub
        etag = hub.wrong_etags.get(etag_of(data), etag_of(data))
        headers = {"X-Repo-Commit": commit}
        if len(data) < LARGE:
            self.send_file(data, {**headers, "ETag": f'W/"{etag}"'})
            return
        headers["X-Linked-Etag"] = f'"{etag}"'
        headers["X-Linked-Size"] = len(data)
        headers["Location"] = f"{hub.cdn_address}/blobs/{etag_of(data)}?signature=s{len(hub.log)}"
        self.send(302, headers)


class Hub:
    """Both servers; a context manager."""

    def __init__(self):
        self.lock = threading.Lock()
        self.repos, self.renamed, self.blobs, self.wrong_etags = {}, {}, {}, {}
        self.log, self.faults = [], []
        self.ranges = True
        self.servers = []
        for name in ("hub", "cdn"):
            server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
            server.hub, server.name, server.daemon_threads = self, name, True
            self.servers.append(server)
        self.address, self.cdn_address = (
            f"http://127.0.0.1:{server.server_address[1]}" for server in self.servers
        )

    def __enter__(self):
        for server in self.servers:
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_):
        for server in self.servers:
            server.shutdown()
            server.server_close()

    def add(self, name, files, revision="main", **options):
        """A commit with these files, as the head of a branch; returns the commit."""
        digest = hashlib.sha1(name.encode())
        for path, data in sorted(files.items()):
            digest.update(path.encode() + b"\0" + git_sha1(data).encode())
        commit = digest.hexdigest()
        repo = self.repos.setdefault(name, Repo({}, {}, **options))
        repo.commits[commit] = dict(files)
        repo.refs[revision] = commit
        for data in files.values():
            self.blobs[etag_of(data)] = data
        return commit

    def fault(self, pattern, **what):
        with self.lock:
            self.faults.append(Fault(pattern, **what))

    def take_fault(self, request):
        for fault in self.faults:
            if fault.times <= 0 or not re.search(fault.pattern, request):
                continue
            if fault.skip > 0:
                fault.skip -= 1
                continue
            fault.times -= 1
            return fault
        return Fault("", 0)

    def requests(self, pattern=""):
        """Those so far whose "server method path" matches the pattern."""
        with self.lock:
            return [r for r in self.log if re.search(pattern, f"{r.server} {r.method} {r.path}")]
