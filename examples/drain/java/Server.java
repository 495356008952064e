// A Java server (com.sun.net.httpserver) that lets its clients go when it is asked to: from a POST
// to its own loopback address on every answer says "Connection: close", and it still listens and
// serves. It is asked by a request because a JVM ends at SIGHUP and has no supported way to catch
// a signal.
//
// In the pod:
//
//   containers:
//     - name: web
//       command: [java, Server.java]
//       lifecycle:
//         preStop:
//           exec:
//             command: [/lull, "--drain=http://127.0.0.1:9000/drain"]

import com.sun.net.httpserver.Filter;
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.Executors;

public class Server {
    static volatile boolean draining;

    /** What an app needs: a filter before each of its contexts. */
    static class Drain extends Filter {
        @Override
        public void doFilter(HttpExchange exchange, Chain chain) throws IOException {
            if (draining) {
                exchange.getResponseHeaders().set("Connection", "close");
            }
            chain.doFilter(exchange);
        }

        @Override
        public String description() {
            return "lets clients go once it is asked to";
        }
    }

    public static void main(String[] args) throws IOException {
        // Without this an answer may wait 40 ms for the client's acknowledgement of its header.
        System.setProperty("sun.net.httpserver.nodelay", "true");

        HttpServer web = HttpServer.create(new InetSocketAddress(port("PORT", 8080)), 1024);
        web.setExecutor(Executors.newCachedThreadPool());
        web.createContext("/", exchange -> answer(exchange, 200, "ok\n")).getFilters().add(new Drain());

        // On loopback, so that only this pod can ask.
        HttpServer admin = HttpServer.create(
            new InetSocketAddress(InetAddress.getLoopbackAddress(), port("ADMIN_PORT", 9000)), 16);
        admin.createContext("/drain", exchange -> {
            boolean post = exchange.getRequestMethod().equals("POST");
            draining |= post;
            answer(exchange, post ? 200 : 405, post ? "draining\n" : "POST, please\n");
        });

        Runtime.getRuntime().addShutdownHook(new Thread(() -> web.stop(5)));
        admin.start();
        web.start();
    }

    static void answer(HttpExchange exchange, int status, String text) throws IOException {
        try (exchange) {
            byte[] body = text.getBytes(StandardCharsets.UTF_8);
            exchange.getRequestBody().readAllBytes();
            exchange.sendResponseHeaders(status, body.length);
            exchange.getResponseBody().write(body);
        }
    }

    static int port(String name, int otherwise) {
        String value = System.getenv(name);
        return value == null ? otherwise : Integer.parseInt(value);
    }
}
