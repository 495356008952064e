package procnet

// A client may say something with its end: a TLS close_notify (24 to 85 bytes), the GOAWAY of
// HTTP/2 before it, a QUIT. That is no request, though it is data. An end is taken for a
// good-bye if
//   - the connection is over on both sides, so that nobody works on it any more;
//   - the app had the last word when a look last saw it, so that nothing was open between
//     the two;
//   - since then the client has sent at most maxGoodbye bytes, its FIN among them;
//   - and has acknowledged nothing but the app's FIN. So if the app has answered, with a
//     close_notify of its own or whatever else, then nobody was there to take it.
//
// A client that still takes the app's good-bye before it closes counts as a request: it cannot
// be told from one that has got an answer.
//
// What that costs: a message of so few bytes that needs no answer is not seen, if it is the
// only one since the last look, its client ends right after it, and the app had answered what
// the client said before.

// maxGoodbye is the most that a client says with its end without it passing for a request.
const maxGoodbye = 100

// volume stands for how many bytes have gone over a connection, in four bytes: two volumes
// tell whether few were received and none acknowledged in between. A difference of some other
// kind looks like that once in 40 million times.
type volume uint32

// ackedWeight is odd, so that no number of acknowledged bytes below 2^32 weighs nothing.
const ackedWeight = 0x9E3779B1

func (r *row) volume() volume { return volume(uint32(r.received) + uint32(r.acked)*ackedWeight) }

// answered reports whether the app had the last word: it has sent something, and not before
// the client did last. Both times are in clock ticks, and most answers take less than one.
func (r *row) answered() bool {
	return r.hasBytes && r.received > 0 && r.acked > 0 && r.sent <= r.age
}

// isGoodbye reports whether no more than a good-bye lies between two volumes.
func isGoodbye(before, after volume) bool {
	said := after - before
	return said <= maxGoodbye || said-ackedWeight <= maxGoodbye // the FIN is one byte
}
