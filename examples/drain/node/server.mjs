// A Node server that lets its clients go when it is asked to: from SIGHUP on every answer says
// "Connection: close" or, on HTTP/2, is followed by a GOAWAY, and the server still listens and
// serves. (SIGUSR1 is not free: Node starts its debugger on it.)
//
// In the pod:
//
//   containers:
//     - name: web
//       command: [node, server.mjs]      # not through npm or a shell: the signal has to reach Node
//       lifecycle:
//         preStop:
//           exec:
//             command: [/lull, --drain=HUP]

import http from 'node:http';
import http2 from 'node:http2';

let draining = false;
process.on('SIGHUP', () => { draining = true; });

// drainable is what an app needs: a function around its own.
const drainable = (app) => (req, res) => {
  if (draining && req.httpVersionMajor >= 2) {
    const { session } = req.stream;
    res.on('close', () => session.close()); // GOAWAY; other requests on it are still answered
  } else if (draining) {
    res.setHeader('Connection', 'close');
  }
  app(req, res);
};

const app = drainable((req, res) => {
  req.resume();
  res.end('ok\n');
});

// A pod's HTTP/2 has no TLS as a rule, and then one port cannot speak both.
const server = process.env.HTTP2 ? http2.createServer(app) : http.createServer(app);
server.listen(Number(process.env.PORT ?? 8080));

process.on('SIGTERM', () => {
  draining = true;
  server.close(() => process.exit(0));
  setTimeout(() => process.exit(0), 9000).unref();
});
