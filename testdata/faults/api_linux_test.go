package faults

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lull/testdata/apiserver"
)

const (
	leaves   = 300 * time.Millisecond // when the pod leaves rotation where lull does not hear of it
	calls    = 600 * time.Millisecond // when the last client calls as a rule
	alone    = 2 * quiet              // least without the slices
	patience = 10 * time.Second       // with a control plane that is silent

	// When it leaves where lull does hear of it: so late that a hook which goes by the sockets has
	// ended before. And how much later than the window that one may end.
	heard    = 2500 * time.Millisecond
	graceful = 1500 * time.Millisecond
)

// In words, what lull does as a rule.
const (
	retries    = "asks again; after 10 s of silence goes by the sockets, in all at least twice the window"
	goesAlone  = "says so at once and goes by the sockets, in all at least twice the window"
	noDamage   = "no difference: out of rotation, then the window"
	asksAnyway = "asks again: no difference"
)

// silent are the faults after which nothing is ever heard of the control plane.
func silent(name string, before func(*testing.T, *world), says ...string) fault {
	return fault{
		name: name, does: retries, why: "quiet", calls: calls, stays: leaves,
		least: patience, most: patience + quiet, before: before, says: says,
	}
}

// refused are those after which it is clear that nothing will be.
func refused(name string, before func(*testing.T, *world), says ...string) fault {
	return fault{
		name: name, does: goesAlone, why: "quiet", calls: calls, stays: leaves,
		least: alone, most: alone + quiet, before: before, says: says,
	}
}

// harmless are those that lull gets over.
func harmless(name, does string, before func(*testing.T, *world)) fault {
	return fault{
		name: name, does: does, why: "quiet", calls: calls, stays: heard,
		least: heard + quiet, most: heard + quiet + graceful, before: before,
	}
}

// disturbed are harmless, too, and go on during the hook.
func disturbed(name, does string, during func(*testing.T, *world)) fault {
	f := harmless(name, does, nil)
	f.during = during
	return f
}

// byWeb selects the slices of the Service.
const byWeb = "kubernetes.io/service-name in (web)"

// unending are those after which the slices are read again and again, and never are all known.
func unending(name, does string, how func(*apiserver.Server)) fault {
	return fault{
		name: name, does: does + ", and begins again; goes by the sockets when no more than a window fits into the budget", why: "quiet",
		calls: calls, stays: leaves, least: budget - quiet - time.Second, memory: 40,
		before: func(_ *testing.T, w *world) { w.control.Do(func() { how(w.control.Server) }) },
	}
}

func saying(f fault, text string) fault {
	f.says = append(f.says, text)
	return f
}

func withEnv(f fault, env ...string) fault {
	f.env = env
	return f
}

// answering lets the API server answer so.
func answering(answer func(http.ResponseWriter, *http.Request) bool) func(*testing.T, *world) {
	return func(_ *testing.T, w *world) {
		w.control.Do(func() { w.control.Answer = answer })
	}
}

func denying(code int, requests ...string) func(*testing.T, *world) {
	return func(_ *testing.T, w *world) {
		w.control.Do(func() {
			w.control.RetryAfter = "3600"
			for _, r := range requests {
				w.control.Deny[r] = code
			}
		})
	}
}

var everything = []string{
	"get pods", "list pods", "get services", "list endpointslices", "watch endpointslices",
}

func isWatch(r *http.Request) bool { return r.URL.Query().Get("watch") == "true" }

// page answers with a body of a type.
func page(code int, kind, body string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Content-Type", kind)
		w.WriteHeader(code)
		_, _ = io.WriteString(w, body)
		return true
	}
}

const protobuf = "application/vnd.kubernetes.protobuf"

