// Command logind is as much of systemd's logind as the kubelet needs for a graceful node shutdown
// (pkg/kubelet/nodeshutdown/systemd/inhibit_linux.go): on the system bus it lets the kubelet delay a
// shutdown (Inhibit) and says for how long it may (InhibitDelayMaxUSec). SIGUSR1 has it announce a
// shutdown, SIGUSR2 that there is none after all (PrepareForShutdown). Nothing is ever shut down.
//
//	logind ADDRESS    the bus's, such as unix:path=/run/dbus/system_bus_socket
//
// It prints "ready" once it has its name on the bus.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/godbus/dbus/v5/prop"
)

const (
	name    = "org.freedesktop.login1"
	manager = "org.freedesktop.login1.Manager"
	path    = dbus.ObjectPath("/org/freedesktop/login1")
)

// inhibitor hands out inhibitor locks: pipes, of which the client holds one end for as long as it
// needs. Nobody waits at the other.
type inhibitor struct{ held []*os.File }

// Inhibit is the D-Bus method of that name.
func (i *inhibitor) Inhibit(_, _, _, _ string) (dbus.UnixFD, *dbus.Error) {
	kept, given, err := os.Pipe()
	if err != nil {
		return -1, dbus.MakeFailedError(err)
	}
	i.held = append(i.held, kept, given)
	return dbus.UnixFD(given.Fd()), nil
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "logind:", err)
		os.Exit(1)
	}
}

func run() error {
	if len(os.Args) != 2 {
		return errors.New("usage: logind ADDRESS")
	}
	bus, err := dbus.Connect(os.Args[1])
	if err != nil {
		return err
	}
	defer func() { _ = bus.Close() }()
	if err := bus.Export(&inhibitor{}, path, manager); err != nil {
		return err
	}
	delay := prop.Map{manager: {"InhibitDelayMaxUSec": {Value: uint64(time.Hour / time.Microsecond)}}}
	if _, err := prop.Export(bus, path, delay); err != nil {
		return err
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGUSR1, syscall.SIGUSR2)
	if reply, err := bus.RequestName(name, dbus.NameFlagDoNotQueue); err != nil || reply != dbus.RequestNameReplyPrimaryOwner {
		return fmt.Errorf("the name %s: reply %d: %w", name, reply, err)
	}
	fmt.Println("ready")
	for s := range signals {
		if err := bus.Emit(path, manager+".PrepareForShutdown", s == syscall.SIGUSR1); err != nil {
			return err
		}
	}
	return nil
}
