"""pull, and models named ORG/NAME, against a Hub on this machine: what is downloaded, where it is
kept, and who sees the token."""

import json
import os
import shutil
import ssl
import subprocess
import sys
import threading
import unittest
from pathlib import Path

from hub_server import etag_of, git_sha1
from hub_support import MIB, NAME, HubTest, model_files, random_bytes
from support import TEXT, aquatint

BAD_OPTION, NOT_FOUND, CORRUPT, IO = 2, 3, 4, 6
SECRET = "hf_NotForOthersToSee"

try:
    import huggingface_hub
except ImportError:
    huggingface_hub = None


class LayoutTest(HubTest):
    def test_everything_is_where_python_looks(self):
        files = {**model_files(), "README.md": b"# Not needed", "flax_model.msgpack": b"x" * 10}
        commit = self.hub.add(NAME, files)
        folder = self.pull(NAME)
        self.assertEqual(folder, str(self.repo_folder() / "snapshots" / commit))
        self.assertEqual((self.repo_folder() / "refs/main").read_text(), commit)
        for name, data in model_files().items():
            link = self.repo_folder() / "snapshots" / commit / name
            self.assertEqual(os.readlink(link), f"../../blobs/{etag_of(data)}")
            self.assertEqual(link.read_bytes(), data)
        self.assertEqual(
            sorted(os.listdir(folder)), sorted(model_files()), "only what a model needs"
        )
        self.assertEqual(self.leftovers(), [])
        locks = os.listdir(self.cache / ".locks" / self.repo_folder().name)
        etags = [etag_of(data) for data in model_files().values()]
        self.assertEqual(sorted(locks), sorted(etag + ".lock" for etag in etags))
        self.assertTrue((self.cache / "CACHEDIR.TAG").read_text().startswith("Signature: 8a477f59"))
        self.succeed("inspect", folder)

    def test_nothing_is_downloaded_twice(self):
        self.hub.add(NAME, model_files())
        first = self.pull_json(NAME)
        self.assertGreater(first["bytes_downloaded"], 2 * MIB)
        count = len(self.hub.requests())
        second = self.pull_json(NAME)
        self.assertEqual(second["bytes_downloaded"], 0)
        self.assertTrue(all(file["was_cached"] for file in second["files"]))
        self.assertEqual(len(self.hub.requests()), count + 1, "only which commit main is")
        # A new commit with one new file takes that one, and the old snapshot stays.
        old = first["folder"]
        commit = self.hub.add(NAME, {**model_files(), "generation_config.json": b'{"a": 1}'})
        third = self.pull_json(NAME)
        self.assertEqual((third["commit"], third["bytes_downloaded"]), (commit, 8))
        self.assertTrue(os.path.isdir(old))

    def test_revisions_and_folders(self):
        main = self.hub.add(NAME, model_files())
        other = self.hub.add(NAME, {**model_files(), "config.json": b"{}"}, revision="refs/pr/1")
        files = {"a/b/deep.txt": b"deep", "config.json": b"{}"}
        tag = self.hub.add(NAME, files, revision="v1.0")
        self.assertTrue(self.pull(NAME + "@refs/pr/1").endswith(other))
        self.assertEqual((self.repo_folder() / "refs/refs/pr/1").read_text(), other)
        self.assertTrue(self.pull(NAME, "--revision", main).endswith(main))
        self.assertFalse((self.repo_folder() / "refs" / main).exists())
        folder = self.pull(NAME + "@v1.0", "--include", "a/*")
        link = self.repo_folder() / "snapshots" / tag / "a/b/deep.txt"
        self.assertEqual(os.readlink(link), "../../../../blobs/" + git_sha1(b"deep"))
        self.assertEqual(sorted(os.listdir(folder)), ["a"])
        self.pull_fails(NOT_FOUND, ["no branch, tag or commit 'v9'"], NAME + "@v9")
        self.pull_fails(BAD_OPTION, "twice", NAME + "@main", "--revision", "main")

    def test_patterns(self):
        files = {
            **model_files(),
            "onnx/model.onnx": b"o",
            "a.gguf": b"q4",
            "b.GGUF": b"Q4",
            "pytorch_model.bin": b"b",
        }
        self.hub.add(NAME, files)

        def names(*arguments):
            return sorted(file["name"] for file in self.pull_json(NAME, *arguments)["files"])

        self.assertEqual(names("--include", "*.gguf"), ["a.gguf"])
        self.assertEqual(names("--include", "onnx/"), ["onnx/model.onnx"])
        self.assertEqual(names("--include", "*.[!go]*", "--exclude", "*tokenizer*"), sorted(
            name for name in files
            if name.rsplit(".", 1)[1][0] not in "go" and "tokenizer" not in name
        ))  # fmt: skip
        self.assertEqual(names("--exclude", "*.safetensors"), sorted(
            name for name in model_files() if not name.endswith(".safetensors")
        ))  # fmt: skip
        self.assertEqual(names(), sorted(model_files()))
        self.pull_fails(NOT_FOUND, "none of its", NAME, "--include", "*.nosuch")

    def test_weights_in_shards_and_other_forms(self):
        index = {"weight_map": {"a": "part-1.safetensors", "b": "part-2.safetensors"}}
        files = {
            "config.json": b"{}",
            "model.safetensors.index.json": json.dumps(index).encode(),
            "part-1.safetensors": random_bytes(200_000),
            "part-2.safetensors": random_bytes(300_000, 2),
            "consolidated.safetensors": b"the same once more",
        }
        self.hub.add("org/shards", files)
        dry = self.pull_json("org/shards", "--dry-run")
        self.assertFalse(self.home.exists())
        self.assertEqual(dry["bytes_downloaded"], sum(map(len, files.values())) - 18)
        folder = self.pull("org/shards")
        self.assertEqual(
            sorted(os.listdir(folder)),
            sorted(name for name in files if not name.startswith("consolidated")),
        )
        self.assertEqual({f["name"] for f in dry["files"]}, set(os.listdir(folder)))
        self.hub.add("org/bin", {"config.json": b"{}", "pytorch_model.bin": b"pickle"})
        self.assertIn("pytorch_model.bin", os.listdir(self.pull("org/bin")))
        self.hub.add("org/gguf", {"config.json": b"{}", "m.Q4_0.gguf": b"GGUF"})
        self.pull_fails(NOT_FOUND, ["--include", "m.Q4_0.gguf"], "org/gguf")
        del files["part-2.safetensors"]
        self.hub.add("org/torn", files)
        self.pull_fails(CORRUPT, ["part-2.safetensors"], "org/torn")

    def test_environment(self):
        self.hub.add(NAME, model_files())
        elsewhere = self.folder / "elsewhere"
        folder = self.pull(NAME, HF_HUB_CACHE="$HF_HOME/../elsewhere")
        self.assertTrue(elsewhere.samefile(Path(folder).parents[2]))
        self.pull_fails(BAD_OPTION, "HF_ENDPOINT", NAME, HF_ENDPOINT="ftp://here")
        self.pull_fails(BAD_OPTION, "HF_HUB_ETAG_TIMEOUT", NAME, HF_HUB_ETAG_TIMEOUT="soon")
        for bad in ("a/b/c", "a//b", ".a/b", "a/b--c", "a/b@", "a/b@../c", "a/b.git"):
            self.pull_fails(BAD_OPTION, "ORG/NAME", bad)


