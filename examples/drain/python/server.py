"""A Python server that lets its clients go when it is asked to: from SIGHUP on every answer says
"Connection: close", and the server still listens and serves.

In the pod:

    containers:
      - name: web
        command: [python3, server.py]
        lifecycle:
          preStop:
            exec:
              command: [/lull, --drain=HUP]
"""

import os
import signal
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

draining = threading.Event()


class Drainable(BaseHTTPRequestHandler):
    """What an app needs: a base for its handlers."""

    protocol_version = "HTTP/1.1"  # else every connection ends with its first answer
    disable_nagle_algorithm = True

    def end_headers(self):
        if draining.is_set():
            self.send_header("Connection", "close")  # closes it after the answer, too
        super().end_headers()


class App(Drainable):
    def do_GET(self):
        body = b"ok\n"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *args):
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 1024  # clients that were let go come back all at once


if __name__ == "__main__":
    server = Server(("", int(os.environ.get("PORT", "8080"))), App)
    signal.signal(signal.SIGHUP, lambda *_: draining.set())
    # shutdown waits for serve_forever, which a signal handler would interrupt.
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever()
