//go:build wasip1

package gateway

import (
	"encoding/json"
	"fmt"
	"unsafe"
)

//go:wasmimport gateway:plugin/http@0.2.0 [method]request.id
func requestID(self int32, ret unsafe.Pointer)

//go:wasmimport gateway:plugin/http@0.2.0 [method]request.method
func requestMethod(self int32, ret unsafe.Pointer)

//go:wasmimport gateway:plugin/http@0.2.0 [method]request.scheme
func requestScheme(self int32, ret unsafe.Pointer)

//go:wasmimport gateway:plugin/http@0.2.0 [method]request.authority
func requestAuthority(self int32, ret unsafe.Pointer)

//go:wasmimport gateway:plugin/http@0.2.0 [method]request.path
func requestPath(self int32, ret unsafe.Pointer)

//go:wasmimport gateway:plugin/http@0.2.0 [method]request.query
func requestQuery(self int32, ret unsafe.Pointer)

//go:wasmimport gateway:plugin/http@0.2.0 [method]request.original-target
func requestOriginalTarget(self int32, ret unsafe.Pointer)

//go:wasmimport gateway:plugin/http@0.2.0 [method]request.protocol
func requestProtocol(self int32, ret unsafe.Pointer)

//go:wasmimport gateway:plugin/http@0.2.0 [method]request.client-address
func requestClientAddress(self int32, ret unsafe.Pointer)

//go:wasmimport gateway:plugin/http@0.2.0 [method]request.received-at
func requestReceivedAt(self int32) uint64

//go:wasmimport gateway:plugin/http@0.2.0 [method]request.route
func requestRoute(self int32, ret unsafe.Pointer)

//go:wasmimport gateway:plugin/http@0.2.0 [method]request.path-parameter
func requestPathParameter(self int32, name string, ret unsafe.Pointer)

//go:wasmimport gateway:plugin/http@0.2.0 [method]request.header
func requestHeader(self int32, name string, ret unsafe.Pointer)

//go:wasmimport gateway:plugin/http@0.2.0 [method]request.header-values
func requestHeaderValues(self int32, name string, ret unsafe.Pointer)

//go:wasmimport gateway:plugin/http@0.2.0 [method]request.headers
func requestHeaders(self int32, ret unsafe.Pointer)

//go:wasmimport gateway:plugin/http@0.2.0 [method]request.set-method
func requestSetMethod(self int32, method string, ret unsafe.Pointer)

//go:wasmimport gateway:plugin/http@0.2.0 [method]request.set-path-with-query
func requestSetTarget(self int32, target string, ret unsafe.Pointer)

//go:wasmimport gateway:plugin/http@0.2.0 [method]request.set-header
func requestSetHeader(self int32, name string, value string, ret unsafe.Pointer)

//go:wasmimport gateway:plugin/http@0.2.0 [method]request.append-header
func requestAppendHeader(self int32, name string, value string, ret unsafe.Pointer)

//go:wasmimport gateway:plugin/http@0.2.0 [method]request.remove-header
func requestRemoveHeader(self int32, name string, ret unsafe.Pointer)

//go:wasmimport gateway:plugin/http@0.2.0 [method]request.attribute
func requestAttribute(self int32, key string, ret unsafe.Pointer)

//go:wasmimport gateway:plugin/http@0.2.0 [method]request.set-attribute
func requestSetAttribute(self int32, key string, value string, ret unsafe.Pointer)

//go:wasmimport gateway:plugin/http@0.2.0 [method]request.remove-attribute
func requestRemoveAttribute(self int32, key string, ret unsafe.Pointer)

//go:wasmimport gateway:plugin/http@0.2.0 [method]request.trace-parent
func requestTraceParent(self int32, ret unsafe.Pointer)

//go:wasmimport gateway:plugin/http@0.2.0 [resource-drop]request
func requestDrop(self int32)

//go:wasmimport gateway:plugin/http@0.2.0 [method]response.status
func responseStatus(self int32) uint32

