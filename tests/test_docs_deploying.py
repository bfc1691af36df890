"""
The files in docs/serving/, which put a server to work: parsed, and what they say is done.
"""

import configparser
import http.client
import json
import os
import re
import shlex
import shutil
import ssl
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.serving_place import PATIENCE, PORT, asked, copy_agents, environment_of, free_port, running
from tests.test_docs import ROOT
from tests.thorough import THOROUGH

pytest.importorskip("granian", reason="the extra `serve` is not installed")
yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")

FILES = ROOT / "docs" / "serving"
UNIT, NGINX, CONTAINER, KUBERNETES = (
    FILES / name for name in ("policyc.service", "nginx.conf", "Containerfile", "kubernetes.yaml")
)
COMPILERS_OWN = ("capnp", "jinja2", "llvmlite", "numba", "rich", "ziglang")
"""What the container's last stage does not have."""
OBSERVATION = b'{"observation": [-0.046, -0.149, 0.018, 0.286]}'

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Instruction:
    """
    A line of a container file: `RUN`, and what follows it.
    """

    name: str
    text: str


def instructions() -> list[Instruction]:
    """
    The container file's instructions, without comments.
    """
    lines = [line for line in CONTAINER.read_text().splitlines() if line.strip() and not line.startswith("#")]
    whole = "\n".join(lines).replace("\\\n", " ")
    return [Instruction(*line.split(maxsplit=1)) for line in whole.splitlines()]


def of_kind(name: str) -> list[str]:
    return [instruction.text for instruction in instructions() if instruction.name == name]


@dataclass(frozen=True)
class Machine:
    """
    Where the files' commands are executed.

    Attributes:
        folder: a working directory.
        environment: in which `policyc` and `python` are this Python's.
        package: the compiled agent.
    """

    folder: Path
    environment: dict[str, str]
    package: Path

    def serving(self, command: str, port: int, **choices: Any) -> Any:
        """
        A server that a file starts, at another port and with the package that is here.
        """
        words = [
            str(self.package) if word.startswith(("/srv/", "/packages/")) else word.replace(PORT, str(port))
            for word in shlex.split(command)
        ]
        words[0] = str(shutil.which("policyc", path=self.environment["PATH"]))
        environment = choices.pop("environment", self.environment)
        return running(words, self.folder, environment, f"http://127.0.0.1:{port}/v2/health/ready", **choices)


@pytest.fixture(scope="module")
def machine(tmp_path_factory) -> Machine:
    """
    A folder with the agent, compiled by the command of the container file.
    """
    pytest.importorskip("ziglang", reason="ziglang is not installed")
    folder = tmp_path_factory.mktemp("machine")
    copy_agents(folder)
    environment = environment_of(folder / "bin")
    (build,) = (text for text in of_kind("RUN") if text.startswith("policyc build"))
    (agent,) = (text.partition("=")[2] for text in of_kind("ARG"))
    assert (ROOT / agent).is_file()
    command = build.replace("/policyc/$AGENT", str(ROOT / agent)).replace("/packages", str(folder / "packages"))
    command += " --cpu native --verify-observations 8"
    done = subprocess.run(shlex.split(command), cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return Machine(folder, environment, folder / "packages" / "agent")


@pytest.fixture(scope="module")
def pod() -> dict[str, Any]:
    """
    What Kubernetes is told of a pod.
    """
    deployment, _ = yaml.safe_load_all(KUBERNETES.read_text())
    found: dict[str, Any] = deployment["spec"]["template"]["spec"]
    return found


@pytest.fixture(scope="module")
def port(machine, pod) -> Iterator[int]:
    """
    Where a server listens that was started by the pod's command.
    """
    port = free_port()
    with machine.serving(shlex.join(pod["containers"][0]["args"]), port):
        yield port


def predicted(port: int) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    connection.request("POST", "/predict", OBSERVATION)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    assert answer.status == 200, content
    return json.loads(content)


def unit() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(UNIT)
    return parser


def without_new_code() -> None:
    """
    Refuses this process memory that can be written and executed, as MemoryDenyWriteExecute does.
    """
    import ctypes

    refuse_gain, set_mdwe = 1, 65
    ctypes.CDLL(None).prctl(set_mdwe, refuse_gain, 0, 0, 0)


def test_the_unit_serves_and_reloads(machine):
    service = unit()["Service"]
    assert service["MemoryDenyWriteExecute"] == "yes"
    port = free_port()
    with machine.serving(service["ExecStart"], port, preexec_fn=without_new_code) as server:
        assert predicted(port) == {"action": 1}
        reload = service["ExecReload"].replace("$MAINPID", str(server.pid))
        subprocess.run(shlex.split(reload), check=True)
        time.sleep(0.5)
        assert predicted(port) == {"action": 1}
        assert server.poll() is None


def test_systemd_takes_the_unit(machine, tmp_path):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    program = shlex.split(unit()["Service"]["ExecStart"])[0]
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace(program, sys.executable))
    for check in (["verify"], ["security", "--offline=true", "--threshold=20"]):
        done = subprocess.run(["systemd-analyze", *check, str(copy)], capture_output=True, text=True)
        said = [line for line in done.stderr.splitlines() if UNIT.name in line]
        assert done.returncode == 0, done.stderr
        assert not said


