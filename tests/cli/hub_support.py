"""What the tests of downloads share: a Hub on this machine and an empty cache for each test."""

import os
import random
from pathlib import Path

from hub_server import Hub
from support import MODEL, ProgramTest

NAME = "some-org/gla_demo.v1"
MIB = 1 << 20


def random_bytes(size, seed=1):
    return random.Random(seed).randbytes(size)


def model_files():
    """Contents by name, of the model that the tests put on the Hub."""
    return {path.name: path.read_bytes() for path in MODEL.iterdir() if path.is_file()}


class HubTest(ProgramTest):
    """A test with a Hub of its own and an empty cache, both in the environment of the program."""

    def setUp(self):
        super().setUp()
        self.hub = Hub()
        self.hub.__enter__()
        self.addCleanup(self.hub.__exit__)
        self.home = self.folder / "home"
        self.cache = self.home / "hub"
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING"))}
        self.env = {**kept, "HF_ENDPOINT": self.hub.address, "HF_HOME": str(self.home)}
        certificates = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
        for name in ("TRANSFORMERS_OFFLINE", *certificates):
            self.env.pop(name, None)
        self.env["NO_PROXY"] = self.env["no_proxy"] = "127.0.0.1"

    def pull(self, *arguments, **env):
        return self.succeed("pull", *arguments, env={**self.env, **env}).strip()

    def pull_json(self, *arguments, **env):
        return self.succeed_json("pull", *arguments, env={**self.env, **env})

    def pull_fails(self, code, words, *arguments, **env):
        return self.fail_with(code, words, "pull", *arguments, env={**self.env, **env})

    def repo_folder(self, name=NAME):
        return self.cache / ("models--" + name.replace("/", "--"))

    def large(self, size=40 * MIB, name="org/large"):
        """A repository with one file in pieces; returns its contents."""
        data = random_bytes(size)
        self.hub.add(name, {"big.bin": data, "config.json": b"{}"})
        return data

    def pull_large(self, **env):
        return self.pull("org/large", "--include", "big.bin", **env)

    @staticmethod
    def big(folder):
        return (Path(folder) / "big.bin").read_bytes()

    def leftovers(self):
        return [path.name for path in self.cache.rglob("*incomplete*")]