//go:wasmimport gateway:plugin/http@0.2.0 [method]response.set-status
func responseSetStatus(self int32, status uint32, ret unsafe.Pointer)

//go:wasmimport gateway:plugin/http@0.2.0 [method]response.header
func responseHeader(self int32, name string, ret unsafe.Pointer)

//go:wasmimport gateway:plugin/http@0.2.0 [method]response.header-values
func responseHeaderValues(self int32, name string, ret unsafe.Pointer)

//go:wasmimport gateway:plugin/http@0.2.0 [method]response.headers
func responseHeaders(self int32, ret unsafe.Pointer)

//go:wasmimport gateway:plugin/http@0.2.0 [method]response.set-header
func responseSetHeader(self int32, name string, value string, ret unsafe.Pointer)

//go:wasmimport gateway:plugin/http@0.2.0 [method]response.append-header
func responseAppendHeader(self int32, name string, value string, ret unsafe.Pointer)

//go:wasmimport gateway:plugin/http@0.2.0 [method]response.remove-header
func responseRemoveHeader(self int32, name string, ret unsafe.Pointer)

//go:wasmimport gateway:plugin/http@0.2.0 [resource-drop]response
func responseDrop(self int32)

// Error is what the gateway refused.
type Error struct {
	// What was asked for, such as the name of a field or a bucket.
	What string
	// Why, in the interface's words: "forbidden", "denied", "too-large", …
	Code string
	// More about it; often empty.
	Detail string
}

func (e *Error) Error() string {
	if e.Detail == "" {
		return e.What + ": " + e.Code
	}
	return e.What + ": " + e.Code + ": " + e.Detail
}

func edited(what string) error {
	defer copied()
	if u8(0) == 0 {
		return nil
	}
	codes := [...]string{"invalid-syntax", "forbidden", "too-large"}
	return &Error{What: what, Code: codes[min(int(u8(1)), len(codes)-1)]}
}

func optional() (string, bool) {
	defer copied()
	if u8(0) == 0 {
		return "", false
	}
	return text(4), true
}

func one() string {
	defer copied()
	return text(0)
}

func values() []string {
	defer copied()
	pointer, length := u32(0), u32(4)
	list := make([]string, length)
	for i := range list {
		list[i] = string(view(unsafe.Pointer(uintptr(pointer) + uintptr(i)*8)))
	}
	return list
}

func all() [][2]string {
	defer copied()
	return pairs(at(0))
}

// Request is a request, lent for one phase.
type Request struct{ handle int32 }

// ID is the exchange's, as in the gateway's logs and in x-request-id.
func (r Request) ID() string { requestID(r.handle, at(0)); return one() }

func (r Request) Method() string { requestMethod(r.handle, at(0)); return one() }

// Scheme is http or https, as the client used it.
func (r Request) Scheme() string { requestScheme(r.handle, at(0)); return one() }

// Authority is the host and optional port that the client asked for.
func (r Request) Authority() string { requestAuthority(r.handle, at(0)); return one() }

// Path is normalised, and without the query.
func (r Request) Path() string { requestPath(r.handle, at(0)); return one() }

// Query is what follows the question mark, if there is one.
func (r Request) Query() (string, bool) { requestQuery(r.handle, at(0)); return optional() }

// OriginalTarget is path and query before any plugin's edit.
func (r Request) OriginalTarget() string { requestOriginalTarget(r.handle, at(0)); return one() }

func (r Request) Protocol() string { requestProtocol(r.handle, at(0)); return one() }

// ClientAddress is an IP address without port.
func (r Request) ClientAddress() string { requestClientAddress(r.handle, at(0)); return one() }

// ReceivedAt is in milliseconds since the Unix epoch.
func (r Request) ReceivedAt() uint64 { return requestReceivedAt(r.handle) }

// Route is the name of the route that matched; empty where none did.
func (r Request) Route() string { requestRoute(r.handle, at(0)); return one() }

// PathParameter is what the route's path pattern captured.
func (r Request) PathParameter(name string) (string, bool) {
	requestPathParameter(r.handle, valid(name), at(0))
	return optional()
}