def test_nginx_passes_requests_on(machine, port, tmp_path):
    for tool in ("nginx", "openssl"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    key, certificate, site = tmp_path / "key.pem", tmp_path / "cert.pem", tmp_path / "policyc.conf"
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=policies.example.org"]
    command = ["openssl", "req", "-x509", *kind, "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    front = free_port()
    site.write_text(
        NGINX.read_text()
        .replace("/etc/nginx/tls/key.pem", str(key))
        .replace("/etc/nginx/tls/cert.pem", str(certificate))
        .replace("listen 8443", f"listen 127.0.0.1:{front}")
        .replace(f"127.0.0.1:{PORT}", f"127.0.0.1:{port}")
    )
    (tmp_path / "logs").mkdir()
    temporary = "".join(
        f"{kind}_temp_path {tmp_path}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    whole = tmp_path / "nginx.conf"
    whole.write_text(
        ("user root;\n" if os.geteuid() == 0 else "")
        + f"daemon off;\npid {tmp_path}/pid;\nerror_log {tmp_path}/errors;\nevents {{ }}\n"
        + f"http {{\naccess_log {tmp_path}/requests;\n{temporary}include {site};\n}}\n"
    )
    nginx = ["nginx", "-e", str(tmp_path / "errors"), "-p", str(tmp_path), "-c", str(whole)]
    checked = subprocess.run([*nginx, "-t"], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
    server = subprocess.Popen(nginx)
    try:
        late = time.monotonic() + PATIENCE
        while asked(f"https://127.0.0.1:{front}/v2/health/ready")[0] != 200:
            assert server.poll() is None, (tmp_path / "errors").read_text()
            assert time.monotonic() < late, (tmp_path / "errors").read_text()
            time.sleep(0.02)
        closed = connections_closed(port)
        ask_through(front)
        assert connections_closed(port) - closed < 10, "nginx opens a connection for each request"
        assert asked(f"https://127.0.0.1:{front}/metrics")[0] == 200
    finally:
        server.terminate()
        server.wait(PATIENCE)


def connections_closed(port: int) -> int:
    """
    Connections to a port of this machine whose end the system still remembers.
    """
    time_wait = "06"
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(line[3] == time_wait and f":{port:04X}" in f"{line[1]} {line[2]}" for line in lines)


def ask_through(front: int) -> None:
    """
    Answers are the server's; what is too long is refused in front of it.
    """
    connection = http.client.HTTPSConnection(
        "127.0.0.1", front, timeout=PATIENCE, context=ssl._create_unverified_context()
    )
    for _ in range(20):
        connection.request("POST", "/predict", OBSERVATION)
        answer = connection.getresponse()
        assert (answer.status, json.loads(answer.read())) == (200, {"action": 1})
    connection.request("POST", "/predict", b'{"observation": [1]}')
    answer = connection.getresponse()
    assert answer.status == 422
    assert "$.observation" in answer.read().decode()
    connection.request("POST", "/predict", headers={"Content-Length": str(17 * 2**20)})
    assert connection.getresponse().status == 413
    connection.close()


def test_the_container_serves_with_what_its_last_stage_has(machine, tmp_path):
    """
    Without the compiler's libraries; and its health check says whether it does.
    """
    (tmp_path / "sitecustomize.py").write_text(f"import sys\nsys.modules.update(dict.fromkeys({COMPILERS_OWN}))\n")
    paths = os.pathsep.join([str(tmp_path), machine.environment["PYTHONPATH"]])
    port = free_port()
    (check,) = (text.partition("CMD ")[2] for text in of_kind("HEALTHCHECK"))
    asking = [word.replace(PORT, str(port)) for word in json.loads(check)]
    asking[0] = sys.executable
    assert subprocess.run(asking, capture_output=True).returncode != 0
    (command,) = of_kind("CMD")
    environment = {**machine.environment, "PYTHONPATH": paths}
    with machine.serving(shlex.join(json.loads(command)), port, environment=environment):
        assert predicted(port) == {"action": 1}
        assert asked(f"http://127.0.0.1:{port}/metrics")[0] == 200
        assert subprocess.run(asking, capture_output=True).returncode == 0


def installs() -> list[str]:
    """
    The requirements that the container's last stage installs, from a registry.
    """
    (last,) = (text for text in of_kind("RUN")[-1:])
    words = shlex.split(last)
    assert words[:4] == ["python", "-m", "pip", "install"]
    return [word for word in words[4:] if not word.startswith("-") and "/" not in word]


def test_the_container_installs_what_serving_needs():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    serve = {requirement.partition(">=")[0] for requirement in project["optional-dependencies"]["serve"]}
    assert set(installs()) == serve | {"click", "numpy"}


def test_the_containers_stages_fit():
    stages = [text.split(" AS ")[-1] for text in of_kind("FROM")]
    taken = {text.split()[0].removeprefix("--from=") for text in of_kind("COPY") if text.startswith("--from=")}
    assert taken <= set(stages)
    assert of_kind("STOPSIGNAL") == ["SIGTERM"]
    assert of_kind("EXPOSE") == [PORT]


@pytest.mark.skipif(not THOROUGH, reason="fetches packages")
def test_the_container_is_built_in_an_environment_of_its_own(machine, tmp_path):
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    (tmp_path / "wheels").mkdir()
    shutil.copy(ROOT / "constraints.txt", tmp_path / "wheels")
    environment = {name: value for name, value in machine.environment.items() if name != "PYTHONPATH"}
    environment["PATH"] = f"{tmp_path / 'venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"
    for text in of_kind("RUN")[-3:]:
        if " wheel " in text or " install " in text:
            command = text.replace("/wheels", str(tmp_path / "wheels")).replace(" /policyc", f" {ROOT}")
            subprocess.run(["bash", "-ec", command], check=True, env=environment)
    port = free_port()
    (command,) = of_kind("CMD")
    words = [word.replace(PORT, str(port)) for word in json.loads(command)]
    words[0], words[2] = str(tmp_path / "venv" / "bin" / "policyc"), str(machine.package)
    with running(words, tmp_path, environment, f"http://127.0.0.1:{port}/v2/health/ready"):
        assert predicted(port) == {"action": 1}


def test_the_pods_probes_are_answered(pod, port):
    (container,) = pod["containers"]
    assert container["ports"] == [{"name": "http", "containerPort": int(PORT)}]
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        asking = container[probe]["httpGet"]
        assert asking["port"] == "http"
        assert asked(f"http://127.0.0.1:{port}{asking['path']}")[0] == 200
    assert predicted(port) == {"action": 1}


def test_what_kubernetes_is_told_fits_together(pod):
    deployment, service = yaml.safe_load_all(KUBERNETES.read_text())
    template = deployment["spec"]["template"]
    labels = template["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"] == labels == service["spec"]["selector"]
    assert service["spec"]["ports"][0]["targetPort"] == "http"
    annotations = template["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == PORT
    (container,) = pod["containers"]
    waiting = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod["terminationGracePeriodSeconds"] > waiting + 10
    user = f"{pod['securityContext']['runAsUser']}:{pod['securityContext']['runAsGroup']}"
    assert of_kind("USER") == [user]
    (image,) = of_kind("CMD")
    assert container["args"][:3] == json.loads(image)[:3]
    mounts = {mount["name"] for mount in container["volumeMounts"]}
    assert mounts == {volume["name"] for volume in pod["volumes"]}


def test_prometheus_finds_what_the_guide_asks_it(port):
    deployment, _ = yaml.safe_load_all(KUBERNETES.read_text())
    path = deployment["spec"]["template"]["metadata"]["annotations"]["prometheus.io/path"]
    assert predicted(port) == {"action": 1}
    status, content = asked(f"http://127.0.0.1:{port}{path}")
    assert status == 200
    names = {sample.name for family in text_string_to_metric_families(content.decode()) for sample in family.samples}
    wanted = set(re.findall(r"policyc_\w+", (ROOT / "docs" / "serving.md").read_text()))
    assert wanted
    assert wanted <= names
