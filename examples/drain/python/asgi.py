"""An ASGI app that lets its clients go when it is asked to: from SIGHUP on every answer says
"Connection: close", which uvicorn obeys, and the server still listens and serves.

In the pod (one process a container: with --workers the signal does not reach those that serve):

    containers:
      - name: web
        command: [uvicorn, "asgi:app", --host, "", --port, "8080"]
        lifecycle:
          preStop:
            exec:
              command: [/lull, --drain=HUP]
"""

import signal


class Drainable:
    """What an app needs: middleware around it."""

    def __init__(self, app):
        self.app = app
        self.draining = False
        # uvicorn itself catches SIGINT and SIGTERM, and leaves SIGHUP alone.
        signal.signal(signal.SIGHUP, self.drain)

    def drain(self, *_):
        self.draining = True

    async def __call__(self, scope, receive, send):
        async def closing(message):
            if self.draining and message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), (b"connection", b"close")]}
            await send(message)

        await self.app(scope, receive, closing if scope["type"] == "http" else send)


async def hello(scope, receive, send):
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"3")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"ok\n"})


app = Drainable(hello)
