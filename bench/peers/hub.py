"""Graft and Hugging Face's own client over one cache, each way, against a hub on this machine.

    python hub.py MODEL_DIR [--graft ../../graft]

Serves MODEL_DIR (a BERT) as a hub does, large files by a redirect to a second server, and checks

    1  what Graft fetched is found by huggingface_hub and transformers without a request
    2  what huggingface_hub fetched is found by Graft without a request
    3  what one of them fetched, the other does not fetch again
"""

import argparse
import hashlib
import http.server
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading

NAME = "org/model"
LARGE = (".safetensors", ".bin")


class Server(http.server.ThreadingHTTPServer):
    """The hub, or (with hub set) the host that has its large files."""

    def __init__(self, directory, hub=None):
        super().__init__(("127.0.0.1", 0), Handler)
        files = sorted(p for p in directory.rglob("*") if p.is_file())
        self.files = {p.relative_to(directory).as_posix(): p.read_bytes() for p in files}
        self.commit = hashlib.sha1(repr(sorted(self.files)).encode()).hexdigest()
        self.requests = [] if hub is None else hub.requests
        self.large = Server(directory, self) if hub is None else None
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        path = self.path.split("?")[0]
        self.server.requests.append(f"{self.command} {path}")
        files, commit = self.server.files, self.server.commit
        if self.server.large is None:
            by_hash = {sha256(content): content for content in files.values()}
            self.answer(200, by_hash[path[1:]], {"ETag": '"of-this-host"'})
        elif path.startswith(f"/api/models/{NAME}/revision/"):
            siblings = [{"rfilename": name} for name in files]
            self.json({"id": NAME, "modelId": NAME, "sha": commit, "siblings": siblings})
        elif path.startswith(f"/api/models/{NAME}/tree/"):
            self.json([self.entry(name, content) for name, content in files.items()])
        elif path.startswith(f"/{NAME}/resolve/"):
            name = path.split("/", 5)[5]
            if name in files:
                self.file(name, files[name], commit)
            else:
                self.answer(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit})
        else:
            self.answer(404, b"", {"X-Error-Code": "RepoNotFound"})

    do_HEAD = do_GET

    @staticmethod
    def entry(name, content):
        entry = {"type": "file", "path": name, "size": len(content), "oid": blob_sha1(content)}
        if name.endswith(LARGE):
            entry["lfs"] = {"oid": sha256(content), "size": len(content), "pointerSize": 134}
        return entry

    def file(self, name, content, commit):
        headers = {"X-Repo-Commit": commit}
        if name.endswith(LARGE):
            headers["X-Linked-Etag"] = f'"{sha256(content)}"'
            headers["X-Linked-Size"] = str(len(content))
            headers["Location"] = f"{self.server.large.address}/{sha256(content)}"
            self.answer(302, b"", headers)
        else:
            headers["ETag"] = f'"{blob_sha1(content)}"'
            self.answer(200, content, headers)

    def json(self, value):
        self.answer(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def answer(self, status, content, headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def log_message(self, *arguments):
        pass


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def blob_sha1(content):
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def run(command, hub, cache, offline=False):
    """Runs a command with its cache; returns its output and the requests it made."""
    before = len(hub.requests)
    environment = dict(os.environ, HF_ENDPOINT=hub.address, HF_HUB_CACHE=str(cache))
    environment["HF_HUB_OFFLINE"] = "1" if offline else "0"
    environment["HF_HUB_DISABLE_TELEMETRY"] = "1"
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{command}\n{done.stdout}{done.stderr}")
    return done.stdout, hub.requests[before:]


def python(code, *arguments):
    return [sys.executable, "-c", code, *map(str, arguments)]


FETCH = f"import huggingface_hub as h; print(h.snapshot_download('{NAME}'))"
FIND = f"import huggingface_hub as h; print(h.snapshot_download('{NAME}', local_files_only=True))"
LOAD = f"""
import sys, torch, transformers as t
tokenizer = t.AutoTokenizer.from_pretrained("{NAME}")
texts = tokenizer(["A text.", "Another one, a little longer."], padding=True, return_tensors="pt")
with torch.no_grad():
    cached = t.AutoModel.from_pretrained("{NAME}").eval()(**texts).last_hidden_state
    direct = t.AutoModel.from_pretrained(sys.argv[1]).eval()(**texts).last_hidden_state
assert torch.equal(cached, direct)
print(texts["input_ids"].tolist())
"""


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("--graft", default=pathlib.Path(__file__).parent / "../../graft")
    options = parser.parse_args()
    hub = Server(options.model)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        train = folder / "train.csv"
        train.write_text("text,label\n" + "good film,yes\nbad film,no\n" * 8)
        texts = folder / "texts.txt"
        texts.write_text("A text.\n")

        def graft(*arguments):
            return [str(options.graft), *map(str, arguments)]

        def learn(run_directory):
            return graft(
                "finetune", "--model", NAME, "--train", train, "--steps", 1, "--out", run_directory
            )

        encode = graft("tokenizer", "encode", "--tokenizer", NAME, "--input", texts, "--json")

        cache = folder / "by-graft"
        _, first = run(learn(folder / "run1"), hub, cache)
        _, again = run(learn(folder / "run2"), hub, cache)
        assert len(again) == 1, again
        found, none = run(python(FIND), hub, cache, offline=True)
        ids, more = run(python(LOAD, options.model), hub, cache, offline=True)
        assert not none and not more, none + more
        print("1  found by huggingface_hub and transformers:", pathlib.Path(found.strip()).name)
        _, rest = run(python(FETCH), hub, cache)
        assert not [r for r in rest if r.startswith("GET") and r in first and "/api/" not in r], rest

        cache = folder / "by-python"
        run(python(FETCH), hub, cache)
        out, none = run(encode, hub, cache, offline=True)
        _, more = run(learn(folder / "run3"), hub, cache, offline=True)
        _, online = run(learn(folder / "run4"), hub, cache)
        assert not none and not more, none + more
        assert len(online) == 1, online
        mine, theirs = json.loads(out), json.loads(ids)[0]
        assert mine == theirs[: len(mine)], (mine, theirs)
        print("2  found by graft:", out.strip())
        print("3  requests: graft", len(first), "then", len(again), "and", len(online), "over python's")


if __name__ == "__main__":
    main()
