// An embedded Tomcat as an app has it. A POST to its loopback port, ADMIN_PORT, sets
// maxKeepAliveRequests to 1, as the Connector's MBean can at run time: each answer says "Connection:
// close" from then on, and Tomcat goes on listening. The hook, with ADMIN_PORT=8081:
//
//   command: [/lull, "--drain=http://127.0.0.1:8081/"]
//
// SIGTERM ends it as Spring Boot's graceful shutdown does: it stops listening, waits for what is
// under way, then stops.

import jakarta.servlet.http.HttpServlet;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;
import org.apache.catalina.Context;
import org.apache.catalina.connector.Connector;
import org.apache.catalina.startup.Tomcat;
import org.apache.coyote.http11.AbstractHttp11Protocol;

public class Server {
    public static void main(String[] args) throws Exception {
        Tomcat tomcat = new Tomcat();
        tomcat.setBaseDir(args[0]);
        Connector web = connector("PORT", "0.0.0.0");
        Connector admin = connector("ADMIN_PORT", "127.0.0.1");
        tomcat.setConnector(web);
        tomcat.getService().addConnector(admin);

        Context context = tomcat.addContext("", null);
        Tomcat.addServlet(context, "web", new HttpServlet() {
            @Override
            protected void doGet(HttpServletRequest request, HttpServletResponse response) throws IOException {
                response.getWriter().write("ok\n");
            }

            @Override
            protected void doPost(HttpServletRequest request, HttpServletResponse response) throws IOException {
                if (request.getLocalPort() == admin.getLocalPort()) {
                    ((AbstractHttp11Protocol<?>) web.getProtocolHandler()).setMaxKeepAliveRequests(1);
                }
            }
        });
        context.addServletMappingDecoded("/", "web");
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            try {
                web.pause();
                web.getProtocolHandler().closeServerSocketGraceful();
                Thread.sleep(500);
                tomcat.stop();
            } catch (Exception e) {
                e.printStackTrace();
            }
        }));
        tomcat.start();
        tomcat.getServer().await();
    }

    static Connector connector(String port, String address) {
        Connector connector = new Connector();
        connector.setPort(Integer.parseInt(System.getenv(port)));
        connector.setProperty("address", address);
        connector.setProperty("maxKeepAliveRequests", "-1");
        return connector;
    }
}
