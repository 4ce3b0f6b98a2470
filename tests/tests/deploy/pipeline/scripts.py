"""Tests of the scripts in .ci, in a small repository with programs that only write down how they are called.

Run by the test `the_scripts_of_jobs_do_what_their_jobs_say`; by hand: python3 tests/tests/deploy/pipeline/scripts.py
"""

import json
import os
import pathlib
import shutil
import subprocess
import tarfile
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[4]
DIGEST = "sha256:" + "5" * 64

FILES = {
    "Cargo.toml": '[workspace.package]\nversion = "1.2.3"\n',
    "Cargo.lock": '[[package]]\nname = "masque"\nversion = "1.2.3"\n',
    "host/masque/Cargo.toml": '[package]\nname = "masque"\nversion.workspace = true\n',
    "plugins/card/Cargo.toml": '[package]\nname = "card"\nversion.workspace = true\n',
    "sdk/Cargo.toml": '[package]\nname = "masque-sdk"\nversion.workspace = true\n',
    "xtask/Cargo.toml": '[package]\nname = "xtask"\nversion.workspace = true\n',
    "deploy/helm/masque/Chart.yaml": 'apiVersion: v2\nname: masque\nversion: 1.2.3\nappVersion: "1.2.3"\n',
    "deploy/Dockerfile": "FROM scratch\nARG VERSION=1.2.3\n",
    "docs/openapi.json": '{"openapi": "3.1.0", "info": {"title": "Masque", "version": "1.2.3"}}\n',
    "CHANGELOG.md": "# Changelog\n\n## [Unreleased]\n\n- Later.\n\n## [1.2.3] - 2030-01-02\n\n### Added\n\n- Now.\n\n"
    "## [1.2.2] - 2029-01-02\n\n- Before.\n",
    "LICENSE": "licence\n",
    "masque.example.toml": "\n",
}
# Writes its name and arguments, one call a line, then does what the test says.
FAKE = """#!/bin/bash
{ printf '%s' "${0##*/}"; printf ' %s' "$@"; printf '\\n'; } >>"$CALLS"
"""


class Repository:
    """A copy of the scripts with files and programs of its own."""

    def __init__(self, test):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="masque-ci-"))
        test.addCleanup(shutil.rmtree, self.folder)
        self.root = self.folder / "repository"
        shutil.copytree(ROOT / ".ci", self.root / ".ci")
        self.programs = self.folder / "programs"
        self.programs.mkdir()
        for path, text in FILES.items():
            self.write(path, text)
        self.environment = {
            "PATH": f"{self.programs}:{os.environ['PATH']}",
            "HOME": str(self.folder),
            "CALLS": str(self.folder / "calls"),
            "GITHUB_OUTPUT": str(self.folder / "output"),
            "GITHUB_STEP_SUMMARY": str(self.folder / "summary"),
            "GITHUB_REPOSITORY": "Example/Masque",
            "GITHUB_REPOSITORY_OWNER": "Example",
            "GITHUB_ACTOR": "someone",
            "GITHUB_SHA": "c0ffee",
            "REGISTRY_TOKEN": "the-token-of-the-registry",
        }

    def commit(self):
        git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.com"]
        for words in [["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message", "All"]]:
            subprocess.run(git + words, cwd=self.root, check=True)

    def write(self, path, text, mode=0o644):
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)

    def fake(self, name, then=""):
        file = self.programs / name
        file.write_text(FAKE + then)
        file.chmod(0o755)

    def run(self, script, *arguments, **environment):
        return subprocess.run(
            [self.root / ".ci" / script, *arguments],
            cwd=self.folder,
            env=self.environment | environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )

    def read(self, name):
        file = self.folder / name
        return file.read_text() if file.exists() else ""

    @property
    def calls(self):
        return self.read("calls").splitlines()


