//go:build wasip1

package gateway

import (
	"runtime"
	"unsafe"
)

//go:wasmimport gateway:plugin/store@0.2.0 batch
func storeBatch(bucket string, operations unsafe.Pointer, count uint32, ret unsafe.Pointer)

//go:wasmimport gateway:plugin/store@0.2.0 take-all
func storeTakeAll(bucket, group string, steps unsafe.Pointer, count uint32, scope uint32, ret unsafe.Pointer)

// Operation is one operation of a Batch.
type Operation struct {
	kind  uint32
	key   string
	value []byte
	by    int64
	ttl   uint64
	// The value of compare-and-swap; its expected one is `value`.
	swapped []byte
}

// GetOperation is as Bucket.Get.
func GetOperation(key string) Operation { return Operation{kind: 0, key: key} }

// SetOperation is as Bucket.Set.
func SetOperation(key string, value []byte, ttlMs uint64) Operation {
	return Operation{kind: 1, key: key, value: value, ttl: ttlMs}
}

// DeleteOperation is as Bucket.Delete.
func DeleteOperation(key string) Operation { return Operation{kind: 2, key: key} }

// IncrementOperation is as Bucket.Increment.
func IncrementOperation(key string, by int64, ttlMs uint64) Operation {
	return Operation{kind: 3, key: key, by: by, ttl: ttlMs}
}

// CompareAndSwapOperation is as Bucket.CompareAndSwap.
func CompareAndSwapOperation(key string, expected, value []byte, ttlMs uint64) Operation {
	return Operation{kind: 4, key: key, value: expected, swapped: value, ttl: ttlMs}
}

// SetTTLOperation is as Bucket.SetTTL.
func SetTTLOperation(key string, ttlMs uint64) Operation {
	return Operation{kind: 5, key: key, ttl: ttlMs}
}

// OperationResult is the result of an Operation.
type OperationResult struct {
	// Value is that of GetOperation; nil if there is none.
	Value []byte
	// Sum is that of IncrementOperation.
	Sum int64
	// Swap is that of CompareAndSwapOperation.
	Swap Swap
	// Exists is that of SetTTLOperation: whether there is a value.
	Exists bool
	Err    error
}

// As the gateway reads it: the kind, and from the eighth byte on what belongs to it. An operation takes as much as the largest one,
// compare-and-swap.
type rawOperation [7]uint64

func (raw *rawOperation) put32(offset uintptr, value uint32) {
	*(*uint32)(unsafe.Add(unsafe.Pointer(raw), offset)) = value
}

func (raw *rawOperation) putSpan(offset uintptr, value span) {
	raw.put32(offset, value.pointer)
	raw.put32(offset+4, value.length)
}

func (raw *rawOperation) putOption(offset uintptr, value []byte) {
	raw.put32(offset, flag(value != nil))
	raw.putSpan(offset+4, spanOfBytes(value))
}

// At a multiple of eight bytes.
func (raw *rawOperation) putTTL(offset uintptr, ttl uint64) {
	raw.put32(offset, flag(ttl != 0))
	raw[offset/8+1] = ttl
}

// The key is kept alive by the caller.
func (operation *Operation) lower(key string) (raw rawOperation) {
	raw.put32(0, operation.kind)
	raw.putSpan(8, spanOf(key))
	switch operation.kind {
	case 1:
		raw.putSpan(16, spanOfBytes(operation.value))
		raw.putTTL(24, operation.ttl)
	case 3:
		raw[2] = uint64(operation.by)
		raw.putTTL(24, operation.ttl)
	case 4:
		raw.putOption(16, operation.value)
		raw.putOption(28, operation.swapped)
		raw.putTTL(40, operation.ttl)
	case 5:
		raw.putTTL(16, operation.ttl)
	}
	return raw
}

// Batch executes up to 64 independent operations. They are neither atomic nor ordered, and each has its own result. If the bucket is
// in Redis, all of them are sent before the first result is awaited.
func (b Bucket) Batch(operations ...Operation) ([]OperationResult, error) {
	list, keys := make([]rawOperation, len(operations)), make([]string, len(operations))
	for i, operation := range operations {
		keys[i] = valid(operation.key)
		list[i] = operation.lower(keys[i])
	}
	storeBatch(valid(string(b)), unsafe.Pointer(unsafe.SliceData(list)), uint32(len(list)), at(0))
	runtime.KeepAlive(operations)
	runtime.KeepAlive(keys)
	if u8(0) != 0 {
		return nil, b.refused(4)
	}
	defer copied()
	const resultBytes = 32
	pointer, count := u32(4), u32(8)
	results := make([]OperationResult, count)
	for i := range results {
		raw := unsafe.Pointer(uintptr(pointer) + uintptr(i)*resultBytes)
		if *(*uint8)(raw) != 0 {
			results[i].Err = storeError(string(b), unsafe.Add(raw, 8))
			continue
		}
		switch *(*uint8)(unsafe.Add(raw, 8)) {
		case 0:
			if *(*uint8)(unsafe.Add(raw, 16)) != 0 {
				results[i].Value = append([]byte{}, view(unsafe.Add(raw, 20))...)
			}
		case 2:
			results[i].Sum = *(*int64)(unsafe.Add(raw, 16))
		case 3:
			results[i].Swap = swapAt(unsafe.Add(raw, 16))
		case 4:
			results[i].Exists = *(*uint8)(unsafe.Add(raw, 16)) != 0
		}
	}
	return results, nil
}

// Counting is how the units of a quota come back.
type Counting uint32

const (
	// Steady is as Bucket.Take counts: units come back evenly.
	Steady Counting = iota
	// Sliding units come back when they are one period old, estimated from the sums of two periods. Burst is ignored.
	Sliding
)

// Scope is which counts a Step, or which holders a lease applies to.
type Scope uint32

const (
	// Shared counts are those of the bucket, wherever it is stored.
	Shared Scope = iota
	// Local counts are in the memory of this gateway, for use while the bucket cannot be reached.
	Local
)

// Step is one of several steps that are taken together. A Cost of 0 only asks.
type Step struct {
	// Key is within the group.
	Key      string
	Quota    Quota
	Counting Counting
	Cost     uint32
}

type rawStep struct {
	key      span
	limit    uint32
	_        uint32
	period   uint64
	burst    uint32
	_        uint32
	counting Counting
	cost     uint32
}

// TakeAll takes up to 16 steps together, all of them or none. If one is refused, nothing is taken, and the verdicts of the others say
// what they would have been. Steps of one group, such as a client, are stored together.
func (b Bucket) TakeAll(group string, scope Scope, steps ...Step) ([]Verdict, error) {
	list, keys := make([]rawStep, len(steps)), make([]string, len(steps))
	for i, step := range steps {
		keys[i] = valid(step.Key)
		list[i] = rawStep{
			key: spanOf(keys[i]), limit: step.Quota.Limit, period: step.Quota.PeriodMs, burst: step.Quota.Burst,
			counting: step.Counting, cost: step.Cost,
		}
	}
	storeTakeAll(valid(string(b)), valid(group), unsafe.Pointer(unsafe.SliceData(list)), uint32(len(list)), uint32(scope), at(0))
	runtime.KeepAlive(keys)
	if u8(0) != 0 {
		return nil, b.refused(4)
	}
	defer copied()
	const verdictBytes = 24
	pointer, count := u32(4), u32(8)
	verdicts := make([]Verdict, count)
	for i := range verdicts {
		verdicts[i] = verdictAt(unsafe.Pointer(uintptr(pointer) + uintptr(i)*verdictBytes))
	}
	return verdicts, nil
}
