//go:build wasip1

package gateway

import (
	"runtime"
	"unsafe"
)

//go:wasmimport gateway:plugin/http@0.2.0 [constructor]edits
func newEdits(edits unsafe.Pointer, count uint32) int32

//go:wasmimport gateway:plugin/http@0.2.0 [method]edits.apply
func editsApply(self, request int32, hasResponse uint32, response int32, bytes unsafe.Pointer, length uint32, lengths unsafe.Pointer, count uint32, ret unsafe.Pointer)

// Deed is what an Edit does.
type Deed uint32

const (
	// SetHeader replaces every value, and removes the header where the value is missing.
	SetHeader Deed = iota
	AppendHeader
	RemoveHeader
	// SetResponseHeader replaces every value, and removes the header where the value is missing.
	SetResponseHeader
	AppendResponseHeader
	RemoveResponseHeader
	// DefaultResponseHeader sets the header where the response has none of that name.
	DefaultResponseHeader
	// JoinResponseHeader adds a member to a list of tokens, such as that of vary, unless it is there, or * is.
	JoinResponseHeader
	SetAttribute
	RemoveAttribute
)

// Edit is one change.
type Edit struct {
	Deed  Deed
	Name  string
	Value string
	// The value comes with each Apply.
	Given bool
}

// Edits are changes that are made in one call instead of one for each. They are made known once, such as where the plugin is
// registered, and kept: up to 256 in a list, and 16 lists.
//
// In the request phase, headers of the response are changed later: when the response passes the plugin on its way back. A plugin
// that knows by the request alone what is to become of them needs no response phase, which would be one more call.
type Edits struct {
	handle int32
	names  []string
}

// As the gateway reads it.
type rawEdit struct {
	deed     Deed
	name     span
	hasValue uint32
	value    span
}

type rawLength struct{ has, length uint32 }

// Missing stands for a value that is not there.
const Missing = "\x00"

func NewEdits(edits ...Edit) Edits {
	list, names := make([]rawEdit, len(edits)), make([]string, len(edits))
	for i, edit := range edits {
		names[i] = valid(edit.Name)
		list[i] = rawEdit{edit.Deed, spanOf(names[i]), flag(!edit.Given), spanOf(edit.Value)}
	}
	handle := newEdits(unsafe.Pointer(unsafe.SliceData(list)), uint32(len(list)))
	runtime.KeepAlive(edits)
	runtime.KeepAlive(names)
	return Edits{handle, names}
}

// Apply applies them in their order, with the values that are given. The response is present in the response phase. An error is
// that of the first edit that was refused; the others are applied.
func (e Edits) Apply(request Request, response *Response, values ...string) error {
	lengths := make([]rawLength, len(values))
	var bytes []byte
	for i, value := range values {
		if value != Missing {
			bytes = append(bytes, value...)
			lengths[i] = rawLength{1, uint32(len(value))}
		}
	}
	handle := int32(0)
	if response != nil {
		handle = response.handle
	}
	editsApply(e.handle, request.handle, flag(response != nil), handle, unsafe.Pointer(unsafe.SliceData(bytes)), uint32(len(bytes)),
		unsafe.Pointer(unsafe.SliceData(lengths)), uint32(len(lengths)), at(0))
	if u8(0) == 0 {
		return nil
	}
	defer copied()
	codes := [...]string{"invalid-syntax", "forbidden", "too-large"}
	what := ""
	if index := int(u32(4)); index < len(e.names) {
		what = e.names[index]
	}
	return &Error{What: what, Code: codes[min(int(u8(8)), len(codes)-1)]}
}
