//go:build wasip1

package gateway

import "unsafe"

//go:wasmimport gateway:plugin/store@0.2.0 acquire
func storeAcquire(bucket, key string, limit uint32, ttl uint64, scope uint32, ret unsafe.Pointer)

//go:wasmimport gateway:plugin/store@0.2.0 renew
func storeRenew(bucket, key, lease string, ttl uint64, ret unsafe.Pointer)

//go:wasmimport gateway:plugin/store@0.2.0 release
func storeRelease(bucket, key, lease string, ret unsafe.Pointer)

// Acquisition is what Acquire did.
type Acquisition struct {
	// Lease is empty if others hold the key, as many as the limit.
	Lease string
	// Holders of the key after this step.
	Holders uint32
}

// Acquire becomes one of at most `limit` holders of a key, with a lease of 1 second to 1 hour. In a call that has a request, the gateway
// renews the lease and releases it when the exchange ends. In other calls, such as those of timers, the plugin does, or its time to live
// ends it.
func (b Bucket) Acquire(key string, limit uint32, ttlMs uint64, scope Scope) (Acquisition, error) {
	storeAcquire(valid(string(b)), valid(key), limit, ttlMs, uint32(scope), at(0))
	if u8(0) != 0 {
		return Acquisition{}, b.refused(4)
	}
	defer copied()
	made := Acquisition{Holders: u32(16)}
	if u8(4) != 0 {
		made.Lease = text(8)
	}
	return made, nil
}

// Renew gives a lease a time to live, counted from now. It returns whether it is still held.
func (b Bucket) Renew(key, lease string, ttlMs uint64) (bool, error) {
	storeRenew(valid(string(b)), valid(key), valid(lease), ttlMs, at(0))
	if u8(0) != 0 {
		return false, b.refused(4)
	}
	return u8(4) != 0, nil
}

// Release ends a lease before its exchange or its time to live ends. It is no error if it is not held any more.
func (b Bucket) Release(key, lease string) error {
	storeRelease(valid(string(b)), valid(key), valid(lease), at(0))
	if u8(0) != 0 {
		return b.refused(4)
	}
	return nil
}
