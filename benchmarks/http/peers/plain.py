"""
The standard library's server with a thread for each connection: `python -m benchmarks.http.peers.plain PORT [1.1]`.

This is the ancestor's kind of server. Left as it is, http.server speaks HTTP/1.0, so that every request is a connection
and a thread. With `1.1` connections are kept, and an answer leaves in one packet: in two, as `end_headers` and `write`
send it, the second waits 40 ms for the client's delayed acknowledgement of the first.
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from socketserver import ThreadingMixIn

import numpy as np

from benchmarks.http.peers.policies import Predict, of_bytes, stable_baselines3

KEPT = "1.1"


class Handler(BaseHTTPRequestHandler):
    """
    Answers what `POST /predict` asks.
    """

    predict: Predict

    def do_GET(self) -> None:
        """
        Ready, whatever was asked.
        """
        self._answer("text/plain", b"ready")

    def do_POST(self) -> None:
        """
        An observation or several, as JSON or as float32.
        """
        body = self.rfile.read(int(self.headers["Content-Length"]))
        predict = type(self).predict
        if self.headers["Content-Type"] == "application/octet-stream":
            self._answer("application/octet-stream", predict(of_bytes(body)).astype("<i8").tobytes())
            return
        request = json.loads(body)
        if "observation" in request:
            content = {"action": int(predict(np.array([request["observation"]], np.float32))[0])}
        else:
            content = {"actions": predict(np.array(request["observations"], np.float32)).tolist()}
        self._answer("application/json", json.dumps(content).encode())

    def _answer(self, kind: str, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, format: str, *arguments: object) -> None:
        """
        No line for each request.
        """


class Kept(Handler):
    """
    The same by HTTP/1.1.
    """

    protocol_version = "HTTP/1.1"
    wbufsize = -1


class Server(ThreadingMixIn, HTTPServer):
    """
    A thread for each connection.
    """

    daemon_threads = True
    request_queue_size = 512


def main(port: str, version: str = "1.0") -> None:
    """
    Serves until the process is ended.
    """
    Handler.predict = staticmethod(stable_baselines3())
    Server(("127.0.0.1", int(port)), Kept if version == KEPT else Handler).serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