var apiFaults = group{"api", []fault{
	harmless("none", "waits until the pod is out of rotation and the window is over", nil),
	silent("nobody listens", func(t *testing.T, w *world) { w.control.elsewhere(t).Close() }, "connection refused"),
	silent("accepts connections and says nothing", func(t *testing.T, w *world) { accept(w.control.elsewhere(t)) }),
	silent("answers no SYN", func(t *testing.T, w *world) { w.control.full(t) }),
	refused("a certificate of another authority", func(t *testing.T, w *world) {
		w.write(t, "/var/run/"+credentials, map[string]string{"ca.crt": anotherCertificate(t)})
	}, "certificate is not accepted"),
	refused("no token in the pod", func(t *testing.T, w *world) {
		w.must(t, func() error { return os.RemoveAll("/var/run/secrets") })
	}, "token"),
	refused("the token is a FIFO that nobody writes to", fifo("token"), "token is no regular file"),
	refused("the authority's certificate is such a FIFO", fifo("ca.crt"), "ca.crt is no regular file"),
	harmless("the namespace file is such a FIFO", "takes the namespace from POD_NAMESPACE: no difference", fifo("namespace")),
	{
		name: "lull check, and the token is such a FIFO", does: "tells it as what is lacking", code: 1, args: []string{"check"}, flags: true, deaf: true,
		stays: -1, most: 5 * time.Second, before: fifo("token"), says: []string{"token is no regular file"},
	},
	withEnv(refused("a POD_UID that is none", nil, "POD_UID"), "POD_UID=no uid"),
	withEnv(refused("a POD_NAMESPACE that is none", nil, "POD_NAMESPACE"), "POD_NAMESPACE=../kube-system"),
	withEnv(saying(harmless("a POD_IP that is none", "says so: no difference", nil), "POD_IP ignored"), "POD_IP=here", "POD_IPS=nowhere,::z"),
	withEnv(refused("a KUBERNETES_SERVICE_PORT that is none", nil, "cannot be seen"), "KUBERNETES_SERVICE_PORT=http"),
	withEnv(harmless("an HTTPS_PROXY of the app's where nobody listens", noDamage, nil), "HTTPS_PROXY=http://127.0.0.1:9", "https_proxy=http://127.0.0.1:9"),
	refused("401", denying(401, everything...), "does not accept these credentials"),
	saying(harmless("403 to get pods", "takes 30 s for the grace period", denying(403, "get pods")), "no permission to get pods"),
	refused("403 to list EndpointSlices", denying(403, "list endpointslices"), "no permission to list endpointslices"),
	harmless("403 to watch EndpointSlices", "lists them again and again", denying(403, "watch endpointslices")),
	withEnv(harmless("POD_NAME is another's", "searches for the pod by its UID: no difference", nil), "POD_NAME=another"),
	withEnv(saying(harmless("POD_NAME is another's, and 403 to list pods", "goes by the slices, which name the UID, and takes 30 s for the grace period",
		denying(403, "list pods")), "without permission to list pods"), "POD_NAME=another"),
	{
		name: "a Service that keeps to the node, and nobody else there", does: "serves for the window, and does not wait for clients to stop", why: "alone", calls: 2 * budget,
		stays: heard, least: heard + quiet, most: heard + quiet + graceful, deaf: true, before: func(_ *testing.T, w *world) { w.control.stay() },
	},
	{
		name: "the same, and 403 to get Services", does: "counts the other nodes' endpoints, waits for clients to stop, and says which right is missing", code: 3, why: "budget",
		calls: 2 * budget, stays: heard, least: budget - 2*time.Second, says: []string{"grant get on services"}, before: func(t *testing.T, w *world) {
			w.control.stay()
			denying(403, "get services")(t, w)
		},
	},
	refused("403 to everything", denying(403, everything...), "no permission"),
	refused("404: the API server does not know EndpointSlices", denying(404, "list endpointslices"), "does not know it"),
	silent("410 to every list and watch", denying(410, "list endpointslices", "watch endpointslices")),
	silent("429, with Retry-After of an hour", denying(429, everything...)),
	silent("500", denying(500, everything...)),
	silent("503", denying(503, everything...)),
	silent("a redirect to somewhere else", redirect),
	silent("a proxy's page", answering(page(200, "text/html", "<html><body>Please log in</body></html>"))),
	silent("protobuf that is none", answering(page(200, protobuf, "k8s\x00\x0a\xff\xff\xff\xff\x0f garbage"))),
	silent("half an object", answering(half)),
	{
		name: "an answer that never ends", does: "reads 2 MiB of it, and the same of a page with fewer objects; then as above", why: "quiet", calls: calls, stays: leaves,
		least: patience, most: patience + quiet, before: answering(endless), says: []string{"larger than"}, memory: 40,
	},
	unending("a list that never ends, where Services are looked for", "gives it up after 400 pages", func(s *apiserver.Server) { s.Endless = true }),
	unending("a list that never ends, of the Service's slices, in full pages", "gives it up once that takes 4 MiB", func(s *apiserver.Server) { s.EndlessOf = byWeb }),
	{
		name: "a watch that sends nothing for ever", does: "doubts it after 3 s in rotation, and lists anew", why: "quiet", calls: calls, stays: -1,
		least: 2700*time.Millisecond + quiet, most: 4*time.Second + quiet, before: answering(mute), during: leaveUnheard,
	},
	harmless("a watch that sends 10,000 slices a second, each another", "begins anew with a list once they take 4 MiB", func(_ *testing.T, w *world) { w.control.Do(func() { w.control.Flood = 1 << 30 }) }),
	harmless("a watch that sends 10,000 events a second, of 4,000 slices", noDamage, func(_ *testing.T, w *world) { w.control.Do(func() { w.control.Flood = 4000 }) }),
	disturbed("a watch that is cut every 200 ms", noDamage, cut),
	disturbed("a watch that ends in the middle of an event", asksAnyway, cutInHalf),
	staleSlices, staleAll,
	{
		name: "the pod is deleted by force, and another has its name", does: "ends: the kubelet sends SIGTERM within a second, and the other one's rotation is not its own",
		code: 3, why: "budget", calls: calls, stays: -1, least: leaves, most: leaves + 2*quiet, during: recreate,
	},
	harmless("the API server's clock is an hour ahead", noDamage, func(_ *testing.T, w *world) { w.skewed(time.Hour) }),
	harmless("the API server's clock is an hour behind", noDamage, func(_ *testing.T, w *world) { w.skewed(-time.Hour) }),
	{
		name: "the token is rotated in the middle", does: "reads the file for each request: no difference", why: "quiet",
		calls: calls, stays: -1, least: heard + quiet, most: leaves + heard + quiet + graceful, during: rotate,
	},
	harmless("every answer takes 0.5 s", noDamage, func(_ *testing.T, w *world) { w.control.Do(func() { w.control.Delay = 500 * time.Millisecond }) }),
	{
		name: "silence in the middle, in rotation", does: retries, why: "quiet", calls: calls, stays: 5 * time.Second,
		least: patience, most: patience + 4*quiet, during: hangLater(0),
	},
	{
		name: "silence in the middle, out of rotation", does: noDamage, why: "quiet", calls: calls, stays: heard,
		least: heard + quiet, most: heard + quiet + graceful, during: hangLater(heard),
	},
	{
		name: "refused in the middle, in rotation", does: "403 after a success is an API server that starts: asks again for 10 s, then goes by the sockets", why: "quiet", calls: calls, stays: 5 * time.Second,
		least: patience, most: patience + 4*quiet, during: func(_ *testing.T, w *world) {
			if w.middle() {
				denying(403, everything...)(nil, w)
				w.control.BreakWatches()
			}
		},
	},
}}

