//go:build wasip1

package gateway

import (
	"strconv"
	"unsafe"
)

//go:wasmimport gateway:plugin/tcp@0.2.0 send
func tcpSend(upstream string, message unsafe.Pointer, length uint32, minBytes, timeout, repeatable uint32, ret unsafe.Pointer)

//go:wasmimport gateway:plugin/tcp@0.2.0 [method]connection.receive
func tcpReceive(self int32, minBytes uint32, ret unsafe.Pointer)

//go:wasmimport gateway:plugin/tcp@0.2.0 release
func tcpRelease(connection int32)

//go:wasmimport gateway:plugin/tcp@0.2.0 [resource-drop]connection
func tcpDrop(self int32)

// TCPMessage is sent to an upstream with TCP endpoints (tcp://, tls://) that is granted by name: `imports: [tcp]`.
type TCPMessage struct {
	Upstream string
	Bytes    []byte
	// MinBytes is how many bytes of the answer SendTCP waits for; with 0 it returns when the message was sent.
	MinBytes uint32
	// TimeoutMs is for all that happens on the connection until it is released. The gateway's own limit is one minute.
	TimeoutMs uint32
	// Repeatable messages may be sent a second time, if a pooled connection turns out to be closed.
	Repeatable bool
}

// Connection is a connection on which a message was sent. It is closed at the end of the phase, unless it was released.
type Connection struct {
	handle   int32
	upstream string
	ended    bool
}

var connections map[*Connection]struct{}

// SendTCP sends a message on a pooled or new connection, and waits for the answer to begin. A phase can have 16 connections. The
// Code of an error is "denied", "timeout", "unreachable", "closed", "too-large", "unavailable" or "other".
func SendTCP(message TCPMessage) (*Connection, error) {
	start, length := start(message.Bytes)
	tcpSend(valid(message.Upstream), start, length, message.MinBytes, message.TimeoutMs, flag(message.Repeatable), at(0))
	if u8(0) != 0 {
		return nil, notSent(message.Upstream)
	}
	connection := &Connection{handle: int32(u32(8)), upstream: message.Upstream}
	copied()
	if connections == nil {
		connections = map[*Connection]struct{}{}
		atEnd = append(atEnd, func() {
			for connection := range connections {
				connection.Close()
			}
		})
	}
	connections[connection] = struct{}{}
	return connection, nil
}

func notSent(upstream string) error {
	defer copied()
	codes := [...]string{"denied", "timeout", "unreachable", "closed", "too-large", "unavailable", "other"}
	made := &Error{What: upstream, Code: codes[min(int(u8(8)), len(codes)-1)]}
	switch made.Code {
	case "too-large":
		made.Detail = strconv.FormatUint(u64(16), 10)
	case "timeout", "unavailable":
	default:
		made.Detail = text(16)
	}
	return made
}

// Receive waits until at least minBytes have arrived that were not returned before, and returns all that have.
func (c *Connection) Receive(minBytes uint32) ([]byte, error) {
	if c.ended {
		return nil, &Error{What: c.upstream, Code: "closed", Detail: "it was released or closed before"}
	}
	tcpReceive(c.handle, minBytes, at(0))
	if u8(0) != 0 {
		return nil, notSent(c.upstream)
	}
	defer copied()
	return bytes(8), nil
}

// Release says that the answer is complete, so the connection can be used again.
func (c *Connection) Release() {
	if !c.ended {
		c.end()
		tcpRelease(c.handle)
	}
}

// Close closes the connection. It does nothing after Release.
func (c *Connection) Close() {
	if !c.ended {
		c.end()
		tcpDrop(c.handle)
	}
}

func (c *Connection) end() {
	c.ended = true
	delete(connections, c)
}
