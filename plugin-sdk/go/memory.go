//go:build wasip1

package gateway

import (
	"math/bits"
	"unsafe"
)

// What the gateway hands over lies in memory that it asks for, and is copied at once. None of it is Go's own: while the gateway
// waits for memory, nobody may call it (component model, "cannot leave component instance"), and the collector, which runs when
// something is allocated, asks it for the time. So this is a piece that is used again and again, and blocks for what does not fit.
const pieceBytes = 64 * 1024

var (
	piece [pieceBytes / 8]uint64
	used  uintptr
	// Blocks of 2^n bytes: those that are lent until what is in them was copied, and those that are free, by n.
	lent *block
	idle [32]*block
	// Before the first call, memory is for good: it is the WASI adapter's own.
	begun bool
)

// The head of a block; what it gives away comes after it.
type block struct {
	next  *block
	class uintptr
}

const headBytes = unsafe.Sizeof(block{})

//go:linkname sbrk runtime.sbrk
func sbrk(bytes uintptr) unsafe.Pointer

//go:wasmexport cabi_realloc
func realloc(old unsafe.Pointer, oldSize, align, size uintptr) unsafe.Pointer {
	words := (size + 7) / 8
	var made unsafe.Pointer
	switch {
	case !begun:
		made = sbrk(words*8 + 8)
	case used+words < uintptr(len(piece)):
		made = unsafe.Pointer(&piece[used])
		used += words
	default:
		made = lend(size)
	}
	if made == nil {
		panic("there is no memory for what the gateway hands over")
	}
	if oldSize > 0 {
		copy(unsafe.Slice((*byte)(made), size), unsafe.Slice((*byte)(old), oldSize))
	}
	return made
}

func lend(size uintptr) unsafe.Pointer {
	class := bits.Len(uint(size + headBytes - 1))
	if class >= len(idle) {
		return nil
	}
	taken := idle[class]
	if taken != nil {
		idle[class] = taken.next
	} else if taken = (*block)(sbrk(1 << class)); taken == nil {
		return nil
	}
	*taken = block{lent, uintptr(class)}
	lent = taken
	return unsafe.Add(unsafe.Pointer(taken), headBytes)
}

// Whatever was handed over has been copied.
func copied() {
	used = 0
	for lent != nil {
		back := lent
		lent = back.next
		back.next = idle[back.class]
		idle[back.class] = back
	}
}

// Where the gateway writes results that are more than a number, and reads those of a phase.
var result [16]uint64

func at(offset uintptr) unsafe.Pointer {
	return unsafe.Add(unsafe.Pointer(&result), offset)
}

func u8(offset uintptr) uint8   { return *(*uint8)(at(offset)) }
func u32(offset uintptr) uint32 { return *(*uint32)(at(offset)) }
func u64(offset uintptr) uint64 { return *(*uint64)(at(offset)) }

func view(from unsafe.Pointer) []byte {
	pointer, length := *(*uint32)(from), *(*uint32)(unsafe.Add(from, 4))
	if length == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(uintptr(pointer))), length)
}

// A text or a list of bytes at an offset of the result, copied. The gateway's memory is free after it.
func text(offset uintptr) string { return string(view(at(offset))) }

func bytes(offset uintptr) []byte { return append([]byte{}, view(at(offset))...) }

// A list of pairs of texts or lists of bytes.
func pairs(from unsafe.Pointer) [][2]string {
	pointer, length := *(*uint32)(from), *(*uint32)(unsafe.Add(from, 4))
	list := make([][2]string, length)
	for i := range list {
		entry := unsafe.Pointer(uintptr(pointer) + uintptr(i)*16)
		list[i] = [2]string{string(view(entry)), string(view(unsafe.Add(entry, 8)))}
	}
	return list
}

// A pair of texts as the gateway reads it.
type pair struct{ name, value span }

// Pointers are of 64 bits here and of 32 for the gateway. The caller keeps what a span points to alive.
type span struct{ pointer, length uint32 }

// The compiler does not see a pointer in a span, so it could put a short text on the goroutine's stack, and the span would point to
// nothing once the stack has grown, which copies it. What is assigned to a global variable is in the heap, which does not move.
var inHeap unsafe.Pointer

func spanAt(pointer unsafe.Pointer, length int) span {
	inHeap = pointer
	return span{uint32(uintptr(pointer)), uint32(length)}
}

func spanOf(text string) span { return spanAt(unsafe.Pointer(unsafe.StringData(text)), len(text)) }

func spanOfBytes(list []byte) span { return spanAt(unsafe.Pointer(unsafe.SliceData(list)), len(list)) }

func spanOfPairs(list []pair) span { return spanAt(unsafe.Pointer(unsafe.SliceData(list)), len(list)) }

func lower(list [][2]string) []pair {
	made := make([]pair, len(list))
	for i, entry := range list {
		made[i] = pair{spanOf(entry[0]), spanOf(entry[1])}
	}
	return made
}
