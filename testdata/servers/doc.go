// Package servers measures on real servers what becomes of busy keep-alive clients when a server
// is asked to let them go, and when it gets SIGTERM: twenty clients that never let go by
// themselves, a request each 100 ms, 10 ms away. README.md's table of apps is made by it.
//
//	go test ./testdata/servers                                          # with what this machine has
//	LULL_SERVERS=required go test -v ./testdata/servers                 # nothing may be missing
//	LULL_SERVERS=required go test ./testdata/servers -run Servers -update    # makes the table anew
package servers
