package node

import (
	"context"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"
)

// ShutdownGrace is how long the kubelet may delay a shutdown of the node.
const ShutdownGrace = 40 * time.Second

// systemBus is the socket at which the kubelet looks for the system bus
// (github.com/godbus/dbus/v5, conn_other.go; /var/run is a link to /run).
const systemBus = "/run/dbus/system_bus_socket"

// startLogind starts a system bus of the node's own, and on it what plays logind for the kubelet.
func (n *Node) startLogind(ctx context.Context) error {
	config := fmt.Sprintf(`<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN" "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path=%s</listen>
  <auth>EXTERNAL</auth>
  <policy context="default"><allow own="*"/><allow send_destination="*"/><allow receive_sender="*"/></policy>
</busconfig>
`, systemBus)
	if err := os.WriteFile(n.run("etc", "dbus.conf"), []byte(config), 0o644); err != nil {
		return err
	}
	if err := os.MkdirAll(n.fs("run", "dbus"), 0o755); err != nil {
		return err
	}
	if err := n.start("dbus", "dbus-daemon", "--nofork", "--nopidfile", "--config-file="+n.run("etc", "dbus.conf")); err != nil {
		return err
	}
	if err := poll(ctx, 20*time.Second, "the system bus", func() error {
		_, err := os.Stat(n.fs("run", "dbus", "system_bus_socket"))
		return n.aliveOr(err)
	}); err != nil {
		return err
	}
	if err := n.start("logind", n.bin("logind"), "unix:path="+systemBus); err != nil {
		return err
	}
	return poll(ctx, 20*time.Second, "logind", func() error {
		if said := n.DaemonLog("logind"); !strings.Contains(said, "ready") {
			return n.aliveOr(fmt.Errorf("logind said %q", said))
		}
		return nil
	})
}

// AnnounceShutdown tells the kubelet that the node is about to be shut down. It ends the node's pods
// without deleting them and takes no new ones. Nothing else happens.
func (n *Node) AnnounceShutdown() error { return n.daemons["logind"].Signal(syscall.SIGUSR1) }