class TokenTest(HubTest):
    def setUp(self):
        super().setUp()
        self.hub.add(NAME, model_files(), token=SECRET)

    def test_without_and_with_a_wrong_one(self):
        error = self.pull_fails(IO, [NAME, "HF_TOKEN", "401"], NAME)
        self.assertIn("no such model", error)
        error = self.pull_fails(NOT_FOUND, [NAME, "token"], NAME, HF_TOKEN="hf_wrong")
        self.assertNotIn("hf_wrong", error)
        error = self.pull_fails(BAD_OPTION, "HF_TOKEN", NAME, HF_TOKEN="hf_a\nb: c")
        self.assertNotIn("hf_a", error)

    def test_it_goes_to_the_hub_only(self):
        self.pull(NAME, HF_TOKEN=SECRET + "\n")
        self.assertTrue(all(r.token == SECRET for r in self.hub.requests("^hub")))
        cdn = self.hub.requests("^cdn")
        self.assertGreater(len(cdn), 0)
        self.assertTrue(all(r.token == "" for r in cdn))

    def test_from_files(self):
        self.home.mkdir()
        (self.home / "token").write_text(SECRET + "\n")
        self.pull(NAME)
        (self.home / "token").unlink()
        other = self.write("my-token", SECRET)
        self.pull(NAME, HF_TOKEN_PATH=str(other), HF_HUB_CACHE=str(self.folder / "other"))
        self.pull_fails(IO, "401", NAME, HF_HUB_CACHE=str(self.folder / "third"))

    def test_it_is_never_printed(self):
        self.hub.fault("^cdn GET", cut=1000)
        done = aquatint("pull", NAME, env={**self.env, "HF_TOKEN": SECRET})
        self.assertEqual(done.returncode, 0)
        self.assertIn(b"trying again", done.stderr)
        self.assertNotIn(SECRET.encode(), done.stderr + done.stdout)

    def test_refusals(self):
        self.hub.fault("^hub GET /api", status=401, headers={"X-Error-Message": "Invalid"})
        self.pull_fails(IO, ["refuses the token", "401"], NAME, HF_TOKEN=SECRET)
        self.hub.fault("^hub GET /api", status=403)
        self.pull_fails(IO, ["403"], NAME, HF_TOKEN=SECRET)
        self.hub.add("org/gated", model_files(), gated=True)
        error = self.pull_fails(IO, ["gated", f"{self.hub.address}/org/gated"], "org/gated")
        self.assertIn("HF_TOKEN", error)