// Header is the first value.
func (r Request) Header(name string) (string, bool) {
	requestHeader(r.handle, valid(name), at(0))
	return optional()
}

func (r Request) HeaderValues(name string) []string {
	requestHeaderValues(r.handle, valid(name), at(0))
	return values()
}

// Headers are all of them, names and values, in their order.
func (r Request) Headers() [][2]string { requestHeaders(r.handle, at(0)); return all() }

func (r Request) SetMethod(method string) error {
	requestSetMethod(r.handle, valid(method), at(0))
	return edited("method")
}

// SetTarget sets path and query.
func (r Request) SetTarget(target string) error {
	requestSetTarget(r.handle, valid(target), at(0))
	return edited("target")
}

// SetHeader replaces every value of the name.
func (r Request) SetHeader(name, value string) error {
	requestSetHeader(r.handle, valid(name), value, at(0))
	return edited(name)
}

func (r Request) AppendHeader(name, value string) error {
	requestAppendHeader(r.handle, valid(name), value, at(0))
	return edited(name)
}

func (r Request) RemoveHeader(name string) error {
	requestRemoveHeader(r.handle, valid(name), at(0))
	return edited(name)
}

// Attribute is a note that lives as long as the exchange.
func (r Request) Attribute(key string) (string, bool) {
	requestAttribute(r.handle, valid(key), at(0))
	return optional()
}

// SetAttribute makes a note that later plugins, load balancing and the access log can read.
func (r Request) SetAttribute(key, value string) error {
	requestSetAttribute(r.handle, valid(key), valid(value), at(0))
	return edited(key)
}

// RemoveAttribute removes an attribute; it is no error if there is none.
func (r Request) RemoveAttribute(key string) error {
	requestRemoveAttribute(r.handle, valid(key), at(0))
	return edited(key)
}

// TraceParent is the trace that the request belongs to, as a value of traceparent (W3C Trace Context §3.2). The upstream gets the
// same trace identifier.
func (r Request) TraceParent() (string, bool) {
	requestTraceParent(r.handle, at(0))
	return optional()
}

// Response is a response, lent for one phase.
type Response struct{ handle int32 }

func (r Response) Status() int { return int(responseStatus(r.handle)) }

// SetStatus takes 200 to 599.
func (r Response) SetStatus(status int) error {
	responseSetStatus(r.handle, uint32(status), at(0))
	return edited("status")
}

// Header is the first value.
func (r Response) Header(name string) (string, bool) {
	responseHeader(r.handle, valid(name), at(0))
	return optional()
}

func (r Response) HeaderValues(name string) []string {
	responseHeaderValues(r.handle, valid(name), at(0))
	return values()
}

func (r Response) Headers() [][2]string { responseHeaders(r.handle, at(0)); return all() }

// SetHeader replaces every value of the name.
func (r Response) SetHeader(name, value string) error {
	responseSetHeader(r.handle, valid(name), value, at(0))
	return edited(name)
}

func (r Response) AppendHeader(name, value string) error {
	responseAppendHeader(r.handle, valid(name), value, at(0))
	return edited(name)
}

func (r Response) RemoveHeader(name string) error {
	responseRemoveHeader(r.handle, valid(name), at(0))
	return edited(name)
}

// Reply is an answer to the client.
type Reply struct {
	Status  int
	Headers [][2]string
	Body    []byte
}

// JSON is an answer with a value as JSON.
func JSON(status int, value any) (*Reply, error) {
	body, err := json.Marshal(value)
	return &Reply{status, [][2]string{{"content-type", "application/json"}}, body}, err
}

// Problem is an answer in problem+json (RFC 9457).
func Problem(status int, detail string) *Reply {
	quoted, _ := json.Marshal(detail)
	body := fmt.Sprintf(`{"status":%d,"detail":%s}`, status, quoted)
	return &Reply{status, [][2]string{{"content-type", "application/problem+json"}}, []byte(body)}
}
