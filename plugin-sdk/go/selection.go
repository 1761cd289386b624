//go:build wasip1

package gateway

import (
	"runtime"
	"unsafe"
)

//go:wasmimport gateway:plugin/http@0.2.0 [constructor]selection
func newSelection(items unsafe.Pointer, count uint32) int32

//go:wasmimport gateway:plugin/http@0.2.0 [method]selection.read
func selectionRead(self, request int32, hasResponse uint32, response int32, ret unsafe.Pointer)

// Item is one value of an exchange, for a Selection.
type Item struct {
	kind uint32
	name string
}

// Items without a name, as the methods of Request. ItemResponseStatus has three digits, and is missing if there is no response.
var (
	ItemRequestID      = Item{kind: 0}
	ItemMethod         = Item{kind: 1}
	ItemScheme         = Item{kind: 2}
	ItemAuthority      = Item{kind: 3}
	ItemPath           = Item{kind: 4}
	ItemQuery          = Item{kind: 5}
	ItemOriginalTarget = Item{kind: 6}
	ItemProtocol       = Item{kind: 7}
	ItemClientAddress  = Item{kind: 8}
	ItemRoute          = Item{kind: 9}
	ItemResponseStatus = Item{kind: 14}
)

// ItemHeader is the first value of a request header.
func ItemHeader(name string) Item { return Item{10, name} }

// ItemResponseHeader is the first value of a response header, and is missing if there is no response.
func ItemResponseHeader(name string) Item { return Item{11, name} }

// ItemAttribute is an attribute.
func ItemAttribute(key string) Item { return Item{12, key} }

// ItemPathParameter is what the route's path pattern captured.
func ItemPathParameter(name string) Item { return Item{13, name} }

// Selection is a list of items that are read together: one call into the gateway in place of one for each.
type Selection struct{ handle int32 }

type rawItem struct {
	kind uint32
	name span
}

// NewSelection makes a selection of up to 256 items, whose names have up to 16 KiB together; more is a trap. Create it once, such as
// where the plugin is registered, and keep it: a plugin may have 64 of them.
func NewSelection(items ...Item) Selection {
	list, names := make([]rawItem, len(items)), make([]string, len(items))
	for i, item := range items {
		names[i] = valid(item.name)
		list[i] = rawItem{item.kind, spanOf(names[i])}
	}
	handle := newSelection(unsafe.Pointer(unsafe.SliceData(list)), uint32(len(list)))
	runtime.KeepAlive(names)
	return Selection{handle}
}

// Read returns the values of the items. The response is nil in the request phase.
func (s Selection) Read(request Request, response *Response) Values {
	handle := int32(0)
	if response != nil {
		handle = response.handle
	}
	selectionRead(s.handle, request.handle, flag(response != nil), handle, at(0))
	defer copied()
	all := text(0)
	pointer, count := u32(8), u32(12)
	values := make(Values, count)
	for i := range values {
		length := (*rawLength)(unsafe.Pointer(uintptr(pointer) + uintptr(i)*unsafe.Sizeof(rawLength{})))
		if length.has&0xff != 0 {
			values[i] = value{all[:length.length], true}
			all = all[length.length:]
		}
	}
	return values
}

type value struct {
	text string
	is   bool
}

// Values are those of a Selection, in the order of its items.
type Values []value

// At is the value of an item, by its place in the selection, and whether there is one.
func (v Values) At(place int) (string, bool) { return v[place].text, v[place].is }