@unittest.skipIf(shutil.which("openssl") is None, "no openssl to make a certificate with")
class TlsTest(HubTest):
    """The Hub over TLS, the CDN without: another origin, and no place for a token."""

    def setUp(self):
        super().setUp()
        key, certificate = self.folder / "key.pem", self.folder / "certificate.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
             "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
             "-keyout", str(key), "-out", str(certificate)],
            check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        server = self.hub.servers[0]
        server.socket = context.wrap_socket(server.socket, server_side=True)
        self.certificate = str(certificate)
        self.env["HF_ENDPOINT"] = self.hub.address.replace("http:", "https:")

    def test_certificates_are_checked(self):
        self.hub.add(NAME, model_files(), token=SECRET)
        self.pull_fails(IO, "certificate", NAME, HF_TOKEN=SECRET)
        self.pull(NAME, HF_TOKEN=SECRET, SSL_CERT_FILE=self.certificate)
        self.assertEqual({r.token for r in self.hub.requests("^hub")}, {SECRET})
        self.assertEqual({r.token for r in self.hub.requests("^cdn")}, {""})


class VerbsTest(HubTest):
    def setUp(self):
        super().setUp()
        self.commit = self.hub.add(NAME, model_files())

    def test_every_verb_takes_the_name(self):
        out, logits = self.folder / "out", self.folder / "logits"
        for arguments in (
            ["tokenize", NAME, "--text", "x"],
            ["inspect", NAME],
            ["run", NAME + "@main", "-p", "x", "-n", 2],
            ["bench", NAME, "--prompt-tokens", 8, "--generated-tokens", 2, "--repeats", 1],
            ["logits", NAME, "--tokens", "1,2", "--out", logits],
            ["eval", NAME, "--text", TEXT, "--max-tokens", 1100, "--reference", NAME],
            ["compare", NAME, f"{NAME}@{self.commit}", "--text", TEXT, "--max-tokens", 1100,
             "--prompt-tokens", 8, "--generated-tokens", 2, "--repeats", 1],
            ["quantize", NAME, "--recipe", "w8a16", "--out", out],
            ["export", NAME, "--out", self.folder / "copy"],
        ):  # fmt: skip
            with self.subTest(arguments[0]):
                self.succeed(*arguments, env=self.env)
        self.assertEqual(len(self.hub.requests("GET /api")), 1, "downloaded once")
        self.assertFalse((out / "model.safetensors").is_symlink())

    def test_a_folder_goes_before(self):
        local = self.folder / "some-org"
        local.mkdir()
        self.model_copy("some-org/gla_demo.v1")
        self.succeed("inspect", NAME, cwd=self.folder, env=self.env)
        self.assertEqual(self.hub.requests(), [])

    def test_offline(self):
        for extra, env in (["--offline"], {}), ([], {"HF_HUB_OFFLINE": "1"}):
            error = self.fail_with(
                NOT_FOUND, [NAME, "offline", str(self.cache)], "inspect", NAME, *extra,
                env={**self.env, **env},
            )  # fmt: skip
            self.assertIn("revision 'main'", error)
            self.pull_fails(NOT_FOUND, ["offline"], NAME, *extra, **env)
        self.assertEqual(self.hub.requests(), [])
        folder = self.pull(NAME)
        count = len(self.hub.requests())
        self.assertEqual(self.pull(NAME, "--offline"), folder)
        self.succeed("inspect", NAME, "--offline", env=self.env)
        self.succeed("inspect", f"{NAME}@{self.commit}", env=self.env)
        self.fail_with(NOT_FOUND, "v2", "inspect", NAME + "@v2", "--offline", env=self.env)
        self.assertEqual(len(self.hub.requests()), count)

    def test_half_a_model_is_completed(self):
        self.pull(NAME, "--exclude", "*.safetensors")
        self.succeed("inspect", NAME, env=self.env)