func TestAPI(t *testing.T) { apiFaults.test(t) }

// fifo puts a FIFO where the kubelet mounts a file.
func fifo(name string) func(*testing.T, *world) {
	return func(t *testing.T, w *world) {
		path := "/var/run/" + credentials + "/" + name
		w.must(t, func() error { return errors.Join(os.Remove(path), unix.Mkfifo(path, 0o600)) })
	}
}

// accept accepts connections and leaves them alone.
func accept(l net.Listener) {
	go func() {
		for {
			if _, err := l.Accept(); err != nil {
				return
			}
		}
	}()
}

// full has the API where a queue is full and SYNs are dropped.
func (c *control) full(t *testing.T) {
	l := c.elsewhere(t)
	raw, err := l.(*net.TCPListener).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	c.place.must(t, func() (err error) {
		_ = raw.Control(func(fd uintptr) { err = unix.Listen(int(fd), 0) }) // a backlog of 0 holds one
		return err
	})
	for range 2 {
		c.place.do(func() {
			if conn, err := net.DialTimeout("tcp", c.host, 200*time.Millisecond); err == nil {
				t.Cleanup(func() { conn.Close() })
			}
		})
	}
}

// redirect sends every request to a server that must not learn the token.
func redirect(t *testing.T, w *world) {
	var told atomic.Value
	other := &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		told.Store(r.Header.Get("Authorization"))
	})}
	host := w.control.host
	l := w.control.elsewhere(t)
	w.control.host = host
	go func() { _ = other.Serve(l) }()
	t.Cleanup(func() {
		other.Close()
		if s, _ := told.Load().(string); strings.Contains(s, apiserver.Token) {
			t.Error("the token goes where a redirect points")
		}
	})
	answering(func(to http.ResponseWriter, r *http.Request) bool {
		http.Redirect(to, r, "http://"+l.Addr().String()+"/login", http.StatusFound)
		return true
	})(t, w)
}

