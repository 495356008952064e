package node

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// space says which of the node's namespaces a command enters.
type space int

const (
	allSpaces  space = iota // as a process of the node: mounts, network, PIDs, host name, IPC
	netOnly                 // a program of this machine in the node's network
	machineNet              // neither: this machine
)

// openSpaces starts process 1 of the node in namespaces of its own and gives the node its addresses.
func (n *Node) openSpaces(ctx context.Context) error {
	tether, held, err := os.Pipe()
	if err != nil {
		return err
	}
	defer tether.Close()
	cmd := exec.CommandContext(context.WithoutCancel(ctx), n.bin("nodeinit"), n.run(), Name)
	cmd.Stdin = tether
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWPID | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC,
		Setpgid:    true,
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		held.Close()
		return fmt.Errorf("start the node's process 1: %w", err)
	}
	n.init, n.tether = cmd, held
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil {
		return fmt.Errorf("the node's process 1 said %q (%w): %s", line, err, stderr.String())
	}
	if n.netns, err = os.Open(fmt.Sprintf("/proc/%d/ns/net", cmd.Process.Pid)); err != nil {
		return err
	}
	return n.network(ctx)
}

// network gives the node its addresses and routes. There may be no dummy device in the kernel, so a
// veth pair with both ends in the node carries them; the default routes lead nowhere, but Services
// need a route before they are rewritten.
func (n *Node) network(ctx context.Context) error {
	for _, batch := range []string{
		"link set lo up\nlink add node0 type veth peer name node0p\nlink set node0p up\nlink set node0 up\n",
		fmt.Sprintf("address add %s/24 dev node0\nroute add default via %s dev node0\n", nodeIP4, gateway4),
		fmt.Sprintf("address add %s/64 dev node0 nodad\nroute add default via %s dev node0\n", nodeIP6, gateway6),
		fmt.Sprintf("route add local %s dev lo\nroute add local %s dev lo\n", Clients, OtherClients),
	} {
		cmd := n.command(ctx, netOnly, "ip", "-batch", "-")
		cmd.Stdin = strings.NewReader(batch)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("ip %q: %w: %s", batch, err, out)
		}
	}
	// These are settings of the network namespace: /proc/sys/net shows those of the process that
	// looks.
	script := "echo 1 >/proc/sys/net/ipv4/ip_forward && echo 1 >/proc/sys/net/ipv6/conf/all/forwarding"
	if out, err := n.command(ctx, allSpaces, "sh", "-c", script).CombinedOutput(); err != nil {
		return fmt.Errorf("forwarding in the node: %w: %s", err, out)
	}
	return nil
}

// command prepares a command in the node's namespaces.
func (n *Node) command(ctx context.Context, in space, argv ...string) *exec.Cmd {
	enter := []string{"nsenter", "-t", strconv.Itoa(n.init.Process.Pid)}
	switch in {
	case allSpaces:
		enter = append(enter, "-m", "-n", "-p", "-u", "-i", "--")
	case netOnly:
		enter = append(enter, "-n", "--")
	case machineNet:
		enter = nil
	}
	argv = append(enter, argv...)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = n.environ()
	return cmd
}

func (n *Node) environ() []string {
	return []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=" + n.run("tmp"), "TMPDIR=" + n.run("tmp")}
}

// startInside starts a command as a process of the node. It is a child of ours, which nsenter's
// would not be: nsenter stays between, to fork into the PID namespace, and stops itself when its
// child is stopped.
func (n *Node) startInside(cmd *exec.Cmd) error {
	result := make(chan error, 1)
	go func() {
		// As in InNetwork the thread ends with the goroutine. A process inherits the namespaces of
		// the thread that forks it.
		runtime.LockOSThread()
		result <- func() error {
			// The mount namespace can't be changed while root and working directory are shared with
			// other threads.
			if err := unix.Unshare(unix.CLONE_FS); err != nil {
				return fmt.Errorf("unshare: %w", err)
			}
			for _, space := range []string{"ipc", "uts", "net", "pid", "mnt"} {
				if err := n.enter(space); err != nil {
					return err
				}
			}
			return cmd.Start()
		}()
	}()
	return <-result
}

// enter puts the calling thread, and for "pid" its future children, into one of the node's
// namespaces.
func (n *Node) enter(space string) error {
	f, err := os.Open(fmt.Sprintf("/proc/%d/ns/%s", n.init.Process.Pid, space))
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Setns(int(f.Fd()), 0); err != nil {
		return fmt.Errorf("enter the node's %s namespace: %w", space, err)
	}
	return nil
}

// Command prepares a program of this machine that runs in the node's network.
func (n *Node) Command(ctx context.Context, argv ...string) *exec.Cmd {
	return n.command(ctx, netOnly, argv...)
}

// InNetwork calls f on a thread that is in the node's network: sockets that f itself makes belong
// there. Goroutines that f starts don't.
func (n *Node) InNetwork(f func() error) error {
	result := make(chan error, 1)
	go func() {
		// The thread is never unlocked: it ends with this goroutine, so that no other finds itself
		// in the node.
		runtime.LockOSThread()
		if err := unix.Setns(int(n.netns.Fd()), unix.CLONE_NEWNET); err != nil {
			result <- fmt.Errorf("enter the node's network: %w", err)
			return
		}
		result <- f()
	}()
	return <-result
}

// Dial connects from within the node's network. The address must be numeric: for names net.Dialer
// would start goroutines elsewhere.
func (n *Node) Dial(ctx context.Context, network, address string) (conn net.Conn, err error) {
	err = n.InNetwork(func() (err error) {
		conn, err = new(net.Dialer).DialContext(ctx, network, address)
		return err
	})
	return conn, err
}

// closeSpaces ends process 1 and with it everything in the node.
func (n *Node) closeSpaces() {
	if n.init == nil {
		return
	}
	_ = n.init.Process.Kill()
	_ = n.init.Wait()
	for _, c := range []io.Closer{n.tether, n.netns} {
		if c != nil && c != io.Closer((*os.File)(nil)) {
			_ = c.Close()
		}
	}
	n.init = nil
}