@unittest.skipIf(huggingface_hub is None, "no huggingface_hub")
class PythonTest(HubTest):
    """Both ways through the one cache, with the real library."""

    def run_python(self, call, **env):
        program = f"import huggingface_hub as h; print({call})"
        done = subprocess.run([sys.executable, "-c", program], env={**self.env, **env}, check=False,
                              text=True, capture_output=True, timeout=120)  # fmt: skip
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.strip()

    def test_python_finds_ours(self):
        self.hub.add(NAME, model_files())
        folder = self.pull(NAME)
        offline = {"HF_HUB_OFFLINE": "1"}
        self.assertEqual(self.run_python(f"h.snapshot_download('{NAME}')", **offline), folder)
        file = self.run_python(f"h.hf_hub_download('{NAME}', 'config.json')", **offline)
        self.assertEqual(file, f"{folder}/config.json")
        self.assertEqual(self.run_python(f"h.snapshot_download('{NAME}')"), folder)
        info = "len(h.scan_cache_dir().warnings), [r.repo_id for r in h.scan_cache_dir().repos]"
        self.assertEqual(self.run_python(info), f"0 ['{NAME}']")

    def test_we_find_pythons(self):
        self.hub.add(NAME, model_files())
        folder = self.run_python(f"h.snapshot_download('{NAME}')", HF_HUB_DISABLE_XET="1")
        count = len(self.hub.requests())
        self.succeed("inspect", NAME, env=self.env)
        self.assertEqual(self.pull(NAME, "--offline"), folder)
        self.assertEqual(len(self.hub.requests()), count)
        result = self.pull_json(NAME)
        self.assertEqual((result["folder"], result["bytes_downloaded"]), (folder, 0))

    def test_both_at_once(self):
        data = self.large()
        self.hub.fault("^cdn GET", cut=MIB, stall=1, times=1)
        results = []
        thread = threading.Thread(target=lambda: results.append(self.pull_large()))
        thread.start()
        folder = self.run_python("h.snapshot_download('org/large', allow_patterns='big.bin')")
        thread.join()
        self.assertEqual(results, [folder])
        self.assertEqual(self.big(folder), data)


if __name__ == "__main__":
    unittest.main()
