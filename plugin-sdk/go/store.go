//go:build wasip1

package gateway

import "unsafe"

//go:wasmimport gateway:plugin/store@0.2.0 get
func storeGet(bucket, key string, ret unsafe.Pointer)

//go:wasmimport gateway:plugin/store@0.2.0 set
func storeSet(bucket, key string, value unsafe.Pointer, length uint32, hasTTL uint32, ttl uint64, ret unsafe.Pointer)

//go:wasmimport gateway:plugin/store@0.2.0 delete
func storeDelete(bucket, key string, ret unsafe.Pointer)

//go:wasmimport gateway:plugin/store@0.2.0 increment
func storeIncrement(bucket, key string, by int64, hasTTL uint32, ttl uint64, ret unsafe.Pointer)

//go:wasmimport gateway:plugin/store@0.2.0 take
func storeTake(bucket, key string, limit uint32, period uint64, burst uint32, cost uint32, ret unsafe.Pointer)

//go:wasmimport gateway:plugin/store@0.2.0 compare-and-swap
func storeSwap(bucket, key string, hasExpected uint32, expected unsafe.Pointer, expectedLength uint32, hasValue uint32, value unsafe.Pointer, valueLength uint32, hasTTL uint32, ttl uint64, ret unsafe.Pointer)

//go:wasmimport gateway:plugin/store@0.2.0 set-ttl
func storeSetTTL(bucket, key string, hasTTL uint32, ttl uint64, ret unsafe.Pointer)

// Bucket is state that all instances share, granted by name: `imports: [store]` in plugin.yaml.
// A time to live of 0 is none.
type Bucket string

func (b Bucket) refused(offset uintptr) error {
	defer copied()
	return storeError(string(b), at(offset))
}

func storeError(bucket string, from unsafe.Pointer) error {
	return variantAt(bucket, from, "denied", "too-large", "unavailable", "other")
}

// An error of the interface: its cases in order, and a text where there is one.
func variant(what string, offset uintptr, codes ...string) error {
	defer copied()
	return variantAt(what, at(offset), codes...)
}

func variantAt(what string, from unsafe.Pointer, codes ...string) error {
	code := int(*(*uint8)(from))
	made := &Error{What: what, Code: codes[min(code, len(codes)-1)]}
	switch made.Code {
	case "denied", "unavailable", "invalid", "unreachable", "malformed-hash", "other":
		made.Detail = string(view(unsafe.Add(from, 4)))
	}
	return made
}

// Get returns nil if there is nothing.
func (b Bucket) Get(key string) ([]byte, error) {
	storeGet(valid(string(b)), valid(key), at(0))
	if u8(0) != 0 {
		return nil, b.refused(4)
	}
	defer copied()
	if u8(4) == 0 {
		return nil, nil
	}
	return bytes(8), nil
}

func (b Bucket) Set(key string, value []byte, ttlMs uint64) error {
	storeSet(valid(string(b)), valid(key), unsafe.Pointer(unsafe.SliceData(value)), uint32(len(value)), flag(ttlMs != 0), ttlMs, at(0))
	if u8(0) != 0 {
		return b.refused(4)
	}
	return nil
}

func (b Bucket) Delete(key string) error {
	storeDelete(valid(string(b)), valid(key), at(0))
	if u8(0) != 0 {
		return b.refused(4)
	}
	return nil
}

// Increment adds to a decimal number, from 0 where there is none, and returns the sum.
func (b Bucket) Increment(key string, by int64, ttlMs uint64) (int64, error) {
	storeIncrement(valid(string(b)), valid(key), by, flag(ttlMs != 0), ttlMs, at(0))
	if u8(0) != 0 {
		return 0, b.refused(8)
	}
	return int64(u64(8)), nil
}

// Swap is what CompareAndSwap did.
type Swap struct {
	// Swapped means that the key had the expected value, and has the new one.
	Swapped bool
	// Present is the value if nothing was changed; nil if there is none.
	Present []byte
}

// CompareAndSwap sets the value in one atomic step if the present value is the expected one. With nil for it there must be no value;
// with nil for the new value it is deleted. If it fails with `unavailable`, the step may have been made.
func (b Bucket) CompareAndSwap(key string, expected, value []byte, ttlMs uint64) (Swap, error) {
	storeSwap(valid(string(b)), valid(key),
		flag(expected != nil), unsafe.Pointer(unsafe.SliceData(expected)), uint32(len(expected)),
		flag(value != nil), unsafe.Pointer(unsafe.SliceData(value)), uint32(len(value)),
		flag(ttlMs != 0), ttlMs, at(0))
	if u8(0) != 0 {
		return Swap{}, b.refused(4)
	}
	defer copied()
	return swapAt(at(4)), nil
}

func swapAt(from unsafe.Pointer) Swap {
	if *(*uint8)(from) == 0 {
		return Swap{Swapped: true}
	}
	if *(*uint8)(unsafe.Add(from, 4)) == 0 {
		return Swap{}
	}
	return Swap{Present: append([]byte{}, view(unsafe.Add(from, 8))...)}
}

// SetTTL gives a value another time to live, counted from now. It returns whether there is a value.
func (b Bucket) SetTTL(key string, ttlMs uint64) (bool, error) {
	storeSetTTL(valid(string(b)), valid(key), flag(ttlMs != 0), ttlMs, at(0))
	if u8(0) != 0 {
		return false, b.refused(4)
	}
	return u8(4) != 0, nil
}

// Quota is Limit units each PeriodMs, and up to Burst of them at once.
type Quota struct {
	Limit    uint32
	PeriodMs uint64
	Burst    uint32
}

// Verdict is the result of a step.
type Verdict struct {
	Allowed bool
	// Remaining units are available at once, after this step.
	Remaining uint32
	// ResetAfterMs is the time until the whole burst is available.
	ResetAfterMs uint64
	// RetryAfterMs is the time until this step would be allowed: 0 if it was, 2^64-1 if it costs more than the burst.
	RetryAfterMs uint64
}

// Take is one atomic step of the generic cell rate algorithm.
func (b Bucket) Take(key string, quota Quota, cost uint32) (Verdict, error) {
	storeTake(valid(string(b)), valid(key), quota.Limit, quota.PeriodMs, quota.Burst, cost, at(0))
	if u8(0) != 0 {
		return Verdict{}, b.refused(8)
	}
	return verdictAt(at(8)), nil
}

func verdictAt(from unsafe.Pointer) Verdict {
	number := func(offset uintptr) uint64 { return *(*uint64)(unsafe.Add(from, offset)) }
	return Verdict{*(*uint8)(from) != 0, *(*uint32)(unsafe.Add(from, 4)), number(8), number(16)}
}

func flag(is bool) uint32 {
	if is {
		return 1
	}
	return 0
}
