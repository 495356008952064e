package servers

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// python is Debian's: another one may lack what Debian's uvicorn and gunicorn need.
const python = "/usr/bin/python3"

// tomcatJar is a link to a file whose name has the version.
const tomcatJar = "/usr/share/java/tomcat10-catalina.jar"

// built compiles a Go program for a place.
func built(t *testing.T, p place, pkg string) string {
	t.Helper()
	program := filepath.Join(p.dir, "server")
	c := exec.Command("go", "build", "-o", program, pkg)
	if said, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v: %s", c, err, said)
	}
	return program
}

// compiled compiles a Java program for a place.
func compiled(t *testing.T, p place, source, classpath string) {
	t.Helper()
	c := exec.Command("javac", "-nowarn", "-cp", classpath, "-d", p.dir, source)
	if said, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v: %s", c, err, said)
	}
}

// example is the path of a file in examples/drain.
func example(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("..", "..", "examples", "drain", name))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func goExample(t *testing.T, p place) *process {
	return start(t, p, []string{built(t, p, "lull/examples/drain/go")})
}

func goSetKeepAlives(t *testing.T, p place) *process {
	return start(t, p, []string{built(t, p, "lull/testdata/servers/setkeepalives")})
}

func nodeExample(env ...string) func(*testing.T, place) *process {
	return func(t *testing.T, p place) *process {
		return start(t, p, []string{"node", example(t, "node/server.mjs")}, env...)
	}
}

func javaExample(t *testing.T, p place) *process {
	compiled(t, p, example(t, "java/Server.java"), ".")
	return start(t, p, []string{"java", "-cp", p.dir, "Server"})
}

func pythonExample(t *testing.T, p place) *process {
	return start(t, p, []string{python, example(t, "python/server.py")})
}

func uvicornExample(t *testing.T, p place) *process {
	return start(t, p, []string{
		"uvicorn", "--app-dir", example(t, "python"), "asgi:app",
		"--port", fmt.Sprint(p.port), "--timeout-keep-alive", "60", "--no-access-log",
	}, "PYTHONDONTWRITEBYTECODE=1")
}

func tomcat(t *testing.T, p place) *process {
	jars, err := filepath.Glob("/usr/share/java/tomcat10-*.jar")
	if err != nil {
		t.Fatal(err)
	}
	classpath := strings.Join(append(jars, p.dir), ":")
	compiled(t, p, example(t, "tomcat/Server.java"), classpath)
	return start(t, p, []string{"java", "-cp", classpath, "Server", p.dir})
}

func nginx(t *testing.T, p place) *process {
	var temp strings.Builder
	for _, what := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		fmt.Fprintf(&temp, "%s_temp_path %s/%s; ", what, p.dir, what)
	}
	config := p.write(t, "nginx.conf", fmt.Sprintf(`daemon off; user root; worker_processes 2; pid %s/pid; error_log stderr warn;
events {}
http { access_log off; %s
  keepalive_requests 100000; server { listen %d; location / { return 200 "ok\n"; } } }
`, p.dir, temp.String(), p.port))
	return start(t, p, []string{"nginx", "-c", config, "-e", "stderr"})
}

func apache(t *testing.T, p place) *process {
	p.write(t, "index.html", "ok\n")
	var modules strings.Builder
	for _, m := range []string{"mpm_event", "authz_core", "dir"} {
		fmt.Fprintf(&modules, "LoadModule %s_module /usr/lib/apache2/modules/mod_%s.so\n", m, m)
	}
	config := p.write(t, "apache.conf", fmt.Sprintf(`%sServerName web
Listen %d
User www-data
Group www-data
PidFile %[3]s/pid
DefaultRuntimeDir %[3]s
ErrorLog /dev/stderr
DocumentRoot %[3]s
DirectoryIndex index.html
KeepAliveTimeout 60
MaxKeepAliveRequests 0
`, modules.String(), p.port, p.dir))
	return start(t, p, []string{"apache2", "-DFOREGROUND", "-f", config})
}

func haproxy(option string) func(*testing.T, place) *process {
	return func(t *testing.T, p place) *process {
		config := p.write(t, "haproxy.cfg", fmt.Sprintf(`global
  stats socket %s/stats expose-fd listeners
defaults
  mode http
  timeout client 60s
frontend in
  bind :%d
  %s
  http-request return status 200 content-type text/plain string "ok\n"
`, p.dir, p.port, option))
		return start(t, p, []string{"haproxy", "-W", "-f", config})
	}
}

func caddy(t *testing.T, p place) *process {
	config := p.write(t, "Caddyfile", fmt.Sprintf("{\n  admin localhost:%d\n}\n:%d {\n  respond \"ok\"\n}\n", p.admin, p.port))
	return start(t, p, []string{"caddy", "run", "--config", config, "--adapter", "caddyfile"})
}

func caddyReload(p place) []string {
	return []string{"caddy", "reload", "--force", "--address", fmt.Sprintf("localhost:%d", p.admin), "--config", filepath.Join(p.dir, "Caddyfile"), "--adapter", "caddyfile"}
}

func lighttpd(t *testing.T, p place) *process {
	p.write(t, "index.html", "ok\n")
	config := p.write(t, "lighttpd.conf", fmt.Sprintf(`server.document-root = %q
server.port = %d
index-file.names = ("index.html")
server.max-keep-alive-requests = 100000
server.max-keep-alive-idle = 60
`, p.dir, p.port))
	return start(t, p, []string{"lighttpd", "-D", "-f", config})
}

func gunicorn(t *testing.T, p place) *process {
	p.write(t, "app.py", `def app(environ, start_response):
    start_response("200 OK", [("Content-Length", "3")])
    return [b"ok\n"]
`)
	return start(t, p, []string{
		"gunicorn", "--worker-class", "gthread", "--workers", "2", "--threads", "40", "--keep-alive", "60",
		"--bind", fmt.Sprintf(":%d", p.port), "app:app",
	})
}

func puma(more ...string) func(*testing.T, place) *process {
	return func(t *testing.T, p place) *process {
		p.write(t, "config.ru", `run ->(env) { [200, {"content-type" => "text/plain"}, ["ok\n"]] }`+"\n")
		p.write(t, "puma.rb", "persistent_timeout 60\n")
		argv := []string{"puma", "-C", "puma.rb", "-t", "40:40", "-b", fmt.Sprintf("tcp://0.0.0.0:%d", p.port)}
		return start(t, p, append(append(argv, more...), "config.ru"))
	}
}
