package procnet

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"
)

// listOpen is one call of Arrivals that lists the open connections by their clients.
func listOpen(t *testing.T, s Source, port uint16) (map[netip.AddrPort]Conn, bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	open := map[netip.AddrPort]Conn{}
	listed, err := s.Arrivals(ctx, []uint16{port}, func(Arrival) {}, func(c Conn) {
		if _, twice := open[c.Peer]; twice {
			t.Errorf("%+v is listed twice", c)
		}
		open[c.Peer] = c
	})
	if err != nil {
		t.Fatal(err)
	}
	return open, listed
}

// TestOpenConnections: those that are open are listed by the look that looks at them
// anyway, and that one has ended is known without one.
func TestOpenConnections(t *testing.T) {
	both(t, func(t *testing.T, which string) {
		srv := serve(t, nil)
		s := open(t, which)
		settled(t, s, srv.port)
		var conns []net.Conn
		for range 3 {
			c := dial(t, "127.0.0.1", srv.port)
			ask(t, c)
			conns = append(conns, c)
		}
		began := time.Now()
		var list map[netip.AddrPort]Conn
		until(t, "three are listed", func() bool {
			found, listed := listOpen(t, s, srv.port)
			if listed {
				list = found
			}
			return len(list) == 3
		})
		for _, c := range conns {
			peer := c.LocalAddr().(*net.TCPAddr).AddrPort()
			if found, ok := list[peer]; !ok || found.ID == 0 || found.Port != srv.port || found.Opened.After(began.Add(time.Second)) {
				t.Errorf("%v is listed as %+v", peer, found)
			}
		}
		until(t, "a look that leaves nothing to be ended", func() bool {
			settled(t, s, srv.port)
			return !s.Ended()
		})
		conns[0].Close()
		until(t, "an end", s.Ended)
		until(t, "two are listed", func() bool {
			found, listed := listOpen(t, s, srv.port)
			return listed && len(found) == 2
		})
	})
}

// TestOpenConnectionsThatAreIdle: those that were open before the source was, and on which
// nothing comes, are listed, too.
func TestOpenConnectionsThatAreIdle(t *testing.T) {
	both(t, func(t *testing.T, which string) {
		srv := serve(t, nil)
		ask(t, dial(t, "127.0.0.1", srv.port))
		time.Sleep(100 * time.Millisecond) // the answer's last segment is on its way
		s := open(t, which)
		for range 2 {
			if found, listed := listOpen(t, s, srv.port); listed && len(found) != 1 {
				t.Errorf("%d are listed", len(found))
			} else if !listed && which == "netlink" {
				t.Error("not listed")
			}
		}
		found, listed := listOpen(t, open(t, which), srv.port)
		if !listed || len(found) != 1 {
			t.Errorf("%d are listed by the first look, %v", len(found), listed)
		}
	})
}