class Scripts(unittest.TestCase):
    def setUp(self):
        self.repository = Repository(self)

    def passes(self, script, *arguments, **environment):
        ran = self.repository.run(script, *arguments, **environment)
        self.assertEqual(ran.returncode, 0, ran.stderr)
        return ran.stdout

    def fails(self, script, *arguments, saying, **environment):
        ran = self.repository.run(script, *arguments, **environment)
        self.assertNotEqual(ran.returncode, 0, f"{script} {arguments} passed")
        self.assertIn(saying, ran.stderr)

    # Versions and notes.

    def test_one_version_is_printed_with_and_without_its_tag(self):
        self.assertEqual(self.passes("version"), "1.2.3\n")
        self.assertEqual(self.passes("version", "v1.2.3"), "1.2.3\n")

    def test_each_file_that_states_another_version_is_named(self):
        for path, text in FILES.items():
            if "1.2.3" not in text or path == "Cargo.toml":
                continue
            with self.subTest(path):
                self.repository.write(path, text.replace("1.2.3", "1.2.4"))
                self.fails("version", saying=path)
                self.repository.write(path, text)
        self.repository.write("host/masque/Cargo.toml", '[package]\nname = "masque"\nversion = "1.2.4"\n')
        self.fails("version", saying="host/masque/Cargo.toml")

    def test_a_tag_of_another_version_or_without_a_dated_section_is_refused(self):
        self.fails("version", "v1.2.4", saying="the tag is v1.2.4, not v1.2.3")
        self.repository.write("CHANGELOG.md", "## [1.2.3] - Unreleased\n\n- Now.\n")
        self.passes("version")
        self.fails("version", "v1.2.3", saying="has no date")

    def test_the_notes_of_a_release_are_its_section_alone(self):
        notes = self.passes("release-notes", "1.2.3")
        self.assertIn("- Now.", notes)
        self.assertNotIn("Later", notes)
        self.assertNotIn("Before", notes)
        self.fails("release-notes", "1.2.4", saying="says nothing of 1.2.4")

    # Settings.

    def test_a_job_without_its_secrets_says_so_and_stays_green(self):
        self.passes("configured", "ONE", "TWO", ONE="x", TWO="")
        self.assertEqual(self.repository.read("output"), "configured=false\n")
        self.assertIn("Not configured: TWO.", self.repository.read("summary"))

    def test_a_job_with_its_secrets_goes_on(self):
        self.passes("configured", "ONE", "TWO", ONE="x", TWO="y")
        self.assertEqual(self.repository.read("output"), "configured=true\n")
        self.assertEqual(self.repository.read("summary"), "")

    # Programs.

    def test_a_toolchain_gets_its_components_and_becomes_the_default(self):
        self.repository.fake("rustup")
        self.passes("toolchain", "stable", "clippy", "rustfmt")
        self.passes("toolchain", "1.95")
        self.assertEqual(
            self.repository.calls,
            [
                "rustup toolchain install stable --profile minimal --no-self-update --component clippy --component rustfmt",
                "rustup default stable",
                "rustup toolchain install 1.95 --profile minimal --no-self-update",
                "rustup default 1.95",
            ],
        )

    def test_packages_are_installed_one_by_one(self):
        self.repository.fake("sudo")
        self.passes("packages", "gcc-aarch64-linux-gnu qemu-user-static")
        self.assertEqual(
            self.repository.calls[1],
            "sudo apt-get install --yes --quiet --no-install-recommends gcc-aarch64-linux-gnu qemu-user-static",
        )

    def test_a_program_of_crates_io_is_installed_once_in_its_version(self):
        self.repository.fake("cargo", '[ "$1" != deny ] || cat "$HOME/found" 2>/dev/null')
        self.passes("cargo-program", "cargo-deny")
        installed = self.repository.calls[-1]
        self.assertRegex(installed, r"^cargo install --locked --quiet cargo-deny@\d+\.\d+\.\d+$")
        (self.repository.folder / "found").write_text(f"cargo-deny {installed.rsplit('@', 1)[1]}\n")
        self.passes("cargo-program", "cargo-deny")
        self.assertEqual(self.repository.calls[-1], "cargo deny --version")
        self.fails("cargo-program", "cargo-other", saying="no version of cargo-other")

    def test_a_dependency_that_is_refused_fails_the_scan(self):
        self.repository.fake(
            "cargo", '[ "$*" != "deny --version" ] || sed -n "s/.*cargo-deny) version=\\(.*\\) ;;/cargo-deny \\1/p" '
            f'{self.repository.root}/.ci/cargo-program\n[ "$*" != "deny --all-features check" ] || exit 7'
        )
        self.assertEqual(self.repository.run("scan-dependencies").returncode, 7)
        self.assertEqual(self.repository.calls, ["cargo deny --version", "cargo deny --all-features check"])

    def test_coverage_runs_all_tests_between_cleaning_and_reporting(self):
        report = {"data": [{"files": [], "totals": {"lines": {"count": 4, "covered": 3}}}]}
        (self.repository.folder / "report.json").write_text(json.dumps(report))
        self.repository.fake("rustup")
        self.repository.fake(
            "cargo",
            'case "$*" in\n'
            "*--version) echo cargo-llvm-cov 0.9.1 ;;\n"
            "*show-env*) echo 'export MEASURED=yes' ;;\n"
            '*summary-only*) cp "$HOME/report.json" "${!#}" ;;\n'
            '"xtask test") [ "$MEASURED" = yes ] ;;\nesac',
        )
        self.passes("coverage")
        calls = [call.removeprefix("cargo ") for call in self.repository.calls]
        for earlier, later in [("llvm-cov clean --workspace", "xtask test"), ("xtask test", "llvm-cov report --ignore")]:
            place = [next(at for at, call in enumerate(calls) if call.startswith(start)) for start in (earlier, later)]
            self.assertEqual(place, sorted(place))
        self.assertIn("| **all** | 4 | 3 | 75.0 % |", self.repository.read("summary"))

    def test_the_summary_of_coverage_has_each_crate(self):
        def lines(count, covered):
            return {"lines": {"count": count, "covered": covered}}

        root = self.repository.root
        files = [
            {"filename": f"{root}/host/auth/src/a.rs", "summary": lines(10, 9)},
            {"filename": f"{root}/host/auth/src/b.rs", "summary": lines(10, 10)},
            {"filename": f"{root}/sdk/src/lib.rs", "summary": lines(5, 1)},
        ]
        report = self.repository.folder / "report.json"
        report.write_text(json.dumps({"data": [{"files": files, "totals": lines(25, 20)}]}))
        self.assertEqual(
            self.passes("coverage-summary", str(report)).splitlines()[2:],
            ["| **all** | 25 | 20 | 80.0 % |", "| host/auth | 20 | 19 | 95.0 % |", "| sdk | 5 | 1 | 20.0 % |"],
        )

    def test_a_database_for_tests_is_set_up_and_gets_the_programs_of_its_version(self):
        self.repository.fake("docker", 'case "$*" in *server_version_num*) echo 990004 ;; esac')
        self.repository.fake("sudo")
        self.passes("test-servers", "the-container", MASQUE_TEST_DATABASE_URL="postgresql://postgres@127.0.0.1:1/postgres")
        calls = "\n".join(self.repository.calls)
        self.assertIn("max_connections = 300", calls)
        self.assertIn("docker restart the-container", calls)
        self.assertIn("postgresql-client-99", calls)

    def test_every_shell_script_of_the_repository_is_linted_also_a_new_one(self):
        repository = self.repository
        repository.write("tests/deep/boot", "#!/bin/bash\n", 0o755)
        repository.write("tests/deep/page.md", "#!/bin/bash is the first line of a script\n")
        repository.write(".ci/python-tools", f"#!/bin/sh\necho '{repository.programs}'\n", 0o755)
        for program in ["shellcheck", "actionlint", "zizmor"]:
            repository.fake(program)
        repository.commit()
        repository.write("elsewhere/new", "#!/bin/sh\n", 0o755)
        self.passes("lint-pipeline")
        linted = repository.calls[0].split(" ")
        self.assertEqual(linted[0], "shellcheck")
        for script in ["tests/deep/boot", "elsewhere/new", ".ci/lint-pipeline"]:
            self.assertIn(script, linted)
        self.assertNotIn("LICENSE", linted)

    # What a release publishes.

    def test_a_release_for_a_processor_is_the_same_at_every_build(self):
        repository = self.repository
        repository.write("deploy/debian/build", FAKE + 'touch "$2/masque_1.2.3_amd64.deb"', 0o755)
        repository.commit()
        repository.fake("rustup")
        repository.fake(
            "cargo",
            'folder=target/${!#}/release; mkdir -p "$folder"; date +%N >>"$HOME/noise"; printf binary >"$folder/masque"',
        )
        files = repository.root / "target/release-files"
        archive = files / "masque-1.2.3-linux-amd64.tar.gz"
        self.passes("build-release", "amd64")
        first = archive.read_bytes()
        self.assertEqual(
            sorted(file.name for file in files.iterdir()),
            ["masque-1.2.3-linux-amd64.tar.gz", "masque_1.2.3_amd64.deb"],
        )
        with tarfile.open(archive) as members:
            modes = {member.name: member.mode for member in members}
        self.assertEqual(modes["masque-1.2.3-linux-amd64/masque"], 0o755)
        self.assertEqual(modes["masque-1.2.3-linux-amd64/LICENSE"], 0o644)
        archive.unlink()
        self.passes("build-release", "amd64")
        self.assertEqual(archive.read_bytes(), first)
        self.assertIn("cargo xtask build --release --target x86_64-unknown-linux-gnu", repository.calls)
        self.assertNotEqual(repository.run("build-release", "mips").returncode, 0)

    def test_checksums_cover_all_files_and_nothing_else(self):
        folder = self.repository.folder / "files"
        folder.mkdir()
        self.fails("checksums", str(folder), saying="is empty")
        (folder / "a").write_text("a")
        (folder / "b c").write_text("b")
        self.passes("checksums", str(folder))
        self.passes("checksums", str(folder))
        names = [line.split("  ", 1)[1] for line in (folder / "SHA256SUMS").read_text().splitlines()]
        self.assertEqual(names, ["a", "b c"])
        subprocess.run(["sha256sum", "--quiet", "--check", "SHA256SUMS"], cwd=folder, check=True)

    def test_an_image_is_pushed_for_both_processors_and_its_digest_is_told(self):
        self.repository.commit()
        self.repository.fake(
            "docker",
            'if [ "$1" = login ]; then cat >"$HOME/password"; fi\n'
            'while [ $# -gt 0 ]; do [ "$1" != --metadata-file ] || '
            f"""printf '{{\\n  "containerimage.digest": "{DIGEST}"\\n}}\\n' >"$2"; shift; done""",
        )
        self.passes("publish-image", "develop", "develop-c0ffee")
        build = self.repository.calls[-1]
        for part in [
            "--platform linux/amd64,linux/arm64",
            "--tag ghcr.io/example/masque:develop --tag ghcr.io/example/masque:develop-c0ffee",
            "--build-arg VERSION=1.2.3",
            "--build-arg REVISION=c0ffee",
            "--sbom=true",
        ]:
            self.assertIn(part, build)
        self.assertEqual(self.repository.read("output"), f"image=ghcr.io/example/masque\ndigest={DIGEST}\n")
        self.assertEqual(self.repository.read("password").strip(), "the-token-of-the-registry")
        self.assertNotIn("the-token-of-the-registry", "\n".join(self.repository.calls))

    def test_the_chart_is_packaged_and_pushed_and_its_digest_is_told(self):
        shutil.copy(ROOT / "deploy/packed-page", self.repository.root / "deploy/packed-page")
        self.repository.write(
            "deploy/helm/masque/README.md",
            "[values](values.yaml), [a page](../../../docs/scaling.md#redis), [`docs`](../../../docs), [x](https://x.example/a)\n",
        )
        self.repository.write("deploy/prometheus/rules.yaml", "groups: []\n")
        (self.repository.root / "deploy/helm/masque/rules.yaml").symlink_to("../../prometheus/rules.yaml")
        self.repository.fake(
            "helm",
            f'[ "$1" != push ] || echo "Digest: {DIGEST}" >&2\n[ "$1" != package ] || cp -r "$2" "$HOME/packed"',
        )
        self.passes("publish-chart")
        packed = self.repository.folder / "packed"
        self.assertEqual(
            (packed / "README.md").read_text(),
            "[values](values.yaml), a page (`docs/scaling.md` in Masque's repository), `docs` in Masque's repository, "
            "[x](https://x.example/a)\n",
        )
        self.assertFalse((packed / "rules.yaml").is_symlink())
        self.assertRegex(
            self.repository.calls[0], r"^helm package /.*/masque --destination target/release-files$"
        )
        self.assertEqual(
            self.repository.calls[1:],
            [
                "helm registry login ghcr.io --username someone --password-stdin",
                "helm push target/release-files/masque-1.2.3.tgz oci://ghcr.io/example/charts",
            ],
        )
        self.assertEqual(self.repository.read("output"), f"chart=ghcr.io/example/charts/masque\ndigest={DIGEST}\n")

    def test_the_sdk_is_published_once(self):
        self.repository.fake("cargo", '[ "$1" != info ] || [ -e "$HOME/published" ]')
        self.passes("publish-sdk")
        self.assertEqual(self.repository.calls[-1], "cargo publish --locked --package masque-sdk")
        (self.repository.folder / "published").touch()
        self.passes("publish-sdk")
        self.assertEqual(len(self.repository.calls), 3)

    def test_a_release_is_drafted_with_its_files_and_notes(self):
        repository = self.repository
        folder = repository.folder / "files"
        folder.mkdir()
        (folder / "SHA256SUMS").touch()
        repository.fake("gh", 'while [ "$1" != --notes-file ]; do shift; done; cp "$2" "$HOME/notes"')
        self.passes("draft-release", "v1.2.3", str(folder))
        self.assertRegex(repository.calls[0], r"^gh release create v1\.2\.3 --draft --verify-tag .*/files/SHA256SUMS$")
        self.assertNotIn("--prerelease", repository.calls[0])
        self.assertIn("- Now.", repository.read("notes"))
        self.fails("draft-release", "v9.9.9", str(folder), saying="the tag is v9.9.9")

    # Images and deployments.

    def test_the_image_of_a_check_is_built_with_its_version(self):
        self.repository.commit()
        self.repository.fake("docker")
        self.passes("build-image")
        self.assertRegex(
            self.repository.calls[-1],
            r"^docker buildx build --builder masque --load --file deploy/Dockerfile --tag masque:ci "
            r"--build-arg VERSION=1\.2\.3 --build-arg REVISION=[0-9a-f]{40} \.$",
        )

    def test_an_image_is_pushed_by_the_builder_that_built_what_was_tried(self):
        self.repository.commit()
        self.repository.fake(
            "docker",
            'case "$*" in\n'
            "'buildx inspect masque') [ -e \"$HOME/builder\" ] ;;\n"
            "'buildx create --name masque') touch \"$HOME/builder\" ;;\n"
            "*'--builder masque '*) [ -e \"$HOME/builder\" ] ;;\nesac",
        )
        self.passes("build-image")
        # Without a digest of the builder it fails, after the build.
        self.fails("publish-image", "1.2.3", saying="the builder names no digest")
        created = [call for call in self.repository.calls if "buildx create" in call]
        self.assertEqual(created, ["docker buildx create --name masque"])
        self.assertIn("--builder masque", self.repository.calls[-1])

    def test_the_images_of_the_composition_are_listed_without_its_own(self):
        self.repository.write(
            "deploy/compose.yaml",
            "services:\n  masque:\n    image: ${MASQUE_IMAGE:-masque:local}\n  redis:\n    image: redis:1.2-alpine\n"
            "  prometheus:\n    image: prom/prometheus:v1.2.3\n  other:\n    image: redis:1.2-alpine\n",
        )
        self.passes("composed-images")
        self.assertEqual(self.repository.read("output"), 'images=["prom/prometheus:v1.2.3","redis:1.2-alpine"]\n')
        self.repository.write("deploy/compose.yaml", "services: {}\n")
        self.fails("composed-images", saying="names no image")

    def test_the_long_tests_run_as_root_with_the_programs_of_the_user(self):
        self.repository.fake("sudo", '[ "$1" = --preserve-env ] || exit 9\nshift\nexec "$@"')
        self.repository.fake("cargo", "exit 7")
        self.assertEqual(self.repository.run("long-tests").returncode, 7)
        self.assertEqual(self.repository.calls[-1], "cargo xtask test --full")
        if os.geteuid() != 0:
            self.assertIn("sudo --preserve-env env PATH=", self.repository.calls[0])

    def try_image(self, user="10001:10001", health="healthy", event="turn.completed"):
        self.repository.fake(
            "docker",
            'case "$*" in\n'
            f"'image inspect'*) echo '{user}' ;;\n"
            "run*) echo a-container ;;\n"
            f"*Health*) echo {health} ;;\n"
            "*'keys create'*) echo a-key ;;\n"
            "*Networks*) echo 192.0.2.1 ;;\nesac",
        )
        self.repository.fake(
            "curl",
            'case "$*" in\n'
            """*/auth/token) echo '{"access_token": "a-token", "token_type": "bearer"}' ;;\n"""
            f'*"Bearer a-token"*/chat) echo "event: {event}" ;;\nesac',
        )
        self.repository.fake("sleep")
        return self.repository.run("try-image", "masque:ci").returncode

    def test_an_image_that_has_a_turn_passes_and_is_removed(self):
        self.assertEqual(self.try_image(), 0)
        started = next(call for call in self.repository.calls if call.startswith("docker run"))
        self.assertIn("--read-only --cap-drop ALL --security-opt no-new-privileges", started)
        self.assertEqual(self.repository.calls[-1], "docker rm --force a-container")

    def test_an_image_of_root_or_without_health_or_a_turn_fails(self):
        self.assertNotEqual(self.try_image(user=""), 0)
        self.assertNotEqual(self.try_image(user="0:0"), 0)
        self.assertNotEqual(self.try_image(health="unhealthy"), 0)
        self.assertNotEqual(self.try_image(event="turn.failed"), 0)

    def test_only_an_image_that_the_release_signed_is_deployed(self):
        self.repository.fake("docker", f'[ "$1" != buildx ] || echo {DIGEST}')
        self.repository.fake("gh")
        self.passes("verify-image", "1.2.3")
        self.assertIn(
            f"gh attestation verify oci://ghcr.io/example/masque@{DIGEST} --repo Example/Masque "
            "--signer-workflow Example/Masque/.github/workflows/release.yml --source-ref refs/tags/v1.2.3",
            self.repository.calls,
        )
        self.assertEqual(self.repository.read("output"), f"digest={DIGEST}\n")
        (self.repository.folder / "output").unlink()
        self.repository.fake("gh", "exit 1")
        self.assertNotEqual(self.repository.run("verify-image", "1.2.3").returncode, 0)
        self.assertEqual(self.repository.read("output"), "")

    def deploy(self, code=0):
        self.repository.write(
            "deploy/release",
            FAKE + 'stat -c "%a" "$5" "$7" "$KUBECONFIG" >"$HOME/modes"; cat "$5" "$7" "$KUBECONFIG" >"$HOME/read"\n'
            f'env >"$HOME/environment"; exit {code}',
            0o755,
        )
        return self.repository.run(
            "deploy",
            "staging",
            DIGEST,
            MASQUE_URL="https://masque.example.com",
            MASQUE_VALUES="replicas: 2",
            MASQUE_API_KEY="the-key",
            KUBECONFIG_TEXT="the-cluster",
        )

    def test_a_deployment_keeps_its_secrets_in_files_that_only_it_reads(self):
        ran = self.deploy()
        self.assertEqual(ran.returncode, 0, ran.stderr)
        self.assertEqual(self.repository.read("modes").split(), ["600", "600", "600"])
        self.assertEqual(self.repository.read("read"), "replicas: 2\nthe-key\nthe-cluster\n")
        call = self.repository.calls[0]
        self.assertRegex(call, r"^release staging --url https://masque\.example\.com --values ")
        self.assertIn(f"-- --set image.repository=ghcr.io/example/masque --set-string image.digest={DIGEST}", call)
        for secret in ["the-key", "the-cluster"]:
            self.assertNotIn(secret, call)
            self.assertNotIn(secret, self.repository.read("environment"))
        folder = pathlib.Path(call.split("--values ", 1)[1].split(" ", 1)[0]).parent
        self.assertFalse(folder.exists(), "the secrets are left behind")

    def test_a_deployment_that_rolls_back_fails_the_job(self):
        self.assertEqual(self.deploy(code=1).returncode, 1)

    def test_a_binary_is_checked_in_an_empty_folder(self):
        self.repository.fake("masque", '[ "$(ls -A)" = "" ]')
        self.passes("check-binary", str(self.repository.programs / "masque"))
        self.assertRegex(self.repository.calls[0], r"^masque check --data /.*/data$")
        self.repository.fake("masque", "exit 1")
        self.assertNotEqual(self.repository.run("check-binary", str(self.repository.programs / "masque")).returncode, 0)


if __name__ == "__main__":
    unittest.main()