func half(w http.ResponseWriter, _ *http.Request) bool {
	w.Header().Set("Content-Type", protobuf)
	w.Header().Set("Content-Length", "1000")
	_, _ = io.WriteString(w, "k8s\x00\x0a\x10")
	w.(http.Flusher).Flush()
	panic(http.ErrAbortHandler)
}

func endless(w http.ResponseWriter, _ *http.Request) bool {
	w.Header().Set("Content-Type", protobuf)
	for chunk := make([]byte, 64<<10); ; {
		if _, err := w.Write(chunk); err != nil {
			return true
		}
	}
}

// mute opens watches in which nothing ever comes.
func mute(w http.ResponseWriter, r *http.Request) bool {
	if !isWatch(r) {
		return false
	}
	w.Header().Set("Content-Type", protobuf+";stream=watch")
	w.WriteHeader(http.StatusOK)
	w.(http.Flusher).Flush()
	<-r.Context().Done()
	return true
}

// leaveUnheard has the pod leave rotation once a watch is open.
func leaveUnheard(_ *testing.T, w *world) {
	for w.control.Asked("watch", "endpointslices") == 0 {
		if !w.within(10 * time.Millisecond) {
			return
		}
	}
	w.leave()
}

func recreate(_ *testing.T, w *world) {
	if w.middle() {
		w.control.Remove(w.control.pod(podUID))
		w.control.Put(w.control.pod(otherUID))
		w.control.Put(w.control.slice(true, otherUID))
	}
}

func (w *world) skewed(d time.Duration) {
	w.control.skew = d
	w.control.delete()
	answering(func(to http.ResponseWriter, _ *http.Request) bool {
		to.Header().Set("Date", time.Now().Add(d).UTC().Format(http.TimeFormat))
		return false
	})(nil, w)
}

func rotate(t *testing.T, w *world) {
	if w.middle() {
		const fresh = "eyJhbGciOiJub25lIn0.dGhlLW5leHQtb25l.c2ln"
		w.control.credentials(t, fresh)
		w.control.Do(func() { w.control.Tokens = []string{fresh} })
		w.control.BreakWatches()
		if w.within(heard) {
			w.leave()
		}
	}
}

func hangLater(d time.Duration) func(*testing.T, *world) {
	return func(_ *testing.T, w *world) {
		if w.middle() && w.within(d) {
			w.control.Do(func() {
				w.control.Answer = func(_ http.ResponseWriter, r *http.Request) bool {
					<-r.Context().Done()
					return true
				}
			})
			w.control.BreakWatches()
		}
	}
}

func cut(_ *testing.T, w *world) {
	for w.within(200 * time.Millisecond) {
		w.control.BreakWatches()
	}
}

func cutInHalf(t *testing.T, w *world) {
	w.control.Do(func() { w.control.HalfEvent = true })
	cut(t, w)
}

// anotherCertificate is the certificate of an authority that has signed nothing, valid from a time.
func anotherCertificate(t *testing.T) string {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	text, err := x509.CreateCertificate(nil, authority, authority, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: text}))
}
