//go:build wasip1

package gateway

import (
	"fmt"
	"runtime"
	"unsafe"
)

//go:wasmimport gateway:plugin/bodies@0.2.0 replace-request
func bodiesReplaceRequest(request int32, body unsafe.Pointer, length uint32, trailers unsafe.Pointer, count uint32, ret unsafe.Pointer)

//go:wasmimport gateway:plugin/bodies@0.2.0 replace-response
func bodiesReplaceResponse(response int32, body unsafe.Pointer, length uint32, trailers unsafe.Pointer, count uint32, ret unsafe.Pointer)

// Body is a whole body with its trailers.
type Body struct {
	Bytes    []byte
	Trailers [][2]string
}

// Text is the body as a string. It has the same bytes, also where they are not UTF-8.
func (b Body) Text() string { return string(b.Bytes) }

// SetBody replaces the request's body: `imports: [bodies]` in plugin.yaml. In the request phase.
func (r Request) SetBody(body []byte, trailers ...[2]string) error {
	trailers = validFields(trailers)
	list := lower(trailers)
	bodiesReplaceRequest(r.handle, unsafe.Pointer(unsafe.SliceData(body)), uint32(len(body)), unsafe.Pointer(unsafe.SliceData(list)), uint32(len(list)), at(0))
	return replaced(trailers)
}

// SetBody replaces the response's body: `imports: [bodies]` in plugin.yaml. In the response phase.
func (r Response) SetBody(body []byte, trailers ...[2]string) error {
	trailers = validFields(trailers)
	list := lower(trailers)
	bodiesReplaceResponse(r.handle, unsafe.Pointer(unsafe.SliceData(body)), uint32(len(body)), unsafe.Pointer(unsafe.SliceData(list)), uint32(len(list)), at(0))
	return replaced(trailers)
}

// The trailers have to be alive until the call has returned.
func replaced(trailers [][2]string) error {
	defer runtime.KeepAlive(trailers)
	defer copied()
	if u8(0) == 0 {
		return nil
	}
	detail := ""
	if tag := u8(8); tag == 1 || tag == 2 || tag == 4 {
		detail = text(16)
	}
	return bodyError(u8(8), u64(16), detail)
}

// Why a body could not be read or replaced: its case, the limit in bytes, and the text.
func bodyError(tag uint8, limit uint64, detail string) *Error {
	switch tag {
	case 0:
		return &Error{What: "body", Code: "too-large", Detail: fmt.Sprintf("larger than %d bytes", limit)}
	case 1:
		return &Error{What: "body", Code: "interrupted", Detail: detail}
	case 2:
		return &Error{What: "body", Code: "invalid", Detail: detail}
	case 3:
		return &Error{What: "body", Code: "unavailable"}
	}
	return &Error{What: "body", Code: "other", Detail: detail}
}

// A body as the gateway passes it: `result<body, body-error>`, flattened.
func givenBody(isError, first uint32, second uint64, third, fourth uint32) (Body, *Error) {
	defer copied()
	if isError == 0 {
		bytes, trailers := span{first, uint32(second)}, span{third, fourth}
		return Body{append([]byte{}, view(unsafe.Pointer(&bytes))...), pairs(unsafe.Pointer(&trailers))}, nil
	}
	detail := ""
	if tag := first; tag == 1 || tag == 2 || tag == 4 {
		said := span{uint32(second), third}
		detail = string(view(unsafe.Pointer(&said)))
	}
	return Body{}, bodyError(uint8(first), second, detail)
}

// Chunk is a part of a body that passes through the plugin.
type Chunk struct {
	// The state that StreamBody or the previous result gave.
	State []byte
	// The bytes that were not consumed before, and those that have arrived since.
	Bytes []byte
	// End is true with the last chunk, which has the body's trailers.
	End      bool
	Trailers [][2]string
}

// ChunkResult is what the plugin has done with a chunk.
type ChunkResult struct {
	// How many of the chunk's bytes are done with. With the last chunk it has to be all of them.
	Consumed int
	// What is sent on in their place.
	Output []byte
	// The next call is made when at least this many bytes are there, or at the end of the body.
	MinBytes int
	// The new state, up to 64 KiB; nil keeps the present one.
	State []byte
	// With the last chunk: the trailers to send.
	Trailers [][2]string
}

func givenChunk(state, stateLength, bytes, bytesLength, end, trailers, trailerCount uint32) Chunk {
	defer copied()
	first, second, third := span{state, stateLength}, span{bytes, bytesLength}, span{trailers, trailerCount}
	chunk := Chunk{
		State: append([]byte{}, view(unsafe.Pointer(&first))...),
		Bytes: append([]byte{}, view(unsafe.Pointer(&second))...),
		End:   end != 0,
	}
	if chunk.End {
		chunk.Trailers = pairs(unsafe.Pointer(&third))
	}
	return chunk
}

// What the last chunk result points to, until the gateway has read it.
var passed ChunkResult

func chunkDone(result ChunkResult, err error) unsafe.Pointer {
	if err != nil {
		return failed(err)
	}
	passed = result
	passed.Trailers = validFields(result.Trailers)
	lines = lower(passed.Trailers)
	store32(0, 0)
	store32(4, uint32(result.Consumed))
	storeSpan(8, spanOfBytes(passed.Output))
	store32(16, uint32(result.MinBytes))
	store32(20, flag(result.State != nil))
	storeSpan(24, spanOfBytes(passed.State))
	storeSpan(32, spanOfPairs(lines))
	return ended()
}
