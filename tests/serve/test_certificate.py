"""
HTTPS: certificates that serve, that don't, and that change.
"""

import json
import os
import signal
import ssl
import subprocess
import threading
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from compiler.errors import ServeError
from compiler.serve.certificate import check_certificate
from compiler.serve.settings import Settings
from tests.serve.packages import write_package
from tests.serve.serving import Stream, body, eventually, post, serving


def made(folder: Path, name: str, kind: str, *options: str) -> tuple[Path, Path]:
    """
    A certificate for this machine, and its key.
    """
    cert, key = folder / f"{name}.crt", folder / f"{name}.key"
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    files = ["-keyout", str(key), "-out", str(cert)]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", kind, *options, "-nodes", "-days", "2", *names, *files],
        check=True,
        capture_output=True,
    )
    return cert, key


@pytest.fixture
def package(tmp_path):
    return write_package(tmp_path / "double")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return made(tmp_path_factory.mktemp("tls"), "first", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")


def test_https_and_a_token(tmp_path, package, certificate):
    cert, key = certificate
    token = tmp_path / "token"
    token.write_text("a secret\n")
    arguments = ["--tls-cert", cert, "--tls-key", key, "--token-file", token, "--cors", "https://page.example"]
    with serving(tmp_path, package, *arguments) as server:
        assert server.url.startswith("https://")
        context = ssl.create_default_context(cafile=str(cert))

        def ask(**headers):
            request = Request(f"{server.url}/predict", body(5), headers)
            with urlopen(request, context=context) as answer:
                return json.load(answer), dict(answer.headers)

        answer, headers = ask(Authorization="Bearer a secret", Origin="https://page.example")
        assert answer == {"action": 10}
        assert headers["access-control-allow-origin"] == "https://page.example"
        assert "authorization" in headers["access-control-allow-headers"]
        assert {"x-shape", "x-dtype"} <= set(headers["access-control-expose-headers"].split(", "))
        _, headers = ask(Authorization="Bearer a secret", Origin="https://other.example")
        assert "access-control-allow-origin" not in headers
        for given in ({}, {"Authorization": "Bearer a secre"}, {"Authorization": "Basic a secret"}):
            with pytest.raises(OSError, match="401"):
                ask(**given)
        # Nor is it told to everybody which models there are.
        for place in ("models", "models/other", "v2/models/other/infer", "nothing"):
            with pytest.raises(OSError, match="401"):
                urlopen(f"{server.url}/{place}", context=context)
        # Probes of an orchestrator have no token.
        with urlopen(f"{server.url}/v2/health/ready", context=context) as ready:
            assert ready.status == 200
        # Who speaks no TLS learns nothing, and harms nobody.
        with server.connect() as plain:
            plain.sendall(post(body(5)))
            assert b"200" not in plain.recv(100)
        assert ask(Authorization="Bearer a secret")[0] == {"action": 10}


def of_pem(file: Path) -> bytes:
    return ssl.PEM_cert_to_DER_cert(file.read_text())


def test_a_changed_certificate_and_token_are_read_again_without_losing_a_request(tmp_path, package, certificate):
    cert, key, token = tmp_path / "cert.pem", tmp_path / "key.pem", tmp_path / "token"

    def put(files, secret):
        cert.write_bytes(files[0].read_bytes())
        key.write_bytes(files[1].read_bytes())
        token.write_text(secret)

    put(certificate, "first")
    second = made(tmp_path, "second", "ed25519")
    anybody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE
    stop = threading.Event()
    found: list[list[Any]] = [[], [], []]

    def ask(found):
        """
        Asks on one connection as long as answers don't say that it ends, and then on another one.
        """
        while not stop.is_set():
            connection = anybody.wrap_socket(server.connect())
            shown, closed = connection.getpeercert(binary_form=True), False
            with Stream(connection) as stream:
                while not (stop.is_set() or closed):
                    answer = stream.ask(post(body(1), "/predict", "Authorization: Bearer first"))
                    found.append((shown, answer.status))
                    closed = answer.headers.get("connection") == "close"

    arguments = ["--workers", 2, "--tls-cert", cert, "--tls-key", key, "--token-file", token]
    with serving(tmp_path, package, *arguments) as server:
        threads = [threading.Thread(target=ask, args=(one,)) for one in found]
        for thread in threads:
            thread.start()
        try:
            eventually(lambda: all(len(one) > 5 for one in found))
            workers = server.workers
            put(second, "second")
            server.signal(signal.SIGHUP)
            eventually(lambda: all(one[-1] == (of_pem(second[0]), 401) for one in found))
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        assert {shown for one in found for shown, _ in one} == {of_pem(certificate[0]), of_pem(second[0])}
        assert {status for one in found for _, status in one} == {200, 401}
        assert server.workers == workers
        # What can't be used is not.
        put((second[0], certificate[1]), " ")
        server.signal(signal.SIGHUP)
        eventually(lambda: server.log.read_text().count("the former token goes on") == 2)
        assert "the former certificate goes on" in server.log.read_text()
        connection = anybody.wrap_socket(server.connect())
        assert connection.getpeercert(binary_form=True) == of_pem(second[0])
        with Stream(connection) as stream:
            assert stream.ask(post(body(4), "/predict", "Authorization: Bearer second")).json == {"action": 8}
        # A worker that begins now can't: the other one answers alone, until there is a certificate again.
        os.kill(workers[0], signal.SIGKILL)
        eventually(lambda: "ended with status 1" in server.log.read_text())
        assert "worker 1 can't begin: " in server.log.read_text()
        for number in range(4):
            with Stream(anybody.wrap_socket(server.connect())) as stream:
                given = post(body(number), "/predict", "Authorization: Bearer second")
                assert stream.ask(given).json == {"action": 2 * number}
        assert "Traceback" not in server.log.read_text()
        server.signal(signal.SIGTERM)
        assert server.process.wait(10) == 0


def test_certificates_that_can_not_be_used(tmp_path, certificate):
    cert, key = certificate
    curve = made(tmp_path, "curve", "ec", "-pkeyopt", "ec_paramgen_curve:secp521r1")
    old = tmp_path / "old.crt"  # without extensions it is of version 1
    subprocess.run(
        ["openssl", "req", "-new", "-key", key, "-subj", "/CN=localhost", "-out", tmp_path / "csr"], check=True
    )
    subprocess.run(
        ["openssl", "x509", "-req", "-in", tmp_path / "csr", "-signkey", key, "-out", old],
        check=True,
        capture_output=True,
    )
    for given, said in [
        ((cert, None), "are needed together"),
        ((cert, tmp_path / "none"), "No such file"),
        ((key, key), "expected a certificate in PEM"),
        ((curve[0], key), "KEY_VALUES_MISMATCH"),
        (curve, "can't be used for HTTPS here: .*failed to parse private key"),
        ((old, key), "UnsupportedCertVersion"),
    ]:
        with pytest.raises(ServeError, match=said):
            check_certificate(Settings(tls_cert=given[0], tls_key=given[1]))
    check_certificate(Settings(tls_cert=cert, tls_key=key))
