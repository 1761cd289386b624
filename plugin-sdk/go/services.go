//go:build wasip1

package gateway

import (
	"runtime"
	"unsafe"
)

//go:wasmimport gateway:plugin/log@0.2.0 emit
func logEmit(level uint32, message string, fields unsafe.Pointer, count uint32)

//go:wasmimport gateway:plugin/metrics@0.2.0 add
func metricsAdd(counter string, by uint64, labels unsafe.Pointer, count uint32)

//go:wasmimport gateway:plugin/metrics@0.2.0 observe
func metricsObserve(histogram string, value float64, labels unsafe.Pointer, count uint32)

//go:wasmimport gateway:plugin/metrics@0.2.0 set-gauge
func metricsSetGauge(gauge string, value float64, labels unsafe.Pointer, count uint32)

//go:wasmimport gateway:plugin/metrics@0.2.0 add-to-gauge
func metricsAddToGauge(gauge string, by float64, labels unsafe.Pointer, count uint32)

//go:wasmimport gateway:plugin/secrets@0.2.0 get
func secretsGet(name string, ret unsafe.Pointer)

//go:wasmimport gateway:plugin/files@0.2.0 get
func filesGet(name string, ret unsafe.Pointer)

//go:wasmimport gateway:plugin/sinks@0.2.0 write
func sinksWrite(sink, line string, ret unsafe.Pointer)

// Level is that of a line in the gateway's log.
type Level uint32

const (
	Trace Level = iota
	Debug
	Info
	Warn
	LogError
)

// Log writes to the gateway's log, with names and values: `imports: [log]`.
func Log(level Level, message string, fields ...[2]string) {
	fields = validPairs(fields)
	list := lower(fields)
	logEmit(uint32(level), valid(message), unsafe.Pointer(unsafe.SliceData(list)), uint32(len(list)))
	runtime.KeepAlive(fields)
}

// Count adds to one of the gateway's counters, with labels: `imports: [metrics]`. Names get the prefix gateway_plugin_.
func Count(counter string, by uint64, labels ...[2]string) {
	labels = validPairs(labels)
	list := lower(labels)
	metricsAdd(valid(counter), by, unsafe.Pointer(unsafe.SliceData(list)), uint32(len(list)))
	runtime.KeepAlive(labels)
}

// Observe puts a value into one of the gateway's histograms.
func Observe(histogram string, value float64, labels ...[2]string) {
	labels = validPairs(labels)
	list := lower(labels)
	metricsObserve(valid(histogram), value, unsafe.Pointer(unsafe.SliceData(list)), uint32(len(list)))
	runtime.KeepAlive(labels)
}

// SetGauge sets one of the gateway's gauges. Each series has one value in the gateway, the last that any instance set.
func SetGauge(gauge string, value float64, labels ...[2]string) {
	labels = validPairs(labels)
	list := lower(labels)
	metricsSetGauge(valid(gauge), value, unsafe.Pointer(unsafe.SliceData(list)), uint32(len(list)))
	runtime.KeepAlive(labels)
}

// AddToGauge adds to one of the gateway's gauges, or subtracts with a negative number. The first addition counts from 0.
func AddToGauge(gauge string, by float64, labels ...[2]string) {
	labels = validPairs(labels)
	list := lower(labels)
	metricsAddToGauge(valid(gauge), by, unsafe.Pointer(unsafe.SliceData(list)), uint32(len(list)))
	runtime.KeepAlive(labels)
}

// Secret is granted by name: `imports: [secrets]`.
func Secret(name string) ([]byte, error) {
	secretsGet(valid(name), at(0))
	if u8(0) != 0 {
		return nil, variant(name, 4, "denied", "missing")
	}
	defer copied()
	return bytes(4), nil
}

// File is granted by name: `imports: [files]`.
func File(name string) ([]byte, error) {
	filesGet(valid(name), at(0))
	if u8(0) != 0 {
		return nil, variant(name, 4, "denied")
	}
	defer copied()
	return bytes(4), nil
}

// WriteLine writes to a sink that is granted by name: `imports: [sinks]`. The error's Code is "dropped" if its buffer is full.
func WriteLine(sink, line string) error {
	sinksWrite(valid(sink), line, at(0))
	if u8(0) != 0 {
		return variant(sink, 4, "denied", "dropped")
	}
	return nil
}
