//go:build wasip1

package gateway

import "unsafe"

//go:wasmimport gateway:plugin/upstreams@0.2.0 select
func upstreamsSelect(request int32, name string, ret unsafe.Pointer)

//go:wasmimport gateway:plugin/documents@0.2.0 get
func documentsGet(upstream, target string, refresh, retry, maxStale uint64, timeout uint32, known uint64, forceRefresh uint32, ret unsafe.Pointer)

// SelectUpstream sends the request to this upstream of the gateway's configuration in place of the route's: `imports: [upstreams]`.
// The upstream is granted by name. It is possible in the request phase, on routes that lead to an upstream. The last selection
// counts, also that of a later plugin. The Code of an error is "denied", "unavailable" or "other".
func (r Request) SelectUpstream(name string) error {
	upstreamsSelect(r.handle, valid(name), at(0))
	if u8(0) == 0 {
		return nil
	}
	defer copied()
	codes := [...]string{"denied", "unavailable", "other"}
	made := &Error{What: name, Code: codes[min(int(u8(4)), len(codes)-1)]}
	if made.Code != "unavailable" {
		made.Detail = text(8)
	}
	return made
}

// Source is where a document is, such as a key set, and how old it may become: `imports: [documents]`. The gateway fetches each
// document once for all instances, keeps it, and refreshes it before it expires, while the present one remains in use.
type Source struct {
	// Upstream is granted by name, and Target is path and query.
	Upstream, Target string
	// RefreshMs is the age at which the document is fetched again. Calls do not wait for that.
	RefreshMs uint64
	// RetryMs is the least time between two attempts; at least a second.
	RetryMs uint64
	// MaxStaleMs is the age up to which the document remains in use if it cannot be fetched again.
	MaxStaleMs uint64
	// TimeoutMs is for each attempt; at most a minute.
	TimeoutMs uint32
}

// NewSource is a document that is fetched again after ten minutes, at most every half minute, and remains in use for a day.
func NewSource(upstream, target string) Source {
	return Source{Upstream: upstream, Target: target, RefreshMs: 600_000, RetryMs: 30_000, MaxStaleMs: 86_400_000, TimeoutMs: 5_000}
}

// Document is a document that was fetched.
type Document struct {
	// Version changes with the text, and is never 0.
	Version uint64
	Bytes   []byte
}

// Get returns the document, or nil if its version is still the known one (0 for none). It waits only if there is no document in use
// yet, or with forceRefresh, which fetches the document again unless that was attempted less than RetryMs ago. The Code of an error
// is "denied", "invalid", "unavailable" or "other".
func (s Source) Get(known uint64, forceRefresh bool) (*Document, error) {
	documentsGet(valid(s.Upstream), valid(s.Target), s.RefreshMs, s.RetryMs, s.MaxStaleMs, s.TimeoutMs, known, flag(forceRefresh), at(0))
	if u8(0) != 0 {
		return nil, variant(s.Upstream+s.Target, 8, "denied", "invalid", "unavailable", "other")
	}
	defer copied()
	if u8(8) == 0 {
		return nil, nil
	}
	return &Document{u64(16), bytes(24)}, nil
}
