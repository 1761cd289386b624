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

// Bucket is state that all instances share, granted by name: `imports: [store]` in plugin.yaml.
// A time to live of 0 is none.
type Bucket string

func (b Bucket) refused(offset uintptr) error {
	return variant(string(b), offset, "denied", "too-large", "unavailable", "other")
}

// An error of the interface: its cases in order, and a text where there is one.
func variant(what string, offset uintptr, codes ...string) error {
	defer copied()
	code := int(u8(offset))
	made := &Error{What: what, Code: codes[min(code, len(codes)-1)]}
	switch made.Code {
	case "denied", "unavailable", "invalid", "unreachable", "other":
		made.Detail = text(offset + 4)
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

// Quota is Limit units each PeriodMs, and up to Burst of them at once.
type Quota struct {
	Limit    uint32
	PeriodMs uint64
	Burst    uint32
}

type Verdict struct {
	Allowed                    bool
	Remaining                  uint32
	ResetAfterMs, RetryAfterMs uint64
}

// Take is one atomic step of the generic cell rate algorithm.
func (b Bucket) Take(key string, quota Quota, cost uint32) (Verdict, error) {
	storeTake(valid(string(b)), valid(key), quota.Limit, quota.PeriodMs, quota.Burst, cost, at(0))
	if u8(0) != 0 {
		return Verdict{}, b.refused(8)
	}
	return Verdict{u8(8) != 0, u32(12), u64(16), u64(24)}, nil
}

func flag(is bool) uint32 {
	if is {
		return 1
	}
	return 0
}
