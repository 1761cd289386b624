//go:build wasip1

package gateway

import (
	"runtime"
	"unsafe"
)

//go:wasmimport gateway:plugin/http-client@0.2.0 send
func clientSend(upstream, method, target string, headers unsafe.Pointer, count uint32, body unsafe.Pointer, length uint32, timeout uint32, ret unsafe.Pointer)

//go:wasmimport gateway:plugin/http-client@0.2.0 start
func clientStart(upstream, method, target string, headers unsafe.Pointer, count uint32, body unsafe.Pointer, length uint32, timeout uint32, ret unsafe.Pointer)

//go:wasmimport gateway:plugin/http-client@0.2.0 [method]pending-call.wait
func pendingWait(self int32, ret unsafe.Pointer)

//go:wasmimport gateway:plugin/http-client@0.2.0 [resource-drop]pending-call
func pendingDrop(self int32)

// Call is a request to an upstream that is granted by name: `imports: [http-client]`.
type Call struct {
	// Upstream is a name in the gateway's configuration, and Target is path and query.
	Upstream, Method, Target string
	Headers                  [][2]string
	Body                     []byte
	// TimeoutMs is for the whole response. 0 is the gateway's own limit, one minute.
	TimeoutMs uint32
}

// Send makes a call and waits for the whole response, whatever its status. The Code of an error is "denied", "invalid", "timeout",
// "unreachable", "too-large" or "other".
func Send(call Call) (*Reply, error) {
	call.Headers = validFields(call.Headers)
	list := lower(call.Headers)
	clientSend(valid(call.Upstream), valid(call.Method), valid(call.Target), unsafe.Pointer(unsafe.SliceData(list)), uint32(len(list)),
		unsafe.Pointer(unsafe.SliceData(call.Body)), uint32(len(call.Body)), call.TimeoutMs, at(0))
	runtime.KeepAlive(call)
	return responded(call.Upstream)
}

func responded(upstream string) (*Reply, error) {
	if u8(0) != 0 {
		return nil, notCalled(upstream)
	}
	defer copied()
	status := *(*uint16)(at(4))
	return &Reply{int(status), pairs(at(8)), bytes(16)}, nil
}

func notCalled(upstream string) error {
	return variant(upstream, 4, "denied", "invalid", "timeout", "unreachable", "too-large", "other")
}

// PendingCall is a call in progress. It ends with the phase that started it, at the latest.
type PendingCall struct {
	handle   int32
	upstream string
	ended    bool
}

// The calls that were neither waited for nor cancelled; nil before the first one.
var pendingCalls map[*PendingCall]struct{}

// Start sends a request without waiting for the response, so that several calls can be in progress at a time, up to 16:
//
//	profile, err := gateway.Start(gateway.Call{Upstream: "profiles", Method: "GET", Target: "/anna"})
//	…
//	orders, err := gateway.Start(gateway.Call{Upstream: "orders", Method: "GET", Target: "/?user=anna"})
//	…
//	reply, err := profile.Wait()
//
// Errors are those of Send.
func Start(call Call) (*PendingCall, error) {
	call.Headers = validFields(call.Headers)
	list := lower(call.Headers)
	clientStart(valid(call.Upstream), valid(call.Method), valid(call.Target), unsafe.Pointer(unsafe.SliceData(list)), uint32(len(list)),
		unsafe.Pointer(unsafe.SliceData(call.Body)), uint32(len(call.Body)), call.TimeoutMs, at(0))
	runtime.KeepAlive(call)
	if u8(0) != 0 {
		return nil, notCalled(call.Upstream)
	}
	pending := &PendingCall{handle: int32(u32(4)), upstream: call.Upstream}
	copied()
	if pendingCalls == nil {
		pendingCalls = map[*PendingCall]struct{}{}
		atEnd = append(atEnd, func() {
			for pending := range pendingCalls {
				pending.Cancel()
			}
		})
	}
	pendingCalls[pending] = struct{}{}
	return pending, nil
}

// Wait waits for the whole response, which is returned once.
func (p *PendingCall) Wait() (*Reply, error) {
	if p.ended {
		return nil, &Error{What: p.upstream, Code: "other", Detail: "the response was returned before, or the call was cancelled"}
	}
	pendingWait(p.handle, at(0))
	reply, err := responded(p.upstream)
	p.Cancel()
	return reply, err
}

// Cancel ends the call. It does nothing if the response was returned.
func (p *PendingCall) Cancel() {
	if p.ended {
		return
	}
	p.ended = true
	delete(pendingCalls, p)
	pendingDrop(p.handle)
}
