package servers

import (
	"syscall"
	"testing"
)

// app is a server and the ways in which it can be asked to let its clients go.
type app struct {
	name  string
	file  string   // of this repository, if it is an example
	needs []string // programs and files that this machine may lack
	// version prints a text in which the first number is the version.
	version []string
	start   func(*testing.T, place) *process
	http2   bool
	ways    []way
}

// way is one of them. An app that gets SIGTERM is measured, too.
type way struct {
	name string
	do   func(*process) error
	kind kind // what it is known to be; "" where that varies
}

var (
	hup  = signal(syscall.SIGHUP)
	usr1 = signal(syscall.SIGUSR1)
	usr2 = signal(syscall.SIGUSR2)
)

// apps are all that are measured. The first are this repository's examples.
func apps() []app {
	return append(examples(), daemons()...)
}

func examples() []app {
	lasting := []way{{"HUP", hup, softLasting}}
	return []app{
		{name: "Go", file: "go/main.go", start: goExample, ways: lasting},
		{name: "Go, HTTP/2", file: "go/main.go", start: goExample, http2: true, ways: lasting},
		{name: "Node", file: "node/server.mjs", needs: []string{"node"}, start: nodeExample(), ways: lasting},
		{name: "Node, HTTP/2", file: "node/server.mjs", needs: []string{"node"}, start: nodeExample("HTTP2=1"), http2: true, ways: lasting},
		{
			name: "Java's HttpServer", file: "java/Server.java", needs: []string{"java", "javac"}, start: javaExample,
			ways: []way{{"POST", post("/drain"), softLasting}},
		},
		{name: "Python's http.server", file: "python/server.py", needs: []string{python}, start: pythonExample, ways: lasting},
		{name: "uvicorn", file: "python/asgi.py", needs: []string{"uvicorn"}, version: []string{"uvicorn", "--version"}, start: uvicornExample, ways: lasting},
		{
			name: "Tomcat, `maxKeepAliveRequests` set to 1 by its MBean or code", file: "tomcat/Server.java",
			needs: []string{"java", "javac", tomcatJar}, version: []string{"readlink", tomcatJar},
			start: tomcat, ways: []way{{"POST", post("/"), softLasting}},
		},
	}
}

func daemons() []app {
	return []app{
		{
			name: "HAProxy, `option idle-close-on-response`", needs: []string{"haproxy"}, version: []string{"haproxy", "-v"},
			start: haproxy("option idle-close-on-response"), ways: []way{{"USR2", usr2, softOnce}},
		},
		{
			name: "puma, cluster of 2", needs: []string{"puma"}, version: []string{"puma", "--version"},
			start: puma("-w", "2"), ways: []way{{"USR1", usr1, softOnce}},
		},
		{name: "Go, `SetKeepAlivesEnabled(false)`", start: goSetKeepAlives, ways: []way{{"HUP", hup, closesLasting}}},
		{name: "nginx", needs: []string{"nginx"}, version: []string{"nginx", "-v"}, start: nginx, ways: []way{{"HUP", hup, closesOnce}}},
		{name: "Apache, event", needs: []string{"apache2"}, version: []string{"apache2", "-v"}, start: apache, ways: []way{{"USR1", usr1, closesOnce}}},
		{name: "HAProxy", needs: []string{"haproxy"}, version: []string{"haproxy", "-v"}, start: haproxy(""), ways: []way{{"USR2", usr2, closesOnce}}},
		{
			name: "Caddy", needs: []string{"caddy"}, version: []string{"caddy", "version"}, start: caddy,
			ways: []way{{"`caddy reload --force`", command(caddyReload), closesOnce}},
		},
		{name: "lighttpd", needs: []string{"lighttpd"}, version: []string{"lighttpd", "-v"}, start: lighttpd, ways: []way{{"USR1", usr1, closesOnce}}},
		{name: "gunicorn, gthread", needs: []string{"gunicorn"}, version: []string{"gunicorn", "--version"}, start: gunicorn, ways: []way{{"HUP", hup, ""}}},
		{name: "puma, single", needs: []string{"puma"}, version: []string{"puma", "--version"}, start: puma(), ways: []way{{"USR2", usr2, ""}}},
	}
}
