//go:build wasip1

package gateway

import "unsafe"

// Timers works in the background, without a request: `exports: [timers]` in plugin.yaml. Each gateway process runs each timer of a
// configuration once, for as long as a route uses the plugin.
type Timers interface {
	// Timers are up to 16, and follow from the configuration alone.
	Timers() []Timer
	// OnTimer is called within a second after the configuration becomes active, and then after each interval. Calls of one timer never
	// overlap. An error is counted and logged, and the next call is made after the interval.
	OnTimer(name string) error
}

// Timer is one of the timers of a plugin.
type Timer struct {
	// Name is unique among the timers of the plugin; 1 to 64 bytes.
	Name string
	// IntervalMs is the time from the end of a call to the beginning of the next one: 1 second to 24 hours.
	IntervalMs uint64
}

type rawTimer struct {
	name     span
	interval uint64
}

// What `timers` returns is read before anything else runs here.
var (
	timers    []Timer
	rawTimers []rawTimer
)

//go:wasmexport gateway:plugin/timers@0.2.0#timers
func listTimers() unsafe.Pointer {
	begun = true
	timers = plugin.(Timers).Timers()
	rawTimers = make([]rawTimer, len(timers))
	for i := range timers {
		timers[i].Name = valid(timers[i].Name)
		rawTimers[i] = rawTimer{spanOf(timers[i].Name), timers[i].IntervalMs}
	}
	storeSpan(0, spanAt(unsafe.Pointer(unsafe.SliceData(rawTimers)), len(rawTimers)))
	return ended()
}

//go:wasmexport gateway:plugin/timers@0.2.0#on-timer
func onTimer(pointer unsafe.Pointer, length uint32) unsafe.Pointer {
	begun = true
	name := string(unsafe.Slice((*byte)(pointer), length))
	copied()
	if err := plugin.(Timers).OnTimer(name); err != nil {
		return failed(err)
	}
	store32(0, 0)
	return ended()
}
