"""Every way in which a download fails: it goes on where it was, or ends with one clear error."""

import hashlib
import signal
import subprocess
import threading
import time
import unittest

from hub_server import etag_of
from hub_support import MIB, NAME, HubTest, model_files
from support import PROGRAM, aquatint

NOT_FOUND, CORRUPT, UNSUPPORTED, IO, MEMORY = 3, 4, 5, 6, 7


class FailureTest(HubTest):
    def test_no_such_model(self):
        self.pull_fails(IO, ["org/nosuch", self.hub.address, "no such model"], "org/nosuch")

    def test_a_file_that_is_listed_but_not_there(self):
        commit = self.hub.add(NAME, model_files())
        headers = {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit}
        self.hub.fault("HEAD .*tokenizer.json", status=404, headers=headers)
        self.pull_fails(NOT_FOUND, "tokenizer.json", NAME)
        self.assertTrue((self.repo_folder() / ".no_exist" / commit / "tokenizer.json").exists())

    def test_too_many_requests(self):
        self.hub.add(NAME, model_files())
        for where in ("^hub GET /api", "^hub HEAD", "^hub GET /some", "^cdn"):
            self.hub.fault(where, status=429, headers={"Retry-After": "1"})
        start = time.monotonic()
        done = aquatint("pull", NAME, env=self.env)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertGreater(time.monotonic() - start, 3.0)
        self.assertEqual(done.stderr.count(b"429"), 4)
        self.hub.fault("^hub GET /api", status=429, headers={"Retry-After": "86400"})
        self.pull_fails(IO, ["429", "24h"], NAME)

    def test_a_server_that_is_down(self):
        self.hub.add(NAME, model_files())
        self.hub.fault("^hub", status=503, times=2)
        self.pull(NAME)
        self.hub.fault("^hub GET /api", status=503, times=100)
        self.pull_fails(IO, ["503", NAME], NAME)
        self.pull_fails(IO, ["127.0.0.1"], NAME, HF_ENDPOINT="http://127.0.0.1:9")

    def test_not_a_hub(self):
        self.hub.add(NAME, model_files())
        self.hub.fault("^hub GET /api", status=200)
        self.pull_fails(CORRUPT, "answer", NAME)
        self.hub.fault("^hub HEAD", status=200, times=100)
        self.pull_fails(UNSUPPORTED, "HF_ENDPOINT", NAME)

    def test_names_that_lead_out_of_the_folder(self):
        for name in ("../../evil", "/etc/evil", "a/../../evil", "a\\b", "a//b"):
            self.hub.add("org/evil", {"config.json": b"{}", name: b"evil"})
            self.pull_fails(CORRUPT, "leads out", "org/evil", "--include", "*")
        self.assertFalse(self.cache.exists())

    def test_broken_connections(self):
        data = self.large()
        for cut in (0, 1000, 5 * MIB):
            self.hub.fault("^cdn GET", cut=cut)
        folder = self.pull_large()
        self.assertEqual(self.big(folder), data)
        sent = sum(r.range != "" for r in self.hub.requests("^cdn GET"))
        self.assertEqual(sent, 3 + 3, "three pieces, three of them twice")

    def test_silence(self):
        data = self.large()
        self.hub.fault("^cdn GET", cut=MIB, stall=30)
        start = time.monotonic()
        folder = self.pull_large(HF_HUB_DOWNLOAD_TIMEOUT="2")
        self.assertLess(time.monotonic() - start, 25)
        self.assertEqual(self.big(folder), data)

    def test_ranges_in_parallel(self):
        data = self.large()
        folder = self.pull_large()
        self.assertEqual(self.big(folder), data)
        piece = 16 * MIB
        ranges = {r.range for r in self.hub.requests("^cdn GET")}
        self.assertEqual(ranges, {
            f"bytes=0-{piece - 1}", f"bytes={piece}-{2 * piece - 1}",
            f"bytes={2 * piece}-{len(data) - 1}",
        })  # fmt: skip

    def test_redirects_are_reused_and_renewed(self):
        data = self.large(70 * MIB)
        self.pull("org/large", "--include", "big.bin", "--connections", "1")
        self.assertEqual(len(self.hub.requests("^hub GET /org")), 1)
        # One that has expired is asked for again.
        self.hub.fault("^cdn GET", status=403, skip=2)
        before = len(self.hub.requests("^hub GET /org"))
        folder = self.pull("org/large", "--include", "big.bin", "--connections", "1",
                           HF_HUB_CACHE=str(self.folder / "other"))  # fmt: skip
        self.assertEqual(self.big(folder), data)
        self.assertEqual(len(self.hub.requests("^hub GET /org")) - before, 2)

    def test_a_storage_server_that_refuses(self):
        self.large(MIB)
        self.hub.fault("^cdn GET", status=403, times=2)
        self.pull_large()
        self.hub.fault("^cdn GET", status=404, times=100)
        cache = str(self.folder / "other")
        words = [self.hub.cdn_address, "404", "big.bin"]
        self.pull_fails(IO, words, "org/large", "--include", "big.bin", HF_HUB_CACHE=cache)

    def test_killed_and_continued(self):
        data = self.large()
        # Each piece stops where it is and stays silent.
        self.hub.fault("^cdn GET", cut=6 * MIB, stall=60, times=3)
        command = [str(PROGRAM), "pull", "org/large", "--include", "big.bin"]
        with subprocess.Popen(command, env=self.env, stderr=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL) as process:  # fmt: skip
            deadline = time.monotonic() + 60
            etag = hashlib.sha256(data).hexdigest()
            state = self.repo_folder("org/large") / "blobs" / f"{etag}.aquatint.state.incomplete"

            def received():
                counts = state.read_bytes()[24:] if state.exists() else b""
                return sum(int.from_bytes(counts[i : i + 8], "little")
                           for i in range(0, len(counts), 8))  # fmt: skip

            while received() < 17 * MIB and time.monotonic() < deadline:
                time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            self.assertEqual(process.wait(), -signal.SIGINT)
        kept = received()
        self.assertGreaterEqual(kept, 17 * MIB)
        planned = self.pull_json("org/large", "--include", "big.bin", "--dry-run")
        self.assertEqual(planned["bytes_downloaded"], len(data) - kept)
        before = len(self.hub.requests("^cdn GET"))
        result = self.pull_json("org/large", "--include", "big.bin")
        self.assertEqual(result["bytes_downloaded"], len(data) - kept)
        self.assertEqual(self.big(result['folder']), data)
        ranges = [r.range for r in self.hub.requests("^cdn GET")[before:]]
        self.assertTrue(all(not r.startswith("bytes=0-") for r in ranges), ranges)
        self.assertEqual(self.leftovers(), [])

    def test_what_older_pythons_left_is_continued(self):
        data = self.large()
        blobs = self.repo_folder("org/large") / "blobs"
        blobs.mkdir(parents=True)
        (blobs / (etag_of(data) + ".incomplete")).write_bytes(data[: 20 * MIB])
        result = self.pull_json("org/large", "--include", "big.bin")
        self.assertEqual(result["bytes_downloaded"], 20 * MIB)
        self.assertEqual(self.big(result['folder']), data)
        self.assertEqual(self.leftovers(), [])

    def test_wrong_contents(self):
        data = self.large()
        self.hub.fault("^cdn GET", damage=True, times=1)
        done = aquatint("pull", "org/large", "--include", "big.bin", env=self.env)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(b"sha256 is wrong; downloading it once more", done.stderr)
        folder = done.stdout.decode().strip()
        self.assertEqual(self.big(folder), data)

    def test_contents_that_stay_wrong(self):
        files = {**model_files(), "vocab.json": b'{"a": 1}'}
        self.hub.add(NAME, files)
        for name, what in (("model.safetensors", "sha256"), ("vocab.json", "git sha1")):
            wrong = etag_of(files[name])[::-1]
            self.hub.wrong_etags = {etag_of(files[name]): wrong}
            self.pull_fails(CORRUPT, [name, what, wrong, etag_of(files[name])], NAME)
            self.assertFalse((self.repo_folder() / "blobs" / wrong).exists())
        self.assertFalse((self.repo_folder() / "refs").exists(), "main leads to no half model")

    def test_wrong_sizes(self):
        self.hub.add(NAME, model_files())
        self.hub.fault("^cdn GET", extra=5, times=100)
        self.pull_fails(CORRUPT, ["file '", "more than"], NAME)

    def test_a_server_without_ranges(self):
        data = self.large()
        self.hub.ranges = False
        folder = self.pull_large()
        self.assertEqual(self.big(folder), data)
        # One that breaks off too starts from the beginning.
        self.hub.fault("^cdn GET", cut=20 * MIB, times=2)
        folder = self.pull_large(HF_HUB_CACHE=str(self.folder / "other"))
        self.assertEqual(self.big(folder), data)

    def test_a_renamed_model(self):
        commit = self.hub.add(NAME, model_files())
        self.hub.renamed["old/name"] = NAME
        folder = self.pull("old/name", HF_TOKEN="hf_token")
        self.assertTrue(folder.endswith(commit))
        self.assertIn("models--old--name", folder)

    def test_no_room(self):
        self.hub.add(NAME, model_files())
        self.hub.fault("HEAD .*model.safetensors", status=302, headers={
            "X-Linked-Etag": '"' + "a" * 64 + '"', "X-Linked-Size": 1 << 50,
            "Location": self.hub.cdn_address + "/x",
        })  # fmt: skip
        self.pull_fails(MEMORY, ["of disk are free", "are to be downloaded"], NAME)
        self.assertEqual(self.hub.requests("^cdn"), [])

    def test_two_at_once(self):
        data = self.large()
        self.hub.fault("^cdn GET", cut=MIB, stall=0.5, times=2)
        results = []

        def pull():
            results.append(aquatint("pull", "org/large", "--include", "big.bin", env=self.env))

        threads = [threading.Thread(target=pull) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for done in results:
            self.assertEqual(done.returncode, 0, done.stderr)
            folder = done.stdout.decode().strip()
            self.assertEqual(self.big(folder), data)
        ranges = [r.range for r in self.hub.requests("^cdn GET")]
        self.assertLessEqual(len(ranges), 3 + 2, "only one of them downloads")


if __name__ == "__main__":
    unittest.main()
